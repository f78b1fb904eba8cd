"""How long preparing a log takes, beside reading its file alone.

    python -m benchmarks.prepare_speed --events 33_000_000

The log is synthetic, of RetailRocket's shape: half as many visitors as events, three event types, and, as there, days
in order but not the rows within a day. Each measurement runs in a process of its own, so that peak memory is its own.
Prints JSON: seconds (of the clock and of the processor), the ratio of preparing to reading, and peak memory in MB.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from seqward.data.events import Columns, EventLog
from seqward.data.prepare import prepare

EVENTS = 2_756_101
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


def read_alone(file: Path, out: Path) -> int:
    return pl.read_csv(file).height


def prepare_all(file: Path, out: Path) -> int:
    log = EventLog.read(
        file,
        Columns(user_id="visitorid", item_id="itemid", event_type="event"),
        rewards=dict.fromkeys(SHARES, 1.0),
        goal="addtocart",
    )
    return prepare(log, out=out, warn=lambda _: None).n_events


JOBS: dict[str, Callable[[Path, Path], int]] = {"read": read_alone, "prepare": prepare_all}


def measure(job: str, file: Path, out: Path) -> dict[str, Any]:
    """Run a job in this process."""
    clock, processor = time.perf_counter(), time.process_time()
    events = JOBS[job](file, out)
    return {
        "events": events,
        "seconds": round(time.perf_counter() - clock, 2),
        "processor_seconds": round(time.process_time() - processor, 2),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def in_new_process(*arguments: str | Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.prepare_speed", *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def compare(events: int) -> dict[str, Any]:
    """Write a log and measure both jobs on it."""
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder, "events.csv"), Path(folder, "data")
        in_new_process("--write", file, "--events", str(events))
        figures = {job: in_new_process("--job", job, "--file", file, "--out", out) for job in JOBS}
        size = file.stat().st_size
    return {
        "events": events,
        "file_mb": size // 2**20,
        "cores": os.cpu_count(),
        "polars": pl.__version__,
        **figures,
        "ratio": round(figures["prepare"]["seconds"] / figures["read"]["seconds"], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--events", type=int, default=EVENTS)
    for inner in ("--write", "--file", "--out", "--job"):
        parser.add_argument(inner, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.write:
        write_log(Path(chosen.write), chosen.events)
        print("{}")
    elif chosen.job:
        print(json.dumps(measure(chosen.job, Path(chosen.file), Path(chosen.out))))
    else:
        print(json.dumps(compare(chosen.events), indent=2))


if __name__ == "__main__":
    main()
