"""Policies that learn more from some events than from others, or are told what to reach."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from annotated_types import Gt, Lt

from seqward.backbones import backbone_of
from seqward.backbones.prl import PRLSettings
from seqward.backbones.sasrec import SASRecSettings
from seqward.critic import CriticSettings
from seqward.heads import item_head, value_head
from seqward.job import TrainSettings
from seqward.method import Method, Phase, Term
from seqward.methods.registry import method
from seqward.methods.supervised import SNQN_SASREC
from seqward.methods.value_based import with_critic
from seqward.settings import Count, NonNegative, Positive, Rate, Share, settings
from seqward.terms import (
    beats_policy,
    beats_policy_at_all,
    beats_value,
    behaviour,
    cross_entropy,
    expectile_of_q,
    logged_reward,
    off_policy,
    paid,
    slate,
    td_on_policy,
    td_on_value,
    weighted_by,
    what_followed,
)

# By what followed, corrected for who acted ----------------------------------------------------------------------------


@settings
class ReinforceSettings:
    gamma: Share = 0.5
    """Discount of the return."""
    slate: Count = 16
    """Items that are shown at once (K); 1 for no top-K correction."""
    ratio_cap: Positive = math.exp(3)
    """The most that the ratio of the policy to who acted is taken for."""


@method(
    "reinforce-topk",
    "policy-based",
    needs=("rewards",),
    source="Chen et al., Top-K Off-Policy Correction for a REINFORCE Recommender System, WSDM 2019",
    backbone=SNQN_SASREC,
    objective=ReinforceSettings(),
    train=TrainSettings(lr=0.01),
)
def reinforce_topk(backbone: SASRecSettings, objective: ReinforceSettings, train: TrainSettings) -> Method:
    """REINFORCE on the log, corrected for who acted and for K items being shown at once.

    Events without a reward of their own teach who acted, and not the policy, as in the source. It reads histories by a
    recurrent network of its own kind and asks a sampled softmax; here it is SASRec and the whole catalogue, as of the
    methods beside it. It serves by sampling from the policy's best, and here they are listed in order. Its discount and
    learning rate are not known to us: they are those of the methods beside it. In a log of what users did by themselves
    nobody acted but they: beta is then their own next item, the ratio stays near 1, and with equal returns the
    correction takes out what cross-entropy would learn.
    """
    o = objective
    weight = weighted_by(off_policy(o.ratio_cap), slate(o.slate), what_followed(o.gamma), paid)
    heads = {"policy": item_head(backbone.init), "behaviour": item_head(backbone.init, detached=True)}
    terms = (Term("w λ_K R L_CE", 1.0, weight), Term("L_β", 1.0, behaviour))
    return Method(backbone_of(backbone), heads, (Phase(terms, train.lr),))


# By a critic's advantage ----------------------------------------------------------------------------------------------


@settings
class CRRSettings(CriticSettings):
    advantage_weight: Literal["exponential", "binary"] = "exponential"
    """What an event weighs: exp(A / temperature), or 1 where A is above 0 and 0 elsewhere."""
    temperature: Positive = 1.0
    """Temperature of the exponential weight."""
    weight_cap: Positive = 20.0
    """The most that an exponential weight comes to."""
    samples: Count = 4
    """Items drawn from the policy, whose mean Q the logged item has to beat."""
    next_samples: Count = 1
    """Items drawn from the policy at the next state, whose mean Q is bootstrapped from."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.omega:
            raise ValueError("events are weighted by a critic that learns nothing: omega is 0")


@method(
    "crr",
    "policy-based",
    needs=("rewards",),
    source="Wang et al., Critic Regularized Regression, NeurIPS 2020",
    backbone=SNQN_SASREC,
    objective=CRRSettings(target="ema"),
    train=TrainSettings(lr=0.005),
)
def crr(backbone: SASRecSettings, objective: CRRSettings, train: TrainSettings) -> Method:
    """Cross-entropy in which an event counts by how far its item beats the policy's own, by the critic of that policy.

    Both weights are the source's, with its 4 samples, temperature 1 and cap 20 (from memory). There policy and critic
    are networks of their own, the critic is distributional, targets are copied from time to time, and the policy that
    is bootstrapped from is the target's; here both are heads on one backbone, with a squared error and a target that
    follows (tau), and the live policy is asked. Discount, learning rate and tau are those of a port to this protocol
    by others. omega is ours, since the two losses share a backbone.
    """
    o = objective
    exponential = o.advantage_weight == "exponential"
    weight = beats_policy(o.samples, o.temperature, o.weight_cap) if exponential else beats_policy_at_all(o.samples)
    terms = (
        Term("f(A) L_CE", 1.0, weighted_by(weight)),
        Term("ω L_Q", o.omega, td_on_policy(o.learned, o.next_samples)),
    )
    return with_critic(backbone, o, Phase(terms, train.lr))


@settings
class IQLSettings(CriticSettings):
    expectile: Annotated[float, Gt(0), Lt(1)] = 0.7
    """Which expectile of Q the value is: 0.5 for the mean over what was done, towards 1 for the best of it."""
    beta: NonNegative = 3.0
    """Inverse temperature of the policy's weights; 0 for plain cross-entropy."""
    weight_cap: Positive = 100.0
    """The most that a weight comes to."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta and not self.omega:
            raise ValueError("events are weighted by a critic that learns nothing: omega is 0 and beta is not")


@method(
    "iql-awr",
    "policy-based",
    needs=("rewards",),
    source="Kostrikov et al., Offline Reinforcement Learning with Implicit Q-Learning, ICLR 2022",
    backbone=SNQN_SASREC,
    objective=IQLSettings(target="ema"),
    train=TrainSettings(lr=0.005),
)
def iql_awr(backbone: SASRecSettings, objective: IQLSettings, train: TrainSettings) -> Method:
    """A critic that asks for no item but logged ones, and cross-entropy weighted by its advantage.

    V is an expectile of the target's Q, Q regresses on r + gamma V(s'), the policy's weight is exp(beta (Q - V)).
    Expectile .7, beta 3, cap 100 and tau are the source's for locomotion (from memory; .9 and 10 for its mazes). There
    the three are networks of their own and Q is the lesser of two; here they are heads on one backbone, with one Q.
    Q's squared error is halved, as elsewhere here, where the source's is not; V's is the source's (its Eq. 5). omega,
    which weighs the two, is ours. The source's discount is .99; that here is of the methods beside it, and so is the
    learning rate.
    """
    o = objective
    terms = (
        Term("exp(βA) L_CE", 1.0, weighted_by(beats_value(o.learned, o.beta, o.weight_cap))),
        Term("ω L_Q", o.omega, td_on_value(o.learned)),
        Term("ω L_V", o.omega, expectile_of_q(o.learned, o.expectile)),
    )
    return with_critic(backbone, o, Phase(terms, train.lr), v=value_head(backbone.init))


# Told what to reach ---------------------------------------------------------------------------------------------------


@settings
class PromptSettings:
    gamma: Rate = 1.0
    """Discount of the return that is told and asked for."""
    event_weight: Literal["reward", "return", "none"] = "reward"
    """What an event counts in cross-entropy: its reward, the return from it on, or 1."""


PRL_SASREC = PRLSettings(scale_embedding=False, init="xavier", dropout_rate=0.3)
"""The backbone of PRL's released code."""


@method(
    "prl",
    "policy-based",
    needs=("rewards",),
    source="Xin et al., Rethinking Reinforcement Learning for Recommendation: A Prompt Perspective, SIGIR 2022",
    backbone=PRL_SASREC,
    objective=PromptSettings(),
    train=TrainSettings(lr=0.005, epochs=30),
)
def prl(backbone: PRLSettings, objective: PromptSettings, train: TrainSettings) -> Method:
    """Cross-entropy of items given state, step and the return that followed; in serving a high return is asked for.

    Network, sizes, rates and the factor 2 are those of a copy of the released code for SASRec, which was read and not
    run. That copy leaves its weights unused; the paper weighs events, we take it by their reward (its other rows are
    "without" and "by cumulative reward"): event_weight=none is as in the copy. There the mean return of a step is taken
    over all sessions, those of validation and test too, and here over training events as they are read, so that it is
    exact after one pass. There sessions of more than 50 events are left out and a step is one of 50; here a step is
    counted within the items that are read, so that later events share the last one.
    """
    o = objective
    by = {"reward": logged_reward, "return": what_followed(o.gamma)}
    term = (
        Term("L_CE", 1.0, cross_entropy)
        if o.event_weight == "none"
        else Term("w L_CE", 1.0, weighted_by(by[o.event_weight]))
    )
    return Method(
        backbone_of(backbone), {"policy": item_head(backbone.init)}, (Phase((term,), train.lr),), wanted=o.gamma
    )
