"""Training batches: pieces of sessions, each event's loss counted once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqward.backbones.backbone import Vocabulary
from seqward.data.dataset import TRAIN, Dataset
from seqward.data.returns import discounted_returns
from seqward.randomness import generator_of

Draw = Literal["sessions", "transitions", "tails"]
"""Whole sessions in overlapping pieces; single events, each with its history; or the last piece of each session, whose
first event is only read."""


@dataclass(frozen=True, eq=False)
class Batch:
    """B pieces of up to S events, padded on the right, and the n events whose loss counts."""

    items: Tensor
    """[B, S] item numbers, padded."""
    slots: Tensor
    """[B, S] position of each slot's event in the data set's columns; that of some other event where there is none."""
    piece: Tensor
    """[n] the piece of each counted event."""
    row: Tensor
    """[n] its place in the piece: row ``row`` of the piece's states stands before it, row ``row + 1`` after it."""
    end: Tensor
    """[B] the row that stands for the piece where one state is taken of each."""
    event: Tensor
    """[n] position of each counted event in the data set's columns."""
    data: TrainingEvents

    def column(self, name: str) -> Tensor:
        """[n] a column of the data set (item, reward, live, session, ...) at the counted events."""
        return self.data.column(name, self.event)

    @property
    def users(self) -> Tensor:
        """[B] number of each piece's user."""
        return self.data.user[self.sessions]

    @property
    def sessions(self) -> Tensor:
        """[B] the session of each piece."""
        return self.data.session_of(self.slots[:, 0])

    def returns(self, gamma: float) -> Tensor:
        """[B, S + 1] the return from each row of the states on; NaN but at the rows before counted events."""
        rows, slots = self.items.shape
        returns = torch.full((rows, slots + 1), torch.nan, device=self.items.device)
        return returns.index_put((self.piece, self.row), self.data.returns(gamma)[self.event])


class TrainingEvents:
    """The training events of a data set as tensors, cut into pieces.

    A piece holds at most context + 1 events: one more than the context, so that a full state has its next one. A
    longer session becomes pieces that overlap (stride half the context); an event counts in the first that holds it.
    """

    def __init__(
        self, data: Dataset, context: int, draw: Draw = "sessions", device: torch.device | str = "cpu"
    ) -> None:
        self.n_items, self.device, self.draw = data.n_items, torch.device(device), draw
        train = data.split == TRAIN
        # Training events are the front of each session that has any (all of it, but for leave-one-out).
        counts = (
            np.add.reduceat(train.astype(np.int64), data.offsets[:-1]) if data.n_sessions else np.zeros(0, np.int64)
        )
        begins, lengths = data.offsets[:-1][counts > 0], counts[counts > 0]
        pieces = CUTS[draw](begins, lengths, context)
        self.begin, self.stop, self.counted_from = (self._tensor(p) for p in pieces)
        self._item = self._tensor(data.item.astype(np.int32))  # half the memory; what is asked for is int64
        self.reward = self._tensor(data.reward)
        self.offsets = self._tensor(data.offsets.astype(np.int64))
        self.train = self._tensor(train)
        user, self.n_users = data.training_users()
        self.user = self._tensor(user)
        """[sessions]"""
        self._returns: dict[float, Tensor] = {}
        self.n_events = int((self.stop - self.counted_from).sum())
        """Events counted in an epoch."""

    @property
    def item(self) -> Tensor:
        """[events] int64"""
        return self._item.long()

    @property
    def session(self) -> Tensor:
        """[events] the session of each."""
        return self.session_of(torch.arange(len(self._item), device=self.device))

    def column(self, name: str, events: Tensor) -> Tensor:
        """[...] a column at some events, without making all of it."""
        match name:
            case "item":
                return self._item[events].long()
            case "session":
                return self.session_of(events)
            case "user":
                return self.user[self.session_of(events)]
            case "live":
                return self.live(events)
        return getattr(self, name)[events]

    def live(self, events: Tensor) -> Tensor:
        """[...] 1, and 0 at the last event of a session: an episode ends only where the session does."""
        return (events + 1 < self.offsets[self.session_of(events) + 1]).float()

    def session_of(self, events: Tensor) -> Tensor:
        """[...] the session of some events."""
        return torch.searchsorted(self.offsets, events.contiguous(), right=True) - 1

    def _tensor(self, array: NDArray) -> Tensor:
        # A copy, because columns read from Parquet are read-only, which torch does not support.
        return torch.from_numpy(np.array(array)).to(self.device)

    def returns(self, gamma: float) -> Tensor:
        """[events] discounted rewards from each event on to the end of its session, training events only."""
        if gamma not in self._returns:
            reward, offsets = torch.where(self.train, self.reward, 0.0).cpu().numpy(), self.offsets.cpu().numpy()
            self._returns[gamma] = self._tensor(discounted_returns(reward, offsets, gamma).astype(np.float32))
        return self._returns[gamma]

    @cached_property
    def before(self) -> Tensor:
        """[events] events of the session that came earlier."""
        place = torch.arange(len(self._item), device=self.device)
        return (place - self.offsets[self.session_of(place)]).float()

    @cached_property
    def after(self) -> Tensor:
        """[events] training events of the session that come later."""
        session = self.session
        counts = torch.zeros(len(self.offsets), device=self.device).index_add_(0, session, self.train.float())
        return (counts[session] - self.before - 1).clamp(min=0)

    @cached_property
    def popularity(self) -> Tensor:
        """[items] each item's share of the training events."""
        counts = self.item[self.train].bincount(minlength=self.n_items).float()
        return counts / counts.sum()

    @cached_property
    def counted_share(self) -> Tensor:
        """[items] each item's share of the events that count in an epoch."""
        change = torch.zeros(len(self._item) + 1, dtype=torch.int64, device=self.device)
        one = torch.ones_like(self.stop)
        change.index_add_(0, self.counted_from, one).index_add_(0, self.stop, -one)
        counts = self.item[change.cumsum(0)[:-1] > 0].bincount(minlength=self.n_items).float()
        return counts / counts.sum()

    @cached_property
    def one_session(self) -> bool:
        """Whether all training events are of one session."""
        return len(self.session[self.train].unique()) == 1

    @property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(self.n_items, self.n_users)

    @property
    def n_pieces(self) -> int:
        return len(self.begin)

    def batch(self, step: int, batch_size: int, seed: int) -> Batch:
        """The batch of a step: a function of (step, seed) alone. An epoch is one permutation of the pieces."""
        per_epoch = self.steps_per_epoch(batch_size)
        epoch, place = divmod(step, per_epoch)
        if self._order[0] != (epoch, seed):
            shuffled = torch.randperm(self.n_pieces, generator=generator_of(seed, epoch, "order")).to(self.device)
            self._order = ((epoch, seed), shuffled)
        return self.collate(self._order[1][place * batch_size : (place + 1) * batch_size])

    _order: tuple[tuple[int, int], Tensor] = ((-1, 0), torch.empty(0))

    def steps_per_epoch(self, batch_size: int) -> int:
        return -(-self.n_pieces // batch_size)

    def collate(self, pieces: Tensor) -> Batch:
        """The batch of the numbered pieces."""
        begin, stop = self.begin[pieces], self.stop[pieces]
        length = stop - begin
        slot = torch.arange(int(length.max()), device=self.device)
        event = (begin[:, None] + slot).clamp(max=len(self._item) - 1)
        real = slot < length[:, None]
        items = torch.where(real, self.column("item", event), self.n_items)
        piece, row = (real & (event >= self.counted_from[pieces][:, None])).nonzero(as_tuple=True)
        end = length - 1 if self.draw == "transitions" else length
        return Batch(items=items, slots=event, piece=piece, row=row, end=end, event=event[piece, row], data=self)

    @cached_property
    def _met(self) -> Tensor:
        """Sorted keys session * n_items + item of every (session, item) of the training events."""
        return (self.session * self.n_items + self.item)[self.train].unique()

    def met(self, session: Tensor, items: Tensor) -> Tensor:
        """Whether the session has the item among its training events, [n, k] for sessions [n] and items [n, k]."""
        keys = session[:, None] * self.n_items + items
        place = torch.searchsorted(self._met, keys).clamp(max=len(self._met) - 1)
        return self._met[place] == keys


Pieces = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""First event, one past the last, and the first that counts, of each piece."""


def cut_sessions(begins: NDArray[np.int64], lengths: NDArray[np.int64], context: int) -> Pieces:
    """Overlapping pieces of at most context + 1 events; see TrainingEvents."""
    size, stride = context + 1, max(1, context // 2)
    pieces = 1 + -(-np.maximum(lengths - size, 0) // stride)
    number = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    ends = np.repeat(begins + lengths, pieces)
    begin = np.repeat(begins, pieces) + number * stride
    stop = np.minimum(begin + size, ends)
    counted_from = np.where(number == 0, begin, begin - stride + size)
    return begin, stop, counted_from


def cut_transitions(begins: NDArray[np.int64], lengths: NDArray[np.int64], context: int) -> Pieces:
    """One piece an event: the event and the context before it."""
    begin = np.repeat(begins, lengths)
    event = begin + np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.maximum(begin, event - context), event + 1, event


def cut_tails(begins: NDArray[np.int64], lengths: NDArray[np.int64], context: int) -> Pieces:
    """The last context + 1 events of each session, as SASRec was published: each but the first of them is a target.

    So a session of one event teaches nothing, and nothing is learned of how sessions begin.
    """
    stop = (begins + lengths)[lengths > 1]
    begin = np.maximum(begins[lengths > 1], stop - context - 1)
    return begin, stop, begin + 1


CUTS = {"sessions": cut_sessions, "transitions": cut_transitions, "tails": cut_tails}
