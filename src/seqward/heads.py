"""Heads over items: the rows and biases that score a state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from seqward.backbones.sasrec import initialise

HeadFactory = Callable[[nn.Module, int], nn.Module]
"""(backbone, n_items) -> head"""


class ItemHead(nn.Module):
    """A row and a bias of its own for every item."""

    def __init__(self, width: int, n_items: int, init: str) -> None:
        super().__init__()
        self.linear = nn.Linear(width, n_items)
        initialise(self, init)

    def forward(self, backbone: nn.Module) -> tuple[Tensor, Tensor]:
        """(weight [items, width], bias [items])"""
        return self.linear.weight, self.linear.bias


class TiedHead(nn.Module):
    """The backbone's item embeddings, without bias: score = state . embedding (Kang & McAuley 2018, section 3.4)."""

    def __init__(self, n_items: int) -> None:
        super().__init__()
        self.n_items = n_items

    def forward(self, backbone: Any) -> tuple[Tensor, Tensor | None]:
        """(weight [items, width], None)"""
        return backbone.items.weight[: self.n_items], None


def item_head(init: str, tied: bool = False) -> HeadFactory:
    """A head of its own, or tied to the backbone's embeddings."""

    def build(backbone: Any, n_items: int) -> nn.Module:
        return TiedHead(n_items) if tied else ItemHead(backbone.width, n_items, init)

    return build
