"""Methods that recommend what sessions or items alike hold: no gradient, one reading of the data.

Each is a scorer with ``fit``; what it read is kept in buffers, so that a run folder holds it as it holds weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn

from seqward.backbones.backbone import Histories
from seqward.catalogue.listed import ListedScores, summed
from seqward.catalogue.scores import Pairs
from seqward.data.dataset import TRAIN, Dataset

ENTRIES = 1 << 22
"""Entries expanded at a time."""
LONGEST = 1 << 40
"""Farther back than any item of a history."""
CELLS = 1 << 24
"""Cells of the largest block of item pairs that are counted at a time."""


class Visits(NamedTuple):
    """The distinct items that a scorer reads of each row's history, the last visit of each."""

    row: Tensor
    """[m] ascending."""
    item: Tensor
    """[m]"""
    back: Tensor
    """[m] how many slots before the end of the history it stands: 0 for the last."""
    length: Tensor
    """[rows] slots of each row's history."""


def visits_of(histories: Histories, n_items: int, every: bool) -> Visits:
    """What every row reads; rows as in ``Scorer.score``."""
    items = histories.items
    n, slots = items.shape
    slot = torch.arange(slots, device=items.device)
    # The slot of the next visit to the same item, ``slots`` where there is none.
    same = (items[:, :, None] == items[:, None, :]) & (slot[None, :] > slot[:, None])
    following = torch.where(same, slot, slots).amin(2) if slots else items
    if every:
        history = torch.arange(n, device=items.device).repeat_interleave(slots + 1)
        length = torch.arange(slots + 1, device=items.device).repeat(n)
    else:
        history = torch.arange(n, device=items.device)
        real = (items != n_items) * (slot + 1)
        length = real.amax(1) if slots else torch.zeros_like(history)
    last = (slot < length[:, None]) & (following[history] >= length[:, None]) & (items[history] != n_items)
    row, place = last.nonzero(as_tuple=True)
    return Visits(row, items[history[row], place], length[row] - 1 - place, length)


class Nearest(NamedTuple):
    """Neighbouring sessions of rows, all [m]."""

    row: Tensor
    session: Tensor
    similarity: Tensor
    back: Tensor
    """How far before the end of the history the latest item in common stands."""
    place: Tensor
    """Where that item stands in the neighbour."""


class Lists(NamedTuple):
    """Rows of unequal length: the entries of row r are ``starts[r]:starts[r + 1]``."""

    starts: Tensor
    counts: Tensor

    @classmethod
    def of(cls, counts: Tensor) -> Lists:
        """Rows of so many entries each, one behind the other."""
        return cls(counts.cumsum(0) - counts, counts)

    def expand(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Which of ``rows`` each entry of theirs belongs to, and where the entry is."""
        counts = self.counts[rows]
        which = torch.repeat_interleave(counts)
        ahead = counts.cumsum(0) - counts
        within = torch.arange(len(which), device=rows.device) - ahead[which]
        return which, self.starts[rows][which] + within


@dataclass(frozen=True)
class Rule:
    """What makes a session a neighbour, and what it says of its items."""

    neighbours: int
    """Sessions that speak."""
    sample: int
    """The latest sessions with an item that are looked at, for each item of the history."""
    near: Callable[[Tensor, Tensor], Tensor]
    """(back, length) of an item of the history -> its weight in the similarity."""
    age: Callable[[Tensor], Tensor]
    """Age of a session as a share of the log's span -> its factor."""
    carry: Callable[[Tensor, Tensor], Tensor]
    """(back of the latest item in common, places between it and the item in the neighbour) -> factor of the item."""
    cosine: bool = False
    """Whether the similarity is divided by the root of the neighbour's length."""
    idf: float = 0.0
    """How much more a rare item counts: its factor is 1 + idf * log(sessions / sessions with the item)."""


class Fitted(nn.Module):
    """A scorer whose buffers have the size of what it read."""

    causal = True

    def make_room(self, weights: Mapping[str, Tensor]) -> None:
        """Take the shapes of saved buffers, before they are loaded."""
        for name, buffer in list(self.named_buffers()):
            if name in weights:
                setattr(self, name, torch.empty(weights[name].shape, dtype=buffer.dtype))


class SessionNeighbours(Fitted):
    """Recommends what similar training sessions hold (SKNN and its kin).

    An entry is a distinct item of a training session; entries lie by session, and ``posting`` lists them by item.
    """

    start: Tensor
    item: Tensor
    place: Tensor
    posting: Tensor
    age: Tensor

    def __init__(self, name: str, n_items: int, context: int, rule: Rule) -> None:
        super().__init__()
        self.name, self.n_items, self.rule = name, n_items, rule
        self.context: int | None = context
        for buffer in ("start", "item", "place", "posting"):
            self.register_buffer(buffer, torch.zeros(0, dtype=torch.int64))
        self.register_buffer("age", torch.zeros(0))

    def fit(self, data: Dataset) -> Self:
        """Index the known items of the training sessions, each by its last place."""
        place, session, item = _distinct(data)
        first = np.flatnonzero(np.diff(session, prepend=-1))
        age = _ages(data, session[first])
        self.start = torch.from_numpy(np.append(first, len(session)))
        self.item, self.place = torch.from_numpy(item), torch.from_numpy(place)
        self.age = torch.from_numpy(age)
        number = self._session_of_entry().numpy()
        self.posting = torch.from_numpy(np.lexsort((-number, age[number], item)))
        return self

    def _session_of_entry(self) -> Tensor:
        return torch.repeat_interleave(self.start.diff())

    def score(self, histories: Histories, every: bool = False) -> ListedScores:
        visits = visits_of(histories, self.n_items, every)
        n_rows, n_sessions = len(visits.length), len(self.start) - 1
        holders = self.item.bincount(minlength=self.n_items)
        postings = Lists(holders.cumsum(0) - holders, holders.clamp(max=self.rule.sample))
        parts = [self._nearest(part, visits, postings) for part in _parts(visits.row, postings.counts[visits.item])]
        near = Nearest(*(torch.cat(column) for column in zip(*parts, strict=True)))
        which, entry = Lists(self.start[:-1], self.start.diff()).expand(near.session)
        item = self.item[entry]
        between = (self.place[entry] - near.place[which]).abs()
        values = near.similarity[which] * self.rule.carry(near.back[which].float(), between.float())
        if self.rule.idf:
            values = values * (1 + self.rule.idf * torch.log(n_sessions / holders[item].float()))
        return summed(n_rows, self.n_items, Pairs(near.row[which], item), values)

    def _nearest(self, part: slice, visits: Visits, postings: Lists) -> Nearest:
        """The neighbours of the rows that these visits belong to."""
        row, item, back = visits.row[part], visits.item[part], visits.back[part]
        which, place = postings.expand(item)
        entry, size = self.posting[place], len(self.start)
        keys, inverse = (row[which] * size + self._session_of_entry()[entry]).unique(return_inverse=True)
        found_row, found = keys // size, keys % size
        weight = self.rule.near(back.float(), visits.length[row].float())
        common = torch.zeros(len(keys), dtype=torch.float64).index_add_(0, inverse, weight[which].double())
        size_of_neighbour = self.start.diff()[found].double().sqrt() if self.rule.cosine else 1.0
        similarity = (common / size_of_neighbour).float() * self.rule.age(self.age[found])
        latest = torch.full_like(keys, LONGEST).scatter_reduce(0, inverse, back[which], "amin")
        newest = back[which] == latest[inverse]
        at = torch.zeros_like(keys).index_copy_(0, inverse[newest], self.place[entry[newest]])
        order = ListedScores(len(visits.length), size, Pairs(found_row, found), similarity)
        kept = order.place < self.rule.neighbours
        return Nearest(found_row[kept], found[kept], similarity[kept], latest[kept], at[kept])


class ItemNeighbours(Fitted):
    """Recommends the items that stand in the same sessions as those of the history."""

    neighbour: Tensor
    similarity: Tensor

    def __init__(
        self, name: str, n_items: int, neighbours: int, shrink: float, read: Literal["last", "history"], context: int
    ) -> None:
        super().__init__()
        self.name, self.n_items, self.neighbours, self.shrink = name, n_items, neighbours, shrink
        self.context: int | None = 1 if read == "last" else context
        self.register_buffer("neighbour", torch.zeros(0, 0, dtype=torch.int64))
        self.register_buffer("similarity", torch.zeros(0, 0))

    def fit(self, data: Dataset) -> Self:
        """n_ij / sqrt((n_i + shrink) (n_j + shrink)) of the sessions that hold the items; the best of each item."""
        _, session, item = (torch.from_numpy(column) for column in _distinct(data))
        counts = item.bincount(minlength=self.n_items)
        _, number, sizes = session.unique(return_inverse=True, return_counts=True)
        of_session, of_item = Lists.of(sizes), Lists.of(counts)
        by_item = item.argsort(stable=True)
        holders = number[by_item]
        damped = (counts + self.shrink).double().clamp(min=1.0)
        k = min(self.neighbours, self.n_items)
        self.neighbour = torch.zeros(self.n_items, k, dtype=torch.int64)
        self.similarity = torch.full((self.n_items, k), -torch.inf)
        pairs = torch.zeros(self.n_items, dtype=torch.int64).index_add_(0, item[by_item], of_session.counts[holders])
        for block in _blocks(pairs, self.n_items):
            inside = torch.arange(block.start, block.stop)
            owner, posting = of_item.expand(inside)
            which, entry = of_session.expand(holders[posting])
            cells = owner[which] * self.n_items + item[entry]
            together = cells.bincount(minlength=len(inside) * self.n_items).view(len(inside), -1)
            similarity = together / (damped[inside, None] * damped).sqrt()
            similarity[torch.arange(len(inside)), inside] = 0.0
            best = similarity.float().masked_fill(similarity == 0, -torch.inf).topk(k, dim=1)
            self.neighbour[block], self.similarity[block] = best.indices, best.values
        return self

    def score(self, histories: Histories, every: bool = False) -> ListedScores:
        visits = visits_of(histories, self.n_items, every)
        row = visits.row[:, None].expand(-1, self.neighbour.shape[1])
        values = self.similarity[visits.item]
        listed = values > -torch.inf
        pairs = Pairs(row[listed], self.neighbour[visits.item][listed])
        return summed(len(visits.length), self.n_items, pairs, values[listed])


def _distinct(data: Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(place, session, item) of the last visit to each known item of each training session, by session and place."""
    event = np.flatnonzero((data.split == TRAIN) & (data.item < data.n_items))
    session = data.session_of_event()[event].astype(np.int64)
    item = data.item[event].astype(np.int64)
    place = event - data.offsets[session]
    order = np.lexsort((place, item, session))
    pair = session[order] * data.n_items + item[order]
    last = np.append(pair[1:] != pair[:-1], True) if len(pair) else np.zeros(0, dtype=bool)
    kept = np.sort(order[last])
    return place[kept], session[kept], item[kept]


def _ages(data: Dataset, sessions: np.ndarray) -> np.ndarray:
    """[sessions] how long before the latest of them each ended, as a share of the span; 0 where times are unknown."""
    if data.session_time is None or not len(sessions):
        return np.zeros(len(sessions), dtype=np.float32)
    time = data.session_time[sessions].astype(np.float64)
    span = time.max() - time.min()
    return ((time.max() - time) / (span or 1.0)).astype(np.float32)


def _parts(row: Tensor, entries: Tensor) -> list[slice]:
    """Slices of visits with at most ENTRIES entries each, no row cut; one empty slice where there is none."""
    if not len(row):
        return [slice(0, 0)]
    ends = torch.cat([(row.diff() != 0).nonzero()[:, 0] + 1, torch.tensor([len(row)])])
    total = entries.cumsum(0)[ends - 1]
    slices, start, done = [], 0, 0
    for end, upto in zip(ends.tolist(), [*total[1:].tolist(), None], strict=True):
        if upto is None or upto - done > ENTRIES:
            slices.append(slice(start, end))
            start, done = end, int(entries[:end].sum())
    return slices


def _blocks(pairs: Tensor, n_items: int) -> list[slice]:
    """Slices of items whose pairs and cells are counted at once."""
    width = max(1, CELLS // n_items)
    blocks, start, sizes = [], 0, pairs.tolist()
    while start < n_items:
        stop, held = start + 1, sizes[start]
        while stop < min(n_items, start + width) and held + sizes[stop] <= CELLS:
            held += sizes[stop]
            stop += 1
        blocks.append(slice(start, stop))
        start = stop
    return blocks
