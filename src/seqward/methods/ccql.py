"""SASRec-CCQL: contrastive learning and conservative Q-learning, the paper's own method."""

from __future__ import annotations

from typing import Literal

from seqward.backbones.sasrec import SASRecSettings
from seqward.job import TrainSettings
from seqward.method import Method, Term
from seqward.methods.contrastive import ContrastSettings, of_augmented
from seqward.methods.registry import method
from seqward.methods.supervised import CCQL_SASREC
from seqward.methods.value_based import actor_critic, sqn_terms
from seqward.settings import NonNegative, Positive, Whole, settings
from seqward.terms import (
    conservative_on_catalogue,
    conservative_on_negatives,
    conservative_on_samples,
    q_weighted,
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
    """Contrastive learning and conservative Q-learning: the formulas of the paper.

    Eq. 4 has one sum of losses: the phases, and cross-entropy weighted by Q in the second, are the released code's, but
    the weight is each event's own Q and not the batch's mean. Negatives of the conservative term are drawn outside the
    session, the gradient is clamped to [-1, 1] entry by entry, and the second view permutes the items alone, not the
    padding. A batch is whole sessions, where the code draws transitions (train.draw=transitions).
    docs/paper-differences.md has all that differs, and sasrec-ccql-released what the code computes.
    """
    o = objective
    cql = {
        "negatives": conservative_on_negatives(o.negatives, o.temperature),
        "catalogue": conservative_on_catalogue(o.temperature, o.asks_for_best),
        "sampled": conservative_on_samples(o.negatives, o.temperature),
    }[o.conservative]
    eq_4 = (
        *sqn_terms(o),  # L_CE + ω L_Q
        of_augmented(o),  # L_CO
        Term("α L_CQL", o.alpha, cql),
    )
    return actor_critic(backbone, o, train, eq_4, Term("Q L_CE", 1.0, q_weighted))
