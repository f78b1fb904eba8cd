"""What released code computes where it departs from its paper, term by term (docs/paper-differences.md)."""

from __future__ import annotations

from typing import Literal

from seqward.augment import permutation_with_padding
from seqward.backbones.sasrec import SASRecSettings
from seqward.method import Method, Phase, Term
from seqward.methods.ccql import CCQL_SASREC
from seqward.methods.registry import method
from seqward.methods.value_based import ActorCriticSettings, actor_critic
from seqward.settings import NonNegative, Positive, Whole, settings
from seqward.terms import (
    conservative_as_released,
    contrast,
    contrast_by_coordinate,
    cross_entropy,
    q_weighted_as_released,
    td_loss,
)
from seqward.train import TrainSettings


@settings
class CCQLReleasedSettings(ActorCriticSettings):
    alpha: NonNegative = 0.01
    """Weight of the term in place of the conservative one."""
    temperature: Positive = 0.5
    """Temperature of its log-sum-exp."""
    contrast: Literal["cosine", "coordinate"] = "cosine"
    """cosine as for RC15; coordinate as the released code forces for RetailRocket."""
    contrast_weight: NonNegative = 1.0
    """Weight of the contrastive term."""
    contrast_temperature: Positive = 0.07
    """Temperature of cosine similarities."""
    warmup_events: Whole = 3_840_000
    """Training events before cross-entropy is multiplied by the batch's mean Q (15,000 steps of 256, as for RC15)."""
    lr_phase_2: Positive = 0.001
    """Learning rate after the warm-up."""


@method(
    "sasrec-ccql-released",
    "as released",
    needs=("rewards",),
    source="the paper's released code (what differs from the paper: docs/paper-differences.md)",
    backbone=CCQL_SASREC,
    objective=CCQLReleasedSettings(),
    train=TrainSettings(lr=0.005, clip_value=1.0, draw="transitions"),
)
def sasrec_ccql_released(backbone: SASRecSettings, objective: CCQLReleasedSettings, train: TrainSettings) -> Method:
    """What the released code of SASRec-CCQL computes, term by term."""
    o = objective
    augment = permutation_with_padding(backbone.session_max_len)
    by_coordinate = o.contrast == "coordinate"
    co = contrast_by_coordinate(augment) if by_coordinate else contrast(augment, o.contrast_temperature, same_row=True)
    released = (
        Term("L_CE", 1.0, cross_entropy),
        Term("ω L_Q", o.omega, td_loss(o.gamma)),
        Term("L_CO as released", o.contrast_weight, co),
        Term("α L_CQL as released", o.alpha, conservative_as_released(o.temperature)),
    )
    return actor_critic(
        backbone,
        o,
        Phase(released, train.lr, o.warmup_events),
        Phase((Term("mean Q L_CE", 1.0, q_weighted_as_released), *released[1:]), o.lr_phase_2),
    )
