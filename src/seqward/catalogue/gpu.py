"""The engine for GPUs: small Triton kernels (``gpu_kernels.py``) that never write a score to memory.

Sums over all items and their gradients, ranks and best items come from the kernels; named scores and samples, and
everything where the kernels do not take what comes (no Triton, a wide head), from the chunked engine,
which is said once. Triton comes with torch's CUDA builds; Seqward does not ask for it, and imports it only here.

Sums multiply in bfloat16 under autocast and in fp32 else. Orders multiply in fp32, and what that leaves open is settled
as every engine settles it, so ranks and best items are the same as anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from seqward.catalogue.chunked import LOG2E, ChunkedScores
from seqward.catalogue.linear import Linear
from seqward.catalogue.native import warn_once
from seqward.catalogue.order import beats, bounds, excluded, margins, none_of, ranks, settled, without, write_best
from seqward.catalogue.scores import Best, Pairs, exact

WIDEST = 256
"""States of a wider head do not fit a program's registers."""
PROGRAMS = 512
"""Programs that fill a large GPU: where there are fewer blocks of rows, the catalogue is cut into parts."""
TILES = 8
"""Tiles of items in a part, at the least."""
SLICE = 1024
"""Rows that ``topk`` answers at a time."""
ROOM = 1 << 20
"""Pairs of row and item that are settled at a time."""
COUNTED = 2**31 - 1
"""Pairs that a kernel compares at a time: what it counts them with holds no more."""


class Tile(NamedTuple):
    """Of a product."""

    rows: int
    items: int
    warps: int


ORDERS = Tile(32, 64, 8)
"""Of products whose scores are compared, in fp32; ``topk`` keeps one maximum for its items."""


def tile_of(dtype: torch.dtype, width: int) -> Tile:
    """Of a sum: as much as fits the registers, by what the compiler says of an H100 and an A100."""
    if dtype == torch.float32:
        return Tile(32, 32, 8) if width <= 128 else Tile(16, 32, 8)
    return Tile(128 if width <= 128 else 64, 64, 4 if width <= 64 else 8)


def refusal(states: Tensor, weight: Tensor, bias: Tensor | None) -> str | None:
    """Why the kernels do not answer for these scores, in words; None where they do."""
    parts = [states, weight] if bias is None else [states, weight, bias]
    if len({part.device for part in parts}) > 1:
        return f"states are on {states.device} and rows on {weight.device}"
    if weight.shape[1] > WIDEST:
        return f"the GPU's kernels take widths up to {WIDEST}, not {weight.shape[1]}"
    return fault(weight.device)


@cache
def fault(device: torch.device) -> str | None:
    """Why the kernels do not run there, in words: they are compiled and tried on a sum that is known."""
    if find_spec("triton") is None:
        return "Triton is not installed (torch's CUDA builds bring it along)"
    try:
        for dtype in (torch.float32, torch.bfloat16):
            _try(device, dtype)
    except Exception as error:  # whatever a compiler, a driver or a version that does not fit may raise
        why = (str(error).splitlines() or [""])[0]
        return f"the GPU's kernels do not work here ({type(error).__name__}: {why})"
    return None


def _try(device: torch.device, dtype: torch.dtype) -> None:
    """Three items with a score of 16 sum to 3 * 2^16, of 16 ones each."""
    ones = torch.ones(3, 16, device=device, dtype=dtype)
    total, mean = _sums(ones[:1], ones, None, True)
    assert mean is not None
    right = torch.tensor([17.5849625, *[1.0] * 16])
    if not torch.allclose(torch.cat([total, mean[0]]).cpu(), right, rtol=1e-5):
        raise ValueError(f"wrong sums in {dtype}")


class GpuScores(Linear):
    """Scores ``states @ weight.T + bias``, asked of the Triton kernels."""

    def __init__(self, states: Tensor, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__(states, weight, bias)
        self.portable = ChunkedScores(self.states, self.weight, self.bias)
        self.refusal = refusal(self.states, self.weight, self.bias)
        if self.refusal is not None:
            warn_once(f"catalogue: {self.refusal}. The chunked engine answers instead.")

    @property
    def kernels_answer(self) -> bool:
        return self.refusal is None and self.n_rows > 0

    def at(self, items: Tensor) -> Tensor:
        return self.portable.at(items)

    def logsumexp(self, temperature: float = 1.0) -> Tensor:
        return self._sum(None, temperature) if self.kernels_answer else self.portable.logsumexp(temperature)

    def nll(self, items: Tensor, temperature: float = 1.0) -> Tensor:
        return self._sum(items, temperature) if self.kernels_answer else self.portable.nll(items, temperature)

    def _sum(self, items: Tensor | None, temperature: float) -> Tensor:
        device = self.states.device.type
        low = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16
        dtype = torch.bfloat16 if low else torch.float32
        parts = [self.states, self.weight, self.weight.new_zeros(0) if self.bias is None else self.bias]
        if not torch.is_grad_enabled():
            parts = [part.detach() for part in parts]  # or the mean rows would be made for a backward pass
        return _LogSumExp.apply(*parts, items, temperature, dtype)

    @exact
    def topk(self, k: int, exclude: Pairs | None = None) -> Best:
        if not self.kernels_answer:
            return self.portable.topk(k, exclude)
        if not k:
            return none_of(self.states, k)
        margin, keys = margins(*self.parts), None
        gone = torch.zeros_like(margin, dtype=torch.int64)
        if exclude is not None:
            keys = (exclude.rows * self.n_items + exclude.items).unique()
            gone += torch.bincount(keys // self.n_items, minlength=self.n_rows)
        best = none_of(self.states, k)
        for start in range(0, self.n_rows, SLICE):
            rows = slice(start, min(start + SLICE, self.n_rows))
            maxima = self._maxima(rows)
            # The k best candidates lie in blocks whose maxima are among the first k and one for each excluded item.
            count = min(k + int(gone[rows].amax()), maxima.shape[1])
            border = maxima.topk(count, dim=1).values[:, -1]
            # A product may be off by its margin, that of the block and that of the border.
            wanted = (maxima >= (border - 2.1 * margin[rows])[:, None]) & (maxima > -torch.inf)
            for part in _within(wanted.sum(1) * ORDERS.items):
                row, block = wanted[part].nonzero(as_tuple=True)
                self._rank_blocks(row + start + part.start, block, keys, best)
        return best

    def _rank_blocks(self, row: Tensor, block: Tensor, keys: Tensor | None, best: Best) -> None:
        """Write into ``best`` the best items of these blocks.

        Args:
            keys: row * items + item of the pairs that are no candidates.
        """
        item = (block[:, None] * ORDERS.items + torch.arange(ORDERS.items, device=block.device)).flatten()
        row = row.repeat_interleave(ORDERS.items)
        keep = item < self.n_items
        if keys is not None:
            keep &= ~torch.isin(row * self.n_items + item, keys)
        row, item = row[keep], item[keep]
        write_best(best, self.parts, row, item)

    @exact
    def rank_of(self, items: Tensor, exclude: Pairs | None = None) -> Tensor:
        if not self.kernels_answer:
            return self.portable.rank_of(items, exclude)
        parts = self.parts
        own = settled(*parts, torch.arange(self.n_rows, device=items.device), items)
        items = items.long()
        own = own.masked_fill(excluded(items, exclude, self.n_items), -torch.inf)
        margin = margins(*parts)
        low, high = bounds(own, margin)
        low = torch.where(margin == 0, high, low)  # as the kernel is told that products are exact
        better = torch.zeros_like(items)
        at_once = max(1, COUNTED // self.n_items)
        waiting = [slice(at, min(at + at_once, self.n_rows)) for at in range(0, self.n_rows, at_once)]
        while waiting:
            rows = waiting.pop()
            sure, row, item = self._compare(rows, items, low, high)
            if row is None or item is None:  # more was open than there is room for, and one row's always is
                middle = (rows.start + rows.stop) // 2
                waiting += [slice(rows.start, middle), slice(middle, rows.stop)]
                continue
            better[rows] = sure
            before = beats(settled(*parts, row, item), item, own[row], items[row])
            better.index_add_(0, row, before.to(better.dtype))
        if exclude is not None:
            better = without(better, own, items, exclude, parts)
        return ranks(better, own)

    def _compare(
        self, rows: slice, target: Tensor, low: Tensor, high: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """How many items beat the target for certain [rows], and the open pairs; None where there are too many."""
        states, weight, bias = self.parts
        grid, each, tile = _layout(rows.stop - rows.start, self.n_items, ORDERS)
        room = max(ROOM, self.n_items)
        sure = target.new_empty((grid[1], rows.stop - rows.start), dtype=torch.int32)
        found = target.new_zeros(1, dtype=torch.int32)
        close = target.new_empty((2, room), dtype=torch.int32)
        bounds_ = (part[rows].contiguous() for part in (target, low, high))
        sizes = (rows.stop - rows.start, self.n_items, each, weight.shape[1], room)
        _kernels().compare[grid](
            states[rows], weight, _or(bias, weight), *bounds_, sure, found, close[0], close[1], *sizes,
            **_constants(tile, weight, bias),
        )  # fmt: skip
        count = int(found)
        if count > room:
            return sure.sum(0), None, None
        row, item = close[:, :count].long()
        return sure.sum(0), row + rows.start, item

    def _maxima(self, rows: slice) -> Tensor:
        """[rows, blocks] the largest score of each block of items, within ``margins`` of the settled one."""
        states, weight, bias = self.parts
        grid, each, tile = _layout(rows.stop - rows.start, self.n_items, ORDERS)
        best = states.new_empty(rows.stop - rows.start, -(-self.n_items // tile.items))
        sizes = (len(best), self.n_items, each, weight.shape[1], best.shape[1])
        _kernels().maxima[grid](states[rows], weight, _or(bias, weight), best, *sizes, **_constants(tile, weight, bias))
        return best

    def sample(self, k: int, generator: torch.Generator) -> Tensor:
        return self.portable.sample(k, generator)


class _LogSumExp(torch.autograd.Function):
    """``t * logsumexp(x / t)`` over all items, minus x of one item where items are given: [n]."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        bias: Tensor,
        items: Tensor | None,
        temperature: float,
        dtype: torch.dtype,
    ) -> Tensor:
        scale = LOG2E / temperature
        sharp, rows = (states * scale).to(dtype).contiguous(), weight.to(dtype).contiguous()
        sharp_bias = (bias * scale).contiguous() if len(bias) else None
        total, mean = _sums(sharp, rows, sharp_bias, any(ctx.needs_input_grad[:3]))
        value = total / scale
        if items is not None:
            row = rows.index_select(0, items).float()
            own = (sharp.float() * row).sum(1)
            own = own if sharp_bias is None else own + sharp_bias[items]
            # The item is in the sum, so only rounding leaves less than nothing.
            value = ((total - own) / scale).clamp_(min=0)
            if mean is not None:
                mean -= row
        ctx.save_for_backward(states, weight, bias, items, total, mean)
        ctx.scale, ctx.dtype = scale, dtype
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        states, weight, bias, items, total, mean = ctx.saved_tensors
        grad, scale, dtype = grads[0].contiguous(), ctx.scale, ctx.dtype
        grad_states = mean * grad[:, None]
        if not any(ctx.needs_input_grad[1:3]):
            return grad_states, None, None, None, None, None
        sharp, rows = (states * scale).to(dtype).contiguous(), weight.to(dtype).contiguous()
        sharp_bias = (bias * scale).contiguous() if len(bias) else None
        weighted = (states * grad[:, None]).to(dtype)
        grad_weight, grad_bias = torch.empty_like(weight, memory_format=torch.contiguous_format), torch.empty_like(bias)
        tile = tile_of(dtype, weight.shape[1])
        _kernels().spread[(-(-len(weight) // tile.items),)](
            sharp, rows, _or(sharp_bias, total), total, weighted.contiguous(), grad, grad_weight,
            _or(None if sharp_bias is None else grad_bias, total), len(states), *weight.shape,
            **_constants(tile, weight, sharp_bias),
        )  # fmt: skip
        if items is not None:
            grad_weight.index_add_(0, items, weighted.float(), alpha=-1)
            if len(bias):
                grad_bias.index_add_(0, items, grad, alpha=-1)
        return grad_states, grad_weight, grad_bias, None, None, None


def _sums(states: Tensor, weight: Tensor, bias: Tensor | None, grad: bool) -> tuple[Tensor, Tensor | None]:
    """log2 of the sum of 2^score [n], and the mean row of ``weight`` weighted so [n, width], where it is wanted."""
    n, width = states.shape
    grid, each, tile = _layout(n, len(weight), tile_of(states.dtype, width))
    largest, total = torch.empty(2, grid[1], n, device=states.device)
    mean = torch.empty(grid[1], n, width, device=states.device) if grad else None
    _kernels().sums[grid](
        states, weight, _or(bias, total), largest, total, _or(mean, total), n, len(weight), each, width,
        MEAN=grad, **_constants(tile, weight, bias),
    )  # fmt: skip
    whole = largest.amax(0)
    share = torch.exp2(largest - whole.clamp(min=torch.finfo(torch.float32).min))
    total = (total * share).sum(0)
    if mean is not None:
        mean = (mean * share[:, :, None]).sum(0) / total[:, None]
    return whole + total.log2(), mean


def _kernels() -> Any:
    """Triton is imported where a GPU asks."""
    from seqward.catalogue import gpu_kernels

    return gpu_kernels


def _layout(n_rows: int, n_items: int, tile: Tile) -> tuple[tuple[int, int], int, Tile]:
    """(blocks of rows, parts of the catalogue), the items of a part, and the tile."""
    blocks, tiles = -(-n_rows // tile.rows), -(-n_items // tile.items)
    parts = max(1, min(PROGRAMS // blocks, tiles // TILES))
    each = -(-tiles // parts) * tile.items
    return (blocks, -(-n_items // each)), each, tile


def _constants(tile: Tile, weight: Tensor, bias: Tensor | None) -> dict[str, Any]:
    """What the kernels are compiled for. A product takes 16 columns or more."""
    wide = max(16, 1 << (weight.shape[1] - 1).bit_length())
    return {
        "WIDTH": wide,
        "ROWS": tile.rows,
        "ITEMS": tile.items,
        "BIAS": bias is not None,
        "num_warps": tile.warps,
        "num_stages": 2,
    }


def _or(part: Tensor | None, other: Tensor) -> Tensor:
    """A kernel is given a tensor also where it reads none."""
    return other if part is None else part


def _within(counts: Tensor) -> Iterator[slice]:
    """Ranges of rows with at most ROOM of what is counted [rows], or of one row."""
    start, held = 0, 0
    for row, count in enumerate(counts.tolist()):
        if held and held + count > ROOM:
            yield slice(start, row)
            start, held = row, 0
        held += count
    yield slice(start, len(counts))
