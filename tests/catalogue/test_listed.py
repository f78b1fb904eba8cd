"""Listed scores against the dense engine on a matrix that is -inf where nothing is listed."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import Tensor

from seqward.catalogue.dense import DenseScores
from seqward.catalogue.listed import ListedScores, summed
from seqward.catalogue.scores import Pairs
from seqward.errors import Finding

ROWS, ITEMS = 4, 6
CELL = st.none() | st.sampled_from([-1.5, 0.0, 1.0, 1.0, 2.0])


def pairs(keys: list[int]) -> Pairs:
    numbers = torch.tensor(keys, dtype=torch.int64)
    return Pairs(numbers // ITEMS, numbers % ITEMS)


def both(cells: list[float | None]) -> tuple[ListedScores, DenseScores]:
    """The same scores as a list and as a matrix; states of zeros leave a margin of none, so nothing is settled anew."""
    matrix = torch.tensor([-math.inf if c is None else c for c in cells]).view(ROWS, ITEMS)
    dense = DenseScores(torch.zeros(ROWS, 1), torch.zeros(ITEMS, 1))
    dense.__dict__["matrix"] = matrix
    keys = [key for key, cell in enumerate(cells) if cell is not None][::-1]
    return ListedScores(ROWS, ITEMS, pairs(keys), matrix.flatten()[keys]), dense


@examples(deadline=None, max_examples=200)
@given(
    cells=st.lists(CELL, min_size=ROWS * ITEMS, max_size=ROWS * ITEMS),
    targets=st.lists(st.integers(0, ITEMS - 1), min_size=ROWS, max_size=ROWS),
    gone=st.lists(st.integers(0, ROWS * ITEMS - 1), max_size=9),
    k=st.integers(1, 8),
)
def test_every_answer_is_that_of_the_matrix(
    cells: list[float | None], targets: list[int], gone: list[int], k: int
) -> None:
    listed, dense = both(cells)
    items = torch.tensor(targets)
    exclude = pairs(gone)
    assert (listed.n_rows, listed.n_items) == (ROWS, ITEMS)
    assert torch.equal(listed.at(items), dense.at(items))
    assert torch.equal(
        listed.at(torch.stack([items, items.flip(0)], 1)), dense.at(torch.stack([items, items.flip(0)], 1))
    )
    for left in (None, exclude):
        assert torch.equal(listed.rank_of(items, left), dense.rank_of(items, left))
        for one, other in zip(listed.topk(k, left), dense.topk(k, left), strict=True):
            assert torch.equal(one, other)
    for one, other in zip(listed.max(), dense.max(), strict=True):
        assert torch.equal(one, other)
    for temperature in (0.5, 1.0):
        torch.testing.assert_close(listed.logsumexp(temperature), dense.logsumexp(temperature))
        nll = torch.where(dense.at(items) == -math.inf, math.inf, dense.nll(items, temperature))
        torch.testing.assert_close(listed.nll(items, temperature), nll)


def test_values_of_a_pair_are_added_up() -> None:
    scores = summed(2, ITEMS, pairs([1, 8, 1]), torch.tensor([1.0, 5.0, 2.0]))
    assert scores.at(torch.tensor([1, 2])).tolist() == [3.0, 5.0]
    assert scores.topk(2).items.tolist() == [[1, -1], [2, -1]]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_a_finding(bad: float) -> None:
    values: Tensor = torch.tensor([1.0, bad])
    with pytest.raises(Finding, match="not finite"):
        ListedScores(1, ITEMS, pairs([0, 1]), values)
