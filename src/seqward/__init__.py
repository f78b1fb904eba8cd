"""Sequential recommenders trained by offline reinforcement learning.

The public names load on first use, so that ``import seqward`` costs nothing and the training core stays free of the
data frame libraries.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqward.data.columns import Columns
    from seqward.data.dataset import Dataset
    from seqward.data.events import EventLog
    from seqward.data.prepare import PrepareSettings, prepare
    from seqward.data.simulate import simulate
    from seqward.errors import SeqwardError
    from seqward.recommender import Recommender

__version__ = "0.1.0"
__all__ = [
    "Columns",
    "Dataset",
    "EventLog",
    "PrepareSettings",
    "Recommender",
    "SeqwardError",
    "prepare",
    "simulate",
]

_HOMES = {
    "Columns": "seqward.data.columns",
    "Dataset": "seqward.data.dataset",
    "EventLog": "seqward.data.events",
    "PrepareSettings": "seqward.data.prepare",
    "Recommender": "seqward.recommender",
    "SeqwardError": "seqward.errors",
    "prepare": "seqward.data.prepare",
    "simulate": "seqward.data.simulate",
}


def __dir__() -> list[str]:
    return [*__all__, *globals()]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'seqward' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
