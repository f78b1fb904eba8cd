"""SR-GNN against its equations, node by node and edge by edge."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from encoders import CONTEXT, PAD, START, assert_states, build, tokens
from seqward.backbones.backbone import Vocabulary
from seqward.backbones.srgnn import SRGNN, SRGNNSettings, edges, normalised
from seqward.backbones.unfold import Unfold
from seqward.methods import METHODS


def slow_state(b: SRGNN, window: list[int]) -> Tensor:
    """Section 3 of the paper for one window without padding, in words of sets: an edge counts once, however often."""
    edge = set(pairwise(window))
    nodes = {token: b.items.weight[token] for token in window}
    for _ in range(b.settings.n_steps):
        nodes = {token: gated(b, nodes, token, edge) for token in nodes}
    last = nodes[window[-1]]
    together = torch.zeros(8)
    for token in window:  # a repeated item counts each time
        share = b.attention(torch.sigmoid(b.of_last(last) + b.of_each(nodes[token])))
        together = together + share * nodes[token]
    return b.transform(torch.cat([together, last]))


def gated(b: SRGNN, nodes: dict[int, Tensor], token: int, edge: set[tuple[int, int]]) -> Tensor:
    """a of a node's neighbours (Eq. 1), z and r of it (2 and 3), the candidate (4) and the new node (5)."""

    def mean(layer: Any, neighbours: list[int]) -> Tensor:
        return sum((layer(nodes[n]) for n in neighbours), torch.zeros(8)) / max(len(neighbours), 1)

    before = mean(b.edge_in, [one for one, other in edge if other == token])
    behind = mean(b.edge_out, [other for one, other in edge if one == token])
    a, v = b.gates_of_heard(torch.cat([before, behind])), b.gates_of_node(nodes[token])
    r, z = torch.sigmoid(a[:8] + v[:8]), torch.sigmoid(a[8:16] + v[8:16])
    return (1 - z) * torch.tanh(a[16:] + r * v[16:]) + z * nodes[token]


def slow(b: Unfold, row: list[int]) -> dict[int, Tensor]:
    """Each slot by the window of the context and the start token that ends there."""
    encoder: Any = b.encoder
    windows = {t: [i for i in row[max(0, t - CONTEXT) : t + 1] if i != PAD] for t, i in enumerate(row) if i != PAD}
    return {t: slow_state(encoder, window) for t, window in windows.items()}


@pytest.mark.parametrize("changes", [{}, {"n_steps": 3}], ids=str)
def test_against_its_equations(changes: dict[str, Any]) -> None:
    assert_states(build(SRGNNSettings, changes), slow)


def test_a_session_worked_by_hand() -> None:
    """7, 3, 7, 7, 4: nodes at slots 0, 1 and 4; edges 7-3, 3-7, 7-7 and 7-4, one each.

    7 hears half of 3 and half of itself from before, and a third each of 3, 7 and 4 from behind.
    """
    node = torch.tensor([[0, 1, 0, 0, 4]])
    edge = edges(node, torch.ones(1, 5, dtype=torch.bool))
    assert edge[0].nonzero().tolist() == [[0, 0], [0, 1], [0, 4], [1, 0]]
    before, behind = normalised(edge)
    torch.testing.assert_close(before[0, 0], torch.tensor([0.5, 0.5, 0, 0, 0]))
    torch.testing.assert_close(behind[0, 0], torch.tensor([1 / 3, 1 / 3, 0, 0, 1 / 3]))
    assert before[0, 4].tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert behind[0, 4].tolist() == [0.0] * 5


def test_how_often_an_edge_is_walked_does_not_matter() -> None:
    """7, 3, 7, 3 and 7, 3, 7, 3, 7, 3 have one graph, and 7, 3 another; the readout alone counts repeats."""
    b = build(SRGNNSettings, {"session_max_len": 8})
    b.encoder.attention.weight.data.zero_()  # nothing is read but the last node
    once, often = b(tokens([7, 3]))[0, -1], b(tokens([7, 3, 7, 3]))[0, -1]
    assert not torch.allclose(once, often)
    torch.testing.assert_close(b(tokens([7, 3, 7, 3, 7, 3]))[0, -1], often)


def test_initialisation() -> None:
    """Within 1 / sqrt(100), but in layers that read two states, where it is 1 / sqrt(200)."""
    torch.manual_seed(0)
    b = SRGNN(SRGNNSettings(), Vocabulary(1000)).requires_grad_(False)
    for weight, bound in ((b.items.weight, 0.1), (b.of_each.weight, 0.1), (b.transform.weight, 200**-0.5)):
        assert 0.99 * bound < float(weight.abs().max()) <= bound
        assert abs(float(weight.std()) - bound / 3**0.5) < 0.03 * bound


def test_the_start_is_a_node() -> None:
    b = build(SRGNNSettings, {})
    before = b(tokens([1, 2]))[0, -1]
    b.encoder.items.weight.data[START] += 1.0
    assert not torch.allclose(b(tokens([1, 2]))[0, -1], before)


def test_published() -> None:
    """The authors' code: width 100, one step, batches of 100, Adam with 0.001, 30 epochs, patience 10."""
    backbone, objective, train = METHODS["sr-gnn"].sections.values()
    assert (backbone.n_factors, backbone.n_steps, backbone.dropout_rate, backbone.init) == (100, 1, 0.0, "uniform")
    assert objective.tied
    assert (train.lr, train.batch_size, train.epochs, train.patience) == (0.001, 100, 30, 10)
