"""Double-Q temporal difference: worked by hand, with decoys where a wrong branch would read them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from seqward.objectives import td

Q = torch.tensor([1.0, 2.0, -1.0])
REWARD = torch.tensor([0.2, 1.0, 0.2])
DISCOUNT = torch.tensor([0.5, 0.5, 0.0])
NEXT = torch.tensor([2.0, 4.0, 100.0])
"""The last session has ended: 100 must not be read."""


def test_worked_by_hand() -> None:
    """Targets .2 + .5 * 2 = 1.2, 1 + .5 * 4 = 3 and .2 + 0 * 100 = .2; errors .2, 1 and 1.2; half their squares."""
    torch.testing.assert_close(td.double_q(Q, REWARD, DISCOUNT, NEXT), torch.tensor([0.02, 0.5, 0.72]))


def test_gradient_moves_q_towards_the_target_and_nothing_else() -> None:
    """d/dq of (y - q)^2 / 2 is q - y = 1 - 1.2, 2 - 3, -1 - .2."""
    q, reward, discount, following = (x.clone().requires_grad_() for x in (Q, REWARD, DISCOUNT, NEXT))
    td.double_q(q, reward, discount, following).sum().backward()
    torch.testing.assert_close(q.grad, torch.tensor([-0.2, -1.0, -1.2]))
    assert (reward.grad, discount.grad, following.grad) == (None, None, None)


def test_no_discount_is_regression_on_the_reward() -> None:
    loss = td.double_q(Q, REWARD, 0.0, NEXT)
    assert torch.equal(loss, td.double_q(Q, REWARD, torch.zeros(3), -NEXT))
    torch.testing.assert_close(loss, 0.5 * (Q - REWARD).square())


def test_the_end_of_a_session_cuts_the_bootstrap() -> None:
    live = torch.tensor([1.0, 0.0, 0.0])
    before, after = (td.double_q(Q, REWARD, 0.5 * live, following) for following in (NEXT, NEXT + 7.0))
    assert (before != after).tolist() == [True, False, False]


@pytest.mark.parametrize("q_next", [3.0, -3.0])
def test_the_target_is_a_fixed_point(q_next: float) -> None:
    following = torch.full((3,), q_next)
    assert td.double_q(REWARD + DISCOUNT * following, REWARD, DISCOUNT, following).tolist() == [0.0, 0.0, 0.0]


@given(st.lists(st.tuples(*[st.floats(-50, 50, width=32)] * 2, st.floats(0, 1), st.floats(-50, 50)), min_size=1))
def test_against_a_loop(rows: list[tuple[float, float, float, float]]) -> None:
    columns: list[Tensor] = list(torch.tensor(rows, dtype=torch.float64).T)
    expected = [0.5 * (r + discount * following - q) ** 2 for q, r, discount, following in rows]
    torch.testing.assert_close(td.double_q(*columns), torch.tensor(expected, dtype=torch.float64))
