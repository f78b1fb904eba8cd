"""NextItNet (Yuan et al. 2019): causal dilated convolutions over the items of a history, in residual blocks."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import MinLen
from torch import Tensor, nn
from torch.nn.functional import linear, pad, relu

from seqward.backbones.backbone import Histories, Vocabulary, initialise, truncated_normal
from seqward.backbones.dropout import dropout
from seqward.settings import Count, Share, settings


@settings
class NextItNetSettings:
    n_factors: Count = 64
    """Width of embeddings and states: the channels of each convolution."""
    kernel: Count = 3
    """Slots that a convolution reads."""
    dilations: Annotated[tuple[Count, ...], MinLen(1)] = (1, 2, 1, 2, 1, 2)
    """A block each: slots between those that its first convolution reads; its second one's are twice as far apart."""
    session_max_len: Count = 10
    """How many of the last items are read (the paper's state length)."""
    dropout_rate: Share = 0.0
    """After embeddings; the source has none."""
    init: Literal["normal", "xavier"] = "xavier"
    """Of the head, see SASRec. Embeddings are N(0, 0.01), convolutions a normal of 0.02, truncated at 2 deviations."""


class NextItNet(nn.Module):
    """States of a stack of residual blocks; padding is 0 to each convolution, wherever it stands."""

    bidirectional = False
    skips_padding = False

    def __init__(self, s: NextItNetSettings, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.settings, self.pad = s, vocabulary.pad
        self.items = nn.Embedding(vocabulary.n_tokens, s.n_factors)
        self.blocks = nn.ModuleList(Block(s, dilation) for dilation in s.dilations)
        initialise(self, s.init)

    @property
    def width(self) -> int:
        return self.settings.n_factors

    @property
    def context(self) -> int:
        return self.settings.session_max_len

    def forward(self, histories: Histories, causal: bool = True) -> Tensor:
        """States [B, S, width], see ``Backbone``; those of padding are 0."""
        padding = (histories.items == self.pad)[:, :, None]
        x = dropout(self.items(histories.items), self.settings.dropout_rate, self.training).masked_fill(padding, 0.0)
        for block in self.blocks:
            x = block(x, padding)
        return x


class Block(nn.Module):
    """Two convolutions, each normalised and rectified, beside their input (the paper's Fig. 3b)."""

    def __init__(self, s: NextItNetSettings, dilation: int) -> None:
        super().__init__()
        self.conv_1, self.conv_2 = (CausalConv(s.n_factors, s.kernel, d) for d in (dilation, 2 * dilation))
        self.norm_1, self.norm_2 = (nn.LayerNorm(s.n_factors, eps=1e-8) for _ in range(2))

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        """x [B, S, width]; padding [B, S, 1]."""
        y = relu(self.norm_1(self.conv_1(x))).masked_fill(padding, 0.0)
        y = relu(self.norm_2(self.conv_2(y))).masked_fill(padding, 0.0)
        return x + y


class CausalConv(nn.Module):
    """Slot t reads slots t, t - dilation, t - 2 dilation, ...; there is 0 in front of the first."""

    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.lags = [dilation * step for step in reversed(range(kernel))]
        self.weight = nn.Parameter(torch.empty(width, kernel * width))
        self.bias = nn.Parameter(torch.zeros(width))
        truncated_normal(self.weight, 0.02)

    def forward(self, x: Tensor) -> Tensor:
        """[B, S, width] -> the same shape"""
        # One product over shifted copies: of few slots it is faster than a convolution.
        earlier = [pad(x, (0, 0, lag, 0))[:, : x.shape[1]] for lag in self.lags]
        return linear(torch.cat(earlier, dim=-1), self.weight, self.bias)
