"""Where results stand, and what only the measurements of speed ask of the machine."""

from __future__ import annotations

from pathlib import Path

from memory import peak_memory_mb
from seqward.bench.machine import commit, machine

__all__ = ["RESULTS", "ROOT", "commit", "machine", "peak_memory_mb"]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
