"""Folders of runs: which stand for a run of a study, which have to make room, and which of another study will do."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from seqward.bench.changed import BEGUN, put_aside
from seqward.bench.prepared import data_place
from seqward.bench.processes import alone
from seqward.bench.results import ends_alike, read, same_method, say, write
from seqward.bench.study import Key, Study
from seqward.config import to_dict
from seqward.data.dataset import Dataset
from seqward.errors import SeqwardError
from seqward.run import Run, describe

DONE = "result.json"
"""Written last into a run's folder."""


def put_runs_aside(study: Study, keys: Sequence[Key], folder: Path) -> None:
    """Make room for runs that cannot go on from what stands in their folders."""
    for name, on_one in groupby(keys, lambda key: key.data):
        data = Dataset.load(data_place(study, name, folder))
        for key in on_one:
            place = place_of(key, folder)
            with alone(place.with_name(f"{place.name}.lock")):
                if why := why_anew(study, key, place, data):
                    put_aside(place, f"{key} is done again: {why}.")


def why_anew(study: Study, key: Key, place: Path, data: Dataset) -> str | None:
    """Why what stands in a run's folder is neither this run nor the beginning of it; None where it is, or none is."""
    if not (place / "run.json").is_file():
        return None
    method, sections = study.method_of(key.method)
    try:
        Run(place).check_same(describe(method, to_dict(sections), key.seed, data), data, sections)
    except SeqwardError as error:
        return str(error).partition(". ")[0]  # what follows is for a single run
    if study.max_minutes is None or not (place / DONE).is_file():
        return None
    done = read(place / DONE)
    same = same_method(done, method, sections) and ends_alike(done, study.max_minutes)
    too_long = done["train_seconds"] > 60 * study.max_minutes and not same
    return f"{place} trained for longer than {study.max_minutes:g} minutes" if too_long else None


def place_of(key: Key, folder: Path) -> Path:
    """The folder of a run."""
    return folder / key.data / key.method / f"seed-{key.seed}"


def kept_result(study: Study, key: Key, place: Path) -> dict[str, Any] | None:
    """The result in a run's folder, if it is this run's by the study's rules; whether its data are is not asked."""
    done = read(place / DONE) if (place / DONE).is_file() else None
    return done if done is not None and _by_its_rules(study, key, done) else None


def _by_its_rules(study: Study, key: Key, done: Mapping[str, Any]) -> bool:
    """Whether a result is of this method, settings and seed, ended as it would now, and is evaluated alike."""
    same = done["seed"] == key.seed and same_method(done, *study.method_of(key.method))
    return same and ends_alike(done, study.max_minutes) and done.get("evaluate") == dict(study.evaluate)


# Runs of other studies -----------------------------------------------------------------------------------------------


class Finished(NamedTuple):
    """A finished run of another study."""

    place: Path
    result: Mapping[str, Any]
    description: Mapping[str, Any]


def finished_in(studies: Sequence[Path]) -> list[Finished]:
    """The finished runs in folders of studies; what cannot be read is told and left out, and so is a run that has been
    training on since its result was written.

    Raises:
        SeqwardError: there is no study in one of the folders.
    """
    for study in studies:
        if not (study / BEGUN).is_file():
            raise SeqwardError(f"--reuse {study}: expected the folder of a study that `seqward bench` wrote.")
    found = []
    for file in (file for study in studies for file in sorted(study.glob(f"*/*/seed-*/{DONE}"))):
        try:
            run = Finished(file.parent, read(file), Run(file.parent).description)
        except SeqwardError as error:
            say(f"not reused: {str(error).partition('. ')[0]}")
            continue
        if run.description["state"] == run.result["stopped"]:
            found.append(run)
    return found


def reuse_runs(study: Study, keys: Sequence[Key], folder: Path, there: Sequence[Finished]) -> dict[Key, dict[str, Any]]:
    """Copy finished runs of other studies that are runs of this one: same data, method, settings, seed and rules.

    What they and their data are called there does not matter, and a run that has a folder here is left alone.

    Raises:
        SeqwardError: a run cannot be copied.
    """
    taken: dict[Key, dict[str, Any]] = {}
    for name, on_one in groupby(keys, lambda key: key.data):
        data = Dataset.load(data_place(study, name, folder))
        for key in on_one:
            method, sections = study.method_of(key.method)
            its_data = _what_it_is_of(describe(method, to_dict(sections), key.seed, data))
            same = (
                run
                for run in there
                if _by_its_rules(study, key, run.result) and _what_it_is_of(run.description) == its_data
            )
            place = place_of(key, folder)
            source = next(same, None)
            if source is None:
                continue
            with alone(place.with_name(f"{place.name}.lock")):
                if place.exists():
                    continue
                taken[key] = _copied(source.place, place, key)
            say(f"{key}: taken from {source.place}")
    say(f"{len(taken)} of {len(keys)} runs that are not finished here are taken from other studies")
    return taken


def _what_it_is_of(description: Mapping[str, Any]) -> dict[str, Any]:
    """A run's data set, wherever that lies."""
    return {**description["data"], "path": None, "catalogue": description["catalogue"]}


def _copied(source: Path, place: Path, key: Key) -> dict[str, Any]:
    """The folder of a run under another name, whole or not at all; its result."""
    partial = place.with_name(f".{place.name}.copied")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        shutil.copytree(source, partial)
    except shutil.Error as error:  # has no number, as other errors of files do
        raise SeqwardError(f"--reuse: {source} could not be copied: {error.args[0][0][2]}.") from None
    run = {**read(partial / DONE), **key._asdict()}
    write(partial / DONE, run)
    partial.rename(place)
    return run
