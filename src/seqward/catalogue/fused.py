"""The native engine for processors: no score is ever written to memory, and few are written to cache.

Sums over all items and their gradients come from the kernels of ``native/``; what they do not answer, the chunked
engine does: named scores, top-k and samples, and everything where the kernels do not take what comes (another
device, a width that is no multiple of 16, no library), which is said once.
"""

from __future__ import annotations

from ctypes import pointer
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from seqward.catalogue import chunked, native
from seqward.catalogue.chunked import LOG2E, ChunkedScores
from seqward.catalogue.linear import Linear
from seqward.catalogue.native import BestQuestion, RankQuestion, ScoresQuestion, SpreadQuestion, SumQuestion, Variant
from seqward.catalogue.order import excluded, margins, ranks, settled, without
from seqward.catalogue.scores import Best, Pairs, exact

WIDTH = 16
"""The kernels take widths that are multiples of this."""
HOTTEST = 64.0
"""A sum multiplies states over the temperature. Beyond this one, small ones may become 0 and the best item another."""


def refusal(states: Tensor, weight: Tensor, bias: Tensor | None) -> str | None:
    """Why the kernels do not answer for these scores, in words; None where they do."""
    parts = [states, weight] if bias is None else [states, weight, bias]
    if native.variant_for(torch.float32) is None and native.variant_for(torch.bfloat16) is None:
        return native.why_none_runs()
    if any(part.device.type != "cpu" for part in parts):
        return f"the native kernels run on the processor, and these tensors are on {weight.device}"
    if weight.shape[1] % WIDTH:
        return f"the native kernels take widths that are multiples of {WIDTH}, not {weight.shape[1]}"
    return None


class FusedScores(Linear):
    """Scores ``states @ weight.T + bias``, asked of the native kernels."""

    def __init__(self, states: Tensor, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__(states, weight, bias)
        self.portable = ChunkedScores(self.states, self.weight, self.bias)
        self.refusal = refusal(self.states, self.weight, self.bias)
        if self.refusal is not None:
            native.warn_once(f"catalogue: {self.refusal}. The chunked engine answers instead.")

    def at(self, items: Tensor) -> Tensor:
        return self.portable.at(items)

    def logsumexp(self, temperature: float = 1.0) -> Tensor:
        return self._sum(None, temperature)

    def nll(self, items: Tensor, temperature: float = 1.0) -> Tensor:
        return self._sum(items, temperature)

    def nll_and_max(self, items: Tensor, temperature: float = 1.0) -> tuple[Tensor, Best]:
        variant = self._sums()
        if variant is None:
            return self.portable.nll_and_max(items, temperature)
        if temperature > HOTTEST:
            return super().nll_and_max(items, temperature)
        search = self._search(variant)
        nll = self._sum(items, temperature, search)
        return nll, self.valued(search.items)

    def _sum(self, items: Tensor | None, temperature: float, search: _Search | None = None) -> Tensor:
        variant = self._sums()
        if variant is None:
            portable = self.portable
            return portable.logsumexp(temperature) if items is None else portable.nll(items, temperature)
        parts = [self.states, self.weight, self.weight.new_zeros(0) if self.bias is None else self.bias]
        if not torch.is_grad_enabled():
            parts = [part.detach() for part in parts]  # or room would be made for a backward pass
        return _LogSumExp.apply(*parts, items, temperature, variant, search)

    def _sums(self) -> Variant | None:
        """The variant that sums in the precision of autocast."""
        low = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
        variant = native.variant_for(torch.bfloat16 if low else torch.float32)
        return None if self.refusal is not None or not self.n_rows else variant

    @exact
    def max(self) -> Best:
        variant = self._orders()
        if variant is None:
            return super().max()
        search = self._search(variant)
        native.ask("best", variant, search.question, self.n_rows, variant.panel, self.n_rows * self.weight.numel())
        return self.valued(search.items)

    @exact
    def _search(self, variant: Variant) -> _Search:
        parts = self.parts
        margin = margins(*parts, variant.unit)
        return _Search(parts, margin, torch.full_like(margin, -torch.inf), torch.full((self.n_rows,), -1))

    def topk(self, k: int, exclude: Pairs | None = None) -> Best:
        return self.portable.topk(k, exclude)

    @exact
    def rank_of(self, items: Tensor, exclude: Pairs | None = None) -> Tensor:
        variant = self._orders()
        if variant is None:
            return self.portable.rank_of(items, exclude)
        states, weight, bias = parts = self.parts
        margin = margins(states, weight, bias)
        own = settled(*parts, torch.arange(self.n_rows), items)
        items = items.long().contiguous()
        own = own.masked_fill(excluded(items, exclude, self.n_items), -torch.inf)
        better = torch.zeros_like(items)
        question = RankQuestion(_scores(states, weight, bias, 1.0), *map(native.address, (items, own, margin, better)))
        native.ask("rank", variant, question, self.n_rows, variant.panel, states.shape[0] * weight.numel())
        if exclude is not None:
            better = without(better, own, items, exclude, parts)
        return ranks(better, own)

    def _orders(self) -> Variant | None:
        """The variant that counts and compares: products in bfloat16 serve too, since what is close is settled."""
        variant = native.variant_for(torch.bfloat16)
        return None if self.refusal is not None or not self.n_rows else variant

    def sample(self, k: int, generator: torch.Generator) -> Tensor:
        return self.portable.sample(k, generator)


class _Search(NamedTuple):
    """A question for the best item of each row, and what it reads and writes."""

    parts: tuple[Tensor, Tensor, Tensor | None]
    margin: Tensor
    values: Tensor
    """[n] settled scores, -inf before it is answered."""
    items: Tensor
    """[n]; -1 before it is answered."""

    @property
    def question(self) -> BestQuestion:
        return BestQuestion(_scores(*self.parts, 1.0), *map(native.address, (self.margin, self.values, self.items)))


class _Kept(NamedTuple):
    """Exponentials of a forward pass, for its backward pass."""

    exponentials: Tensor
    shift: Tensor
    """What was subtracted from each row's scores, block by block of items."""


class _LogSumExp(torch.autograd.Function):
    """``t * logsumexp(x / t)`` over all items, minus x of one item where items are given: [n].

    A search is answered on the way.
    """

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        bias: Tensor,
        items: Tensor | None,
        temperature: float,
        variant: Variant,
        search: _Search | None,
    ) -> Tensor:
        # The kernels add powers of 2 and read rows without gaps.
        scale = LOG2E / temperature
        states, weight, bias = states.contiguous(), weight.contiguous(), bias.contiguous()
        n, width = states.shape
        total = states.new_empty(n)
        mean = torch.empty_like(states) if ctx.needs_input_grad[0] else None
        kept = _room(variant, n, len(weight)) if any(ctx.needs_input_grad[1:3]) else None
        question = _question(states, weight, bias, scale, total, mean, kept)
        if search is not None:
            question.best = pointer(search.question)
        native.ask("sum", variant, question, n, variant.panel, 2 * n * len(weight) * width)
        value = total / scale
        if items is not None:
            row = weight.index_select(0, items)
            rounded = row.to(variant.dtype).float()
            own = ((states * scale).to(variant.dtype).float() * rounded).sum(1)
            own = own if not len(bias) else own + bias.index_select(0, items) * scale
            # The item is in the sum, so only rounding leaves less than nothing.
            value = ((total - own) / scale).clamp_(min=0)
            if mean is not None:
                # As if the item's own row had not been rounded in the mean: else most of the error would be its.
                share = torch.exp2(own - total)
                mean += share[:, None] * (row - rounded) - row
        ctx.save_for_backward(states, weight, bias, items, total, mean)
        ctx.scale, ctx.variant, ctx.kept = scale, variant, kept
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        states, weight, bias, items, total, mean = ctx.saved_tensors
        grad = grads[0].contiguous()
        grad_states = None if mean is None else mean * grad[:, None]
        if not any(ctx.needs_input_grad[1:3]):
            return grad_states, None, None, None, None, None, None
        variant, kept = ctx.variant, ctx.kept
        grad_weight, grad_bias = torch.zeros_like(weight), torch.zeros_like(bias)
        spread = SpreadQuestion(
            _question(states, weight, bias, ctx.scale, total, None, kept),
            native.address(grad),
            native.address(grad_weight),
            native.address(grad_bias) if len(bias) else None,
        )
        work = len(states) * weight.numel()
        native.ask("spread", variant, spread, -(-len(weight) // variant.block), 1, work)
        if items is not None:
            grad_weight.index_add_(0, items, states * grad[:, None], alpha=-1)
            if len(bias):
                grad_bias.index_add_(0, items, grad, alpha=-1)
        if kept is not None:
            chunked.give_back(kept.exponentials)
            ctx.kept = None  # a second backward pass would multiply again
        return grad_states, grad_weight, grad_bias, None, None, None, None


def _room(variant: Variant, n_rows: int, n_items: int) -> _Kept | None:
    """Where to keep the exponentials, if they fit the budget; else they are computed again."""
    blocks, rows = -(-n_items // variant.block), -(-n_rows // variant.lanes) * variant.lanes
    size = blocks * variant.block * rows * variant.bytes
    if size > chunked.SCRATCH:
        return None
    return _Kept(chunked.borrowed(size, torch.device("cpu")), torch.empty(blocks, rows))


def _question(
    states: Tensor, weight: Tensor, bias: Tensor, scale: float, total: Tensor, mean: Tensor | None, kept: _Kept | None
) -> SumQuestion:
    """The addresses of contiguous tensors, which the caller keeps alive."""
    address = native.address
    scores = _scores(states, weight, bias if len(bias) else None, scale)
    places = (None, None) if kept is None else (address(kept.shift), address(kept.exponentials))
    return SumQuestion(scores, address(total), address(mean), *places)


def _scores(states: Tensor, weight: Tensor, bias: Tensor | None, scale: float) -> ScoresQuestion:
    addresses = map(native.address, (states, weight, bias))
    return ScoresQuestion(*addresses, len(states), len(weight), states.shape[1], scale)
