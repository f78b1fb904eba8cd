"""FPMC (Rendle et al. 2010): a factor of the user and one of the last item, each scored with factors of its own."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from seqward.backbones.backbone import Histories, Vocabulary, initialise
from seqward.backbones.dropout import dropout
from seqward.settings import Count, Share, settings


@settings
class FPMCSettings:
    n_factors: Count = 64
    """Width of each of the two parts; the state is twice as wide."""
    session_max_len: Count = 50
    """How many items a piece of a session holds in training; only the last item is ever read."""
    dropout_rate: Share = 0.0
    """On the state (the original has none)."""
    init: Literal["normal", "xavier"] = "normal"
    """Of the head, see SASRec. Embeddings are N(0, 0.01)."""


class FPMC(nn.Module):
    """States that hold the user's factor V^UI and the last item's V^LI side by side.

    A head of as wide rows, without bias, scores them as <V_u^UI, V_i^IU> + <V_l^LI, V_i^IL>. A user without training
    events has a factor of 0, which leaves the item part.
    """

    bidirectional = False
    skips_padding = False

    def __init__(self, s: FPMCSettings, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.settings, self.pad = s, vocabulary.pad
        self.items = nn.Embedding(vocabulary.n_tokens, s.n_factors)
        self.users = nn.Embedding(vocabulary.n_users + 1, s.n_factors)  # row 0 is anybody else's, and read as 0
        initialise(self, s.init)

    @property
    def width(self) -> int:
        return 2 * self.settings.n_factors

    @property
    def context(self) -> int:
        return self.settings.session_max_len

    def forward(self, histories: Histories, causal: bool = True) -> Tensor:
        """States [B, S, width], see ``Backbone``; those of padding are 0."""
        items, users = histories.items, histories.users
        if users is None:
            users = items.new_full((len(items),), -1)
        of_user = self.users(users + 1).masked_fill((users < 0)[:, None], 0.0)
        states = torch.cat([of_user[:, None].expand(-1, items.shape[1], -1), self.items(items)], -1)
        states = states.masked_fill((items == self.pad)[:, :, None], 0.0)
        return dropout(states, self.settings.dropout_rate, self.training)
