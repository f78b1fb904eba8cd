"""Neighbour methods against loops over sessions, and worked by hand."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import assume, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from seqward import EventLog, prepare
from seqward.backbones.backbone import Histories
from seqward.catalogue.scores import MISS
from seqward.data.columns import Columns
from seqward.data.dataset import TRAIN, Dataset
from seqward.methods.neighbours import ItemKNNSettings, STANSettings, VSKNNSettings, item_knn, stan, vsknn
from seqward.neighbours import ItemNeighbours, SessionNeighbours
from seqward.recommender import Recommender
from worlds import data_of, random_sessions, ranks, split_by_session

N = 8


def timed(sessions: list[list[int]], times: list[float] | None = None) -> Dataset:
    data = data_of(sessions, N)
    return Dataset(**{**data.__dict__, "session_time": None if times is None else np.array(times)})


def listed(scorer: Any, history: list[int]) -> dict[int, float]:
    """Item -> score of what is listed after a history."""
    scores = scorer.score(Histories(torch.tensor([history], dtype=torch.int64).view(1, -1)))
    values = scores.at(torch.arange(N).view(1, -1))[0].tolist()
    return {item: value for item, value in enumerate(values) if value > -math.inf}


def last_places(session: list[int]) -> dict[int, int]:
    return {item: place for place, item in enumerate(session)}


def slow(kind: str, o: Any, sessions: list[list[int]], ages: list[float], history: list[int]) -> dict[int, float]:
    """Scores by the equations, session by session; the history and each session are sets with last places."""
    read = last_places(history[-o.session_max_len :])
    length = len(history[-o.session_max_len :])
    back = {item: length - 1 - place for item, place in read.items()}
    looked_at = set()
    for item in read:
        holders = [s for s, session in enumerate(sessions) if item in session]
        looked_at |= set(sorted(holders, key=lambda s: (ages[s], -s))[: o.sample])
    found = []
    for s in sorted(looked_at):
        # An older holder of one item may be looked at for another; it is then judged by the items it was found by.
        common = [
            item
            for item in read
            if item in sessions[s]
            and s in sorted((t for t, x in enumerate(sessions) if item in x), key=lambda t: (ages[t], -t))[: o.sample]
        ]
        near = {i: (length - back[i]) / length if kind == "vsknn" else math.exp(-back[i] / o.lambda_1) for i in common}
        similarity = sum(near.values())
        if kind == "stan":
            similarity *= 1 / math.sqrt(len(set(sessions[s])))
            similarity *= math.exp(-ages[s] / o.lambda_2)
        found.append((similarity, s, min(common, key=lambda i: back[i]), sorted(near.values())))
    found.sort(key=lambda x: (-np.float32(x[0]), x[1]))
    # Sums of other numbers may be equal, as .4 + 1 and .6 + .8 are, and then rounding decides who is nearer.
    for one, other in pairwise(found):
        assume(one[3] == other[3] or abs(one[0] - other[0]) > 1e-6)
    scores: dict[int, float] = {}
    for similarity, s, latest, _ in found[: o.neighbours]:
        places = last_places(sessions[s])
        for item, place in places.items():
            if kind == "vsknn":
                factor = 1 / (back[latest] + 1)
                if o.idf:
                    factor *= 1 + o.idf * math.log(len(sessions) / sum(item in x for x in sessions))
            else:
                factor = math.exp(-abs(place - places[latest]) / o.lambda_3)
            scores[item] = scores.get(item, 0.0) + similarity * factor
    return scores


SESSIONS = st.lists(st.lists(st.integers(0, N - 1), min_size=1, max_size=6), min_size=1, max_size=8)
HISTORY = st.lists(st.integers(0, N - 1), max_size=7)


@pytest.mark.parametrize("kind", ["vsknn", "stan"])
@examples(deadline=None, max_examples=150)
@given(
    sessions=SESSIONS,
    history=HISTORY,
    neighbours=st.integers(1, 4),
    sample=st.integers(1, 4),
    idf=st.sampled_from([0.0, 0.5, 2.0]),
    times=st.booleans(),
)
def test_session_neighbours_against_a_loop(
    kind: str, sessions: list[list[int]], history: list[int], neighbours: int, sample: int, idf: float, times: bool
) -> None:
    """Times 3, 1, 4, ... make every age different; without times the later session is the later one."""
    order = [(7 * s) % 11 for s in range(len(sessions))]
    span = max(order) - min(order) or 1
    ages = [float(np.float32((max(order) - t) / span)) if times else 0.0 for t in order]
    common: dict[str, Any] = {"session_max_len": 5, "neighbours": neighbours, "sample": sample}
    settings = VSKNNSettings(**common, idf=idf) if kind == "vsknn" else STANSettings(**common)
    scorer: SessionNeighbours = {"vsknn": vsknn, "stan": stan}[kind](N, settings)  # type: ignore[operator]
    scorer.fit(timed(sessions, [float(t) for t in order] if times else None))
    expected = slow(kind, settings, sessions, ages, history)
    found = listed(scorer, history[-5:])
    assert found.keys() == expected.keys()
    for item, value in expected.items():
        assert found[item] == pytest.approx(value, rel=1e-4, abs=1e-6)


def test_vsknn_worked_by_hand() -> None:
    """History 0, 1. Session A = (0, 2): the weight of 0 is 1/2; its latest common item is 2 from the end: factor 1/2.

    Session B = (1, 3, 4): the weight of 1 is 2/2, factor 1. Session C has nothing in common. So items of A get
    .5 * .5 = .25, those of B 1; 5 and 6 are no candidates. That B is longer does not matter (decoy: 1 / sqrt 3).
    """
    scorer = vsknn(N, VSKNNSettings()).fit(timed([[0, 2], [1, 3, 4], [5, 6]]))
    found = listed(scorer, [0, 1])
    assert found == pytest.approx({0: 0.25, 2: 0.25, 1: 1.0, 3: 1.0, 4: 1.0}, abs=1e-4)


def test_stan_prefers_the_younger_of_two_equal_sessions() -> None:
    """Only by its time: sessions (0, 1) and (0, 2), the second later; without times they are equal."""
    sessions = [[0, 1], [0, 2]]
    with_times = listed(stan(N, STANSettings()).fit(timed(sessions, [0.0, 10.0])), [0])
    assert with_times[2] > 100 * with_times[1]
    without = listed(stan(N, STANSettings()).fit(timed(sessions)), [0])
    assert without[1] == without[2]


@examples(deadline=None, max_examples=100)
@given(sessions=SESSIONS, history=HISTORY, shrink=st.sampled_from([0.0, 20.0]), last=st.booleans())
def test_item_neighbours_against_a_loop(
    sessions: list[list[int]], history: list[int], shrink: float, last: bool
) -> None:
    """All kept: the sum over the distinct items that are read of n_ij / sqrt((n_i + shrink)(n_j + shrink))."""
    settings = ItemKNNSettings(neighbours=N, shrink=shrink, read="last" if last else "history", session_max_len=5)
    scorer: ItemNeighbours = item_knn(N, settings).fit(timed(sessions))
    read = history[-1:] if last else history[-5:]
    counts = [sum(i in s for s in sessions) for i in range(N)]
    expected: dict[int, float] = {}
    for i in set(read):
        for j in range(N):
            together = sum(i in s and j in s for s in sessions)
            if i != j and together:
                expected[j] = expected.get(j, 0.0) + together / math.sqrt((counts[i] + shrink) * (counts[j] + shrink))
    assert listed(scorer, read) == pytest.approx(expected, rel=1e-5)


def test_only_the_most_similar_items_are_kept() -> None:
    sessions = [[0, 1], [0, 1], [0, 2], [3]]
    scorer = item_knn(N, ItemKNNSettings(neighbours=1)).fit(timed(sessions))
    assert listed(scorer, [0]).keys() == {1}
    assert listed(scorer, [3]) == {}


def test_held_out_events_and_unknown_items_are_not_read() -> None:
    data = split_by_session(data_of([[0, 1], [0, N], [0, 2]], N), 1)
    assert listed(vsknn(N, VSKNNSettings()).fit(data), [0]).keys() == {0, 1}
    assert listed(item_knn(N, ItemKNNSettings()).fit(data), [0]).keys() == {1}


@pytest.mark.parametrize("name", ["vsknn", "stan", "item-knn"])
def test_every_prefix_at_once_is_each_prefix_alone(name: str) -> None:
    changes = {"read": "history"} if name == "item-knn" else {}
    fitted = Recommender(name, session_max_len=4, **changes).fit(timed(random_sessions(30, N, 6)))
    histories = [[0, 1, 0, 2], [3, 3, N, N], [5, N, N, N]]
    scores = fitted.scorer.score(Histories(torch.tensor(histories)), every=True)
    everything = scores.at(torch.arange(N).expand(scores.n_rows, N))
    for b, history in enumerate(histories):
        for length in range(5):
            prefix = [item for item in history[:length] if item != N]
            row = everything[b * 5 + length].tolist()
            if history[:length] == prefix:
                assert {i: v for i, v in enumerate(row) if v > -math.inf} == listed(fitted.scorer, prefix)


@pytest.mark.parametrize("name", ["vsknn", "stan", "item-knn"])
def test_what_is_not_listed_is_a_miss(name: str) -> None:
    data = split_by_session(data_of([[0, 1], [0, 1], [0, 1, 7], [6, 7], [0, 1]], N), 0, 1)
    found = ranks(Recommender(name).fit(data).scorer, data, "test", first_events=False)
    assert found.rank.tolist() == [{"vsknn": 2, "stan": 2, "item-knn": 1}[name]]
    strange = split_by_session(data_of([[0, 1], [2, 3], [0, 5]], N), 0, 1)
    assert ranks(Recommender(name).fit(strange).scorer, strange, "test", first_events=False).rank.tolist() == [MISS]


@pytest.mark.parametrize("name", ["vsknn", "stan", "item-knn"])
def test_a_run_folder_keeps_what_was_read(name: str, tmp_path: Path) -> None:
    data = timed(random_sessions(30, N, 6), [float(t) for t in range(30)])
    fitted = Recommender(name).fit(data, tmp_path / "run")
    loaded = Recommender.load(tmp_path / "run")
    assert listed(loaded.scorer, [0, 1]) == listed(fitted.scorer, [0, 1]) != {}
    assert (data.split == TRAIN).all()


def test_a_prepared_log_knows_when_each_session_ended(tmp_path: Path) -> None:
    """The last event's time, through the folder and back; none where the log has only an order."""

    columns = {"session_id": ["b", "a", "a", "b", "a", "b"], "item_id": [1, 1, 2, 2, 3, 3]}
    log = EventLog.from_frame(pl.DataFrame({**columns, "timestamp": [50, 10, 20, 60, 30, 90]}))
    prepare(log, out=tmp_path / "data", vocabulary="log")
    data = Dataset.load(tmp_path / "data")
    assert data.session_time is not None
    assert dict(zip(data.session_ids, data.session_time.tolist(), strict=True)) == {"a": 30, "b": 90}
    ordered = EventLog.from_frame(pl.DataFrame({**columns, "place": [0, 0, 1, 1, 2, 2]}), Columns(order="place"))
    assert prepare(ordered, vocabulary="log").session_time is None
