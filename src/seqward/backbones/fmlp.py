"""FMLP-Rec (Zhou et al. 2022): a learned filter over the frequencies of the last items in place of attention.

A filter over all frequencies is a circular convolution over the window, which reads every slot from every other. It is
causal only as ``Unfold`` makes it, which encodes the window that ends at each item.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from seqward.backbones.backbone import Vocabulary, initialise
from seqward.backbones.dropout import dropout
from seqward.backbones.unfold import Unfold
from seqward.settings import Count, Positive, Share, settings


@settings
class FMLPSettings:
    n_factors: Count = 64
    """Width of embeddings and states."""
    n_blocks: Count = 1
    """Blocks of a filter and a feed-forward layer (the original has 2)."""
    session_max_len: Count = 10
    """How many of the last items are read (the paper's state length)."""
    dropout_rate: Share = 0.1
    """After embeddings, filters and feed-forward layers (the original has 0.5)."""
    filter_std: Positive = 1.0
    """Deviation of the filters' complex weights at the start (0.02 in the original)."""
    init: Literal["normal", "xavier"] = "xavier"
    """As SASRec's."""


def fmlp(s: FMLPSettings, vocabulary: Vocabulary) -> Unfold:
    """FMLP-Rec as a causal backbone."""
    return Unfold(FMLP(s, vocabulary), s.session_max_len, vocabulary.pad)


class FMLP(nn.Module):
    """The state of a window's last slot, section 4 of the FMLP-Rec paper.

    Padding has an embedding of 0 and a position, as in the original: the filter sees how long the history is.
    """

    def __init__(self, s: FMLPSettings, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.settings, self.pad = s, vocabulary.pad
        self.items = nn.Embedding(vocabulary.n_tokens, s.n_factors)
        self.positions = nn.Embedding(s.session_max_len, s.n_factors)
        self.norm = nn.LayerNorm(s.n_factors, eps=1e-12)
        self.blocks = nn.ModuleList(Block(s) for _ in range(s.n_blocks - 1))
        self.last = Block(s)
        initialise(self, s.init)

    @property
    def width(self) -> int:
        return self.settings.n_factors

    @property
    def context(self) -> int:
        return self.settings.session_max_len

    def forward(self, windows: Tensor) -> Tensor:
        """[n, context] tokens, padded on the left -> [n, width]"""
        x = self.items(windows).masked_fill((windows == self.pad)[:, :, None], 0.0) + self.positions.weight
        x = dropout(self.norm(x), self.settings.dropout_rate, self.training)
        for block in self.blocks:
            x = block(x)
        return self.last.at_last(x)


class Block(nn.Module):
    """A filter and a feed-forward layer with their residuals."""

    def __init__(self, s: FMLPSettings) -> None:
        super().__init__()
        self.rate = s.dropout_rate
        self.filter = Filter(s.session_max_len, s.n_factors, s.filter_std)
        self.norm_filter, self.norm_feed = (nn.LayerNorm(s.n_factors, eps=1e-12) for _ in range(2))
        self.feed_1, self.feed_2 = nn.Linear(s.n_factors, 4 * s.n_factors), nn.Linear(4 * s.n_factors, s.n_factors)

    def forward(self, x: Tensor) -> Tensor:
        """[n, length, width] -> the same shape"""
        return self._added(x, self.filter(x))

    def at_last(self, x: Tensor) -> Tensor:
        """``forward`` at the last slot only, [n, width]."""
        return self._added(x[:, -1], self.filter.at_last(x))

    def _added(self, x: Tensor, filtered: Tensor) -> Tensor:
        x = self.norm_filter(x + dropout(filtered, self.rate, self.training))
        fed = self.feed_2(gelu(self.feed_1(x)))
        return self.norm_feed(x + dropout(fed, self.rate, self.training))


class Filter(nn.Module):
    """A complex weight for each frequency and factor (Eq. 4 to 6): a circular convolution of each factor's slots."""

    def __init__(self, length: int, width: int, std: float) -> None:
        super().__init__()
        self.length = length
        self.weight = nn.Parameter(std * torch.randn(length // 2 + 1, width, 2))  # real and imaginary part

    def forward(self, x: Tensor) -> Tensor:
        """[n, length, width] -> the same shape"""
        spectrum = torch.fft.rfft(x, dim=1) * torch.view_as_complex(self.weight)
        return torch.fft.irfft(spectrum, n=self.length, dim=1)

    def at_last(self, x: Tensor) -> Tensor:
        """The same at the last slot, [n, width]: the sum of slot s times the kernel at lag length - 1 - s."""
        kernel = torch.fft.irfft(torch.view_as_complex(self.weight), n=self.length, dim=0)
        return (x * kernel.flip(0)).sum(1)
