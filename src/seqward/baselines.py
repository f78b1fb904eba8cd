"""Scorers without a parameter to learn, which every table carries: what they reach, no model deserves credit for.

They are modules only so that a run folder keeps their buffers as it keeps a network's.
"""

from __future__ import annotations

from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from seqward.backbones.backbone import Histories
from seqward.catalogue.scores import Scores
from seqward.catalogue.sparse import FixedScores, RecencyScores
from seqward.data.dataset import TRAIN, Dataset


class Baseline(Protocol):
    """A scorer that is fitted by reading the data once."""

    name: str
    context: int | None
    causal: bool

    def fit(self, data: Dataset) -> Self: ...
    def score(self, histories: Histories, every: bool = False) -> Scores: ...


class LastItems(nn.Module):
    """Recommends the distinct items of the history, the most recent first, and nothing else.

    People come back to what they looked at: on RetailRocket it reaches most of a trained model's add-to-cart HR@20.
    """

    name = "last-items"
    context: int | None = None
    causal = True

    def __init__(self, n_items: int) -> None:
        super().__init__()
        self.n_items = n_items

    def fit(self, data: Dataset) -> Self:
        """Nothing to learn."""
        return self

    def score(self, histories: Histories, every: bool = False) -> Scores:
        items = histories.items
        n, slots = items.shape
        if not every:
            return RecencyScores(items, torch.arange(n), torch.full((n,), slots), self.n_items)
        lengths = torch.arange(slots + 1)
        return RecencyScores(items, torch.arange(n).repeat_interleave(slots + 1), lengths.repeat(n), self.n_items)


class Popularity(nn.Module):
    """Recommends the items with the most training events; an item without any is not listed."""

    name = "popularity"
    context: int | None = None
    causal = True
    counts: Tensor

    def __init__(self, n_items: int) -> None:
        super().__init__()
        self.register_buffer("counts", torch.zeros(n_items))

    def fit(self, data: Dataset) -> Self:
        self.counts = torch.from_numpy(training_counts(data)).float()
        return self

    def score(self, histories: Histories, every: bool = False) -> Scores:
        n, slots = histories.items.shape
        values = torch.where(self.counts > 0, self.counts, -torch.inf)
        return FixedScores(values, n * (slots + 1) if every else n)


BASELINES: dict[str, type[LastItems] | type[Popularity]] = {kind.name: kind for kind in (LastItems, Popularity)}


def fitted_baselines(data: Dataset) -> dict[str, Baseline]:
    """Every baseline, fitted on the training events of ``data``."""
    return {name: kind(data.n_items).fit(data) for name, kind in BASELINES.items()}


def training_counts(data: Dataset) -> np.ndarray:
    """[vocabulary] training events of each item."""
    items = data.item[data.split == TRAIN]
    return np.bincount(items[items < data.n_items], minlength=data.n_items)
