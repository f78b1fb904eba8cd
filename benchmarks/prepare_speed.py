"""How long preparing a log takes, beside reading its file alone.

    OMP_NUM_THREADS=1 python benchmarks/prepare_speed.py [--events N] [--out FILE]

The log is synthetic, of RetailRocket's shape: half as many visitors as events, three event types, and, as there, days
in order but not the rows within a day. Each measurement runs in a process of its own, so that peak memory is its own,
and reading and preparing take turns. Seconds begin when the program is loaded. A goal is held against processor time,
which the clock stays below on an idle machine, and which says the same on a busy one. Prints JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import polars as pl
import typer

from machine import RESULTS, commit, machine, peak_memory_mb
from seqward.data.events import Columns, EventLog
from seqward.data.prepare import prepare

EVENTS = 2_756_101
GOALS = {EVENTS: (5.0, None), 33_000_000: (15.0, 1600)}
"""Events of a log -> seconds of processor time in which, and MB in which, it is to be prepared."""
ROUNDS = {EVENTS: 5}
"""Turns; 1 where nothing is said."""
VISITORS_AN_EVENT = 1_407_580 / EVENTS
ITEMS = 235_061
DAYS = 137
SHARES = {"view": 0.967, "addtocart": 0.025, "transaction": 0.008}
START, DAY = 1_430_622_004_384, 86_400_000
"""Milliseconds."""


def write_log(file: Path, events: int, seed: int = 0) -> None:
    """A CSV file with RetailRocket's columns."""
    draw = np.random.default_rng(seed)
    visitors = int(events * VISITORS_AN_EVENT)
    day = np.sort(draw.integers(0, DAYS, events))
    kind = draw.choice(3, p=list(SHARES.values()), size=events)
    pl.DataFrame(
        {
            "timestamp": START + day * DAY + draw.integers(0, DAY, events),
            "visitorid": draw.permutation(
                np.concatenate([np.arange(visitors), _skewed(draw, events - visitors, visitors)])
            ),
            "event": pl.Series(kind, dtype=pl.UInt32).replace_strict(dict(enumerate(SHARES)), return_dtype=pl.String),
            "itemid": _skewed(draw, events, ITEMS),
            "transactionid": pl.Series(np.arange(events), dtype=pl.Int64).set(pl.Series(kind != 2), None),
        }
    ).write_csv(file)


def _skewed(draw: np.random.Generator, n: int, choices: int) -> np.ndarray:
    """``n`` numbers below ``choices``, the low ones far more often."""
    return (draw.random(n) ** 3 * choices).astype(np.int64)


def read_alone(file: Path, out: Path) -> None:
    pl.read_csv(file)


def prepare_all(file: Path, out: Path) -> None:
    log = EventLog.read(
        file,
        Columns(user_id="visitorid", item_id="itemid", event_type="event"),
        rewards=dict.fromkeys(SHARES, 1.0),
        goal="addtocart",
    )
    prepare(log, out=out, warn=lambda _: None)


JOBS: dict[str, Callable[[Path, Path], None]] = {"read": read_alone, "prepare": prepare_all}


def measure(job: str, file: Path, out: Path) -> dict[str, Any]:
    """Run a job in this process."""
    clock, processor = time.perf_counter(), time.process_time()
    JOBS[job](file, out)
    return {
        "seconds": round(time.perf_counter() - clock, 2),
        "processor_seconds": round(time.process_time() - processor, 2),
        "peak_mb": round(peak_memory_mb()),
    }


def in_a_process(job: str, file: Path, out: Path) -> dict[str, Any]:
    """What this program prints with ``--only job``."""
    command = [sys.executable, __file__, "--only", job, "--file", str(file), "--out", str(out)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def compare(events: int) -> dict[str, Any]:
    """Medians of both jobs on a log of so many events, and what preparing takes of reading."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "events.csv")
        write_log(file, events)
        size = file.stat().st_size
        turns = [
            {job: in_a_process(job, file, Path(folder, f"data-{turn}")) for job in JOBS}
            for turn in range(ROUNDS.get(events, 1))
        ]
    found = {job: {name: median(turn[job][name] for turn in turns) for name in turns[0][job]} for job in JOBS}
    ratios = {name: found["prepare"][name] / found["read"][name] for name in ("seconds", "processor_seconds")}
    result = {"events": events, "file_mb": size // 2**20, "rounds": len(turns), **found}
    result["prepare_over_read"] = {name: round(ratio, 2) for name, ratio in ratios.items()}
    if events in GOALS:
        seconds, memory = GOALS[events]
        result |= {"goal_seconds": seconds, "reached": found["prepare"]["processor_seconds"] < seconds}
        if memory is not None:
            result |= {"goal_mb": memory, "reached_mb": found["prepare"]["peak_mb"] < memory}
    return result


def main(
    events: Annotated[list[int] | None, typer.Option(min=1000, help="Of a log; repeatable.")] = None,
    out: Annotated[Path, typer.Option(help="JSON file to write.")] = RESULTS / "prepare-speed.json",
    only: Annotated[str | None, typer.Option(hidden=True, help="Only do this job.")] = None,
    file: Annotated[Path, typer.Option(hidden=True, help="With --only: the log.")] = Path(),
) -> None:
    """Measure, print and keep the result."""
    if only is not None:
        print(json.dumps(measure(only, file, out)))
        return
    facts = machine() | {"polars": pl.__version__, "polars_threads": pl.thread_pool_size(), "numpy": np.__version__}
    result = {"commit": commit(), "machine": facts, "logs": [compare(size) for size in events or GOALS]}
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    typer.run(main)
