"""Training speed of SASRec with sampled sums at RetailRocket's shape: Adam against Adam by rows, side by side.

    OMP_NUM_THREADS=1 python benchmarks/sampled_speed.py [--rounds 7] [--items 70852] [--out FILE]

64 wide, a head of its own, batches of 256 sessions of RetailRocket's lengths, contexts of 10, 256 candidates. Counted
is processor time a step, in turns, so that what else the machine does falls on all; ratios are medians over the rounds
of the time of the first arm over that of another. Prints JSON. What is learned is the matter of
``studies/sampled.yaml``.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer

from machine import RESULTS, commit, machine
from seqward.checkpoint import Progress
from seqward.config import from_keywords
from seqward.data.batches import TrainingEvents
from seqward.job import Job
from seqward.method import Method
from seqward.methods import method_named
from seqward.networks import Networks
from seqward.train import take_step
from shape import retailrocket_shape

SESSIONS = 20_000
"""Enough that no batch comes twice."""
STEPS = 8
"""A turn."""
WARM = 20
"""Steps before the first turn: most rows are then behind, as in a long training."""
ARMS: dict[str, dict[str, Any]] = {
    "uniform, adam": {"softmax": "uniform"},
    "uniform, row-adam": {"softmax": "uniform", "optimiser": "row-adam"},
    "mixed, row-adam": {"softmax": "mixed", "optimiser": "row-adam"},
    "sce, adam": {"softmax": "sce"},
    "full, adam": {},
}


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each arm.")] = 7,
    items: Annotated[int, typer.Option(min=1024, help="In the catalogue.")] = 70_852,
    out: Annotated[Path, typer.Option(help="JSON file to write.")] = RESULTS / "sampled-speed.json",
) -> None:
    """Measure, print and keep the result."""
    data = retailrocket_shape(SESSIONS, items)
    arms = {name: Arm(data, changes) for name, changes in ARMS.items()}
    for arm in arms.values():
        arm.turn(WARM)
    times: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(rounds):
        for name, arm in arms.items():
            times[name].append(arm.turn(STEPS))
    first = next(iter(times.values()))
    result = {
        "commit": commit(),
        "machine": machine(),
        "rounds": rounds,
        "items": items,
        "events_a_step": round(next(iter(arms.values())).events_a_step),
        "arms": {
            name: {
                "ms_a_step": round(1000 * median(found), 2),
                "ms_from_to": [round(1000 * min(found), 2), round(1000 * max(found), 2)],
                "times_as_fast_as_the_first": round(median(a / b for a, b in zip(first, found, strict=True)), 2),
            }
            for name, found in times.items()
        },
    }
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


class Arm:
    """A training that goes on where its last turn ended."""

    def __init__(self, data: Any, changes: dict[str, Any]) -> None:
        entry = method_named("sasrec")
        sections = from_keywords(entry.sections, {"batch_size": 256, "log_every": 10**6} | changes)
        method = entry.build(**sections)
        assert isinstance(method, Method)
        events = TrainingEvents(data, sections["backbone"].session_max_len)
        self.job = Job(method, events, sections["train"], Path("unused"), None)
        self.networks, self.progress = Networks(self.job), Progress()

    def turn(self, steps: int) -> float:
        """Seconds of processor time a step."""
        begin = time.process_time()
        for _ in range(steps):
            take_step(self.job, self.networks, self.progress)
        return (time.process_time() - begin) / steps

    @property
    def events_a_step(self) -> float:
        return self.progress.events / self.progress.step


if __name__ == "__main__":
    torch.set_num_threads(1)
    typer.run(main)
