"""Pieces of sessions: every training event counts once, with its own history, and nothing held out is ever read."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from seqward.data.batches import CUTS, Batch, Draw, TrainingEvents
from seqward.data.dataset import TEST, TRAIN, VALIDATION, Dataset
from worlds import data_of, random_sessions

DRAWS: list[Draw] = ["sessions", "transitions", "tails"]
LENGTHS = st.lists(st.integers(1, 23), min_size=1, max_size=6)
every_draw = pytest.mark.parametrize("draw", DRAWS)


def numbered(lengths: list[int], held_out: int = 0) -> Dataset:
    """Sessions in which every event has an item of its own, equal to its position; the last ones may be held out."""
    starts = np.cumsum([0, *lengths])
    sessions = [list(range(start, start + length)) for start, length in zip(starts, lengths, strict=False)]
    splits = [[TRAIN] * max(length - held_out, 0) + [TEST] * min(held_out, length) for length in lengths]
    return data_of(sessions, int(starts[-1]), splits=splits)


def whole(events: TrainingEvents) -> Batch:
    return events.collate(torch.arange(events.n_pieces))


@every_draw
@examples(deadline=None)
@given(lengths=LENGTHS, context=st.integers(1, 9), held_out=st.integers(0, 2))
def test_every_training_event_counts_once_with_its_own_history(
    draw: Draw, lengths: list[int], context: int, held_out: int
) -> None:
    """An event's row stands after the items just before it and before itself; the row after it has read it."""
    assume(draw != "tails" or max(lengths) > 1)
    data = numbered([length + held_out for length in lengths], held_out)
    events = TrainingEvents(data, context, draw)
    batch = whole(events)
    counted = batch.event.tolist()
    expected = np.flatnonzero(data.split == TRAIN)
    if draw == "tails":
        ends = data.offsets[1:] - held_out
        starts = np.maximum(data.offsets[:-1], ends - context - 1)
        expected = np.concatenate([np.arange(a + 1, b) for a, b in zip(starts, ends, strict=True)])
    assert Counter(counted) == Counter(expected.tolist())
    assert events.n_events == len(counted)
    assert batch.items.shape[1] <= context + 1
    for event, piece, row in zip(counted, batch.piece.tolist(), batch.row.tolist(), strict=True):
        read = batch.items[piece].tolist()
        session = int(np.searchsorted(data.offsets, event, side="right")) - 1
        assert row <= context
        assert read[row] == event
        assert read[:row] == list(range(event - row, event)), "the items just before, none left out"
        assert event - row >= data.offsets[session], "an item of another session"
        enough = {"sessions": max(1, context // 2), "transitions": context, "tails": 0}[draw]
        assert row >= min(event - data.offsets[session], enough), "a history cut short"


@every_draw
@examples(deadline=None)
@given(lengths=LENGTHS, context=st.integers(1, 9))
def test_nothing_held_out_is_read(draw: Draw, lengths: list[int], context: int) -> None:
    """Leave-one-out: the last two events of each session are in no batch, neither as target nor as history."""
    assume(draw != "tails" or max(lengths) > 1)
    data = numbered([length + 2 for length in lengths], held_out=2)
    batch = whole(TrainingEvents(data, context, draw))
    train = set(np.flatnonzero(data.split == TRAIN).tolist())
    assert set(batch.items.flatten().tolist()) - {data.n_items} <= train
    assert set(batch.column("item").tolist()) <= train


@every_draw
def test_sessions_of_other_splits_are_not_touched(draw: Draw) -> None:
    splits = [[VALIDATION] * 3, [TRAIN] * 2, [TEST] * 3, [TRAIN] * 4]
    data = data_of([[0, 1, 2], [3, 4], [5, 6, 7], [8, 9, 10, 11]], 12, splits=splits)
    events = TrainingEvents(data, 2, draw)
    assert set(whole(events).items.flatten().tolist()) - {12} <= {3, 4, 8, 9, 10, 11}
    first = whole(events)
    assert set(first.column("session").tolist()) == {1, 3}


@every_draw
def test_an_episode_ends_only_where_the_session_does(draw: Draw) -> None:
    """live is 0 at the last event of a session, not at the end of a piece."""
    data = numbered([1, 11, 4])
    batch = whole(TrainingEvents(data, 3, draw))
    ends = {event for event, live in zip(batch.event.tolist(), batch.column("live").tolist(), strict=True) if not live}
    assert ends == ({11, 15} if draw == "tails" else {0, 11, 15})  # of tails, first events are read only


@every_draw
def test_a_session_goes_on_where_its_end_is_held_out(draw: Draw) -> None:
    """Leave-one-out: the user came back after the last training event, so the episode is alive there."""
    batch = whole(TrainingEvents(numbered([5, 6], held_out=2), 3, draw))
    assert batch.column("live").tolist() == [1.0] * len(batch.event)


def test_pieces_of_a_long_session() -> None:
    """Context 4: pieces of 5 events, 2 further on each time; events count in the first piece that holds them."""
    begin, stop, counted_from = CUTS["sessions"](np.array([10]), np.array([12]), 4)
    assert begin.tolist() == [10, 12, 14, 16, 18]
    assert stop.tolist() == [15, 17, 19, 21, 22]
    assert counted_from.tolist() == [10, 15, 17, 19, 21]


def test_the_row_that_stands_for_a_piece() -> None:
    """After its last event; where transitions are drawn, before it: the state of the drawn event."""
    data = data_of([[5, 6, 7], [8]], 9)
    assert whole(TrainingEvents(data, 4, "sessions")).end.tolist() == [3, 1]
    transitions = whole(TrainingEvents(data, 4, "transitions"))
    assert transitions.end.tolist() == [0, 1, 2, 0]
    assert torch.equal(transitions.row, transitions.end)


def test_columns_are_those_of_the_counted_events() -> None:
    data = data_of([[3, 1], [2]], 4, rewards=[[0.2, 1.0], [0.5]])
    batch = TrainingEvents(data, 5).collate(torch.tensor([1, 0]))
    assert batch.column("item").tolist() == [2, 3, 1]
    torch.testing.assert_close(batch.column("reward"), torch.tensor([0.5, 0.2, 1.0]))
    assert batch.column("session").tolist() == [1, 0, 0]
    assert batch.items.tolist() == [[2, 4], [3, 1]]


@every_draw
@pytest.mark.parametrize("batch_size", [1, 3, 7, 1000])
def test_an_epoch_is_one_permutation_of_the_pieces(draw: Draw, batch_size: int) -> None:
    events = TrainingEvents(numbered([5, 1, 9, 2, 2, 14]), 4, draw)
    steps = events.steps_per_epoch(batch_size)
    epochs = []
    for epoch in range(3):
        drawn = [events.batch(epoch * steps + step, batch_size, 0) for step in range(steps)]
        assert all(len(batch.items) == batch_size for batch in drawn[:-1])
        seen = [event for batch in drawn for event in batch.event.tolist()]
        assert sorted(seen) == sorted(whole(events).event.tolist())
        epochs.append(seen)
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_batch_follows_from_step_and_seed_alone() -> None:
    data = data_of(random_sessions(30, 9, 8), 9)
    one, other = TrainingEvents(data, 4), TrainingEvents(data, 4)
    steps = [7, 0, 23, 8, 7]
    first = [one.batch(step, 4, 5).event.tolist() for step in steps]
    again = [other.batch(step, 4, 5).event.tolist() for step in reversed(steps)]
    assert first == again[::-1]
    assert first != [one.batch(step, 4, 6).event.tolist() for step in steps]


def test_met_is_the_sessions_own_training_items() -> None:
    """Session 0 has 1 and 3 in training, 2 held out; session 1 has 0."""
    data = data_of([[1, 3, 1, 2], [0, 0, 2]], 5, splits=[[TRAIN] * 3 + [TEST], [TRAIN, TRAIN, TEST]])
    events = TrainingEvents(data, 4)
    everything = torch.arange(5).expand(2, 5)
    assert events.met(torch.tensor([0, 1]), everything).tolist() == [
        [False, True, False, True, False],
        [True, False, False, False, False],
    ]


@every_draw
def test_counts_before_and_after_are_the_sessions_own(draw: Draw) -> None:
    """Of the whole session, not of the piece; only training events are to come, the user's held-out ones are not."""
    lengths, held_out = [1, 11, 4, 7], 2
    data = numbered([length + held_out for length in lengths], held_out)
    batch = whole(TrainingEvents(data, 3, draw))
    before, after = batch.column("before"), batch.column("after")
    for event, session, earlier, later in zip(
        batch.event.tolist(), batch.column("session").tolist(), before.tolist(), after.tolist(), strict=True
    ):
        assert earlier == event - data.offsets[session]
        assert later == lengths[session] - 1 - earlier
    assert before.dtype == after.dtype == torch.float32


def test_popularity_is_the_share_of_the_training_events() -> None:
    """Items 0, 0, 1 in training; 2, 2 held out."""
    data = data_of([[0, 0, 1], [2, 2]], 3, splits=[[TRAIN] * 3, [TEST] * 2])
    torch.testing.assert_close(TrainingEvents(data, 3).popularity, torch.tensor([2 / 3, 1 / 3, 0.0]))


def test_no_training_events() -> None:
    events = TrainingEvents(data_of([[0, 1]], 2, splits=[[TEST, TEST]]), 4)
    assert (events.n_pieces, events.n_events) == (0, 0)
