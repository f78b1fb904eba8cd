"""Scores of named items, one of each state's own or a few, from the rows of these items alone."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding

MANY = 32
"""Items a state from which products with a sparse matrix pay, by ``benchmarks/named_speed.py``."""


def named(states: Tensor, weight: Tensor, bias: Tensor | None, items: Tensor, sparse: bool = False) -> Tensor:
    """Scores of the named items in fp32, with gradient.

    Args:
        states: [n, width].
        weight: [at least items, width].
        bias: [items].
        items: [n] or [n, k] int64.
        sparse: whether the gradient of ``weight`` is one of the rows that were read.

    Returns:
        [n] or [n, k]

    Raises:
        IndexError: there is no such item.
    """
    states, weight = states.float(), weight.float()
    many = items.dim() == 2 and MANY <= items.shape[1] <= len(weight) and len(items)
    if not (many and _multiplies_sparse(states.device)):
        scores = products(states, embedding(items, weight, sparse=sparse))
    else:
        scores = _Named.apply(states, weight, items, sparse)
    return scores if bias is None else scores + bias.float()[items]


def products(states: Tensor, rows: Tensor) -> Tensor:
    """Each state [n, width] times its row [n, width] or rows [n, k, width], in fp32: [n] or [n, k]."""
    return ((states if rows.dim() == 2 else states[:, None]).float() * rows).sum(-1)


class _Named(torch.autograd.Function):
    """Each state times a few rows, [n, k], as products with a sparse matrix [n, items].

    Rows laid side by side, [n, k, width], would be written once and their gradient twice: at the size of gSASRec's
    batches that took 13 times as long (docs/log.md).
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, items: Tensor, sparse: bool) -> Tensor:
        low, high = items.aminmax()
        if low < 0 or high >= len(weight):  # what follows would read what is not there
            raise IndexError(f"items lie between {low} and {high}, and there are {len(weight)}")
        ctx.save_for_backward(states, weight, items)
        ctx.sparse = sparse
        with torch.autocast("cpu", enabled=False):
            where = _matrix(items, torch.zeros(items.shape), len(weight))
            return torch.sparse.sampled_addmm(where, states, weight.t(), beta=0.0).values().view(items.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        states, weight, items = ctx.saved_tensors
        with torch.autocast("cpu", enabled=False):
            by_states = _matrix(items, grads[0], len(weight)) @ weight if ctx.needs_input_grad[0] else None
            by_rows = _of_rows(states, weight, items, grads[0], ctx.sparse) if ctx.needs_input_grad[1] else None
        return by_states, by_rows, None, None


def _of_rows(states: Tensor, weight: Tensor, items: Tensor, grad: Tensor, sparse: bool) -> Tensor:
    """The gradient of the weight: for each item that was named, the states that named it times their gradients."""
    ordered, order = items.flatten().sort(stable=True)
    rows, counts = ordered.unique_consecutive(return_counts=True)
    begins = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    shape = (len(rows), len(states))
    found = torch.sparse_csr_tensor(
        begins, order // items.shape[1], grad.flatten()[order], shape, check_invariants=False
    )
    found = found @ states
    if sparse:
        return torch.sparse_coo_tensor(rows[None], found, weight.shape, is_coalesced=True, check_invariants=False)
    return torch.zeros_like(weight).index_copy_(0, rows, found)


def _matrix(items: Tensor, values: Tensor, n_items: int) -> Tensor:
    """[n, n_items] sparse, with values [n, k] at items [n, k]."""
    n, k = items.shape
    begins = torch.arange(0, n * k + 1, k)
    return torch.sparse_csr_tensor(begins, items.flatten(), values.flatten(), (n, n_items), check_invariants=False)


@cache
def _multiplies_sparse(device: torch.device) -> bool:
    """Whether torch can: with MKL, on a processor. It warns of its sparse tensors as it makes the first, which is here.

    Of them, products in rows are used and nothing else.
    """
    if device.type != "cpu" or not torch.backends.mkl.is_available():
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.eye(1).to_sparse_csr()
    return True
