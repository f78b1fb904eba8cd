"""What the guard measures: every step what costs nothing, and the rest on a probe, a fixed batch, now and then.

After van Hasselt et al. 2018 (|Q| against the largest return: soft divergence), Kumar et al. 2021 (rank of the
features), Sokar et al. 2023 (dormant units) and ZClip, Kumar et al. 2025 (unusual norms of the gradient).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch
from torch import Tensor

from seqward.backbones.backbone import Histories
from seqward.clipping import SETTLING, forget, usual
from seqward.data.batches import Batch, TrainingEvents
from seqward.errors import STOPPED, Finding, SeqwardError
from seqward.model import NetworkScorer
from seqward.randomness import generator_of
from seqward.stability.rules import SURGE
from seqward.step import Step

SPIKE = 2.5
"""Standard deviations above the running mean that a norm may move it by; what is beyond does not move it further."""
USUAL, MOST = 1.0, 3.0
"""Standard deviations that the cumulative sum of unusual norms forgives a step, and the most that it takes one for: a
single spike, however large, is not enough."""
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
NOTED = {"loss_ratio": 1.2, "grad_surge": 2.0}
"""Signals of single steps, and from where on it is noted at which step they were how high: at a ``guard.tolerance`` of
.7 no rule alarms below."""


@dataclass
class StepSignals:
    """Loss and gradient of every step, and the highest of them between two probes. Part of a checkpoint."""

    norm_count: int = 0
    norm_mean: float = 0.0
    norm_variance: float = 0.0
    losses: list[float] = field(default_factory=list)
    """The last TRAILING of them."""
    surge: float = 0.0
    """Cumulative sum of how unusual the norms were (Page 1954)."""
    highest: dict[str, float] = field(default_factory=dict)
    """Of each signal since the last probe."""
    highs: list[tuple[int, str, float]] = field(default_factory=list)
    """Steps since the last probe at which a signal of NOTED was higher than before, and how high."""

    def add(self, step: int, loss: float, norm: float) -> dict[str, float]:
        """Take a step in.

        Returns:
            The signals that are higher than at any step since the last probe.
        """
        settled = self.norm_count >= SETTLING and self.norm_variance > 0
        z = (norm - self.norm_mean) / math.sqrt(self.norm_variance) if settled else 0.0
        self.surge = min(max(0.0, self.surge + min(z, MOST) - USUAL), SURGE)
        usual(norm, SPIKE, self)
        middle = median(self.losses) if len(self.losses) >= SETTLING else 0.0
        self.losses = [*self.losses[-TRAILING + 1 :], loss]
        now = {"grad_z": z, "grad_surge": self.surge, "loss_ratio": loss / middle if middle > 0 else 0.0}
        higher = {name: value for name, value in now.items() if value > self.highest.get(name, 0.0)}
        self.highest = self.highest | higher
        noted = [(step, name, value) for name, value in higher.items() if value >= NOTED.get(name, math.inf)]
        self.highs = [*self.highs, *noted]
        return higher

    def take(self) -> dict[str, float]:
        """The norm as it usually is, and of what came since the last call the largest z of a norm, the cumulative sum
        of unusual norms, and the loss over its trailing median."""
        found = {"grad_norm": self.norm_mean}
        found |= {name: self.highest.get(name, 0.0) for name in ("grad_z", "grad_surge", "loss_ratio")}
        self.highest, self.highs = {}, []
        return found

    def begin_anew(self) -> None:
        """Forget how high they were: what counts after a repair is what comes then."""
        self.surge, self.highest = 0.0, {}

    def new_phase(self) -> None:
        """Forget losses and norms: those of another phase are of another sum."""
        self.begin_anew()
        self.losses = []
        forget(self)


def signals_in(kept: Mapping[str, Any] | None) -> StepSignals:
    """What the guard left in a checkpoint.

    Raises:
        SeqwardError: it is of another version.
    """
    try:
        return StepSignals(**(kept or {}).get("steps", {}))
    except TypeError as error:
        raise SeqwardError(
            f"the checkpoint was written by another version of Seqward ({error}): train anew, or resume with that one."
        ) from None


def probe_of(data: TrainingEvents, sessions: int, seed: int) -> Batch:
    """The batch that every probe of a run reads: pieces of sessions, drawn once by the seed."""
    drawn = torch.randperm(data.n_pieces, generator=generator_of(seed, 0, "probe"))[:sessions]
    return data.collate(drawn.sort().values.to(data.device))


def largest_return(data: TrainingEvents, gamma: float) -> float:
    """r_max / (1 - gamma): no discounted sum of the rewards of these events is larger, whatever is chosen."""
    return float(data.reward[data.train].abs().max()) / (1 - gamma)


def of_critic(step: Step, critic: str, gamma: float, bound: float) -> dict[str, float]:
    """What a critic says of the probe's n events.

    ``q_over_bound``: the largest |Q| of logged, best and 64 uniform items, over the largest possible return;
    ``q_over_reward``: the same over the largest reward.
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
        "q_over_bound": largest / (bound or 1.0),
        "q_over_reward": largest / ((1 - gamma) * bound or 1.0),
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
