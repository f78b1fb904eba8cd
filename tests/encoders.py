"""Backbones at a size at which their equations can be written out slot by slot."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from seqward.backbones import BACKBONES
from seqward.backbones.backbone import Histories, Vocabulary

VOCABULARY = Vocabulary(12, n_users=2)
N_ITEMS, PAD, START = VOCABULARY.n_items, VOCABULARY.pad, VOCABULARY.start
CONTEXT = 5


def build(section: type, changes: dict[str, Any], dropout: float = 0.0) -> Any:
    """The backbone of the settings at width 8, in training mode, its weights of a size at which every slot matters."""
    torch.manual_seed(0)
    known = {"n_factors": 8, "session_max_len": CONTEXT, "dropout_rate": dropout} | changes
    backbone = BACKBONES[section](section(**{k: v for k, v in known.items() if hasattr(section, k)}), VOCABULARY)
    for p in backbone.parameters():
        nn.init.normal_(p, std=0.5)
    return backbone


def tokens(*rows: list[int]) -> Histories:
    """Rows of items and pads behind the start token, all of user 1."""
    return Histories(torch.tensor([[START, *row] for row in rows]), users=torch.ones(len(rows), dtype=torch.int64))
