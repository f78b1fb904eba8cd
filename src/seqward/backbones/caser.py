"""Caser (Tang & Wang 2018): convolutions over the last items, taken as an image of slots x factors.

Without the user's embedding and the layer that follows it, as in the SQN and SNQN code. A filter and a maximum that
slide over a history give for all its windows at once what they would give for each alone.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import MinLen
from torch import Tensor, nn
from torch.nn.functional import max_pool1d, pad, relu

from seqward.backbones.backbone import Histories, Vocabulary, initialise, truncated_normal
from seqward.backbones.dropout import dropout
from seqward.settings import Count, Share, settings


@settings
class CaserSettings:
    n_factors: Count = 64
    """Width of embeddings."""
    heights: Annotated[tuple[Count, ...], MinLen(1)] = (2, 3, 4)
    """How many neighbouring items a horizontal filter reads; none more than session_max_len."""
    n_horizontal: Count = 16
    """Horizontal filters of each height; each gives the state one number."""
    n_vertical: Count = 1
    """Vertical filters, which weigh the places of the window; each gives the state n_factors numbers."""
    session_max_len: Count = 10
    """How many of the last items are read (the paper's state length)."""
    dropout_rate: Share = 0.1
    """On the state (SNQN and SA2C; in the SQN code it is overwritten, so 0 there)."""
    init: Literal["normal", "xavier"] = "xavier"
    """Of the head, see SASRec. Embeddings are N(0, 0.01), filters a normal of 0.1, truncated at 2 deviations."""

    def __post_init__(self) -> None:
        if max(self.heights) > self.session_max_len:
            raise ValueError(f"heights {max(self.heights)} is more than session_max_len {self.session_max_len}")


class Caser(nn.Module):
    """States of horizontal and vertical filters over the last items; padding is 0, and so is what lies in front."""

    bidirectional = False
    skips_padding = False

    def __init__(self, s: CaserSettings, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.settings, self.pad = s, vocabulary.pad
        self.items = nn.Embedding(vocabulary.n_tokens, s.n_factors)
        initialise(self, s.init)
        self.horizontal = nn.ModuleList(nn.Conv1d(s.n_factors, s.n_horizontal, height) for height in s.heights)
        self.vertical = nn.Linear(s.session_max_len, s.n_vertical)
        for layer in (*self.horizontal, self.vertical):
            truncated_normal(layer.weight, 0.1)  # type: ignore[arg-type]
            nn.init.constant_(layer.bias, 0.1)  # type: ignore[arg-type]

    @property
    def width(self) -> int:
        s = self.settings
        return s.n_horizontal * len(s.heights) + s.n_vertical * s.n_factors

    @property
    def context(self) -> int:
        return self.settings.session_max_len

    def forward(self, histories: Histories, causal: bool = True) -> Tensor:
        """States [B, S, width], see ``Backbone``; those of padding are 0."""
        padding = (histories.items == self.pad)[:, :, None]
        x = self.items(histories.items).masked_fill(padding, 0.0)
        states = relu(torch.cat([*self._across(x), self._down(x)], dim=-1))
        return dropout(states, self.settings.dropout_rate, self.training).masked_fill(padding, 0.0)

    def _across(self, x: Tensor) -> list[Tensor]:
        """For each height the largest answer of each filter within the window, [B, S, n_horizontal], not rectified."""
        image = pad(x, (0, 0, self.context - 1, 0)).transpose(1, 2)
        places = [self.context - height + 1 for height in self.settings.heights]
        return [
            max_pool1d(filters(image), n, stride=1).transpose(1, 2)
            for filters, n in zip(self.horizontal, places, strict=True)
        ]

    def _down(self, x: Tensor) -> Tensor:
        """For each vertical filter the weighted sum of the window, [B, S, n_vertical * n_factors], not rectified."""
        slot = torch.arange(x.shape[1], device=x.device)
        lag = slot[:, None] - slot
        inside = (lag >= 0) & (lag < self.context)
        newest_first = self.vertical.weight.flip(1)
        weight = newest_first[:, lag.clamp(0, self.context - 1)] * inside  # [n_vertical, S, S]
        return (torch.einsum("vts,bsf->btvf", weight, x) + self.vertical.bias[:, None]).flatten(2)
