"""What a scorer is to read of a data set to answer a split, in batches of bounded size.

An event's history is every earlier event of its session. Items outside the vocabulary are skipped in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqward.backbones.backbone import Histories
from seqward.catalogue.scores import Pairs
from seqward.data.dataset import SPLITS, Dataset
from seqward.errors import SeqwardError, did_you_mean

ROWS = 4096
"""Rows scored at a time, unless one session alone has more."""
TOKENS = 32768
"""Item slots read at a time."""
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Targets:
    """The events of a split to be ranked, and the sessions they stand in."""

    items: Ints
    """The known items of those sessions, in order."""
    offsets: Ints
    """[sessions + 1] where each session starts in ``items``."""
    n_items: int
    user: Ints
    """[sessions] number of each session's user, see ``Dataset.training_users``."""
    event: Ints
    """[targets] position in the data set."""
    item: Ints
    """[targets]"""
    session: Ints
    """[targets] which of ``offsets``."""
    before: Ints
    """[targets] known items earlier in the session."""
    repeat: NDArray[np.bool_]
    """[targets] the item, known or not, stands earlier in the session."""

    @property
    def known(self) -> NDArray[np.bool_]:
        """[targets]"""
        return self.item < self.n_items

    def __len__(self) -> int:
        return len(self.event)


def targets(data: Dataset, split: str, *, first_events: bool = True, sessions: int = 0, seed: int = 0) -> Targets:
    """The targets of a split; compute them once where the same split is ranked often.

    Args:
        split: "train", "validation", "test", or "all" for every event.
        first_events: whether an event without a history is a target.
        sessions: so many sessions with a target, drawn by ``seed``; 0 for all of them.

    Raises:
        SeqwardError: no such split, or no event in it.
    """
    if split not in (*SPLITS, "all"):
        raise SeqwardError(
            f"expected a split of {', '.join(SPLITS)} or all; got {split!r}.{did_you_mean(str(split), SPLITS)}"
        )
    event = data.events_of(split)
    session = np.searchsorted(data.offsets, event, side="right") - 1
    if not first_events:
        event, session = _where(event > data.offsets[session], event, session)
    if sessions:
        drawn = np.random.default_rng(seed).permutation(np.unique(session))[:sessions]
        event, session = _where(np.isin(session, drawn), event, session)
    if not len(event):
        raise SeqwardError(f"the split {split!r} holds no event to rank. Prepare the data with another split.")
    read, session = np.unique(session, return_inverse=True)
    flat, starts = events_of_sessions(data.offsets, read)
    item = data.item[flat].astype(np.int64)
    known = item < data.n_items
    known_before = np.concatenate([[0], np.cumsum(known)])
    place = starts[session] + event - data.offsets[read[session]]
    offsets = known_before[starts]
    return Targets(
        items=item[known],
        offsets=offsets,
        n_items=data.n_items,
        user=data.training_users()[0][read],
        event=event,
        item=item[place],
        session=session,
        before=known_before[place] - offsets[session],
        repeat=_seen_before(np.repeat(np.arange(len(read)), np.diff(starts)), item)[place],
    )


def _where(keep: NDArray[np.bool_], *arrays: Ints) -> list[Ints]:
    return [array[keep] for array in arrays]


def events_of_sessions(offsets: Ints, sessions: Ints) -> tuple[Ints, Ints]:
    """Positions of all events of the sessions, and where each session starts among them, [sessions + 1]."""
    lengths = offsets[sessions + 1] - offsets[sessions]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return np.repeat(offsets[sessions] - starts[:-1], lengths) + np.arange(starts[-1]), starts


def _seen_before(session: Ints, item: Ints) -> NDArray[np.bool_]:
    """[events] whether the same item stands earlier in the same session."""
    order = np.lexsort((item, session))
    seen = np.zeros(len(item), dtype=bool)
    seen[order[1:]] = (session[order[1:]] == session[order[:-1]]) & (item[order[1:]] == item[order[:-1]])
    return seen


class Batch(NamedTuple):
    histories: Histories
    every: bool
    target: Ints
    """[n] the targets that this batch answers."""
    row: Tensor
    """[n] the row of the scores that each target is ranked in."""


class _Readings(NamedTuple):
    """What a scorer is to read, a stretch of ``Targets.items`` each, and the targets that each reading answers."""

    every: bool
    session: Ints
    """[readings] which of ``Targets.offsets``."""
    first: Ints
    """[readings]"""
    length: Ints
    """[readings]"""
    target: Ints
    """[n]"""
    reading: Ints
    """[n] the reading of each target, ascending."""


def batches(targets: Targets, context: int | None, chosen: Ints | None = None, causal: bool = True) -> Iterator[Batch]:
    """Batches that answer the known targets (or those ``chosen``), each once; longest histories first.

    Args:
        causal: whether one pass over a session can answer for several of its targets.
    """
    if chosen is None and not causal:
        chosen = np.flatnonzero(targets.known)
    for readings in _readings(targets, context) if chosen is None else (_windows(targets, chosen, context),):
        order = np.argsort(-readings.length, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        by_reading = np.argsort(rank[readings.reading], kind="stable")
        target, reading = readings.target[by_reading], rank[readings.reading][by_reading]
        start = 0
        while start < len(order):
            width = max(1, int(readings.length[order[start]]))
            rows = width + 1 if readings.every else 1
            stop = start + max(1, min(ROWS // rows, TOKENS // width))
            low, high = np.searchsorted(reading, [start, stop])
            part = order[start:stop]
            users = torch.from_numpy(targets.user[readings.session[part]])
            histories = _histories(targets, readings.first[part], readings.length[part], width)._replace(users=users)
            row = (reading[low:high] - start) * rows
            if readings.every:
                row = row + targets.before[target[low:high]]
            yield Batch(histories, readings.every, target[low:high], torch.from_numpy(row))
            start = stop


def _readings(targets: Targets, context: int | None) -> tuple[_Readings, _Readings]:
    """One pass over a session for all its targets within the context; a window of its own for any other target.

    A target that is alone in its session gets a window too: then one row is scored instead of the whole session's.
    """
    near = targets.known if context is None else targets.known & (targets.before <= context)
    company = np.bincount(targets.session[near], minlength=len(targets.offsets))
    shared = near & (company[targets.session] > 1)
    together = np.flatnonzero(shared)
    session, reading = np.unique(targets.session[together], return_inverse=True)
    length = np.zeros(len(session), dtype=np.int64)
    np.maximum.at(length, reading, targets.before[together])
    passes = _Readings(True, session, targets.offsets[session], length, together, reading)
    return passes, _windows(targets, np.flatnonzero(targets.known & ~shared), context)


def _windows(targets: Targets, target: Ints, context: int | None) -> _Readings:
    before = targets.before[target]
    length = before if context is None else np.minimum(before, context)
    session = targets.session[target]
    first = targets.offsets[session] + before - length
    return _Readings(False, session, first, length, target, np.arange(len(target)))


def _histories(targets: Targets, first: Ints, length: Ints, width: int) -> Histories:
    """[readings, width] items, padded on the right."""
    slots = np.arange(width)
    here = np.minimum(first[:, None] + slots, max(len(targets.items) - 1, 0))
    items = targets.items[here] if len(targets.items) else np.zeros_like(here)
    return Histories(torch.from_numpy(np.where(slots < length[:, None], items, targets.n_items)))


def already_seen(targets: Targets, batch: Batch) -> Pairs:
    """For each target of the batch, the known items of its whole history."""
    counts = targets.before[batch.target]
    starts = np.concatenate([[0], np.cumsum(counts)])
    first = targets.offsets[targets.session[batch.target]]
    place = np.repeat(first - starts[:-1], counts) + np.arange(starts[-1])
    return Pairs(batch.row.repeat_interleave(torch.from_numpy(counts)), torch.from_numpy(targets.items[place]))
