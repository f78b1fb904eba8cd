"""Self-supervised reinforcement learning: a Q head beside the policy head, on two networks that swap roles.

Twins share a run's steps: each is updated in about half of them, and one of the two is evaluated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

from annotated_types import Gt, Lt

from seqward.backbones import backbone_of
from seqward.backbones.caser import CaserSettings
from seqward.backbones.gru4rec import GRU4RecSettings
from seqward.backbones.nextitnet import NextItNetSettings
from seqward.backbones.sasrec import SASRecSettings
from seqward.critic import CriticSettings
from seqward.heads import HeadFactory, item_head
from seqward.job import TrainSettings
from seqward.method import Method, Phase, Term
from seqward.methods.registry import method
from seqward.methods.supervised import SNQN_SASREC
from seqward.settings import NonNegative, Positive, Whole, settings
from seqward.step import Outside
from seqward.target import Ema, Twin
from seqward.terms import (
    advantage,
    conservative_on_catalogue,
    cross_entropy,
    propensity,
    q_weighted,
    td_loss,
    td_on_negatives,
    weighted_by,
)

Warmup = Whole | Annotated[float, Gt(0), Lt(1)]
"""A number of training events, or below 1 the share of those planned (epochs times the events of an epoch)."""


@settings
class ActorCriticSettings(CriticSettings):
    warmup_events: Warmup = 7_680_000
    """Training events before cross-entropy is weighted by Q (steps of the source times its 256 transitions). Below 1, a
    share of the planned ones: 0.4 suits a small log."""
    phases: Literal[1, 2] = 2
    """1: never weight cross-entropy by Q."""
    lr_phase_2: Positive | None = None
    """Learning rate after the warm-up; None for the same."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.phases == 2 and not self.omega:
            raise ValueError("phases 2 weights cross-entropy by a critic that learns nothing: omega is 0")


@settings
class SNQNSettings(CriticSettings):
    negatives: Whole = 10
    """Items that the user did not choose, drawn for each event; 0 for none, which is SQN. Of what they lead to nothing
    was logged, so their targets are of one step and bootstrapped, whatever n_step and returns are."""
    outside: Outside = "action"
    """What they may not be: the logged item only, or any item of the session."""
    negative_reward: float = 0.0
    """What each of them earns."""
    negative_leads_to: Literal["same", "next"] = "same"
    """The state that follows one: the same, since it does not move the user, or that after the logged event."""


@settings
class SA2CSettings(ActorCriticSettings, SNQNSettings):
    advantage_min: float | None = 0.0
    """The least that an advantage weighs; None for no limit."""
    advantage_max: float | None = 10.0
    """The most that an advantage weighs; None for no limit."""
    propensity_power: NonNegative = 0.0
    """Power of the propensity correction, softmax(policy) / popularity of the logged item; 0 for none."""
    propensity_min: Positive = 0.1
    """The least that the propensity ratio is taken for."""
    propensity_max: Positive = 10.0
    """The most that the propensity ratio is taken for."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.negatives:
            raise ValueError("negatives is 0, and an advantage is over the mean of the item and negatives")
        low, high = self.advantage_min, self.advantage_max
        if low is not None and high is not None and low > high:
            raise ValueError(f"advantage_min {low} is more than advantage_max {high}")
        if self.propensity_min > self.propensity_max:
            raise ValueError(f"propensity_min {self.propensity_min} is more than propensity_max {self.propensity_max}")


def with_critic(backbone: Any, o: CriticSettings, *phases: Phase, **more: HeadFactory) -> Method:
    """Policy and Q heads over a backbone, more of them by name, and a target network."""
    return Method(
        backbone=backbone_of(backbone),
        heads={
            "policy": item_head(backbone.init),
            "q": item_head(backbone.init, norm=o.critic_norm, span=o.span),
            **more,
        },
        phases=phases,
        target=Twin() if o.target == "twin" else Ema(o.tau),
        ranks=o.rank_by,
        critic="q",
        gamma=o.gamma,
    )


def actor_critic(
    backbone: Any, o: ActorCriticSettings, train: TrainSettings, first: tuple[Term, ...], actor: Term
) -> Method:
    """``with_critic`` in one phase or two: in the second the actor's term takes the place of the first one."""
    if o.phases == 1:
        return with_critic(backbone, o, Phase(first, train.lr))
    warm, weighted = Phase(first, train.lr, o.warmup_events), Phase((actor, *first[1:]), o.lr_phase_2 or train.lr)
    return with_critic(backbone, o, *((warm, weighted) if o.warmup_events else (weighted,)))


# SQN and SAC on every backbone ---------------------------------------------------------------------------------------


class Base(NamedTuple):
    """A backbone with what the SQN and SAC code trains it by on RC15."""

    name: str
    backbone: Any
    warmup_events: int = 0
    """Before SAC weights cross-entropy by Q."""


BASES = (
    Base("gru4rec", GRU4RecSettings()),
    Base("caser", CaserSettings(dropout_rate=0.0)),
    Base("nextitnet", NextItNetSettings()),
    Base("sasrec", SNQN_SASREC, warmup_events=7_680_000),
)
SIGIR_2020 = "Xin et al., Self-Supervised Reinforcement Learning for Recommender Systems, SIGIR 2020"

Build = Callable[..., Method]


def on_every_base(suffix: str, source: str, objective: Callable[[Base], CriticSettings]) -> Callable[[Build], Build]:
    """Register a function of settings sections as BASE-suffix for every backbone of the table."""

    def register(build: Build) -> Build:
        for base in BASES:
            method(
                f"{base.name}-{suffix}",
                "value-based",
                needs=("goal", "rewards"),
                source=source,
                backbone=base.backbone,
                objective=objective(base),
                train=TrainSettings(lr=0.01, epochs=30),
            )(build)
        return build

    return register


@on_every_base("sqn", f"SQN: {SIGIR_2020}", lambda base: CriticSettings())
def sqn(backbone: Any, objective: CriticSettings, train: TrainSettings) -> Method:
    """Self-supervised Q-learning: cross-entropy and double Q-learning on one backbone.

    Settings are those of the source's RC15 runs; on RetailRocket it trains GRU4Rec and NextItNet with train.lr=0.005.
    It draws transitions rather than sessions (train.draw=transitions) and never stops early (train.patience=0). Each of
    the twins gets half of the updates that SASRec gets in as many epochs.
    """
    return with_critic(backbone, objective, Phase(sqn_terms(objective), train.lr))


@on_every_base("ac", f"SAC: {SIGIR_2020}", lambda base: ActorCriticSettings(warmup_events=base.warmup_events))
def sac(backbone: Any, objective: ActorCriticSettings, train: TrainSettings) -> Method:
    """Self-supervised actor-critic: SQN, then cross-entropy weighted by Q.

    Settings are those of the source's RC15 runs, where only SASRec is warmed up: the others are weighted by Q from the
    first step, while Q is near 0. On RetailRocket the source warms GRU4Rec up too (objective.warmup_events=3840000) and
    trains it and NextItNet with train.lr=0.005, this one for 40 epochs; its file for GRU4Rec on RC15 pays 1 and 5 in
    place of 0.2 and 1. It draws transitions rather than sessions (train.draw=transitions) and never stops early
    (train.patience=0). The weight is not clipped.
    """
    return actor_critic(backbone, objective, train, sqn_terms(objective), Term("Q L_CE", 1.0, q_weighted))


def sqn_terms(o: CriticSettings) -> tuple[Term, ...]:
    """L_CE + ω L_Q."""
    return Term("L_CE", 1.0, cross_entropy), Term("ω L_Q", o.omega, td_loss(o.learned))


# Conservative ------------------------------------------------------------------------------------------------------


@settings
class CQLSettings(CriticSettings):
    alpha: NonNegative = 1.0
    """Weight of the conservative term."""
    temperature: Positive = 1.0
    """Temperature of its log-sum-exp."""


@method(
    "sasrec-cql",
    "value-based",
    needs=("goal", "rewards"),
    source="Kumar et al., Conservative Q-Learning for Offline Reinforcement Learning, NeurIPS 2020, Eq. 4, on SQN",
    backbone=SNQN_SASREC,
    objective=CQLSettings(),
    train=TrainSettings(lr=0.01, epochs=30),
)
def sasrec_cql(backbone: SASRecSettings, objective: CQLSettings, train: TrainSettings) -> Method:
    """SQN whose critic is kept low on all items that the user did not choose.

    What is left of SASRec-CCQL without contrast, phases and negatives, with the conservative term over the whole
    catalogue. The source learns Q alone and copies its targets from time to time; its weight is 1 to 5 for discrete
    actions (from memory), where SASRec-CCQL has 0.01.
    """
    o = objective
    conservative = Term("α L_CQL", o.alpha, conservative_on_catalogue(o.temperature, o.asks_for_best))
    return with_critic(backbone, o, Phase((*sqn_terms(o), conservative), train.lr))


# Negatives: SNQN and SA2C --------------------------------------------------------------------------------------------

WSDM_2022 = "Xin et al., Supervised Advantage Actor-Critic for Recommender Systems, WSDM 2022"


@method(
    "snqn",
    "value-based",
    needs=("goal", "rewards"),
    source=f"SNQN: {WSDM_2022}",
    backbone=SNQN_SASREC,
    objective=SNQNSettings(),
    train=TrainSettings(lr=0.01, epochs=50),
)
def snqn(backbone: SASRecSettings, objective: SNQNSettings, train: TrainSettings) -> Method:
    """SQN with the temporal difference of sampled items that the user did not choose.

    On SASRec; the released code begins with GRU4Rec (RC15) and NextItNet (RetailRocket). Its runs are had by
    train.draw=transitions and train.patience=0, and on RC15 objective.rank_by=q, on RetailRocket train.lr=0.005. Its
    baseline without cross-entropy (DQN with negatives that earn -1) is not among the methods.
    """
    return with_critic(backbone, objective, Phase(snqn_terms(objective), train.lr))


def snqn_terms(o: SNQNSettings) -> tuple[Term, ...]:
    """L_CE + ω L_Q + ω L_N."""
    negatives = td_on_negatives(o.learned, o.negatives, o.outside, o.negative_reward, o.negative_leads_to)
    return *sqn_terms(o), Term("ω L_N", o.omega if o.negatives else 0.0, negatives)


def register_sa2c(name: str, source: str, power: float) -> Callable[[Build], Build]:
    """Register SA2C with that power of the propensity correction."""
    return method(
        name,
        "value-based",
        needs=("goal", "rewards"),
        source=source,
        backbone=SNQN_SASREC,
        objective=SA2CSettings(warmup_events=3_840_000, lr_phase_2=0.001, propensity_power=power),
        train=TrainSettings(lr=0.01, epochs=50),
    )


@register_sa2c("sa2c-smooth", f"SA2C with its smoothed off-policy correction: {WSDM_2022}", power=1.0)
@register_sa2c("sa2c", f"SA2C: {WSDM_2022}", power=0.0)
def sa2c(backbone: SASRecSettings, objective: SA2CSettings, train: TrainSettings) -> Method:
    """SNQN, then cross-entropy weighted by the advantage over sampled items, with or without propensity correction.

    Popularity is that of the training events; the released code counts validation and test events, too. The power of
    the published smoothed runs is not known: 1 is ours. What the released code computes is had by
    train.draw=transitions and train.patience=0, and on RetailRocket train.lr=0.005; see snqn for its backbones.
    """
    o = objective
    symbol, weights = "A L_CE", [advantage(o.negatives, o.outside, o.advantage_min, o.advantage_max)]
    if o.propensity_power:
        symbol = "ρ A L_CE"
        weights.append(propensity(o.propensity_power, o.propensity_min, o.propensity_max))
    return actor_critic(backbone, o, train, snqn_terms(o), Term(symbol, 1.0, weighted_by(*weights)))
