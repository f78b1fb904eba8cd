"""A run folder: what a training run was, what it learned, and what was measured on it."""

from __future__ import annotations

import json
import platform
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import seqward
from seqward.atomic import write_text
from seqward.data.dataset import Dataset, fingerprint_of_catalogue
from seqward.errors import SeqwardError
from seqward.settings import RETIRED, to_dict


@dataclass(frozen=True)
class Run:
    """The files of a run that are not weights. ``run.json`` describes it, ``items.json`` names its catalogue."""

    folder: Path

    @property
    def description(self) -> dict[str, Any]:
        """The content of ``run.json``.

        Raises:
            SeqwardError: the folder is no run, or the file is broken.
        """
        file = self.folder / "run.json"
        if not file.is_file():
            raise SeqwardError(f"{self.folder} holds no run.json: expected a run folder that `seqward train` wrote.")
        try:
            description = json.loads(file.read_text(encoding="utf-8"))
            complete = {"method", "settings", "seed", "catalogue"} <= description.keys()
        except (ValueError, AttributeError):
            complete, description = False, {}
        if not complete:
            raise SeqwardError(f"{file} cannot be read: it was cut off or edited. Train again with --force.")
        return description

    @property
    def item_ids(self) -> NDArray[Any]:
        """[vocabulary] ids as in the log, by item number.

        Raises:
            SeqwardError: the file is missing, broken, or of another catalogue than ``run.json`` says.
        """
        file = self.folder / "items.json"
        try:
            ids = json.loads(file.read_text(encoding="utf-8"))
            items = np.array(ids, dtype=np.int64 if all(isinstance(i, int) for i in ids) else object)
        except (OSError, ValueError, TypeError):
            raise SeqwardError(f"{file} cannot be read: the run was cut off or edited. Train again.") from None
        if fingerprint_of_catalogue(items) != self.description["catalogue"]:
            raise SeqwardError(f"{file} is not the catalogue that the run was trained on. Train again.")
        return items

    @property
    def best(self) -> dict[str, Any] | None:
        """What is known of the weights in ``best/``: step, phase, value of the metric. None where there are none."""
        try:
            return json.loads((self.folder / "best" / "state.json").read_text())
        except (OSError, ValueError):
            return None

    def create(self, description: dict[str, Any], item_ids: NDArray[Any]) -> None:
        """Write ``run.json`` and ``items.json``; what stood there, and ``check_free`` allowed to replace, is gone.

        It is moved aside first, so that a folder that may not be changed loses nothing.
        """
        replaced = self.folder.with_name(f".{self.folder.name}.replaced")
        shutil.rmtree(replaced, ignore_errors=True)
        if self.folder.exists():
            self.folder.rename(replaced)
        self.folder.mkdir(parents=True)
        self._describe(description)
        self._write("items.json", json.dumps(item_ids.tolist()))
        shutil.rmtree(replaced, ignore_errors=True)

    def reopen(self, settings: dict[str, Any], item_ids: NDArray[Any]) -> None:
        """Note that a run of this catalogue goes on; one that was killed as it began may lack ``items.json``."""
        self.update(settings=settings, state="training", best=None)
        if not (self.folder / "items.json").is_file():
            self._write("items.json", json.dumps(item_ids.tolist()))

    def update(self, **changes: Any) -> None:
        """Change entries of ``run.json``."""
        self._describe({**self.description, **changes})

    def record_evaluation(self, split: str) -> None:
        """Note that a split was evaluated."""
        self._describe(evaluated(self.description, split))

    def check_free(self, force: bool, resume: bool) -> None:
        """Whether a run may be written here; nothing is touched.

        Raises:
            SeqwardError: something is there already and neither ``force`` nor ``resume`` was given, or what is there
                is no run; or both were given.
        """
        if force and resume:
            raise SeqwardError("--force begins anew and --resume goes on: give one of them.")
        if not self.folder.exists() or (self.folder.is_dir() and not any(self.folder.iterdir())):
            return
        if not (self.folder / "run.json").is_file():
            raise SeqwardError(f"{self.folder} holds no run, and what it holds is left alone. Give another --out.")
        if not (force or resume):
            raise SeqwardError(
                f"{self.folder} already exists. Give another --out, --resume to go on with it, "
                "or --force to replace it."
            )

    def check_same(self, description: dict[str, Any], data: Dataset, defaults: Mapping[str, Any]) -> list[str]:
        """Refuse to resume a run that began as another one; only what ``may_change`` names may differ.

        Args:
            defaults: the method's sections, for settings that an earlier version did not write down.

        Returns:
            What differs and may, in words.

        Raises:
            SeqwardError: names the first difference.
        """
        check_catalogue(self.description["catalogue"], data, self.folder)
        if self.description["data"].get("events") not in (None, description["data"]["events"]):
            raise SeqwardError(
                f"{self.folder} was begun on other events than those of {data.path or 'this data set'} (rewards, goals "
                "and splits count, too). Resume with the data it was begun on, or give another --out."
            )
        now = _choices(description)
        then = {**_flat(to_dict(defaults)), **_choices(self.description)}
        keys = ("method", *sorted((now.keys() | then.keys()) - RETIRED))
        differ = [key for key in keys if now.get(key) != then.get(key)]
        for key in differ:
            if key not in may_change(then):
                raise SeqwardError(
                    f"{self.folder} was begun with {key}={then.get(key)}, and cannot be resumed with {now.get(key)}. "
                    "Resume with the same settings, or give another --out."
                )
        return [f"{key} was {then.get(key)} and is {now.get(key)} from here on" for key in differ]

    def _describe(self, description: dict[str, Any]) -> None:
        self._write("run.json", json.dumps(description, indent=2, ensure_ascii=False))

    def _write(self, name: str, text: str) -> None:
        write_text(self.folder / name, text + "\n")


def unfinished(description: Mapping[str, Any]) -> str | None:
    """In words: why the training of a run has not come to its end; None where it has."""
    state = description.get("state", "")
    if state == "training":
        return "is still training, or was killed"
    if state == "interrupted":
        return "was interrupted"
    return "has diverged" if state.startswith("diverged") else None


def evaluated(description: dict[str, Any], split: str) -> dict[str, Any]:
    """The description of a run whose ``split`` was evaluated now."""
    look = {"split": split, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    return {**description, "evaluations": [*description.get("evaluations", []), look]}


def describe(method: str, settings: dict[str, Any], seed: int, data: Dataset) -> dict[str, Any]:
    """The content of ``run.json`` as a run begins."""
    return {
        "method": method,
        "settings": settings,
        "seed": seed,
        "catalogue": data.catalogue_fingerprint(),
        "data": {
            "path": str(data.path.resolve()) if data.path else None,
            "events": data.events_fingerprint(),
            "users": data.training_users()[1],
            "protocol": data.protocol,
        },
        "versions": {"seqward": seqward.__version__, "python": platform.python_version(), **_torch_version()},
        "state": "training",
    }


def may_change(choices: Mapping[str, Any]) -> set[str]:
    """Settings that may be others when a run is resumed: how long it lasts, how often it saves and writes to its log,
    and how a guard watches that does no more.

    Not the epochs where they say when the second phase begins.
    """
    free = {"train.epochs", "train.patience", "train.log_every", "train.checkpoint_minutes"}
    if choices.get("guard.actions") == "observe":
        free |= {"guard.watch", "guard.probe_every", "guard.tolerance", "guard.ladder"}
    return free - ({"train.epochs"} if isinstance(choices.get("objective.warmup_events"), float) else set())


def check_catalogue(fingerprint: str, data: Dataset, of: Path | str) -> None:
    """Refuse a data set whose vocabulary is not the model's.

    Raises:
        SeqwardError: it is not.
    """
    if data.catalogue_fingerprint() != fingerprint:
        raise SeqwardError(
            f"{of} was trained on another catalogue than that of {data.path or 'this data set'} "
            f"({data.n_items} items there). Use the data set it was trained on, or train on this one."
        )


def _choices(description: Mapping[str, Any]) -> dict[str, Any]:
    return {"method": description["method"], "seed": description["seed"], **_flat(description["settings"])}


def _flat(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {f"{section}.{key}": value for section, keys in settings.items() for key, value in keys.items()}


def _torch_version() -> dict[str, str]:
    import torch

    return {"torch": torch.__version__}
