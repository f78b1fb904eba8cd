"""Scores of a few named items a row, as neighbour methods give them; what is not listed is no candidate."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from seqward.catalogue.scores import MISS, Best, Pairs, Scores, places_among, refuse_nan


class ListedScores:
    """A score for each of some (row, item) pairs; everything is answered from their order."""

    def __init__(self, n_rows: int, n_items: int, pairs: Pairs, values: Tensor) -> None:
        """Args: pairs: each (row, item) at most once, in any order; values [pairs], -inf for what is no candidate."""
        refuse_nan(values)
        listed = values > -torch.inf
        keys = (pairs.rows * n_items + pairs.items)[listed]
        self._n_rows, self._n_items = n_rows, n_items
        self.keys, order = keys.sort()
        """[m] ascending numbers of row * n_items + item."""
        self.values = values[listed][order]

    @property
    def n_rows(self) -> int:
        return self._n_rows

    @property
    def n_items(self) -> int:
        return self._n_items

    @cached_property
    def _rows(self) -> Tensor:
        return self.keys // self.n_items

    @cached_property
    def _starts(self) -> Tensor:
        """[n_rows + 1] where each row's pairs begin."""
        return torch.searchsorted(self._rows, torch.arange(self.n_rows + 1, device=self.keys.device))

    @cached_property
    def _order(self) -> Tensor:
        """Pairs by row, the best first, the lowest item number among equals: stable sorts from the last key on."""
        by_value = self.values.argsort(descending=True, stable=True)
        return by_value[self._rows[by_value].argsort(stable=True)]

    @cached_property
    def place(self) -> Tensor:
        """[m] place of each pair in its row, from 0; pairs in the order of ``keys``."""
        place = torch.empty_like(self.keys)
        ahead = self._starts[self._rows[self._order]]
        place[self._order] = torch.arange(len(self.keys), device=self.keys.device) - ahead
        return place

    def _find(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Where the pair of each row and item [n] or [n, k] is, and whether it is listed."""
        rows = torch.arange(self.n_rows, device=items.device).view(-1, *[1] * (items.dim() - 1))
        keys = rows * self.n_items + items
        if not len(self.keys):
            return torch.zeros_like(keys), torch.zeros_like(keys, dtype=torch.bool)
        where = torch.searchsorted(self.keys, keys).clamp(max=len(self.keys) - 1)
        return where, self.keys[where] == keys

    def _without(self, exclude: Pairs | None) -> ListedScores:
        if exclude is None or not len(exclude.rows):
            return self
        gone = torch.isin(self.keys, exclude.rows * self.n_items + exclude.items)
        pairs = Pairs(self._rows[~gone], self.keys[~gone] % self.n_items)
        return ListedScores(self.n_rows, self.n_items, pairs, self.values[~gone])

    def at(self, items: Tensor) -> Tensor:
        where, listed = self._find(items)
        found = self.values[where] if len(self.values) else torch.zeros_like(items, dtype=torch.float32)
        return torch.where(listed, found, -torch.inf)

    def logsumexp(self, temperature: float = 1.0) -> Tensor:
        largest = self.max().values
        shift = largest.clamp(min=torch.finfo(torch.float32).min)
        scaled = torch.exp((self.values - shift[self._rows]) / temperature)
        total = torch.zeros_like(shift).index_add_(0, self._rows, scaled)
        return shift + temperature * total.log()

    def nll(self, items: Tensor, temperature: float = 1.0) -> Tensor:
        own = self.at(items)
        return torch.where(own == -torch.inf, torch.inf, self.logsumexp(temperature) - own)

    def max(self) -> Best:
        best = self.topk(1)
        return Best(best.values[:, 0], best.items[:, 0])

    def topk(self, k: int, exclude: Pairs | None = None) -> Best:
        left = self._without(exclude)
        values = torch.full((self.n_rows, k), -torch.inf, device=left.values.device)
        items = torch.full((self.n_rows, k), -1, device=left.keys.device)
        front = left.place < k
        rows, place = left._rows[front], left.place[front]
        values[rows, place] = left.values[front]
        items[rows, place] = left.keys[front] % self.n_items
        return Best(values, items)

    def rank_of(self, items: Tensor, exclude: Pairs | None = None) -> Tensor:
        left = self._without(exclude)
        where, listed = left._find(items)
        place = left.place[where] if len(left.keys) else torch.zeros_like(items)
        return torch.where(listed, 1 + place, MISS)

    def among(self, items: Tensor) -> Scores:
        places = places_among(items, self.n_items)[self.keys % self.n_items]
        listed = places < len(items)
        pairs = Pairs(self._rows[listed], places[listed])
        return ListedScores(self.n_rows, len(items), pairs, self.values[listed])

    def detach(self) -> Scores:
        return self


def summed(n_rows: int, n_items: int, pairs: Pairs, values: Tensor) -> ListedScores:
    """The scores in which each (row, item) pair has the sum of its values."""
    keys, which = (pairs.rows * n_items + pairs.items).unique(return_inverse=True)
    # In double precision: the order of the sum must not part equals.
    total = torch.zeros(len(keys), dtype=torch.float64, device=values.device).index_add_(0, which, values.double())
    return ListedScores(n_rows, n_items, Pairs(keys // n_items, keys % n_items), total.float())
