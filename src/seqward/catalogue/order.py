"""The order of items that all engines share, however each of them multiplies.

Products of matrices are summed in an order that differs between libraries, shapes and processors, so two engines may
part what is equal or nearly so. Hence one definition of a score in fp32, ``settled``: products of pairs, then the two
halves added up until one number is left, then the bias. It costs far more than a matrix product, so engines multiply
as they like, and settle only what lies within ``margins`` of the score that it is compared with.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from seqward.catalogue.scores import MISS, Best, Pairs, refuse_nan

UNIT = 2.0**-24
"""The relative error of one rounding in fp32."""
TINY = 1.1e-19
"""The square of anything smaller is not a normal number."""
PAIRS = 1 << 15
"""Scores settled at a time: 2 M multiplications at width 64."""


def settled(states: Tensor, weight: Tensor, bias: Tensor | None, rows: Tensor, items: Tensor) -> Tensor:
    """[pairs] the scores of states [n, width] for items, as every engine compares them.

    ``native/rank.hpp`` does the same, to the bit.
    """
    parts = []
    for some, chosen in zip(rows.split(PAIRS), items.split(PAIRS), strict=True):
        # Not by brackets, which count a number below 0 from the end.
        terms = states.index_select(0, some) * weight.index_select(0, chosen)
        terms = pad(terms, (0, (1 << (terms.shape[1] - 1).bit_length()) - terms.shape[1]))
        while terms.shape[1] > 1:
            half = terms.shape[1] // 2
            terms = terms[:, :half] + terms[:, half:]
        parts.append(terms[:, 0] if bias is None else terms[:, 0] + bias.index_select(0, chosen))
    return torch.cat(parts) if parts else states.new_empty(0)


def margins(states: Tensor, weight: Tensor, bias: Tensor | None, unit: float = 0.0) -> Tensor:
    """[n] how far a product's scores may be from the settled ones; 0 where neither can have been rounded.

    However it is added up, a product is at most width + 1 roundings of ``|state| |row| + |bias|`` away from the exact
    score, and a settled one log2(width) + 3; six more are spare, for scores that are compared as a sum has them, times
    a scale.

    Args:
        unit: the relative error of the operands, if they were rounded.

    Raises:
        Finding: a score may not be finite.
    """
    longest = _longest(weight)
    largest, worst = weight.new_zeros(()), weight.new_zeros(())
    if bias is not None:
        worst = bias.amax()
        largest = bias.abs().masked_fill(bias == -torch.inf, 0).amax()
    norms = _norms(states)
    size = norms * longest
    bound = size + largest
    refuse_nan(torch.where(bound.isfinite() & ((worst < torch.inf) | (bias is None)), 0.0, torch.nan))
    width = weight.shape[1]
    # A score's absolute error, where terms are so small that their last bits are cut off, or operands so small that
    # they may be taken for 0.
    lost = 2.0**-120 * width * (1 + norms + longest)
    return torch.where(size > 0, (width + 24) * UNIT * bound + 2.1 * unit * size + lost, 0.0)


def _norms(rows: Tensor) -> Tensor:
    """[n] the length of each row or a little more; NaN and inf carry on."""
    largest, root = rows.abs().amax(1), rows.shape[1] ** 0.5
    length = rows.norm(dim=1) + root * TINY
    return torch.where(largest == 0, 0.0, torch.minimum(length, root * largest))


def _longest(rows: Tensor) -> Tensor:
    """The length of the longest row or a little more; NaN and inf carry on."""
    root = rows.shape[1] ** 0.5
    length = rows.norm(dim=1).amax() + root * TINY
    # The rest reads the table again, for squares that are not numbers; elsewhere to ask would be to wait.
    if rows.device.type == "cpu" and TINY**0.5 < length < torch.inf:
        return length
    low, high = torch.aminmax(rows)
    largest = torch.maximum(-low, high)
    return torch.where(largest == 0, 0.0, torch.minimum(length, root * largest))


def none_of(states: Tensor, k: int) -> Best:
    """[n, k] where nothing is a candidate."""
    n, device = len(states), states.device
    return Best(torch.full((n, k), -torch.inf, device=device), torch.full((n, k), -1, dtype=torch.int64, device=device))


def write_best(best: Best, parts: tuple[Tensor, Tensor, Tensor | None], row: Tensor, item: Tensor) -> None:
    """Write into rows of ``best`` [n, k] the k best of some items, by their settled scores.

    Args:
        parts: states, weight and bias.
        row: [pairs] of each item; all candidates that may be among the k best of a row stand here.
        item: [pairs].
    """
    score = settled(*parts, row, item)
    order = item.argsort(stable=True)
    order = order[score[order].argsort(descending=True, stable=True)]
    order = order[row[order].argsort(stable=True)]
    row, item, score = row[order], item[order], score[order]
    place = torch.arange(len(row), device=row.device) - torch.searchsorted(row, row)
    keep = (place < best.values.shape[1]) & (score > -torch.inf)
    best.values[row[keep], place[keep]] = score[keep]
    best.items[row[keep], place[keep]] = item[keep]


def near_the_best(scores: Tensor, k: int, margin: Tensor) -> Tensor:
    """Which of the products [n, m] may be among the k best when settled: neither they nor the k-th are off by more than
    the margin [n]."""
    border = scores.topk(min(k, scores.shape[1]), dim=1).values[:, -1:]
    return (scores >= border - 2.1 * margin[:, None]) & (scores > -torch.inf)


def bounds(own: Tensor, margin: Tensor) -> tuple[Tensor, Tensor]:
    """(low, high) [n]: a product above ``high`` beats ``own`` for certain, and one that is not above ``low`` does not.

    For a target that is no candidate nothing is above either.
    """
    known = own.masked_fill(own == -torch.inf, torch.inf)
    return torch.nextafter(known - margin, known.new_tensor(-torch.inf)), known + margin


def beats(scores: Tensor, items: Tensor, own: Tensor, target: Tensor) -> Tensor:
    """Whether an item stands before the target: scored higher, or equal with a smaller number."""
    return (scores > own) | ((scores == own) & (items < target))


def ranks(better: Tensor, own: Tensor) -> Tensor:
    """[n] 1 + the number of better items, MISS where the target itself is no candidate."""
    return torch.where(own == -torch.inf, MISS, 1 + better)


def without(
    better: Tensor, own: Tensor, target: Tensor, exclude: Pairs, parts: tuple[Tensor, Tensor, Tensor | None]
) -> Tensor:
    """[n] ``better`` less the excluded items among them.

    Args:
        parts: states, weight and bias.
    """
    n_items = len(parts[1])
    keys = (exclude.rows * n_items + exclude.items).unique()
    rows, items = keys // n_items, keys % n_items
    gone = beats(settled(*parts, rows, items), items, own[rows], target[rows])
    return better.index_add(0, rows, gone.to(better.dtype), alpha=-1)


def excluded(target: Tensor, exclude: Pairs | None, n_items: int) -> Tensor:
    """[n] whether the row's own target is excluded."""
    if exclude is None:
        return torch.zeros_like(target, dtype=torch.bool)
    row = torch.arange(len(target), device=target.device)
    return torch.isin(row * n_items + target, exclude.rows * n_items + exclude.items)
