"""Next-item prediction: what any claim for reinforcement learning is compared with."""

from __future__ import annotations

from typing import Any

from seqward.backbones import backbone_of
from seqward.backbones.caser import CaserSettings
from seqward.backbones.fmlp import FMLPSettings
from seqward.backbones.gru4rec import GRU4RecSettings
from seqward.backbones.nextitnet import NextItNetSettings
from seqward.backbones.sasrec import SASRecSettings
from seqward.heads import item_head
from seqward.job import TrainSettings
from seqward.method import Method, Phase, Term
from seqward.methods.registry import method
from seqward.settings import settings
from seqward.terms import cross_entropy

SNQN_SASREC = SASRecSettings(scale_embedding=False, init="xavier")
"""SASRec of the SQN, SNQN and SA2C code."""
CCQL_SASREC = SASRecSettings(residual="double")
"""SASRec of the code released with SASRec-CCQL."""


@settings
class NextItemSettings:
    """Nothing to choose: cross-entropy over the whole catalogue, by a head of its own."""


@settings
class SupervisedSettings:
    tied: bool = False
    """Score items by the backbone's item embeddings instead of a head of their own."""


@method(
    "gru4rec",
    "supervised",
    source="Hidasi et al., ICLR 2016, as in Xin et al., SIGIR 2020",
    backbone=GRU4RecSettings(),
    objective=SupervisedSettings(),
    train=TrainSettings(lr=0.01, epochs=30),
)
def gru4rec(backbone: GRU4RecSettings, objective: SupervisedSettings, train: TrainSettings) -> Method:
    """A gated recurrent unit with cross-entropy over the whole catalogue.

    The original trains on session-parallel batches with sampled ranking losses, later with sampled cross-entropy and
    Adagrad; here, as in the code of SQN, it is the whole catalogue and Adam. That code applies the reset gate before
    the recurrent product, this one after it (the form of cuDNN). That its embeddings begin as N(0, 0.01) is assumed
    from its SASRec.
    """
    return next_item(backbone, objective, train)


@method(
    "caser",
    "supervised",
    source="Tang & Wang, WSDM 2018, as in Xin et al., SIGIR 2020 and WSDM 2022",
    backbone=CaserSettings(),
    objective=NextItemSettings(),
    train=TrainSettings(lr=0.01, epochs=30),
)
def caser(backbone: CaserSettings, objective: NextItemSettings, train: TrainSettings) -> Method:
    """Convolutions over the last items as an image, with cross-entropy over the whole catalogue.

    The original adds an embedding of the user and a layer before the scores, has horizontal filters of every height up
    to the window's (5 items), 4 vertical filters and dropout 0.5, and trains by binary cross-entropy of the next 3
    items against 3 negatives each. The code of the reinforcement-learning papers pads windows behind, this one in
    front, so its vertical filter weighs items by their distance from the end.
    """
    return next_item(backbone, SupervisedSettings(), train)


@method(
    "nextitnet",
    "supervised",
    source="Yuan et al., WSDM 2019, as in Xin et al., SIGIR 2020",
    backbone=NextItNetSettings(),
    objective=SupervisedSettings(),
    train=TrainSettings(lr=0.01, epochs=30),
)
def nextitnet(backbone: NextItNetSettings, objective: SupervisedSettings, train: TrainSettings) -> Method:
    """Dilated causal convolutions in residual blocks, with cross-entropy over the whole catalogue.

    The original's code has dilations (1, 2) only, 100 channels, learning rate 0.001 and batches of 32. Padding is
    masked between the two convolutions of a block too, which matters only where it stands between items.
    """
    return next_item(backbone, objective, train)


@method(
    "sasrec",
    "supervised",
    source="Kang & McAuley, ICDM 2018, with full cross-entropy as in Xin et al., SIGIR 2020",
    backbone=SNQN_SASREC,
    objective=SupervisedSettings(),
    train=TrainSettings(lr=0.01, epochs=30),
)
def sasrec(backbone: SASRecSettings, objective: SupervisedSettings, train: TrainSettings) -> Method:
    """Self-attention with cross-entropy over the whole catalogue.

    The original has 2 blocks of width 50 and trains with learning rate 0.001 by binary cross-entropy against 1
    negative. The settings are those of the code of SQN and SNQN; the code of SASRec-CCQL trains it for 60 epochs.
    """
    return next_item(backbone, objective, train)


@method(
    "fmlp-rec",
    "supervised",
    source="Zhou et al., WWW 2022, as ported to the protocol of Xin et al., SIGIR 2020",
    backbone=FMLPSettings(),
    objective=SupervisedSettings(),
    train=TrainSettings(lr=0.001, epochs=30),
)
def fmlp_rec(backbone: FMLPSettings, objective: SupervisedSettings, train: TrainSettings) -> Method:
    """A learned filter over frequencies in place of attention, with cross-entropy over the whole catalogue.

    The original's code has 2 blocks, dropout 0.5, windows of 50 items, filters that begin at 0.02 instead of 1, and
    trains for up to 200 epochs by binary cross-entropy of the last item against 1 negative. The port pads windows
    behind; they are padded in front here, as in the original.
    """
    return next_item(backbone, objective, train)


L_CE = Term("L_CE", 1.0, cross_entropy)


def next_item(backbone: Any, objective: SupervisedSettings, train: TrainSettings, term: Term = L_CE) -> Method:
    """One term on any backbone: cross-entropy over the whole catalogue, if no other is named."""
    return Method(
        backbone=backbone_of(backbone),
        heads={"policy": item_head(backbone.init, objective.tied)},
        phases=(Phase((term,), train.lr),),
    )
