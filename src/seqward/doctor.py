"""What this machine is and which kernels answer on it, with the rates that it reaches: ``seqward doctor --machine``."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

import seqward
from seqward.catalogue import native
from seqward.catalogue.gpu import fault

FLAGS = ("avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "asimd", "bf16")
"""What is asked of a processor, by the names that the system gives."""
SIDE, TURNS, PATIENCE = 512, 10, 0.3


def about_machine() -> list[tuple[str, Any]]:
    """(what, value): versions, processor, threads, kernels and why these, products a second. Takes a second or two."""
    library = native.found().library
    runnable = (
        [] if library is None else [v.name for v in library.variants.values() if v.runs and v.name[:5] != "plain"]
    )
    return [
        ("seqward", seqward.__version__),
        ("torch", torch.__version__),
        ("python", platform.python_version()),
        ("processor flags", " ".join(_flags()) or "not known on this system"),
        ("threads", torch.get_num_threads()),
        ("gpu", torch.cuda.get_device_name() if torch.cuda.is_available() else "none"),
        ("gpu's kernels", _gpu_kernels()),
        ("native kernels", native.found().why),
        ("variants that run here", " ".join(runnable) or "none: torch answers"),
        ("SEQWARD_NATIVE", os.environ.get("SEQWARD_NATIVE", "auto")),
        ("sums in fp32 by", _name(torch.float32)),
        ("sums under bf16 autocast by", _name(torch.bfloat16)),
        ("ranks by", _name(torch.bfloat16)),
        ("answers without torch by", _named(native.screening_variant(), "NumPy")),
        ("fp32 product, GFLOP/s a core", product_rate(torch.float32)),
        ("bf16 product, GFLOP/s a core", product_rate(torch.bfloat16)),
    ]


def _name(dtype: torch.dtype) -> str:
    return _named(native.variant_for(dtype), "torch, in chunks")


def _named(variant: native.Variant | None, otherwise: str) -> str:
    return otherwise if variant is None else f"native kernels, {variant.name}"


def _gpu_kernels() -> str:
    if not torch.cuda.is_available():
        return "not asked: there is no GPU"
    return fault(torch.device("cuda")) or "Triton's"


def _flags() -> list[str]:
    info = Path("/proc/cpuinfo")
    known = set(info.read_text().split()) if info.is_file() else set()
    return [flag for flag in FLAGS if flag in known]


def product_rate(dtype: torch.dtype) -> float:
    """Billions of operations a core and second of a square matrix product, the best of a few; well under a second."""
    threads, seconds, square = torch.get_num_threads(), list[float](), torch.randn(SIDE, SIDE).to(dtype)
    torch.set_num_threads(1)  # the time of another thread is counted late
    try:
        torch.mm(square, square)  # the first one loads the library's kernels
        while len(seconds) < TURNS and sum(seconds) < PATIENCE:
            begin = time.process_time()  # other programs do not count
            torch.mm(square, square)
            seconds.append(max(time.process_time() - begin, 1e-9))
    finally:
        torch.set_num_threads(threads)
    return float(f"{2 * SIDE**3 / min(seconds) / 1e9:.3g}")
