"""From an event log to a prepared data set: filters, split, vocabulary, and the protocol that tells of them."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from seqward import __version__
from seqward.data.columns import occurrences
from seqward.data.dataset import SPLITS, TABLES, TRAIN, Dataset
from seqward.data.events import EventLog, per_type
from seqward.data.files import no_space
from seqward.data.published import count_check
from seqward.data.splits import generator, split_events, split_rule
from seqward.errors import SeqwardError, check_whole, did_you_mean
from seqward.settings import Count, Whole, settings

LOGGER = logging.getLogger("seqward")
Split = Literal["random", "temporal", "leave-one-out"]
Vocabulary = Literal["training", "log"]
COUNTED = {"min_session_length": 1, "min_item_count": 1, "validation_users": 0, "seed": 0}
"""The settings that are whole numbers, and the least that they may be."""
VOCABULARIES = {
    "training": "items of training events; targets outside it count as misses",
    "log": "all items of the log after the filters, those never trained on included",
}


@settings
class PrepareSettings:
    """How a log becomes a data set. Filters count once, sessions first: an item filter may leave short sessions."""

    min_session_length: Count = 3
    """Sessions of fewer events are dropped."""
    min_item_count: Count = 1
    """Then the events of items with fewer events are dropped."""
    split: Split = "random"
    vocabulary: Vocabulary = "training"
    validation_users: Whole = 0
    """Of a leave-one-out split: the last event but one of so many users (sessions, where a user has several) validates,
    that of the others trains; 0 for all."""
    seed: Whole = 0
    """Draws the random split, the validation users and the numbers of the items."""


def prepare(
    log: EventLog,
    settings: PrepareSettings | None = None,
    *,
    out: Path | str | None = None,
    force: bool = False,
    warn: Callable[[str], Any] = LOGGER.warning,
    **changes: Any,
) -> Dataset:
    """Filter, split and number a log.

    Args:
        settings: the defaults of the source, ``PrepareSettings()`` without.
        out: folder to write; the data set returned has it as its ``path``.
        force: replace a data set that stands in ``out``.
        warn: called with each warning; all are in ``protocol["warnings"]``.
        changes: fields of ``PrepareSettings`` to set, such as ``split="temporal", seed=1``.

    Raises:
        SeqwardError: a setting is unknown or out of range, ``out`` is taken or its disk is full, no session is left
            after the filters, or none to train on; or ``log`` is none.
    """
    if not isinstance(log, EventLog):
        raise SeqwardError(
            f"prepare expects an EventLog; got {type(log).__name__}. EventLog.from_frame makes one of a frame, "
            "EventLog.read of a file."
        )
    chosen = _checked(settings or PrepareSettings(), changes)
    folder = None if out is None else free_folder(Path(out), force)
    kept, removed = _filtered(log, chosen)
    split = split_events(chosen.split, kept.offsets, kept.time, chosen.seed, chosen.validation_users)
    order, n_items = number_items(kept.item, split == TRAIN, chosen)
    number = np.full(len(log.item_ids), -1, np.int32)
    number[order] = np.arange(len(order), dtype=np.int32)
    data = Dataset(
        item=number[kept.item],
        reward=kept.reward,
        goal=kept.goal,
        event_type=kept.event_type,
        split=split,
        offsets=kept.offsets,
        item_ids=kept.item_ids[order],
        n_items=n_items,
        session_ids=kept.session_ids,
        user_ids=kept.user_ids,
        event_types=kept.event_types,
        protocol={},
        session_time=None if kept.time is None else kept.time[kept.offsets[1:] - 1],
    )
    check = _check_counts(log, data)
    differs = [f"Count check {check}"] if check and check.startswith("differs") else []
    warnings = [*log.warnings, *_filter_warnings(removed, log), *_split_warnings(data), *differs]
    data.protocol.update(_protocol(log, data, chosen, removed, warnings) | ({"count_check": check} if check else {}))
    for warning in warnings:
        warn(warning)
    return data if folder is None else _write(data, folder)


def _checked(settings: PrepareSettings, changes: dict[str, Any]) -> PrepareSettings:
    known = [field.name for field in fields(PrepareSettings)]
    for name in changes:
        if name not in known:
            raise SeqwardError(
                f"prepare has no setting {name!r}; it has {', '.join(known)}.{did_you_mean(name, known)}"
            )
    chosen = replace(settings, **changes)
    for name, choices in (("split", get_args(Split)), ("vocabulary", get_args(Vocabulary))):
        if (value := getattr(chosen, name)) not in choices:
            near = did_you_mean(str(value), choices)
            raise SeqwardError(f"{name} is {value!r}; expected one of {', '.join(choices)}.{near}")
    for name, least in COUNTED.items():
        check_whole(name, getattr(chosen, name), least)
    return replace(chosen, **{name: int(getattr(chosen, name)) for name in COUNTED})  # NumPy's are none to JSON


def _filtered(log: EventLog, chosen: PrepareSettings) -> tuple[EventLog, list[dict[str, Any]]]:
    """The log after the filters, and what each removed."""
    removed = []
    if chosen.min_session_length > 1:
        lengths = np.diff(log.offsets)
        long = select(log, np.repeat(lengths >= chosen.min_session_length, lengths))
        removed.append(_removed(f"sessions of fewer than {chosen.min_session_length} events", log, long))
        log = long
    if chosen.min_item_count > 1 and log.n_events:
        counts = occurrences(log.item)
        frequent = select(log, (counts >= chosen.min_item_count)[log.item])
        short = int((np.diff(frequent.offsets) < chosen.min_session_length).sum())
        removed.append(
            _removed(f"events of items with fewer than {chosen.min_item_count} events", log, frequent)
            | {"shorter_sessions_kept": short}
        )
        log = frequent
    if not log.n_events:
        steps = "; ".join(f"{step['filter']}: {step['sessions']} sessions, {step['events']} events" for step in removed)
        raise SeqwardError(
            f"No session is left after the filters. Removed were {steps}.\n"
            "Lower min_session_length or min_item_count, or check that the session column is the right one."
        )
    return log, removed


def select(log: EventLog, events: NDArray[np.bool_]) -> EventLog:
    """The log of the events that are marked; sessions without one vanish, items keep their place in ``item_ids``."""
    if events.all():
        return log
    lengths = np.add.reduceat(events, log.offsets[:-1], dtype=np.int32)
    left = lengths > 0
    return replace(
        log,
        item=log.item[events],
        time=None if log.time is None else log.time[events],
        event_type=log.event_type[events],
        reward=log.reward[events],
        goal=log.goal[events],
        offsets=np.concatenate([[0], np.cumsum(lengths[left])]),
        session_ids=log.session_ids[left],
        user_ids=None if log.user_ids is None else log.user_ids[left],
    )


def _removed(name: str, before: EventLog, after: EventLog) -> dict[str, Any]:
    return {
        "filter": name,
        "events": before.n_events - after.n_events,
        "sessions": before.n_sessions - after.n_sessions,
        "items": _distinct(before.item) - _distinct(after.item),
    }


def _distinct(numbers: NDArray[np.int32]) -> int:
    return int(np.count_nonzero(occurrences(numbers)))


def number_items(
    item: NDArray[np.int32], is_training: NDArray[np.bool_], chosen: PrepareSettings
) -> tuple[NDArray[np.int64], int]:
    """The items that occur, vocabulary first, each part shuffled by the seed; and the size of the vocabulary.

    Position in the result is an item's number in the data set.
    """
    occurs = occurrences(item) > 0
    known = occurrences(item[is_training], len(occurs)) > 0 if chosen.vocabulary == "training" else occurs
    draw = generator(chosen.seed, "items")
    parts = [draw.permutation(np.flatnonzero(part)) for part in (known, occurs & ~known)]
    return np.concatenate(parts), len(parts[0])


def _filter_warnings(removed: list[dict[str, Any]], log: EventLog) -> list[str]:
    return [
        f"Dropped {step['filter']}: {step['sessions']} of {log.n_sessions} sessions, "
        f"{step['events']} of {log.n_events} events."
        for step in removed
        if step["events"]
    ]


def _split_warnings(data: Dataset) -> list[str]:
    """Refuses a data set without training events; names the splits that are empty."""
    if not (data.split == TRAIN).any():
        raise SeqwardError(
            f"The split leaves nothing to train on: 80 % of {data.n_sessions} session, rounded down, are none.\n"
            "Use more sessions, or split leave-one-out."
        )
    return [f"The {name} split is empty." for name, code in SPLITS.items() if not (data.split == code).any()]


def _check_counts(log: EventLog, data: Dataset) -> str | None:
    """How the counts compare with the published ones, where a source reader says what is known of them."""
    published = log.protocol["source"].get("published")
    if published is None:
        return None
    events, goals = data.n_events, int(data.goal.sum())
    found = {"events": events, "sessions": data.n_sessions, "items": len(data.item_ids), "goals": goals}
    return count_check(published, found | {"clicks": events - goals})


def _split_protocol(chosen: PrepareSettings) -> dict[str, Any]:
    users = chosen.validation_users
    protocol: dict[str, Any] = {"name": chosen.split, "rule": split_rule(chosen.split, users)}
    return protocol | ({"validation_users": users} if users else {})


def _protocol(
    log: EventLog, data: Dataset, chosen: PrepareSettings, removed: list[dict[str, Any]], warnings: list[str]
) -> dict[str, Any]:
    return {
        **log.protocol,
        "filters": [*log.protocol["filters"], *removed],
        "split": _split_protocol(chosen),
        "vocabulary": {"name": chosen.vocabulary, "rule": VOCABULARIES[chosen.vocabulary]},
        "seed": chosen.seed,
        "counts": {
            **_counts(data, np.ones(data.n_events, bool)),
            "items": data.n_items,
            "items_outside_vocabulary": len(data.item_ids) - data.n_items,
            "mean_length": data.n_events / data.n_sessions,
            "splits": {name: _counts(data, data.split == code) for name, code in SPLITS.items()},
        },
        "warnings": warnings,
        "seqward": __version__,
    }


def _counts(data: Dataset, events: NDArray[np.bool_]) -> dict[str, Any]:
    """Counts over the marked events, and over the sessions that hold one."""
    return {
        "events": int(events.sum()),
        "sessions": int(np.count_nonzero(np.logical_or.reduceat(events, data.offsets[:-1]))),
        "goals": int(data.goal[events].sum()),
        "events_per_type": per_type(data.event_types, data.event_type[events]),
        "targets_outside_vocabulary": int((data.item[events] >= data.n_items).sum()),
    }


def free_folder(folder: Path, force: bool) -> Path:
    """``folder``, once it is sure that it may be written."""
    if folder.exists() and not folder.is_dir():
        raise SeqwardError(f"{folder} is a file. Expected the name of a folder to write.")
    there = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    strangers = sorted(there - {f"{name}.parquet" for name in TABLES} - {"dataset.json"})
    if strangers:
        raise SeqwardError(f"{folder} holds other files ({strangers[0]}, ...). Choose a new folder for the data set.")
    if there and not force:
        raise SeqwardError(f"{folder} already holds a data set. Choose another folder, or replace it with --force.")
    return folder


def _write(data: Dataset, folder: Path) -> Dataset:
    """Save under another name first, so that what stands in ``folder`` is always whole."""
    partial = folder.with_name(f"{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        data.save(partial)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if no_space(error):
            raise SeqwardError(
                f"No space is left on the disk of {folder}, so no data set was written. Free some or write elsewhere."
            ) from error
        if isinstance(error, OSError):
            raise SeqwardError(f"{folder} cannot be written: {error.strerror or error}.") from error
        raise
    return replace(data, path=folder)
