"""How much memory is free, and that freed memory is used again."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from jobs import job_of, shop
from seqward import memory, networks
from seqward import train as training
from seqward.memory import free_memory
from seqward.train import train

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
    """Six tables of 18 MB, which glibc by itself gives back in part, step after step."""
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    usual, kept, after = done.stdout.split()
    assert kept == "True"
    if float(usual) < 100:
        pytest.skip("this system gives nothing back by itself: its pages are huge, or it was told")
    assert float(after) < float(usual) / 4


def test_training_keeps_freed_memory_and_gives_it_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said: list[str] = []
    monkeypatch.setattr(networks, "keep_freed_memory", lambda: said.append("keep"))
    monkeypatch.setattr(training, "give_back_freed_memory", lambda: said.append("give back"))
    train(job_of("sasrec", shop(), tmp_path, epochs=1))
    assert said == ["keep", "give back"]


GIVEN_BACK = """
import torch
from seqward.memory import give_back_freed_memory, keep_freed_memory

def resident():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) // 1024

keep_freed_memory()
parts = [torch.ones(70_855, 64) for _ in range(6)]
del parts
kept = resident()
give_back_freed_memory()
print(kept, resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator than glibc's")
def test_what_was_kept_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", GIVEN_BACK], capture_output=True, text=True, check=True)
    kept, after = map(int, done.stdout.split())
    assert kept - after > 50  # of 108 MB


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
