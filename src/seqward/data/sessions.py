"""Which session every row of a log is of, and the order of the rows in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from seqward.data.columns import UNITS, Times, number_ids, pieces


class Grouped(NamedTuple):
    """Which session every row is of."""

    number: NDArray[np.int32]
    """[rows] position in ``ids``"""
    ids: NDArray[Any]
    rule: dict[str, Any]
    """For the protocol."""
    owners: NDArray[Any] | None = None
    """[sessions] the user of each, where sessions are made from users."""
    users: tuple[NDArray[Any], NDArray[np.int32]] | None = None
    """The users and [rows] the position of each row's, where the log names sessions and users."""


def group_rows(
    table: dict[str, pl.Series], parts: Mapping[str, str], times: Times | None, gap: float | None, unit: str | None
) -> Grouped:
    """The rows' sessions: those that the log names, the users, or the users' logs cut where ``gap`` minutes are empty.

    The columns that are read are taken out of ``table``.

    Raises:
        SeqwardError: an id is null or blank, or of no type for ids.
    """
    users = number_ids(table.pop(parts["user_id"]), "users") if "user_id" in parts else None
    if "session_id" in parts:
        ids, number = number_ids(table.pop(parts["session_id"]), "sessions")
        return Grouped(number, ids, {"by": "session_id"}, users=users)
    assert users is not None  # Columns.resolve sees to it
    if gap is None:
        return Grouped(users[1], users[0], {"by": "user_id"}, owners=users[0])
    assert times is not None
    unit = "us" if times.kind == "date" else unit or times.unit
    number, owner, nth = cut_by_gap(users[1], times.values, gap * 60 * UNITS[unit])
    owners = users[0][owner]
    ids = np.array([f"{user}/{n}" for user, n in zip(owners.tolist(), nth.tolist(), strict=True)], object)
    rule = f"a user's log is cut where nothing happens for more than {gap:g} minutes (times in {unit})"
    return Grouped(number, ids, {"by": "user_id", "gap_minutes": gap, "rule": rule}, owners=owners)


def cut_by_gap(
    user: NDArray[np.int32], time: NDArray[Any], gap: float
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    """Cut each user's rows, in order of time, where the time between two exceeds ``gap`` (in ticks of ``time``).

    Returns:
        [rows] session of each row; [sessions] user of each session; [sessions] its number within the user, from 1.
    """
    rows, time_in, *_ = stable_order(user, time)
    user_in = user[rows]
    other_user = np.diff(user_in, prepend=-1) != 0
    starts = other_user | (np.diff(time_in, prepend=time_in[0]) > gap)
    number = np.empty(len(rows), np.int32)
    number[rows] = np.cumsum(starts) - 1
    owner = user_in[starts]
    firsts = np.flatnonzero(np.diff(owner, prepend=-1))
    nth = np.arange(len(owner)) - np.repeat(firsts, np.diff(firsts, append=len(owner))) + 1
    return number, owner, nth


class Order(NamedTuple):
    """The rows by group, then key, then row number."""

    rows: NDArray[np.int64]
    """[rows] the row at each place"""
    keys: NDArray[Any]
    """[rows] the key at each place"""
    offsets: NDArray[np.int64]
    """[groups + 1] where each group starts, and the end"""
    late: int
    """How many rows came before an earlier one of their group."""


def stable_order(group: NDArray[np.int32], key: NDArray[Any]) -> Order:
    """Sort the rows of a log.

    Group and row number share one int64, which sorts many times faster than an argsort; a second sort touches only the
    groups whose rows were not in order yet.
    """
    bits = len(group).bit_length()
    rows = np.empty(len(group), np.int64)
    for piece in pieces(len(group)):
        np.left_shift(group[piece], bits, out=rows[piece], dtype=np.int64)
        rows[piece] |= np.arange(piece.start, piece.stop)
    rows.sort()
    starts = np.ones(len(rows), bool)
    for piece in pieces(len(rows) - 1):
        starts[1:][piece] = rows[1:][piece] >> bits != rows[piece] >> bits
    offsets = np.append(np.flatnonzero(starts), len(rows))
    rows &= (1 << bits) - 1
    keys = key[rows]
    late = np.flatnonzero(~starts[1:] & (keys[1:] < keys[:-1]))
    if len(late):
        unsorted = np.unique(np.searchsorted(offsets, late, side="right")) - 1
        lengths = offsets[unsorted + 1] - offsets[unsorted]
        nth = np.repeat(np.arange(len(unsorted)), lengths)
        places = (offsets[unsorted] - np.cumsum(lengths) + lengths)[nth] + np.arange(len(nth))
        right = places[np.lexsort((keys[places], nth))]
        rows[places], keys[places] = rows[right], keys[right]
    return Order(rows, keys, offsets, len(late))
