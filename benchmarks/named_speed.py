"""Time of scores of a few named items a state, with their gradients, beside rows laid side by side as is usual.

    OMP_NUM_THREADS=1 python benchmarks/named_speed.py [--rounds 5] [--out FILE]

States and rows both learn. Shapes are a batch of gSASRec and of eSASRec on MovieLens-1M and Amazon Beauty (256 items of
each state's own), and 32 items at RetailRocket's size, below which rows are laid side by side. Processor time of this
process, in turns; ratios are medians over the rounds, of neighbours. Prints JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer
from torch import Tensor
from torch.nn.functional import embedding

from machine import RESULTS, commit, machine
from rank_speed import seconds
from seqward.catalogue.named import MANY, named

SHAPES = {
    "gsasrec, MovieLens-1M": (13_463, 256, 128, 3_416),
    "esasrec, Amazon Beauty": (773, 256, 64, 12_068),
    "the fewest, RetailRocket": (811, MANY, 64, 70_852),
}
"""States, items a state, width, items of the catalogue."""


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Turns.")] = 5,
    out: Annotated[Path, typer.Option(help="JSON file to write.")] = RESULTS / "named-speed.json",
) -> None:
    """Measure, print and keep the result."""
    found = {name: measure(*shape, rounds) for name, shape in SHAPES.items()}
    result = {"commit": commit(), "machine": machine(), "rounds": rounds, "shapes": found}
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def measure(n: int, k: int, width: int, n_items: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of both, and how many times as fast the sparse products are."""
    torch.manual_seed(0)
    states, weight = torch.randn(n, width, requires_grad=True), torch.randn(n_items, width, requires_grad=True)
    items, grad = torch.randint(n_items, (n, k)), torch.randn(n, k)

    def learn(ask: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        states.grad = weight.grad = None
        ask(states, weight, items).backward(grad)

    ways = {"sparse": lambda s, w, i: named(s, w, None, i), "side by side": side_by_side}
    for ask in ways.values():
        learn(ask)  # memory is touched for the first time
    turns = [{name: seconds(lambda ask=ask: learn(ask)) for name, ask in ways.items()} for _ in range(rounds)]
    ratios = [turn["side by side"] / turn["sparse"] for turn in turns]
    return {
        "shape": {"states": n, "items_a_state": k, "width": width, "items": n_items},
        "milliseconds": {name: round(1000 * median(turn[name] for turn in turns), 1) for name in ways},
        "times_as_fast": round(median(ratios), 2),
        "from_to": [round(min(ratios), 2), round(max(ratios), 2)],
    }


def side_by_side(states: Tensor, weight: Tensor, items: Tensor) -> Tensor:
    return (states[:, None] * embedding(items, weight)).sum(-1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    typer.run(main)
