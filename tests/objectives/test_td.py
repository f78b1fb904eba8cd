"""Double-Q temporal difference: worked by hand, with decoys where a wrong branch would read them."""

from __future__ import annotations

from functools import partial

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


# Other losses --------------------------------------------------------------------------------------------------------


def test_huber_worked_by_hand() -> None:
    """Errors .2, 1 and 1.2 at delta .5: .2^2 / 2 = .02, .5 (1 - .25) = .375 and .5 (1.2 - .25) = .475; slope .5."""
    q = Q.clone().requires_grad_()
    loss = td.double_q(q, REWARD, DISCOUNT, NEXT, partial(td.huber, delta=0.5))
    torch.testing.assert_close(loss, torch.tensor([0.02, 0.375, 0.475]))
    loss.sum().backward()
    torch.testing.assert_close(q.grad, torch.tensor([-0.2, -0.5, -0.5]))


def test_huber_without_a_reach_is_the_squared_error() -> None:
    torch.testing.assert_close(
        td.double_q(Q, REWARD, DISCOUNT, NEXT, partial(td.huber, delta=100.0)), td.double_q(Q, REWARD, DISCOUNT, NEXT)
    )


def test_huber_of_negatives_is_of_each() -> None:
    """Errors 1, 0 and 1, 2 at delta 1: 1/2 + 0 and 1/2 + (2 - 1/2)."""
    loss = td.double_q_of_negatives(OTHERS, -1.0, 0.5, STAYS, partial(td.huber, delta=1.0))
    torch.testing.assert_close(loss, torch.tensor([0.5, 2.0]))


def test_targets_are_clipped_and_predictions_are_not() -> None:
    """Targets 1.2, 3 and .2 within [.5, 2]: 1.2, 2 and .5; errors .2, 0 and 1.5 (of Q = -1, which stays outside)."""
    loss = td.double_q(Q, REWARD, DISCOUNT, NEXT, td.within(td.squared, 0.5, 2.0))
    torch.testing.assert_close(loss, torch.tensor([0.02, 0.0, 1.125]))


# Several steps -------------------------------------------------------------------------------------------------------


def test_earned_worked_by_hand() -> None:
    """Rewards 1, 2, 4 | 100, 8 of two sessions at gamma .5, up to two each: 1 + .5 * 2 = 2, 2 + .5 * 4 = 4, 4 alone
    (100 is another session's), 100 + .5 * 8 = 104, 8 alone."""
    reward, ahead = torch.tensor([1.0, 2.0, 4.0, 100.0, 8.0]), torch.tensor([2, 2, 1, 2, 1])
    assert td.earned(reward, ahead, 0.5).tolist() == [2.0, 4.0, 4.0, 104.0, 8.0]
    assert td.earned(reward, torch.tensor([3, 2, 1, 2, 1]), 0.5).tolist() == [3.0, 4.0, 4.0, 104.0, 8.0]


def test_one_step_earns_the_reward_itself_and_nothing_earns_nothing() -> None:
    assert torch.equal(td.earned(REWARD, torch.ones(3, dtype=torch.int64), 0.9), REWARD)
    assert td.earned(torch.empty(0), torch.empty(0, dtype=torch.int64), 0.9).tolist() == []


@given(st.lists(st.lists(st.floats(-9, 9), min_size=1, max_size=6), min_size=1, max_size=5), st.floats(0, 1), st.data())
def test_earned_against_a_loop(sessions: list[list[float]], gamma: float, data: st.DataObject) -> None:
    flat = [r for session in sessions for r in session]
    left = [len(session) - t for session in sessions for t in range(len(session))]
    ahead = [data.draw(st.integers(1, most)) for most in left]
    expected = [sum(gamma**h * flat[i + h] for h in range(ahead[i])) for i in range(len(flat))]
    found = td.earned(torch.tensor(flat, dtype=torch.float64), torch.tensor(ahead), gamma)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
