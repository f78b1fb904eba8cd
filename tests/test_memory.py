"""How much memory is free, and that freed memory is used again."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from seqward import memory
from seqward.memory import free_memory

FAULTS = """
import resource, sys, torch
from seqward.memory import keep_freed_memory

def step():
    parts = [torch.ones(70_855, 64) for _ in range(6)]
    while parts:
        parts.pop(0)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        step()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 5

faults(), faults()
usual = faults()
kept = keep_freed_memory()
faults()
print(usual, kept, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator than glibc's")
def test_memory_that_a_step_frees_is_not_touched_afresh_by_the_next() -> None:
    """Six tables of 18 MB are 26,000 pages of 4 kB, which glibc by itself gives back in part, step after step."""
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    usual, kept, after = done.stdout.split()
    assert kept == "True"
    assert float(after) < 400 < 1000 < float(usual)


@pytest.mark.parametrize(("limit", "free"), [("5000000\n", 3_500_000), ("1000\n", 0), ("max\n", None), (None, None)])
def test_a_container_has_what_its_limit_leaves(
    limit: str | None, free: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It uses 2 MB, of which half a MB are files that can be read again."""
    monkeypatch.setattr(memory, "CONTROL_GROUPS", tmp_path / "none")
    whole = free_memory(torch.device("cpu"))
    monkeypatch.setattr(memory, "CONTROL_GROUPS", tmp_path)
    for name, text in (("max", limit), ("current", "2000000\n"), ("stat", "anon 7\ninactive_file 500000\n")):
        if text is not None:
            (tmp_path / f"memory.{name}").write_text(text)
    found = free_memory(torch.device("cpu"))
    assert found == free if free is not None else (found is None) == (whole is None)


def test_free_memory_is_known_or_not_asked() -> None:
    free = free_memory(torch.device("cpu"))
    assert free is None or free > 1e6
