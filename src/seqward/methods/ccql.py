"""SASRec-CCQL: contrastive learning and conservative Q-learning, the paper's own method."""

from __future__ import annotations

from typing import Literal

from seqward.augment import AUGMENTATIONS
from seqward.backbones.sasrec import SASRecSettings
from seqward.method import Method, Phase, Term
from seqward.methods.registry import method
from seqward.methods.value_based import ActorCriticSettings, actor_critic
from seqward.settings import NonNegative, Positive, Share, Whole, settings
from seqward.terms import (
    conservative_on_catalogue,
    conservative_on_negatives,
    contrast,
    cross_entropy,
    q_weighted,
    td_loss,
)
from seqward.train import TrainSettings

CCQL_SASREC = SASRecSettings(residual="double", feed_forward="dropout-relu")
"""SASRec of the code released with SASRec-CCQL."""


@settings
class CCQLSettings(ActorCriticSettings):
    alpha: NonNegative = 0.01
    """Weight of the conservative term."""
    conservative: Literal["negatives", "catalogue"] = "negatives"
    """Its log-sum-exp runs over the logged item and sampled negatives, or over all items (Eq. 2)."""
    negatives: Whole = 10
    """Items outside the session, drawn for each event."""
    temperature: Positive = 0.5
    """Temperature of its log-sum-exp."""
    contrast_weight: NonNegative = 1.0
    """Weight of the contrastive term."""
    contrast_temperature: Positive = 0.07
    """Temperature of its cosine similarities."""
    augment: Literal["crop", "mask", "reorder", "permutation"] = "permutation"
    """How the second view's history is changed."""
    augment_share: Share = 0.5
    """Share of the history that crop keeps, mask hides, reorder shuffles; permutation shuffles all of it."""
    warmup_events: Whole = 3_840_000
    """Training events before cross-entropy is weighted by Q (15,000 steps of 256 transitions, as for RC15)."""
    lr_phase_2: Positive = 0.001
    """Learning rate after the warm-up."""


@method(
    "sasrec-ccql",
    "value-based",
    needs=("rewards",),
    source="the paper, Eq. 4, with the phases and hyper-parameters of its RC15 runs",
    backbone=CCQL_SASREC,
    objective=CCQLSettings(),
    train=TrainSettings(lr=0.005, clip_value=1.0),
)
def sasrec_ccql(backbone: SASRecSettings, objective: CCQLSettings, train: TrainSettings) -> Method:
    """Contrastive learning and conservative Q-learning: the formulas of the paper."""
    o = objective
    augment = AUGMENTATIONS[o.augment](o.augment_share)
    over_catalogue = o.conservative == "catalogue"
    cql = (
        conservative_on_catalogue(o.temperature)
        if over_catalogue
        else conservative_on_negatives(o.negatives, o.temperature)
    )
    eq_4 = (
        Term("L_CE", 1.0, cross_entropy),
        Term("ω L_Q", o.omega, td_loss(o.gamma)),
        Term("L_CO", o.contrast_weight, contrast(augment, o.contrast_temperature)),
        Term("α L_CQL", o.alpha, cql),
    )
    return actor_critic(
        backbone,
        o,
        Phase(eq_4, train.lr, o.warmup_events),
        Phase((Term("Q L_CE", 1.0, q_weighted), *eq_4[1:]), o.lr_phase_2),
    )
