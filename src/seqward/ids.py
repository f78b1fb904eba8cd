"""Ids of items and sessions, and the numbers that stand for them; histories as lists of either."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqward.errors import SeqwardError

Report = Callable[[str], Any]
"""Receives what the user should know."""
Numbering = Callable[[Any], int | None]
"""Id -> number; None where it is unknown."""
UNKNOWN = -1


def listed_ids(name: str, ids: Any) -> list[Any]:
    """The ids of an argument.

    Raises:
        SeqwardError: it is a single one.
    """
    if isinstance(ids, str) or not hasattr(ids, "__iter__"):
        raise SeqwardError(f"{name} must be a list of ids, such as [{ids!r}]; got {ids!r}.")
    return list(ids)


def numbering(ids: NDArray[Any]) -> Numbering:
    """Finds the number of an id, or of its text: "7" is 7 and 7 is "7", while "007" is another id than either."""
    by_id = {name: number for number, name in enumerate(ids.tolist())}
    by_text = {str(name): number for name, number in by_id.items()}

    def number(name: Any) -> int | None:
        try:
            found = by_id.get(name)
        except TypeError:
            raise SeqwardError(f"ids must be texts or whole numbers; got {name!r}.") from None
        return by_text.get(str(name)) if found is None and isinstance(name, str | Integral) else found

    return number


def numbers_of(ids: Iterable[Any], number: Numbering, report: Report) -> list[int]:
    """Ascending numbers of the known ones among items to recommend; reports the others.

    Raises:
        SeqwardError: none is known.
    """
    wanted = listed_ids("items_to_recommend", ids)
    known = sorted({n for i in wanted if (n := number(i)) is not None})
    unknown = [i for i in wanted if number(i) is None]
    if unknown:
        report(f"{len(unknown)} of {len(wanted)} items to recommend are not in the catalogue, such as {unknown[0]!r}.")
    if not known:
        raise SeqwardError("no item of items_to_recommend is in the catalogue, so nothing can be recommended.")
    return known


def named_lists(histories: Sequence[Any] | Mapping[Any, Any]) -> tuple[list[Any], list[list[Any]]]:
    """Whose each history is, and its items; lists without names are counted from 0.

    Raises:
        SeqwardError: no history, or something else than lists of ids.
    """
    named = isinstance(histories, Mapping)
    lists = _lists(list(histories.values()) if named else histories)
    if not lists:
        raise SeqwardError("there is no history to recommend for: expected at least one.")
    owners = list(histories) if named else list(range(len(lists)))
    if not any(all(isinstance(owner, kind) for owner in owners) for kind in (str, Integral)):
        raise SeqwardError("the names of histories must be texts or whole numbers, all of one kind.")
    return owners, lists


def _lists(histories: Sequence[Any]) -> list[list[Any]]:
    if any(isinstance(h, str) or not hasattr(h, "__iter__") for h in histories):
        raise SeqwardError('histories must be lists of item ids, such as [["a", "b"]]; got a list of single ids.')
    if strange := [h for h in histories if isinstance(h, Set | Mapping)]:
        raise SeqwardError(f"a history is a list of item ids in order; got a {type(strange[0]).__name__}.")
    return [list(h) for h in histories]


def numbered(lists: Sequence[Sequence[Any]], number: Numbering, report: Report) -> list[NDArray[np.int64]]:
    """Item numbers of each history, the unknown ones skipped and reported."""
    found = [[number(item) for item in items] for items in lists]
    pairs = (pair for items in zip(lists, found, strict=True) for pair in zip(*items, strict=True))
    strange = next((item for item, n in pairs if n is None), None)
    return known_ones([np.array([UNKNOWN if n is None else n for n in ns], np.int64) for ns in found], strange, report)


def known_ones(lists: Sequence[NDArray[np.int64]], strange: Any, report: Report) -> list[NDArray[np.int64]]:
    """Each list without what is unknown, of which ``strange`` is an example."""
    kept = [items[items != UNKNOWN] for items in lists]
    unknown = sum(map(len, lists)) - sum(map(len, kept))
    if unknown:
        empty = sum(len(known) == 0 and len(items) > 0 for known, items in zip(kept, lists, strict=True))
        report(
            f"Items of the histories that are not in the catalogue were skipped: {unknown}, such as {strange!r}"
            + (f"; of the histories, {empty} held no other and were read as empty." if empty else ".")
        )
    return kept
