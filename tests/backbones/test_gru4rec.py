"""GRU4Rec against the equations of a gated recurrent unit, item by item."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from encoders import PAD, assert_states, build
from seqward.backbones.backbone import Vocabulary
from seqward.backbones.gru4rec import GRU4Rec, GRU4RecSettings
from seqward.methods import METHODS


def slow(b: GRU4Rec, row: list[int]) -> dict[int, Tensor]:
    """h = u h + (1 - u) tanh(W x + b + r (U h + c)), gates r and u sigmoid(W x + b + U h + c); padding is not there."""
    weight: Any = dict(b.gru.named_parameters())
    h, states = torch.zeros(8), {}
    for slot, token in enumerate(row):
        if token == PAD:
            continue
        of_x = weight["weight_ih_l0"] @ b.items.weight[token] + weight["bias_ih_l0"]
        of_h = weight["weight_hh_l0"] @ h + weight["bias_hh_l0"]
        r, u = torch.sigmoid(of_x[:8] + of_h[:8]), torch.sigmoid(of_x[8:16] + of_h[8:16])
        h = u * h + (1 - u) * torch.tanh(of_x[16:] + r * of_h[16:])
        states[slot] = h
    return states


def test_against_its_equations() -> None:
    assert_states(build(GRU4RecSettings, {}), slow)


@pytest.mark.parametrize("init", ["normal", "xavier"])
def test_initialisation(init: Any) -> None:
    """Glorot of the two kernels of TensorFlow's cell, [128, 128] of the gates and [128, 64]; open gates, bias 1."""
    torch.manual_seed(0)
    b = GRU4Rec(GRU4RecSettings(init=init), Vocabulary(1000)).requires_grad_(False)
    assert abs(float(b.items.weight.std()) - 0.01) < 0.0005
    weights: Any = dict(b.gru.named_parameters())
    for name in ("weight_ih_l0", "weight_hh_l0"):
        gates, candidate = weights[name].split([128, 64])
        if init == "normal":
            assert abs(float(weights[name].std()) - 0.01) < 0.0005
            continue
        for part, bound in ((gates, (6 / 256) ** 0.5), (candidate, (6 / 192) ** 0.5)):
            assert 0.99 * bound < float(part.abs().max()) <= bound
            assert abs(float(part.std()) - bound / 3**0.5) < 0.03 * bound
    opened = [1.0 if init == "xavier" else 0.0] * 128 + [0.0] * 64
    assert weights["bias_ih_l0"].tolist() == opened
    assert weights["bias_hh_l0"].tolist() == [0.0] * 192


def test_published() -> None:
    """method-spec 2.3, 3.1 and 6: embeddings and states of 64, no dropout; Adam with 0.01, 30 epochs."""
    sections = METHODS["gru4rec"].sections
    assert sections["backbone"] == GRU4RecSettings(n_factors=64, session_max_len=10, dropout_rate=0.0, init="xavier")
    assert (sections["train"].lr, sections["train"].epochs, sections["train"].batch_size) == (0.01, 30, 256)
