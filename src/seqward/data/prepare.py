"""From an event log to a prepared data set: filters, split, vocabulary, protocol."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from seqward.data.dataset import Dataset
from seqward.data.events import EventLog
from seqward.settings import Count, Whole, settings


@settings
class PrepareSettings:
    """How a log becomes a data set. Filters are applied in this order, each counted once, none repeated."""

    min_session_length: Count = 3
    min_item_count: Count = 1
    split: Literal["random", "temporal", "leave-one-out"] = "random"
    vocabulary: Literal["training", "log"] = "training"
    seed: Whole = 0


def prepare(
    log: EventLog,
    settings: PrepareSettings | None = None,
    *,
    out: Path | str | None = None,
    force: bool = False,
    warn: Callable[[str], Any] = logging.getLogger("seqward").warning,
    **changes: Any,
) -> Dataset:
    """Filter, split and number a log; write the folder where ``out`` is given. ``changes`` replace single settings."""
    raise NotImplementedError
