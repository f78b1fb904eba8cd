"""SASRec (Kang & McAuley 2018): self-attention over the items of a history.

The variants in use differ in four choices, which are settings here: what the residual around attention adds, whether
item embeddings are scaled by sqrt(width), whether a linear layer follows attention, and how weights begin. (The code
released with SASRec-CCQL drops before the ReLU of the feed-forward layer, which is the same function.)
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from seqward.backbones.attention import Slots, attend, attention_mask, refuse_heads
from seqward.backbones.backbone import Histories, Vocabulary, initialise
from seqward.backbones.dropout import dropout
from seqward.settings import Count, Share, settings


@settings
class SASRecSettings:
    n_factors: Count = 64
    """Width of embeddings and states."""
    n_blocks: Count = 1
    """Attention blocks."""
    n_heads: Count = 1
    """Attention heads; divides n_factors."""
    session_max_len: Count = 10
    """How many of the last items are read (the paper's state length)."""
    dropout_rate: Share = 0.1
    """After embeddings, on attention weights and in the feed-forward layer."""
    attention_dropout: Share | None = None
    """On attention weights, in place of dropout_rate. At 0 attention takes its fast path, which long histories need."""
    residual: Literal["single", "double"] = "single"
    """What follows attention: q + attn (SNQN, SA2C and the original), or 2q + attn (released with SASRec-CCQL)."""
    scale_embedding: bool = True
    """Multiply item embeddings by sqrt(n_factors), as the original and the code released with SASRec-CCQL do."""
    projection: bool = False
    """A linear layer after attention (the original in torch has one, the code of the RL line has none)."""
    init: Literal["normal", "xavier", "truncated"] = "normal"
    """normal: N(0, 0.01) everywhere (released with SASRec-CCQL); xavier: Glorot-uniform but for embeddings (SNQN);
    truncated: a normal of 0.02, cut at two deviations, as BERT."""

    def __post_init__(self) -> None:
        refuse_heads(self.n_factors, self.n_heads)


class SASRec(nn.Module):
    """States of histories by causal self-attention, post-norm feed-forward, as in section 3 of the SASRec paper."""

    bidirectional = True
    skips_padding = True

    def __init__(self, s: SASRecSettings, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.settings, self.pad = s, vocabulary.pad
        self.items = nn.Embedding(vocabulary.n_tokens, s.n_factors)
        # A start token stands in front of the context.
        self.positions = nn.Embedding(s.session_max_len + 1, s.n_factors)
        self.blocks = nn.ModuleList(Block(s) for _ in range(s.n_blocks))
        self.norm = nn.LayerNorm(s.n_factors, eps=1e-8)
        initialise(self, s.init)

    @property
    def width(self) -> int:
        return self.settings.n_factors

    @property
    def context(self) -> int:
        return self.settings.session_max_len

    def forward(self, histories: Histories, causal: bool = True) -> Tensor:
        """States [B, S, width], see ``Backbone``; the state of padding is the last norm's bias."""
        visible, slots = attention_mask(histories.items, self.pad, causal), Slots(histories.items != self.pad)
        x = self._embedded(histories.items, slots)
        for block in self.blocks:
            x = block(x, slots, visible)
        return slots.spread(self.norm(x), padding=self.norm.bias)

    def state(self, histories: Histories, slot: Tensor, causal: bool = True) -> Tensor:
        """[B, width] the state of one slot of each history; in the last block nothing else is asked."""
        read = histories.items != self.pad
        visible, slots = attention_mask(histories.items, self.pad, causal), Slots(read)
        x = self._embedded(histories.items, slots)
        for block in self.blocks[:-1]:
            x = block(x, slots, visible)
        if causal:
            read = read & (torch.arange(read.shape[1], device=x.device) <= slot[:, None])
        asked = slots.spread(x)[torch.arange(len(read), device=x.device), slot]
        return self.norm(self.blocks[-1](x, slots, read[:, None, None], asked))

    def _embedded(self, items: Tensor, slots: Slots) -> Tensor:
        """[n, width] what the blocks read of items [B, S]."""
        s = self.settings
        x = self.items(slots.packed(items)) * (s.n_factors**0.5 if s.scale_embedding else 1.0)
        # Training reads one item beyond the context for the next state of a full one: it stands at the last position.
        x = x + self.positions(slots.positions(last=self.context))
        return dropout(x, s.dropout_rate, self.training)


class Block(nn.Module):
    """Attention and feed-forward with their residuals."""

    def __init__(self, s: SASRecSettings) -> None:
        super().__init__()
        self.settings = s
        self.norm_attention, self.norm_feed = (nn.LayerNorm(s.n_factors, eps=1e-8) for _ in range(2))
        self.query, self.key, self.value = (nn.Linear(s.n_factors, s.n_factors) for _ in range(3))
        self.projection = nn.Linear(s.n_factors, s.n_factors) if s.projection else nn.Identity()
        self.feed_1, self.feed_2 = (nn.Linear(s.n_factors, s.n_factors) for _ in range(2))

    def forward(self, x: Tensor, slots: Slots, visible: Tensor | None, asked: Tensor | None = None) -> Tensor:
        """States of all of x [n, width], or of one slot of each history, ``asked`` [B, width].

        Args:
            visible: [B, 1, Q, S] as in ``attend``; None for plain causal attention.
        """
        s = self.settings
        q = self.norm_attention(x if asked is None else asked)
        rate = s.dropout_rate if s.attention_dropout is None else s.attention_dropout
        rate = rate if self.training else 0.0
        keys, values = slots.spread(self.key(x)), slots.spread(self.value(x))
        if asked is None:
            attended = slots.packed(attend(slots.spread(self.query(q)), keys, values, s.n_heads, visible, rate))
        else:
            attended = attend(self.query(q)[:, None], keys, values, s.n_heads, visible, rate)[:, 0]
        attended = self.projection(attended)
        x = self.norm_feed(torch.add(attended, q, alpha=2.0 if s.residual == "double" else 1.0))
        return x + self._feed(x)

    def _feed(self, x: Tensor) -> Tensor:
        rate = self.settings.dropout_rate
        hidden = dropout(relu(self.feed_1(x)), rate, self.training)
        return dropout(self.feed_2(hidden), rate, self.training)
