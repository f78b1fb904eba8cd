"""gBCE, sampled softmax and BPR: worked by hand with decoys, their limits, and the full losses that they estimate."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from seqward.objectives import sampled

LOG2, LOG3 = math.log(2), math.log(3)
POSITIVE = torch.tensor([0.0, LOG3])
NEGATIVES = torch.tensor([[0.0, LOG3], [-LOG3, -torch.inf]])
"""sigma(log 3) is 3/4. The second event has one negative only: -inf is no candidate."""

Losses = list[tuple[str, Callable[[Tensor, Tensor], Tensor]]]
LOSSES: Losses = [
    ("gbce", lambda p, n: sampled.gbce(p, n, 100, 0.75)),
    ("softmax", lambda p, n: sampled.sampled_softmax(p, n)),
    ("corrected softmax", lambda p, n: sampled.sampled_softmax(p, n, -1.5)),
    ("bpr", sampled.bpr),
]
every_loss = pytest.mark.parametrize("loss", [loss for _, loss in LOSSES], ids=[name for name, _ in LOSSES])


def test_gbce_worked_by_hand() -> None:
    """k = 2 of 5 others: alpha = .4, beta = .4 (.5 (1 - 2.5) + 2.5) = .7.

    First event: -[.7 log 1/2 + log 1/2 + log 1/4] / 3 = (.7 + 1 + 2) log 2 / 3.
    Second: -[.7 log 3/4 + log(1 - 1/4) + log 1] / 3 = 1.7 log(4/3) / 3. The share is of 3, though one is no candidate.
    """
    expected = torch.tensor([3.7 * LOG2 / 3, 1.7 * math.log(4 / 3) / 3])
    torch.testing.assert_close(sampled.gbce(POSITIVE, NEGATIVES, n_items=6, t=0.5), expected)


def test_softmax_worked_by_hand() -> None:
    """exp: 1 against 1 and 3, so log 5; 3 against 1/3, so log(10/9)."""
    expected = torch.tensor([math.log(5), math.log(10 / 9)])
    torch.testing.assert_close(sampled.sampled_softmax(POSITIVE, NEGATIVES), expected)


def test_corrected_softmax_worked_by_hand() -> None:
    """Each negative stands for two (expected count 1/2): log(1 + 2 + 6) and log((3 + 2/3) / 3)."""
    expected = torch.tensor([math.log(9), math.log(11 / 9)])
    torch.testing.assert_close(sampled.sampled_softmax(POSITIVE, NEGATIVES, -LOG2), expected)
    each = torch.log(torch.tensor([[1.0, 0.5], [0.25, 1.0]]))
    expected = torch.tensor([math.log(1 + 1 + 6), math.log((3 + 4 / 3) / 3)])
    torch.testing.assert_close(sampled.sampled_softmax(POSITIVE, NEGATIVES, each), expected)


def test_bpr_worked_by_hand() -> None:
    """Differences 0 and -log 3: mean of log 2 and log 4; log 9 against one that is none: half of log(10/9)."""
    expected = torch.tensor([1.5 * LOG2, 0.5 * math.log(10 / 9)])
    torch.testing.assert_close(sampled.bpr(POSITIVE, NEGATIVES), expected)


@every_loss
def test_its_gradient_is_right(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(4, generator=generator, dtype=torch.float64).requires_grad_()
    n = torch.randn(4, 3, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(loss, (p, n))
    grads = torch.autograd.grad(loss(p, n).sum(), [p, n])
    assert bool((grads[0] < 0).all()), "the logged item goes up"
    assert bool((grads[1] > 0).all()), "and the others down"


@every_loss
def test_what_is_no_candidate_gets_no_gradient(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    """And spoils none: -inf minus -inf would be NaN."""
    scores = torch.tensor([[1.0, 2.0, -1.0]], requires_grad=True)
    masked = scores.masked_fill(torch.tensor([[False, True, False]]), -torch.inf)
    (grad,) = torch.autograd.grad(loss(torch.tensor([0.5]), masked).sum(), scores)
    assert grad[0, 1] == 0
    assert bool((grad[0, ::2] > 0).all())


@every_loss
def test_it_stays_finite_far_from_zero(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    far = torch.tensor([1e4, -1e4])
    value = loss(far, torch.stack([-far, far], 1))
    assert bool(torch.isfinite(value).all())


@every_loss
@given(rows=st.lists(st.lists(st.floats(-20, 20), min_size=4, max_size=4), min_size=1, max_size=5))
def test_against_loops(loss: Callable[[Tensor, Tensor], Tensor], rows: list[list[float]]) -> None:
    def sigma(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    slow: dict[int, Callable[[float, list[float]], float]] = {
        0: lambda p, n: -((1 - 0.75 * (1 - 3 / 99)) * math.log(sigma(p)) + sum(math.log(sigma(-x)) for x in n)) / 4,
        1: lambda p, n: -math.log(math.exp(p) / (math.exp(p) + sum(map(math.exp, n)))),
        2: lambda p, n: -math.log(math.exp(p) / (math.exp(p) + math.exp(1.5) * sum(map(math.exp, n)))),
        3: lambda p, n: -sum(math.log(sigma(p - x)) for x in n) / 3,
    }
    which = next(i for i, (_, known) in enumerate(LOSSES) if known is loss)
    scores = torch.tensor(rows, dtype=torch.float64)
    expected = [slow[which](row[0], row[1:]) for row in rows]
    torch.testing.assert_close(loss(scores[:, 0], scores[:, 1:]), torch.tensor(expected, dtype=torch.float64))


# Identities and limits ------------------------------------------------------------------------------------------------


def catalogue(n: int = 6, items: int = 9) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scores [n, items], the logged items, their scores, and the scores of all others once each."""
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(n, items, generator=generator, dtype=torch.float64)
    logged = torch.randint(items, (n,), generator=generator)
    other = torch.arange(items) != logged[:, None]
    return scores, logged, scores.gather(1, logged[:, None])[:, 0], scores[other].view(n, -1)


def test_softmax_of_all_items_is_cross_entropy() -> None:
    """Of losses and gradients; with correction, too, where each is to be expected once."""
    scores, logged, _, _ = catalogue()
    scores.requires_grad_()
    other = torch.arange(9) != logged[:, None]
    full = torch.nn.functional.cross_entropy(scores, logged, reduction="none")
    few = sampled.sampled_softmax(scores.gather(1, logged[:, None])[:, 0], scores[other].view(6, -1), math.log(1))
    torch.testing.assert_close(few, full)
    one, two = (torch.autograd.grad(loss.sum(), scores, retain_graph=True)[0] for loss in (few, full))
    torch.testing.assert_close(one, two)


def test_corrected_softmax_of_many_draws_tends_to_cross_entropy_and_the_plain_one_does_not() -> None:
    scores, logged, positive, others = catalogue()
    full = torch.nn.functional.cross_entropy(scores, logged, reduction="none")
    drawn = torch.randint(8, (6, 20_000), generator=torch.Generator().manual_seed(2))
    negatives = others.gather(1, drawn)
    torch.testing.assert_close(
        sampled.sampled_softmax(positive, negatives, math.log(20_000 / 8)), full, atol=0.02, rtol=0
    )
    assert bool((sampled.sampled_softmax(positive, negatives) > full + 3).all())


def test_softmax_against_one_item_is_bpr() -> None:
    _, _, positive, others = catalogue()
    torch.testing.assert_close(sampled.sampled_softmax(positive, others[:, :1]), sampled.bpr(positive, others[:, :1]))


@pytest.mark.parametrize("k", [1, 4, 8])
def test_gbce_without_calibration_is_binary_cross_entropy(k: int) -> None:
    """t = 0, for any number of negatives: the mean over the logged item and them."""
    _, _, positive, others = catalogue()
    logits = torch.cat([positive[:, None], others[:, :k]], 1)
    labels = torch.zeros_like(logits).index_fill(1, torch.tensor([0]), 1.0)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(1)
    torch.testing.assert_close(sampled.gbce(positive, others[:, :k], 9, 0.0), expected)


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_gbce_on_all_items_needs_no_calibration(t: float) -> None:
    """k = |I| - 1: alpha = beta = 1 whatever t is; more than there are, drawn again and again, do not turn it round."""
    _, _, positive, others = catalogue()
    torch.testing.assert_close(sampled.gbce(positive, others, 9, t), sampled.gbce(positive, others, 9, 0.0))
    many = others.repeat(1, 5)
    torch.testing.assert_close(sampled.gbce(positive, many, 9, t), sampled.gbce(positive, many, 9, 0.0))


def test_fully_calibrated_gbce_weighs_the_logged_item_by_the_sampling_rate() -> None:
    """t = 1: beta = alpha = k / (|I| - 1), which is the paper's formula beta = alpha (t (1 - 1/alpha) + 1/alpha)."""
    _, _, positive, _ = catalogue()
    none = torch.full((6, 2), -torch.inf, dtype=torch.float64)
    whole, part = (sampled.gbce(positive, none, 9, t) for t in (0.0, 1.0))
    torch.testing.assert_close(part, 2 / 8 * whole)
    for t in (0.0, 0.25, 0.75, 1.0):
        alpha = 2 / 8
        beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha)
        torch.testing.assert_close(sampled.gbce(positive, none, 9, t), beta * whole)


def test_a_catalogue_of_one_item_is_no_error() -> None:
    assert bool(torch.isfinite(sampled.gbce(POSITIVE, NEGATIVES, 1, 0.75)).all())
