"""Scores that say a value through a rising function: orders and sums are of the scores, named values are values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from seqward.catalogue.scores import Best, LinearScores, Pairs
from seqward.objectives import bins


class Reading(Protocol):
    """How values of n states are read from scores; rising in each score, and so of the scores' order."""

    def value(self, scores: Tensor) -> Tensor:
        """[n] -> [n], [n, k] -> [n, k]."""
        ...

    def detach(self) -> Reading: ...


@dataclass(frozen=True)
class Bounded:
    """``low + (high - low) sigmoid(score)``."""

    low: float
    high: float

    def value(self, scores: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * torch.sigmoid(scores)

    def detach(self) -> Bounded:
        return self


@dataclass(frozen=True)
class Binned:
    """The mean of a distribution over bins, whose shape is the state's and which the score tilts (``bins.tilted``)."""

    shape: Tensor
    """[n, bins]"""
    low: float
    high: float

    def log_bins(self, scores: Tensor) -> Tensor:
        """[n] -> [n, bins], [n, k] -> [n, k, bins] log-probabilities."""
        return bins.tilted(self.shape if scores.dim() == 1 else self.shape[:, None], scores)

    def value(self, scores: Tensor) -> Tensor:
        return bins.mean(self.log_bins(scores), self.low, self.high)

    def detach(self) -> Binned:
        return Binned(self.shape.detach(), self.low, self.high)


class ValuedScores:
    """An engine's answers, with values in place of scores wherever one is named.

    ``nll``, ``logsumexp`` and ``sample`` are of the scores. ``max``, ``topk`` and ``rank_of`` order by them, so that
    values that rounding makes equal keep their order.
    """

    def __init__(self, scores: LinearScores, reading: Reading) -> None:
        self.scores, self.reading = scores, reading

    @property
    def n_rows(self) -> int:
        return self.scores.n_rows

    @property
    def n_items(self) -> int:
        return self.scores.n_items

    def at(self, items: Tensor) -> Tensor:
        return self.reading.value(self.scores.at(items))

    def nll(self, items: Tensor, temperature: float = 1.0) -> Tensor:
        return self.scores.nll(items, temperature)

    def nll_and_max(self, items: Tensor, temperature: float = 1.0) -> tuple[Tensor, Best]:
        nll, best = self.scores.nll_and_max(items, temperature)
        return nll, self._valued(best)

    def logsumexp(self, temperature: float = 1.0) -> Tensor:
        return self.scores.logsumexp(temperature)

    def max(self) -> Best:
        return self._valued(self.scores.max())

    def topk(self, k: int, exclude: Pairs | None = None) -> Best:
        return self._valued(self.scores.topk(k, exclude))

    def rank_of(self, items: Tensor, exclude: Pairs | None = None) -> Tensor:
        return self.scores.rank_of(items, exclude)

    def sample(self, k: int, generator: torch.Generator) -> Tensor:
        return self.scores.sample(k, generator)

    def among(self, items: Tensor) -> LinearScores:
        return ValuedScores(self.scores.among(items), self.reading)

    def detach(self) -> LinearScores:
        return ValuedScores(self.scores.detach(), self.reading.detach())

    @torch.no_grad()
    def _valued(self, best: Best) -> Best:
        listed = best.items >= 0
        scores = best.values.masked_fill(~listed, 0.0)
        return Best(self.reading.value(scores).masked_fill(~listed, -torch.inf), best.items)
