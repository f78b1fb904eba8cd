"""Evaluation against a plain loop over events, for scorers that read everything or only the last items."""

from __future__ import annotations

import csv
import json
import math
import zlib
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import slow_figures, slow_rank, slow_return
from seqward import evaluate as evaluating
from seqward import reading
from seqward.backbones.backbone import Histories
from seqward.baselines import LastItems, Popularity, fitted_baselines
from seqward.catalogue.dense import DenseScores
from seqward.catalogue.listed import ListedScores
from seqward.catalogue.scores import MISS, Pairs, Scores
from seqward.data.dataset import TEST, TRAIN, VALIDATION, Dataset
from seqward.errors import Finding, SeqwardError
from seqward.evaluate import compare, evaluate, outcomes, ranks_of, targets
from seqward.methods import method_named
from shared_data import shared_data
from worlds import ranks

N = 7
UNKNOWN = 2


def dataset(sessions: list[list[tuple[int, float, bool, int]]], n_items: int = N) -> Dataset:
    """Sessions of events (item, reward, goal, split)."""
    flat = [event for session in sessions for event in session]
    return Dataset(
        item=np.array([event[0] for event in flat], dtype=np.int32),
        reward=np.array([event[1] for event in flat], dtype=np.float32),
        goal=np.array([event[2] for event in flat], dtype=bool),
        event_type=np.array([event[2] for event in flat], dtype=np.int16),
        split=np.array([event[3] for event in flat], dtype=np.uint8),
        offsets=np.cumsum([0, *map(len, sessions)]),
        item_ids=np.arange(100, 100 + n_items + UNKNOWN),
        n_items=n_items,
        session_ids=np.arange(len(sessions)),
        user_ids=None,
        event_types=("view", "buy"),
        protocol={"source": "made up"},
    )


class Hashing:
    """A scorer whose row is an arbitrary function of what it reads: small whole numbers, so many ties, and -inf."""

    name = "hashing"
    critic = "q"
    gamma = 0.5

    def __init__(self, context: int | None, n_items: int = N) -> None:
        self.context, self.causal, self.n_items = context, True, n_items

    def row(self, history: tuple[int, ...]) -> list[float]:
        assert self.context is None or len(history) <= self.context
        draw = np.random.default_rng(zlib.crc32(repr(history).encode()))
        return draw.choice([-math.inf, 0.0, 1.0, 2.0], self.n_items).tolist()

    def score(self, histories: Histories, every: bool = False) -> Scores:
        rows = []
        for slots in histories.items.tolist():
            for length in range(len(slots) + 1) if every else [len(slots)]:
                read = [item for item in slots[:length] if item != self.n_items]
                rows.append(self.row(tuple(read)))
        return every_score(torch.tensor(rows))

    def values(self, histories: Histories, every: bool = False) -> Scores:
        """Q of every item: how many distinct items were read."""
        read = [len(set(slots) - {self.n_items}) for slots in histories.items.tolist()]
        return every_score(torch.tensor(read).float()[:, None].expand(-1, self.n_items))


def every_score(matrix: torch.Tensor) -> ListedScores:
    """Scores that are given, not computed."""
    rows, items = torch.ones_like(matrix).nonzero(as_tuple=True)
    return ListedScores(*matrix.shape, Pairs(rows, items), matrix.flatten())


EVENT = st.tuples(
    st.integers(0, N + UNKNOWN - 1),
    st.sampled_from([0.2, 1.0]),
    st.booleans(),
    st.sampled_from([TRAIN, VALIDATION, TEST]),
)
SESSIONS = st.lists(st.lists(EVENT, min_size=1, max_size=9), min_size=1, max_size=6)


def slow_outcomes(
    sessions: list[list[Any]], scorer: Hashing, split: int, first_events: bool, exclude: bool
) -> list[tuple[int, bool, bool, bool, float, int]]:
    found = []
    for s, session in enumerate(sessions):
        for t, (item, reward, goal, part) in enumerate(session):
            if part != split or (t == 0 and not first_events):
                continue
            earlier = [event[0] for event in session[:t]]
            known = [i for i in earlier if i < N]
            window = known if scorer.context is None else known[len(known) - min(len(known), scorer.context) :]
            row = scorer.row(tuple(window))
            rank = slow_rank(row, item, set(known) if exclude else set()) if item < N else MISS
            found.append((rank, goal, item in earlier, item < N, float(np.float32(reward)), s))
    return found


@settings(deadline=None)
@given(SESSIONS, st.sampled_from([None, 1, 3]), st.booleans(), st.booleans(), st.sampled_from([4096, 8]))
def test_ranks_are_those_of_a_loop_over_events(
    sessions: list[list[Any]], context: int | None, first_events: bool, exclude: bool, rows: int
) -> None:
    scorer = Hashing(context)
    expected = slow_outcomes(sessions, scorer, TEST, first_events, exclude)
    data = dataset(sessions)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "ROWS", rows)
        patch.setattr(reading, "TOKENS", rows)
        if not expected:
            with pytest.raises(SeqwardError, match="holds no event to rank"):
                ranks(scorer, data, "test", first_events=first_events)
            return
        found = ranks(scorer, data, "test", first_events=first_events, exclude_history=exclude)
    columns = (found.rank, found.goal, found.repeat, found.known, found.reward, found.session)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == expected


def world(n_sessions: int = 40, seed: int = 0, split: int | None = None) -> tuple[Dataset, list[list[Any]]]:
    random = np.random.default_rng(seed)
    sessions = [
        [
            (int(random.integers(N + UNKNOWN)), float(random.choice([0.2, 1.0])), bool(random.random() < 0.3), part)
            for _ in range(random.integers(1, 12))
        ]
        for part in (random.choice([TRAIN, VALIDATION, TEST], n_sessions) if split is None else [split] * n_sessions)
    ]
    return dataset(sessions), sessions


def test_figures_have_the_shape_of_metrics_json() -> None:
    data, sessions = world()
    baselines = fitted_baselines(data)
    metrics = compare(Hashing(3), baselines, data, "test", bootstrap=50)
    assert list(metrics) == ["protocol", "split", "model", "baselines"]
    assert metrics["split"] == "test"
    assert set(metrics["baselines"]) == {"last-items", "popularity"}
    expected = slow_outcomes(sessions, Hashing(3), TEST, True, False)
    goal = [outcome for outcome in expected if outcome[1]]
    model = metrics["model"]
    assert model["goal"]["n"] == len(goal)
    assert model["goal_repeat"]["n"] + model["goal_novel"]["n"] == len(goal)
    for k in (5, 10, 20):
        for name, figure in slow_figures([outcome[0] for outcome in goal], k).items():
            assert model["goal"][name] == pytest.approx(figure)
            low, high = model["goal"]["ci"][name]
            assert low <= figure <= high
    assert model["reward@20"] == pytest.approx(sum(o[4] for o in expected if o[0] <= 20))
    assert metrics["protocol"]["unknown_targets"] == sum(not outcome[3] for outcome in expected)
    assert metrics["protocol"]["candidates"] == N
    assert metrics["protocol"]["data"] == {"source": "made up"}
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


@pytest.mark.parametrize(
    ("split", "said"),
    [("test", "training events"), ("all", "training events, which are ranked here, too: its figures are flattered")],
)
def test_the_protocol_says_what_popularity_was_counted_on(split: str, said: str) -> None:
    data, _ = world()
    baselines = fitted_baselines(data)
    metrics = compare(baselines["last-items"], baselines, data, split, bootstrap=10)
    assert metrics["protocol"]["popularity"] == said


def test_evaluation_is_the_same_again() -> None:
    data, _ = world()
    first, second = (compare(Hashing(3), {}, data, "validation", bootstrap=20, sample=5) for _ in range(2))
    assert first == second


def test_leave_one_out_ranks_the_held_out_event_after_all_earlier_ones() -> None:
    sessions = [[(0, 1.0, False, TRAIN), (1, 1.0, False, TRAIN), (2, 1.0, False, VALIDATION), (1, 1.0, False, TEST)]]
    found = ranks(LastItems(N), dataset(sessions), "test")
    assert found.rank.tolist() == [2]
    assert found.repeat.tolist() == [True]


def test_a_target_alone_in_its_session_costs_one_row() -> None:
    sessions = [[(i % N, 1.0, False, TEST if i == 49 else TRAIN) for i in range(50)]]
    wanted = targets(dataset(sessions), "test")
    batches = list(reading.batches(wanted, context=None))
    assert [(batch.every, batch.histories.items.shape) for batch in batches] == [(False, (1, 49))]


def test_one_pass_answers_all_targets_within_the_context() -> None:
    sessions = [[(i % N, 1.0, False, TEST) for i in range(6)]]
    wanted = targets(dataset(sessions), "test")
    batches = list(reading.batches(wanted, context=4))
    assert [(batch.every, batch.histories.items.shape) for batch in batches] == [(True, (1, 4)), (False, (1, 4))]
    assert sorted(np.concatenate([batch.target for batch in batches])) == list(range(6))


def test_batches_are_bounded() -> None:
    data, _ = world(300, split=TEST)
    for context in (None, 4):
        for batch in reading.batches(targets(data, "test"), context):
            n, slots = batch.histories.items.shape
            assert n * (slots + 1 if batch.every else 1) <= reading.ROWS
            assert n * slots <= reading.TOKENS


def test_sampled_sessions_are_whole_and_seeded() -> None:
    data, _ = world(60, split=TEST)
    some = targets(data, "test", sessions=7, seed=3)
    assert len(some.offsets) - 1 == 7
    every = ranks(Hashing(3), data, "test")
    kept = np.isin(targets(data, "test").event, some.event)
    assert np.array_equal(ranks_of(Hashing(3), some), every.rank[kept])
    assert set(outcomes(data, some, ranks_of(Hashing(3), some)).session) == set(every.session[kept])
    assert np.array_equal(some.event, targets(data, "test", sessions=7, seed=3).event)
    assert not np.array_equal(some.event, targets(data, "test", sessions=7, seed=4).event)


def test_recommended_of_last_items_by_hand() -> None:
    """At each of the events 1 and 2 the history [0] and [0, 1]: of 7 items two are ever recommended."""
    train = [(0, 1.0, False, TRAIN)] * 3 + [(1, 1.0, False, TRAIN)]
    test = [(0, 1.0, False, TEST), (1, 1.0, False, TEST), (0, 1.0, False, TEST)]
    figures = evaluate(LastItems(N), dataset([train, test]), "test", ks=(1, 5), bootstrap=10).figures["recommended"]
    assert figures == {
        "events": 3,
        "coverage@1": 2 / N,
        "popularity@1": (3 + 1) / 2,
        "coverage@5": 2 / N,
        "popularity@5": (3 + 3 + 1) / 3,
        "popularity_of_targets": (3 + 1 + 3) / 3,
    }


def test_q_is_compared_with_the_return_of_the_whole_session() -> None:
    """Q is the number of distinct items read; the return goes on beyond the last event of the split."""
    rewards = [0.2, 1.0, 0.2, 0.2, 1.0]
    sessions = [[(i, reward, False, TEST if i < 4 else TRAIN) for i, reward in enumerate(rewards)]]
    q = evaluate(Hashing(None), dataset(sessions), "test", bootstrap=10).figures["q"]
    expected = [slow_return(rewards[t:], 0.5) for t in range(4)]
    assert q["mean_q"] == np.mean([0, 1, 2, 3])
    assert q["mean_return"] == pytest.approx(np.mean(expected))
    assert q["gap"] == pytest.approx(q["mean_q"] - q["mean_return"])


def test_no_critic_no_q() -> None:
    assert "q" not in evaluate(LastItems(N), world()[0], "test", bootstrap=10).figures


def test_k_beyond_the_catalogue() -> None:
    figures = evaluate(Hashing(2), world()[0], "test", ks=(5, 1000), bootstrap=10).figures
    assert figures["all"]["hr@1000"] < 1  # items scored -inf are still never hit
    assert figures["recommended"]["coverage@1000"] == 1


def test_all_equal_scores_are_ranked_by_number_not_first() -> None:
    class Constant(Hashing):
        def row(self, history: tuple[int, ...]) -> list[float]:
            return [3.0] * N

    found = ranks(Constant(2), world()[0], "test")
    item = world()[0].item[targets(world()[0], "test").event]
    assert found.rank[found.known].tolist() == (1 + item[found.known]).tolist()


def test_a_scorer_that_lists_nothing_never_hits() -> None:
    class Silent(Hashing):
        def row(self, history: tuple[int, ...]) -> list[float]:
            return [-math.inf] * N

    figures = evaluate(Silent(2), world()[0], "test", bootstrap=10).figures
    assert figures["all"]["hr@20"] == 0 and figures["reward@20"] == 0
    assert figures["recommended"]["coverage@20"] == 0 and figures["recommended"]["popularity@20"] is None


def test_only_unknown_targets_are_all_misses() -> None:
    data = dataset([[(N, 1.0, True, TEST), (N + 1, 1.0, True, TEST), (N, 1.0, True, TEST)]])
    evaluation = evaluate(Hashing(3), data, "test", bootstrap=10)
    assert evaluation.figures["all"]["hr@20"] == 0
    assert evaluation.figures["goal_repeat"]["n"] == 1
    assert evaluation.figures["q"] is None
    assert evaluation.protocol["unknown_targets"] == 3


def test_progress_reaches_the_number_of_known_targets() -> None:
    data, _ = world()
    seen: list[tuple[int, int]] = []
    evaluate(Hashing(2), data, "test", bootstrap=10, progress=lambda done, total: seen.append((done, total)))
    known = int(targets(data, "test").known.sum())
    assert seen[-1] == (known, known)


class Broken(Hashing):
    def row(self, history: tuple[int, ...]) -> list[float]:
        return [math.nan, *[0.0] * (N - 1)]

    def values(self, histories: Histories, every: bool = False) -> Scores:
        return DenseScores(torch.full((len(histories.items), 1), math.inf), torch.ones(N, 1))


def test_nan_is_a_finding_that_names_the_scorer() -> None:
    with pytest.raises(Finding, match=r"^hashing: scores that are not finite in \d+ of \d+ rows"):
        evaluate(Broken(2), world()[0], "test")


def test_infinite_q_is_a_finding_that_names_the_scorer() -> None:
    data, _ = world()
    with pytest.raises(Finding, match=r"^hashing: Q is not finite at \d+ of \d+ events"):
        evaluating.q_of_log(Broken(2), data, targets(data, "test"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "tset"}, r"expected a split of train, validation, test or all; got 'tset'\. Did you mean 'test'\?"),
        ({"split": "train"}, "the split 'train' holds the events that the model was trained on"),
        ({"split": "all"}, "the split 'all' holds the events that the model was trained on"),
        ({"split": "test", "ks": (0, 5)}, r"cut-offs are whole numbers from 1 on, such as \(5, 10\); got \(0, 5\)"),
        ({"split": "test", "ks": ()}, r"cut-offs are whole numbers from 1 on, such as \(5, 10\); got \(\)"),
        ({"split": "test", "ks": 5}, r"cut-offs are whole numbers from 1 on, such as \(5, 10\); got 5"),
        ({"split": "test", "ks": (2.5,)}, r"got \(2.5,\)"),
        ({"split": "test", "bootstrap": 0}, r"bootstrap must be a whole number of at least 1; got 0\."),
        ({"split": None}, "expected a split of train, validation, test or all; got None"),
        ({"split": "test", "seed": "x"}, r"seed must be a whole number of at least 0; got 'x'\."),
        ({"split": "test", "sample": -1}, r"sample must be a whole number of at least 0; got -1\."),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SeqwardError, match=message):
        evaluate(Hashing(2), world()[0], **arguments)


def test_what_remembers_training_sessions_is_not_tested_on_them() -> None:
    """Neighbours are no network, and have seen these events all the same."""
    data = world()[0]
    neighbours = method_named("vsknn").build(data.n_items, **method_named("vsknn").sections).fit(data)
    with pytest.raises(SeqwardError, match="the split 'train' holds the events that the model was trained on"):
        evaluate(neighbours, data, "train")
    assert evaluate(Popularity(data.n_items).fit(data), data, "train").split == "train"


def test_an_empty_split_is_refused() -> None:
    data = dataset([[(0, 1.0, False, TRAIN)]])
    with pytest.raises(SeqwardError, match="the split 'validation' holds no event to rank"):
        targets(data, "validation")


def retailrocket(file: Path) -> Dataset:
    """The sample by method-spec 1.1, written out: no transactions, visitors of 3 events or more, in time order."""
    visits: dict[str, list[tuple[int, int, str, bool]]] = defaultdict(list)
    with file.open() as stream:
        for number, row in enumerate(csv.DictReader(stream)):
            if not row["transactionid"]:
                visits[row["visitorid"]].append(
                    (int(row["timestamp"]), number, row["itemid"], row["event"] == "addtocart")
                )
    sessions = [sorted(events) for events in visits.values() if len(events) >= 3]
    number_of = {item: n for n, item in enumerate(sorted({event[2] for session in sessions for event in session}))}
    return dataset(
        [[(number_of[item], 1.0 if cart else 0.2, cart, TRAIN) for _, _, item, cart in s] for s in sessions],
        n_items=len(number_of),
    )


def test_last_items_on_the_retailrocket_sample() -> None:
    data = retailrocket(shared_data("retailrocket-sample") / "sample_events.csv")
    figures = evaluate(LastItems(data.n_items), data, "all").figures
    expected = {"hr@5": 0.649, "hr@10": 0.667, "hr@20": 0.689, "ndcg@20": 0.623}
    assert {name: figures["goal"][name] for name in expected} == pytest.approx(expected, abs=0.0005)
    assert figures["click"]["hr@20"] == pytest.approx(0.357, abs=0.0005)
