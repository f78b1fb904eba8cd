"""HL-Gauss: histograms of targets, and distributions that a score tilts."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqward.objectives import bins


def test_a_histogram_worked_by_hand() -> None:
    """Two bins of [0, 2], so that sigma is .75 wide: N(1, .75) is halved, and of N(.25, .75) is left
    Phi(1) - Phi(-1/3) = .84134 - .36944 in the first bin and Phi(7/3) - Phi(1) = .99018 - .84134 in the second."""
    first, second = 0.841345 - 0.369441, 0.990185 - 0.841345
    expected = torch.tensor([[0.5, 0.5], [first / (first + second), second / (first + second)]])
    torch.testing.assert_close(bins.histogram(torch.tensor([1.0, 0.25]), 0.0, 2.0, 2), expected, rtol=0, atol=1e-5)


def slow_histogram(y: float, low: float, high: float, n: int) -> list[float]:
    width = (high - low) / n
    sigma = 0.75 * width

    def below(x: float) -> float:
        return 0.5 * (1 + math.erf((x - y) / sigma / math.sqrt(2)))

    mass = [below(low + (b + 1) * width) - below(low + b * width) for b in range(n)]
    return [m / sum(mass) for m in mass]


@given(st.floats(0, 1), st.floats(-5, 5), st.floats(0.1, 20), st.integers(2, 60))
def test_histograms_against_a_loop(share: float, low: float, reach: float, n: int) -> None:
    high = low + reach
    y = low + share * (high - low)
    found = bins.histogram(torch.tensor([[y]], dtype=torch.float64), low, high, n)
    expected = torch.tensor([[slow_histogram(y, low, high, n)]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


def test_the_mean_of_a_histogram_is_the_target_away_from_the_ends() -> None:
    """51 bins of [0, 2] are .0392 wide. At the end half a normal is left, whose mean is .8 * .75 = .6 bins inside,
    and .69 where each bin counts as its middle: 2 Phi(b / .75) - 1 for b = 1, 2, 3 is .818, .992 and 1, so its mean is
    .5 * .818 + 1.5 * .175 + 2.5 * .008 = .69."""
    targets = torch.tensor([0.1, 0.5, 1.0, 1.9, 2.0], dtype=torch.float64)
    found = bins.mean(bins.histogram(targets, 0.0, 2.0, 51).log(), 0.0, 2.0)
    torch.testing.assert_close(found[:4], targets[:4], rtol=0, atol=2e-4)
    assert 2.0 - float(found[4]) == pytest.approx(0.69 * 2 / 51, abs=0.0003)


def test_tilted_bins_worked_by_hand() -> None:
    """Two bins of [0, 2] have middles .5 and 1.5, and centres -1/2 and 1/2: flat and with score log 3, shares are
    3^-.5 and 3^.5, a quarter and three quarters, of which the mean is 1.25. A shape of (log 3, 0) undoes that."""
    shape, score = torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0]]), torch.full((2,), math.log(3.0))
    found = bins.tilted(shape, score)
    torch.testing.assert_close(found.exp(), torch.tensor([[0.25, 0.75], [0.5, 0.5]]))
    torch.testing.assert_close(bins.mean(found, 0.0, 2.0), torch.tensor([1.25, 1.0]))


def test_the_mean_rises_with_the_score_and_stays_between_the_ends() -> None:
    torch.manual_seed(0)
    shape, scores = torch.randn(20, 1, 51, dtype=torch.float64) * 3, torch.linspace(-30, 30, 50, dtype=torch.float64)
    mean = bins.mean(bins.tilted(shape, scores.expand(20, 50)), -1.0, 3.0)
    assert bool((mean.diff(dim=1) > 0).all())
    assert bool(((mean > -1) & (mean < 3)).all())


def test_the_derivative_by_a_score_is_the_difference_of_the_means() -> None:
    """In halves of the range; so at the minimum Q is the mean of the targets. Targets get no gradient, and one beyond
    the range (9) counts as its end."""
    torch.manual_seed(0)
    shape = torch.randn(4, 51, dtype=torch.float64)
    score = torch.randn(4, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0.2, 1.0, 1.9, 9.0], dtype=torch.float64, requires_grad=True)
    log_p = bins.tilted(shape, score)
    bins.cross_entropy(log_p, target, 0.0, 2.0).sum().backward()
    aim = bins.mean(bins.histogram(target.detach().clamp(0, 2), 0.0, 2.0, 51).log(), 0.0, 2.0)
    torch.testing.assert_close(score.grad, bins.mean(log_p, 0.0, 2.0).detach() - aim)
    assert target.grad is None


def test_cross_entropy_against_a_loop() -> None:
    torch.manual_seed(1)
    log_p, target = torch.randn(2, 3, 7, dtype=torch.float64).log_softmax(-1), torch.rand(2, 1, dtype=torch.float64)
    expected = [
        [
            -sum(a * float(log_p[i, j, b]) for b, a in enumerate(slow_histogram(float(target[i, 0]), 0.0, 1.0, 7)))
            for j in range(3)
        ]
        for i in range(2)
    ]
    found = bins.cross_entropy(log_p, target, 0.0, 1.0)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
