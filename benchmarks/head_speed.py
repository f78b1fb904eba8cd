"""Speed of the catalogue's questions by every engine, as shares of what a matrix product reaches in the same run.

    OMP_NUM_THREADS=1 python benchmarks/head_speed.py [--rounds 5] [--out FILE]

RetailRocket's shape: 70,852 items, 64 wide. Cross-entropy forward and backward (states and rows both learn) of 961
states, what 256 sessions hold; ranks and best items of 1,024. Processor time of this process, in turns, medians of the
ratios of neighbours. Cross-entropy counts 6, ranks and best items 2 operations a state, item and column. Products are
in fp32 and, where the kernels take it, in bfloat16; shares are then of that. Targets are any items, as
of a model that knows nothing, or among the best 300, as of one that was trained, when fewer scores are close to
theirs. Prints JSON.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from machine import RESULTS, commit, machine
from rank_speed import SQUARE, seconds
from seqward.catalogue import native, scores_of
from seqward.data.world import RETAILROCKET_ITEMS

STATES, RANKED, WIDTH = 961, 1024, 64
GOALS = {"cross-entropy fused": 0.70, "rank of near targets fused": 0.85}
"""Shares of the faster product."""
NEAR = 300


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Turns.")] = 5,
    out: Annotated[Path, typer.Option(help="JSON file to write.")] = RESULTS / "head-speed.json",
) -> None:
    """Measure, print and keep the result."""
    variant = native.variant_for(torch.bfloat16)
    result = {
        "commit": commit(),
        "machine": machine() | {"kernels": None if variant is None else variant.name},
        "rounds": rounds,
        "goals": GOALS,
    } | measure(rounds)
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def measure(rounds: int) -> dict[str, Any]:
    """Milliseconds and shares of the product; how many times slower the plain way is than each."""
    torch.manual_seed(0)
    states, weight = 0.5 * torch.randn(RANKED, WIDTH), 0.5 * torch.randn(RETAILROCKET_ITEMS, WIDTH)
    target, square = torch.randint(RETAILROCKET_ITEMS, (RANKED,)), torch.randn(SQUARE, SQUARE)
    near = (states @ weight.T).topk(NEAR).indices.gather(1, torch.randint(NEAR, (RANKED, 1)))[:, 0]
    variant = native.variant_for(torch.bfloat16)
    multiplies = variant is not None and variant.dtype == torch.bfloat16
    precisions = [torch.float32, torch.bfloat16] if multiplies else [torch.float32]
    contenders: dict[str, Callable[[], Any]] = {}
    for dtype in precisions:
        factor, name = square.to(dtype), ", bf16" * (dtype == torch.bfloat16)
        contenders[f"product{name}"] = lambda m=factor: m @ m
        for engine in ("plain torch", "chunked", "fused"):
            contenders[f"cross-entropy {engine}{name}"] = lambda engine=engine, dtype=dtype: learn(
                engine, states[:STATES], weight, target, dtype
            )
    for engine in ("chunked", "fused"):
        scores = scores_of(states, weight, None, engine)
        contenders |= {
            f"rank of any targets {engine}": lambda s=scores: s.rank_of(target),
            f"rank of near targets {engine}": lambda s=scores: s.rank_of(near),
            f"best {engine}": scores.max,
        }
    for run in contenders.values():
        run()  # memory is touched for the first time
    turns = [{name: seconds(run) for name, run in contenders.items()} for _ in range(rounds)]
    one = 2 * RETAILROCKET_ITEMS * WIDTH
    work = {name: 3 * one * STATES if name.startswith("cross") else one * RANKED for name in contenders}
    work |= {name: 2 * SQUARE**3 for name in contenders if name.startswith("product")}
    best = "product" if len(precisions) == 1 else "product, bf16"
    shares = {
        name: median(work[name] / turn[name] / (work[best] / turn[best]) for turn in turns) for name in contenders
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    together = {name: wall_milliseconds(contenders[name], rounds) for name in contenders if "fused" in name}
    torch.set_num_threads(1)
    alone = {name: wall_milliseconds(contenders[name], rounds) for name in together}
    torch.set_num_threads(threads)
    plain = "cross-entropy plain torch"
    learnt = [name for name in contenders if name.startswith("cross")]
    fastest = {goal: max(share for name, share in shares.items() if name.startswith(goal)) for goal in GOALS}
    return {
        "product_gflops": {
            name: round(median(work[name] / turn[name] / 1e9 for turn in turns), 1)
            for name in contenders
            if name.startswith("product")
        },
        "milliseconds": {name: round(1000 * median(turn[name] for turn in turns)) for name in contenders},
        "share_of_product": {name: round(share, 3) for name, share in shares.items()},
        "times_plain_torch": {name: round(median(turn[plain] / turn[name] for turn in turns), 2) for name in learnt},
        "two_threads_over_one_on_the_wall": {name: round(alone[name] / together[name], 2) for name in together},
        "reached": {goal: fastest[goal] >= share for goal, share in GOALS.items()},
    }


def wall_milliseconds(run: Callable[[], Any], rounds: int) -> float:
    """The median."""
    run()
    found = []
    for _ in range(rounds):
        begun = time.perf_counter()
        run()
        found.append(1000 * (time.perf_counter() - begun))
    return median(found)


def learn(engine: str, states: Tensor, weight: Tensor, target: Tensor, dtype: torch.dtype) -> None:
    """Forward and backward of the mean cross-entropy."""
    leaves = states.detach().requires_grad_(), weight.detach().requires_grad_()
    items = target[: len(states)]
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        if engine == "plain torch":
            loss = cross_entropy(linear(*leaves), items)
        else:
            loss = scores_of(*leaves, None, engine).nll(items).mean()
    loss.backward()


if __name__ == "__main__":
    typer.run(main)
