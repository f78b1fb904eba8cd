"""Backbones at a size at which their equations can be written out slot by slot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

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


ROWS: list[list[int]] = [
    [],
    [1, 2, 3],
    [7, 7, 1, 7],
    [1, 2, 3, 4, 5, 6],
    [PAD, PAD, 3],
    [PAD, 1, PAD, PAD, 2],
    [4, PAD, 5, PAD, PAD],
]
"""Nothing; items; a repeat; one item beyond the context, as in training; padding in front, between and at the end."""


def assert_states(backbone: Any, slow: Callable[[Any, list[int]], dict[int, Tensor]]) -> None:
    """Hold a backbone to ``slow(backbone, tokens)``, which gives the state of each slot that holds an item."""
    together = backbone(tokens(*(row + [PAD] * (6 - len(row)) for row in ROWS)))
    for row, states in zip(ROWS, together, strict=True):
        expected = slow(backbone, [START, *row])
        assert expected.keys() == {slot for slot, token in enumerate([START, *row]) if token != PAD}
        for slot, state in enumerate(states):
            torch.testing.assert_close(state, expected.get(slot, torch.zeros(backbone.width)))
