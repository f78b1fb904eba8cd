"""FMLP-Rec against explicit circular convolutions, window by window."""

from __future__ import annotations

import cmath
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from encoders import CONTEXT, PAD, assert_states, build
from seqward.backbones.backbone import Vocabulary
from seqward.backbones.fmlp import FMLP, Block, Filter, FMLPSettings, fmlp
from seqward.methods import METHODS


def kernel_of(weight: Tensor, length: int) -> list[list[float]]:
    """[lag][factor] (1 / L) sum over all L frequencies of w_f e^(2 pi i f lag / L), those above L / 2 by symmetry.

    The waves at frequency 0 and L / 2 have no phase: their imaginary parts are not read.
    """
    kernel = []
    for lag in range(length):
        row = []
        for factor in range(weight.shape[1]):
            total = 0j
            for f in range(length):
                real, imaginary = weight[min(f, length - f), factor].tolist()
                imaginary = 0.0 if 2 * f in (0, length) else imaginary if 2 * f < length else -imaginary
                total += complex(real, imaginary) * cmath.exp(2j * math.pi * f * lag / length)
            assert abs(total.imag) < 1e-5
            row.append(total.real / length)
        kernel.append(row)
    return kernel


def circular(x: Tensor, weight: Tensor) -> Tensor:
    """y[t] = sum over s of kernel[(t - s) mod L] x[s], [L, width]"""
    length = len(x)
    kernel = torch.tensor(kernel_of(weight, length))
    return torch.stack([sum(kernel[(t - s) % length] * x[s] for s in range(length)) for t in range(length)])  # type: ignore[arg-type]


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 10])
def test_the_filter_is_a_circular_convolution(length: int) -> None:
    """Of even and odd windows; the last slot alone is the last of all; the transforms may as well be orthonormal."""
    torch.manual_seed(0)
    layer, x = Filter(length, 3, std=1.0), torch.randn(2, length, 3)
    y = layer(x)
    torch.testing.assert_close(y, torch.stack([circular(window, layer.weight) for window in x]))
    torch.testing.assert_close(layer.at_last(x), y[:, -1])
    spectrum = torch.fft.rfft(x, dim=1, norm="ortho") * torch.view_as_complex(layer.weight)
    torch.testing.assert_close(y, torch.fft.irfft(spectrum, n=length, dim=1, norm="ortho"))


def slow(b: Any, row: list[int]) -> dict[int, Tensor]:
    """Each window in full, every slot through every block; the last slot is its state."""
    encoder: FMLP = b.encoder
    states = {}
    for slot, token in enumerate(row):
        if token == PAD:
            continue
        window = ([PAD] * CONTEXT + row[: slot + 1])[-CONTEXT:]
        rows = [torch.zeros(8) if item == PAD else encoder.items.weight[item] for item in window]
        x = encoder.norm(torch.stack(rows) + encoder.positions.weight)
        for block in (*encoder.blocks, encoder.last):
            assert isinstance(block, Block)
            x = block.norm_filter(x + circular(x, block.filter.weight))
            hidden = block.feed_1(x)
            hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
            x = block.norm_feed(x + block.feed_2(hidden))
        states[slot] = x[-1]
    return states


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_against_its_equations(blocks: int) -> None:
    assert_states(build(FMLPSettings, {"n_blocks": blocks}), slow)


def test_initialisation() -> None:
    torch.manual_seed(0)
    for std in (1.0, 0.02):
        b = fmlp(FMLPSettings(filter_std=std, n_factors=512), Vocabulary(1000)).requires_grad_(False)
        weight: Any = dict(b.named_parameters())["encoder.last.filter.weight"]
        assert weight.shape == (6, 512, 2)
        assert abs(float(weight.std()) / std - 1) < 0.03
    assert all(layer.eps == 1e-12 for layer in b.modules() if isinstance(layer, nn.LayerNorm))


def test_published() -> None:
    """method-spec 2.6: one block, dropout 0.1, filters that begin as N(0, 1); Adam with 0.001, 30 epochs."""
    sections = METHODS["fmlp-rec"].sections
    assert sections["backbone"] == FMLPSettings(
        n_factors=64, n_blocks=1, session_max_len=10, dropout_rate=0.1, filter_std=1.0
    )
    assert (sections["train"].lr, sections["train"].epochs, sections["train"].batch_size) == (0.001, 30, 256)
