"""Splits: who trains, validates and tests, against walks over the sessions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqward.data.dataset import TEST, TRAIN, VALIDATION
from seqward.data.splits import generator, split_events
from seqward.errors import SeqwardError

lengths = st.lists(st.integers(1, 6), min_size=1, max_size=60)


def offsets_of(lengths: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)])


def sessions_of(split: np.ndarray, offsets: np.ndarray) -> list[np.ndarray]:
    return np.split(split, offsets[1:-1])


@given(lengths, st.sampled_from(["random", "temporal"]), st.integers(0, 9))
def test_sessions_stay_whole_and_come_in_shares_of_80_10_10(lengths, name, seed):
    offsets = offsets_of(lengths)
    split = split_events(name, offsets, np.arange(offsets[-1]) % 7, seed)
    codes = [set(session.tolist()) for session in sessions_of(split, offsets)]
    assert all(len(code) == 1 for code in codes)
    counts = [sum(code == {c} for code in codes) for c in (TRAIN, VALIDATION, TEST)]
    n = len(lengths)
    assert counts == [n * 8 // 10, n * 9 // 10 - n * 8 // 10, n - n * 9 // 10]


def test_the_random_split_is_drawn_by_the_seed():
    offsets = offsets_of([2] * 1000)
    first, again, other = (split_events("random", offsets, None, seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).mean() > 0.2
    training = np.flatnonzero(sessions_of(first, offsets)[0] == TRAIN)
    assert len(training) in (0, 2)
    # No order: the sessions that train are spread evenly over the log.
    assert abs(np.mean(np.flatnonzero(first == TRAIN)) / offsets[-1] - 0.5) < 0.03


@given(lengths, st.randoms(use_true_random=False))
def test_temporal_sessions_end_in_order(lengths, random):
    offsets = offsets_of(lengths)
    time = np.array([random.randint(0, 50) for _ in range(offsets[-1])])
    split = split_events("temporal", offsets, time, 0)
    ends = [session.max() for session in np.split(time, offsets[1:-1])]
    codes = [session[0] for session in sessions_of(split, offsets)]
    ordered = sorted(range(len(lengths)), key=lambda session: (ends[session], session))
    assert [codes[session] for session in ordered] == sorted(codes)


def test_a_temporal_split_needs_times():
    with pytest.raises(SeqwardError, match="A temporal split needs times, and the log has only an order"):
        split_events("temporal", offsets_of([2, 2]), None, 0)


@given(lengths)
def test_leave_one_out_tests_the_last_event(lengths):
    offsets = offsets_of(lengths)
    split = split_events("leave-one-out", offsets, None, 0)
    for session in sessions_of(split, offsets):
        expected = [TRAIN] * (len(session) - 2) + [VALIDATION, TEST] if len(session) >= 3 else [TRAIN] * len(session)
        assert session.tolist() == expected


def test_each_use_of_the_seed_has_numbers_of_its_own():
    draws = {generator(seed, use).integers(2**62) for seed in (0, 1) for use in ("split", "items")}
    assert len(draws) == 4
    assert generator(3, "split").integers(2**62) == generator(3, "split").integers(2**62)


def test_leave_one_out_validates_on_so_many_sessions():
    offsets = offsets_of([3, 5, 2, 4, 6])
    split = split_events("leave-one-out", offsets, None, 0, validation_users=2)
    ends = offsets[1:][[0, 1, 3, 4]]
    assert (split == VALIDATION).sum() == 2
    assert set(np.flatnonzero(split == VALIDATION)) <= set(ends - 2)
    assert (split == TEST).sum() == 4  # every session long enough is tested all the same
    drawn = {split_events("leave-one-out", offsets, None, seed, validation_users=2).tobytes() for seed in range(9)}
    assert len(drawn) > 1


def test_more_validation_users_than_there_are_are_refused():
    split_events("leave-one-out", offsets_of([3, 2, 3]), None, 0, validation_users=2)
    with pytest.raises(SeqwardError, match="validation_users is 3, but only 2 have 3 events or more"):
        split_events("leave-one-out", offsets_of([3, 2, 3]), None, 0, validation_users=3)


def test_validation_users_belong_to_leave_one_out():
    with pytest.raises(SeqwardError, match="leave-one-out split only; the random split validates on 10 %"):
        split_events("random", offsets_of([3, 3]), None, 0, validation_users=1)
