"""Weighted cross-entropy per event and per batch: worked by hand, and told apart."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from seqward.objectives import supervised

WEIGHT = torch.tensor([2.0, -1.0, 0.5])
NLL = torch.tensor([0.5, 1.0, 3.0])


def test_per_event_worked_by_hand() -> None:
    """2 * .5, -1 * 1 and .5 * 3; a negative weight stays negative."""
    assert supervised.weighted(WEIGHT, NLL).tolist() == [1.0, -1.0, 1.5]


def test_per_batch_worked_by_hand() -> None:
    """The mean weight is (2 - 1 + .5) / 3 = .5, for every event."""
    assert supervised.batch_weighted(WEIGHT, NLL).tolist() == [0.25, 0.5, 1.5]


def test_per_event_and_per_batch_differ_where_value_and_loss_go_together() -> None:
    """Means: weights (1, 0) and losses (4, 0) give 2 per event, but .5 * 2 = 1 per batch."""
    weight, nll = torch.tensor([1.0, 0.0]), torch.tensor([4.0, 0.0])
    assert supervised.weighted(weight, nll).mean() == 2.0
    assert supervised.batch_weighted(weight, nll).mean() == 1.0


def test_which_event_carries_the_value_matters_per_event_only() -> None:
    swapped = WEIGHT.flip(0)
    assert supervised.weighted(WEIGHT, NLL).mean() != supervised.weighted(swapped, NLL).mean()
    assert torch.equal(supervised.batch_weighted(WEIGHT, NLL), supervised.batch_weighted(swapped, NLL))


def test_weights_of_one_are_plain_cross_entropy() -> None:
    ones = torch.ones(3)
    assert torch.equal(supervised.weighted(ones, NLL), NLL)
    assert torch.equal(supervised.batch_weighted(ones, NLL), NLL)


def test_the_weight_is_a_constant() -> None:
    """The loss's gradient is the weight (per batch the mean weight); the critic gets none."""
    for loss, expected in ((supervised.weighted, [2.0, -1.0, 0.5]), (supervised.batch_weighted, [0.5, 0.5, 0.5])):
        weight, nll = WEIGHT.clone().requires_grad_(), NLL.clone().requires_grad_()
        loss(weight, nll).sum().backward()
        assert weight.grad is None
        assert nll.grad is not None
        assert nll.grad.tolist() == expected


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(0, 9)), min_size=1))
def test_against_loops(rows: list[tuple[float, float]]) -> None:
    weight, nll = torch.tensor(rows, dtype=torch.float64).T
    mean = sum(w for w, _ in rows) / len(rows)
    each = torch.tensor([w * x for w, x in rows], dtype=torch.float64)
    batch = torch.tensor([mean * x for _, x in rows], dtype=torch.float64)
    torch.testing.assert_close(supervised.weighted(weight, nll), each)
    torch.testing.assert_close(supervised.batch_weighted(weight, nll), batch)
