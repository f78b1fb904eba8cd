"""BERT4Rec (Sun et al. 2019): a transformer that reads a history from both sides, trained to restore hidden items."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import gelu

from seqward.backbones.attention import SelfAttention, Slots, attention_mask, refuse_heads
from seqward.backbones.backbone import Histories, Vocabulary, initialise
from seqward.backbones.dropout import dropout
from seqward.settings import Count, Share, settings


@settings
class BERT4RecSettings:
    n_factors: Count = 64
    """Width of embeddings and states."""
    n_blocks: Count = 2
    """Transformer blocks."""
    n_heads: Count = 2
    """Attention heads; divides n_factors."""
    session_max_len: Count = 200
    """How many of the last items are read; the mask that asks for the next one is not counted."""
    dropout_rate: Share = 0.2
    """After embeddings, on attention weights and before each residual."""
    init: Literal["truncated", "normal", "xavier"] = "truncated"
    """truncated: a normal of 0.02, cut at two deviations, as BERT; normal and xavier: see SASRec."""

    def __post_init__(self) -> None:
        refuse_heads(self.n_factors, self.n_heads)


class BERT4Rec(nn.Module):
    """States of histories by post-norm transformer blocks and the layer that BERT puts before its softmax."""

    bidirectional = True
    skips_padding = True

    def __init__(self, s: BERT4RecSettings, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.settings, self.pad = s, vocabulary.pad
        self.items = nn.Embedding(vocabulary.n_tokens, s.n_factors)
        # A start token stands in front of the context, and the mask that asks for the next item behind it.
        self.positions = nn.Embedding(s.session_max_len + 2, s.n_factors)
        self.norm_embedding, self.norm = (nn.LayerNorm(s.n_factors, eps=1e-12) for _ in range(2))
        self.blocks = nn.ModuleList(Block(s) for _ in range(s.n_blocks))
        self.transform = nn.Linear(s.n_factors, s.n_factors)
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
        x = self.items(slots.packed(histories.items)) + self.positions(slots.positions(last=self.context + 1))
        x = dropout(self.norm_embedding(x), self.settings.dropout_rate, self.training)
        for block in self.blocks:
            x = block(x, slots, visible)
        return slots.spread(self.norm(gelu(self.transform(x))), padding=0.0)


class Block(nn.Module):
    """Attention and a GELU layer of four times the width; a norm after each residual."""

    def __init__(self, s: BERT4RecSettings) -> None:
        super().__init__()
        self.rate = s.dropout_rate
        self.attention = SelfAttention(s.n_factors, s.n_heads, s.dropout_rate)
        self.norm_attention, self.norm_feed = (nn.LayerNorm(s.n_factors, eps=1e-12) for _ in range(2))
        self.feed_1, self.feed_2 = nn.Linear(s.n_factors, 4 * s.n_factors), nn.Linear(4 * s.n_factors, s.n_factors)

    def forward(self, x: Tensor, slots: Slots, visible: Tensor | None) -> Tensor:
        """x [n, width]; visible as in ``attend``."""
        x = self.norm_attention(x + dropout(self.attention(x, slots, visible), self.rate, self.training))
        fed = self.feed_2(gelu(self.feed_1(x)))
        return self.norm_feed(x + dropout(fed, self.rate, self.training))
