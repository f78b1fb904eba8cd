"""What every engine answers about the scores of all items, and the order that they share.

Rank of an item = 1 + items scored higher + equally scored items with a smaller number; top-k is cut from the same
order. An item scored -inf is no candidate. A score that is NaN or +inf is an error, raised where an order is asked for;
a sum over such scores is not finite either.

Under autocast the sums over all items (``nll``, ``logsumexp``) are of products in its precision, the item's own score
among them; in fp32 where a processor is faster in that, and more exact. Named scores and orders are in fp32 always: to
eight bits much is equal that is not, and the lowest number would be the best item.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import wraps
from typing import NamedTuple, ParamSpec, Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from seqward.catalogue.native import is_intel
from seqward.errors import Finding

MISS = 2**31 - 1
"""The rank of an item that is no candidate: beyond every cut-off."""
EVEN = 64
"""A processor sums the columns of a product alike if their number is a multiple of this (of its vectors, in fact)."""

P = ParamSpec("P")
T = TypeVar("T")


class Best(NamedTuple):
    """The best items of each row and their scores."""

    values: Tensor
    """[n] or [n, k]; -inf where fewer than k items are candidates."""
    items: Tensor
    """[n] or [n, k] int64; -1 where fewer than k items are candidates."""


class Pairs(NamedTuple):
    """(row, item) pairs that are no candidates, in any order, repeats allowed."""

    rows: Tensor
    """[pairs] int64"""
    items: Tensor
    """[pairs] int64"""


class Scores(Protocol):
    """Scores of ``n_items`` items for each of ``n_rows`` states, never promised as a matrix."""

    @property
    def n_rows(self) -> int: ...
    @property
    def n_items(self) -> int: ...

    def at(self, items: Tensor) -> Tensor:
        """Scores of the named items: [n] -> [n], [n, k] -> [n, k]. With gradient."""
        ...

    def nll(self, items: Tensor, temperature: float = 1.0) -> Tensor:
        """``t * logsumexp(x / t) - x[item]`` for each row, [n]. Never negative; with gradient.

        Cross-entropy at temperature 1; on Q, the conservative term of Kumar et al. 2020. One question rather than two,
        since a sampled estimate must hold the item itself in its sum.
        """
        ...

    def logsumexp(self, temperature: float = 1.0) -> Tensor:
        """``t * logsumexp(x / t)`` over all items, [n]. With gradient."""
        ...

    def max(self) -> Best:
        """The best item of each row, [n]; the lowest number among equals. No gradient."""
        ...

    def topk(self, k: int, exclude: Pairs | None = None) -> Best:
        """The k best candidates of each row in order, [n, k]. No gradient."""
        ...

    def rank_of(self, items: Tensor, exclude: Pairs | None = None) -> Tensor:
        """Rank of the named item of each row, [n] int64; MISS where it is no candidate. No gradient."""
        ...

    def among(self, items: Tensor) -> Scores:
        """The scores of these items alone, [m] ascending, each numbered by its place there."""
        ...

    def detach(self) -> Scores:
        """The same answers without gradient, however and wherever they are asked."""
        ...


class LinearScores(Scores, Protocol):
    """Scores of a linear head, as the engines answer for them."""

    def nll_and_max(self, items: Tensor, temperature: float = 1.0) -> tuple[Tensor, Best]:
        """Both answers, in one pass over the catalogue where the engine can."""
        ...

    def sample(self, k: int, generator: torch.Generator) -> Tensor:
        """k items a row drawn from the softmax of its scores, with replacement, [n, k]; the same ones by every engine.

        No gradient.
        """
        ...

    def among(self, items: Tensor) -> LinearScores: ...
    def detach(self) -> LinearScores: ...


def exact(ask: Callable[P, T]) -> Callable[P, T]:
    """``ask`` without gradient and in fp32, whatever autocast says."""

    @wraps(ask)
    def asked(*args: P.args, **kwargs: P.kwargs) -> T:
        with torch.no_grad(), torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            return ask(*args, **kwargs)

    return asked


def slow_in_bfloat16() -> bool:
    """Whether products in bfloat16 take this processor longer than those in fp32.

    Of x86 that is known: many times longer without an instruction for them; with AVX512-BF16 half as long on AMD's and
    twice as long on Intel's, which have AMX for it. Another processor is assumed to be fast.
    """
    if platform.machine().lower() not in ("x86_64", "amd64") or torch.cpu._is_amx_tile_supported():
        return False
    return not torch.cpu._is_avx512_bf16_supported() or is_intel()


def summed_in(device: torch.device) -> torch.dtype:
    """The type of operands whose products are summed there."""
    if not torch.is_autocast_enabled(device.type) or (device.type == "cpu" and slow_in_bfloat16()):
        return torch.float32
    return torch.get_autocast_dtype(device.type)


def places_among(items: Tensor, n_items: int) -> Tensor:
    """[n_items + 1] the place of each item among some [m]; m of any other, and of what stands for nothing."""
    places = torch.full((n_items + 1,), len(items), device=items.device)
    places[items] = torch.arange(len(items), device=items.device)
    return places


def evened(weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """[items, width] and [items], with zeros behind up to a multiple of EVEN.

    The columns left over by a product of few rows are summed in another order, which would part items of equal rows.
    """
    short = -len(weight) % EVEN
    if not short:
        return weight, bias
    return pad(weight, (0, 0, 0, short)), None if bias is None else pad(bias, (0, short))


def refuse_nan(largest: Tensor) -> None:
    """Raise where a row's largest score is NaN or +inf.

    Args:
        largest: [n], NaN wherever a row holds one (``amax`` carries NaN on).
    """
    bad = torch.isnan(largest) | (largest == torch.inf)
    if bool(bad.any()):
        raise Finding(
            f"scores that are not finite in {int(bad.sum())} of {bad.numel()} rows: the model has diverged. "
            "Lower the learning rate, or evaluate an earlier checkpoint."
        )
