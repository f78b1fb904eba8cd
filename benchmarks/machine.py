"""Where results stand, and what only the measurements of speed ask of the machine."""

from __future__ import annotations

from pathlib import Path

from memory import peak_memory_mb
from seqward.bench.machine import commit, machine

__all__ = ["RESULTS", "ROOT", "commit", "has_bf16", "machine", "peak_memory_mb"]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def has_bf16() -> bool:
    """Whether the processor multiplies in bfloat16."""
    info = Path("/proc/cpuinfo")
    return info.is_file() and "avx512_bf16" in info.read_text()
