"""Scores over the catalogue as an object: what can be asked of them, and the engines that answer."""

from __future__ import annotations

from seqward.catalogue.engines import ENGINES, scores_of
from seqward.catalogue.scores import MISS, Best, LinearScores, Pairs, Scores

__all__ = ["ENGINES", "MISS", "Best", "LinearScores", "Pairs", "Scores", "scores_of"]
