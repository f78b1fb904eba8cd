"""The native kernels: which of them this processor can run, and how they are asked. Sources: ``native/``.

The library is optional. It is looked for beside this file, opened by ctypes, asked for the version of its interface
and tried on a sum that is known; where any of that fails the torch engines answer, and a warning says so once. A call
releases the interpreter's lock, and ranges of one question run side by side: in torch's own threads where they are
GNU's OpenMP, else in threads of Python.

torch is imported by what needs it only: ``seqward.inference`` asks the kernels without it.

``SEQWARD_NATIVE`` chooses, for tests and measurements: ``auto``, ``off``, or a variant's name, as ``seqward doctor``
prints them, and ``plain`` or ``plain-bf16``.
"""

from __future__ import annotations

import ctypes
import logging
import math
import os
import platform
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ctypes import POINTER, Structure, byref, c_char_p, c_float, c_int, c_int32, c_int64, c_uint, c_void_p
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

VERSION = 5
"""Of the interface; ``kVersion`` in native/questions.hpp."""
FP32, BF16 = ("avx512", "avx2"), ("avx512-bf16",)
"""Variants that ``auto`` may take for sums in fp32 and in bfloat16, best first. The plain ones are for tests."""
SCREEN = (*BF16, *FP32)
"""Variants that ``auto`` may take for screens, best first: all answer alike, and VNNI is the fastest."""
SMALL = 1 << 22
"""Multiplications below which a second thread does not pay."""

logger = logging.getLogger("seqward")


class ScoresQuestion(Structure):
    """``Scores`` of native/questions.hpp."""

    _fields_ = (
        ("states", c_void_p),
        ("weight", c_void_p),
        ("bias", c_void_p),
        ("rows", c_int64),
        ("items", c_int64),
        ("width", c_int64),
        ("scale", c_float),
    )


class BestQuestion(Structure):
    """``Best``."""

    _fields_ = (("scores", ScoresQuestion), ("margin", c_void_p), ("value", c_void_p), ("item", c_void_p))


class SumQuestion(Structure):
    """``Sum``."""

    _fields_ = (
        ("scores", ScoresQuestion),
        ("total", c_void_p),
        ("mean", c_void_p),
        ("shift", c_void_p),
        ("kept", c_void_p),
        ("best", POINTER(BestQuestion)),
    )


class SpreadQuestion(Structure):
    """``Spread``."""

    _fields_ = (("sum", SumQuestion), ("grad", c_void_p), ("grad_weight", c_void_p), ("grad_bias", c_void_p))


class RankQuestion(Structure):
    """``Rank``."""

    _fields_ = (
        ("scores", ScoresQuestion),
        ("target", c_void_p),
        ("own", c_void_p),
        ("margin", c_void_p),
        ("better", c_void_p),
    )


class TableQuestion(Structure):
    """``Table``."""

    _fields_ = (
        ("codes", c_void_p),
        ("scale", c_void_p),
        ("bias", c_void_p),
        ("norm", c_void_p),
        ("residual", c_void_p),
        ("offset", c_void_p),
    )


class TopkQuestion(Structure):
    """``Topk``."""

    _fields_ = (
        ("scores", ScoresQuestion),
        ("table", TableQuestion),
        ("excluded", c_void_p),
        ("n_excluded", c_int64),
        ("k", c_int64),
        ("value", c_void_p),
        ("item", c_void_p),
    )


class _Parts(Structure):
    _fields_ = (
        ("answer", c_void_p),
        ("variant", c_int),
        ("question", c_void_p),
        ("count", c_int64),
        ("each", c_int64),
        ("failed", c_int64),
    )


class _Shape(Structure):
    _fields_ = (("lanes", c_int32), ("panel", c_int32), ("block", c_int32), ("bytes", c_int32))


@dataclass(frozen=True)
class Variant:
    """One set of kernels."""

    number: int
    name: str
    runs: bool
    """Whether this processor has the instructions."""
    lanes: int
    panel: int
    """Rows that are answered together: ranges of rows begin at a multiple."""
    block: int
    """Items that are."""
    bytes: int
    """Of a number as it is multiplied and kept: 4 in fp32, 2 in bfloat16."""

    @property
    def dtype(self) -> torch.dtype:
        import torch

        return torch.float32 if self.bytes == 4 else torch.bfloat16

    @property
    def unit(self) -> float:
        """The relative error of an operand as it is multiplied, at most: half of the last of eight bits."""
        return 0.0 if self.bytes == 4 else 2.0**-8


class Library:
    """The shared library, opened and tried."""

    def __init__(self, file: Path) -> None:
        """Open it.

        Raises:
            OSError: it is no library of this system, or only the beginning of one.
            AttributeError: it lacks a function.
            ValueError: it is of another version, or counts wrongly.
        """
        self.file = file
        _check_whole(file)
        self.calls = ctypes.CDLL(str(file))
        self.calls.seqward_name.restype = c_char_p
        self.calls.seqward_shape.argtypes = (c_int, POINTER(_Shape))
        for name in ("sum", "spread", "rank", "best", "topk"):
            self.call(name).argtypes = (c_int, c_void_p, c_int64, c_int64)
        self.call("together").argtypes = (c_void_p, c_void_p, c_uint)
        version = self.calls.seqward_version()
        if version != VERSION:
            raise ValueError(f"its interface is version {version}, not {VERSION}")
        self.variants = {v.name: v for v in map(self._variant, range(self.calls.seqward_variants()))}
        for variant in self.variants.values():
            if variant.runs:
                self._try(variant)

    def call(self, name: str) -> Any:
        return getattr(self.calls, f"seqward_{name}")

    def _variant(self, number: int) -> Variant:
        shape = _Shape()
        self.calls.seqward_shape(number, byref(shape))
        name, runs = self.calls.seqward_name(number).decode(), bool(self.calls.seqward_runs(number))
        return Variant(number, name, runs, shape.lanes, shape.panel, shape.block, shape.bytes)

    def _try(self, variant: Variant) -> None:
        """Three items with scores of 16, 16 and 32 sum to 2^16 * (2 + 2^16)."""
        states, weight = (c_float * 16)(*[1.0] * 16), (c_float * 48)(*[1.0] * 32, *[2.0] * 16)
        total = c_float()
        address = ctypes.addressof
        scores = ScoresQuestion(address(states), address(weight), None, 1, 3, 16, 1.0)
        question = SumQuestion(scores, address(total))
        failed = self.calls.seqward_sum(variant.number, byref(question), 0, 1)
        if failed or not math.isclose(total.value, 16 + math.log2(2 + 2**16), rel_tol=1e-6):
            raise ValueError(f"its {variant.name} variant gives wrong sums")


def _check_whole(file: Path) -> None:
    """Refuse an ELF file that lacks its end, where the table of its sections stands: to open it would be a crash."""
    start, size = file.read_bytes()[:64], file.stat().st_size
    if start[:5] != b"\x7fELF\x02":
        return  # another system's kind of library, or none: the system says
    sections = int.from_bytes(start[40:48], "little") + int.from_bytes(start[58:60], "little") * int.from_bytes(
        start[60:62], "little"
    )
    if len(start) < 64 or sections > size:
        raise OSError(f"it is cut off after {size} bytes")


@dataclass(frozen=True)
class Found:
    """What became of the search for the library."""

    library: Library | None
    why: str
    """In words, for ``seqward doctor``."""


@cache
def found() -> Found:
    """The library, if it is there and works. Warns once where it is there and does not."""
    files = sorted(file for suffix in ("so", "pyd") for file in Path(__file__).parent.glob(f"_native*.{suffix}"))
    if not files:
        return Found(None, "no native kernels: none were built when Seqward was installed (that takes a C++ compiler)")
    try:
        library = Library(files[0])
    except (OSError, AttributeError, ValueError) as error:
        why = f"the native kernels in {files[0]} do not work ({error}). Install Seqward again to build them anew"
        logger.warning("%s; until then torch answers, more slowly.", why)
        return Found(None, why)
    return Found(library, f"native kernels from {files[0]}")


def why_none_runs() -> str:
    """In words, where no variant is chosen."""
    if found().library is None:
        return found().why
    if _choice() == "off":
        return "the native kernels are switched off (SEQWARD_NATIVE=off)"
    return "no native kernel runs on this processor"


_forced: str | None = None


@contextmanager
def using(name: str) -> Iterator[None]:
    """A variant for the length of a block, for tests: as ``SEQWARD_NATIVE`` for the process."""
    global _forced
    before, _forced = _forced, name
    try:
        yield
    finally:
        _forced = before


def variant_for(dtype: torch.dtype) -> Variant | None:
    """The variant that sums in ``dtype``, or in fp32 where none does or that is faster; None for torch to answer."""
    import torch

    # AVX512-BF16 takes twice as long as fp32 on Intel's processors and half on AMD's (docs/log.md). AMX is not used.
    named = _chosen((*BF16, *FP32) if dtype == torch.bfloat16 and not is_intel() else FP32)
    # A variant in bfloat16 answers nothing that is asked in fp32.
    return None if named is None or (named.bytes == 2 and dtype == torch.float32) else named


def screening_variant() -> Variant | None:
    """The variant that answers ``topk``; None where NumPy has to."""
    return _chosen(SCREEN)


def _chosen(wanted: tuple[str, ...]) -> Variant | None:
    """The first of the wanted variants that runs, or the one that is forced."""
    library, choice = found().library, _choice()
    if library is None or choice == "off":
        return None
    runnable = {name: variant for name, variant in library.variants.items() if variant.runs}
    if choice == "auto":
        return next((runnable[name] for name in wanted if name in runnable), None)
    if choice not in runnable:
        warn_once(f"SEQWARD_NATIVE={choice} is none of auto, off, {', '.join(runnable)}; torch answers.")
    return runnable.get(choice)


@cache
def is_intel() -> bool:
    """Whether Intel made this processor; not, where the system does not tell."""
    info = Path("/proc/cpuinfo")
    return "GenuineIntel" in (info.read_text() if info.is_file() else platform.processor())


def _choice() -> str:
    return _forced or os.environ.get("SEQWARD_NATIVE", "auto")


@cache
def warn_once(text: str) -> None:
    logger.warning("%s", text)


def ask(name: str, variant: Variant, question: Structure, count: int, step: int, work: int) -> None:
    """Answer ``question`` for the numbers 0 .. count - 1 of its rows or blocks, in torch's number of threads.

    Args:
        step: ranges begin at a multiple of it.
        work: multiplications of the whole question.

    Raises:
        MemoryError: there is too little for a thread's workspace.
    """
    import torch

    library = found().library
    assert library is not None
    call = library.call(name)
    threads = torch.get_num_threads() if work > SMALL else 1
    each = -(-count // (threads * step)) * step
    if each >= count:
        failed = call(variant.number, byref(question), 0, count)
    elif (fork := _fork(os.getpid())) is not None:
        whole = ctypes.cast(byref(question), c_void_p)
        parts = _Parts(ctypes.cast(call, c_void_p), variant.number, whole, count, each)
        library.call("together")(fork, byref(parts), threads)
        failed = parts.failed
    else:
        ranges = [(start, min(start + each, count)) for start in range(0, count, each)]
        pool = _pool(len(ranges), os.getpid())
        failed = any(list(pool.map(lambda part: call(variant.number, byref(question), *part), ranges)))
    if failed:
        raise MemoryError("no memory for the native kernels' workspace (a few megabytes a thread)")


_BORN = os.getpid()


@cache
def _fork(process: int) -> Any:
    """What has torch's own threads do something, where they are GNU's OpenMP of its package; None where not, and in a
    process that was forked after this was imported, which has none of them.
    """
    import torch

    package, maps = Path(torch.__file__).resolve().parent, Path("/proc/self/maps")
    try:
        lines = maps.read_text(errors="replace").splitlines() if process == _BORN else []
        files = {Path(line.split(maxsplit=5)[-1]).resolve() for line in lines if "/libgomp" in line}
        own = [file for file in files if package in file.parents or file.parent == package.with_name("torch.libs")]
        return ctypes.cast(ctypes.CDLL(str(own[0])).GOMP_parallel, c_void_p) if len(own) == 1 else None
    except (OSError, AttributeError):  # another system, or a library that was replaced
        return None


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads do not survive a fork, so each process has its own."""
    return ThreadPoolExecutor(threads, thread_name_prefix="seqward")


def address(tensor: Tensor | None) -> int | None:
    """Of the first number of a contiguous tensor; the caller keeps the tensor alive."""
    return None if tensor is None else tensor.data_ptr()
