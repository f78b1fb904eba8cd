"""NARM (Li et al. 2017): a recurrent unit's last state, beside what an attention led by it picks of all states."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from seqward.backbones.backbone import Histories, Vocabulary, initialise
from seqward.backbones.dropout import dropout
from seqward.backbones.gru4rec import GRU4Rec, GRU4RecSettings
from seqward.settings import Count, Share, settings


@settings
class NARMSettings:
    n_factors: Count = 100
    """Width of embeddings and states."""
    session_max_len: Count = 19
    """How many of the last items are read."""
    dropout_rate: Share = 0.25
    """After embeddings, and on the two readings of a history."""
    init: Literal["normal", "xavier"] = "xavier"
    """xavier: Glorot-uniform but for embeddings; normal: N(0, 0.01) everywhere."""


class NARM(nn.Module):
    """States by the hybrid encoder of section 3 of the paper, over the states of GRU4Rec.

    The attention compares every two slots by a layer of its own: memory grows with batch x slots x slots x width.
    """

    bidirectional = False
    skips_padding = False

    def __init__(self, s: NARMSettings, vocabulary: Vocabulary) -> None:
        super().__init__()
        width = s.n_factors
        self.settings, self.pad = s, vocabulary.pad
        self.of_last, self.of_each = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.attention = nn.Linear(width, 1, bias=False)
        self.decoder = nn.Linear(2 * width, width, bias=False)
        initialise(self, s.init)
        self.gru = GRU4Rec(GRU4RecSettings(**vars(s)), vocabulary)

    @property
    def width(self) -> int:
        return self.settings.n_factors

    @property
    def context(self) -> int:
        return self.settings.session_max_len

    @property
    def items(self) -> nn.Embedding:
        """[tokens, width] the recurrent unit's."""
        return self.gru.items

    def forward(self, histories: Histories, causal: bool = True) -> Tensor:
        """States [B, S, width], see ``Backbone``; those of padding are 0."""
        states = self.gru(histories)
        # Each slot's state asks all states: v' sigmoid(A1 h_t + A2 h_j), which no softmax follows (Eq. 7 and 8).
        shares = self.attention(torch.sigmoid(self.of_last(states)[:, :, None] + self.of_each(states)[:, None]))
        # Padding has the state 0, so that its share counts nothing.
        picked = shares[..., 0].tril() @ states
        both = dropout(torch.cat([states, picked], -1), self.settings.dropout_rate, self.training)
        return self.decoder(both).masked_fill((histories.items == self.pad)[:, :, None], 0.0)
