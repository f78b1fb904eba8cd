"""Dropout drawn cheaply is dropout."""

from __future__ import annotations

import pytest
import torch

from seqward.backbones.attention import attend
from seqward.backbones.dropout import LEVELS, dropout
from seqward.randomness import seeded


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.9])
def test_a_share_is_left_out_and_the_mean_stays(rate: float) -> None:
    """Within five standard errors of 400,000 coins; what is left is scaled alike."""
    with seeded(0, 0, "dropout"):
        found = dropout(torch.ones(1000, 401), rate)
    kept = found[found != 0]
    error = (rate * (1 - rate) / found.numel()) ** 0.5
    assert abs(kept.numel() / found.numel() - (1 - rate)) < 5 * error
    assert kept.unique().numel() == 1
    assert abs(float(found.mean()) - 1) < 5 * error / (1 - rate)


def test_elements_that_share_a_draw_are_independent() -> None:
    """Four stand in one draw of 64 bits: of 16 patterns each is as frequent as four coins make it."""
    with seeded(1, 0, "dropout"):
        kept = (dropout(torch.ones(100_000, 4), 0.5) != 0).long()
    counts = (kept * torch.tensor([1, 2, 4, 8])).sum(1).bincount(minlength=16)
    assert ((counts - 6250).abs() < 5 * (6250 * 15 / 16) ** 0.5).all()


def test_gradient_flows_where_something_was_kept() -> None:
    x = torch.ones(50, 7, requires_grad=True)
    found = dropout(x, 0.3)
    found.sum().backward()
    assert torch.equal(x.grad, found.detach())


def test_it_is_off_in_evaluation_and_at_rate_0_and_total_at_rate_1() -> None:
    x = torch.randn(3, 5)
    assert dropout(x, 0.5, False) is x
    assert dropout(x, 0.0) is x
    assert dropout(x, 0.4 / LEVELS) is x
    assert not dropout(x, 1.0).any()


def test_the_same_seed_drops_the_same_and_another_does_not() -> None:
    def drawn(number: int) -> torch.Tensor:
        with seeded(7, number, "dropout"):
            return dropout(torch.ones(64), 0.5)

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


@pytest.mark.parametrize("shape", [(0, 4), (1,), (3, 1, 5)])
def test_any_number_of_elements(shape: tuple[int, ...]) -> None:
    assert dropout(torch.ones(shape), 0.5).shape == shape


@pytest.mark.parametrize("masked", [False, True])
def test_attention_that_drops_nothing_in_fact_is_attention(masked: bool) -> None:
    """A rate so low that no weight of these falls: weights are written, and what is read is the same."""
    q, k, v = torch.randn(3, 2, 6, 8, generator=torch.Generator().manual_seed(0)).unbind()
    visible = torch.ones(2, 1, 6, 6, dtype=torch.bool).tril() if masked else None
    found = attend(q, k, v, 2, visible, 1 / LEVELS)
    torch.testing.assert_close(found, attend(q, k, v, 2, visible, 0.0), rtol=1e-4, atol=1e-4)
