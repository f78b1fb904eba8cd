"""Scores of named items: the products with a sparse matrix are those of rows laid side by side, gradients too."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from seqward.catalogue import named as module
from seqward.catalogue.named import named


@pytest.fixture(autouse=True)
def however_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MANY", 1)


def whole(*shape: int, seed: int) -> Tensor:
    """-2 to 2, so that all products and sums are exact."""
    return torch.randint(-2, 3, shape, generator=torch.Generator().manual_seed(seed)).float()


def side_by_side(states: Tensor, weight: Tensor, bias: Tensor | None, items: Tensor) -> Tensor:
    """The slow definition."""
    rows = weight[items]
    scores = torch.einsum("nw,n...w->n...", states, rows)
    return scores if bias is None else scores + bias[items]


shapes = st.tuples(st.integers(0, 4), st.none() | st.integers(0, 7), st.integers(1, 5), st.integers(1, 6))


@given(shapes, st.booleans(), st.booleans(), st.integers(0, 999))
def test_scores_and_gradients_are_those_of_the_slow_definition(
    shape: tuple[int, int | None, int, int], biased: bool, sparse: bool, seed: int
) -> None:
    """Of one item a state or a few, often the same ones; rows behind the items', as of special tokens, have none."""
    n, k, width, n_items = shape
    items = torch.randint(n_items, (n,) if k is None else (n, k), generator=torch.Generator().manual_seed(seed))
    found, wanted = [], []
    for ask, into in ((named, found), (side_by_side, wanted)):
        states, weight = whole(n, width, seed=seed), whole(n_items + 2, width, seed=seed + 1)
        bias = whole(n_items, seed=seed + 2) if biased else None
        leaves = [leaf.requires_grad_() for leaf in (states, weight, bias) if leaf is not None]
        scores = ask(states, weight, bias, items, *([sparse] if ask is named else []))
        (scores * whole(*items.shape, seed=seed + 3)).sum().backward()
        into += [scores.detach(), *(leaf.grad for leaf in leaves)]
    assert all(torch.equal(a.to_dense(), b) for a, b in zip(found, wanted, strict=True))


def test_the_gradient_of_a_table_read_by_rows_holds_these_alone() -> None:
    """Items 4 and 1 of the state (1, 0), 4 and 4 of (0, 2), with gradients 1 to 4: by
    hand row 1 has 2 (1, 0) = (2, 0), and row 4 1 (1, 0) + 3 (0, 2) + 4 (0, 2) = (1, 14).
    """
    states = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    weight = torch.zeros(6, 2, requires_grad=True)
    scores = named(states, weight, None, torch.tensor([[4, 1], [4, 4]]), sparse=True)
    (scores * torch.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
    assert weight.grad is not None
    grad = weight.grad.coalesce()
    assert (grad.indices().tolist(), grad.values().tolist()) == ([[1, 4]], [[2.0, 0.0], [1.0, 14.0]])


@pytest.mark.parametrize("there", [True, False])
def test_it_is_the_same_with_and_without_mkl_and_in_fp32_always(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 + 2^-10 is 1 in bfloat16."""
    monkeypatch.setattr(module, "_multiplies_sparse", lambda device: there)
    weight = torch.full((3, 4), 1 + 2**-10, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        scores = named(torch.ones(1, 4), weight, None, torch.tensor([[2, 0]]))
        assert scores.tolist() == [[4 + 2**-8] * 2]
        (scores * (1 + 2**-10)).sum().backward()
    assert weight.grad is not None and weight.grad[:, 0].tolist() == [1 + 2**-10, 0.0, 1 + 2**-10]


def test_what_has_no_gradient_gets_none() -> None:
    states, weight = torch.ones(2, 3), torch.ones(4, 3, requires_grad=True)
    named(states, weight, None, torch.tensor([[0, 1], [2, 3]])).sum().backward()
    assert states.grad is None and weight.grad is not None
    named(states.requires_grad_(), weight.detach(), None, torch.tensor([[0, 1], [2, 3]])).sum().backward()
    assert states.grad is not None and states.grad.tolist() == [[2.0] * 3] * 2


@pytest.mark.parametrize("item", [-1, 4])
@pytest.mark.parametrize("there", [True, False])
def test_an_item_that_is_not_there_is_refused(there: bool, item: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_multiplies_sparse", lambda device: there)
    with pytest.raises(IndexError):
        named(torch.ones(2, 3), torch.ones(4, 3), None, torch.tensor([[0, 1], [2, item]]))
