"""The judge and its reward: worked by hand, bounded, and what a judge that cannot tell says."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from seqward.objectives import discriminator

THREE_QUARTERS = math.log(3)
"""The logit of D = 3/4."""


def test_the_judges_loss_worked_by_hand() -> None:
    """D(real) = 3/4; fakes at 1/4 and 3/4: -log .75 - (log .75 + log .25) / 2. Not their sum, nor the sides swapped."""
    found = discriminator.judged(torch.tensor([THREE_QUARTERS]), torch.tensor([[-THREE_QUARTERS, THREE_QUARTERS]]))
    expected = -math.log(0.75) - (math.log(0.75) + math.log(0.25)) / 2
    assert float(found) == pytest.approx(expected)


def test_its_gradient_tells_real_from_fake() -> None:
    """d/dlogit: D - 1 = -1/4 for the real one, D / 2 for each of two fakes, 1/8 and 3/8."""
    real = torch.tensor([THREE_QUARTERS]).requires_grad_()
    fake = torch.tensor([[-THREE_QUARTERS, THREE_QUARTERS]]).requires_grad_()
    discriminator.judged(real, fake).sum().backward()
    torch.testing.assert_close(real.grad, torch.tensor([-0.25]))
    torch.testing.assert_close(fake.grad, torch.tensor([[0.125, 0.375]]))


@pytest.mark.parametrize("k", [1, 3, 10])
def test_a_judge_that_cannot_tell_says_a_half_whatever_the_number_of_fakes(k: int) -> None:
    """Where real and fake have one logit x, the loss softplus(-x) + softplus(x) is least at 0."""
    logit = torch.zeros(1).requires_grad_()
    discriminator.judged(logit, logit.expand(1, k)).sum().backward()
    assert logit.grad is not None
    assert abs(float(logit.grad)) < 1e-6


def test_the_reward_of_a_judge_that_cannot_tell_is_constant() -> None:
    """1/2 as likeness, -log(1/2) as imitation."""
    logits = torch.zeros(4)
    assert discriminator.likeness(logits).tolist() == [0.5] * 4
    torch.testing.assert_close(discriminator.imitation(logits), torch.full((4,), math.log(2)))


def test_rewards_worked_by_hand() -> None:
    """D = 1/4, 3/4: likeness is D; imitation is -log(3/4), and -log(1/4) = 1.39 is cut off at 1."""
    logits = torch.tensor([-THREE_QUARTERS, THREE_QUARTERS])
    torch.testing.assert_close(discriminator.likeness(logits), torch.tensor([0.25, 0.75]))
    torch.testing.assert_close(discriminator.imitation(logits), torch.tensor([-math.log(0.75), 1.0]))


@pytest.mark.parametrize("reward", [discriminator.likeness, discriminator.imitation])
def test_rewards_are_constants(reward: object) -> None:
    assert not reward(torch.zeros(2, requires_grad=True)).requires_grad  # type: ignore[operator]


@examples(deadline=None)
@given(st.lists(st.floats(-200, 200), min_size=1))
def test_rewards_are_bounded_and_rise_with_the_logit(logits: list[float]) -> None:
    ordered = torch.tensor(sorted(logits), dtype=torch.float64)
    for reward in (discriminator.likeness(ordered), discriminator.imitation(ordered)):
        assert bool(((reward >= 0) & (reward <= 1)).all())
        assert bool((reward.diff() >= 0).all())


@examples(deadline=None)
@given(
    st.lists(st.tuples(st.floats(-9, 9), st.lists(st.floats(-9, 9), min_size=2, max_size=2)), min_size=1),
)
def test_against_a_loop(rows: list[tuple[float, list[float]]]) -> None:
    def d(logit: float) -> float:
        return 1 / (1 + math.exp(-logit))

    found = discriminator.judged(*(torch.tensor([row[i] for row in rows], dtype=torch.float64) for i in (0, 1)))
    expected = [-math.log(d(real)) - sum(math.log(1 - d(fake)) for fake in fakes) / 2 for real, fakes in rows]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
