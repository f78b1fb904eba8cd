"""NARM against its equations, slot by slot."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from encoders import PAD, VOCABULARY, assert_states, build, tokens
from seqward.backbones.narm import NARM, NARMSettings
from seqward.methods import METHODS


def slow(b: NARM, row: list[int]) -> dict[int, Tensor]:
    """c_t = B [h_t; sum_j v' sigmoid(A1 h_t + A2 h_j) h_j] over the items j up to t, h being the recurrent unit's."""
    h = b.gru(tokens(row[1:]))[0]
    real = [slot for slot, token in enumerate(row) if token != PAD]
    states = {}
    for t in real:
        picked = torch.zeros(8)
        for j in real:
            if j <= t:
                share: Any = b.attention.weight[0] @ torch.sigmoid(b.of_last.weight @ h[t] + b.of_each.weight @ h[j])
                picked = picked + share * h[j]
        states[t] = b.decoder.weight @ torch.cat([h[t], picked])
    return states


def test_against_its_equations() -> None:
    assert_states(build(NARMSettings, {}), slow)


def test_without_an_attention_the_last_state_is_decoded() -> None:
    """v = 0 picks nothing: half of the decoder reads zeros."""
    b = build(NARMSettings, {})
    with torch.no_grad():
        b.attention.weight.zero_()
    items = tokens([1, 2, 3])
    torch.testing.assert_close(b(items), b.gru(items) @ b.decoder.weight[:, :8].T)


def test_the_recurrent_unit_begins_as_gru4rec_does() -> None:
    """Its gates are open, and no layer of the attention has a bias."""
    b = NARM(NARMSettings(n_factors=8), VOCABULARY)
    assert b.gru.gru.bias_ih_l0.tolist() == [1.0] * 16 + [0.0] * 8
    assert {name for name, _ in b.named_parameters() if "bias" in name} == {
        f"gru.gru.bias_{part}_l0" for part in ("ih", "hh")
    }


def test_published() -> None:
    """Scores by the item embeddings behind a bilinear form (section 3.4); width 100, 19 items (from memory)."""
    sections = METHODS["narm"].sections
    assert sections["backbone"] == NARMSettings(n_factors=100, session_max_len=19, dropout_rate=0.25, init="xavier")
    assert sections["objective"].tied and (sections["train"].lr, sections["train"].batch_size) == (0.001, 512)
