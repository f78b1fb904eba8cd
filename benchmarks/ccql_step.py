"""Training speed of SASRec-CCQL at RetailRocket's shape: the package's step against the usual one, side by side.

    OMP_NUM_THREADS=1 python benchmarks/ccql_step.py [--rounds 5] [--out FILE]

70,852 items, 64 wide, sessions of RetailRocket's lengths, phase 1 of Eq. 4 with the method's own settings. The usual
step (``naive_ccql.py``, in fp32) takes sessions that hold 256 transitions, the package's takes 256 sessions (and, in a
second comparison, as many as the usual one). Counted are transitions a second of processor time, in turns, so that what
else the machine does falls on both. Prints JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from tempfile import gettempdir
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

from machine import RESULTS, commit, machine, peak_memory_mb
from naive_ccql import NaiveCCQL, Transitions, transitions_of
from seqward.augment import permutation
from seqward.catalogue.scores import slow_in_bfloat16
from seqward.checkpoint import Progress
from seqward.config import from_keywords
from seqward.data.batches import TrainingEvents
from seqward.job import Job
from seqward.method import Method
from seqward.methods import method_named
from seqward.model import Model
from seqward.networks import Networks
from seqward.train import take_step
from shape import retailrocket_shape

SESSIONS = 20_000
"""Enough that no batch comes twice."""
NAIVE_TRANSITIONS = 256
GOALS = {("negatives", "fp32"): 4.5, ("catalogue", "fp32"): 2.7, ("negatives", "bf16"): 7.0, ("catalogue", "bf16"): 4.0}
MEMORY_GOAL_MB = 2000
MEMORY_STEPS = 6
TIMES = {"naive": 2, "ours": 1, "ours_in_small": 3}
"""Steps a turn."""

Step = Callable[[], int]
"""Takes one step and returns its number of transitions."""


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each comparison.")] = 5,
    out: Annotated[Path, typer.Option(help="JSON file to write.")] = RESULTS / "ccql-step.json",
    memory: Annotated[str | None, typer.Option(help="Only print the peak memory of training: negatives/fp32.")] = None,
) -> None:
    """Measure, print and keep the result."""
    if memory is not None:
        conservative, _, precision = memory.partition("/")
        print(peak_memory(conservative, precision))
        return
    events = TrainingEvents(retailrocket_shape(SESSIONS), context=sections("negatives")["backbone"].session_max_len)
    result: dict[str, Any] = {"commit": commit(), "machine": machine(), "rounds": rounds, "comparisons": []}
    for (conservative, precision), goal in GOALS.items():
        row = {"conservative": conservative, "precision": precision, "goal": goal}
        if precision == "bf16" and slow_in_bfloat16():
            row["ratio"] = "not measured: this processor is faster in fp32"
        else:
            row |= compare(events, conservative, precision, rounds)
            row |= {"reached": row["ratio"] >= goal, **memory_of(conservative, precision)}
        result["comparisons"].append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def compare(events: TrainingEvents, conservative: str, precision: str, rounds: int) -> dict[str, Any]:
    """Transitions a second of both steps, and the median of the ratios of neighbours."""
    small = round(NAIVE_TRANSITIONS * events.n_pieces / events.n_events)
    steps: Mapping[str, Step] = {
        "naive": Naive(events, conservative, small, 1 + rounds * TIMES["naive"]).step,
        "ours": Ours(events, conservative, precision).step,
        "ours_in_small": Ours(events, conservative, precision, small).step,
    }
    for step in steps.values():
        step()
    turns = [{name: rate(step, TIMES[name]) for name, step in steps.items()} for _ in range(rounds)]
    ratios = {name: [turn[name] / turn["naive"] for turn in turns] for name in ("ours", "ours_in_small")}
    return {
        "ratio": median(ratios["ours"]),
        "ratios": [round(ratio, 2) for ratio in ratios["ours"]],
        "ratio_at_the_same_batch": median(ratios["ours_in_small"]),
        "transitions_per_second": {name: round(median(turn[name] for turn in turns), 1) for name in steps},
        "load_average": machine()["load_average"],
    }


def rate(step: Step, times: int) -> float:
    """Transitions a second of this process's processor time."""
    begin = time.process_time()
    transitions = sum(step() for _ in range(times))
    return transitions / (time.process_time() - begin)


class Ours:
    """The package's training step."""

    def __init__(self, events: TrainingEvents, conservative: str, precision: str, batch_size: int = 256) -> None:
        self.job = job_of(events, sections(conservative, precision=precision, batch_size=batch_size))
        self.networks, self.progress = Networks(self.job), Progress()

    def step(self) -> int:
        before = self.progress.events
        take_step(self.job, self.networks, self.progress)
        return self.progress.events - before


class Naive:
    """The usual training step; its windows and views are made beforehand, as in a replay buffer."""

    def __init__(self, events: TrainingEvents, conservative: str, sessions_a_step: int, steps: int) -> None:
        parts = sections(conservative)
        self.objective, self.clip = parts["objective"], parts["train"].clip_value
        self.n_items, context = events.n_items, parts["backbone"].session_max_len
        networks = Networks(job_of(events, parts)).modules
        self.networks: list[Model] = [networks[0], networks[1]]  # type: ignore[list-item]
        self.optimisers = [torch.optim.Adam(network.parameters(), lr=parts["train"].lr) for network in networks]
        self.ready: list[tuple[Transitions, Tensor]] = []
        for number in range(steps):
            transitions = transitions_of(events.batch(number, sessions_a_step, seed=0), context)
            histories = transitions.next_state[transitions.last]
            self.ready.append((transitions, permutation()(histories, torch.default_generator, events.vocabulary)))

    def step(self) -> int:
        transitions, view = self.ready.pop()
        chosen = len(self.ready) % 2
        online, optimiser = self.networks[chosen], self.optimisers[chosen]
        negatives = torch.randint(self.n_items, (len(transitions.item), self.objective.negatives))
        naive = NaiveCCQL(online, self.networks[1 - chosen], self.objective)
        naive.total(naive.losses(transitions, negatives, view)).backward()
        nn.utils.clip_grad_value_(online.parameters(), self.clip)
        optimiser.step()
        optimiser.zero_grad()
        return len(transitions.item)


def sections(conservative: str, **train: Any) -> dict[str, Any]:
    """The method's own settings but for what is compared."""
    return from_keywords(method_named("sasrec-ccql").sections, {"conservative": conservative, **train})


def job_of(events: TrainingEvents, parts: dict[str, Any]) -> Job:
    """A run that neither validates nor writes."""
    method = method_named("sasrec-ccql").build(**parts)
    assert isinstance(method, Method)
    return Job(method, events, parts["train"], Path(gettempdir()), None)


def memory_of(conservative: str, precision: str) -> dict[str, Any]:
    """Peak memory of a process of its own that trains: Python, torch, data, both networks and the optimiser."""
    command = [sys.executable, __file__, "--memory", f"{conservative}/{precision}"]
    peak = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {"peak_memory_mb": peak, "memory_goal_mb": MEMORY_GOAL_MB, "memory_reached": peak < MEMORY_GOAL_MB}


def peak_memory(conservative: str, precision: str) -> float:
    """Train for a few steps in this process and return its peak resident memory in MB."""
    events = TrainingEvents(retailrocket_shape(SESSIONS), context=sections("negatives")["backbone"].session_max_len)
    ours = Ours(events, conservative, precision)
    for _ in range(MEMORY_STEPS):
        ours.step()
    return round(peak_memory_mb(), 1)


if __name__ == "__main__":
    typer.run(main)
