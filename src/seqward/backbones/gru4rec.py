"""GRU4Rec (Hidasi et al. 2016): a gated recurrent unit over the items of a history.

As in the SQN code: one layer, embeddings as wide as the state, no dropout.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from seqward.backbones.backbone import Histories, Vocabulary, initialise
from seqward.backbones.dropout import dropout
from seqward.settings import Count, Share, settings


@settings
class GRU4RecSettings:
    n_factors: Count = 64
    """Width of embeddings and states."""
    session_max_len: Count = 10
    """How many of the last items are read (the paper's state length)."""
    dropout_rate: Share = 0.0
    """After embeddings; the SQN code has none."""
    init: Literal["normal", "xavier"] = "xavier"
    """xavier: Glorot-uniform but for embeddings, gates open (the SQN code); normal: N(0, 0.01) everywhere."""


class GRU4Rec(nn.Module):
    """States of a recurrent layer that goes from item to item; padding is skipped."""

    bidirectional = False
    skips_padding = False

    def __init__(self, s: GRU4RecSettings, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.settings, self.pad = s, vocabulary.pad
        self.items = nn.Embedding(vocabulary.n_tokens, s.n_factors)
        self.gru = nn.GRU(s.n_factors, s.n_factors, batch_first=True)
        initialise(self, s.init)
        initialise_gru(self.gru, s.init)

    @property
    def width(self) -> int:
        return self.settings.n_factors

    @property
    def context(self) -> int:
        return self.settings.session_max_len

    def forward(self, histories: Histories, causal: bool = True) -> Tensor:
        """States [B, S, width], see ``Backbone``; those of padding are 0."""
        items = histories.items
        padding = items == self.pad
        # Real slots first, in order: what comes behind them reaches none of their states.
        order = padding.int().argsort(dim=1, stable=True)
        x = dropout(self.items(items.gather(1, order)), self.settings.dropout_rate, self.training)
        states, _ = self.gru(x)
        place = order.argsort(dim=1)
        return states.gather(1, place[:, :, None].expand_as(states)).masked_fill(padding[:, :, None], 0.0)


@torch.no_grad()
def initialise_gru(gru: nn.GRU, how: str) -> None:
    """Set the weights of a layer as wide as its input; biases 0, but 1 where that keeps the state (``xavier``).

    Args:
        how: "normal" is N(0, 0.01) everywhere; "xavier" is that of the cell in TensorFlow, where one kernel reads input
            and state and makes both gates, another the candidate.
    """
    width = gru.hidden_size
    of_input, of_state, bias_input, bias_state = gru.parameters()
    for weight in (of_input, of_state):
        if how == "normal":
            weight.normal_(std=0.01)
            continue
        gates, candidate = weight.split([2 * width, width])
        gates.uniform_(-1.0, 1.0).mul_((6 / (4 * width)) ** 0.5)
        candidate.uniform_(-1.0, 1.0).mul_((6 / (3 * width)) ** 0.5)
    bias_input.zero_()
    bias_state.zero_()
    if how == "xavier":
        bias_input[: 2 * width] = 1.0
