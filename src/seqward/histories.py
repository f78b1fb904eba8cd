"""Histories to recommend for: from lists, mappings, frames or a data set, and the frame that goes back."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqward.catalogue import Best
from seqward.data.dataset import OWNERS, Dataset
from seqward.errors import SeqwardError

Report = Callable[[str], Any]
"""Receives what the user should know."""


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
        """``session_id | user_id, item_id, score, rank``; a row an item, ranks from 1."""
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


def of_histories(histories: Any, item_ids: NDArray[Any], report: Report) -> NamedHistories:
    """Named histories of item numbers from lists, a mapping or a frame.

    Raises:
        SeqwardError: nothing in them, or a frame without the columns.
    """
    column, backend = "session_id", "polars"
    if isinstance(histories, Mapping):
        owners, lists = list(histories), _lists(list(histories.values()))
    elif isinstance(histories, Sequence) and not isinstance(histories, str):
        owners, lists = list(range(len(histories))), _lists(histories)
    else:
        column, owners, lists, backend = _of_frame(histories)
    if not owners:
        raise SeqwardError("there is no history to recommend for: expected at least one.")
    return NamedHistories(column, owners, _numbered(lists, item_ids, report), backend)


def of_dataset(data: Dataset, users: Sequence[Any] | None, report: Report) -> NamedHistories:
    """The whole sessions of a data set, or those of the named sessions or users; of a user's several, the last one.

    Raises:
        SeqwardError: none of the names is known.
    """
    names = {name: number for number, name in enumerate(data.session_ids.tolist())}
    column = "session_id"
    wanted = list(names) if users is None else list(users)
    if users is not None and data.user_ids is not None and not any(user in names for user in wanted):
        names, column = {name: number for number, name in enumerate(data.user_ids.tolist())}, "user_id"
    known = [user for user in wanted if user in names]
    if len(known) < len(wanted):
        unknown = next(user for user in wanted if user not in names)
        report(f"{len(wanted) - len(known)} of {len(wanted)} users are not in the data set, such as {unknown!r}.")
    if not known:
        raise SeqwardError("none of the users is in the data set. Pass their histories as histories=... instead.")
    numbers = [names[user] for user in known]
    sessions = [data.item[data.offsets[n] : data.offsets[n + 1]].astype(np.int64) for n in numbers]
    items = [items[items < data.n_items] for items in sessions]
    return NamedHistories(column, known, items, users=data.training_users()[0][numbers])


def _lists(histories: Sequence[Any]) -> list[list[Any]]:
    if any(isinstance(h, str) or not hasattr(h, "__iter__") for h in histories):
        raise SeqwardError('histories must be lists of item ids, such as [["a", "b"]]; got a list of single ids.')
    return [list(h) for h in histories]


def _of_frame(frame: Any) -> tuple[str, list[Any], list[list[Any]], Any]:
    import narwhals as nw

    try:
        frame = nw.from_native(frame)
    except TypeError:
        raise SeqwardError(
            f"histories must be lists of item ids, a mapping of id to such a list, or a frame; "
            f"got {type(frame).__name__}."
        ) from None
    frame = frame.collect() if isinstance(frame, nw.LazyFrame) else frame
    column = next((name for name in OWNERS if name in frame.columns), None)
    if column is None or "item_id" not in frame.columns:
        raise SeqwardError(
            f"a frame of histories needs session_id or user_id, and item_id; it has {', '.join(frame.columns)}. "
            "Rename its columns."
        )
    by_owner: dict[Any, list[Any]] = {}
    for owner, item in zip(frame[column].to_list(), frame["item_id"].to_list(), strict=True):
        by_owner.setdefault(owner, []).append(item)
    return column, list(by_owner), list(by_owner.values()), frame.implementation


def _numbered(lists: Sequence[Sequence[Any]], item_ids: NDArray[Any], report: Report) -> list[NDArray[np.int64]]:
    """Item numbers of each history, the unknown ones skipped and reported."""
    numbers = {item: number for number, item in enumerate(item_ids.tolist())}
    try:
        found = [np.array([numbers[i] for i in items if i in numbers], dtype=np.int64) for items in lists]
    except TypeError:
        strange = next(item for items in lists for item in items if not isinstance(item, Hashable))
        raise SeqwardError(f"item ids must be texts or whole numbers; got {strange!r}.") from None
    unknown = [item for items in lists for item in items if item not in numbers]
    if unknown:
        empty = sum(len(known) == 0 and len(items) > 0 for known, items in zip(found, lists, strict=True))
        report(
            f"{len(unknown)} items of the histories are not in the catalogue and were skipped, such as {unknown[0]!r}"
            + (f"; {empty} histories held no other, and were read as empty." if empty else ".")
        )
    return found
