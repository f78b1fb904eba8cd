"""Speed of exact ranks at RetailRocket's shape against sorting every row, and the memory of an evaluation.

    OMP_NUM_THREADS=1 python benchmarks/rank_speed.py [--rounds 5] [--out FILE]

70,852 items, 64 wide. Both get the states and find the rank of one item a state; counted are states a second of
processor time, in turns. NumPy 2 sorts with vector instructions where the processor has them, three times as fast, so
both kinds of sorting are compared. Beside them stands what a plain matrix product reaches on this processor, and the
share of it that the ranks reach, each score counted once. Prints JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

from machine import RESULTS, commit, machine, peak_memory_mb
from seqward.backbones import backbone_of
from seqward.backbones.backbone import Vocabulary
from seqward.backbones.sasrec import SASRecSettings
from seqward.catalogue import scores_of
from seqward.data.dataset import TEST
from seqward.data.world import RETAILROCKET_ITEMS
from seqward.evaluate import evaluate
from seqward.heads import item_head
from seqward.model import Model, NetworkScorer
from shape import retailrocket_shape

STATES, SORTED, WIDTH = 4096, 64, 64
"""States ranked a turn, and sorted a turn."""
VECTOR_SORTING = "AVX2 FMA3 AVX512F AVX512_SKX AVX512_ICL X86_V3 X86_V4"
"""What NumPy's dispatcher is told to leave, by the names of its versions."""
SQUARE = 2048
GOAL = 25.0
MEMORY_GOAL_MB = 1000
MEMORY_SESSIONS = 2000


class Part(Enum):
    """What is measured in a process of its own."""

    MEMORY = "memory"
    SORTING = "sorting"


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Turns.")] = 5,
    out: Annotated[Path, typer.Option(help="JSON file to write.")] = RESULTS / "rank-speed.json",
    only: Annotated[Part | None, typer.Option(help="Only print this.")] = None,
) -> None:
    """Measure, print and keep the result."""
    if only is not None:
        print(peak_memory_over_the_model() if only is Part.MEMORY else sorted_per_second())
        return
    result = {"commit": commit(), "machine": machine() | {"numpy": np.__version__}, "rounds": rounds, "goal": GOAL}
    result |= compare(rounds)
    plain = in_a_process(Part.SORTING, NPY_DISABLE_CPU_FEATURES=VECTOR_SORTING)
    rates = result["states_per_second"] | {"sorting_without_vectors": plain}
    peak = in_a_process(Part.MEMORY)
    result |= {"states_per_second": rates, "ratio_without_vectors": rates["ours"] / plain}
    result |= {"peak_memory_over_the_model_mb": peak, "memory_goal_mb": MEMORY_GOAL_MB}
    result |= {"reached": result["ratio"] >= GOAL, "memory_reached": peak < MEMORY_GOAL_MB}
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def in_a_process(part: Part, **environment: str) -> float:
    """What this program prints with ``--only part``."""
    command = [sys.executable, __file__, "--only", part.value]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | environment)
    return float(done.stdout)


def world() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """states [n, width], weight [items, width], bias [items], the item to rank [n]."""
    torch.manual_seed(0)
    states, weight = torch.randn(STATES, WIDTH), torch.randn(RETAILROCKET_ITEMS, WIDTH)
    return states, weight, torch.randn(RETAILROCKET_ITEMS), torch.randint(RETAILROCKET_ITEMS, (STATES,))


def few_of(states: Tensor, weight: Tensor, bias: Tensor, target: Tensor) -> list[Any]:
    return [part.numpy() for part in (states[:SORTED], weight, bias, target[:SORTED])]


def sorted_per_second() -> float:
    """States a second by sorting."""
    few = few_of(*world())
    return round(SORTED / median(seconds(lambda: ranks_by_sorting(*few)) for _ in range(3)), 1)


def compare(rounds: int) -> dict[str, Any]:
    """States a second of both, and the median of the ratios of neighbours."""
    states, weight, bias, target = world()
    few = few_of(states, weight, bias, target)
    square = torch.randn(SQUARE, SQUARE)
    contenders: dict[str, Callable[[], Any]] = {
        "product": lambda: square @ square,
        "sorting": lambda: ranks_by_sorting(*few),
        "ours": lambda: scores_of(states, weight, bias).rank_of(target),
    }
    if not np.array_equal(contenders["sorting"](), contenders["ours"]()[:SORTED].numpy()):
        raise SystemExit("the ranks differ: nothing was measured")
    turns = [{name: seconds(run) for name, run in contenders.items()} for _ in range(rounds)]
    rates = [{"ours": STATES / turn["ours"], "sorting": SORTED / turn["sorting"]} for turn in turns]
    work = 2 * STATES * RETAILROCKET_ITEMS * WIDTH
    ratios = [rate["ours"] / rate["sorting"] for rate in rates]
    return {
        "goal": GOAL,
        "ratio": median(ratios),
        "ratios": [round(ratio, 1) for ratio in ratios],
        "states_per_second": {name: round(median(rate[name] for rate in rates), 1) for name in rates[0]},
        "product_gflops": round(median(2 * SQUARE**3 / turn["product"] / 1e9 for turn in turns), 1),
        "share_of_product": median((work / turn["ours"]) / (2 * SQUARE**3 / turn["product"]) for turn in turns),
    }


def ranks_by_sorting(states: Any, weight: Any, bias: Any, target: Any) -> Any:
    """[n] rank of each target: every row of scores sorted, as evaluations often do it."""
    scores = states @ weight.T + bias
    return np.array([1 + np.flatnonzero(np.argsort(-row) == item)[0] for row, item in zip(scores, target, strict=True)])


def seconds(run: Callable[[], Any]) -> float:
    """Processor time of this process."""
    begin = time.process_time()
    run()
    return time.process_time() - begin


def peak_memory_over_the_model() -> float:
    """MB that an evaluation needs at its peak beyond a process that holds the data and the model."""
    data = retailrocket_shape(MEMORY_SESSIONS)
    data = replace(data, split=np.full_like(data.split, TEST))
    backbone = backbone_of(SASRecSettings(n_factors=WIDTH))
    heads = {name: item_head("xavier") for name in ("policy", "q")}
    scorer = NetworkScorer(Model(backbone, heads, Vocabulary(data.n_items)), {"policy": 1.0}, critic="q", gamma=0.5)
    before = peak_memory_mb()
    evaluate(scorer, data, "test")
    return round(peak_memory_mb() - before, 1)


if __name__ == "__main__":
    typer.run(main)
