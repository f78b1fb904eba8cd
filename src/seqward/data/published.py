"""Counts that were published for a data set, held against those of a prepared one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Published:
    """Counts after preparation, as a paper or a data set's own page prints them."""

    of: str
    """Whose counts, or of which version."""
    counts: Mapping[str, int]
    """Of ``events sessions items clicks goals``; clicks are the events that are no goal."""
    remark: str = ""
    """Why other counts say nothing, where they do not."""


def count_check(published: Sequence[Mapping[str, Any]], found: Mapping[str, int]) -> str:
    """``matched: ...``, ``differs: ... expected ..., found ...`` or ``no published count known``.

    Args:
        published: the fields of ``Published``, one mapping for each known version.
        found: counts of the prepared data set, under the same names.
    """
    for known in published:
        if all(found[name] == count for name, count in known["counts"].items()):
            return f"matched: {known['of']}"
    for known in published:
        if not known["remark"]:
            return (
                f"differs: {known['of']}: expected {_listed(known['counts'])}, found {_listed(known['counts'], found)}"
            )
    said = "; ".join(f"{known['of']} has {_listed(known['counts'])} ({known['remark']})" for known in published)
    return f"no published count known{' for this file: ' + said if said else ''}"


def _listed(names: Mapping[str, int], values: Mapping[str, int] | None = None) -> str:
    return ", ".join(f"{(values or names)[name]:,} {name}" for name in names)
