"""The native kernels under sanitizers: of reads and writes beyond an array, undefined behaviour, and threads."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[2] / "native"
FLAGS = [
    "-std=c++17",
    "-O1",
    "-g",
    "-ffp-contract=off",
    "-fno-sanitize-recover=all",
    "-w",
]


@pytest.mark.slow
def test_kernels_are_compiled_by_clang(tmp_path: Path) -> None:
    """It has its own way to be told of a processor's instructions."""
    compiler = shutil.which("clang++")
    if compiler is None:
        pytest.skip("no clang++ here")
    for source in NATIVE.glob("*.cpp"):
        command = [compiler, "-std=c++17", "-O1", "-ffp-contract=off", "-c", str(source), "-o", str(tmp_path / "o")]
        built = subprocess.run(command, capture_output=True, text=True)
        assert built.returncode == 0, f"{source.name}: {built.stderr[-2000:]}"


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_kernels_stay_within_their_arrays_and_parts(tmp_path: Path, sanitizer: str) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ here")
    program = tmp_path / "driver"
    sources = [*NATIVE.glob("*.cpp"), NATIVE / "test" / "driver.cpp"]
    command = [compiler, *FLAGS, f"-fsanitize={sanitizer}", *map(str, sources), "-o", str(program)]
    built = subprocess.run(command, capture_output=True, text=True)
    if re.search("cannot find -l[aut]b?san", built.stderr):
        pytest.skip("g++ comes without its sanitizers here")
    assert built.returncode == 0, built.stderr[-2000:]
    done = subprocess.run([str(program)], capture_output=True, text=True)
    if "unexpected memory mapping" in done.stderr:
        pytest.skip("the system places memory where this sanitizer of threads cannot have it")
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    assert "plain-bf16: no complaint" in done.stdout
