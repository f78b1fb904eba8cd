"""What the stability guard costs, as a share of a training step: at RetailRocket's size, and where steps are short.

    OMP_NUM_THREADS=1 python benchmarks/guard_cost.py [--rounds 5] [--out FILE]

Sessions of RetailRocket's lengths: 256 of them a step over its 70,852 items, and 64 a step over 2,000 and 5,000. Parts
are timed by themselves, in turns, in processor time: steps without the guard and without the norm of the gradient that
it asks for, that norm, what the guard does at every step, and a probe, of which there is one in so many steps; the
probe is one of a long run, with a thousand before it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import torch
import typer
from torch import nn

from ccql_step import SESSIONS
from machine import RESULTS, commit, machine
from seqward.checkpoint import Progress
from seqward.clipping import gradients_of
from seqward.config import from_keywords
from seqward.data.batches import TrainingEvents
from seqward.data.world import RETAILROCKET_ITEMS
from seqward.job import Job
from seqward.method import Method
from seqward.methods import method_named
from seqward.networks import Networks
from seqward.runlog import RunLog
from seqward.stability.guard import Guard
from seqward.train import step_of, take_step, total_loss
from shape import retailrocket_shape

GOAL = 0.03
PROBES = 1000
"""Seen before, which rules look back on."""
SHAPES = [
    ("sasrec-ccql", RETAILROCKET_ITEMS, 256, 1),
    *((method, items, 64, 25) for items in (2000, 5000) for method in ("sasrec", "snqn", "sasrec-ccql")),
]
"""Method, items, sessions a step, and steps, norms and looks of the guard a turn; the goal is of the first."""


def main(
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    out: Annotated[Path, typer.Option(help="JSON file to write.")] = RESULTS / "guard-cost.json",
) -> None:
    """Measure, print and keep the result."""
    found = [measure(*shape, rounds) for shape in SHAPES]
    result = {"commit": commit(), "machine": machine(), "rounds": rounds, "goal": GOAL}
    result |= {"reached": found[0]["share"] < GOAL, "shapes": found}
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def measure(name: str, n_items: int, sessions: int, times: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of each part of a method's training at a shape, and the share of the guard."""
    sections = from_keywords(method_named(name).sections, {"batch_size": sessions})
    method = method_named(name).build(**sections)
    assert isinstance(method, Method)
    events = TrainingEvents(retailrocket_shape(SESSIONS, n_items), context=sections["backbone"].session_max_len)
    with TemporaryDirectory() as folder:
        job = Job(method, events, sections["train"], Path(folder), None)
        networks, progress = Networks(job), Progress()
        guard = Guard(job, networks, progress, RunLog(Path(folder), progress, lambda record: None))
        batch = events.batch(0, sessions, 0)
        loss, means = total_loss(method.phases[0], step_of(job, networks.modules[0], networks.modules[-1], batch, 0))
        loss.backward()
        gradients = [gradient.clone() for gradient in gradients_of(networks.modules[0])]
        networks.optimiser.zero_grad(set_to_none=True)
        means["grad_norm"] = torch.tensor(1.0)
        progress.step = 1  # no probe is due at it
        guard.probe()
        seen = guard.history.probes[-1].signals
        for number in range(PROBES):
            guard.history.add({"kind": "guard", "step": number, "signals": seen})
        parts: dict[str, Callable[[], Any]] = {
            "step": lambda: take_step(job, networks, progress),
            "norm": lambda: nn.utils.get_total_norm(gradients),
            "guard": lambda: at_step(guard, means),
            "probe": guard.probe,
        }
        turns = [
            {part: seconds(do, 1 if part == "probe" else times) for part, do in parts.items()}
            for _ in range(rounds + 1)
        ]
    every, turns = guard.settings.probe_every, turns[1:]
    shares = [(turn["norm"] + turn["guard"] + turn["probe"] / every) / (turn["step"] - turn["norm"]) for turn in turns]
    return {
        "method": name,
        "items": n_items,
        "sessions_a_step": sessions,
        "milliseconds": {part: round(1e3 * median(turn[part] for turn in turns), 3) for part in parts},
        "probe_every": every,
        "share": round(median(shares), 4),
        "shares": [round(share, 4) for share in shares],
    }


def at_step(guard: Guard, means: dict[str, torch.Tensor]) -> None:
    """What the guard does at a step at which no probe is due."""
    before, guard.progress.step = guard.progress.step, 1
    guard.step(means)
    guard.progress.step = before


def seconds(part: Callable[[], Any], times: int) -> float:
    """Processor time of one of so many."""
    begin = time.process_time()
    for _ in range(times):
        part()
    return (time.process_time() - begin) / times


if __name__ == "__main__":
    typer.run(main)
