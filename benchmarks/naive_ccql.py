"""The step of SASRec-CCQL as it is usually written: the oracle that the package's step is held against.

A replay buffer of windows: each transition has a state, the last L items before it, and a next state, each encoded on
its own. Every head's scores are written out for the whole catalogue. It is fair: items are gathered and not one-hot,
targets carry no gradient, nothing is computed that no loss needs. It shares the package's network and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear, normalize

from seqward.backbones.backbone import Histories
from seqward.data.batches import Batch
from seqward.methods.ccql import CCQLSettings
from seqward.model import Model


class Transitions(NamedTuple):
    """n transitions of B whole sessions."""

    state: Tensor
    """[n, L] the items before, padded on the right."""
    next_state: Tensor
    """[n, L] with the item itself."""
    item: Tensor
    """[n]"""
    reward: Tensor
    """[n]"""
    live: Tensor
    """[n] 1, and 0 at the end of a session."""
    last: Tensor
    """[B] the last transition of each session."""


class Losses(NamedTuple):
    """Means over the transitions, or over the views."""

    cross_entropy: Tensor
    """Weighted by Q in phase 2."""
    q: Tensor
    contrast: Tensor
    conservative: Tensor


@dataclass(frozen=True)
class NaiveCCQL:
    """The four losses of Eq. 4 for one batch."""

    online: Model
    target: Model
    settings: CCQLSettings
    phase: int = 1

    def losses(self, t: Transitions, negatives: Tensor, view: Tensor) -> Losses:
        """Args: negatives [n, k] items; view [B, L] the augmented windows of the sessions' last next states."""
        s, rows = self.settings, torch.arange(len(t.item))
        now = encode(self.online, t.state)
        q, logits = scores(self.online, "q", now), scores(self.online, "policy", now)
        after = encode(self.online, t.next_state)
        with torch.no_grad():
            greedy = scores(self.online, "q", after).argmax(1)
            q_next = scores(self.target, "q", encode(self.target, t.next_state))[rows, greedy]
        q_logged = q[rows, t.item]
        nll = cross_entropy(logits, t.item, reduction="none")
        error = t.reward + s.gamma * t.live * q_next - q_logged
        sampled = torch.cat([q_logged[:, None], q.gather(1, negatives)], dim=1)
        over = q if s.conservative == "catalogue" else sampled
        gap = s.temperature * torch.logsumexp(over / s.temperature, dim=1) - q_logged
        return Losses(
            cross_entropy=(nll if self.phase == 1 else q_logged.detach() * nll).mean(),
            q=(0.5 * error**2).mean(),
            contrast=contrast(after[t.last], encode(self.online, view), s.contrast_temperature),
            conservative=gap.mean(),
        )

    def total(self, losses: Losses) -> Tensor:
        """Eq. 4."""
        s = self.settings
        weights = (1.0, s.omega, s.contrast_weight, s.alpha)
        return torch.stack([weight * loss for weight, loss in zip(weights, losses, strict=True)]).sum()


def encode(model: Model, windows: Tensor) -> Tensor:
    """[n, L] windows -> [n, width], the state after the last item of each."""
    length = (windows != model.vocabulary.pad).sum(1)
    return model.states(Histories(windows))[torch.arange(len(windows)), length]


def scores(model: Model, head: str, states: Tensor) -> Tensor:
    """[n, items]"""
    return linear(states, *model.heads[head](model.backbone))


def contrast(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """InfoNCE of the pairs (first[b], second[b]) among all views but the anchor itself, by cosine similarity."""
    views = normalize(torch.cat([first, second]), dim=1)
    similarity = (views @ views.T / temperature).fill_diagonal_(-torch.inf)
    size = len(first)
    return cross_entropy(similarity, torch.cat([torch.arange(size, 2 * size), torch.arange(size)]))


def transitions_of(batch: Batch, context: int) -> Transitions:
    """All transitions of a batch of whole sessions, as a replay buffer holds them.

    Args:
        batch: pieces that are whole sessions.
        context: L.
    """
    ends = torch.bincount(batch.piece).cumsum(0)
    return Transitions(
        state=_windows(batch, batch.row, context),
        next_state=_windows(batch, batch.row + 1, context),
        item=batch.column("item"),
        reward=batch.column("reward"),
        live=batch.column("live"),
        last=ends - 1,
    )


def _windows(batch: Batch, stop: Tensor, context: int) -> Tensor:
    """[n, L] the last L items before slot ``stop`` of each transition's session."""
    slot = (stop - context).clamp(min=0)[:, None] + torch.arange(context)
    session = batch.items[batch.piece]
    items = session.gather(1, slot.clamp(max=session.shape[1] - 1))
    return torch.where(slot < stop[:, None], items, batch.data.n_items)
