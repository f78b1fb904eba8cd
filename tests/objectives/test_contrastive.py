"""InfoNCE between two views: two sessions worked by hand, limits, and loops as the oracle."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from seqward.objectives import contrastive

Similarity = Callable[[Sequence[float], Sequence[float]], float]


def slow_info_nce(first: Tensor, second: Tensor, similarity: Similarity) -> list[float]:
    """Each view against all others but itself, its other view being the right answer."""
    views = [*first.tolist(), *second.tolist()]
    sessions = len(first)
    losses = []
    for anchor in range(len(views)):
        positive = (anchor + sessions) % len(views)
        others = [j for j in range(len(views)) if j != anchor]
        weights = {j: math.exp(similarity(views[anchor], views[j])) for j in others}
        losses.append(-math.log(weights[positive] / sum(weights.values())))
    return losses


def cosine(x: Sequence[float], y: Sequence[float]) -> float:
    product = sum(a * b for a, b in zip(x, y, strict=True))
    return product / math.hypot(*x) / math.hypot(*y)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_two_sessions_worked_by_hand() -> None:
    """Views a1 = (1, 0), a2 = (0, 1), b1 along (.6, .8), b2 along (0, 1); lengths do not matter.

    Cosines: a1a2 = 0, a1b1 = .6, a1b2 = 0, a2b1 = .8, a2b2 = 1, b1b2 = .8. At temperature 2 they are halved:
    a1: -.3 + log(e^0 + e^.3 + e^0), a2: -.5 + log(e^0 + e^.4 + e^.5),
    b1: -.3 + log(e^.3 + e^.4 + e^.4), b2: -.5 + log(e^0 + e^.5 + e^.4).
    """
    first, second = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    e = math.exp
    expected = [
        -0.3 + math.log(2 + e(0.3)),
        -0.5 + math.log(1 + e(0.4) + e(0.5)),
        -0.3 + math.log(e(0.3) + 2 * e(0.4)),
        -0.5 + math.log(1 + e(0.5) + e(0.4)),
    ]
    torch.testing.assert_close(contrastive.nt_xent(first, second, 2.0), torch.tensor(expected))


def test_another_row_of_the_same_session_is_no_negative() -> None:
    """Rows 0 and 2 are of one session: their anchors see their own other view and those of row 1 only.

    Decoys: as three sessions the loss of every row differs; row 1, alone in its session, has the loss that it had.
    """
    first, second = normal(3, 5), normal(3, 5, seed=1)
    found = contrastive.nt_xent(first, second, 0.5, session=torch.tensor([7, 4, 7]))
    for rows in ([0, 1], [1, 2]):
        pair = contrastive.nt_xent(first[rows], second[rows], 0.5)
        its = rows.index(0) if 0 in rows else rows.index(2)
        row = rows[its]
        torch.testing.assert_close(found[[row, row + 3]], pair[[its, its + 2]])
    apart = contrastive.nt_xent(first, second, 0.5)
    assert bool((apart[[0, 2, 3, 5]] > found[[0, 2, 3, 5]]).all())
    assert torch.equal(apart[[1, 4]], found[[1, 4]])
    assert torch.equal(apart, contrastive.nt_xent(first, second, 0.5, session=torch.tensor([2, 0, 1])))
    alone = contrastive.nt_xent(first, second, 0.5, session=torch.zeros(3, dtype=torch.int64))
    torch.testing.assert_close(alone, torch.zeros_like(alone))


def test_equal_orthogonal_views() -> None:
    """Each anchor: 1 to its other view, 0 to the two of the other session: log(1 + 2 e^(-1 / t))."""
    views = torch.eye(2)
    expected = torch.full((4,), math.log(1 + 2 * math.exp(-1 / 0.5)))
    torch.testing.assert_close(contrastive.nt_xent(views, views, 0.5), expected)


def test_views_that_say_nothing_cost_the_log_of_the_others() -> None:
    """All views equal: the other view is one of 2B - 1 equals."""
    views = torch.ones(3, 4)
    torch.testing.assert_close(contrastive.nt_xent(views, views, 0.07), torch.full((6,), math.log(5)))
    zeros = torch.zeros(3, 4)
    torch.testing.assert_close(contrastive.by_coordinate(zeros, zeros), torch.full((6,), math.log(5)))


def test_one_coordinate_worked_by_hand() -> None:
    """Width 1, views a = (2, -1), b = (1, 3): a1: products -2 (a2), 2 (b1), 6 (b2), so log(e^-2 + e^2 + e^6) - 2."""
    first, second = torch.tensor([[2.0], [-1.0]]), torch.tensor([[1.0], [3.0]])
    e = math.exp
    expected = [
        math.log(e(-2) + e(2) + e(6)) - 2,
        math.log(e(-2) + e(-1) + e(-3)) + 3,
        math.log(e(2) + e(-1) + e(3)) - 2,
        math.log(e(6) + e(-3) + e(3)) + 3,
    ]
    torch.testing.assert_close(contrastive.by_coordinate(first, second), torch.tensor(expected))


def test_coordinates_are_averaged_not_summed() -> None:
    first, second = normal(3, 1), normal(3, 1, seed=1)
    once = contrastive.by_coordinate(first, second)
    torch.testing.assert_close(contrastive.by_coordinate(first.repeat(1, 5), second.repeat(1, 5)), once)


@pytest.mark.parametrize("sessions", [2, 3, 7])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_cosine_against_loops(sessions: int, temperature: float) -> None:
    first, second = normal(sessions, 5), normal(sessions, 5, seed=1)
    expected = slow_info_nce(first, second, lambda x, y: cosine(x, y) / temperature)
    found = contrastive.nt_xent(first, second, temperature)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("sessions", [2, 3, 7])
def test_by_coordinate_against_loops(sessions: int) -> None:
    first, second = normal(sessions, 4), normal(sessions, 4, seed=1)
    per_coordinate = [
        slow_info_nce(first[:, c : c + 1], second[:, c : c + 1], lambda x, y: x[0] * y[0]) for c in range(4)
    ]
    expected = torch.tensor(per_coordinate, dtype=torch.float64).mean(0)
    torch.testing.assert_close(contrastive.by_coordinate(first, second), expected)


def test_a_single_session_has_nothing_to_tell_apart() -> None:
    first, second = normal(1, 4).requires_grad_(), normal(1, 4, seed=1).requires_grad_()
    for loss in (contrastive.nt_xent(first, second, 0.07), contrastive.by_coordinate(first, second)):
        assert loss.tolist() == [0.0, 0.0]
        gradients = torch.autograd.grad(loss.sum(), [first, second])
        assert all(bool((g == 0).all()) for g in gradients)


def test_views_may_change_places() -> None:
    """The anchors come in the order of the views, and each keeps its loss."""
    first, second = normal(3, 4), normal(3, 4, seed=1)
    there, back = contrastive.nt_xent(first, second, 0.3), contrastive.nt_xent(second, first, 0.3)
    torch.testing.assert_close(there, back.roll(3))


def test_gradient_reaches_both_views_and_is_right() -> None:
    first, second = normal(3, 4).requires_grad_(), normal(3, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: contrastive.nt_xent(a, b, 0.3), (first, second))
    assert torch.autograd.gradcheck(contrastive.by_coordinate, (first, second))


def test_it_falls_as_the_views_of_a_session_come_together() -> None:
    first = normal(6, 8)
    far, near = first + 2 * normal(6, 8, seed=1), first + 0.1 * normal(6, 8, seed=1)
    assert contrastive.nt_xent(first, near, 0.3).mean() < contrastive.nt_xent(first, far, 0.3).mean()


# Inner products ------------------------------------------------------------------------------------------------------


def test_inner_products_worked_by_hand() -> None:
    """a1 = (1, 0), a2 = (0, 1), b1 = (3, 4), b2 = (0, 2): lengths count.

    Products: a1a2 = 0, a1b1 = 3, a1b2 = 0, a2b1 = 4, a2b2 = 2, b1b2 = 8. At temperature 2 they are halved:
    a1: -1.5 + log(e^0 + e^1.5 + e^0), a2: -1 + log(e^0 + e^2 + e^1),
    b1: -1.5 + log(e^1.5 + e^2 + e^4), b2: -1 + log(e^0 + e^1 + e^4).
    """
    first, second = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    e = math.exp
    expected = [
        -1.5 + math.log(2 + e(1.5)),
        -1.0 + math.log(1 + e(2) + e(1)),
        -1.5 + math.log(e(1.5) + e(2) + e(4)),
        -1.0 + math.log(1 + e(1) + e(4)),
    ]
    torch.testing.assert_close(contrastive.nt_xent(first, second, 2.0, "dot"), torch.tensor(expected))


@pytest.mark.parametrize("sessions", [1, 2, 7])
@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_inner_products_against_loops(sessions: int, temperature: float) -> None:
    first, second = normal(sessions, 5), normal(sessions, 5, seed=1)
    expected = slow_info_nce(first, second, lambda x, y: sum(a * b for a, b in zip(x, y, strict=True)) / temperature)
    found = contrastive.nt_xent(first, second, temperature, "dot")
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_of_views_of_length_1_the_inner_product_is_the_cosine() -> None:
    first, second = (torch.nn.functional.normalize(normal(4, 6, seed=seed), dim=1) for seed in (0, 1))
    dot, cosine_form = (contrastive.nt_xent(first, second, 0.3, similarity) for similarity in ("dot", "cosine"))  # type: ignore[arg-type]
    torch.testing.assert_close(dot, cosine_form)


def test_gradient_of_inner_products_is_right() -> None:
    first, second = normal(3, 4).requires_grad_(), normal(3, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: contrastive.nt_xent(a, b, 0.7, "dot"), (first, second))
