"""An event log: who met which item, when, and what it was worth. Checked once, then plain NumPy columns in order.

    log = EventLog.read("events.csv", Columns(user_id="visitorid", item_id="itemid", event_type="event"),
                        rewards={"view": 0.2, "addtocart": 1.0}, goal="addtocart")
    log = EventLog.from_frame(frame, rewards={"click": 0.2, "buy": 1.0}, goal="buy")      # canonical column names

``from_frame(frame, columns=Columns(), *, session_gap_minutes=None, time_unit=None, rewards=None, goal=None,
source=None, filters=(), warnings=())`` is what source readers call: ``source`` is recorded in the protocol as it is
(name, file, sha256, ...), ``filters`` lists what the reader itself removed (``{"filter": "transaction rows dropped",
"events": 46}``), ``warnings`` what it has to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of a log's columns. ``None``: the column of the field's own name is used where the log has it.

    ``session_id`` or ``user_id`` is needed (naming one leaves the other out), ``item_id``, and a time (``timestamp`` or
    ``datetime``) or an ``order``. ``order`` is used only where it is named; beside a time it orders the events of a
    session, and the time orders the sessions.
    """

    session_id: str | None = None
    user_id: str | None = None
    item_id: str | None = None
    timestamp: str | None = None
    datetime: str | None = None
    order: str | None = None
    event_type: str | None = None
    reward: str | None = None


@dataclass(frozen=True, eq=False)
class EventLog:
    """A checked log: events grouped by session (sessions by id) and in order within each; equal times keep file order."""

    item: NDArray[np.int32]
    """[events] position in ``item_ids``."""
    time: NDArray[np.int64] | NDArray[np.float64] | None
    """[events] as in the log; microseconds where it has dates; None where it has only an order."""
    event_type: NDArray[np.int16]
    """[events] position in ``event_types``."""
    reward: NDArray[np.float32]
    goal: NDArray[np.bool_]
    offsets: NDArray[np.int64]
    """[sessions + 1]"""
    item_ids: NDArray[Any]
    """[items] sorted; int64 or str objects."""
    session_ids: NDArray[Any]
    """[sessions] sorted."""
    user_ids: NDArray[Any] | None
    """[sessions]"""
    event_types: tuple[str, ...]
    """Sorted by name; ("event",) where the log has no types."""
    protocol: dict[str, Any]
    warnings: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path | str, columns: Columns = Columns(), *, separator: str | None = None, **options: Any) -> EventLog:
        """Read a CSV, TSV or Parquet file; ``options`` are those of ``from_frame``."""
        raise NotImplementedError

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        columns: Columns = Columns(),
        *,
        session_gap_minutes: float | None = None,
        time_unit: str | None = None,
        rewards: Mapping[str, float] | None = None,
        goal: str | None = None,
        source: Mapping[str, Any] | None = None,
        filters: Sequence[Mapping[str, Any]] = (),
        warnings: Sequence[str] = (),
    ) -> EventLog:
        """Check a pandas, polars, pyarrow or duckdb frame."""
        raise NotImplementedError
