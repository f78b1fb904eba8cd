"""Contrastive learning: beside the next item, before it, or beside the critic too."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from seqward.augment import AUGMENTATIONS, Augment, crop, mask, one_of, reorder
from seqward.backbones.sasrec import SASRecSettings
from seqward.job import TrainSettings
from seqward.method import Loss, Method, Phase, Term
from seqward.methods.registry import method
from seqward.methods.supervised import CCQL_SASREC, SNQN_SASREC, SupervisedSettings, next_item
from seqward.methods.value_based import ActorCriticSettings, actor_critic, sqn_terms
from seqward.objectives.contrastive import Similarity
from seqward.settings import NonNegative, Positive, Share, settings
from seqward.terms import contrast, contrast_of_segments, contrast_of_views, masked_items, q_weighted

# Two views of one session --------------------------------------------------------------------------------------------


@settings
class ViewSettings:
    crop_share: Share = 0.6
    """Share of the history that crop keeps (eta)."""
    mask_share: Share = 0.3
    """Share of the history that mask hides behind the mask token (gamma)."""
    reorder_share: Share = 0.6
    """Share of the history that reorder shuffles (beta)."""
    similarity: Similarity = "dot"
    """Of two views: their inner product, or its cosine."""
    contrast_temperature: Positive = 1.0
    """Temperature of the similarities."""


@settings
class CL4SRecSettings(SupervisedSettings, ViewSettings):
    contrast_weight: NonNegative = 0.1
    """Weight of the contrastive term (lambda)."""


@settings
class PretrainingSettings:
    pretrain_epochs: NonNegative = 100.0
    """Passes of pre-training, of all the passes of train.epochs; 0 for none."""


@settings
class CP4RecSettings(SupervisedSettings, ViewSettings, PretrainingSettings):
    """``ViewSettings`` and how long."""


def crop_mask_reorder(o: ViewSettings) -> Augment:
    """One of CL4SRec's three augmentations for each history."""
    return one_of(crop(o.crop_share), mask(o.mask_share, token=True), reorder(o.reorder_share))


def of_views(o: ViewSettings) -> Loss:
    """The contrastive term of CL4SRec."""
    return contrast_of_views(crop_mask_reorder(o), o.contrast_temperature, o.similarity)


@method(
    "cl4srec",
    "contrastive",
    source="Xie et al., Contrastive Learning for Sequential Recommendation, ICDE 2022 (arXiv 2010.14395 v2)",
    backbone=SNQN_SASREC,
    objective=CL4SRecSettings(),
    train=TrainSettings(lr=0.001),
)
def cl4srec(backbone: SASRecSettings, objective: CL4SRecSettings, train: TrainSettings) -> Method:
    """SASRec that also tells two augmented views of a session (crop, mask, reorder) from those of other sessions.

    The backbone is that of the other SASRec methods here, with full cross-entropy; the source has 2 blocks of 2 heads,
    50 items, scores by the item embeddings (objective.tied=true) and has one sampled negative an event. Its shares and
    weight are searched for on each data set: these are the defaults of a later implementation by others. Both views may
    draw the same augmentation, as in the source (from memory). With train.draw=transitions a first event has no history
    to augment: its views are equal, and so are those of all such events, which are each other's negatives.
    """
    supervised = next_item(backbone, objective, train)
    contrastive = Term("λ L_CL", objective.contrast_weight, of_views(objective))
    return replace(supervised, phases=tuple(replace(p, terms=(*p.terms, contrastive)) for p in supervised.phases))


# Pre-training ---------------------------------------------------------------------------------------------------------


def pretrained(method: Method, epochs: float, *terms: Term) -> Method:
    """The method behind a phase that minimises the terms alone, in which nothing is selected."""
    first = Phase(terms, method.phases[0].lr, epochs=epochs, selects=False)
    return replace(method, phases=(first, *method.phases)) if epochs else method


@method(
    "cp4rec",
    "contrastive",
    source="Xie et al., Contrastive Pre-training for Sequential Recommendation, arXiv 2010.14395 v1, 2020",
    backbone=SNQN_SASREC,
    objective=CP4RecSettings(),
    train=TrainSettings(lr=0.001, epochs=300),
)
def cp4rec(backbone: SASRecSettings, objective: CP4RecSettings, train: TrainSettings) -> Method:
    """SASRec pre-trained to tell two augmented views of a session from those of others, then fine-tuned.

    The first version of the paper of CL4SRec, with its augmentations; all that differs there differs here. How long the
    source pre-trains is not known to us: 100 passes are our choice.
    """
    o = objective
    return pretrained(next_item(backbone, o, train), o.pretrain_epochs, Term("L_CL", 1.0, of_views(o)))


@settings
class S3RecSettings(SupervisedSettings, PretrainingSettings):
    pretrain_epochs: NonNegative = 300.0
    """Passes of pre-training, of all the passes of train.epochs; 0 for none."""
    masked_weight: NonNegative = 1.0
    """Weight of masked-item prediction."""
    masked_share: Share = 0.2
    """Share of the items that it hides, one at least."""
    segment_weight: NonNegative = 0.5
    """Weight of segment prediction."""

    def __post_init__(self) -> None:
        if not (self.masked_weight or self.segment_weight or not self.pretrain_epochs):
            raise ValueError("masked_weight and segment_weight are 0, so nothing is pre-trained: set pretrain_epochs 0")


@method(
    "s3-rec",
    "contrastive",
    source="Zhou et al., S3-Rec: Self-Supervised Learning for Sequential Recommendation, CIKM 2020",
    backbone=SNQN_SASREC,
    objective=S3RecSettings(),
    train=TrainSettings(lr=0.001, epochs=500),
)
def s3_rec(backbone: SASRecSettings, objective: S3RecSettings, train: TrainSettings) -> Method:
    """SASRec pre-trained to find hidden items and hidden segments, reading both sides, then fine-tuned.

    Of the source's four tasks the two that need no attributes of items. A hidden item is asked of the policy head over
    the whole catalogue, where the source has a bilinear form and one sampled item; a segment is compared by inner
    product with those of the whole batch, where it has a bilinear form and one sampled segment. The backbone is that
    of the other SASRec methods here; the source has 2 blocks of 2 heads, 50 items, and scores by the item embeddings
    (objective.tied=true). Fine-tuning is causal. Batches are those of training, where the source pre-trains in batches
    of 100; that a segment is at most half of its history is from memory.
    """
    o = objective
    return pretrained(
        next_item(backbone, o, train),
        o.pretrain_epochs,
        Term("L_MIP", o.masked_weight, masked_items(o.masked_share)),
        Term("β L_SP", o.segment_weight, contrast_of_segments),
    )


# Beside the critic ----------------------------------------------------------------------------------------------------


@settings
class ContrastSettings(ActorCriticSettings):
    contrast_weight: NonNegative = 1.0
    """Weight of the contrastive term."""
    contrast_temperature: Positive = 0.07
    """Temperature of its cosine similarities."""
    augment: Literal["crop", "mask", "reorder", "permutation"] = "permutation"
    """How the second view's history is changed."""
    augment_share: Share = 0.5
    """Share of the history that crop keeps, mask hides, reorder shuffles; permutation shuffles all of it."""


def of_augmented(o: ContrastSettings) -> Term:
    """L_CO as a term."""
    augment = AUGMENTATIONS[o.augment](o.augment_share)
    return Term("L_CO", o.contrast_weight, contrast(augment, o.contrast_temperature))


@method(
    "sasrec-co",
    "contrastive",
    needs=("goal", "rewards"),
    source="the paper, Eq. 4 without its conservative term",
    backbone=CCQL_SASREC,
    objective=ContrastSettings(),
    train=TrainSettings(lr=0.01),
)
def sasrec_co(backbone: SASRecSettings, objective: ContrastSettings, train: TrainSettings) -> Method:
    """Self-supervised actor-critic with a contrastive term: SASRec-CCQL without conservation, and without negatives.

    Phases, learning rate and backbone are those of the released code. Its weight on cross-entropy is one number a
    batch, its views hold shuffled padding and its similarity is taken by coordinate: see sasrec-co-released.
    """
    o = objective
    return actor_critic(backbone, o, train, (*sqn_terms(o), of_augmented(o)), Term("Q L_CE", 1.0, q_weighted))
