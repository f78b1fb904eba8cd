"""CDARL: a reward learned by telling what users do from what they do not. A reconstruction."""

from __future__ import annotations

from typing import Literal

from seqward.backbones.sasrec import SASRecSettings
from seqward.critic import CriticSettings
from seqward.heads import pair_head
from seqward.job import TrainSettings
from seqward.method import Method, Phase, Term
from seqward.methods.contrastive import PretrainingSettings, ViewSettings, of_views, pretrained
from seqward.methods.registry import method
from seqward.methods.supervised import SNQN_SASREC
from seqward.methods.value_based import with_critic
from seqward.settings import Count, NonNegative, settings
from seqward.terms import cross_entropy, judged, td_loss, with_intrinsic

CDARL_2022 = "reconstruction of CDARL: Liu et al., Knowledge and Information Systems 64, 2022"


@settings
class CDARLSettings(CriticSettings, ViewSettings):
    contrast_weight: NonNegative = 0.1
    """Weight of the contrastive term."""
    intrinsic_share: NonNegative = 0.1
    """What the judge's reward counts beside that of the log (lambda)."""
    intrinsic: Literal["likeness", "imitation"] = "likeness"
    """The judge's reward, in [0, 1]: D, or -log(1 - D) cut off at 1."""
    fakes: Literal["uniform", "policy"] = "uniform"
    """What the judge tells logged items from: items drawn uniformly, but for the logged one, or from the policy."""
    n_fakes: Count = 10
    """How many of them for each event."""


@settings
class CP4RecCDARLSettings(CDARLSettings, PretrainingSettings):
    """``CDARLSettings`` and how long the encoder is pre-trained."""


@method(
    "cdarl",
    "value-based",
    needs=("goal", "rewards"),
    source=f"{CDARL_2022}, on SASRec",
    backbone=SNQN_SASREC,
    objective=CDARLSettings(),
    train=TrainSettings(lr=0.01),
)
def cdarl(backbone: SASRecSettings, objective: CDARLSettings, train: TrainSettings) -> Method:
    """SQN on contrastive states, with a reward beside the log's that a judge of states and items gives.

    A reconstruction from the abstract: neither the paper's text nor code was to be had. From the abstract are a
    contrastive module for the states, an intrinsic reward that imitates the user's dynamics, its sum with the reward
    of the log, double Q-learning, and a layer each for cross-entropy, which ranks, and for Q. Ours are the rest: what
    the judge is (one hidden layer on the state beside the item's embedding), what it is shown, that its reward is
    bounded, every weight, and CL4SRec's augmentations for the contrastive module. States are held constant in the
    judge's loss and embeddings are not: it has no other knowledge of items, and so shapes those that the encoder reads,
    of the items it is shown. The reward itself is a constant to Q and teaches neither. See cl4srec for what the views
    of a first event are with train.draw=transitions.
    """
    return with_critic(backbone, objective, Phase(cdarl_terms(objective), train.lr), judge=pair_head(backbone.init))


def cdarl_terms(o: CDARLSettings) -> tuple[Term, ...]:
    """L_CE + ω L_Q + λ_CL L_CL + L_D, where L_Q learns from r + λ r_int."""
    return (
        Term("L_CE", 1.0, cross_entropy),
        Term("ω L_Q", o.omega, td_loss(o.learned, with_intrinsic(o.intrinsic_share, o.intrinsic))),
        Term("λ_CL L_CL", o.contrast_weight, of_views(o)),
        Term("L_D", 1.0 if o.omega and o.intrinsic_share else 0.0, judged(o.fakes, o.n_fakes)),
    )


@method(
    "cp4rec-cdarl",
    "value-based",
    needs=("goal", "rewards"),
    source=f"{CDARL_2022}, on CP4Rec",
    backbone=SNQN_SASREC,
    objective=CP4RecCDARLSettings(),
    train=TrainSettings(lr=0.01, epochs=160),
)
def cp4rec_cdarl(backbone: SASRecSettings, objective: CP4RecCDARLSettings, train: TrainSettings) -> Method:
    """The reconstruction of CDARL behind a phase that pre-trains the states by contrast alone.

    All that is said of cdarl holds here; of the pre-training, what is said of cp4rec.
    """
    o = objective
    return pretrained(cdarl(backbone, o, train), o.pretrain_epochs, Term("L_CL", 1.0, of_views(o)))
