"""What an event weighs for a policy: worked by hand, against loops, and where weights meet those they generalise."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import Tensor

from seqward.objectives import policy, supervised

PI = torch.tensor([0.5, 0.1, 0.9])
BETA = torch.tensor([0.25, 0.4, 0.03])
NLL, NLL_BETA = -PI.log(), -BETA.log()
probability = st.floats(0.001, 0.999)


# REINFORCE ----------------------------------------------------------------------------------------------------------


def test_the_ratio_worked_by_hand() -> None:
    """.5 / .25 = 2; .1 / .4 = 1/4, and not 4; .9 / .03 = 30 is capped at e^3 = 20.09."""
    cap = math.exp(3)
    torch.testing.assert_close(policy.capped_ratio(NLL, NLL_BETA, cap), torch.tensor([2.0, 0.25, cap]))


def test_a_ratio_beyond_any_float_is_the_cap() -> None:
    """pi = 1 where beta is e^-200: exp(200) is not a float."""
    assert policy.capped_ratio(torch.zeros(1), torch.full((1,), 200.0), 5.0).tolist() == [5.0]


def test_the_top_k_factor_worked_by_hand() -> None:
    """K = 3: 3 * .5^2 = .75, 3 * .9^2 = 2.43, 3 * .1^2 = .03; never K pi^(K-1) (.75, .03, 2.43)."""
    torch.testing.assert_close(policy.top_k(NLL, 3), torch.tensor([0.75, 2.43, 0.03]))


def test_a_slate_of_one_has_no_correction() -> None:
    assert policy.top_k(NLL, 1).tolist() == [1.0, 1.0, 1.0]


def test_limits_of_the_top_k_factor() -> None:
    """K where the policy never shows the item, 0 where it always does; its probability is then 1 to the last bit."""
    nll = torch.tensor([200.0, 0.0])
    assert policy.top_k(nll, 16).tolist() == [16.0, 0.0]


@examples(deadline=None)
@given(pi=probability, k=st.integers(1, 30))
def test_the_top_k_factor_is_the_slope_of_being_shown(pi: float, k: int) -> None:
    """Of alpha = 1 - (1 - pi)^K, the probability that K draws show the item, by its difference quotient."""

    def shown(p: float) -> float:
        return 1 - (1 - p) ** k

    step = 1e-6
    slope = (shown(pi + step) - shown(pi - step)) / (2 * step)
    found = policy.top_k(-torch.tensor([pi], dtype=torch.float64).log(), k)
    assert float(found) == pytest.approx(slope, rel=1e-4, abs=1e-6)


@examples(deadline=None)
@given(st.lists(st.tuples(probability, probability, st.floats(-3, 9)), min_size=1), st.integers(1, 20))
def test_reinforce_against_a_loop(rows: list[tuple[float, float, float]], k: int) -> None:
    pi, beta, returns = torch.tensor(rows, dtype=torch.float64).T
    weight = policy.capped_ratio(-pi.log(), -beta.log(), 7.0) * policy.top_k(-pi.log(), k) * returns
    expected = [min(p / b, 7.0) * k * (1 - p) ** (k - 1) * r * -math.log(p) for p, b, r in rows]
    torch.testing.assert_close(supervised.weighted(weight, -pi.log()), torch.tensor(expected, dtype=torch.float64))


def test_one_item_shown_by_who_acted_for_a_return_of_one_is_cross_entropy() -> None:
    """K = 1, pi = beta, R = 1: the loss and its gradient are those of cross-entropy; with K = 2 they are not."""
    scores = torch.tensor([[0.3, -1.0, 2.0], [0.0, 0.5, -0.5]])
    items = torch.tensor([1, 2])
    for k, same in ((1, True), (2, False)):
        plain, weighted = scores.clone().requires_grad_(), scores.clone().requires_grad_()
        nll = torch.nn.functional.cross_entropy(plain, items, reduction="none")
        nll.sum().backward()
        mine = torch.nn.functional.cross_entropy(weighted, items, reduction="none")
        weight = policy.capped_ratio(mine, mine.detach(), math.exp(3)) * policy.top_k(mine, k) * torch.ones(2)
        loss = supervised.weighted(weight, mine)
        loss.sum().backward()
        assert torch.equal(loss, nll) is same
        assert torch.equal(gradient(plain), gradient(weighted)) is same


def test_in_the_mean_over_who_acted_equal_returns_teach_nothing() -> None:
    """The correction at work: sum_a beta(a) (pi / beta)(a) grad log pi(a) = grad sum_a pi(a) = 0, where sum_a beta(a)
    grad log pi(a), cross-entropy's, is not."""
    beta, items = torch.tensor([0.7, 0.2, 0.1]), torch.arange(3)
    for corrected, size in ((True, 0.0), (False, 0.3)):
        scores = torch.tensor([0.4, -0.2, 0.1]).requires_grad_()
        nll = torch.nn.functional.cross_entropy(scores.expand(3, 3), items, reduction="none")
        weight = policy.capped_ratio(nll, -beta.log(), 1e9) if corrected else torch.ones(3)
        (beta * supervised.weighted(weight, nll)).sum().backward()
        assert float(gradient(scores).abs().max()) == pytest.approx(size, abs=0.1 if size else 1e-6)


# CRR and AWR --------------------------------------------------------------------------------------------------------

Q = torch.tensor([1.0, 2.0, -1.0])
SAMPLED = torch.tensor([[0.0, 1.0], [2.0, 2.0], [0.0, -4.0]])
"""Means .5, 2 and -2; a maximum would be 1, 2 and 0."""


def test_the_advantage_worked_by_hand() -> None:
    """1 - .5, 2 - 2 and -1 + 2; over the maximum it would be 0, 0 and -1, with the item among them .33, 0 and .67."""
    torch.testing.assert_close(policy.advantage(Q, SAMPLED), torch.tensor([0.5, 0.0, 1.0]))


def test_the_exponential_weight_worked_by_hand() -> None:
    """e^.5, e^0, and e^4 = 54.6 is capped at 20, e^1000 too."""
    found = policy.exponential(torch.tensor([0.5, 0.0, 4.0, 1000.0, -1000.0]), 20.0)
    torch.testing.assert_close(found, torch.tensor([math.exp(0.5), 1.0, 20.0, 20.0, 0.0]))


def test_the_binary_weight_counts_only_what_is_better() -> None:
    """As good as the policy is not better than it."""
    assert policy.positive(torch.tensor([0.5, 0.0, -1.0, 1e-30])).tolist() == [1.0, 0.0, 0.0, 1.0]


def test_an_infinite_temperature_is_cross_entropy() -> None:
    """exp(A / T) = 1 for every A: loss and gradient of the policy's term are SASRec's, to the bit."""
    scores = torch.tensor([[0.3, -1.0, 2.0], [0.0, 0.5, -0.5], [1.0, 1.0, 0.0]])
    items = torch.tensor([1, 2, 0])
    found = []
    for weight in (None, policy.exponential(policy.advantage(Q, SAMPLED) / 1e30, 20.0)):
        leaf = scores.clone().requires_grad_()
        nll = torch.nn.functional.cross_entropy(leaf, items, reduction="none")
        loss = nll if weight is None else supervised.weighted(weight, nll)
        loss.sum().backward()
        found.append((loss, gradient(leaf)))
    (plain, plain_gradient), (weighted, weighted_gradient) = found
    assert torch.equal(plain, weighted)
    assert torch.equal(plain_gradient, weighted_gradient)


def test_a_temperature_towards_zero_is_the_binary_weight() -> None:
    """But for ties, which keep a weight of 1: exp(A / T) goes to 0 or to the cap, here 1."""
    advantage = torch.tensor([0.5, -0.1, 1.0])
    torch.testing.assert_close(policy.exponential(advantage / 1e-6, 1.0), policy.positive(advantage))


@examples(deadline=None)
@given(
    st.lists(st.tuples(st.floats(-5, 5), st.lists(st.floats(-5, 5), min_size=3, max_size=3)), min_size=1),
    st.floats(0.1, 10),
)
def test_crr_against_a_loop(rows: list[tuple[float, list[float]]], temperature: float) -> None:
    logged = torch.tensor([q for q, _ in rows], dtype=torch.float64)
    advantage = policy.advantage(logged, torch.tensor([others for _, others in rows], dtype=torch.float64))
    expected = [q - sum(others) / 3 for q, others in rows]
    torch.testing.assert_close(advantage, torch.tensor(expected, dtype=torch.float64))
    weights = [min(math.exp(a / temperature), 20.0) for a in expected]
    found = policy.exponential(advantage / temperature, 20.0)
    torch.testing.assert_close(found, torch.tensor(weights, dtype=torch.float64))


def gradient(leaf: Tensor) -> Tensor:
    assert leaf.grad is not None
    return leaf.grad


# SA2C ---------------------------------------------------------------------------------------------------------------

LOGGED = torch.tensor([2.0, 1.0, 30.0])
NEGATIVES = torch.tensor([[1.0, 0.0], [3.0, 2.0], [0.0, 0.0]])


def test_the_advantage_over_negatives_worked_by_hand() -> None:
    """Means of three: 1, 2, 10. Over the negatives alone it would be 1.5, -1.5, 30."""
    found = policy.advantage_over_negatives(LOGGED, NEGATIVES, None, None)
    torch.testing.assert_close(found, torch.tensor([1.0, -1.0, 20.0]))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.0, 10.0, [1.0, 0.0, 10.0]), (None, 10.0, [1.0, -1.0, 10.0]), (0.0, None, [1.0, 0.0, 20.0])],
)
def test_the_advantage_over_negatives_is_clipped(low: float | None, high: float | None, expected: list[float]) -> None:
    found = policy.advantage_over_negatives(LOGGED, NEGATIVES, low, high)
    torch.testing.assert_close(found, torch.tensor(expected))


def test_the_propensity_worked_by_hand() -> None:
    """.5 / .25 = 2; .01 / .5 = .02 is taken for .1; .9 / .01 = 90 for 10; the power comes last: sqrt(90) < 10."""
    nll, popularity = -torch.tensor([0.5, 0.01, 0.9]).log(), torch.tensor([0.25, 0.5, 0.01])
    for power, expected in ((1.0, [2.0, 0.1, 10.0]), (0.5, [2.0**0.5, 0.1**0.5, 10.0**0.5]), (0.0, [1.0, 1.0, 1.0])):
        found = policy.propensity_weight(nll, popularity, power, 0.1, 10.0)
        torch.testing.assert_close(found, torch.tensor(expected))


def test_a_policy_that_repeats_the_log_needs_no_correction() -> None:
    popularity = torch.tensor([0.2, 0.7, 0.1])
    found = policy.propensity_weight(-popularity.log(), popularity, 1.0, 0.1, 10.0)
    torch.testing.assert_close(found, torch.ones(3))


@examples(deadline=None)
@given(st.lists(st.tuples(st.floats(-9, 9), st.lists(st.floats(-9, 9), min_size=3, max_size=3)), min_size=1))
def test_the_advantage_over_negatives_against_loops(rows: list[tuple[float, list[float]]]) -> None:
    logged, others = (torch.tensor(column, dtype=torch.float64) for column in zip(*rows, strict=True))
    expected = [min(max(q - (q + sum(rest)) / 4, 0.0), 10.0) for q, rest in rows]
    found = policy.advantage_over_negatives(logged, others, 0.0, 10.0)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@examples(deadline=None)
@given(st.lists(st.tuples(probability, probability), min_size=1), st.floats(0, 2))
def test_the_propensity_against_loops(rows: list[tuple[float, float]], power: float) -> None:
    pi, popularity = torch.tensor(rows, dtype=torch.float64).T
    expected = [min(max(p / q, 0.1), 10.0) ** power for p, q in rows]
    found = policy.propensity_weight(-pi.log(), popularity, power, 0.1, 10.0)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_the_weight_of_an_event_is_a_constant_to_the_loss() -> None:
    """Its gradient to nll is the weight: 1 * 2; Q is not taught, nor the policy through the ratio."""
    logged, others, nll = torch.tensor([2.0]), torch.tensor([[1.0, 0.0]]), -torch.tensor([0.5]).log()
    leaves = [x.requires_grad_() for x in (logged, others, nll)]
    weight = policy.advantage_over_negatives(*leaves[:2], 0.0, 10.0) * policy.propensity_weight(
        leaves[2], torch.tensor([0.25]), 1.0, 0.1, 10.0
    )
    supervised.weighted(weight, leaves[2]).sum().backward()
    assert (logged.grad, others.grad) == (None, None)
    torch.testing.assert_close(leaves[2].grad, torch.tensor([2.0]))
