"""Which network learns and which gives the targets of temporal-difference learning."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from seqward.randomness import generator_of


class Roles(NamedTuple):
    online: int
    """Number of the network that learns at this step."""
    target: int


@dataclass(frozen=True)
class Twin:
    """Two networks that swap roles by a coin at every step (double Q-learning, Xin et al. 2020); 0 is evaluated.

    One optimiser over both gives the same bits as two: a network without a gradient is not touched.
    """

    def networks(self, first: nn.Module, build: Callable[[], nn.Module]) -> list[nn.Module]:
        return [first, build()]

    def roles(self, seed: int, step: int) -> Roles:
        coin = int(torch.randint(2, (1,), generator=generator_of(seed, step, "twin")))
        return Roles(coin, 1 - coin)

    def after(self, networks: list[nn.Module]) -> None:
        """Nothing follows a step: there is no copying."""


@dataclass(frozen=True)
class Ema:
    """One online network, and a target that follows it: target += rate * (online - target) after every step."""

    rate: float

    def networks(self, first: nn.Module, build: Callable[[], nn.Module]) -> list[nn.Module]:
        return [first, deepcopy(first).requires_grad_(False)]

    def roles(self, seed: int, step: int) -> Roles:
        return Roles(0, 1)

    @torch.no_grad()
    def after(self, networks: list[nn.Module]) -> None:
        online, target = networks
        for follower, leader in zip(target.parameters(), online.parameters(), strict=True):
            follower.lerp_(leader, self.rate)


@dataclass(frozen=True)
class Alone:
    """One network, for methods without a critic."""

    def networks(self, first: nn.Module, build: Callable[[], nn.Module]) -> list[nn.Module]:
        return [first]

    def roles(self, seed: int, step: int) -> Roles:
        return Roles(0, 0)

    def after(self, networks: list[nn.Module]) -> None:
        """Nothing to follow."""


Target = Twin | Ema | Alone
