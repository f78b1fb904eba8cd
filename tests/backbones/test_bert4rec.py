"""BERT4Rec against the equations of a post-norm transformer, slot by slot, from one side and from both."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from encoders import CONTEXT, PAD, ROWS, START, assert_states, build, tokens
from encoders import attended as slow_attention
from seqward.backbones.backbone import Vocabulary
from seqward.backbones.bert4rec import BERT4Rec, BERT4RecSettings
from seqward.heads import TiedHead
from seqward.methods import METHODS
from seqward.model import Model

VARIANTS = pytest.mark.parametrize("changes", [{}, {"n_blocks": 1, "n_heads": 1}], ids=str)


def gelu(x: Tensor) -> Tensor:
    """x times the share of a standard normal below it."""
    return x * 0.5 * (1 + torch.erf(x / 2**0.5))


def slow(b: BERT4Rec, row: list[int], causal: bool = True) -> dict[int, Tensor]:
    """LN(item + place); LN(x + MHA(x)), LN(x + W2 GELU(W1 x)) in each block; at last LN(GELU(W x))."""
    real = [t for t, token in enumerate(row) if token != PAD]
    x = {t: b.norm_embedding(b.items.weight[row[t]] + b.positions.weight[t]) for t in real}
    for block in b.blocks:
        block: Any
        read = {t: [slot for slot in real if slot <= t or not causal] for t in real}
        x = {t: block.norm_attention(x[t] + slow_attention(block.attention, x, t, read[t])) for t in real}
        x = {t: block.norm_feed(x[t] + block.feed_2(gelu(block.feed_1(x[t])))) for t in real}
    return {t: b.norm(gelu(b.transform(x[t]))) for t in real}


@VARIANTS
def test_against_its_equations(changes: dict[str, Any]) -> None:
    assert_states(build(BERT4RecSettings, changes), slow)


@VARIANTS
def test_from_both_sides(changes: dict[str, Any]) -> None:
    b = build(BERT4RecSettings, changes)
    for row in ROWS:
        states = b(tokens(row), causal=False)[0]
        for slot, expected in slow(b, [START, *row], causal=False).items():
            torch.testing.assert_close(states[slot], expected)


def test_the_mask_that_asks_has_a_place_of_its_own() -> None:
    """Behind a full context: the start, five items and the mask make seven places."""
    assert build(BERT4RecSettings, {}).positions.num_embeddings == CONTEXT + 2


def test_initialisation() -> None:
    """A normal of 0.02 cut at 0.04, embeddings too; its deviation is 0.88 of that."""
    torch.manual_seed(0)
    b = BERT4Rec(BERT4RecSettings(), Vocabulary(1000)).requires_grad_(False)
    block: Any = b.blocks[0]
    for weight in (b.items.weight, block.feed_1.weight, b.transform.weight):
        assert float(weight.abs().max()) <= 0.04
        assert abs(float(weight.std()) - 0.0176) < 0.001
    assert b.transform.bias.tolist() == [0.0] * 64


def test_published() -> None:
    """literature 6.2 and the authors' run for ML-1M: d 64, 2 blocks, 2 heads, dropout .2, 200 items, mask share .2,
    the last item alone in one of 11 sequences; Adam with 0.0001, batches of 256, gradients cut to 5."""
    backbone, objective, train = METHODS["bert4rec"].sections.values()
    assert backbone == BERT4RecSettings(n_factors=64, n_blocks=2, n_heads=2, dropout_rate=0.2, session_max_len=200)
    assert (objective.share, round(1 / objective.last), objective.tied) == (0.2, 11, True)
    assert (train.lr, train.batch_size, train.clip_norm, train.draw) == (0.0001, 256, 5.0, "sessions")


def test_its_head_is_tied_and_has_a_bias() -> None:
    entry = METHODS["bert4rec"]
    method = entry.build(**entry.sections)
    model = Model(method.backbone, method.heads, Vocabulary(5))
    head = model.heads["policy"]
    assert isinstance(head, TiedHead)
    weight, bias = head(model.backbone)
    assert weight.data_ptr() == model.backbone.items.weight.data_ptr()  # type: ignore[union-attr]
    assert bias is not None
    assert bias.tolist() == [0.0] * 5
    assert method.query == "mask"
