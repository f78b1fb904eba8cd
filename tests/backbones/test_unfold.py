"""Which windows an encoder is given, and where its states go."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoders import PAD, START, VOCABULARY, tokens
from seqward.backbones.unfold import Unfold


class Recorder(nn.Module):
    """A window's state is its last token and the sum of its tokens; it keeps what it was given."""

    width, context = 2, 7

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(VOCABULARY.n_tokens, 2)

    def forward(self, windows: Tensor) -> Tensor:
        self.windows = windows.tolist()
        return torch.stack([windows[:, -1], windows.sum(1)], 1).float()


def test_windows_end_at_each_item_and_none_at_padding() -> None:
    """Padding stays where it was; what lies in front of the history is padding; nothing later is in a window."""
    encoder = Recorder()
    states = Unfold(encoder, window=3, pad=PAD)(tokens([1, PAD, 2, PAD], [PAD, 3, 4, 5]))
    assert encoder.windows == [
        [PAD, PAD, START],
        [PAD, START, 1],
        [1, PAD, 2],
        [PAD, PAD, START],
        [START, PAD, 3],
        [PAD, 3, 4],
        [3, 4, 5],
    ]
    last = [[START, 1, 0, 2, 0], [START, 0, 3, 4, 5]]
    total = [[2 * PAD + START, PAD + START + 1, 0, PAD + 3, 0], [2 * PAD + START, 0, START + PAD + 3, PAD + 7, 12]]
    assert states[..., 0].tolist() == last
    assert states[..., 1].tolist() == total


def test_it_is_as_its_encoder_is() -> None:
    encoder = Recorder()
    backbone = Unfold(encoder, window=3, pad=PAD)
    assert (backbone.width, backbone.context) == (2, 7)
    assert backbone.items is encoder.items
    assert not backbone.bidirectional


def test_a_window_of_one_is_the_last_item() -> None:
    states = Unfold(Recorder(), window=1, pad=PAD)(tokens([4, PAD, 6]))
    assert states[0].tolist() == [[START, START], [4, 4], [0, 0], [6, 6]]
