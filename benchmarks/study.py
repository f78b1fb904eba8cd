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
settings: {train.epochs: 30}            # of every method
methods:
  sasrec: {}                            # settings of its own
  my-label: {method: sasrec, train.lr: 0.001}
published: {source: "...", method: my-label, group: all, figures: {hr@10: [0.3152, 0.012]}}  # value, tolerance
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
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
from seqward.methods import method_named

SHARED = Path(os.environ.get("SEQWARD_DATA", ROOT.parent / "shared" / "data"))
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
    published: Mapping[str, Any] | None = None

    def runs(self) -> list[Key]:
        """All runs, seed after seed, so that a study that was cut short has compared its methods."""
        return [Key(data, method, seed) for data in self.data for seed in self.seeds for method in self.methods]

    def method_of(self, label: str) -> tuple[str, dict[str, Any]]:
        """The method that a label stands for, and its settings sections.

        Raises:
            SeqwardError: no such method or setting.
        """
        own = dict(self.methods[label] or {})
        name = own.pop("method", label)
        entry = method_named(name)
        common = self.settings if entry.sections else {}
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
    study = Study(name=file.stem, **{**said, "seeds": tuple(said["seeds"])})
    for label in study.methods:
        study.method_of(label)
    return study


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
    path = SHARED / recipe["path"]
    if not path.exists():
        raise SeqwardError(f"{path} is missing. Point SEQWARD_DATA at the folder with the real data.")
    if "source" in recipe:
        return read_source(recipe["source"], path, **how)
    return EventLog.read(path, Columns(**recipe.get("columns", {})), **how), PrepareSettings()
