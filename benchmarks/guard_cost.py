"""What the stability guard costs at RetailRocket's shape, as a share of a training step of SASRec-CCQL.

    OMP_NUM_THREADS=1 python benchmarks/guard_cost.py [--rounds 5] [--out FILE]

Parts are timed by themselves, in turns, in processor time: a step without the guard and without the norm of the
gradient that it asks for, that norm, what the guard does at every step, and a probe, of which there is one in so many
steps; the probe is one of a long run, with a thousand before it.
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

from ccql_step import SESSIONS, Ours, sections
from machine import RESULTS, commit, machine
from seqward.clipping import gradients_of
from seqward.data.batches import TrainingEvents
from seqward.runlog import RunLog
from seqward.stability.guard import Guard
from seqward.train import step_of, total_loss
from shape import retailrocket_shape

GOAL = 0.03
PROBES = 1000
"""Seen before, which rules look back on."""


def main(
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    out: Annotated[Path, typer.Option(help="JSON file to write.")] = RESULTS / "guard-cost.json",
) -> None:
    """Measure, print and keep the result."""
    events = TrainingEvents(retailrocket_shape(SESSIONS), context=sections("negatives")["backbone"].session_max_len)
    ours = Ours(events, "negatives", "fp32")
    job, networks, progress = ours.job, ours.networks, ours.progress
    with TemporaryDirectory() as folder:
        guard = Guard(job, networks, progress, RunLog(Path(folder), progress, lambda record: None))
        batch = events.batch(0, job.settings.batch_size, 0)
        loss, means = total_loss(job.method.phases[0], step_of(job, networks.modules[0], networks.modules[1], batch, 0))
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
            "step": ours.step,
            "norm": lambda: nn.utils.get_total_norm(gradients),
            "guard": lambda: at_step(guard, means),
            "probe": guard.probe,
        }
        turns = [{name: seconds(part) for name, part in parts.items()} for _ in range(rounds + 1)][1:]
    each = {name: median(turn[name] for turn in turns) for name in parts}
    every = guard.settings.probe_every
    shares = [(turn["norm"] + turn["guard"] + turn["probe"] / every) / (turn["step"] - turn["norm"]) for turn in turns]
    result = {
        "commit": commit(),
        "machine": machine(),
        "rounds": rounds,
        "milliseconds": {name: round(1e3 * value, 3) for name, value in each.items()},
        "probe_every": every,
        "share": round(median(shares), 4),
        "shares": [round(share, 4) for share in shares],
        "goal": GOAL,
        "reached": median(shares) < GOAL,
    }
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def at_step(guard: Guard, means: dict[str, torch.Tensor]) -> None:
    """What the guard does at a step at which no probe is due."""
    before, guard.progress.step = guard.progress.step, 1
    guard.step(means)
    guard.progress.step = before


def seconds(part: Callable[[], Any]) -> float:
    begin = time.process_time()
    part()
    return time.process_time() - begin


if __name__ == "__main__":
    typer.run(main)
