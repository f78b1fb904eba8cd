"""Runs the contestants of the tasks in turns, each in a process and an environment of its own, and keeps what they say.

Rounds go over all tasks, one thread and then two, so that contestants of a task are neighbours in time and what else
the machine does falls on all of them. What was measured already is not measured again: a race that was stopped goes
on, and one that failed somewhere tries that again. A peer that is not installed or fails is told, and the rest runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from machine import ROOT, commit, machine
from peers.figures import rate_of
from peers.install import python_of
from peers.synthetic import sessions_of
from peers.tasks import ROOFLINE, SHAPES, TASKS, WIDTH, Contestant, Shape, Task, task_named
from seqward.errors import SeqwardError

WORK = ROOT / "benchmarks" / "peers" / "work"
BENCHMARKS = ROOT / "benchmarks"
POOLS = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM", "RAYON", "POLARS_MAX")
"""Libraries that are told how many threads they may have."""
READ = ("train", "rank", "ccql", "serve")
"""Kinds of tasks that read the synthetic data."""
LINES = 3
"""Of what a failed contestant said last."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Extent:
    """How much is measured. Results of different extents do not mix."""

    seconds: float = 6.0
    """Of timed work, a turn; but at least two laps."""
    sessions: int = 2048
    """Ranked, a lap."""
    events: int = 33_000_000
    """Of the log to prepare."""
    engine: str = "auto"
    """Which engine answers for the catalogue in ours."""
    precision: str = "fp32"
    """Of ours: bf16 trains under autocast."""
    shrink: tuple[int, int] | None = None
    """At most so many sessions (an eighth of it where they are long) and items: for a first look and for tests."""

    def shape(self, name: str) -> Shape:
        shape = SHAPES[name]
        if self.shrink is None:
            return shape
        sessions, items = self.shrink
        return shape.smaller(sessions if shape.lengths == "retailrocket" else sessions // 8, items)


QUICK = Extent(seconds=0.2, sessions=200, events=20_000, shrink=(1_500, 800))


class Entry(NamedTuple):
    """One turn of a contestant."""

    round: int
    threads: int
    task: Task
    contestant: Contestant

    @property
    def key(self) -> tuple[int, int, str, str]:
        return self.round, self.threads, self.task.name, self.contestant.name

    def __str__(self) -> str:
        return f"{self.task.name}/{self.contestant.name}"


def race(
    out: Path,
    extent: Extent,
    rounds: int,
    only: Sequence[str] = (),
    threads: Sequence[int] = (1, 2),
    guests: Sequence[tuple[str, Contestant, Path]] = (),
    minutes: float = 15.0,
    say: Say = lambda line: None,
    wall_rounds: int | None = None,
) -> dict[str, Any]:
    """Carry out what is missing of a race in the file ``out``, and return its content.

    Args:
        only: patterns of TASK/CONTESTANT; the machine's limits are always measured.
        threads: which turns to take, with one thread, with two, or both.
        guests: (task, contestant, interpreter) that are not in the table.
        minutes: after which a contestant is given up.
        wall_rounds: how many of the rounds have turns with two threads; all where nothing is said.

    Raises:
        SeqwardError: nothing fits ``only``, or ``out`` cannot be read.
    """
    result = begun(out, extent, say)
    pythons = {guest.name: python for _, guest, python in guests}
    entries = [e for e in entries_of(rounds, guests, wall_rounds) if e.threads in threads and chosen(e, only)]
    if not any(entry.task is not ROOFLINE for entry in entries):
        raise SeqwardError(f"no contestant fits {', '.join(only)}. Known: {', '.join(known())}.")
    missing = [e for e in entries if not any(key_of(r) == e.key and "error" not in r for r in result["records"])]
    result["absent"] = sorted({e.contestant.name for e in entries if python_for(e.contestant, pythons) is None})
    for name in result["absent"]:
        say(f"{name} is not installed and is left out: python benchmarks/bench_peers.py install")
    missing = [entry for entry in missing if entry.contestant.name not in result["absent"]]
    for number, entry in enumerate(missing, 1):
        python = python_for(entry.contestant, pythons)
        assert python is not None
        begin = time.perf_counter()
        record = dict(zip(("round", "threads", "task", "contestant"), entry.key, strict=True))
        record |= turn(entry, extent, python, minutes)
        record["took"] = round(time.perf_counter() - begin, 1)
        say(f"[{number}/{len(missing)}] {told(record)} ({record['took']:.0f} s)")
        result["records"] = [r for r in result["records"] if key_of(r) != entry.key] + [record]
        result["load_average"].append(round(os.getloadavg()[0], 2))
        write(out, result)
    return result


def begun(out: Path, extent: Extent, say: Say) -> dict[str, Any]:
    """The result so far, or an empty one; results of another extent, commit or machine are put aside, not mixed.

    Raises:
        SeqwardError: the file cannot be read.
    """
    shapes = {name: asdict(extent.shape(name)) for name in SHAPES}
    facts = json.loads(json.dumps({"extent": asdict(extent), "shapes": shapes}))
    about = {"commit": commit(), "machine": machine() | {"numpy": np.__version__, "polars": version("polars")}}
    empty = {**about, **facts, "load_average": [], "absent": [], "records": []}
    if not out.is_file():
        return empty
    try:
        result = json.loads(out.read_text())
        same = {name: result[name] for name in facts} == facts
        same &= (result["commit"], result["machine"]["cpu"]) == (about["commit"], about["machine"]["cpu"])
    except (ValueError, KeyError, TypeError):
        raise SeqwardError(
            f"{out} cannot be read: it was cut off or edited. Remove it, or give another --out."
        ) from None
    if same:
        return result
    aside = out.with_suffix(".before.json")
    out.replace(aside)
    say(f"{out} held a race of another extent, commit or machine: it is kept as {aside}, and a new one begins.")
    return empty


def entries_of(
    rounds: int, guests: Sequence[tuple[str, Contestant, Path]] = (), wall_rounds: int | None = None
) -> Iterator[Entry]:
    """All turns, in their order."""
    most = {1: rounds, 2: rounds if wall_rounds is None else wall_rounds}
    for number in range(rounds):
        for threads in (1, 2):
            for task in (ROOFLINE, *TASKS):
                extra = tuple(guest for name, guest, _ in guests if name == task.name)
                last = min(most[threads], task.rounds or rounds)
                if threads in task.threads and number < last:
                    yield from (Entry(number, threads, task, one) for one in task.contestants + extra)


def known() -> list[str]:
    return [str(entry) for entry in entries_of(1) if entry.threads == 1 and entry.task is not ROOFLINE]


def chosen(entry: Entry, only: Sequence[str]) -> bool:
    return entry.task is ROOFLINE or not only or any(fnmatch(str(entry), pattern) for pattern in only)


def python_for(contestant: Contestant, guests: dict[str, Path]) -> Path | None:
    if contestant.name in guests:
        return guests[contestant.name]
    return Path(sys.executable) if contestant.venv is None else python_of(contestant.venv)


def turn(entry: Entry, extent: Extent, python: Path, minutes: float) -> dict[str, Any]:
    """What the contestant says, or the error it ended with."""
    ask = job_of(entry, extent)
    command = [str(python), "-W", "ignore", *module_of(entry.contestant), json.dumps(ask)]
    try:
        done = subprocess.run(
            command, cwd=WORK, env=environment(entry), capture_output=True, text=True, timeout=60 * minutes
        )
    except subprocess.TimeoutExpired:
        return {"error": f"given up after {minutes:g} minutes"}
    try:
        found = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        found = None
    if isinstance(found, dict) and ("limits" in found or found.get("units", 0) > 0):
        return found
    said = (done.stderr or done.stdout).strip().splitlines()[-LINES:]
    return {"error": f"exit status {done.returncode}: {' / '.join(said)}"}


def module_of(contestant: Contestant) -> list[str]:
    """How the interpreter is told what to run: a contestant of ours, or a guest's file."""
    guest = contestant.module.endswith(".py")
    return [contestant.module] if guest else ["-m", f"peers.contestants.{contestant.module}"]


def job_of(entry: Entry, extent: Extent) -> dict[str, Any]:
    """See ``peers/contestants/protocol.py``."""
    shape = extent.shape(entry.task.shape)
    WORK.mkdir(parents=True, exist_ok=True)
    return {
        "task": entry.task.name,
        "kind": entry.task.kind,
        "shape": asdict(shape) | {"width": WIDTH},
        "data": str(data_file(shape)) if entry.task.kind in READ else None,
        "seconds": extent.seconds,
        "threads": entry.threads,
        "negatives": entry.task.options.get("negatives", 0),
        "sessions": extent.sessions,
        "events": extent.events,
        "options": {"engine": extent.engine, "precision": extent.precision} | dict(entry.contestant.options),
        "work": str(WORK),
    }


def data_file(shape: Shape) -> Path:
    """The sessions of a shape, made once."""
    file = WORK / f"{shape.lengths}-{shape.sessions}x{shape.items}.npz"
    if not file.is_file():
        unfinished = file.with_suffix(".part.npz")
        np.savez(unfinished, **sessions_of(shape))  # type: ignore[arg-type]
        unfinished.rename(file)
    return file


def environment(entry: Entry) -> dict[str, str]:
    """So many threads, no GPU, and this checkout's package for those that run in its environment."""
    threads = {f"{pool}_NUM_THREADS": str(entry.threads) for pool in POOLS[:-1]}
    threads |= {f"{POOLS[-1]}_THREADS": str(entry.threads)}
    paths = [BENCHMARKS] if entry.contestant.venv else [BENCHMARKS, ROOT / "src"]
    seen = {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(map(str, paths))}
    return {**os.environ, **threads, **seen, "PYTHONWARNINGS": "ignore"}


def key_of(record: dict[str, Any]) -> tuple[int, int, str, str]:
    return record["round"], record["threads"], record["task"], record["contestant"]


def told(record: dict[str, Any]) -> str:
    """A record in a line."""
    threads = "1 thread" if record["threads"] == 1 else f"{record['threads']} threads"
    where = f"round {record['round'] + 1}, {threads}, {record['task']}, {record['contestant']}:"
    if "error" in record:
        return f"{where} FAILED, {record['error']}"
    if "limits" in record:
        return f"{where} {', '.join(f'{name} {value:.1f}' for name, value in record['limits'].items())}"
    return f"{where} {rate_of(record):,.5g} {task_named(record['task']).unit} a second"


def write(file: Path, result: dict[str, Any]) -> None:
    unfinished = file.with_suffix(".part")
    unfinished.write_text(json.dumps(result, indent=1) + "\n")
    unfinished.replace(file)


def guest_of(text: str) -> tuple[str, Contestant, Path]:
    """TASK=NAME=FILE.py or TASK=NAME=FILE.py=PYTHON, such as the authors' code behind a few lines of one's own.

    Raises:
        SeqwardError: it is not that, or there is no such task or file.
    """
    task, *rest = text.split("=")
    if len(rest) not in (2, 3) or task not in {t.name for t in TASKS}:
        raise SeqwardError(f"expected TASK=NAME=FILE.py[=PYTHON], TASK one of {', '.join(t.name for t in TASKS)}.")
    name, file, python = (*rest, sys.executable)[:3]
    if not Path(file).is_file() or not Path(python).is_file():
        raise SeqwardError(f"{file} or {python} is no file.")
    return task, Contestant(name, str(Path(file).resolve()), differs="a guest of this run"), Path(python)


def changed(extent: Extent, **given: Any) -> Extent:
    """The extent with what was asked for (not None) instead."""
    return replace(extent, **{name: value for name, value in given.items() if value is not None})
