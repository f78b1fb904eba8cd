"""What the guard measures: every step what costs nothing, and the rest on a probe, a fixed batch, now and then.

After van Hasselt et al. 2018 (|Q| against the largest return: soft divergence), Kumar et al. 2021 (rank of the
features), Sokar et al. 2023 (dormant units) and ZClip, Kumar et al. 2025 (unusual norms of the gradient).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import median

import torch
from torch import Tensor

from seqward.backbones.backbone import Histories
from seqward.clipping import SETTLING, forget, usual
from seqward.data.batches import Batch, TrainingEvents
from seqward.errors import STOPPED, Finding
from seqward.model import NetworkScorer
from seqward.randomness import generator_of
from seqward.step import Step

SPIKE = 2.5
"""Standard deviations above the running mean from which a norm is a spike; it does not move the mean further."""
TRAILING = 100
"""Steps that a loss is compared with."""
LIST = 20
"""Items of a recommended list."""
MASS = 0.99
"""Share of the singular values that the feature rank holds."""
ASLEEP = 0.025
"""A unit is dormant whose mean activation is at most this share of the mean over all units."""
BY_CHANCE = 2
"""So many dormant units are none."""


@dataclass
class StepSignals:
    """Loss and gradient of every step, summed up between two probes. Part of a checkpoint."""

    norm_count: int = 0
    norm_mean: float = 0.0
    norm_variance: float = 0.0
    losses: list[float] = field(default_factory=list)
    """The last TRAILING of them."""
    largest_z: float = 0.0
    spikes: int = 0
    loss_ratio: float = 0.0
    since: int = 0
    """Steps since the last probe."""

    def add(self, loss: float, norm: float) -> None:
        """Take a step in."""
        settled = self.norm_count >= SETTLING and self.norm_variance > 0
        z = (norm - self.norm_mean) / math.sqrt(self.norm_variance) if settled else 0.0
        self.largest_z, self.spikes = max(self.largest_z, z), self.spikes + (z > SPIKE)
        usual(norm, SPIKE, self)
        if len(self.losses) >= SETTLING and (middle := median(self.losses)) > 0:
            self.loss_ratio = max(self.loss_ratio, loss / middle)
        self.losses, self.since = [*self.losses[-TRAILING + 1 :], loss], self.since + 1

    def take(self) -> dict[str, float]:
        """What came since the last call: largest z of the norm, share of spikes, and loss over its trailing median."""
        found = {
            "grad_norm": self.norm_mean,
            "grad_z": self.largest_z,
            "grad_spikes": self.spikes / max(self.since, 1),
            "loss_ratio": self.loss_ratio,
        }
        self.largest_z, self.spikes, self.loss_ratio, self.since = 0.0, 0, 0.0, 0
        return found

    def new_phase(self) -> None:
        """Forget losses and norms: those of another phase are of another sum."""
        self.losses, self.loss_ratio, self.largest_z = [], 0.0, 0.0
        forget(self)


def probe_of(data: TrainingEvents, sessions: int, seed: int) -> Batch:
    """The batch that every probe of a run reads: pieces of sessions, drawn once by the seed."""
    drawn = torch.randperm(data.n_pieces, generator=generator_of(seed, 0, "probe"))[:sessions]
    return data.collate(drawn.sort().values.to(data.device))


def largest_return(data: TrainingEvents, gamma: float) -> float:
    """r_max / (1 - gamma): no discounted sum of the rewards of these events is larger, whatever is chosen."""
    return float(data.reward[data.train].abs().max()) / (1 - gamma)


def of_critic(step: Step, critic: str, gamma: float, bound: float) -> dict[str, float]:
    """What a critic says of the probe's n events.

    ``q_over_bound``: the largest |Q| of logged, best and 64 uniform items, over the largest possible return.
    ``td_mean``, ``td_rms``: of the double-Q temporal difference. ``overestimation``: mean Q less mean return of the
    log, over the standard deviation of the returns. ``conservative_gap``: mean of logsumexp Q - Q(logged), less the
    logarithm of the number of items: above 0 the logged item is worth less than items are on average. ``q_rise``: mean
    Q of the greedy items less that of the logged ones, over the bound.

    Raises:
        Finding: one of them is not finite.
    """
    logged, best = step.logged(critic), step.greedy(critic)
    greedy = step.next(critic).at(best)
    returns, items = step.returns(gamma), step.online.vocabulary.n_items
    uniform = step.columns(critic, step.shared_negatives(64))
    largest = torch.stack([logged.abs().max(), greedy.abs().max(), uniform.abs().max()]).max()
    error = step.reward + gamma * step.live * step.target_next(critic).at(best) - logged
    spread = returns.std(correction=0).clamp(min=1e-6)
    figures = {
        "q_over_bound": largest / bound if bound else largest,
        "td_mean": error.mean(),
        "td_rms": error.square().mean().sqrt(),
        "overestimation": (logged.mean() - returns.mean()) / spread,
        "conservative_gap": step.nll(critic).mean() - math.log(items),
        "q_rise": (greedy.mean() - logged.mean()) / (bound or 1.0),
    }
    return _plain(figures)


def of_states(states: Tensor) -> dict[str, float]:
    """``feature_rank``: how many singular values of states [n, width] hold 99 % of their sum; ``dormant``: share of
    the units whose mean activation is next to nothing beside that of the others, where they are more than a few.

    Raises:
        Finding: a state is not finite.
    """
    if not torch.isfinite(states).all():
        raise Finding(f"the states of the guard's probe are not finite: {STOPPED}")
    values = torch.linalg.svdvals(states.float())
    rank = 1 + (values.cumsum(0) < MASS * values.sum()).sum()
    active = states.abs().mean(0)
    asleep = (active <= ASLEEP * active.mean()).sum()
    return _plain({"feature_rank": rank, "dormant": asleep / states.shape[1] * (asleep > BY_CHANCE)})


def lists_of(scorer: NetworkScorer, batch: Batch) -> Tensor:
    """[B, LIST] what is recommended after each piece of the probe; -1 where there are fewer items."""
    histories = Histories(batch.items, batch.users)
    return scorer.score(histories).topk(min(LIST, scorer.model.vocabulary.n_items)).items


def of_lists(lists: Tensor, before: Tensor | None, n_items: int) -> dict[str, float]:
    """``coverage``: distinct items of the lists, as a share of what so many lists could hold. ``churn``: the share of
    each list that was not in the one before. Lists are [B, k]."""
    figures = {"coverage": lists.unique().numel() / min(lists.numel(), n_items)}
    if before is not None:
        kept = (lists[:, :, None] == before[:, None, :]).any(2).float().mean()
        figures["churn"] = 1.0 - float(kept)
    return figures


def _plain(figures: dict[str, Tensor]) -> dict[str, float]:
    """As numbers. Raises Finding where one is not finite."""
    values = torch.stack([value.double() for value in figures.values()]).tolist()
    for name, value in zip(figures, values, strict=True):
        if not math.isfinite(value):
            raise Finding(f"{name} of the guard's probe is {value}: {STOPPED}")
    return dict(zip(figures, values, strict=True))
