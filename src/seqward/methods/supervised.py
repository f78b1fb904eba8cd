"""Next-item prediction: what any claim for reinforcement learning is compared with."""

from __future__ import annotations

from typing import Any

from seqward.backbones import backbone_of
from seqward.backbones.sasrec import SASRecSettings
from seqward.heads import item_head
from seqward.method import Method, Phase, Term
from seqward.methods.registry import method
from seqward.settings import settings
from seqward.terms import cross_entropy
from seqward.train import TrainSettings

SNQN_SASREC = SASRecSettings(scale_embedding=False, init="xavier")
"""SASRec of the SQN, SNQN and SA2C code."""


@settings
class SupervisedSettings:
    tied: bool = False
    """Score items by the backbone's item embeddings instead of a head of their own."""


@method(
    "sasrec",
    "supervised",
    source="Kang & McAuley, ICDM 2018, with full cross-entropy as in Xin et al., SIGIR 2020",
    backbone=SNQN_SASREC,
    objective=SupervisedSettings(),
    train=TrainSettings(lr=0.01),
)
def sasrec(backbone: SASRecSettings, objective: SupervisedSettings, train: TrainSettings) -> Method:
    """Self-attention with cross-entropy over the whole catalogue."""
    return next_item(backbone, objective, train)


def next_item(backbone: Any, objective: SupervisedSettings, train: TrainSettings) -> Method:
    """Cross-entropy over the whole catalogue on any backbone."""
    return Method(
        backbone=backbone_of(backbone),
        heads={"policy": item_head(backbone.init, objective.tied)},
        phases=(Phase((Term("L_CE", 1.0, cross_entropy),), train.lr),),
    )
