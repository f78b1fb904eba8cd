"""A study's data sets: prepared, checked against what its methods learn from, and ranked by the baselines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqward.baselines import fitted_baselines
from seqward.bench.changed import put_aside
from seqward.bench.events import head_of, save_events
from seqward.bench.recipes import data_of, found, is_of_another_recipe
from seqward.bench.results import read, write
from seqward.bench.study import Key, Study
from seqward.data.dataset import Dataset, read_description
from seqward.errors import SeqwardError
from seqward.evaluate import Evaluation, evaluate
from seqward.methods import method_named
from seqward.methods.needs import refuse_unfit


def all_prepared(study: Study, keys: Sequence[Key], folder: Path) -> dict[str, Any]:
    """What is told of every data set that the runs need.

    Raises:
        SeqwardError: all that is wrong with any of them.
    """
    facts, wrong = {}, []
    for name in dict.fromkeys(key.data for key in keys):
        try:
            facts[name] = prepared(study, name, folder, list(dict.fromkeys(k.method for k in keys if k.data == name)))
        except SeqwardError as error:
            wrong.append(f"data {name}: {error}")
    if wrong:
        raise SeqwardError("\n".join(wrong))
    return facts


def prepared(study: Study, name: str, folder: Path, labels: Sequence[str]) -> dict[str, Any]:
    """A data set's protocol and hashes, and what the zero-parameter baselines reach on its test split.

    Raises:
        SeqwardError: it cannot be made, or lacks what a method learns from.
    """
    place = folder / "data" / name
    data = data_of(study.data[name], place, study.folder)
    lacking = list(dict.fromkeys(filter(None, (_lacking(study, label, data) for label in labels))))
    if lacking:
        raise SeqwardError("\n".join(lacking))
    description = read_description(data_place(study, name, folder))
    return {
        "recipe": study.data[name],
        "catalogue": description["catalogue"],
        "sha256": description["sha256"],
        "protocol": data.protocol,
        "baselines": baselines_of(study, name, folder, data),
    }


def _lacking(study: Study, label: str, data: Dataset) -> str | None:
    try:
        refuse_unfit(method_named(study.method_of(label)[0]), data)
    except SeqwardError as error:
        return str(error)
    return None


def data_place(study: Study, name: str, folder: Path) -> Path:
    """The prepared folder of a data set."""
    recipe = study.data[name]
    return found(recipe["prepared"], study.folder) if recipe.get("prepared") else folder / "data" / name


def put_data_aside(study: Study, keys: Sequence[Key], folder: Path) -> None:
    """Make room for data sets that another recipe made; the runs on them are looked at when the new ones are there."""
    for name in dict.fromkeys(key.data for key in keys):
        if is_of_another_recipe(study.data[name], folder / "data" / name):
            put_aside(folder / "data" / name, f"data {name} is prepared again.")


def baselines_of(study: Study, name: str, folder: Path, data: Dataset) -> dict[str, Any]:
    """What the zero-parameter baselines reach on the test split by the study's rules; kept beside the data set."""
    file = folder / "data" / f"{name}.baselines.json"
    kept = read(file) if file.is_file() else {}
    rules = {"evaluate": dict(study.evaluate), "events": data.events_fingerprint()}
    if {key: kept.get(key) for key in rules} != rules or not kept.get("events_kept"):
        figures = {}
        for label, scorer in fitted_baselines(data).items():
            evaluation = evaluate(scorer, data, "test", **study.evaluate)
            keep_events(folder / "data" / f"{name}.{label}.npz", evaluation, data)
            figures[label] = evaluation.figures
        kept = {**rules, "figures": figures, "events_kept": True}
        write(file, kept)
    return kept["figures"]


def keep_events(file: Path, evaluation: Evaluation, data: Dataset) -> None:
    """Write down what happened at every event."""
    head = head_of(data, evaluation.split, evaluation.protocol["first_events"])
    save_events(file, evaluation.outcomes, head)
