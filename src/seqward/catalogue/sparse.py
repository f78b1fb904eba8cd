"""Scores that are not an inner product: a history's own items by recency, and one order for everybody.

They answer everything that an engine answers, so evaluation and serving do not tell them from a network.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from seqward.catalogue.scores import MISS, Best, Pairs, Scores, places_among

ELEMENTS = 1 << 22
"""Elements of the largest temporary: rows are answered in parts of that size."""


class RecencyScores:
    """An item's score is the slot of its last visit in the history; items not in the history are no candidates."""

    def __init__(self, histories: Tensor, row_history: Tensor, row_length: Tensor, n_items: int) -> None:
        """Args:
        histories: [B, S] int64, ``n_items`` where there is nothing.
        row_history: [n] which history a row reads.
        row_length: [n] how many of its first slots.
        """
        self.histories, self.row_history, self.row_length = histories, row_history, row_length
        self._n_items = n_items

    @property
    def n_rows(self) -> int:
        return len(self.row_history)

    @property
    def n_items(self) -> int:
        return self._n_items

    @cached_property
    def _by_item(self) -> tuple[Tensor, Tensor]:
        """[B, S] items in ascending order, and the slot of each; equal items in order of slot."""
        items, slots = self.histories.sort(dim=1, stable=True)
        return items, slots

    @cached_property
    def _visits(self) -> Tensor:
        """[B * S] ascending numbers of (history, item, slot)."""
        items, slots = self._by_item
        return self._visit(torch.arange(len(items), device=items.device)[:, None], items, slots).flatten()

    @cached_property
    def _next_visit(self) -> Tensor:
        """[B, S] slot of the next visit to the item of this slot, S where there is none."""
        items, slots = self._by_item
        following = torch.full_like(slots, slots.shape[1])
        following[:, :-1] = torch.where(items[:, 1:] == items[:, :-1], slots[:, 1:], following[:, 1:])
        return torch.empty_like(slots).scatter_(1, slots, following)

    def _visit(self, history: Tensor, items: Tensor, slots: Tensor) -> Tensor:
        return (history * (self.n_items + 1) + items) * (self.histories.shape[1] + 1) + slots

    def _last_slot(self, rows: Tensor, items: Tensor) -> Tensor:
        """Slot of the last visit to each item within its row, -1 where there is none. All [n]."""
        if not len(self._visits):
            return torch.full_like(items, -1)
        history = self.row_history[rows]
        before = torch.searchsorted(self._visits, self._visit(history, items, self.row_length[rows])) - 1
        found = self._visits[before.clamp(min=0)]
        first = self._visit(history, items, torch.zeros_like(items))
        return torch.where((before >= 0) & (found >= first), found - first, -1)

    def _last_visits(self, exclude: Pairs | None) -> Iterator[tuple[slice, Tensor]]:
        """(rows, bool [rows, S]): the slots that hold the last visit to a candidate, in parts."""
        slots = torch.arange(self.histories.shape[1], device=self.histories.device)
        excluded = None if exclude is None else self._last_slot(exclude.rows, exclude.items)
        for part in _parts(self.n_rows, len(slots)):
            history, length = self.row_history[part], self.row_length[part, None]
            last = (slots < length) & (self._next_visit[history] >= length) & (self.histories[history] != self.n_items)
            if exclude is not None and excluded is not None:
                here = (exclude.rows >= part.start) & (exclude.rows < part.stop) & (excluded >= 0)
                last[exclude.rows[here] - part.start, excluded[here]] = False
            yield part, last

    def at(self, items: Tensor) -> Tensor:
        rows = torch.arange(self.n_rows, device=items.device).view(-1, *[1] * (items.dim() - 1)).expand_as(items)
        slot = self._last_slot(rows.flatten(), items.flatten()).view(items.shape)
        return torch.where(slot < 0, -torch.inf, slot.float())

    def logsumexp(self, temperature: float = 1.0) -> Tensor:
        slots = torch.arange(self.histories.shape[1], device=self.histories.device) / temperature
        total = torch.empty(self.n_rows, device=slots.device)
        for part, last in self._last_visits(None):
            total[part] = torch.where(last, slots, -torch.inf).logsumexp(1)
        return temperature * total

    def nll(self, items: Tensor, temperature: float = 1.0) -> Tensor:
        return _nll(self, items, temperature)

    def max(self) -> Best:
        return _first(self.topk(1))

    def topk(self, k: int, exclude: Pairs | None = None) -> Best:
        slots = torch.arange(self.histories.shape[1], device=self.histories.device)
        values = torch.full((self.n_rows, k), -torch.inf, device=slots.device)
        items = torch.full((self.n_rows, k), -1, device=slots.device)
        taken = min(k, len(slots))
        for part, last in self._last_visits(exclude):
            best = torch.where(last, slots, -1).topk(taken, dim=1).values
            listed = self.histories[self.row_history[part]].gather(1, best.clamp(min=0))
            values[part, :taken] = torch.where(best < 0, -torch.inf, best.float())
            items[part, :taken] = torch.where(best < 0, -1, listed)
        return Best(values, items)

    def rank_of(self, items: Tensor, exclude: Pairs | None = None) -> Tensor:
        own = self._last_slot(torch.arange(self.n_rows, device=items.device), items)
        slots = torch.arange(self.histories.shape[1], device=items.device)
        rank = torch.full_like(items, MISS)
        for part, last in self._last_visits(exclude):
            later = (last & (slots > own[part, None])).sum(1)
            candidate = (last & (slots == own[part, None])).any(1)
            rank[part] = torch.where(candidate, 1 + later, MISS)
        return rank

    def among(self, items: Tensor) -> Scores:
        listed = places_among(items, self.n_items)[self.histories]
        return RecencyScores(listed, self.row_history, self.row_length, len(items))

    def detach(self) -> Scores:
        return self


class FixedScores:
    """The same scores for every row."""

    def __init__(self, values: Tensor, n_rows: int) -> None:
        """Args: values [items], -inf for what is no candidate."""
        self.values, self._n_rows = values, n_rows

    @property
    def n_rows(self) -> int:
        return self._n_rows

    @property
    def n_items(self) -> int:
        return len(self.values)

    @cached_property
    def _order(self) -> Tensor:
        """Candidates, best first; a stable sort leaves equals in order of their numbers."""
        values, items = self.values.sort(descending=True, stable=True)
        return items[values > -torch.inf]

    @cached_property
    def _rank(self) -> Tensor:
        """[items] rank of each item, MISS for what is no candidate."""
        rank = torch.full_like(self.values, MISS, dtype=torch.int64)
        rank[self._order] = torch.arange(1, len(self._order) + 1, device=rank.device)
        return rank

    def _excluded(self, exclude: Pairs) -> Pairs:
        """The pairs that take a candidate away, each once, ascending by row."""
        listed = self._rank[exclude.items] < MISS
        keys = (exclude.rows[listed] * self.n_items + exclude.items[listed]).unique()
        return Pairs(keys // self.n_items, keys % self.n_items)

    def at(self, items: Tensor) -> Tensor:
        return self.values[items]

    def logsumexp(self, temperature: float = 1.0) -> Tensor:
        return temperature * (self.values / temperature).logsumexp(0).expand(self.n_rows)

    def nll(self, items: Tensor, temperature: float = 1.0) -> Tensor:
        return _nll(self, items, temperature)

    def max(self) -> Best:
        return _first(self.topk(1))

    def topk(self, k: int, exclude: Pairs | None = None) -> Best:
        pairs = self._excluded(exclude or Pairs(*self._rank.new_empty(2, 0)))
        most = int(pairs.rows.bincount(minlength=1).max())
        front = self._order[: k + most]
        items = torch.full((self.n_rows, k), -1, device=front.device)
        taken = min(k, len(front))
        for part in _parts(self.n_rows, len(front)):
            place = torch.arange(len(front), device=front.device).repeat(part.stop - part.start, 1)
            here = (pairs.rows >= part.start) & (pairs.rows < part.stop) & (self._rank[pairs.items] <= len(front))
            place[pairs.rows[here] - part.start, self._rank[pairs.items[here]] - 1] = len(front)
            best = place.topk(taken, dim=1, largest=False).values
            padded = torch.cat([front, front.new_tensor([-1])])
            items[part, :taken] = padded[best]
        return Best(torch.where(items < 0, -torch.inf, self.values[items.clamp(min=0)]), items)

    def rank_of(self, items: Tensor, exclude: Pairs | None = None) -> Tensor:
        rank = self._rank[items]
        if exclude is None:
            return rank
        pairs = self._excluded(exclude)
        better = (self._rank[pairs.items] < rank[pairs.rows]).long()
        gone = torch.zeros_like(rank).index_add_(0, pairs.rows, better)
        itself = torch.zeros_like(rank, dtype=torch.bool)
        itself[pairs.rows[pairs.items == items[pairs.rows]]] = True
        return torch.where(itself | (rank == MISS), MISS, rank - gone)

    def among(self, items: Tensor) -> Scores:
        return FixedScores(self.values[items], self.n_rows)

    def detach(self) -> Scores:
        return self


def _nll(scores: Scores, items: Tensor, temperature: float) -> Tensor:
    """Infinite for what is no candidate."""
    own = scores.at(items)
    return torch.where(own == -torch.inf, torch.inf, scores.logsumexp(temperature) - own)


def _first(best: Best) -> Best:
    return Best(best.values[:, 0], best.items[:, 0])


def _parts(n_rows: int, width: int) -> Iterator[slice]:
    step = max(1, ELEMENTS // max(width, 1))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))
