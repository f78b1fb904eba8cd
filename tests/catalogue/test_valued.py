"""Values read from scores: named ones are values, orders and sums are those of the scores."""

from __future__ import annotations

import pytest
import torch

from seqward.catalogue import scores_of
from seqward.catalogue.scores import MISS, Pairs
from seqward.catalogue.valued import Binned, Bounded, Reading, ValuedScores
from seqward.objectives import bins

N = 9


def valued(reading: Reading, engine: str = "dense") -> tuple[ValuedScores, torch.Tensor]:
    torch.manual_seed(0)
    states, weight = torch.randn(3, 4), torch.randn(N, 4)
    return ValuedScores(scores_of(states, weight, None, engine), reading), states @ weight.T


READINGS = [Bounded(-1.0, 3.0), Binned(torch.linspace(-2, 2, 3 * 11).view(3, 11), -1.0, 3.0)]


def test_a_bounded_value_worked_by_hand() -> None:
    """Of log 3 the sigmoid is .75: -1 + 4 * .75 = 2; of 0 the middle."""
    found = Bounded(-1.0, 3.0).value(torch.tensor([0.0, 3.0]).log1p() * torch.tensor([1.0, 0.7924812]))
    torch.testing.assert_close(found, torch.tensor([1.0, 2.0]))


@pytest.mark.parametrize("engine", ["dense", "chunked"])
@pytest.mark.parametrize("reading", READINGS)
def test_named_items_have_values_and_orders_are_those_of_the_scores(reading: Reading, engine: str) -> None:
    scores, matrix = valued(reading, engine)
    values = scores.at(torch.arange(N).expand(3, N))
    assert bool(((values > -1) & (values < 3)).all())
    assert torch.equal(values.argsort(1), matrix.argsort(1))
    best, three = scores.max(), scores.topk(3)
    assert torch.equal(best.items, matrix.argmax(1))
    torch.testing.assert_close(best.values, values.amax(1))
    torch.testing.assert_close(best.values, scores.at(best.items))
    torch.testing.assert_close(three.values, values.topk(3).values)
    assert torch.equal(scores.rank_of(best.items), torch.ones(3, dtype=torch.int64))
    torch.testing.assert_close(scores.logsumexp(), matrix.logsumexp(1))
    torch.testing.assert_close(scores.nll(best.items), matrix.logsumexp(1) - matrix.amax(1))
    draws = scores.sample(4, torch.Generator().manual_seed(1))
    assert torch.equal(draws, scores.scores.sample(4, torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("reading", READINGS)
def test_what_is_no_candidate_is_none(reading: Reading) -> None:
    scores, _ = valued(reading)
    left_out = Pairs(torch.zeros(N - 1, dtype=torch.int64), torch.arange(N - 1))
    best = scores.topk(2, left_out)
    assert best.items[0].tolist() == [N - 1, -1]
    assert float(best.values[0, 1]) == -torch.inf
    assert scores.rank_of(torch.zeros(3, dtype=torch.int64), left_out)[0] == MISS


def test_values_that_rounding_makes_equal_keep_their_order() -> None:
    """Sigmoids of 40 and of 50 are both 1."""
    scores = ValuedScores(scores_of(torch.ones(1, 1), torch.tensor([[40.0], [50.0]]), None, "dense"), Bounded(0.0, 1.0))
    assert scores.at(torch.tensor([[0, 1]])).tolist() == [[1.0, 1.0]]
    assert scores.max().items.tolist() == [1]
    assert scores.rank_of(torch.tensor([0])).tolist() == [2]


def test_detached_values_have_no_gradient_and_others_have_that_of_state_and_row() -> None:
    states, weight = torch.randn(2, 4, requires_grad=True), torch.randn(N, 4, requires_grad=True)
    shape = torch.randn(2, 11, requires_grad=True)
    scores = ValuedScores(scores_of(states, weight, None, "dense"), Binned(shape, 0.0, 1.0))
    assert not scores.detach().at(torch.tensor([0, 1])).requires_grad
    scores.at(torch.tensor([0, 1])).sum().backward()
    assert all(x.grad is not None and bool(x.grad.any()) for x in (states, weight, shape))


def test_the_bins_of_several_items_a_state() -> None:
    shape, score = torch.randn(2, 11), torch.randn(2, 3)
    found = Binned(shape, 0.0, 1.0).log_bins(score)
    for i in range(2):
        for k in range(3):
            torch.testing.assert_close(found[i, k], bins.tilted(shape[i], score[i, k]))
