"""Caser against its filters laid on each window by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from encoders import CONTEXT, PAD, assert_states, build, tokens
from seqward.backbones.backbone import Vocabulary
from seqward.backbones.caser import Caser, CaserSettings
from seqward.errors import SeqwardError
from seqward.methods import METHODS
from seqward.recommender import Recommender


def slow(b: Caser, row: list[int]) -> dict[int, Tensor]:
    """The last five slots as an image, padding and what lies in front black; the largest answer of each filter."""
    rows = [torch.zeros(8) if token == PAD else b.items.weight[token] for token in row]
    states = {}
    for slot, token in enumerate(row):
        if token == PAD:
            continue
        image = torch.stack(([torch.zeros(8)] * CONTEXT + rows[: slot + 1])[-CONTEXT:])
        parts = []
        for filters in b.horizontal:
            assert isinstance(filters, nn.Conv1d)
            for weight, bias in zip(filters.weight, filters.bias, strict=True):  # type: ignore[arg-type]
                height = weight.shape[1]
                answers = [(weight.T * image[i : i + height]).sum() + bias for i in range(CONTEXT - height + 1)]
                parts.append(torch.stack([relu(answer) for answer in answers]).max()[None])
        for weight, bias in zip(b.vertical.weight, b.vertical.bias, strict=True):
            parts.append(relu(sum(w * pixels for w, pixels in zip(weight, image, strict=True)) + bias))
        states[slot] = torch.cat(parts)
    return states


@pytest.mark.parametrize("changes", [{}, {"heights": (1, 5), "n_horizontal": 3, "n_vertical": 2}], ids=str)
def test_against_its_filters(changes: dict[str, Any]) -> None:
    """Heights of one item and of the whole window, several vertical filters."""
    assert_states(build(CaserSettings, changes), slow)


def test_an_event_that_has_left_the_window_is_not_read() -> None:
    """Six items on from START: the first is gone, the second is the oldest of five."""
    backbone = build(CaserSettings, {})
    base, first, second = backbone(tokens([1, 2, 3, 4, 5, 6], [9, 2, 3, 4, 5, 6], [1, 9, 3, 4, 5, 6]))[:, -1]
    assert torch.equal(base, first)
    assert not torch.allclose(base, second)


def test_initialisation() -> None:
    """A normal of 0.1 cut at two deviations, which leaves one of 0.088; biases 0.1; embeddings N(0, 0.01)."""
    torch.manual_seed(0)
    b = Caser(CaserSettings(), Vocabulary(1000)).requires_grad_(False)
    assert abs(float(b.items.weight.std()) - 0.01) < 0.0005
    weights = torch.cat([layer.weight.flatten() for layer in b.horizontal])  # type: ignore[union-attr,operator]
    assert float(weights.abs().max()) <= 0.2
    assert float(b.vertical.weight.abs().max()) <= 0.2
    assert abs(float(weights.std()) - 0.088) < 0.002
    for layer in (*b.horizontal, b.vertical):
        assert torch.equal(layer.bias, torch.full_like(layer.bias, 0.1))  # type: ignore[arg-type]


def test_published() -> None:
    """method-spec 2.4 and 6: 3 x 16 horizontal filters, one vertical, 112 numbers, dropout 0.1; Adam with 0.01."""
    sections = METHODS["caser"].sections
    assert sections["backbone"] == CaserSettings(
        n_factors=64, heights=(2, 3, 4), n_horizontal=16, n_vertical=1, session_max_len=10, dropout_rate=0.1
    )
    assert Caser(sections["backbone"], Vocabulary(5)).width == 112
    assert (sections["train"].lr, sections["train"].epochs, sections["train"].batch_size) == (0.01, 30, 256)


def test_filters_higher_than_the_window_are_refused() -> None:
    with pytest.raises(SeqwardError) as refusal:
        Recommender("caser", session_max_len=3)
    assert str(refusal.value) == "backbone heights 4 is more than session_max_len 3."


def test_its_states_are_too_wide_to_be_tied_to_its_embeddings() -> None:
    with pytest.raises(SeqwardError, match="Unknown setting 'tied'"):
        Recommender("caser", tied=True)
