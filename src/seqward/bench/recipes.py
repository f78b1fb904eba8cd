"""From a study's word for a data set to the prepared folder: of a raw file, a user's log or a simulated shop."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Len

from seqward.bench.shapes import COUNT, NUMBER, RECIPE, WHOLE, Shape, Shapes, hint, sound
from seqward.config import from_keywords
from seqward.data.columns import Columns
from seqward.data.dataset import Dataset
from seqward.data.events import EventLog
from seqward.data.prepare import PrepareSettings, prepare
from seqward.data.rewards import goals
from seqward.data.simulate import simulate
from seqward.data.sources import find_source, read_source
from seqward.data.world import ShopSettings, shop_settings
from seqward.errors import SeqwardError

Recipe = Mapping[str, Any]
ORIGINS = ("path", "simulate", "prepared")
SHAPE = ("session_gap_minutes", "time_unit")
COLUMNS = [field.name for field in fields(Columns)]
SIZES: Shapes = {"sessions": COUNT, "items": COUNT, "seed": WHOLE, "preset": Shape(str, "the name of a preset")}
SIMULATED: Shapes = {
    **SIZES,
    **{field.name: NUMBER for field in fields(ShopSettings)},
    "event_names": Shape(Annotated[list[str], Len(3, 3)], "names of three events, such as [view, cart, purchase]"),
}


def problems(recipe: Any, place: Path | None, beside: Path) -> Iterator[str]:
    """What is wrong with a recipe, as far as it can be told without reading a log.

    Args:
        place: where the data set will stand; None where files are not looked for.
        beside: folder of the study, which relative paths may be relative to.
    """
    if not isinstance(recipe, dict):
        yield f"expected keys such as `path` or `simulate`, got {recipe!r}."
        return
    wrong: list[str] = []
    said = sound(recipe, RECIPE, "", wrong)
    origins = [key for key in ORIGINS if recipe.get(key) is not None]
    if len(origins) != 1:
        wrong.append("a data set comes from one of `path` (with a `source` or `columns`), `simulate` and `prepared`.")
    columns = said.get("columns", {})
    wrong += [f"unknown column {key!r}.{hint(key, COLUMNS)}" for key in columns if key not in COLUMNS]
    shop = sound(said.get("simulate", {}), SIMULATED, "simulate: ", wrong)
    dials = {key: value for key, value in shop.items() if key not in SIZES}
    for refused in (
        lambda: find_source(said["source"]) if "source" in said else None,
        lambda: shop_settings(shop.get("preset"), dials),
        lambda: _check_goal(said.get("goal"), said.get("rewards")),
        lambda: from_keywords({"prepare": PrepareSettings()}, said.get("prepare", {})),
    ):
        try:
            refused()
        except SeqwardError as error:
            wrong += str(error).splitlines()
    if place is not None and not (place / "dataset.json").is_file():
        for path in (said[key] for key in ("path", "prepared") if key in said):
            if not found(path, beside).exists():
                wrong.append(
                    f"{path} is not there: neither beside the study, nor here, nor in the folder SEQWARD_DATA."
                )
                break
    yield from wrong


def _check_goal(goal: str | None, rewards: Mapping[str, float] | None) -> None:
    """Where rewards are given, every type of the log has one, so that the goal has."""
    if rewards is not None:
        goals(goal, tuple(rewards), np.zeros(0, np.int16), np.zeros(0, np.float32))


def found(path: str, beside: Path) -> Path:
    """Where a path of a study lies: beside the study, in the current folder, or in $SEQWARD_DATA (so, if nowhere)."""
    places = [beside / path, Path(path), Path(os.environ.get("SEQWARD_DATA", ".")) / path]
    return next((place for place in places if place.exists()), places[-1])


def is_of_another_recipe(recipe: Recipe, folder: Path) -> bool:
    """Whether a data set stands in ``folder`` that was made otherwise than this recipe says."""
    note = _note(folder)
    if recipe.get("prepared") or not (folder / "dataset.json").is_file() or not note.is_file():
        return False
    try:
        return json.loads(note.read_text(encoding="utf-8")) != recipe
    except ValueError:  # cut off or edited: nobody knows
        return True


def _note(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.recipe.json")


def data_of(recipe: Recipe, folder: Path, beside: Path) -> Dataset:
    """The prepared data set of a recipe, made in ``folder`` unless it stands there.

    Raises:
        SeqwardError: what stands there is of another recipe, or it cannot be made.
    """
    if recipe.get("prepared"):
        return Dataset.load(found(recipe["prepared"], beside))
    if is_of_another_recipe(recipe, folder):
        raise SeqwardError(
            f"{folder} was prepared by another recipe. Undo the change, give another --out, or --force to put it aside."
        )
    if (folder / "dataset.json").is_file():
        return Dataset.load(folder)
    log, defaults = log_of(recipe, beside)
    data = prepare(log, defaults, out=folder, **(recipe.get("prepare") or {}))
    _note(folder).write_text(json.dumps(recipe, indent=2) + "\n")
    return data


def log_of(recipe: Recipe, beside: Path) -> tuple[EventLog, PrepareSettings]:
    """The event log of a recipe, and how its source is prepared.

    Raises:
        SeqwardError: it is missing or refused.
    """
    how = {key: recipe[key] for key in ("rewards", "goal") if key in recipe}
    if recipe.get("simulate") is not None:
        shop = simulate(**{key: value for key, value in recipe["simulate"].items() if value is not None})
        return EventLog.from_frame(shop.log, source={"simulated": recipe["simulate"]}, **how), PrepareSettings()
    path = found(recipe["path"], beside)
    if not path.exists():
        raise SeqwardError(f"{path} is missing. Point SEQWARD_DATA at the folder with the data.")
    if recipe.get("source") is not None:
        return read_source(recipe["source"], path, **how)
    how |= {key: recipe[key] for key in SHAPE if key in recipe}
    log = EventLog.read(path, Columns.of(recipe.get("columns")), separator=recipe.get("separator"), **how)
    return log, PrepareSettings()
