"""Regression and expectiles: worked by hand, at their limits, and where their minimum lies."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import Tensor

from seqward.objectives import value

TARGET = torch.tensor([3.0, 1.0, 2.0])
VALUE = torch.tensor([1.0, 2.0, 2.0])
number = st.floats(-9, 9)


def test_regression_worked_by_hand() -> None:
    """Errors 2, -1 and 0; half their squares."""
    assert value.regression(TARGET, VALUE).tolist() == [2.0, 0.5, 0.0]


def test_expectile_worked_by_hand() -> None:
    """tau = .9: the value is 2 too low, .9 * 4 = 3.6; 1 too high, .1 * 1 = .1. Turned round it would be .4 and .9."""
    torch.testing.assert_close(value.expectile(TARGET, VALUE, 0.9), torch.tensor([3.6, 0.1, 0.0]))


def test_at_a_half_it_is_the_regression() -> None:
    for tau, same in ((0.5, True), (0.6, False)):
        assert torch.equal(value.expectile(TARGET, VALUE, tau), value.regression(TARGET, VALUE)) is same


def test_gradient_moves_the_value_and_no_target() -> None:
    """d/dv of tau (t - v)^2 is -2 tau (t - v): -2 * .9 * 2 below the target, 2 * .1 * 1 above; half of 2 at tau .5."""
    for loss, expected in (
        (lambda t, v: value.expectile(t, v, 0.9), [-3.6, 0.2, 0.0]),
        (value.regression, [-2.0, 1.0, 0.0]),
    ):
        target, found = TARGET.clone().requires_grad_(), VALUE.clone().requires_grad_()
        loss(target, found).sum().backward()
        torch.testing.assert_close(found.grad, torch.tensor(expected))
        assert target.grad is None


@examples(deadline=None)
@given(rows=st.lists(st.tuples(number, number), min_size=1), tau=st.floats(0.05, 0.95))
def test_against_loops(rows: list[tuple[float, float]], tau: float) -> None:
    targets, values = torch.tensor(rows, dtype=torch.float64).T
    asymmetric = [(tau if t > v else 1 - tau) * (t - v) ** 2 for t, v in rows]
    torch.testing.assert_close(value.expectile(targets, values, tau), torch.tensor(asymmetric, dtype=torch.float64))
    half = [0.5 * (t - v) ** 2 for t, v in rows]
    torch.testing.assert_close(value.regression(targets, values), torch.tensor(half, dtype=torch.float64))


def minimum(targets: Tensor, tau: float) -> float:
    """The value with the least mean loss, by bisection on the sign of its slope."""
    low, high = float(targets.min()), float(targets.max())
    for _ in range(60):
        middle = torch.full_like(targets, (low + high) / 2).requires_grad_()
        value.expectile(targets, middle, tau).sum().backward()
        assert middle.grad is not None
        low, high = (float(middle[0].detach()), high) if middle.grad.sum() < 0 else (low, float(middle[0].detach()))
    return low


def test_its_minimum_lies_between_the_mean_and_the_best() -> None:
    """Of 0, 0, 0, 4: at .5 the mean, 1. At .75 where .75 (4 - v) = .25 * 3 v: v = 2. Towards 1 the maximum."""
    targets = torch.tensor([0.0, 0.0, 0.0, 4.0], dtype=torch.float64)
    for tau, expected in ((0.5, 1.0), (0.75, 2.0), (0.999999, 4.0), (0.000001, 0.0)):
        assert minimum(targets, tau) == pytest.approx(expected, abs=1e-4)
