"""Calls side by side, each in a process of its own, so that one that dies takes nothing else with it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

Task = tuple[Any, ...]
ATTEMPTS = 2
"""How often a call is made whose process dies."""
PARENT = 1.0
"""Seconds between two looks whether the parent lives."""


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spin_briefly() -> None:
    """Have threads of OpenMP sleep where they wait for long; read when torch is loaded, here or in a child process.

    Threads that wait for each other by spinning slow training tenfold and more where another program keeps a core busy;
    a short spin costs 5 % where none does (docs/log.md). What the user has set stays.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def threads_each(at_once: int) -> int:
    """Threads for each of so many processes; no more than OMP_NUM_THREADS, where the user has set it."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    share = max(1, cores() // max(at_once, 1))
    return min(share, int(said)) if said.isdigit() and int(said) else share


def side_by_side(
    work: Callable[..., Any], tasks: Sequence[Task], jobs: int | Literal["auto"]
) -> Iterator[tuple[Task, int]]:
    """Call ``work`` with each task, at most ``jobs`` at once, and give each with its exit status as it ends.

    One whose process dies (a status other than 0) is called once more. Whatever ends this generator early, Ctrl-C too,
    asks what still runs to end by SIGTERM, upon which training saves.
    """
    at_once = min(len(tasks), cores() if jobs == "auto" else jobs)
    waiting = deque((task, ATTEMPTS) for task in tasks)
    running: dict[BaseProcess, tuple[Task, int]] = {}
    spawn, threads = get_context("spawn"), threads_each(at_once)
    spin_briefly()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                task, left = waiting.popleft()
                process = spawn.Process(target=_child, args=(work, task, threads, os.getpid()))
                process.start()
                running[process] = (task, left - 1)
            wait([process.sentinel for process in running])
            for process in [process for process in running if process.exitcode is not None]:
                task, left = running.pop(process)
                if process.exitcode and left:
                    waiting.appendleft((task, left))
                else:
                    yield task, process.exitcode or 0
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.join()


def _child(work: Callable[..., Any], task: Task, threads: int, parent: int) -> None:
    if "torch" in sys.modules:  # with what ``work`` needs, it was loaded as the process began
        sys.modules["torch"].set_num_threads(threads)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        work(*task)
    except KeyboardInterrupt:  # training has saved and said so
        raise SystemExit(130) from None


def _end_with(parent: int) -> None:
    """Stop, as by SIGTERM, when the parent was killed: else a study that is begun again would meet its own runs."""
    while os.getppid() == parent:
        time.sleep(PARENT)
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Wait until no other process is in here with this file; without effect where the system has no such locks."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as stream:
        try:
            import fcntl
        except ImportError:
            yield
            return
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
