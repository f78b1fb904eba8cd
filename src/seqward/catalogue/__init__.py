"""Scores over the catalogue as an object: what can be asked of them, and the engines that answer.

The names load on first use: ``seqward.inference`` opens ``catalogue.native`` and must not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqward.catalogue.engines import ENGINES, scores_of
    from seqward.catalogue.scores import MISS, Best, LinearScores, Pairs, Scores

__all__ = ["ENGINES", "MISS", "Best", "LinearScores", "Pairs", "Scores", "scores_of"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'seqward.catalogue' has no attribute {name!r}")
    home = "engines" if name in ("ENGINES", "scores_of") else "scores"
    return getattr(import_module(f"seqward.catalogue.{home}"), name)
