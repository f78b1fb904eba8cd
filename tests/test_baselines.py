"""Sparse scores against dense rows and slow definitions; the baselines against sessions worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import slow_order, slow_rank
from seqward.backbones.backbone import Histories
from seqward.baselines import LastItems, Popularity, fitted_baselines, training_counts
from seqward.catalogue import sparse
from seqward.catalogue.dense import DenseScores
from seqward.catalogue.scores import MISS, Pairs, Scores
from seqward.catalogue.sparse import FixedScores
from seqward.data.dataset import TEST, TRAIN, Dataset

N = 6
PAD = N


def dataset(items: list[list[int]], splits: list[list[int]] | None = None, n_items: int = N) -> Dataset:
    flat = np.array([item for session in items for item in session], dtype=np.int32)
    splits = splits or [[TRAIN] * len(session) for session in items]
    return Dataset(
        item=flat,
        reward=np.ones(len(flat), dtype=np.float32),
        goal=np.zeros(len(flat), dtype=bool),
        event_type=np.zeros(len(flat), dtype=np.int16),
        split=np.array([split for session in splits for split in session], dtype=np.uint8),
        offsets=np.cumsum([0, *map(len, items)]),
        item_ids=np.arange(n_items + 3),
        n_items=n_items,
        session_ids=np.arange(len(items)),
        user_ids=None,
        event_types=("view",),
        protocol={},
    )


def dense_of_last_items(histories: torch.Tensor, every: bool) -> list[list[float]]:
    """Row by row: an item's score is the place of its last visit."""
    rows = []
    for history in histories.tolist():
        for length in range(len(history) + 1) if every else [len(history)]:
            row = [-math.inf] * N
            for place, item in enumerate(history[:length]):
                if item != PAD:
                    row[item] = place
            rows.append(row)
    return rows


@st.composite
def questions(draw: st.DrawFn) -> tuple[torch.Tensor, bool, st.DataObject]:
    n, slots = draw(st.integers(1, 4)), draw(st.integers(0, 6))
    history = st.lists(st.integers(0, PAD), min_size=slots, max_size=slots)
    items = torch.tensor(draw(st.lists(history, min_size=n, max_size=n)), dtype=torch.int64).view(n, slots)
    return items, draw(st.booleans()), draw(st.data())


def assert_like_dense(scores: Scores, rows: list[list[float]], data: st.DataObject) -> None:
    """Every question, with and without exclusions, against the rows written out."""
    n = len(rows)
    assert (scores.n_rows, scores.n_items) == (n, N)
    targets = torch.tensor(data.draw(st.lists(st.integers(0, N - 1), min_size=n, max_size=n)))
    pairs = data.draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, N - 1)), max_size=12))
    k = data.draw(st.integers(1, N + 3))
    exclude = Pairs(*torch.tensor(pairs, dtype=torch.int64).view(-1, 2).T)
    gone = [{item for row, item in pairs if row == r} for r in range(n)]
    matrix = torch.tensor(rows)
    assert torch.equal(scores.at(targets), matrix[torch.arange(n), targets])
    both = torch.stack([targets, targets.flip(0)], dim=1)
    assert torch.equal(scores.at(both), matrix.gather(1, both))
    for excluded, taken in ((None, [set()] * n), (exclude, gone)):
        expected = [slow_rank(row, int(t), g) for row, t, g in zip(rows, targets, taken, strict=True)]
        assert scores.rank_of(targets, excluded).tolist() == expected
        best = scores.topk(k, excluded)
        for row, values, items, g in zip(rows, best.values.tolist(), best.items.tolist(), taken, strict=True):
            order = slow_order(row, g)[:k]
            assert items == order + [-1] * (k - len(order))
            assert values == [row[item] for item in order] + [-math.inf] * (k - len(order))
    assert torch.equal(scores.max().items, scores.topk(1).items[:, 0])
    assert torch.equal(scores.max().values, matrix.amax(1))
    torch.testing.assert_close(scores.logsumexp(0.5), 0.5 * (matrix / 0.5).logsumexp(1))
    listed = scores.at(targets) > -math.inf
    own = matrix[torch.arange(n), targets]
    torch.testing.assert_close(scores.nll(targets)[listed], (matrix.logsumexp(1) - own)[listed])
    assert bool((scores.nll(targets)[~listed] == math.inf).all())


@settings(deadline=None)
@given(questions())
def test_last_items_answer_as_their_matrix(question: tuple[torch.Tensor, bool, st.DataObject]) -> None:
    histories, every, data = question
    scores = LastItems(N).score(Histories(histories), every)
    assert_like_dense(scores, dense_of_last_items(histories, every), data)


@settings(deadline=None)
@given(questions(), st.lists(st.integers(0, 3), min_size=N, max_size=N))
def test_popularity_answers_as_its_matrix(
    question: tuple[torch.Tensor, bool, st.DataObject], counts: list[int]
) -> None:
    histories, every, data = question
    scorer = Popularity(N).fit(dataset([[item] * count for item, count in enumerate(counts)]))
    row = [float(count) if count else -math.inf for count in counts]
    n, slots = histories.shape
    rows = [row] * (n * (slots + 1) if every else n)
    assert_like_dense(scorer.score(Histories(histories), every), rows, data)


def test_long_answers_in_parts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    histories = torch.randint(0, N + 1, (20, 9), generator=torch.Generator().manual_seed(0))
    targets = torch.randint(0, N, (200,), generator=torch.Generator().manual_seed(1))
    exclude = Pairs(torch.arange(0, 200, 3), targets[::3] // 2)

    def answers() -> list[torch.Tensor]:
        last = LastItems(N).score(Histories(histories), every=True)
        popular = FixedScores(torch.tensor([3.0, 1, 3, 0, -math.inf, 2]), 200)
        return [answer for s in (last, popular) for answer in (s.rank_of(targets, exclude), s.topk(4, exclude).items)]

    whole = answers()
    monkeypatch.setattr(sparse, "ELEMENTS", 40)
    assert all(torch.equal(a, b) for a, b in zip(whole, answers(), strict=True))


def test_sparse_and_dense_engines_agree_on_a_catalogue_of_ties() -> None:
    values = torch.tensor([2.0, 5.0, 2.0, 2.0, 5.0, 1.0])
    targets = torch.arange(N)
    fixed = FixedScores(values, N)
    dense = DenseScores(torch.ones(N, 1), values[:, None])
    assert torch.equal(fixed.rank_of(targets), dense.rank_of(targets))
    assert torch.equal(fixed.topk(N).items, dense.topk(N).items)
    assert fixed.rank_of(targets).tolist() == [3, 1, 4, 5, 2, 6]


def test_last_items_lists_distinct_items_most_recent_first() -> None:
    scores = LastItems(N).score(Histories(torch.tensor([[3, 1, 3, 0, 1]])))
    assert scores.topk(4).items.tolist() == [[1, 0, 3, -1]]
    assert scores.rank_of(torch.tensor([3])).tolist() == [3]
    assert scores.rank_of(torch.tensor([2])).tolist() == [MISS]


def test_an_empty_history_lists_nothing() -> None:
    for histories in (torch.empty(1, 0, dtype=torch.int64), torch.full((1, 3), PAD)):
        scores = LastItems(N).score(Histories(histories))
        assert scores.rank_of(torch.tensor([0])).tolist() == [MISS]
        assert scores.topk(2).items.tolist() == [[-1, -1]]


def test_popularity_counts_known_training_events_only() -> None:
    data = dataset([[0, 1, 1], [2, 2, 2, N + 1]], [[TRAIN] * 3, [TRAIN, TEST, TEST, TRAIN]])
    assert training_counts(data).tolist() == [1, 2, 1, 0, 0, 0]
    scores = fitted_baselines(data)["popularity"].score(Histories(torch.tensor([[5]])))
    assert scores.topk(4).items.tolist() == [[1, 0, 2, -1]]


def test_popularity_survives_saving() -> None:
    fitted = Popularity(N).fit(dataset([[4, 4, 1]]))
    loaded = Popularity(N)
    loaded.load_state_dict(fitted.state_dict())
    histories = Histories(torch.empty(1, 0, dtype=torch.int64))
    assert loaded.score(histories).topk(3).items.tolist() == [[4, 1, -1]]
