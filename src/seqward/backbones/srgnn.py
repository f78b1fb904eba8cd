"""SR-GNN (Wu et al. 2019): a gated graph network over the items of a session, and a soft attention that reads it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from seqward.backbones.backbone import Vocabulary, initialise
from seqward.backbones.dropout import dropout
from seqward.backbones.unfold import Unfold
from seqward.settings import Count, Share, settings


@settings
class SRGNNSettings:
    n_factors: Count = 100
    """Width of embeddings and states."""
    n_steps: Count = 1
    """How often each item hears from its neighbours in the graph."""
    session_max_len: Count = 50
    """How many of the last items are read."""
    dropout_rate: Share = 0.0
    """On the state (the original has none)."""
    init: Literal["uniform", "normal", "xavier"] = "uniform"
    """uniform: U(-1, 1) / sqrt(width of a layer's input), embeddings alike; normal and xavier: see SASRec."""


def srgnn(s: SRGNNSettings, vocabulary: Vocabulary) -> Unfold:
    """SR-GNN as a causal backbone: a graph for each window."""
    return Unfold(SRGNN(s, vocabulary), s.session_max_len + 1, vocabulary.pad)


class SRGNN(nn.Module):
    """States of windows, section 3 of the paper. The start token is a node like any item."""

    def __init__(self, s: SRGNNSettings, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.settings, self.pad, width = s, vocabulary.pad, s.n_factors
        self.items = nn.Embedding(vocabulary.n_tokens, width)
        self.edge_in, self.edge_out = nn.Linear(width, width), nn.Linear(width, width)
        self.gates_of_heard, self.gates_of_node = nn.Linear(2 * width, 3 * width), nn.Linear(width, 3 * width)
        self.of_last, self.of_each = nn.Linear(width, width), nn.Linear(width, width)
        self.attention = nn.Linear(width, 1, bias=False)
        self.transform = nn.Linear(2 * width, width)
        initialise(self, s.init)

    @property
    def width(self) -> int:
        return self.settings.n_factors

    @property
    def context(self) -> int:
        return self.settings.session_max_len

    def forward(self, windows: Tensor) -> Tensor:
        """[n, window] tokens, padded on the left and anywhere -> [n, width]"""
        # Padding goes to the front, so that an item's neighbour is the next item.
        windows = windows.gather(1, (windows != self.pad).int().argsort(dim=1, stable=True))
        real = windows != self.pad
        node = (windows[:, :, None] == windows[:, None, :]).int().argmax(2)  # the slot where an item stands first
        nodes = self.items(windows).masked_fill(~real[:, :, None], 0.0)
        heard_in, heard_out = normalised(edges(node, real))
        for _ in range(self.settings.n_steps):
            heard = torch.cat([heard_in @ self.edge_in(nodes), heard_out @ self.edge_out(nodes)], -1)
            nodes = self._gated(heard, nodes)
        each = nodes.gather(1, node[:, :, None].expand_as(nodes))
        return dropout(self._read(each, real), self.settings.dropout_rate, self.training)

    def _gated(self, heard: Tensor, nodes: Tensor) -> Tensor:
        """A gated recurrent unit at each node (Eq. 2 to 5)."""
        reset, update, new = self.gates_of_heard(heard).chunk(3, -1)
        own_reset, own_update, own_new = self.gates_of_node(nodes).chunk(3, -1)
        update = torch.sigmoid(update + own_update)
        new = torch.tanh(new + torch.sigmoid(reset + own_reset) * own_new)
        return (1 - update) * new + update * nodes

    def _read(self, each: Tensor, real: Tensor) -> Tensor:
        """[n, window, width] the node of each slot -> [n, width], Eq. 6 and 7."""
        last = each[:, -1]
        share = self.attention(torch.sigmoid(self.of_last(last)[:, None] + self.of_each(each)))
        together = (share * each).masked_fill(~real[:, :, None], 0.0).sum(1)
        return self.transform(torch.cat([together, last], 1))


def edges(node: Tensor, real: Tensor) -> Tensor:
    """[n, window, window] 1 where the item of node i is followed by that of node j anywhere in the window."""
    n, window = node.shape
    flat = torch.zeros(n, window * window, device=node.device)
    flat.scatter_(1, node[:, :-1] * window + node[:, 1:], 1.0)
    return flat.view(n, window, window) * real[:, :, None]  # the last pad is followed by an item


def normalised(edge: Tensor) -> tuple[Tensor, Tensor]:
    """What each node hears, [n, window, window]: the mean of the nodes before it, and of those behind it."""
    back = edge.transpose(1, 2)
    return back / back.sum(2, keepdim=True).clamp(min=1), edge / edge.sum(2, keepdim=True).clamp(min=1)
