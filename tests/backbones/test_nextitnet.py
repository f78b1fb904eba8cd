"""NextItNet against its convolutions, slot by slot."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from encoders import PAD, assert_states, build, tokens
from seqward.backbones.backbone import Vocabulary
from seqward.backbones.nextitnet import NextItNet, NextItNetSettings
from seqward.errors import SeqwardError
from seqward.methods import METHODS
from seqward.recommender import Recommender


def convolved(x: dict[int, Tensor], conv: Any, norm: Any, dilation: int, kernel: int) -> dict[int, Tensor]:
    """ReLU of the norm of b + W_1 x[t - (k - 1) d] + ... + W_k x[t], for the slots of x; there is 0 elsewhere."""
    kernels = conv.weight.view(8, kernel, 8).unbind(1)
    out = {}
    for t in x:
        y = conv.bias
        for steps_back, matrix in zip(reversed(range(kernel)), kernels, strict=True):
            y = y + matrix @ x.get(t - steps_back * dilation, torch.zeros(8))
        deviation = ((y - y.mean()) ** 2).mean().add(1e-8).sqrt()
        out[t] = torch.relu((y - y.mean()) / deviation * norm.weight + norm.bias)
    return out


def slow(b: NextItNet, row: list[int]) -> dict[int, Tensor]:
    x = {slot: b.items.weight[token] for slot, token in enumerate(row) if token != PAD}
    for block, dilation in zip(b.blocks, b.settings.dilations, strict=True):
        assert not isinstance(block, Tensor)
        y = convolved(x, block.conv_1, block.norm_1, dilation, b.settings.kernel)
        y = convolved(y, block.conv_2, block.norm_2, 2 * dilation, b.settings.kernel)
        x = {t: x[t] + y[t] for t in x}
    return x


@pytest.mark.parametrize("changes", [{}, {"dilations": (1,)}, {"dilations": (1, 4), "kernel": 2}], ids=str)
def test_against_its_convolutions(changes: dict[str, Any]) -> None:
    assert_states(build(NextItNetSettings, changes), slow)


def test_one_block_reads_six_slots_back() -> None:
    """2 x 1 by the first convolution and 2 x 2 by the second; the slot before those is out of reach."""
    backbone = build(NextItNetSettings, {"dilations": (1,), "session_max_len": 8})
    base, at_six, at_seven = backbone(tokens([1, 2, 3, 4, 5, 6, 7, 8], [1, 9, 3, 4, 5, 6, 7, 8], [9, *range(2, 9)]))
    assert not torch.allclose(base[-1], at_six[-1])
    assert torch.equal(base[-1], at_seven[-1])


def test_initialisation() -> None:
    """A normal of 0.02 cut at two deviations, which leaves one of 0.0176; biases 0; embeddings N(0, 0.01)."""
    torch.manual_seed(0)
    b = NextItNet(NextItNetSettings(), Vocabulary(1000)).requires_grad_(False)
    assert abs(float(b.items.weight.std()) - 0.01) < 0.0005
    for name, p in b.blocks.named_parameters():
        if "conv" in name and name.endswith("weight"):
            assert float(p.abs().max()) <= 0.04
            assert abs(float(p.std()) - 0.0176) < 0.0005
        elif name.endswith("bias"):
            assert bool((p == 0).all())
    assert all(layer.eps == 1e-8 for layer in b.modules() if isinstance(layer, nn.LayerNorm))


def test_published() -> None:
    """method-spec 2.5 and 6: six blocks of dilation 1, 2, 1, 2, 1, 2, kernel 3, 64 channels; Adam with 0.01."""
    sections = METHODS["nextitnet"].sections
    assert sections["backbone"] == NextItNetSettings(
        n_factors=64, kernel=3, dilations=(1, 2, 1, 2, 1, 2), session_max_len=10, dropout_rate=0.0
    )
    assert (sections["train"].lr, sections["train"].epochs, sections["train"].batch_size) == (0.01, 30, 256)


def test_dilations_are_a_list_of_whole_numbers() -> None:
    assert Recommender("nextitnet", dilations=[1, 4]).sections["backbone"].dilations == (1, 4)
    for wrong in ([], [0], [1.5], 2):
        with pytest.raises(SeqwardError, match=r"backbone\.dilations should"):
            Recommender("nextitnet", dilations=wrong)
