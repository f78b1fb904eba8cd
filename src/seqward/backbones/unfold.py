"""Encoders that read a window at a time, as causal backbones."""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from seqward.backbones.backbone import Histories


class WindowEncoder(Protocol):
    """Windows to states. An nn.Module; the window's last slot is an item, or the start token."""

    @property
    def width(self) -> int: ...
    @property
    def context(self) -> int:
        """How many items a piece of a history has; at least the window's length."""
        ...

    @property
    def items(self) -> nn.Embedding:
        """[tokens, embedding width]"""
        ...

    def __call__(self, windows: Tensor) -> Tensor:
        """States [n, width] of tokens [n, window], padded on the left (and where the history was).

        What the pad's embedding holds is in no state. The start token is an item like any other.
        """
        ...


class Unfold(nn.Module):
    """A window encoder as a backbone: slot j is encoded from the window that ends there, and padding is not."""

    bidirectional = False
    skips_padding = False

    def __init__(self, encoder: nn.Module, window: int, pad: int) -> None:
        super().__init__()
        self.encoder, self.window, self.pad = encoder, window, pad

    @property
    def width(self) -> int:
        return cast(WindowEncoder, self.encoder).width

    @property
    def context(self) -> int:
        return cast(WindowEncoder, self.encoder).context

    @property
    def items(self) -> nn.Embedding:
        return cast(WindowEncoder, self.encoder).items

    def forward(self, histories: Histories, causal: bool = True) -> Tensor:
        """States [B, S, width], see ``Backbone``; those of padding are 0."""
        tokens = histories.items
        windows = self._windows(tokens)
        real = (tokens != self.pad).nonzero(as_tuple=True)
        encoded = self.encoder(windows[real])
        return encoded.new_zeros(*tokens.shape, self.width).index_put(real, encoded)

    def state(self, histories: Histories, slot: Tensor, causal: bool = True) -> Tensor:
        """[B, width] the state of one slot of each history, none of them padding: one window each is encoded."""
        windows = self._windows(histories.items)
        return self.encoder(windows[torch.arange(len(slot), device=slot.device), slot])

    def _windows(self, tokens: Tensor) -> Tensor:
        """[B, S, window] the tokens up to each slot."""
        return pad(tokens, (self.window - 1, 0), value=self.pad).unfold(1, self.window, 1)
