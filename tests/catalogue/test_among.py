"""Recommending only some of the items, by every kind of scores: the order is that of the whole, without the others."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import Tensor

from reference import slow_order
from seqward.catalogue import ENGINES, Pairs, Scores
from seqward.catalogue.dense import DenseScores
from seqward.catalogue.listed import ListedScores
from seqward.catalogue.rows import RowScores
from seqward.catalogue.sparse import FixedScores, RecencyScores
from seqward.catalogue.valued import Bounded, ValuedScores
from seqward.topk import topk_among

ROWS, ITEMS = 4, 11


def whole(*shape: int, seed: int) -> Tensor:
    """-1, 0 and 1, so that many scores are equal and all are exact."""
    return torch.randint(-1, 2, shape, generator=torch.Generator().manual_seed(seed)).float()


def linear(engine: str, seed: int) -> Scores:
    bias = whole(ITEMS, seed=seed + 2)
    return ENGINES[engine](whole(ROWS, 16, seed=seed), whole(ITEMS, 16, seed=seed + 1), bias.where(bias < 1, -math.inf))


def valued(seed: int) -> Scores:
    return ValuedScores(DenseScores(whole(ROWS, 2, seed=seed), whole(ITEMS, 2, seed=seed + 1)), Bounded(0, 1))


def by_rows(seed: int) -> Scores:
    return RowScores(whole(ROWS, 16, seed=seed), lambda states, items: whole(1), lambda: linear("dense", seed), ITEMS)


def recent(seed: int) -> Scores:
    """Histories of 6 slots, of which some hold nothing, read to some length."""
    histories = torch.randint(0, ITEMS + 1, (ROWS, 6), generator=torch.Generator().manual_seed(seed))
    return RecencyScores(histories, torch.arange(ROWS), torch.tensor([0, 3, 5, 6]), ITEMS)


def listed(seed: int) -> Scores:
    keys = torch.arange(0, ROWS * ITEMS, 2)
    return ListedScores(ROWS, ITEMS, Pairs(keys // ITEMS, keys % ITEMS), whole(len(keys), seed=seed))


KINDS: dict[str, Callable[[int], Scores]] = {
    **{name: lambda seed, name=name: linear(name, seed) for name in ENGINES},
    "valued": valued,
    "by rows": by_rows,
    "recency": recent,
    "fixed": lambda seed: FixedScores(whole(ITEMS, seed=seed), ROWS),
    "listed": listed,
}


def test_no_histories_have_no_last_items() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    scores = RecencyScores(torch.zeros(0, 6, dtype=torch.int64), none, none, ITEMS)
    assert scores.logsumexp().shape == scores.nll(none).shape == scores.rank_of(none).shape == (0,)
    assert scores.topk(3).items.shape == (0, 3)


@pytest.mark.parametrize("kind", KINDS)
@examples(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 999),
    among=st.sets(st.integers(0, ITEMS - 1), min_size=1),
    gone=st.lists(st.tuples(st.integers(0, ROWS - 1), st.integers(0, ITEMS - 1)), max_size=12),
    k=st.integers(1, ITEMS + 1),
)
def test_the_best_among_some_items(kind: str, seed: int, among: set[int], gone: list[tuple[int, int]], k: int) -> None:
    scores = KINDS[kind](seed)
    rows = KINDS["dense" if kind == "by rows" else kind](seed).at(torch.arange(ITEMS).expand(ROWS, -1)).tolist()
    exclude = Pairs(*torch.tensor(gone, dtype=torch.int64).view(-1, 2).T)
    for left in (None, exclude):
        best = topk_among(scores, torch.tensor(sorted(among)), k, left)
        for row, scored in enumerate(rows):
            outside = set(range(ITEMS)) - among | {item for r, item in gone if r == row and left is not None}
            order = slow_order(scored, outside)[:k]
            assert best.items[row].tolist() == order + [-1] * (k - len(order))
            assert best.values[row].tolist() == [scored[i] for i in order] + [-math.inf] * (k - len(order))
