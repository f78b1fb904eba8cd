"""How Q is learned: what follows an event, and by which loss Q is brought there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, cast

import torch
from torch import Tensor

from seqward.catalogue import LinearScores
from seqward.catalogue.valued import Binned, ValuedScores
from seqward.errors import SeqwardError
from seqward.heads import Span
from seqward.objectives import bins, td
from seqward.objectives.td import Regression
from seqward.settings import Count, NonNegative, Positive, Rate, Share, settings
from seqward.step import Outside, Step

Follows = Callable[[Step, int], Tensor]
"""(step, number of events) -> [n] what the states after so many events are worth."""


@dataclass(frozen=True)
class Critic:
    """A critic in the head "q"."""

    gamma: float
    monte_carlo: bool = False
    """The target is the return that followed; nothing is bootstrapped."""
    n_step: int = 1
    """Rewards that are summed before it is bootstrapped, as far as the piece of the session goes."""
    least: bool = False
    """The lesser of the target network's value and the online network's (Fujimoto et al. 2018)."""
    loss: Regression = td.squared
    binned: bool = False
    """Whether the loss is told log-probabilities of bins in place of Q."""

    def towards(self, s: Step, reward: Tensor, follows: Follows) -> Tensor:
        """[n] the loss of the logged item's Q against what it earns and what follows.

        Args:
            reward: [n] of the events; with n steps that of the later ones is read from it as well, and in a Monte-Carlo
                return what it is beside the log's, as far as the piece of the session goes.

        Raises:
            SeqwardError: several steps are asked of drawn transitions, whose pieces end with their event.
        """
        q = self.said(s.now("q"), s.action) if self.binned else s.logged("q")
        if self.monte_carlo:
            followed = s.returns(self.gamma)
            if reward is not s.reward:
                followed = followed + td.earned(reward - s.reward, s.ahead(len(reward)), self.gamma)
            return td.double_q(q, followed, 0.0, torch.zeros_like(reward), self.loss)
        if self.n_step == 1:
            return td.double_q(q, reward, self.gamma * s.live, follows(s, 1), self.loss)
        if s.batch.data.draw == "transitions":
            raise SeqwardError(
                f"objective.n_step={self.n_step} sums rewards of later events, and with train.draw=transitions a piece "
                "ends with its event. Take train.draw=sessions, or n_step 1."
            )
        ahead = s.ahead(self.n_step)
        discount = self.gamma**ahead * s.live_after(self.n_step)
        return td.double_q(q, td.earned(reward, ahead, self.gamma), discount, follows(s, self.n_step), self.loss)

    def of_negatives(
        self, s: Step, k: int, outside: Outside, reward: float, discount: Tensor | float, q_next: Tensor
    ) -> Tensor:
        """[n] the summed loss of k items that the user did not choose."""
        q = self.said(s.now("q"), s.negatives(k, outside)) if self.binned else s.unlogged("q", k, outside)
        return td.double_q_of_negatives(q, reward, discount, q_next, self.loss)

    def least_of(self, target: LinearScores, online: LinearScores, items: Tensor) -> Tensor:
        """What the target network says of items, or the lesser of that and what the online one says; no gradient."""
        value = target.at(items)
        return torch.minimum(value, online.at(items).detach()) if self.least else value

    def said(self, scores: LinearScores, items: Tensor) -> Tensor:
        """[..., bins] log-probabilities of the bins of items [n] or [n, k]."""
        valued = cast(ValuedScores, scores)
        return cast(Binned, valued.reading).log_bins(valued.scores.at(items))


@settings
class CriticSettings:
    gamma: Share = 0.5
    """Discount of the return."""
    omega: NonNegative = 1.0
    """Weight of the temporal-difference loss."""
    target: Literal["twin", "ema"] = "twin"
    """twin: two networks swap roles by a coin, so that each gets half of the updates of a run. ema: one network that
    gets them all, and a target that follows it."""
    tau: Rate = 0.005
    """Rate at which an ema target follows."""
    rank_by: Literal["policy", "q"] = "policy"
    """The head that ranks."""
    target_min: bool = False
    """Bootstrap from the lesser of the target network's value of an item and the online network's (clipped double
    Q-learning)."""
    returns: Literal["bootstrap", "monte-carlo"] = "bootstrap"
    """What a logged item's Q is brought to: rewards and then what the target network says, or the return that followed
    to the end of the session. The latter is Q of whoever acted, not of the best policy."""
    n_step: Count = 1
    """Rewards that are summed before it is bootstrapped, uncorrected for who acted. A session that ends earlier has
    nothing to bootstrap; a piece of a longer one that ends earlier is bootstrapped from its last state."""
    critic: Literal["linear", "bounded", "hl-gauss"] = "linear"
    """What Q is of an item's score z. linear: z. bounded: q_min + (q_max - q_min) sigmoid(z). hl-gauss: the mean of a
    distribution over 51 bins of [q_min, q_max], of a shape that the state gives and z tilts, learned by cross-entropy.
    Targets are clipped to the bounds. All are in the order of z, and a conservative term over all items is of z."""
    q_min: float = 0.0
    """The least that a bounded or hl-gauss Q can be."""
    q_max: float | None = None
    """The most; None for 1 / (1 - gamma), which no return exceeds where no reward exceeds 1."""
    critic_loss: Literal["squared", "huber"] = "squared"
    """Half the squared error, or that up to huber_delta and a line from there."""
    huber_delta: Positive = 1.0
    """The most that an error pulls."""
    critic_norm: bool = False
    """Normalise a state (LayerNorm) before the Q head scores it."""

    def __post_init__(self) -> None:
        if self.rank_by == "q" and not self.omega:
            raise ValueError("rank_by q asks a critic that learns nothing: omega is 0")
        if self.span is not None and self.span.low >= self.span.high:
            raise ValueError(f"q_min {self.span.low:g} is not below q_max {self.span.high:g}, and Q lies between them")

    @property
    def span(self) -> Span | None:
        """Between what Q lies, if it does."""
        if self.critic == "linear":
            return None
        high = 1 / (1 - self.gamma) if self.q_max is None else self.q_max
        return Span(self.q_min, high, binned=self.critic == "hl-gauss")

    @property
    def asks_for_best(self) -> bool:
        """Whether the temporal difference asks for the best items of the states that follow."""
        return self.omega > 0 and self.returns == "bootstrap"

    @property
    def learned(self) -> Critic:
        """How Q is learned."""
        loss: Regression = td.squared if self.critic_loss == "squared" else partial(td.huber, delta=self.huber_delta)
        if self.span is not None:
            low, high = self.span.low, self.span.high
            of_bins = partial(bins.cross_entropy, low=low, high=high)
            loss = of_bins if self.span.binned else td.within(loss, low, high)
        return Critic(
            self.gamma,
            monte_carlo=self.returns == "monte-carlo",
            n_step=self.n_step,
            least=self.target_min,
            loss=loss,
            binned=self.critic == "hl-gauss",
        )
