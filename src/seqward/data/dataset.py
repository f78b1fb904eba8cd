"""A prepared data set: flat NumPy arrays over events, and the folder that holds them.

The folder has ``events.parquet``, ``sessions.parquet``, ``items.parquet`` and ``dataset.json``. The JSON carries the
protocol and the sha256 of each table, so a folder that was cut off or edited is refused.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqward.data.files import sha256_of
from seqward.errors import SeqwardError

TRAIN, VALIDATION, TEST = 0, 1, 2
SPLITS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
OWNERS = ("session_id", "user_id")
"""Columns that say whose an event is; the first that is there counts."""
FORMAT = 1
TABLES = ("events", "sessions", "items")
AGAIN = "the data set was cut off or edited. Run `seqward prepare` again."


@dataclass(frozen=True, eq=False)
class Dataset:
    """Sessions of events, in time order, with items numbered by the vocabulary.

    The events of session ``s`` are ``offsets[s]:offsets[s + 1]`` of the flat columns. Items ``0 .. n_items - 1`` are
    the vocabulary, in an order shuffled by the seed (ties between scores go to the lower number, so the order must
    carry no meaning); items from ``n_items`` on are real but unknown to a model, and count as misses.
    """

    item: NDArray[np.int32]
    """[events] item number."""
    reward: NDArray[np.float32]
    """[events] value of the event."""
    goal: NDArray[np.bool_]
    """[events] True where the event is the goal (the paper's purchase)."""
    event_type: NDArray[np.int16]
    """[events] position in ``event_types``."""
    split: NDArray[np.uint8]
    """[events] TRAIN, VALIDATION or TEST. An event is a target of its own split; all earlier events are its history."""
    offsets: NDArray[np.int64]
    """[sessions + 1]"""
    item_ids: NDArray[Any]
    """[all items] ids as in the log (int64 or str objects), vocabulary first."""
    n_items: int
    """Size of the vocabulary."""
    session_ids: NDArray[Any]
    """[sessions] ids as in the log."""
    user_ids: NDArray[Any] | None
    """[sessions] the user of each session, where the log names one."""
    event_types: tuple[str, ...]
    protocol: dict[str, Any]
    """How the log became this: source hash, filters and what each removed, counts, split, seed, rewards, warnings."""
    path: Path | None = None
    session_time: NDArray[Any] | None = None
    """[sessions] time of each session's last event, in the log's unit (microseconds for dates); None without times."""

    def __repr__(self) -> str:
        counts = f"{self.n_events:,} events, {self.n_sessions:,} sessions, {self.n_items:,} items"
        return f"Dataset({counts}{f'; {self.path}' if self.path else ''})"

    @property
    def n_sessions(self) -> int:
        return len(self.offsets) - 1

    @property
    def n_events(self) -> int:
        return len(self.item)

    def events_of(self, split: str) -> NDArray[np.int64]:
        """Positions of the events that are targets of ``split`` ("all" for every event)."""
        if split == "all":
            return np.arange(self.n_events)
        return np.flatnonzero(self.split == SPLITS[split])

    def session_of_event(self) -> NDArray[np.int32]:
        """[events] session of each event."""
        return np.repeat(np.arange(self.n_sessions, dtype=np.int32), np.diff(self.offsets))

    def training_users(self) -> tuple[NDArray[np.int64], int]:
        """[sessions] a number for the user of each session, and how many users have training events.

        Where the log names no user, each session is one. The number of anybody without a training event is -1.
        """
        user_of = np.arange(self.n_sessions) if self.user_ids is None else self.user_ids
        user = np.unique(user_of, return_inverse=True)[1].astype(np.int64)
        trained = np.unique(user[self.session_of_event()[self.split == TRAIN]])
        number = np.full(int(user.max(initial=-1)) + 1, -1, dtype=np.int64)
        number[trained] = np.arange(len(trained))
        return number[user], len(trained)

    def catalogue_fingerprint(self) -> str:
        """Names the vocabulary and its order: a model fits the data sets that share it."""
        return fingerprint_of_catalogue(self.item_ids[: self.n_items])

    def events_fingerprint(self) -> str:
        """Names what is learned and measured: items, rewards, goals and splits of all events, by session."""
        columns = (self.offsets, self.item, self.reward, self.goal, self.split)
        return hashlib.sha256(b"".join(np.ascontiguousarray(column).tobytes() for column in columns)).hexdigest()

    def save(self, folder: Path | str) -> Dataset:
        """Write the folder (which must not exist or be empty) and return this data set with its ``path``."""
        import polars as pl

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        sessions = {"session_id": self.session_ids, "events": np.diff(self.offsets)}
        if self.user_ids is not None:
            sessions["user_id"] = self.user_ids
        if self.session_time is not None:
            sessions["time"] = self.session_time
        tables = {
            "events": pl.DataFrame(
                {
                    "session": self.session_of_event(),
                    "item": self.item,
                    "reward": self.reward,
                    "goal": self.goal,
                    "event_type": self.event_type,
                    "split": self.split,
                }
            ),
            "sessions": _frame(sessions),
            "items": _frame({"item_id": self.item_ids, "known": np.arange(len(self.item_ids)) < self.n_items}),
        }
        for name, table in tables.items():
            table.write_parquet(folder / f"{name}.parquet")
        description = {
            "format": FORMAT,
            "protocol": self.protocol,
            "event_types": list(self.event_types),
            "catalogue": self.catalogue_fingerprint(),
            "sha256": {name: sha256_of(folder / f"{name}.parquet") for name in TABLES},
        }
        description["sha256"]["description"] = _seal(description)
        # Written last: a folder without it was cut off.
        (folder / "dataset.json").write_text(json.dumps(description, indent=2) + "\n")
        return Dataset(**{**self.__dict__, "path": folder})

    @classmethod
    def load(cls, folder: Path | str) -> Dataset:
        """Read a prepared folder.

        Raises:
            SeqwardError: the folder is missing, incomplete, edited, or of another format.
        """
        import polars as pl

        folder = Path(folder)
        description = read_description(folder)
        for name in TABLES:
            if not (folder / f"{name}.parquet").is_file():
                raise SeqwardError(f"{folder}/{name}.parquet is missing: {AGAIN}")
            if sha256_of(folder / f"{name}.parquet") != description["sha256"][name]:
                raise SeqwardError(
                    f"{folder}/{name}.parquet is not the file that was written (its sha256 differs): {AGAIN}"
                )
        events, sessions, items = (pl.read_parquet(folder / f"{name}.parquet") for name in TABLES)
        counts = sessions["events"].to_numpy()
        return cls(
            item=events["item"].to_numpy(),
            reward=events["reward"].to_numpy(),
            goal=events["goal"].to_numpy(),
            event_type=events["event_type"].to_numpy(),
            split=events["split"].to_numpy(),
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            item_ids=_ids(items["item_id"]),
            n_items=int(items["known"].sum()),
            session_ids=_ids(sessions["session_id"]),
            user_ids=_ids(sessions["user_id"]) if "user_id" in sessions.columns else None,
            event_types=tuple(description["event_types"]),
            protocol=description["protocol"],
            path=folder,
            session_time=sessions["time"].to_numpy() if "time" in sessions.columns else None,
        )


def read_description(folder: Path) -> dict[str, Any]:
    """The checked content of ``dataset.json``.

    Raises:
        SeqwardError: no such folder, no or broken ``dataset.json``, or another format.
    """
    file = folder / "dataset.json"
    if folder.is_file():
        raise SeqwardError(
            f"{folder} is a file. Expected a data set, the folder of `seqward prepare {folder} --out DATA`."
        )
    if not folder.is_dir():
        raise SeqwardError(
            f"{folder} is no folder. Expected a data set, as `seqward prepare EVENTS --out {folder}` writes."
        )
    if not file.is_file():
        raise SeqwardError(f"{folder} holds no dataset.json: it is no prepared data set, or {AGAIN}")
    try:
        description = json.loads(file.read_text())
        whole = description["sha256"].pop("description") == _seal(description)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SeqwardError(f"{file} cannot be read: {AGAIN}") from None
    if description.get("format") != FORMAT:
        theirs = description.get("format")
        raise SeqwardError(f"{file} has format {theirs!r}, this version reads {FORMAT}. Run `seqward prepare` again.")
    if not whole:
        raise SeqwardError(f"{file} is not what was written (its sha256 differs): {AGAIN}")
    return description


def _seal(description: dict[str, Any]) -> str:
    """sha256 of the description, whatever the layout of its JSON."""
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


def fingerprint_of_catalogue(item_ids: NDArray[Any]) -> str:
    """sha256 of the vocabulary's ids in order."""
    kind = "int" if item_ids.dtype.kind in "iu" else "str"
    return hashlib.sha256("\n".join([kind, *map(str, item_ids.tolist())]).encode()).hexdigest()


def _frame(columns: dict[str, Any]) -> Any:
    import polars as pl

    return pl.DataFrame({k: v.tolist() if v.dtype == object else v for k, v in columns.items()})


def _ids(column: Any) -> NDArray[Any]:
    values = column.to_numpy()
    return values if values.dtype.kind in "iu" else values.astype(object)
