"""The portable engine: streams the catalogue in chunks whose scores stay in cache; no [rows, items] matrix is written.

Element-wise passes over written scores cost several times the matrix product on a processor, so each chunk is
multiplied, read and forgotten. The backward pass of the log-sum-exp multiplies again, unless the exponentials fit
the scratch budget and were kept. Gradients are exact either way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from seqward.catalogue.dense import DenseScores, drawn, topk_of_matrix, uniform
from seqward.catalogue.linear import Linear
from seqward.catalogue.named import named
from seqward.catalogue.order import (
    PAIRS,
    beats,
    bounds,
    excluded,
    margins,
    near_the_best,
    none_of,
    ranks,
    settled,
    write_best,
)
from seqward.catalogue.scores import Best, Pairs, evened, exact, refuse_nan, summed_in

CHUNK = 512
"""Items multiplied at a time."""
ROWS = 1024
"""States multiplied at a time: 1,024 x 512 scores are 2 MB."""
BLOCK = 64
"""Items behind one maximum in ``topk``; divides CHUNK."""
FEW = 8
"""So many times the items of the k best blocks are few: to write all scores takes less time than to find the blocks."""
WRITTEN = 1 << 24
"""Scores that ``topk`` may write where the items are few: 64 MB."""
LOG2E = 1.4426950408889634
"""Powers of 2 take half the time of powers of e: scores that are raised are multiplied by this before."""
LARGE = 1e17
"""Sums of exponentials that are too large: their inverse times a small gradient must still be a normal number."""
SCRATCH = 512 << 20
"""Bytes of exponentials that one log-sum-exp may keep for its backward pass."""


class ChunkedScores(Linear):
    """Scores ``states @ weight.T + bias``, asked in chunks."""

    def at(self, items: Tensor) -> Tensor:
        return named(self.states, self.weight, self.bias, items)

    def logsumexp(self, temperature: float = 1.0) -> Tensor:
        return self._reduce(None, temperature)

    def nll(self, items: Tensor, temperature: float = 1.0) -> Tensor:
        return self._reduce(items, temperature)

    def nll_and_max(self, items: Tensor, temperature: float = 1.0) -> tuple[Tensor, Best]:
        if summed_in(self.states.device) != torch.float32 or not self.n_rows:
            return super().nll_and_max(items, temperature)
        maxima = self.states.new_empty(self.n_rows, -(-self.n_items // BLOCK))
        nll = self._reduce(items, temperature, maxima)
        return nll, self._best_in(maxima.mul_(temperature / LOG2E))

    @exact
    def _best_in(self, maxima: Tensor) -> Best:
        """The best item of each row, whose blocks of items have these maxima but for the rounding of a scale."""
        margin, best = margins(self.states, self.weight, self.bias), none_of(self.states, 1)
        if not bool(margin.all()):  # without a margin a product is taken for exact
            return self.max()
        for rows in _slices(self.n_rows, ROWS):
            self._best_of_blocks(rows, maxima[rows], margin[rows], None, best)
        return self.valued(best.items[:, 0])

    def _reduce(self, items: Tensor | None, temperature: float, maxima: Tensor | None = None) -> Tensor:
        bias = self.weight.new_zeros(0) if self.bias is None else self.bias
        device, dtype = self.states.device, summed_in(self.states.device)
        with torch.autocast(device.type, enabled=False):  # the type is chosen
            # Scores over t are those of states over t and a bias over t; the value is scaled back.
            parts = (self.states / temperature, self.weight, bias / temperature)
            return temperature * _LogSumExp.apply(*parts, items, dtype, maxima)

    @exact
    def topk(self, k: int, exclude: Pairs | None = None) -> Best:
        if self.n_items <= FEW * k * BLOCK and self.n_rows * self.n_items <= WRITTEN:
            return DenseScores(self.states, self.weight, self.bias).topk(k, exclude)
        best, margin = none_of(self.states, k), margins(self.states, self.weight, self.bias)
        keys = None if exclude is None else exclude.rows * self.n_items + exclude.items
        for rows in _slices(self.n_rows, ROWS) if k and self.n_rows else ():
            maxima = torch.cat([_maxima(scores) for _, scores in self._chunks(rows, exclude)], 1)
            self._best_of_blocks(rows, maxima, margin[rows], keys, best)
        return best

    def _best_of_blocks(self, rows: slice, by_block: Tensor, margin: Tensor, keys: Tensor | None, best: Best) -> None:
        """Write the best items of some rows.

        Args:
            by_block: [rows, blocks] the largest product of each block of items.
            margin: [rows]
            keys: row * n_items + item of each that is no candidate.
        """
        k = best.items.shape[1]
        refuse_nan(by_block.amax(1))
        # The k best items lie in the blocks whose maxima are among the k largest, or so close that rounding may decide;
        # where nothing was rounded, of equal ones in the first.
        close = near_the_best(by_block, k, margin).sum(1).masked_fill(margin == 0, k)
        count = min(max(k, int(close.amax())), by_block.shape[1])
        blocks = topk_of_matrix(by_block, count).items
        for part in _slices(len(blocks), max(1, ROWS // max(count, 1))):
            candidates = (blocks[part].clamp(min=0)[:, :, None] * BLOCK + self._within_block()).flatten(1)
            outside = (candidates >= self.n_items) | (blocks[part] < 0).repeat_interleave(BLOCK, 1)
            candidates = candidates.clamp(max=self.n_items - 1)
            scores = torch.bmm(self.weight[candidates], self.states[rows][part][:, :, None])[:, :, 0]
            if self.bias is not None:
                scores = scores + self.bias[candidates]
            if keys is not None:
                row = torch.arange(rows.start + part.start, rows.start + part.stop, device=keys.device)
                outside = outside | torch.isin(row[:, None] * self.n_items + candidates, keys)
            near = near_the_best(scores.masked_fill(outside, -torch.inf), k, margin[part])
            row, column = near.nonzero(as_tuple=True)
            write_best(
                best,
                (self.states, self.weight, self.bias),
                row + rows.start + part.start,
                candidates[row, column],
            )

    def _within_block(self) -> Tensor:
        return torch.arange(BLOCK, device=self.weight.device)

    @exact
    def rank_of(self, items: Tensor, exclude: Pairs | None = None) -> Tensor:
        parts = (self.states, self.weight, self.bias)
        every = torch.arange(self.n_rows, device=items.device)
        own = settled(*parts, every, items).masked_fill(excluded(items, exclude, self.n_items), -torch.inf)
        low, high = bounds(own, margins(*parts))
        better = torch.zeros_like(items)
        for rows in _slices(self.n_rows, ROWS):
            flags, least, most = own.new_empty(rows.stop - rows.start, CHUNK), low[rows, None], high[rows, None]
            close: list[tuple[Tensor, Tensor]] = []
            for start, scores in self._chunks(rows, exclude):
                # Flags as floats: five times faster to write and add up than booleans.
                room = flags.view(-1)[: scores.numel()].view(scores.shape)
                sure = torch.gt(scores, most, out=room).sum(1)
                better[rows] += sure.long()
                (row,) = (torch.gt(scores, least, out=room).sum(1) > sure).nonzero(as_tuple=True)
                near = scores[row]
                place, column = ((near > least[row]) & (near <= most[row])).nonzero(as_tuple=True)
                close.append((row[place] + rows.start, column + start))
                if sum(len(row) for row, _ in close) > PAIRS or start + CHUNK >= self.n_items:
                    row, item = map(torch.cat, zip(*close, strict=True))
                    before = beats(settled(*parts, row, item), item, own[row], items[row])
                    better.index_add_(0, row, before.to(better.dtype))
                    close = []
        return ranks(better, own)

    def _chunks(self, rows: slice, exclude: Pairs | None = None) -> Iterator[tuple[int, Tensor]]:
        """(first item, scores [rows, <= CHUNK]) of each chunk; one buffer."""
        states = self.states[rows]
        taken = _by_item(exclude, rows) if exclude is not None else None
        buffer = torch.empty(len(states), CHUNK, device=states.device)
        for start in range(0, self.n_items, CHUNK):
            scores = self._chunk(states, start, buffer)
            if taken is not None:
                low, high = torch.searchsorted(
                    taken.items, torch.tensor([start, start + CHUNK]).to(taken.items)
                ).tolist()
                scores[taken.rows[low:high], taken.items[low:high] - start] = -torch.inf
            yield start, scores

    @exact
    def sample(self, k: int, generator: torch.Generator) -> Tensor:
        # First a chunk by its share of the softmax, then an item within it: the one that dense would draw.
        mass = [torch.stack([s.logsumexp(1) for _, s in self._chunks(rows)], 1) for rows in _slices(self.n_rows, ROWS)]
        by_chunk = torch.cat(mass)
        refuse_nan(by_chunk.amax(1))
        chunk, rest = drawn(by_chunk.double().softmax(1), uniform(by_chunk, k, generator))
        items = torch.empty_like(chunk)
        for number in chunk.unique().tolist():
            row, draw = (chunk == number).nonzero(as_tuple=True)
            start = number * CHUNK
            scores = self._chunk(self.states[row], start)
            items[row, draw] = start + drawn(scores.double().softmax(1), rest[row, draw, None]).which[:, 0]
        return items

    def _chunk(self, states: Tensor, start: int, buffer: Tensor | None = None) -> Tensor:
        """Scores of the items from ``start`` on, [rows, <= CHUNK].

        A short last chunk is the end of a full one, and a small catalogue is evened: a narrow product may round
        otherwise, and part twins.
        """
        first = max(0, min(start, self.n_items - CHUNK))
        weight, bias = self.weight[first : first + CHUNK], _part(self.bias, first)
        if self.n_items < CHUNK:
            weight, bias = evened(weight, bias)
        return _product(states, weight, bias, buffer)[:, start - first : self.n_items - first]


class _Kept(NamedTuple):
    """What the backward pass of one row block needs beside its states."""

    exponentials: list[Tensor] | None
    """A [rows, chunk] tensor a chunk, or None to multiply again."""
    shift: Tensor
    """[rows] what was subtracted from the scores before they were exponentiated."""


class _LogSumExp(torch.autograd.Function):
    """logsumexp over all items, minus the score of one item where items are given: [n].

    Maxima [n, blocks], if given, are written: of the scores as they are summed, times LOG2E.
    """

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        bias: Tensor,
        items: Tensor | None,
        dtype: torch.dtype,
        maxima: Tensor | None,
    ) -> Tensor:
        ctx.dtype = dtype
        some_bias = bias if len(bias) else None
        sharp_bias = None if some_bias is None else some_bias * LOG2E
        grad = any(ctx.needs_input_grad)
        size = len(states) * len(weight) * dtype.itemsize
        kept = any(ctx.needs_input_grad[1:3])  # states alone need the mean rows only
        ctx.scratch = borrowed(size, states.device) if kept and 0 < size <= SCRATCH else None
        total = torch.empty(len(states), device=states.device)
        mean = torch.empty(states.shape, device=states.device) if grad else None
        ctx.kept = []
        own = torch.zeros_like(total)
        for rows in _slices(len(states), ROWS):
            sharp = (states[rows] * LOG2E).to(dtype)
            room = None if ctx.scratch is None else _room(ctx.scratch.view(dtype), rows, len(weight))
            largest = None if maxima is None else maxima[rows]
            total[rows], expected, kept = _forward_of_rows(sharp, weight, sharp_bias, room, grad, largest)
            ctx.kept.append(kept)
            if mean is not None:
                mean[rows] = expected
            if items is not None:
                row = weight.index_select(0, items[rows]).to(dtype).float()
                own[rows] = _scores_of_pairs(sharp, row, None if sharp_bias is None else sharp_bias[items[rows]])
                if mean is not None:
                    mean[rows] -= row
        ctx.save_for_backward(states, weight, bias, items, total, mean)
        # The item is in the sum, so only rounding leaves less than nothing.
        return total / LOG2E if items is None else ((total - own) / LOG2E).clamp_(min=0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        states, weight, bias, items, total, mean = ctx.saved_tensors
        (grad,) = grads
        grad_states = (mean * grad[:, None]).to(states.dtype) if ctx.needs_input_grad[0] else None
        if not any(ctx.needs_input_grad[1:3]):
            return grad_states, None, None, None, None, None
        grad_weight = torch.zeros_like(weight, dtype=torch.float32)
        grad_bias = torch.zeros_like(bias) if len(bias) else None
        sharp_bias = bias * LOG2E if len(bias) else None
        for rows, kept in zip(_slices(len(states), ROWS), ctx.kept, strict=True):
            block = _Block(states[rows], grad[rows], total[rows], kept, ctx.dtype)
            _backward_of_rows(block, weight, sharp_bias, grad_weight, grad_bias)
        if items is not None:
            pushed = (states * grad[:, None]).to(ctx.dtype).float()
            grad_weight.index_add_(0, items, pushed, alpha=-1)
            if grad_bias is not None:
                grad_bias.index_add_(0, items, grad, alpha=-1)
        if ctx.scratch is not None:
            give_back(ctx.scratch)
            # A second backward pass multiplies again.
            ctx.kept, ctx.scratch = [_Kept(None, kept.shift) for kept in ctx.kept], None
        grad_bias = torch.zeros_like(bias) if grad_bias is None else grad_bias
        return grad_states, grad_weight, grad_bias, None, None, None


_SCRATCH: list[Tensor] = []
"""Scratch memory that no log-sum-exp holds at present. To touch so much of it afresh at every step would take long, and
given back in pieces of another size each time it leaves the heap full of holes. (CUDA's allocator does the same.)"""


def borrowed(size: int, device: torch.device) -> Tensor:
    """At least ``size`` bytes; what is never written takes no memory."""
    free = _SCRATCH.pop() if _SCRATCH and device.type == "cpu" else None
    if free is not None and len(free) >= size:
        return free
    return torch.empty(SCRATCH if device.type == "cpu" else size, dtype=torch.uint8, device=device)


def give_back(scratch: Tensor) -> None:
    """The next one who borrows takes it."""
    if scratch.device.type == "cpu":
        _SCRATCH.append(scratch)


def _room(scratch: Tensor, rows: slice, n_items: int) -> list[Tensor]:
    """The places in it for the exponentials of a row block: [rows, <= CHUNK] a chunk."""
    count = rows.stop - rows.start
    flat = scratch[rows.start * n_items : rows.stop * n_items]
    return [part.view(count, -1) for part in flat.split(count * CHUNK)]


def _forward_of_rows(
    states: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    room: list[Tensor] | None,
    grad: bool,
    maxima: Tensor | None,
) -> tuple[Tensor, Tensor, _Kept]:
    """log2 of the sum of 2^score [rows], the mean row of ``weight`` weighted so [rows, width], and what backward needs.

    What is subtracted from the scores of a row is its best of the first chunk: one sweep, and no running maximum.
    Where another chunk's scores are so much higher that the sum grows too large, the best of all chunks is found and
    the sweep repeated.

    Args:
        room: where to keep the exponentials, if anywhere.
        maxima: [rows, blocks] where to write the largest score of each block of items, if anywhere.
    """
    buffer = torch.empty(len(states), CHUNK, device=states.device)
    starts = range(0, len(weight), CHUNK)

    def best(start: int) -> Tensor:
        return _product(states, weight[start : start + CHUNK], _part(bias, start), buffer).amax(1)

    def sweep(shift: Tensor) -> tuple[Tensor, Tensor]:
        total, expected = torch.zeros_like(shift), torch.zeros(states.shape, device=states.device)
        for number, start in enumerate(starts):
            chunk = weight[start : start + CHUNK].to(states.dtype)
            scores = _product(states, chunk, _part(bias, start), buffer)
            if maxima is not None:
                of_chunk = _maxima(scores)
                maxima[:, start // BLOCK : start // BLOCK + of_chunk.shape[1]] = of_chunk
            scores.sub_(shift[:, None])
            if room is not None and states.dtype == torch.float32:
                exponential = torch.exp2(scores, out=room[number])
            else:
                exponential = scores.exp2_()
            total += exponential.sum(1)
            if not grad:
                continue
            if states.dtype == torch.float32:
                expected.addmm_(exponential, chunk)
            else:
                low = exponential.to(states.dtype) if room is None else room[number].copy_(exponential)
                expected += low @ chunk
        return total, expected

    # Finite where no item is a candidate: -inf less -inf would be NaN.
    lowest = torch.finfo(torch.float32).min
    shift = best(0).clamp(min=lowest)
    total, expected = sweep(shift)
    if not bool((total < LARGE).all()):
        shift = torch.stack([best(start) for start in starts]).amax(0).clamp(min=lowest)
        total, expected = sweep(shift)
    return shift + total.log2(), expected / total[:, None], _Kept(room, shift)


class _Block(NamedTuple):
    states: Tensor
    grad: Tensor
    total: Tensor
    kept: _Kept
    dtype: torch.dtype


def _backward_of_rows(
    block: _Block, weight: Tensor, sharp_bias: Tensor | None, grad_weight: Tensor, grad_bias: Tensor | None
) -> None:
    """Add softmax.T @ (grad * states) of one row block to the gradients of weight and bias, in place."""
    sharp = (block.states * LOG2E).to(block.dtype)
    kept = block.kept.exponentials
    # What was kept is the softmax but for the row's own factor.
    factor = block.grad if kept is None else block.grad * torch.exp2(block.kept.shift - block.total)
    weighted = (block.states * factor[:, None]).to(block.dtype)
    buffer = torch.empty(len(sharp), CHUNK, device=sharp.device)
    for number, start in enumerate(range(0, len(weight), CHUNK)):
        if kept is not None:
            softmax = kept[number]
        else:
            chunk = weight[start : start + CHUNK].to(block.dtype)
            scores = _product(sharp, chunk, _part(sharp_bias, start), buffer)
            softmax = scores.sub_(block.total[:, None]).exp2_().to(block.dtype)
        part = grad_weight[start : start + CHUNK]
        if block.dtype == torch.float32:
            part.addmm_(softmax.T, weighted)
        else:
            part += (softmax.T @ weighted).float()
        if grad_bias is not None:
            grad_bias[start : start + CHUNK] += factor.to(softmax.dtype) @ softmax


def _product(states: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor | None = None) -> Tensor:
    """states @ weight.T + bias in fp32, [rows, items], into the front columns of ``out`` where that is given."""
    if states.dtype != torch.float32:
        scores = (states @ weight.to(states.dtype).T).float()
        return scores if bias is None else scores + bias
    if out is not None:
        # A narrower view of the buffer would not be contiguous, and then the product is slower.
        out = out.view(-1)[: len(states) * len(weight)].view(len(states), len(weight))
    return torch.mm(states, weight.T, out=out) if bias is None else torch.addmm(bias, states, weight.T, out=out)


def _scores_of_pairs(states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """[n] score of row i of ``weight`` for state i as ``_product`` rounds it, but for the order of summation."""
    scores = (states.float() * weight).sum(1).to(states.dtype).float()
    return scores if bias is None else scores + bias


def _maxima(scores: Tensor) -> Tensor:
    """[rows, items of a chunk] -> [rows, blocks] the largest of each BLOCK items."""
    short = -scores.shape[1] % BLOCK
    padded = torch.nn.functional.pad(scores, (0, short), value=-torch.inf) if short else scores
    return padded.unflatten(1, (-1, BLOCK)).amax(2)


def _part(bias: Tensor | None, start: int) -> Tensor | None:
    return None if bias is None else bias[start : start + CHUNK]


def _by_item(pairs: Pairs, rows: slice) -> Pairs:
    """The pairs of a row block, ascending by item, with rows counted from the block's first."""
    inside = (pairs.rows >= rows.start) & (pairs.rows < rows.stop)
    items, order = pairs.items[inside].sort()
    return Pairs((pairs.rows[inside] - rows.start)[order], items)


def _slices(total: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, total)) for start in range(0, max(total, 1), step)]
