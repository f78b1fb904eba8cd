"""Which backbone each section of settings builds. A new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from seqward.backbones.backbone import Vocabulary
from seqward.backbones.caser import Caser, CaserSettings
from seqward.backbones.fmlp import FMLPSettings, fmlp
from seqward.backbones.gru4rec import GRU4Rec, GRU4RecSettings
from seqward.backbones.nextitnet import NextItNet, NextItNetSettings
from seqward.backbones.sasrec import SASRec, SASRecSettings

BACKBONES: dict[type, Callable[[Any, Vocabulary], nn.Module]] = {
    SASRecSettings: SASRec,
    GRU4RecSettings: GRU4Rec,
    CaserSettings: Caser,
    NextItNetSettings: NextItNet,
    FMLPSettings: fmlp,
}


def backbone_of(settings: Any) -> Callable[[Vocabulary], nn.Module]:
    """What builds the backbone that the settings are of."""
    return lambda vocabulary: BACKBONES[type(settings)](settings, vocabulary)
