"""Loss terms: the mathematics of ``objectives`` bound to what a step provides. What two methods share is here once.

Each is a ``Loss``, a step to one value an example, or makes one from settings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from seqward.augment import Augment
from seqward.method import Loss
from seqward.objectives import actor, conservative, contrastive, supervised, td
from seqward.objectives.contrastive import Similarity
from seqward.step import Outside, Step

Weight = Callable[[Step], Tensor]
"""A step to what each event counts, [n]; held constant."""


def cross_entropy(s: Step) -> Tensor:
    """L_CE: the logged item under the policy head, over the whole catalogue."""
    return s.nll("policy")


def q_weighted(s: Step) -> Tensor:
    """L_CE in which each event counts by its own Q-value, held constant."""
    return supervised.weighted(s.logged("q"), s.nll("policy"))


def q_weighted_as_released(s: Step) -> Tensor:
    """L_CE times the batch's mean Q-value, held constant."""
    return supervised.batch_weighted(s.logged("q"), s.nll("policy"))


def td_loss(gamma: float) -> Loss:
    """L_Q: the online network chooses the next item, the target network values it."""

    def loss(s: Step) -> Tensor:
        greedy = s.greedy("q").items
        return td.double_q(s.logged("q"), s.reward, gamma * s.live, s.target_next("q").at(greedy))

    return loss


def td_on_negatives(
    gamma: float, k: int, outside: Outside, reward: float, leads_to: Literal["same", "next"] = "same"
) -> Loss:
    """L_Q of k items that the user did not choose, from what ``outside`` leaves.

    Args:
        leads_to: the state that follows such an item: the one before the event, since it does not move the user, or
            that after it, where a session may have ended.
    """

    def loss(s: Step) -> Tensor:
        if leads_to == "same":
            discount, following = gamma, s.target_now("q").at(s.now("q").max().items)
        else:
            discount, following = gamma * s.live, s.target_next("q").at(s.greedy("q").items)
        return td.double_q_of_negatives(s.unlogged("q", k, outside), reward, discount, following)

    return loss


def weighted_by(*weights: Weight) -> Loss:
    """L_CE in which each event counts by the product of the weights."""
    return lambda s: supervised.weighted(torch.stack([weight(s) for weight in weights]).prod(0), s.nll("policy"))


def advantage(k: int, outside: Outside, low: float | None, high: float | None) -> Weight:
    """The logged item's advantage in Q over the mean of it and k negatives, between low and high."""
    return lambda s: actor.advantage(s.logged("q"), s.unlogged("q", k, outside), low, high)


def propensity(power: float, low: float, high: float) -> Weight:
    """How likely the policy chooses the logged item against how popular it is, between low and high, to a power."""
    return lambda s: actor.propensity_weight(s.nll("policy"), s.popularity, power, low, high)


def contrast(augment: Augment, temperature: float, same_row: bool = False) -> Loss:
    """L_CO: a session's state and the state of its augmented history, against other sessions."""
    return lambda s: contrastive.nt_xent(s.state(), s.view("augmented", augment, same_row), temperature)


def contrast_of_views(augment: Augment, temperature: float, similarity: Similarity) -> Loss:
    """L_CL: two views of a session, each augmented by itself, against the views of other sessions."""
    return lambda s: contrastive.nt_xent(s.view("one", augment), s.view("two", augment), temperature, similarity)


def contrast_of_segments(s: Step) -> Tensor:
    """L_SP: a hidden segment and what is left of its session, against those of other sessions."""
    return contrastive.nt_xent(*s.segments(), temperature=1.0, similarity="dot")


def masked_items(share: float) -> Loss:
    """L_MIP: the items of hidden slots, read from all others, under the policy head over the whole catalogue."""

    def loss(s: Step) -> Tensor:
        hidden = s.cloze("policy", share)
        return hidden.scores.nll(hidden.items)

    return loss


def contrast_by_coordinate(augment: Augment) -> Loss:
    """L_CO as released for RetailRocket."""
    return lambda s: contrastive.by_coordinate(s.state(), s.view("augmented", augment, same_row=True))


def conservative_on_negatives(k: int, temperature: float) -> Loss:
    """L_CQL on k items that the session does not hold, plus the logged one (section 3.2 of the paper)."""

    return lambda s: conservative.gap(s.logged("q"), s.unlogged("q", k), temperature)


def conservative_on_catalogue(temperature: float) -> Loss:
    """L_CQL over all items (Eq. 2): the same question to the Q head as cross-entropy is to the policy head."""
    return lambda s: s.nll("q", temperature)


def conservative_as_released(temperature: float) -> Loss:
    """What the released code computes in place of L_CQL: an item number among the Q-values."""

    def loss(s: Step) -> Tensor:
        greedy = s.greedy("q").items
        return conservative.gap_as_released(s.logged("q"), s.now("q").at(greedy), greedy, temperature)

    return loss
