"""eSASRec (Tikhonovich et al. 2025): the self-attention of SASRec in LiGR blocks, whose residuals are gated.

A LiGR block (Borisyuk et al. 2025) is x + sigmoid(W1 x) * attention(LN(x)), then x + sigmoid(W2 x) * SwiGLU(LN(x)).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from seqward.backbones.attention import SelfAttention, Slots, attention_mask, refuse_heads
from seqward.backbones.backbone import Histories, Vocabulary, initialise
from seqward.backbones.dropout import dropout
from seqward.settings import Count, Share, settings


@settings
class ESASRecSettings:
    n_factors: Count = 64
    """Width of embeddings and states."""
    n_blocks: Count = 2
    """LiGR blocks."""
    n_heads: Count = 1
    """Attention heads; divides n_factors."""
    expansion: Count = 4
    """Width of the layers inside SwiGLU, in n_factors."""
    session_max_len: Count = 200
    """How many of the last items are read."""
    dropout_rate: Share = 0.1
    """After embeddings, on attention weights, inside SwiGLU and on what is added to a residual."""
    init: Literal["normal", "xavier"] = "xavier"
    """xavier: Glorot-uniform but for embeddings, which are N(0, 0.01); normal: N(0, 0.01) everywhere."""

    def __post_init__(self) -> None:
        refuse_heads(self.n_factors, self.n_heads)


class ESASRec(nn.Module):
    """States of histories by LiGR blocks; no norm follows the last one."""

    bidirectional = True
    skips_padding = True

    def __init__(self, s: ESASRecSettings, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.settings, self.pad = s, vocabulary.pad
        self.items = nn.Embedding(vocabulary.n_tokens, s.n_factors)
        # A start token stands in front of the context.
        self.positions = nn.Embedding(s.session_max_len + 1, s.n_factors)
        self.blocks = nn.ModuleList(LiGRBlock(s) for _ in range(s.n_blocks))
        initialise(self, s.init)

    @property
    def width(self) -> int:
        return self.settings.n_factors

    @property
    def context(self) -> int:
        return self.settings.session_max_len

    def forward(self, histories: Histories, causal: bool = True) -> Tensor:
        """States [B, S, width], see ``Backbone``; those of padding are 0."""
        visible, slots = attention_mask(histories.items, self.pad, causal), Slots(histories.items != self.pad)
        # As in SASRec, the one item beyond the context stands at the last position.
        x = self.items(slots.packed(histories.items)) + self.positions(slots.positions(last=self.context))
        x = dropout(x, self.settings.dropout_rate, self.training)
        for block in self.blocks:
            x = block(x, slots, visible)
        return slots.spread(x, padding=0.0)


class LiGRBlock(nn.Module):
    """Attention and SwiGLU, each behind a norm and added as far as a gate of the unchanged states lets it."""

    def __init__(self, s: ESASRecSettings) -> None:
        super().__init__()
        self.rate = s.dropout_rate
        width, inner = s.n_factors, s.expansion * s.n_factors
        self.norm_attention, self.norm_feed = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = SelfAttention(width, s.n_heads, s.dropout_rate)
        self.gate_attention, self.gate_feed = nn.Linear(width, width), nn.Linear(width, width)
        self.feed_1, self.feed_gate = nn.Linear(width, inner, bias=False), nn.Linear(width, inner, bias=False)
        self.feed_2 = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor, slots: Slots, visible: Tensor | None) -> Tensor:
        """x [n, width]; visible as in ``attend``."""
        attended = self.attention(self.norm_attention(x), slots, visible)
        x = x + torch.sigmoid(self.gate_attention(x)) * dropout(attended, self.rate, self.training)
        fed = self._swiglu(self.norm_feed(x))
        return x + torch.sigmoid(self.gate_feed(x)) * dropout(fed, self.rate, self.training)

    def _swiglu(self, x: Tensor) -> Tensor:
        hidden = silu(self.feed_1(x)) * self.feed_gate(x)
        return self.feed_2(dropout(hidden, self.rate, self.training))
