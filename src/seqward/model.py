"""A backbone and its heads: from histories to states, and from states to scores."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from seqward.catalogue import Scores


class Histories(NamedTuple):
    """What a scorer reads. Facts of the events beside the items get fields here, so that no signature grows."""

    items: Tensor
    """[B, S] int64 item numbers; ``n_items`` (the pad) where there is nothing."""


class Scorer(Protocol):
    """What evaluation and serving see, of a trained network and of a parameter-free method alike."""

    context: int | None
    """How many of the last items are read; None for all of them."""

    def score(self, histories: Histories, every: bool = False) -> Scores:
        """Scores for the next item.

        Args:
            histories: B histories of at most ``context`` items.
            every: False for one row a history, the state after its last item. True for [B * (S + 1)] rows, where row
                ``b * (S + 1) + j`` is the state after the first j items; histories are then padded on the right only.
        """
        ...
