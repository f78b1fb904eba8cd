"""Peak memory of a process. By itself, since peers ask for it in environments that have no Seqward."""

from __future__ import annotations

from pathlib import Path


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, from the system's own account of it.

    ``getrusage`` will not do: a child that was spawned starts with the peak of its parent.
    """
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
