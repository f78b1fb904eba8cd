"""SASRec-CCQL: contrastive learning and conservative Q-learning, the paper's own method."""

from __future__ import annotations

from typing import Literal

from seqward.augment import AUGMENTATIONS
from seqward.backbones.sasrec import SASRecSettings
from seqward.job import TrainSettings
from seqward.method import Method, Phase, Term
from seqward.methods.contrastive import ContrastSettings
from seqward.methods.registry import method
from seqward.methods.supervised import CCQL_SASREC
from seqward.methods.value_based import actor_critic
from seqward.settings import NonNegative, Positive, Whole, settings
from seqward.terms import (
    conservative_on_catalogue,
    conservative_on_negatives,
    conservative_on_samples,
    contrast,
    cross_entropy,
    q_weighted,
    td_loss,
)


@settings
class CCQLSettings(ContrastSettings):
    alpha: NonNegative = 0.01
    """Weight of the conservative term."""
    conservative: Literal["negatives", "catalogue", "sampled"] = "negatives"
    """Its log-sum-exp runs over the logged item and sampled negatives, or over all items (Eq. 2); sampled: as over all
    items, but its gradient is estimated, without bias, from items drawn by the softmax of Q."""
    negatives: Whole = 10
    """Items outside the session, drawn for each event; where sampled, items drawn by the softmax of Q."""
    temperature: Positive = 0.5
    """Temperature of its log-sum-exp."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha and self.conservative == "negatives" and not self.negatives:
            raise ValueError("negatives is 0, which leaves a conservative term of 0: to do without it set alpha 0")
        if self.alpha and self.conservative == "sampled" and self.critic != "linear":
            raise ValueError(
                f"conservative sampled estimates a gradient by scores, and with critic {self.critic} they are not Q: "
                "take catalogue or negatives"
            )
        if self.alpha and self.conservative == "sampled" and not self.negatives:
            raise ValueError(
                "negatives is 0, and conservative sampled is a mean over them: to do without it set alpha 0"
            )


@method(
    "sasrec-ccql",
    "value-based",
    needs=("goal", "rewards"),
    source="the paper, Eq. 4, with the phases and hyper-parameters of its RC15 runs",
    backbone=CCQL_SASREC,
    objective=CCQLSettings(warmup_events=3_840_000, lr_phase_2=0.001),
    train=TrainSettings(lr=0.005, clip_value=1.0),
)
def sasrec_ccql(backbone: SASRecSettings, objective: CCQLSettings, train: TrainSettings) -> Method:
    """Contrastive learning and conservative Q-learning: the formulas of the paper."""
    o = objective
    augment = AUGMENTATIONS[o.augment](o.augment_share)
    cql = {
        "negatives": conservative_on_negatives(o.negatives, o.temperature),
        "catalogue": conservative_on_catalogue(o.temperature),
        "sampled": conservative_on_samples(o.negatives, o.temperature),
    }[o.conservative]
    eq_4 = (
        Term("L_CE", 1.0, cross_entropy),
        Term("ω L_Q", o.omega, td_loss(o.learned)),
        Term("L_CO", o.contrast_weight, contrast(augment, o.contrast_temperature)),
        Term("α L_CQL", o.alpha, cql),
    )
    return actor_critic(
        backbone,
        o,
        Phase(eq_4, train.lr, o.warmup_events),
        Phase((Term("Q L_CE", 1.0, q_weighted), *eq_4[1:]), o.lr_phase_2 or train.lr),
    )
