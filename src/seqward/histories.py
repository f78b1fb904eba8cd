"""Histories to recommend for: from lists, mappings, frames or a data set, and the frame that goes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seqward.data.dataset import OWNERS, Dataset
from seqward.errors import SeqwardError
from seqward.ids import UNKNOWN, Numbering, Report, known_ones, listed_ids, named_lists, numbered, numbering

if TYPE_CHECKING:
    from seqward.catalogue import Best
    from seqward.data.columns import Columns

PARTS = (*OWNERS, "item_id", "time", "order")
"""The columns of a frame of histories that are read."""


@dataclass(frozen=True, eq=False)
class NamedHistories:
    """Histories and whose they are."""

    column: str
    """"session_id" or "user_id"."""
    owners: Sequence[Any]
    items: Sequence[NDArray[np.int64]]
    """Known item numbers of each, in order of time."""
    backend: Any = "polars"
    """The narwhals implementation of the frame that goes back."""
    users: NDArray[np.int64] | None = None
    """Number of each one's user among those whom the data set trains on, -1 for the others."""

    def frame(self, best: Best, item_ids: NDArray[Any]) -> Any:
        """``session_id | user_id, item_id, score, rank``; a row an item, ranks from 1, owners in their order."""
        import narwhals as nw

        items, scores = best.items.numpy(), best.values.numpy()
        row, place = np.nonzero(items >= 0)
        columns = {
            self.column: [self.owners[r] for r in row.tolist()],
            "item_id": item_ids[items[row, place]].tolist(),
            "score": scores[row, place],
            "rank": place + 1,
        }
        return nw.from_dict(columns, backend=self.backend).to_native()


def of_histories(
    histories: Any, item_ids: NDArray[Any], report: Report, columns: Columns | Mapping[str, str] | None = None
) -> NamedHistories:
    """Named histories of item numbers from lists, a mapping or a frame.

    Owners stand in the order in which they first appear. The rows of a frame are put in order of its time, or of the
    order column that ``columns`` names; equal ones, and all where there is neither, keep the order of the rows.

    Args:
        columns: what the columns of a frame are called, where that is not their own name.

    Raises:
        SeqwardError: nothing in them, or a frame that lacks a column or a value in it.
    """
    number = numbering(item_ids)
    is_lists = isinstance(histories, Sequence) and not isinstance(histories, str)
    if not is_lists and not isinstance(histories, Mapping):
        return _of_frame(histories, columns, number, report)
    if columns is not None:
        raise SeqwardError("columns=... renames the columns of a frame; these histories are lists.")
    owners, lists = named_lists(histories)
    return NamedHistories("session_id", owners, numbered(lists, number, report))


def of_dataset(data: Dataset, users: Sequence[Any] | None, report: Report) -> NamedHistories:
    """The whole sessions of a data set, or those of named ones.

    Args:
        users: users, if the data set has users and one of these is among them, else sessions; of a user's several
            sessions the one that ended last, or without times the one with the highest number.

    Raises:
        SeqwardError: no list, or none of the names is known.
    """
    if users is None:
        found, wanted, column = range(len(data.session_ids)), data.session_ids.tolist(), "session_id"
    else:
        wanted = listed_ids("users", users)
        found, column = _sessions_of(data, wanted)
    known = [n for n in found if n is not None]
    if len(known) < len(wanted):
        unknown = next(user for user, n in zip(wanted, found, strict=True) if n is None)
        report(f"{len(wanted) - len(known)} of {len(wanted)} users are not in the data set, such as {unknown!r}.")
    if not known:
        raise SeqwardError("none of the users is in the data set. Pass their histories as histories=... instead.")
    sessions = [data.item[data.offsets[n] : data.offsets[n + 1]].astype(np.int64) for n in known]
    ids = data.session_ids if column == "session_id" or data.user_ids is None else data.user_ids
    items = [items[items < data.n_items] for items in sessions]
    return NamedHistories(column, ids[known].tolist(), items, users=data.training_users()[0][known])


def _sessions_of(data: Dataset, wanted: Sequence[Any]) -> tuple[list[int | None], str]:
    """The session of each name, None where it is unknown, and what the names are."""
    time = np.zeros(data.n_sessions) if data.session_time is None else data.session_time
    by_time = np.argsort(time, kind="stable")  # since of several sessions of a name the last one is found
    for column, ids in (("user_id", data.user_ids), ("session_id", data.session_ids)):
        number = numbering(ids[by_time]) if ids is not None else lambda _: None
        places = [number(name) for name in wanted]
        if any(place is not None for place in places) or column == "session_id":
            break
    return [None if place is None else int(by_time[place]) for place in places], column


def parts_of_histories(columns: Columns, names: Sequence[str]) -> dict[str, str]:
    """Part -> column, for the ``PARTS`` among ``names``; of session and user the one that counts.

    Raises:
        SeqwardError: a column that is named or needed is not there.
    """
    parts = columns.resolve(names, rewards=True, timed=False)
    owner = next(part for part in OWNERS if part in parts)
    return {part: name for part, name in parts.items() if part in PARTS and part not in {*OWNERS} - {owner}}


def _of_frame(
    frame: Any, columns: Columns | Mapping[str, str] | None, number: Numbering, report: Report
) -> NamedHistories:
    import narwhals as nw

    from seqward.data.columns import Columns, number_ids, parse_order, parse_times
    from seqward.data.events import selected

    try:
        kind = nw.from_native(frame)
    except TypeError:
        raise SeqwardError(
            f"histories must be lists of item ids, a mapping of id to such a list, or a frame; "
            f"got {type(frame).__name__}."
        ) from None
    chosen = Columns.of(columns)
    table, parts = selected(frame, lambda names: parts_of_histories(chosen, names))
    column = next(part for part in OWNERS if part in parts)
    owner_ids, owner = number_ids(table[parts[column]], "whose history it is")
    ids, item = number_ids(table[parts["item_id"]], "items")
    moment = np.zeros(len(table))
    if "order" in parts:
        moment = parse_order(table[parts["order"]])
    elif "time" in parts:
        moment = parse_times(table[parts["time"]]).values
    first = np.argsort(np.unique(owner, return_index=True)[1])  # owners by their first row
    place = np.argsort(first)[owner]
    rows = np.lexsort((moment, place))  # stable
    ends = np.cumsum(np.bincount(place))
    known = np.array([UNKNOWN if (n := number(name)) is None else n for name in ids.tolist()])[item]
    strange = next(iter(ids[item[known == UNKNOWN][:1]].tolist()), None)
    lists = known_ones(np.split(known[rows], ends[:-1]), strange, report)
    backend = kind.implementation if isinstance(kind, nw.DataFrame) else "polars"
    return NamedHistories(column, owner_ids[first].tolist(), lists, backend)
