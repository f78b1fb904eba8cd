"""Scores of a head whose table is kept row by row: named items read their rows, all other questions the whole."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from seqward.catalogue.scores import Best, LinearScores, Pairs

Named = Callable[[Tensor, Tensor], Tensor]
"""States [n, width] and items [n] or [n, k] to the items' scores, reading their rows alone."""


class RowScores:
    """What an engine answers, and gradients of named scores that are sparse (``optimise.RowAdam``)."""

    def __init__(self, states: Tensor, named: Named, whole: Callable[[], LinearScores], n_items: int) -> None:
        """Args:
        states: [n, width].
        whole: reads the table and gives the engine.
        """
        self.states, self.named, self.whole, self._n_items = states, named, whole, n_items
        self.grad = torch.is_grad_enabled()

    @cached_property
    def engine(self) -> LinearScores:
        """In the gradient mode of this object's birth, whoever asks first."""
        with torch.set_grad_enabled(self.grad):
            return self.whole()

    @property
    def n_rows(self) -> int:
        return len(self.states)

    @property
    def n_items(self) -> int:
        return self._n_items

    def at(self, items: Tensor) -> Tensor:
        return self.named(self.states, items)

    def nll(self, items: Tensor, temperature: float = 1.0) -> Tensor:
        return self.engine.nll(items, temperature)

    def nll_and_max(self, items: Tensor, temperature: float = 1.0) -> tuple[Tensor, Best]:
        return self.engine.nll_and_max(items, temperature)

    def logsumexp(self, temperature: float = 1.0) -> Tensor:
        return self.engine.logsumexp(temperature)

    def max(self) -> Best:
        return self.engine.max()

    def topk(self, k: int, exclude: Pairs | None = None) -> Best:
        return self.engine.topk(k, exclude)

    def rank_of(self, items: Tensor, exclude: Pairs | None = None) -> Tensor:
        return self.engine.rank_of(items, exclude)

    def sample(self, k: int, generator: torch.Generator) -> Tensor:
        return self.engine.sample(k, generator)

    def among(self, items: Tensor) -> LinearScores:
        return self.engine.among(items)

    def detach(self) -> LinearScores:
        named = torch.no_grad()(self.named)
        return RowScores(self.states.detach(), named, lambda: self.engine.detach(), self.n_items)
