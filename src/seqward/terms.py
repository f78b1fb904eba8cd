"""Loss terms: the mathematics of ``objectives`` bound to what a step provides. What two methods share is here once.

Each is a ``Loss``, a step to one value an example, or makes one from settings.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import Literal

import torch
from torch import Tensor

from seqward.augment import Augment
from seqward.critic import Critic
from seqward.method import Loss
from seqward.objectives import conservative, contrastive, discriminator, policy, sampled, supervised, value
from seqward.objectives.contrastive import Similarity
from seqward.step import Outside, Step

Weight = Callable[[Step], Tensor]
"""A step to what each event counts, or is worth, [n]; held constant."""


def cross_entropy(s: Step) -> Tensor:
    """L_CE: cross-entropy of the logged item under the policy head, over the whole catalogue."""
    return s.nll("policy")


def against_negatives(s: Step, k: int, shared: bool) -> tuple[Tensor, Tensor]:
    """Policy scores of the logged item [n], and of k uniform others [n, k], -inf where one of them is the logged item.

    Args:
        shared: one draw for the whole batch, whose scores are one small product, instead of one for each event.
    """
    if not shared:
        return s.logged("policy"), s.unlogged("policy", k, "action")
    items = s.shared_negatives(k)
    hit = items == s.action[:, None]
    return s.logged("policy"), s.columns("policy", items).masked_fill(hit, -torch.inf)


def binary_cross_entropy(k: int, t: float, shared: bool) -> Loss:
    """L_gBCE: the logged item is one and k others are none, calibrated by t for there being only k."""

    def loss(s: Step) -> Tensor:
        return sampled.gbce(*against_negatives(s, k, shared), s.online.vocabulary.n_items, t)

    return loss


def sampled_softmax(k: int, shared: bool, log_q: bool) -> Loss:
    """L_SS: cross-entropy of the logged item among itself and k others, which stand for the catalogue if ``log_q``."""

    def loss(s: Step) -> Tensor:
        drawn_from = s.online.vocabulary.n_items - (0 if shared else 1)
        return sampled.sampled_softmax(*against_negatives(s, k, shared), log(k / drawn_from) if log_q else 0.0)

    return loss


def pairwise(k: int) -> Loss:
    """L_BPR: the logged item scores higher than k others."""
    return lambda s: sampled.bpr(*against_negatives(s, k, shared=False))


def q_weighted(s: Step) -> Tensor:
    """L_CE in which each event counts by its own Q-value, held constant."""
    return supervised.weighted(s.logged("q"), s.nll("policy"))


def q_weighted_as_released(s: Step) -> Tensor:
    """L_CE times the batch's mean Q-value, held constant."""
    return supervised.batch_weighted(s.logged("q"), s.nll("policy"))


def logged_reward(s: Step) -> Tensor:
    """[n] the reward of the log."""
    return s.reward


def td_loss(critic: Critic, reward: Weight = logged_reward) -> Loss:
    """L_Q: double Q-learning; the online network chooses the next item, the target network values it."""

    def follows(s: Step, steps: int) -> Tensor:
        return critic.least_of(s.target_next("q", steps), s.next("q", steps), s.greedy("q", steps))

    return lambda s: critic.towards(s, reward(s), follows)


def td_on_negatives(
    critic: Critic, k: int, outside: Outside, reward: float, leads_to: Literal["same", "next"] = "same"
) -> Loss:
    """L_N: L_Q of k items that the user did not choose, from what ``outside`` leaves.

    Args:
        leads_to: the state that follows such an item: the one before the event, since it does not move the user, or
            that after it, where a session may have ended.
    """

    def loss(s: Step) -> Tensor:
        if leads_to == "same":
            discount = critic.gamma
            following = critic.least_of(s.target_now("q"), s.now("q"), s.greedy("q", 0))
        else:
            discount = critic.gamma * s.live
            following = critic.least_of(s.target_next("q"), s.next("q"), s.greedy("q"))
        return critic.of_negatives(s, k, outside, reward, discount, following)

    return loss


def weighted_by(*weights: Weight) -> Loss:
    """L_CE in which each event counts by the product of the weights."""
    return lambda s: supervised.weighted(torch.stack([weight(s) for weight in weights]).prod(0), s.nll("policy"))


def advantage(k: int, outside: Outside, low: float | None, high: float | None) -> Weight:
    """The logged item's advantage in Q over the mean of it and k negatives, between low and high."""
    return lambda s: policy.advantage_over_negatives(s.logged("q"), s.unlogged("q", k, outside), low, high)


def propensity(power: float, low: float, high: float) -> Weight:
    """How likely the policy chooses the logged item against how popular it is, between low and high, to a power."""
    return lambda s: policy.propensity_weight(s.surprise("policy"), s.popularity, power, low, high)


def contrast(augment: Augment, temperature: float, same_row: bool = False) -> Loss:
    """L_CO: NT-Xent of a session's state and the state of its augmented history, against other sessions."""

    def loss(s: Step) -> Tensor:
        session = None if same_row else s.contrasted  # as released: every row is a session of its own
        return contrastive.nt_xent(s.state(), s.view("augmented", augment, same_row), temperature, session=session)

    return loss


def contrast_of_views(augment: Augment, temperature: float, similarity: Similarity) -> Loss:
    """L_CL: NT-Xent of two views of a session, each augmented by itself, against the views of other sessions."""

    def loss(s: Step) -> Tensor:
        views = s.view("one", augment), s.view("two", augment)
        return contrastive.nt_xent(*views, temperature, similarity, s.contrasted)

    return loss


def contrast_of_segments(s: Step) -> Tensor:
    """L_SP: NT-Xent of a hidden segment and what is left of its session, against those of other sessions."""
    return contrastive.nt_xent(*s.segments(), temperature=1.0, similarity="dot", session=s.contrasted)


def masked_items(share: float, last: float = 0.0) -> Loss:
    """L_MIP: cross-entropy of the items of hidden slots, read from all others, over the whole catalogue."""

    def loss(s: Step) -> Tensor:
        hidden = s.cloze("policy", share, last)
        return hidden.scores.nll(hidden.items)

    return loss


def contrast_by_coordinate(augment: Augment) -> Loss:
    """L_CO as released for RetailRocket: each coordinate of the states is a similarity of its own."""
    return lambda s: contrastive.by_coordinate(s.state(), s.view("augmented", augment, same_row=True))


def conservative_on_negatives(k: int, temperature: float) -> Loss:
    """L_CQL on k items that the session does not hold, plus the logged one (section 3.2 of the paper)."""

    return lambda s: conservative.gap(s.logged("q"), s.unlogged("q", k), temperature)


def conservative_on_catalogue(temperature: float, and_greedy: bool) -> Loss:
    """L_CQL over all items (Eq. 2): the same question to the Q head as cross-entropy is to the policy head.

    Args:
        and_greedy: find Q's best items in the same pass, for a temporal difference that asks for them.
    """
    return lambda s: s.nll("q", temperature, and_greedy)


def conservative_on_samples(k: int, temperature: float) -> Loss:
    """L_CQL over all items by its gradient: that of Q of k items drawn by its softmax, less that of the logged one.

    The gradient of t * logsumexp(Q / t) is the mean of that of Q under softmax(Q / t), so this one is without bias
    for any k. The value is that of L_CQL less t times the entropy of that softmax, and may be negative: its derivative
    is what is minimised.
    """
    return lambda s: s.now("q").at(s.samples("q", k, temperature)).mean(1) - s.logged("q")


def conservative_as_released(temperature: float) -> Loss:
    """What the released code computes in place of L_CQL: an item number among the Q-values."""

    def loss(s: Step) -> Tensor:
        greedy = s.greedy("q")
        return conservative.gap_as_released(s.logged("q"), s.now("q").at(greedy), greedy, temperature)

    return loss


# Policies -----------------------------------------------------------------------------------------------------------


def behaviour(s: Step) -> Tensor:
    """L_β: cross-entropy of the logged item under the head that follows whoever acted."""
    return s.nll("behaviour")


def off_policy(cap: float) -> Weight:
    """How much more likely the policy chooses the logged item than who acted, at most ``cap``."""
    return lambda s: policy.capped_ratio(s.surprise("policy"), s.surprise("behaviour"), cap)


def slate(k: int) -> Weight:
    """The top-K correction: what one more draw of the logged item adds to a slate of k."""
    return lambda s: policy.top_k(s.surprise("policy"), k)


def what_followed(gamma: float) -> Weight:
    """The discounted return from the event on."""
    return lambda s: s.returns(gamma)


def paid(s: Step) -> Tensor:
    """1 where the event itself has a reward, else 0."""
    return (s.reward != 0).float()


def beats_policy(samples: int, temperature: float, cap: float) -> Weight:
    """exp(A / temperature), at most ``cap``, where A is the advantage over items drawn from the policy."""
    return lambda s: policy.exponential(_advantage_over_policy(s, samples) / temperature, cap)


def beats_policy_at_all(samples: int) -> Weight:
    """1 where the logged item is better than items drawn from the policy are in the mean, else 0."""
    return lambda s: policy.positive(_advantage_over_policy(s, samples))


def _advantage_over_policy(s: Step, samples: int) -> Tensor:
    return policy.advantage(s.logged("q"), s.now("q").at(s.samples("policy", samples))).detach()


def beats_value(critic: Critic, beta: float, cap: float) -> Weight:
    """exp(beta A), at most ``cap``, where A is the target network's Q of the logged item less the state's value."""
    return lambda s: policy.exponential(beta * (_target_of_logged(critic, s) - s.value("v").detach()), cap)


def td_on_policy(critic: Critic, samples: int) -> Loss:
    """L_Q: what follows is worth the target network's mean Q of items drawn from the policy."""

    def follows(s: Step, steps: int) -> Tensor:
        items = s.next_samples("policy", samples, steps)
        return critic.least_of(s.target_next("q", steps), s.next("q", steps), items).mean(1)

    return lambda s: critic.towards(s, s.reward, follows)


def td_on_value(critic: Critic) -> Loss:
    """L_Q: what follows is worth what the value head says of it."""
    return lambda s: critic.towards(s, s.reward, lambda s, steps: s.next_value("v", steps))


def expectile_of_q(critic: Critic, tau: float) -> Loss:
    """L_V: the tau-expectile of the target network's Q over logged items."""
    return lambda s: value.expectile(_target_of_logged(critic, s), s.value("v"), tau)


def _target_of_logged(critic: Critic, s: Step) -> Tensor:
    return critic.least_of(s.target_now("q"), s.now("q"), s.action)


# Judges and counts --------------------------------------------------------------------------------------------------


def judged(fakes: Literal["uniform", "policy"], k: int) -> Loss:
    """L_D: binary cross-entropy of the logged item told from k others, which are drawn uniformly or from the policy."""

    def loss(s: Step) -> Tensor:
        others = s.negatives(k, "action") if fakes == "uniform" else s.samples("policy", k)
        return discriminator.judged(s.pairs("judge", s.action), s.pairs("judge", others))

    return loss


def with_intrinsic(share: float, form: Literal["likeness", "imitation"]) -> Weight:
    """r + share * r_int, the judge's reward of the logged item."""
    bounded = discriminator.likeness if form == "likeness" else discriminator.imitation
    return lambda s: s.reward + share * bounded(s.pairs("judge", s.action))


def count(column: Literal["before", "after"], scale: Literal["log", "raw"]) -> Loss:
    """L_count: how many events of the session came before this one, or are to come after it."""

    def loss(s: Step) -> Tensor:
        events = s.column(column)
        return value.regression(events.log1p() if scale == "log" else events, s.value("n"))

    return loss
