"""Which backbone each section of settings builds. A new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from seqward.backbones.backbone import Vocabulary
from seqward.backbones.bert4rec import BERT4Rec, BERT4RecSettings
from seqward.backbones.caser import Caser, CaserSettings
from seqward.backbones.esasrec import ESASRec, ESASRecSettings
from seqward.backbones.fmlp import FMLPSettings, fmlp
from seqward.backbones.fpmc import FPMC, FPMCSettings
from seqward.backbones.gru4rec import GRU4Rec, GRU4RecSettings
from seqward.backbones.narm import NARM, NARMSettings
from seqward.backbones.nextitnet import NextItNet, NextItNetSettings
from seqward.backbones.prl import PRL, PRLSettings
from seqward.backbones.sasrec import SASRec, SASRecSettings
from seqward.backbones.srgnn import SRGNNSettings, srgnn

BACKBONES: dict[type, Callable[[Any, Vocabulary], nn.Module]] = {
    SASRecSettings: SASRec,
    PRLSettings: PRL,
    GRU4RecSettings: GRU4Rec,
    NARMSettings: NARM,
    CaserSettings: Caser,
    NextItNetSettings: NextItNet,
    FMLPSettings: fmlp,
    ESASRecSettings: ESASRec,
    BERT4RecSettings: BERT4Rec,
    FPMCSettings: FPMC,
    SRGNNSettings: srgnn,
}


def backbone_of(settings: Any) -> Callable[[Vocabulary], nn.Module]:
    """What builds the backbone that the settings are of."""
    return lambda vocabulary: BACKBONES[type(settings)](settings, vocabulary)
