"""From a study's word for a data set to the prepared folder: of a raw file, a user's log or a simulated shop."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from seqward.config import from_keywords
from seqward.data.columns import Columns
from seqward.data.dataset import Dataset
from seqward.data.events import EventLog
from seqward.data.prepare import PrepareSettings, prepare
from seqward.data.simulate import simulate
from seqward.data.sources import find_source, read_source
from seqward.data.world import ShopSettings
from seqward.errors import SeqwardError, did_you_mean

Recipe = Mapping[str, Any]
ORIGINS = ("path", "simulate", "prepared")
SHAPE = ("session_gap_minutes", "time_unit")
KEYS = {*ORIGINS, *SHAPE, "source", "columns", "separator", "rewards", "goal", "prepare"}
SIMULATED = {"sessions", "items", "seed", "preset", *(field.name for field in fields(ShopSettings))}


def problems(recipe: Any, place: Path | None, beside: Path) -> Iterator[str]:
    """What is wrong with a recipe, as far as it can be told without reading a log.

    Args:
        place: where the data set will stand; None where files are not looked for.
        beside: folder of the study, which relative paths may be relative to.
    """
    if not isinstance(recipe, Mapping):
        yield f"expected keys such as `path` or `simulate`, got {recipe!r}."
        return
    yield from _unknown(recipe, KEYS, "key")
    origins = [key for key in ORIGINS if key in recipe]
    if len(origins) != 1:
        yield "a data set comes from one of `path` (with a `source` or `columns`), `simulate` and `prepared`."
    try:
        if "source" in recipe:
            find_source(recipe["source"])
    except SeqwardError as error:
        yield str(error)
    yield from _unknown(recipe.get("columns") or {}, {field.name for field in fields(Columns)}, "column")
    yield from _unknown(recipe.get("simulate") or {}, SIMULATED, "setting of simulate")
    try:
        from_keywords({"prepare": PrepareSettings()}, recipe.get("prepare") or {})
    except SeqwardError as error:
        yield from str(error).splitlines()
    if place is not None and not (place / "dataset.json").is_file():
        for key in ("path", "prepared"):
            if isinstance(recipe.get(key), str) and not found(recipe[key], beside).exists():
                yield f"{recipe[key]} is not there: neither beside the study, nor here, nor in the folder SEQWARD_DATA."
                break


def _unknown(given: Mapping[str, Any], known: set[str], what: str) -> Iterator[str]:
    for key in given:
        if key not in known:
            yield f"unknown {what} {key!r}.{did_you_mean(key, known) or ' Known: ' + ', '.join(sorted(known)) + '.'}"


def found(path: str, beside: Path) -> Path:
    """Where a path of a study lies: beside the study, in the current folder, or in $SEQWARD_DATA (so, if nowhere)."""
    places = [beside / path, Path(path), Path(os.environ.get("SEQWARD_DATA", ".")) / path]
    return next((place for place in places if place.exists()), places[-1])


def is_of_another_recipe(recipe: Recipe, folder: Path) -> bool:
    """Whether a data set stands in ``folder`` that was made otherwise than this recipe says."""
    note = _note(folder)
    made = "prepared" not in recipe and (folder / "dataset.json").is_file() and note.is_file()
    return made and json.loads(note.read_text()) != recipe


def _note(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.recipe.json")


def data_of(recipe: Recipe, folder: Path, beside: Path) -> Dataset:
    """The prepared data set of a recipe, made in ``folder`` unless it stands there.

    Raises:
        SeqwardError: what stands there is of another recipe, or it cannot be made.
    """
    if "prepared" in recipe:
        return Dataset.load(found(recipe["prepared"], beside))
    if is_of_another_recipe(recipe, folder):
        raise SeqwardError(
            f"{folder} was prepared by another recipe. Undo the change, give another --out, or --force to put it aside."
        )
    if (folder / "dataset.json").is_file():
        return Dataset.load(folder)
    log, defaults = log_of(recipe, beside)
    data = prepare(log, defaults, out=folder, **recipe.get("prepare", {}))
    _note(folder).write_text(json.dumps(recipe, indent=2) + "\n")
    return data


def log_of(recipe: Recipe, beside: Path) -> tuple[EventLog, PrepareSettings]:
    """The event log of a recipe, and how its source is prepared.

    Raises:
        SeqwardError: it is missing or refused.
    """
    how = {key: recipe[key] for key in ("rewards", "goal") if key in recipe}
    if "simulate" in recipe:
        shop = simulate(**recipe["simulate"])
        return EventLog.from_frame(shop.log, source={"simulated": recipe["simulate"]}, **how), PrepareSettings()
    path = found(recipe["path"], beside)
    if not path.exists():
        raise SeqwardError(f"{path} is missing. Point SEQWARD_DATA at the folder with the data.")
    if "source" in recipe:
        return read_source(recipe["source"], path, **how)
    how |= {key: recipe[key] for key in SHAPE if key in recipe}
    log = EventLog.read(path, Columns(**recipe.get("columns", {})), separator=recipe.get("separator"), **how)
    return log, PrepareSettings()
