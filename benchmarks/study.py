"""A study: data sets x methods x seeds, as a YAML file says it.

evaluate: {exclude_history: true}       # options of seqward.evaluate.evaluate; may be left out
max_minutes: 15                         # of training, a run; may be left out
seeds: [0, 1, 2]
data:
  ml-1m:                                # from a raw file of a source, its path relative to the shared data
    source: ml-1m
    path: ml-1m/ratings_in_order.parquet
    prepare: {split: random}            # fields of PrepareSettings over the source's defaults
  mine:                                 # from any log
    path: mine/log.csv
    columns: {session_id: s, item_id: i, timestamp: t}
    rewards: {view: 0.2, buy: 1.0}
    goal: buy
  shop:                                 # from a simulated shop
    simulate: {preset: retailrocket, items: 5000}
    rewards: {view: 0.2, addtocart: 1.0}
    goal: addtocart
settings: {train.epochs: 30}            # of every method that has them
methods:
  every: {}                             # all methods that are not named here, but the baselines
  sasrec: {}                            # settings of its own
  my-label: {method: sasrec, seeds: [0], train.lr: 0.001}  # and seeds of its own
published:                              # what runs are held against; one of these, or a list
  - {source: "...", method: my-label, group: all, figures: {hr@10: [0.3152, 0.012]}}       # value, tolerance
  - {table: leave-one-out.csv, group: all, within: 0.05}  # rows of benchmarks/published, tolerance as a share of each
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from machine import ROOT
from seqward import Dataset, EventLog, SeqwardError, prepare, simulate
from seqward.config import read_config
from seqward.data.columns import Columns
from seqward.data.prepare import PrepareSettings
from seqward.data.sources import read_source
from seqward.errors import did_you_mean
from seqward.methods import METHODS, method_named

PUBLISHED = ROOT / "benchmarks" / "published"
EVERY = "every"
"""A label that stands for all methods that are not named."""
RECIPE = {"source", "path", "columns", "simulate", "rewards", "goal", "prepare"}

Recipe = Mapping[str, Any]


class Key(NamedTuple):
    """One run."""

    data: str
    method: str
    seed: int

    def __str__(self) -> str:
        return f"{self.data}/{self.method}/{self.seed}"


@dataclass(frozen=True, kw_only=True)
class Study:
    """What to run; see the module's head."""

    name: str
    data: Mapping[str, Recipe]
    methods: Mapping[str, Mapping[str, Any]]
    seeds: tuple[int, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    max_minutes: float | None = None
    evaluate: Mapping[str, Any] = field(default_factory=dict)
    published: Sequence[Mapping[str, Any]] = ()

    def runs(self) -> list[Key]:
        """All runs, seed after seed, so that a study that was cut short has compared its methods."""
        chosen = {method: (own or {}).get("seeds", self.seeds) for method, own in self.methods.items()}
        seeds = dict.fromkeys([*self.seeds, *(seed for own in chosen.values() for seed in own)])
        return [
            Key(data, method, seed)
            for data in self.data
            for seed in seeds
            for method in chosen
            if seed in chosen[method]
        ]

    def method_of(self, label: str) -> tuple[str, dict[str, Any]]:
        """The method that a label stands for, and its settings sections.

        Raises:
            SeqwardError: no such method or setting.
        """
        own = {key: value for key, value in (self.methods[label] or {}).items() if key not in ("method", "seeds")}
        name = (self.methods[label] or {}).get("method", label)
        entry = method_named(name)
        common = {key: value for key, value in self.settings.items() if key in settings_of(name)}
        changes = [f"{key}={json.dumps(value)}" for key, value in {**common, **own}.items()]
        return name, read_config(entry.sections, overrides=changes)


def read_study(file: Path) -> Study:
    """The study of a YAML file, named after it.

    Raises:
        SeqwardError: no such file, a key that is unknown or missing, or a method or setting that does not exist.
    """
    if not file.is_file():
        raise SeqwardError(f"{file} does not exist. Expected a study, such as benchmarks/studies/trivago.yaml.")
    said = yaml.safe_load(file.read_text())
    known = set(Study.__dataclass_fields__) - {"name"}
    _check_keys(said, known, {"data", "methods", "seeds"}, str(file))
    for name, recipe in said["data"].items():
        _check_keys(recipe, RECIPE, set(), f"{file}, data {name}")
    said |= {"seeds": tuple(said["seeds"]), "methods": expanded(said["methods"])}
    study = Study(name=file.stem, **{**said, "published": tuple(published_entries(said.get("published", []), file))})
    known = set().union(*(settings_of(study.method_of(label)[0]) for label in study.methods))
    if unknown := [key for key in study.settings if key not in known]:
        raise SeqwardError(
            f"{file}, settings: {unknown[0]}: no such key of any method.{did_you_mean(unknown[0], known)}"
        )
    return study


def settings_of(method: str) -> set[str]:
    """The settings of a method, as ``section.key``."""
    sections = method_named(method).sections
    return {f"{name}.{key.name}" for name, section in sections.items() for key in fields(section)}


def expanded(methods: Mapping[str, Any]) -> dict[str, Any]:
    """The methods with what ``every`` stands for in its place."""
    others = [name for name, entry in METHODS.items() if entry.family != "baseline" and name not in methods]
    labels = [label for named in methods for label in (others if named == EVERY else [named])]
    return {label: methods.get(label, methods.get(EVERY)) for label in labels}


def published_entries(said: Any, file: Path) -> Iterator[Mapping[str, Any]]:
    """What runs are held against, one system an entry; the rows of a table become entries."""
    for entry in [said] if isinstance(said, dict) else said:
        if "table" not in entry:
            _check_keys(
                entry, {"source", "system", "data", "method", "group", "figures"}, {"method", "figures"}, str(file)
            )
            yield entry
            continue
        _check_keys(entry, {"table", "group", "within"}, {"table", "group", "within"}, f"{file}, published")
        for row in published_table(entry["table"]):
            figures = {name.lower(): float(value) for name, value in row.items() if value and "@" in name}
            tolerances = {name: [value, entry["within"] * value] for name, value in figures.items()}
            facts = {name: row[name] for name in ("source", "system", "data", "method")}
            yield {**facts, "group": entry["group"], "figures": tolerances}


def published_table(name: str) -> list[dict[str, str]]:
    """The rows of a table of ``benchmarks/published`` that belong to a method of ours.

    Raises:
        SeqwardError: there is no such table.
    """
    file = PUBLISHED / name
    if not file.is_file():
        there = [known.name for known in PUBLISHED.glob("*.csv")]
        raise SeqwardError(f"no published table {name!r}.{did_you_mean(name, there)} There is: {', '.join(there)}.")
    with file.open(newline="") as stream:
        return [row for row in csv.DictReader(stream) if row["method"]]


def raw_folder() -> Path:
    """Where raw files lie; asked for when it is needed, since a program may set it."""
    return Path(os.environ.get("SEQWARD_DATA", ROOT.parent / "shared" / "data"))


def _check_keys(said: Any, known: set[str], needed: set[str], where: str) -> None:
    if not isinstance(said, dict):
        raise SeqwardError(f"{where}: expected keys such as {', '.join(sorted(known))}; got {said!r}.")
    for key in said:
        if key not in known:
            raise SeqwardError(
                f"{where}: unknown key {key!r}.{did_you_mean(key, known)} Known: {', '.join(sorted(known))}."
            )
    if missing := sorted(needed - said.keys()):
        raise SeqwardError(f"{where}: {', '.join(missing)} is missing.")


def data_of(recipe: Recipe, folder: Path) -> Dataset:
    """The prepared data set of a recipe, made in ``folder`` unless it stands there.

    Raises:
        SeqwardError: what stands there is of another recipe, or it cannot be made.
    """
    note = folder.with_name(f"{folder.name}.recipe.json")
    if (folder / "dataset.json").is_file():
        if note.is_file() and json.loads(note.read_text()) != recipe:
            raise SeqwardError(
                f"{folder} was prepared by another recipe. Remove it and the runs on it, or undo the change."
            )
        return Dataset.load(folder)
    log, defaults = log_of(recipe)
    data = prepare(log, defaults, out=folder, **recipe.get("prepare", {}))
    note.write_text(json.dumps(recipe, indent=2) + "\n")
    return data


def log_of(recipe: Recipe) -> tuple[EventLog, PrepareSettings]:
    """The event log of a recipe, and how its source is prepared."""
    how = {key: recipe[key] for key in ("rewards", "goal") if key in recipe}
    if "simulate" in recipe:
        shop = simulate(**recipe["simulate"])
        return EventLog.from_frame(shop.log, source={"simulated": recipe["simulate"]}, **how), PrepareSettings()
    if "path" not in recipe:
        raise SeqwardError("a data set comes from a `path` (with a `source` or `columns`) or from `simulate`.")
    path = raw_folder() / recipe["path"]
    if not path.exists():
        raise SeqwardError(f"{path} is missing. Point SEQWARD_DATA at the folder with the real data.")
    if "source" in recipe:
        return read_source(recipe["source"], path, **how)
    return EventLog.read(path, Columns(**recipe.get("columns", {})), **how), PrepareSettings()
