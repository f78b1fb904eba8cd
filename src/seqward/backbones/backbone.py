"""What a backbone is: histories to states. The files beside this one hold one paper each; the package lists them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn


class Histories(NamedTuple):
    """What a scorer reads. Facts beside the items get fields here, so that no signature grows."""

    items: Tensor
    """[B, S] int64 item numbers; ``n_items`` (the pad) where there is nothing."""
    users: Tensor | None = None
    """[B] int64 numbers of users who were trained on; -1 for anybody else. None: nobody is known."""
    wanted: Tensor | None = None
    """[B, S + 1] the return asked for from row j on, NaN where none is. None: a backbone asks for its own."""

    def part(self, rows: Tensor, slots: int) -> Histories:
        """The first slots of some rows."""
        users = None if self.users is None else self.users[rows]
        wanted = None if self.wanted is None else self.wanted[rows, : slots + 1]
        return Histories(self.items[rows, :slots], users, wanted)

    def to(self, device: torch.device) -> Histories:
        """The same on a device."""
        users, wanted = (None if x is None else x.to(device) for x in (self.users, self.wanted))
        return Histories(self.items.to(device), users, wanted)


@dataclass(frozen=True)
class Vocabulary:
    """Item numbers and the special tokens behind them."""

    n_items: int
    n_users: int = 0
    """Users who have training events."""

    @property
    def pad(self) -> int:
        """Nothing; never attended."""
        return self.n_items

    @property
    def start(self) -> int:
        """Stands in front of every history."""
        return self.n_items + 1

    @property
    def mask(self) -> int:
        """A hidden item, or the one that is asked for."""
        return self.n_items + 2

    @property
    def n_tokens(self) -> int:
        return self.n_items + 3


class Backbone(Protocol):
    """Tokens to states. An nn.Module; knows no session and no loss."""

    bidirectional: bool
    """Whether it can read all slots at once, ``causal=False``."""
    skips_padding: bool
    """Whether padding costs it time within attention only."""

    @property
    def width(self) -> int: ...
    @property
    def context(self) -> int:
        """How many items it reads."""
        ...

    @property
    def items(self) -> nn.Embedding:
        """[tokens, embedding width] what a tied head scores by."""
        ...

    def __call__(self, histories: Histories, causal: bool = True) -> Tensor:
        """States [B, S, width] of tokens ``histories.items`` [B, S], S at most context + 2.

        Slot j has read slots 0 .. j (all of them where not ``causal``); padding may stand anywhere, never attended.
        """
        ...


@runtime_checkable
class OneState(Protocol):
    """A backbone that gives one state of each history for less than all of them."""

    def state(self, histories: Histories, slot: Tensor, causal: bool = True) -> Tensor:
        """[B, width] what ``Backbone`` gives at slots [B], none of which is padding."""
        ...


def initialise(module: nn.Module, how: str) -> None:
    """Set the weights of linear and embedding layers; biases 0.

    Args:
        how: "normal" is N(0, 0.01) everywhere, "truncated" a normal of 0.02 cut at two deviations, "uniform" within
            1 / sqrt(width of the input); "xavier" is Glorot-uniform but for embeddings, which are N(0, 0.01).
    """
    for layer in module.modules():
        if isinstance(layer, nn.Embedding):
            _fill(layer.weight, "normal" if how == "xavier" else how)
        elif isinstance(layer, nn.Linear):
            _fill(layer.weight, how)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _fill(weight: Tensor, how: str) -> None:
    if how == "normal":
        nn.init.normal_(weight, std=0.01)
    elif how == "truncated":
        truncated_normal(weight, 0.02)
    elif how == "uniform":
        nn.init.uniform_(weight, -(weight.shape[1] ** -0.5), weight.shape[1] ** -0.5)
    else:
        nn.init.xavier_uniform_(weight)


def truncated_normal(weight: Tensor, std: float) -> None:
    """Fill with a normal cut at two deviations, as TensorFlow has it."""
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)
