"""Small worlds to score: states, rows of items and biases by a few scalars, for property tests of the engines."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Recipe:
    """Of a small world; in scalars, so that a failure is told in a line."""

    rows: int
    items: int
    width: int
    seed: int
    size: float
    twins: bool
    bias: float | None
    dead: int | None
    temperature: float

    def parts(self) -> list[Tensor]:
        """states, weight and, if any, bias."""
        weight = normal(self.items, self.width, seed=self.seed + 1)
        if self.twins:
            weight[:] = weight[0].clone()
        parts = [self.size * normal(self.rows, self.width, seed=self.seed), weight]
        if self.bias is not None:
            bias = self.bias * normal(self.items, seed=self.seed + 2)
            if self.dead is not None and self.items > 1:
                bias[self.dead % self.items] = -torch.inf
            parts.append(bias)
        return parts


recipes = st.builds(
    Recipe,
    # Around the sizes of tiles, panels and blocks.
    rows=st.sampled_from([1, 2, 7, 16, 33, 70]),
    items=st.sampled_from([1, 2, 5, 6, 13, 192, 193, 390]),
    width=st.sampled_from([16, 32, 48, 64, 80]),
    seed=st.integers(0, 999),
    size=st.sampled_from([0.0, 1e-40, 1e-20, 1e-3, 1.0, 3.0]),
    twins=st.booleans(),
    bias=st.sampled_from([None, 0.0, 1.0, 100.0, 3000.0]),
    dead=st.none() | st.integers(0, 400),
    temperature=st.sampled_from([0.05, 0.5, 1.0, 20.0]),
)
