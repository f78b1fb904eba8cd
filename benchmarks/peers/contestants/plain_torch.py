"""SASRec as one writes it in plain torch: whole sequences, causal attention, only real targets scored, default Adam."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout, linear, relu, scaled_dot_product_attention

from peers.contestants.protocol import Meter, Sessions, answer, asked

BATCH, RANKED, BEST = 256, 512, 20
STATES = 1024
"""About the positions of a batch at RetailRocket's shape."""


class SASRec(nn.Module):
    """Items 0 .. n - 1 and the pad n; padded on the right, so the causal mask hides the padding."""

    def __init__(self, shape: Any, rate: float = 0.1) -> None:
        super().__init__()
        self.rate, self.n_items = rate, shape.items
        self.items = nn.Embedding(shape.items + 1, shape.width)
        self.places = nn.Embedding(shape.context, shape.width)
        self.blocks = nn.ModuleList(Block(shape.width, rate) for _ in range(shape.blocks))
        self.norm = nn.LayerNorm(shape.width)
        nn.init.normal_(self.items.weight, std=0.02)

    def forward(self, items: Tensor) -> Tensor:
        """[B, S] -> [B, S, width]"""
        x = self.items(items) * self.items.embedding_dim**0.5 + self.places.weight[: items.shape[1]]
        x = dropout(x, self.rate, self.training)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    @property
    def table(self) -> Tensor:
        """[items, width]"""
        return self.items.weight[: self.n_items]


class Block(nn.Module):
    def __init__(self, width: int, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.first, self.second = (nn.Linear(width, width) for _ in range(5))

    def forward(self, x: Tensor) -> Tensor:
        rate = self.rate if self.training else 0.0
        q = self.before(x)
        parts = (part[:, None] for part in (self.query(q), self.key(x), self.value(x)))
        x = self.between(q + scaled_dot_product_attention(*parts, dropout_p=rate, is_causal=True)[:, 0])
        hidden = dropout(relu(self.first(x)), rate, self.training)
        return x + dropout(self.second(hidden), rate, self.training)


def right_padded(tails: np.ndarray, pad: int) -> tuple[Tensor, Tensor]:
    """Left-padded [B, S] by -1 -> right-padded by ``pad``, and the lengths [B]."""
    length = (tails >= 0).sum(1)
    slot = np.arange(tails.shape[1])
    moved = np.take_along_axis(tails, np.minimum(slot + tails.shape[1] - length[:, None], tails.shape[1] - 1), 1)
    return torch.from_numpy(np.where(slot < length[:, None], moved, pad)), torch.from_numpy(length)


def train(ask: Any, meter: Meter) -> None:
    torch.manual_seed(0)
    data, model = Sessions(ask), SASRec(ask.shape)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.001)
    rng = np.random.default_rng(0)

    def step() -> float:
        drawn = rng.integers(len(data), size=BATCH)
        items, _ = right_padded(data.tails(drawn, data.context + 1), ask.shape.items)
        history, target = items[:, :-1], items[:, 1:]
        real = target != ask.shape.items
        states, wanted = model(history)[real], target[real]
        loss = sampled(model, states, wanted, ask.negatives) if ask.negatives else full(model, states, wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return float(len(wanted))

    meter.run(step)


def full(model: SASRec, states: Tensor, wanted: Tensor) -> Tensor:
    return cross_entropy(linear(states, model.table), wanted)


def sampled(model: SASRec, states: Tensor, wanted: Tensor, negatives: int) -> Tensor:
    """Against uniform negatives that the batch shares; one that is the target does not count."""
    others = torch.randint(model.n_items, (negatives,))
    scores = linear(states, model.items(others)).masked_fill(others == wanted[:, None], -torch.inf)
    own = (states * model.items(wanted)).sum(1, keepdim=True)
    return cross_entropy(torch.cat([own, scores], 1), torch.zeros(len(wanted), dtype=torch.int64))


@torch.no_grad()
def rank(ask: Any, meter: Meter) -> None:
    """HR and NDCG at 20 by the best 20 of all scores."""
    data, model = Sessions(ask), SASRec(ask.shape).eval()
    chosen = np.arange(min(ask.sessions, len(data)))

    def all_of_them() -> float:
        hits, gains = 0.0, 0.0
        for part in np.split(chosen, range(RANKED, len(chosen), RANKED)):
            items, length = right_padded(data.tails(part, data.context), ask.shape.items)
            states = model(items)[torch.arange(len(part)), length - 1]
            best = linear(states, model.table).topk(BEST).indices
            hit = best == torch.from_numpy(data.items[data.offsets[part + 1] - 1])[:, None]
            hits += hit.sum().item()
            gains += (hit / torch.log2(torch.arange(BEST) + 2.0)).sum().item()
        return float(len(chosen))

    meter.run(all_of_them)


def world(ask: Any) -> tuple[Tensor, Tensor, Tensor]:
    """States of a batch [n, width], a table [items, width] and the wanted items [n]."""
    torch.manual_seed(0)
    states, table = torch.randn(STATES, ask.shape.width), 0.1 * torch.randn(ask.shape.items, ask.shape.width)
    return states, table, torch.randint(ask.shape.items, (STATES,))


def head(ask: Any, meter: Meter) -> None:
    """Cross-entropy over the catalogue alone, with the gradients of states and table."""
    states, table, wanted = world(ask)
    states.requires_grad_(), table.requires_grad_()

    def one() -> float:
        states.grad = table.grad = None
        cross_entropy(linear(states, table), wanted).backward()
        return float(len(wanted))

    meter.run(one)


@torch.no_grad()
def ranks(ask: Any, meter: Meter) -> None:
    """How many items score higher, alone."""
    states, table, wanted = world(ask)

    def one() -> float:
        scores = linear(states, table)
        (scores > scores.gather(1, wanted[:, None])).sum(1)
        return float(len(wanted))

    meter.run(one)


@torch.no_grad()
def serve(ask: Any, meter: Meter) -> None:
    model = SASRec(ask.shape).eval()
    rng = np.random.default_rng(0)

    def one() -> float:
        history = torch.from_numpy(rng.integers(ask.shape.items, size=(1, ask.shape.context)))
        linear(model(history)[:, -1], model.table).topk(BEST)
        return 1.0

    meter.run(one)


if __name__ == "__main__":
    ask = asked()
    meter = Meter(ask)
    {"train": train, "rank": rank, "head": head, "ranks": ranks, "serve": serve}[ask.kind](ask, meter)
    answer(meter, "torch", "numpy")
