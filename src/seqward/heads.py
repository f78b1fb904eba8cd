"""Heads: what is read off a state. Item heads score the catalogue, value heads give a number, pair heads judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from seqward.backbones.backbone import initialise
from seqward.catalogue.valued import Binned, Bounded, Reading

HeadFactory = Callable[[nn.Module, int], nn.Module]
"""(backbone, n_items) -> head"""


BINS = 51
"""Of a binned head; Farebrother et al. (2024) have as many on Atari."""


@dataclass(frozen=True)
class Span:
    """A head's values lie between two bounds and are not its scores."""

    low: float
    high: float
    binned: bool
    """The mean of a distribution over bins, in place of a sigmoid."""


class ItemHead(nn.Module):
    """A row and a bias of its own for every item."""

    def __init__(
        self,
        width: int,
        n_items: int,
        init: str,
        detached: bool = False,
        bias: bool = True,
        norm: bool = False,
        span: Span | None = None,
    ) -> None:
        super().__init__()
        self.linear, self.detached, self.span = nn.Linear(width, n_items, bias=bias), detached, span
        initialise(self, init)
        self.norm = nn.LayerNorm(width) if norm else None
        self.shape = nn.Linear(width, BINS) if span is not None and span.binned else None
        if self.shape is not None:
            initialise(self.shape, init)

    def reading(self, states: Tensor) -> Reading | None:
        """How values of states [n, width], as the head sees them, are read from scores; None where they are these."""
        if self.span is None:
            return None
        if self.shape is None:
            return Bounded(self.span.low, self.span.high)
        return Binned(self.shape(states).float(), self.span.low, self.span.high)

    def forward(self, backbone: nn.Module) -> tuple[Tensor, Tensor | None]:
        """(weight [items, width], bias [items])"""
        return self.linear.weight, self.linear.bias

    def table(self, backbone: nn.Module) -> Tensor:
        """The parameter whose first rows are the items'."""
        return self.linear.weight


class TiedHead(nn.Module):
    """The backbone's item embeddings: score = state . embedding (Kang & McAuley 2018, section 3.4); a bias if asked."""

    def __init__(self, n_items: int, bias: bool = False) -> None:
        super().__init__()
        self.n_items = n_items
        self.bias = nn.Parameter(torch.zeros(n_items)) if bias else None

    def forward(self, backbone: Any) -> tuple[Tensor, Tensor | None]:
        """(weight [items, width], bias [items])"""
        return backbone.items.weight[: self.n_items], self.bias

    def table(self, backbone: Any) -> Tensor:
        """The parameter whose first rows are the items'."""
        return backbone.items.weight


class ValueHead(nn.Module):
    """One number a state: the value of a policy, or a count."""

    def __init__(self, width: int, init: str) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)
        initialise(self, init)

    def forward(self, states: Tensor) -> Tensor:
        """[n, width] -> [n]"""
        return self.linear(states)[:, 0]


class PairHead(nn.Module):
    """A logit for a state and an item: a layer over the two side by side, and one out of it."""

    def __init__(self, width: int, item_width: int, init: str) -> None:
        super().__init__()
        self.hidden = nn.Linear(width + item_width, width)
        self.out = nn.Linear(width, 1)
        initialise(self, init)

    def forward(self, states: Tensor, rows: Tensor) -> Tensor:
        """States [n, width] and items' embeddings [n, ..., item width] -> [n, ...]."""
        states = states.view(len(states), *[1] * (rows.dim() - 2), -1).expand(*rows.shape[:-1], -1)
        return self.out(torch.relu(self.hidden(torch.cat([states, rows], -1))))[..., 0]


def item_head(
    init: str,
    tied: bool = False,
    detached: bool = False,
    bias: bool | None = None,
    norm: bool = False,
    span: Span | None = None,
) -> HeadFactory:
    """A head that scores every item.

    Args:
        tied: score by the backbone's embeddings instead of rows of its own.
        detached: no gradient into the states; a head of its own then learns from them and does not shape them.
        bias: whether each item has one; None for yes, but in a tied head.
        norm: normalise a state (LayerNorm) before it is scored. Not of a tied head, and neither is the next.
        span: between what its values lie, where they are not the scores.

    Raises:
        ValueError: tied and detached; such a head would shape the embeddings all the same.
    """
    if tied and detached:
        raise ValueError("a tied head cannot be detached: its rows are the backbone's embeddings")

    bias = not tied if bias is None else bias

    def build(backbone: Any, n_items: int) -> nn.Module:
        return TiedHead(n_items, bias) if tied else ItemHead(backbone.width, n_items, init, detached, bias, norm, span)

    return build


def value_head(init: str) -> HeadFactory:
    """A number a state."""
    return lambda backbone, n_items: ValueHead(backbone.width, init)  # type: ignore[arg-type]


def pair_head(init: str) -> HeadFactory:
    """A logit a pair of state and item."""
    return lambda backbone, n_items: PairHead(backbone.width, backbone.items.embedding_dim, init)  # type: ignore[arg-type,union-attr]
