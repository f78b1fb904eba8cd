"""Slots that are read side by side: what is packed comes back to its place, and padding costs no work."""

from __future__ import annotations

import torch

from seqward.backbones.attention import Slots

REAL = torch.tensor([[True, True, False], [False, True, True]])


def test_what_is_packed_comes_back_to_its_place() -> None:
    """Slots 0 and 1 of the first history, and 1 and 2 of the second."""
    slots, x = Slots(REAL), torch.arange(6.0).view(2, 3, 1)
    assert slots.packed(x).flatten().tolist() == [0.0, 1.0, 4.0, 5.0]
    assert slots.positions(last=9).tolist() == [0, 1, 1, 2]
    assert slots.positions(last=1).tolist() == [0, 1, 1, 1]
    assert torch.equal(slots.spread(slots.packed(x))[REAL], x[REAL])
    assert slots.spread(slots.packed(x), padding=torch.tensor([7.0]))[:, :, 0].tolist() == [[0, 1, 7], [7, 4, 5]]


def test_without_padding_nothing_is_moved() -> None:
    slots, x = Slots(torch.ones(2, 3, dtype=torch.bool)), torch.randn(2, 3, 4)
    assert slots.packed(x).data_ptr() == x.data_ptr()
    assert torch.equal(slots.spread(slots.packed(x), padding=1.0), x)


def test_gradients_come_from_where_something_stands() -> None:
    x = torch.randn(2, 3, 4, requires_grad=True)
    bias = torch.zeros(4, requires_grad=True)
    Slots(REAL).spread(Slots(REAL).packed(x), padding=bias).sum().backward()
    assert x.grad is not None and torch.equal(x.grad, REAL[:, :, None].expand(2, 3, 4).float())
    assert bias.grad is not None and bias.grad.tolist() == [2.0] * 4


def test_where_little_is_padding_it_is_read() -> None:
    real = torch.ones(2, 10, dtype=torch.bool)
    real[1, 9] = False
    slots, x = Slots(real), torch.randn(2, 10, 1)
    assert slots.packed(x).shape == (20, 1) and not slots.whole
    assert slots.spread(slots.packed(x), padding=7.0)[1, 9, 0] == 7.0
