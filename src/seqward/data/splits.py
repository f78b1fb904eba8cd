"""Which events a model learns from, is chosen on, and is tested on: one code an event, TRAIN, VALIDATION or TEST."""

from __future__ import annotations

from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from seqward.data.dataset import TEST, TRAIN, VALIDATION
from seqward.errors import SeqwardError

RULES = {
    "random": "sessions drawn by the seed: 80 % train, 10 % validation, 10 % test",
    "temporal": "sessions by the time of their last event (ties by session id): the first 80 % train, the next 10 % "
    "validation, the last 10 % test",
    "leave-one-out": "of each session the last event is test, the one before validation, the rest train; sessions of "
    "fewer than 3 events train only",
}


def split_events(
    name: str,
    offsets: NDArray[np.int64],
    time: NDArray[np.int64] | NDArray[np.float64] | None,
    seed: int,
    validation_users: int = 0,
) -> NDArray[np.uint8]:
    """[events] TRAIN, VALIDATION or TEST by the rule ``name`` of ``RULES``.

    Args:
        offsets: [sessions + 1] the events of session s are ``offsets[s]:offsets[s + 1]``; none is empty.
        time: [events], needed by ``temporal``.
        validation_users: of leave-one-out, of how many sessions the last event but one validates; that of the others
            trains. 0 for all.

    Raises:
        SeqwardError: a temporal split of a log without times, validation users where the split has a share of its own,
            or more of them than there are.
    """
    if validation_users and name != "leave-one-out":
        raise SeqwardError(
            f"validation_users is for a leave-one-out split only; the {name} split validates on 10 % of the sessions."
        )
    if name == "leave-one-out":
        return _leave_one_out(offsets, validation_users, seed)
    if name == "random":
        order = generator(seed, "split").permutation(len(offsets) - 1)
    elif time is None:
        raise SeqwardError(
            "A temporal split needs times, and the log has only an order of the events within a session.\n"
            "Name a time column, or split by 'random' or 'leave-one-out'."
        )
    else:
        order = np.argsort(np.maximum.reduceat(time, offsets[:-1]), kind="stable")
    return np.repeat(_cut(order), np.diff(offsets))


def split_rule(name: str, validation_users: int = 0) -> str:
    """What ``split_events`` does, in words."""
    if not validation_users:
        return RULES[name]
    return (
        f"of each session the last event is test; of {validation_users} sessions (users) drawn by the seed the one "
        "before is validation; the rest train; sessions of fewer than 3 events train only"
    )


def _cut(order: NDArray[np.int64]) -> NDArray[np.uint8]:
    """[sessions] the split of each, where ``order`` lists the sessions: 80 %, 10 %, 10 %, rounded down."""
    n = len(order)
    split = np.empty(n, np.uint8)
    split[order] = np.repeat(
        np.array([TRAIN, VALIDATION, TEST], np.uint8), [n * 8 // 10, n * 9 // 10 - n * 8 // 10, n - n * 9 // 10]
    )
    return split


def _leave_one_out(offsets: NDArray[np.int64], validation_users: int, seed: int) -> NDArray[np.uint8]:
    split = np.full(offsets[-1], TRAIN, np.uint8)
    ends = offsets[1:][np.diff(offsets) >= 3]
    if validation_users > len(ends):
        raise SeqwardError(f"validation_users is {validation_users}, but only {len(ends)} have 3 events or more.")
    split[ends - 1] = TEST
    validating = ends if validation_users == 0 else generator(seed, "split").permutation(ends)[:validation_users]
    split[validating - 2] = VALIDATION
    return split


def generator(seed: int, use: str) -> np.random.Generator:
    """Random numbers of their own for each use, so that one does not shift another."""
    return np.random.default_rng([seed, crc32(use.encode())])
