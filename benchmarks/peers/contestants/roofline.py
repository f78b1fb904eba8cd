"""What the machine can do: products of square matrices in fp32 and bf16, and copying beyond the caches."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import torch

from peers.contestants.protocol import asked, versions

SQUARE, SMALL = 2048, 256
PATIENCE = 3.0
"""Seconds of one large product beyond which the small one's rate has to do."""
COPIED = 64 * 2**20
"""Numbers of 4 bytes, read and written: far more than a cache holds."""


def best(work: Callable[[], Any], one_thread: bool, seconds: float) -> float:
    """Seconds of the fastest of a few repetitions, after one that warms up."""
    clock = time.process_time if one_thread else time.perf_counter
    work()
    taken: list[float] = []
    while len(taken) < 3 or sum(taken) < seconds:
        begin = clock()
        work()
        taken.append(clock() - begin)
    return min(taken)


def product(side: int, kind: torch.dtype, one_thread: bool, seconds: float) -> float:
    """10^9 operations a second in the product of two square matrices."""
    a, b = (torch.randn(side, side).to(kind) for _ in range(2))
    return 2 * side**3 / best(lambda: a @ b, one_thread, seconds) / 1e9


def main() -> None:
    ask = asked()
    one_thread, seconds = ask.threads == 1, ask.seconds / 3
    found: dict[str, float] = {}
    for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        rate = product(SMALL, kind, one_thread, 0)
        slow = 2 * SQUARE**3 / rate / 1e9 > PATIENCE  # a processor without bf16 takes minutes
        found[f"{name}_gflops"] = rate if slow else product(SQUARE, kind, one_thread, seconds)
    source, target = torch.ones(COPIED), torch.empty(COPIED)
    found["copy_gb_s"] = 8 * COPIED / best(lambda: target.copy_(source), one_thread, seconds) / 1e9
    print(json.dumps({"limits": found, "versions": versions("torch")}), flush=True)


if __name__ == "__main__":
    main()
