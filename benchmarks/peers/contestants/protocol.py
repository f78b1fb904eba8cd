"""What a contestant and the benchmark say to each other, and how a contestant is timed.

A contestant is run as ``python -m peers.contestants.NAME JOB`` in an environment of its own, where JOB is JSON:

    task, kind, shape {items, context, blocks, width, ...}, data (.npz of items and offsets), seconds, threads,
    negatives, sessions (to rank), options (the contestant's own), work (a folder for what it writes)

and its last line on standard output is JSON: units, cpu, wall (seconds of the timed laps), laps, wall_median (of a
lap), peak_mb, versions, note. It imports NumPy and the standard library only, so that it runs beside any peer.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np

from memory import peak_memory_mb

LEAST_LAPS = 2


Clock = Callable[[], float]


class Meter:
    """Times laps of work and says when they are enough."""

    def __init__(self, ask: Any, warm_up: bool = True, clock: Clock = time.process_time) -> None:
        """Begin, with the job as ``asked`` gives it.

        Args:
            warm_up: whether the first lap does not count; else time and memory count from now on.
            clock: seconds of processor time.
        """
        self.seconds, self.one_thread, self.clock = ask.seconds, ask.threads == 1, clock
        self.units, self.cpu, self.wall = 0.0, 0.0, 0.0
        self.walls: list[float] = []
        self.started = not warm_up
        self._start()

    def _start(self) -> None:
        self._cpu, self._wall = self.clock(), time.perf_counter()
        self._last = self._wall
        _forget_peak()

    def lap(self, units: float) -> bool:
        """Called after each lap with what was done in it; True when no more are needed."""
        if not self.started:
            self.started = True
            self._start()
            return False
        now = time.perf_counter()
        self.units += units
        self.walls.append(now - self._last)
        self._last = now
        self.cpu, self.wall = self.clock() - self._cpu, now - self._wall
        return len(self.walls) >= LEAST_LAPS and (self.cpu if self.one_thread else self.wall) >= self.seconds

    def run(self, work: Callable[[], float]) -> Meter:
        """Do the work, which returns its units, until it is enough."""
        while not self.lap(work()):
            pass
        return self

    def through(self, batches: Callable[[], Any], units: Callable[[Any], float]) -> Any:
        """Hand out batches, over and over, to a loop that is not ours; what it does with one is a lap."""
        while True:
            for batch in batches():
                yield batch
                if self.lap(units(batch)):
                    return

    def result(self) -> dict[str, Any]:
        return {
            "units": self.units,
            "cpu": self.cpu,
            "wall": self.wall,
            "laps": len(self.walls),
            "wall_median": median(self.walls),
            "peak_mb": peak_memory_mb(),
        }


def _forget_peak() -> None:
    """The peak of memory counts from here on: a peer's own preparing is not part of its training."""
    with suppress(OSError):  # where the system does not allow it, it counts from the start of the process
        Path("/proc/self/clear_refs").write_text("5")


class Sessions:
    """The data as a contestant reads them."""

    def __init__(self, job: Any) -> None:
        with np.load(job.data) as data:
            self.items, self.offsets = data["items"], data["offsets"]
        self.context = job.shape.context

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)

    @property
    def owner(self) -> np.ndarray:
        """[events] the session of each event."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def is_last(self) -> np.ndarray:
        """[events] whether it is the last of its session, which is held out."""
        last = np.zeros(len(self.items), dtype=bool)
        last[self.offsets[1:] - 1] = True
        return last

    def positions(self, sessions: np.ndarray) -> int:
        """Targets that so many sessions hold to learn from: each but the first and the held-out, within the context."""
        return int(np.clip(self.lengths[sessions] - 2, 0, self.context).sum())

    def tails(self, sessions: np.ndarray, length: int, held_out: int = 1) -> np.ndarray:
        """[sessions, length] the last items before the ``held_out`` last ones, -1 in front where there are fewer."""
        stop = self.offsets[sessions + 1] - held_out
        slot = stop[:, None] - length + np.arange(length)
        real = slot >= self.offsets[sessions][:, None]
        return np.where(real, self.items[np.maximum(slot, 0)], -1)


def asked() -> Any:
    """What the command line asks for, as attributes."""
    return json.loads(sys.argv[1], object_hook=lambda found: SimpleNamespace(**found))


def answer(meter: Meter, *packages: str, note: str = "", **instead: Any) -> None:
    """Print the result, with the versions of the packages, and with what is known better than by the meter."""
    print(json.dumps(meter.result() | {"versions": versions(*packages), "note": note} | instead), flush=True)


def versions(*packages: str) -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "?"
    return found
