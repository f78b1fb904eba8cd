"""The memory that is free, and what the process does with the memory that it has freed."""

from __future__ import annotations

import ctypes
import platform
from functools import cache
from pathlib import Path

import torch

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""``M_TRIM_THRESHOLD`` and ``M_MMAP_THRESHOLD`` of ``mallopt``."""
NEVER = -1
LARGEST = 32 << 20
"""Bytes of the largest block that glibc lets come from its heap."""


@cache
def keep_freed_memory() -> bool:
    """Have this process keep the memory that it frees, and use it again; whether that was possible (glibc only).

    Every step frees gradients and activations as large as those of the step before. By default glibc gives blocks of
    megabytes back to the system, which clears each page when it is touched again: a fifth of a step of SASRec with
    70,852 items (docs/log.md). Blocks above ``LARGEST`` still go back.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(MMAP_THRESHOLD, LARGEST)) and bool(mallopt(TRIM_THRESHOLD, NEVER))


def give_back_freed_memory() -> None:
    """Let the system have what was kept, once it is not needed for the next step."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def free_memory(device: torch.device) -> int | None:
    """Bytes that may still be taken, on a GPU or of the machine's memory and of what a container is given of it; None
    where the system does not tell.
    """
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # free again, but held by torch
        return torch.cuda.mem_get_info(device)[0] + kept
    give_back_freed_memory()  # or the system would count it as taken
    told = Path("/proc/meminfo")
    lines = dict(line.split(":", 1) for line in told.read_text().splitlines()) if told.is_file() else {}
    machine = [int(lines["MemAvailable"].split()[0]) * 1024] if "MemAvailable" in lines else []
    return min([*machine, *_left_to_container(CONTROL_GROUPS)], default=None)


CONTROL_GROUPS = Path("/sys/fs/cgroup")


def _left_to_container(folder: Path) -> list[int]:
    """Bytes between a control group's limit and what it uses, file caches aside; none where there is no limit."""
    try:
        limit, used = (int((folder / name).read_text()) for name in ("memory.max", "memory.current"))
        told = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return [max(0, limit - used + int(told["inactive_file"]))]
    except (OSError, ValueError, KeyError):  # "max", an older kernel, or another system
        return []
