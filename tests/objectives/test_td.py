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


# Items that the user did not choose ----------------------------------------------------------------------------------

OTHERS = torch.tensor([[1.0, 0.0], [2.0, 3.0]])
STAYS = torch.tensor([2.0, 4.0])


def test_negatives_worked_by_hand() -> None:
    """Targets -1 + .5 * 2 = 0 and -1 + .5 * 4 = 1, one for all negatives of an event. Errors 1, 0 and 1, 2.

    Summed: (1 + 0) / 2 and (1 + 4) / 2; the means would be .25 and 1.25.
    """
    torch.testing.assert_close(td.double_q_of_negatives(OTHERS, -1.0, 0.5, STAYS), torch.tensor([0.5, 2.5]))


def test_negatives_may_end_with_the_session() -> None:
    """Discounts .5 and 0: the second target is -1, errors 3 and 4."""
    discount = torch.tensor([0.5, 0.0])
    torch.testing.assert_close(td.double_q_of_negatives(OTHERS, -1.0, discount, STAYS), torch.tensor([0.5, 12.5]))


def test_no_negatives_cost_nothing() -> None:
    assert td.double_q_of_negatives(torch.empty(2, 0), -1.0, 0.5, STAYS).tolist() == [0.0, 0.0]


def test_gradient_moves_each_negative_towards_the_target_and_nothing_else() -> None:
    """q - y: 1 - 0, 0 - 0, 2 - 1, 3 - 1."""
    q, stays = OTHERS.clone().requires_grad_(), STAYS.clone().requires_grad_()
    td.double_q_of_negatives(q, -1.0, 0.5, stays).sum().backward()
    assert q.grad is not None
    assert q.grad.tolist() == [[1.0, 0.0], [1.0, 2.0]]
    assert stays.grad is None


@given(
    st.integers(0, 4).flatmap(
        lambda k: st.lists(
            st.tuples(st.lists(st.floats(-50, 50), min_size=k, max_size=k), st.floats(-50, 50)), min_size=1
        )
    ),
    st.floats(-3, 3),
    st.floats(0, 1),
)
def test_negatives_against_the_difference_of_each(
    rows: list[tuple[list[float], float]], reward: float, discount: float
) -> None:
    q = torch.tensor([others for others, _ in rows], dtype=torch.float64).view(len(rows), -1)
    stays = torch.tensor([value for _, value in rows], dtype=torch.float64)
    each = [td.double_q(column, torch.full_like(stays, reward), discount, stays) for column in q.T]
    expected = torch.stack(each).sum(0) if each else torch.zeros_like(stays)
    torch.testing.assert_close(td.double_q_of_negatives(q, reward, discount, stays), expected)
