"""Sums over the catalogue estimated from a few of its items: ``at`` and ``nll``, and none of the questions of order.

A candidate's exp(x) is divided by how often its item was to be expected among the candidates (log-proposal or "logQ"
correction). The logged item is always in its own sum, once, and never as a candidate, so ``nll`` is never negative.
That sum of exponentials is unbiased: over the draws its mean is the sum over the whole catalogue, for every state and
temperature. Its logarithm is not, and neither is the logarithm's gradient, a ratio of two such sums: both are off by
O(1 / k), the value downwards (Jensen). A gradient of the log-sum-exp without bias comes from items drawn by the softmax
itself, ``LinearScores.sample``.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, log, sqrt
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from seqward.catalogue.dense import drawn
from seqward.catalogue.named import products
from seqward.errors import SeqwardError
from seqward.objectives.sampled import sampled_softmax

Proposal = Literal["uniform", "popularity", "in-batch", "mixed", "sce"]
ELEMENTS = 1 << 23
"""Products of directions and items at a time."""
Rows = Callable[[Tensor], tuple[Tensor, Tensor | None]]
"""Items [...] to a head's rows [..., width] and biases [...] for them."""


class Sums(Protocol):
    """What sums over the catalogue, exactly or not."""

    def nll(self, items: Tensor, temperature: float = 1.0) -> Tensor: ...


class Sampling(NamedTuple):
    """How the sums of a training run are estimated."""

    proposal: Proposal
    k: int
    """Items drawn for a batch; of sce, items in a bucket."""
    power: float = 1.0
    """Of popularity."""


class Candidates(NamedTuple):
    """Items that stand for the catalogue, the same ones for every row."""

    items: Tensor
    """[k] int64, repeats allowed."""
    log_expected: Tensor
    """[k] or [n, k] how often each was to be expected among them, as a logarithm."""
    barred: Tensor | None = None
    """[n, k] those that were not drawn for a row."""


class Events(NamedTuple):
    """The rows that candidates are drawn for."""

    items: Tensor
    """[n] the logged item of each."""
    session: Tensor
    """[n] its session."""


def candidates(sampling: Sampling, events: Events, share: Tensor, generator: torch.Generator) -> Candidates:
    """Draw what a batch's sums run over, beside each row's own item.

    Uniform and popular items are drawn one from each of k equal parts of the distribution, so that an item is to be
    expected exactly k q times, at less variance than by independent draws; uniformly, k = n_items is each item once,
    and the sums are exact. In-batch candidates are the logged items of the batch's other sessions, as if drawn by
    their share of the events: a row's own session depends on its state and is barred. With a batch of one session
    there is none, and the loss 0. Mixed (Yang et al., WWW 2020 companion) are those of both in-batch and uniform.

    Args:
        share: [n_items] each item's share of the events that are trained on.

    Raises:
        SeqwardError: items that are never drawn.
    """
    k, n_items, (items, session) = sampling.k, len(share), events
    parts = torch.arange(k, device=share.device) + torch.rand(
        k, generator=generator, device=share.device, dtype=torch.float64
    )
    if sampling.proposal == "popularity":
        refuse_unreached(share if sampling.power else share + 1, sampling)
        weights = (share.double() ** sampling.power)[None]
        chosen = drawn(weights, (parts / k)[None]).which[0]
        return Candidates(chosen, (k * weights[0, chosen] / weights.sum()).log().float())
    chosen = (parts * (n_items / k)).long().clamp(max=n_items - 1)
    if sampling.proposal == "uniform":
        return Candidates(chosen, share.new_tensor(log(k / n_items)).expand(k))
    own = session[:, None] == session
    others = (len(session) - own.sum(1, keepdim=True)).clamp(min=1)
    if sampling.proposal == "in-batch":
        refuse_unreached(share, sampling)
        return Candidates(items, (others * share[items]).log(), own)
    chosen = torch.cat([items, chosen])
    barred = torch.nn.functional.pad(own, (0, k))
    return Candidates(chosen, (others * share[chosen] + k / n_items).log(), barred)


def refuse_unreached(share: Tensor, sampling: Sampling) -> None:
    """Raise where items are never drawn: nothing would push them down, and they would be recommended for that."""
    never = int((share == 0).sum())
    if never:
        raise SeqwardError(
            f"train.softmax={sampling.proposal} never draws {never} of {len(share)} items, since no event that is "
            "trained on holds them, and nothing would push their scores down. Take mixed or uniform."
        )


class SampledScores:
    """Scores of a linear head, of which the sums run over candidates."""

    def __init__(self, states: Tensor, rows: Rows, candidates: Candidates) -> None:
        """Args: states [n, width]."""
        self.states, self.rows, self.candidates = states, rows, candidates

    def at(self, items: Tensor) -> Tensor:
        """Scores of the named items: [n] -> [n], [n, k] -> [n, k]. With gradient."""
        return scores_by_rows(self.states, self.rows, items)

    def nll(self, items: Tensor, temperature: float = 1.0) -> Tensor:
        """``t * log(sum of exp(x / t)) - x[item]``, [n], the sum estimated. Never negative; with gradient."""
        c = self.candidates
        hit = items[:, None] == c.items
        out = hit if c.barred is None else hit | c.barred
        others = torch.nn.functional.linear(self.states, *self.rows(c.items)).float().masked_fill(out, -torch.inf)
        own = self.at(items)
        return temperature * sampled_softmax(own / temperature, others / temperature, c.log_expected)


class Buckets(NamedTuple):
    """Rows and items that lie in the same directions."""

    rows: Tensor
    """[buckets, x]"""
    items: Tensor
    """[buckets, y]"""


@torch.no_grad()
def buckets_of(states: Tensor, weight: Tensor, y: int, generator: torch.Generator) -> Buckets:
    """SCE's buckets: 2 sqrt(n) random mixtures of the states, each with the rows and the items of largest product.

    Args:
        states: [n, width].
        weight: [items, width].
        y: items in a bucket; a bucket holds 2 sqrt(n) rows.
    """
    n = len(states)
    x = min(ceil(2 * sqrt(n)), n)
    mixture = torch.randn(ceil(2 * sqrt(n)), n, generator=generator, device=states.device)
    directions = mixture @ states.float()
    parts = directions.split(max(1, ELEMENTS // len(weight)))
    items = torch.cat([(part @ weight.T).topk(min(y, len(weight))).indices for part in parts])
    return Buckets((directions @ states.float().T).topk(x).indices, items)


class BucketScores:
    """Scores of a linear head, of which the sums run over the items in a row's bucket: the scalable cross-entropy.

    SCE (Mezentsev et al., RecSys 2024; from memory, mixing of states, sizes of buckets and the maximum included). No
    estimate of the sum over all items but a bound from below: the items that weigh most are those in the row's
    direction. A row in several buckets counts in that of its largest loss, and one in none does not count.
    """

    def __init__(self, states: Tensor, rows: Rows, buckets: Buckets) -> None:
        """Args: states [n, width]."""
        self.states, self.rows, self.buckets = states, rows, buckets

    def nll(self, items: Tensor, temperature: float = 1.0) -> Tensor:
        """[n], 0 for rows in no bucket and scaled so that the mean is over the others. Never negative."""
        rows, listed = self.buckets
        weight, bias = self.rows(listed)
        scores = torch.bmm(self.states[rows], weight.transpose(1, 2)).float()
        scores = scores if bias is None else scores + bias[:, None]
        others = scores.masked_fill(listed[:, None] == items[rows][:, :, None], -torch.inf) / temperature
        own = scores_by_rows(self.states, self.rows, items)[rows] / temperature
        losses = temperature * sampled_softmax(own.flatten(), others.flatten(0, 1))
        reached = rows.flatten()
        largest = losses.new_zeros(len(items)).scatter_reduce(0, reached, losses, "amax", include_self=False)
        return largest * (len(items) / len(reached.unique()))


def scores_by_rows(states: Tensor, rows: Rows, items: Tensor) -> Tensor:
    """Scores of the named items, [n] or [n, k], in fp32, from their rows alone."""
    weight, bias = rows(items)
    scores = products(states, weight)
    return scores if bias is None else scores + bias
