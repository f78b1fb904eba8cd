"""eSASRec against the equations of a LiGR block, slot by slot, and the settings of its source."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from encoders import CONTEXT, PAD, assert_states, attended, build
from seqward.backbones.esasrec import ESASRec, ESASRecSettings
from seqward.errors import SeqwardError
from seqward.methods import METHODS
from seqward.recommender import Recommender


def embedded(b: ESASRec, row: list[int]) -> dict[int, Tensor]:
    return {t: b.items.weight[i] + b.positions.weight[min(t, CONTEXT)] for t, i in enumerate(row) if i != PAD}


def slow(b: ESASRec, row: list[int]) -> dict[int, Tensor]:
    """x + sigmoid(W1 x) * MHA(LN(x)), then x + sigmoid(W2 x) * SwiGLU(LN(x)); gates read before the norm."""
    x = embedded(b, row)
    for block in b.blocks:
        block: Any
        normed = {t: block.norm_attention(x[t]) for t in x}
        mixed = {t: attended(block.attention, normed, t, [slot for slot in x if slot <= t]) for t in x}
        x = {t: x[t] + torch.sigmoid(block.gate_attention(x[t])) * mixed[t] for t in x}
        for t, state in x.items():
            n = block.norm_feed(state)
            gated = block.feed_1(n) * torch.sigmoid(block.feed_1(n)) * block.feed_gate(n)
            x[t] = state + torch.sigmoid(block.gate_feed(state)) * block.feed_2(gated)
    return x


@pytest.mark.parametrize("changes", [{"n_blocks": 1}, {"n_blocks": 2, "n_heads": 2}, {"expansion": 1}], ids=str)
def test_against_its_equations(changes: dict[str, Any]) -> None:
    assert_states(build(ESASRecSettings, changes), slow)


def test_closed_gates_let_nothing_in() -> None:
    """Gates at 0: a state is its item and its place."""
    b = build(ESASRecSettings, {})
    for block in b.blocks:
        for gate in (block.gate_attention, block.gate_feed):
            gate.weight.data.zero_()
            gate.bias.data.fill_(-1e4)
    assert_states(b, embedded)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(SeqwardError) as refusal:
        Recommender("esasrec", n_heads=3)
    assert str(refusal.value) == "backbone n_factors 64 is not a multiple of n_heads 3."


def test_published() -> None:
    """literature 2.2 and the authors' table for ML-1M: d 64, 2 blocks, 1 head, dropout .1, ff x4, 200 items, 256
    negatives without correction; Adam with 0.001, up to 100 epochs, patience 50."""
    backbone, objective, train = METHODS["esasrec"].sections.values()
    assert backbone == ESASRecSettings(
        n_factors=64, n_blocks=2, n_heads=1, dropout_rate=0.1, expansion=4, session_max_len=200
    )
    assert (objective.negatives, objective.log_q, objective.shared, objective.tied) == (256, False, False, True)
    assert (train.lr, train.epochs, train.patience, train.batch_size, train.draw) == (0.001, 100, 50, 128, "tails")
