"""Folders of runs: which stand for a run of a study, which have to make room, and which of another study will do."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

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
    if not (place / DONE).is_file():
        return None
    done = read(place / DONE)
    same = done["seed"] == key.seed and same_method(done, *study.method_of(key.method))
    alike = same and ends_alike(done, study.max_minutes) and done.get("evaluate") == dict(study.evaluate)
    return done if alike else None


def finished_in(studies: Sequence[Path]) -> list[Path]:
    """The folders of the finished runs in folders of studies.

    Raises:
        SeqwardError: there is no study in one of them.
    """
    for study in studies:
        if not (study / BEGUN).is_file():
            raise SeqwardError(f"--reuse {study}: expected the folder of a study that `seqward bench` wrote.")
    return [done.parent for study in studies for done in sorted(study.glob(f"*/*/seed-*/{DONE}"))]


def reuse_runs(study: Study, keys: Sequence[Key], folder: Path, there: Sequence[Path]) -> dict[Key, dict[str, Any]]:
    """Copy finished runs of other studies that are runs of this one: same events, method, settings, seed and rules.

    What they and their data are called there does not matter, and a run that has a folder here is left alone.
    """
    taken: dict[Key, dict[str, Any]] = {}
    for name, on_one in groupby(keys, lambda key: key.data):
        data = Dataset.load(data_place(study, name, folder))
        for key in on_one:
            place = place_of(key, folder)
            same = (at for at in there if kept_result(study, key, at) and not why_anew(study, key, at, data))
            if place.exists() or (source := next(same, None)) is None:
                continue
            with alone(place.with_name(f"{place.name}.lock")):
                taken[key] = _copied(source, place, key)
            say(f"{key}: taken from {source}")
    return taken


def _copied(source: Path, place: Path, key: Key) -> dict[str, Any]:
    """The folder of a run under another name, whole or not at all; its result."""
    partial = place.with_name(f".{place.name}.copied")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial)
    run = {**read(partial / DONE), **key._asdict()}
    write(partial / DONE, run)
    partial.rename(place)
    return run
