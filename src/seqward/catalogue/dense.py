"""The engine that writes the matrix: right for small catalogues, and the oracle that the other engines are held to."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from seqward.catalogue.linear import Linear
from seqward.catalogue.order import beats, bounds, margins, near_the_best, none_of, ranks, settled, write_best
from seqward.catalogue.scores import Best, Pairs, evened, exact, refuse_nan, summed_in

NO_ITEM = torch.iinfo(torch.int64).min


class DenseScores(Linear):
    """Scores ``states @ weight.T + bias`` as one [n, items] matrix, made at the first question.

    (One more for each sum under autocast.)
    """

    def __init__(self, states: Tensor, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__(states, weight, bias)
        self.grad = torch.is_grad_enabled()

    @cached_property
    def matrix(self) -> Tensor:
        """[n, items], in the gradient mode of its birth: the first question may stand under ``no_grad``."""
        with torch.set_grad_enabled(self.grad), torch.autocast(self.states.device.type, enabled=False):
            weight, bias = evened(self.weight, self.bias)
            return torch.nn.functional.linear(self.states, weight, bias)[:, : self.n_items]

    def _summed(self) -> Tensor:
        """[n, items] the scores in the precision of sums."""
        if summed_in(self.states.device) == torch.float32:
            return self.matrix
        with torch.set_grad_enabled(self.grad):
            products = torch.nn.functional.linear(self.states, self.weight).float()
            return products if self.bias is None else products + self.bias

    def at(self, items: Tensor) -> Tensor:
        return self.matrix.gather(1, items.reshape(len(items), items.shape[1] if items.dim() > 1 else 1)).view(
            items.shape
        )

    def logsumexp(self, temperature: float = 1.0) -> Tensor:
        return temperature * torch.logsumexp(self._summed() / temperature, dim=1)

    def nll(self, items: Tensor, temperature: float = 1.0) -> Tensor:
        scores = self._summed() / temperature
        # torch's own number for "no class here" would be an item without a loss.
        return temperature * cross_entropy(scores, items.long(), reduction="none", ignore_index=NO_ITEM)

    @exact
    def topk(self, k: int, exclude: Pairs | None = None) -> Best:
        scores, parts = self._candidates(exclude), (self.states, self.weight, self.bias)
        margin, best = margins(*parts), none_of(self.states, k)
        if not k:
            return best
        rounded = margin > 0
        write_best(best, parts, *(near_the_best(scores, k, margin) & rounded[:, None]).nonzero(as_tuple=True))
        if bool(rounded.all()):
            return best
        # Without a margin the product is what it is settled to be.
        plain = topk_of_matrix(scores, k)
        return Best(*(torch.where(rounded[:, None], *both) for both in zip(best, plain, strict=True)))

    def rank_of(self, items: Tensor, exclude: Pairs | None = None) -> Tensor:
        scores = self._candidates(exclude)
        with torch.no_grad():
            parts = (self.states, self.weight, self.bias)
            margin = margins(*parts)
            own = scores.gather(1, items[:, None])[:, 0]
            every = torch.arange(self.n_rows, device=items.device)
            # Without a margin the product is what it is settled to be.
            own = torch.where((own == -torch.inf) | (margin == 0), own, settled(*parts, every, items))
            low, high = bounds(own, margin)
            sure = scores > high[:, None]
            row, item = ((scores > low[:, None]) & ~sure).nonzero(as_tuple=True)
            near = torch.where(margin[row] == 0, scores[row, item], settled(*parts, row, item))
            before = beats(near, item, own[row], items[row])
            return ranks(sure.sum(1).index_add(0, row, before.long()), own)

    @torch.no_grad()
    def sample(self, k: int, generator: torch.Generator) -> Tensor:
        refuse_nan(self.matrix.amax(1))
        return drawn(self.matrix.double().softmax(1), uniform(self.matrix, k, generator)).which

    def _candidates(self, exclude: Pairs | None) -> Tensor:
        scores = self.matrix.detach()
        refuse_nan(scores.amax(1))
        return (
            scores
            if exclude is None
            else scores.index_put((exclude.rows, exclude.items), scores.new_tensor(-torch.inf))
        )


class Drawn(NamedTuple):
    which: Tensor
    """[n, k] the number of the weight drawn."""
    rest: Tensor
    """[n, k] how far into it the uniform number reached, in [0, 1): another uniform number."""


def uniform(like: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """[n, k] the uniform numbers that every engine's ``sample`` begins with."""
    return torch.rand(len(like), k, generator=generator, device=like.device, dtype=torch.float64)


def drawn(weights: Tensor, numbers: Tensor) -> Drawn:
    """Draw by the inverse of the cumulative weights: what is drawn follows from the numbers alone.

    Args:
        weights: [n, m] in double precision, not negative, their sum positive.
        numbers: [n, k] in [0, 1).
    """
    edges = torch.nn.functional.pad(weights.cumsum(1), (1, 0))
    # Below the total, so that what weighs nothing is not drawn where rounding lifts a number to it.
    total = edges[:, -1:]
    reach = torch.minimum(numbers * total, torch.nextafter(total, torch.zeros_like(total)))
    which = torch.searchsorted(edges, reach, right=True) - 1
    return Drawn(which, (reach - edges.gather(1, which)) / weights.gather(1, which))


def topk_of_matrix(scores: Tensor, k: int) -> Best:
    """The k best of each row of [n, m] scores, the lowest item number among equals.

    ``torch.topk`` breaks ties as it likes, and a stable sort is 20 times slower: so take k, and where the k-th
    value stands more than once, choose again among the equals.
    """
    m = scores.shape[1]
    taken = min(k, m)
    values, numbers = scores.topk(taken, dim=1)
    border = values[:, -1:]
    torn = (scores >= border).sum(1) > taken
    if bool(torn.any()):
        rows = torn.nonzero()[:, 0]
        ordered = scores[rows].sort(dim=1, descending=True, stable=True)
        values[rows], numbers[rows] = ordered.values[:, :taken], ordered.indices[:, :taken]
    by_number = numbers.argsort(1)
    order = by_number.gather(1, values.gather(1, by_number).argsort(dim=1, descending=True, stable=True))
    values, numbers = values.gather(1, order), numbers.gather(1, order)
    numbers = numbers.masked_fill(values == -torch.inf, -1)
    missing = k - taken
    if missing:
        values = torch.nn.functional.pad(values, (0, missing), value=-torch.inf)
        numbers = torch.nn.functional.pad(numbers, (0, missing), value=-1)
    return Best(values, numbers)
