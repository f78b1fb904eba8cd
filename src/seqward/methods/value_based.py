"""Self-supervised reinforcement learning: a Q head beside the policy head, on two networks that swap roles."""

from __future__ import annotations

from typing import Any, Literal

from seqward.backbones import backbone_of
from seqward.backbones.sasrec import SASRecSettings
from seqward.heads import item_head
from seqward.method import Method, Phase, Term
from seqward.methods.registry import method
from seqward.methods.supervised import SNQN_SASREC
from seqward.settings import NonNegative, Rate, Share, Whole, settings
from seqward.target import Ema, Twin
from seqward.terms import cross_entropy, q_weighted, td_loss
from seqward.train import TrainSettings


@settings
class ActorCriticSettings:
    gamma: Share = 0.5
    """Discount of the return."""
    omega: NonNegative = 1.0
    """Weight of the temporal-difference loss."""
    warmup_events: Whole = 7_680_000
    """Training events before cross-entropy is weighted by Q (30,000 steps of 256 transitions)."""
    phases: Literal[1, 2] = 2
    """1: never weight cross-entropy by Q (this is SQN)."""
    target: Literal["twin", "ema"] = "twin"
    """twin: two networks swap roles by a coin. ema: one network and a target that follows it."""
    tau: Rate = 0.005
    """Rate at which an ema target follows."""


@method(
    "sasrec-ac",
    "value-based",
    needs=("rewards",),
    source="SAC: Xin et al., Self-Supervised Reinforcement Learning for Recommender Systems, SIGIR 2020",
    backbone=SNQN_SASREC,
    objective=ActorCriticSettings(),
    train=TrainSettings(lr=0.01),
)
def sasrec_ac(backbone: SASRecSettings, objective: ActorCriticSettings, train: TrainSettings) -> Method:
    """Self-supervised actor-critic: SQN, then cross-entropy weighted by Q."""
    critic = Term("ω L_Q", objective.omega, td_loss(objective.gamma))
    return actor_critic(
        backbone,
        objective,
        Phase((Term("L_CE", 1.0, cross_entropy), critic), train.lr, objective.warmup_events),
        Phase((Term("Q L_CE", 1.0, q_weighted), critic), train.lr),
    )


def actor_critic(backbone: Any, o: ActorCriticSettings, first: Phase, second: Phase) -> Method:
    """Policy and Q heads over a backbone, one phase or two, and a target network."""
    phases = (Phase(first.terms, first.lr),) if o.phases == 1 else tuple(p for p in (first, second) if p.events != 0)
    return Method(
        backbone=backbone_of(backbone),
        heads={"policy": item_head(backbone.init), "q": item_head(backbone.init)},
        phases=phases,
        target=Twin() if o.target == "twin" else Ema(o.tau),
        critic="q",
        gamma=o.gamma,
    )
