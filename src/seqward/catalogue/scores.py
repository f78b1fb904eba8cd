"""What every engine answers about the scores of all items, and the order that they share.

Rank of an item = 1 + items scored higher + equally scored items with a smaller number; top-k is cut from the same
order. An item scored -inf is no candidate. A score that is NaN or +inf is an error, raised where it is seen.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from seqward.errors import Finding

MISS = 2**31 - 1
"""The rank of an item that is no candidate: beyond every cut-off."""


class Best(NamedTuple):
    """The best items of each row and their scores."""

    values: Tensor
    """[n] or [n, k]; -inf where fewer than k items are candidates."""
    items: Tensor
    """[n] or [n, k] int64; -1 where fewer than k items are candidates."""


class Pairs(NamedTuple):
    """(row, item) pairs that are no candidates, in any order, repeats allowed."""

    rows: Tensor
    """[pairs] int64"""
    items: Tensor
    """[pairs] int64"""


class Scores(Protocol):
    """Scores of ``n_items`` items for each of ``n_rows`` states, never promised as a matrix."""

    @property
    def n_rows(self) -> int: ...
    @property
    def n_items(self) -> int: ...

    def at(self, items: Tensor) -> Tensor:
        """Scores of the named items: [n] -> [n], [n, k] -> [n, k]. With gradient."""
        ...

    def nll(self, items: Tensor, temperature: float = 1.0) -> Tensor:
        """``t * logsumexp(x / t) - x[item]`` for each row, [n]. Never negative; with gradient.

        Cross-entropy at temperature 1; on Q, the conservative term of Kumar et al. 2020. One question rather than two,
        since a sampled estimate must hold the item itself in its sum.
        """
        ...

    def logsumexp(self, temperature: float = 1.0) -> Tensor:
        """``t * logsumexp(x / t)`` over all items, [n]. With gradient."""
        ...

    def max(self) -> Best:
        """The best item of each row, [n]; the lowest number among equals. No gradient."""
        ...

    def topk(self, k: int, exclude: Pairs | None = None) -> Best:
        """The k best candidates of each row in order, [n, k]. No gradient."""
        ...

    def rank_of(self, items: Tensor, exclude: Pairs | None = None) -> Tensor:
        """Rank of the named item of each row, [n] int64; MISS where it is no candidate. No gradient."""
        ...

    def detach(self) -> Scores:
        """The same answers without gradient, however and wherever they are asked."""
        ...


class LinearScores(Scores, Protocol):
    """Scores of a linear head, as the engines answer for them."""

    def sample(self, k: int, generator: torch.Generator) -> Tensor:
        """k items a row drawn from the softmax of its scores, with replacement, [n, k]; the same ones by every engine.

        No gradient.
        """
        ...

    def detach(self) -> LinearScores: ...


def refuse_nan(largest: Tensor) -> None:
    """Raise where a row's largest score is NaN or +inf.

    Args:
        largest: [n], NaN wherever a row holds one (``amax`` carries NaN on).
    """
    bad = torch.isnan(largest) | (largest == torch.inf)
    if bool(bad.any()):
        raise Finding(
            f"scores that are not finite in {int(bad.sum())} of {bad.numel()} rows: the model has diverged. "
            "Lower the learning rate, or evaluate an earlier checkpoint."
        )
