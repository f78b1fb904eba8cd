"""Compile every kernel of the GPU engine for an A100 and an H100, which need not be there: run by test_gpu.py.

A line each: kernel, generation, type, width, tensor-core instructions in its assembly.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from seqward.catalogue import gpu, gpu_kernels

POINTERS = {
    "*i64": ("target",),
    "*i32": ("better", "found", "close_rows", "close_items"),
    "i32": ("rows", "items", "each", "width", "blocks", "room"),
}
TYPES = {torch.float32: "*fp32", torch.bfloat16: "*bf16"}


def compiled(kernel: Any, generation: int, dtype: torch.dtype, width: int, tile: gpu.Tile) -> int:
    constants = gpu._constants(tile, torch.empty(0, width), torch.empty(0)) | {"MEAN": True}
    options = {name: constants.pop(name) for name in ("num_warps", "num_stages")}
    kinds = {name: kind for kind, names in POINTERS.items() for name in names}
    kinds |= dict.fromkeys(("states", "weight", "weighted"), TYPES[dtype]) | dict.fromkeys(constants, "constexpr")
    signature = {name: kinds.get(name, "*fp32") for name in kernel.arg_names}
    source = ASTSource(kernel, signature, {name: constants[name] for name in signature if name in constants})
    assembly = triton.compile(source, target=GPUTarget("cuda", generation, 32), options=options).asm["ptx"]
    return assembly.count("wgmma.mma_async") + assembly.count("mma.sync")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sums, orders = (gpu_kernels.sums, gpu_kernels.spread), (gpu_kernels.maxima, gpu_kernels.compare)
    questions = [(k, dtype, gpu.tile_of(dtype, 64)) for k in sums for dtype in TYPES]
    questions += [(kernel, torch.float32, gpu.ORDERS) for kernel in orders]
    for generation in (80, 90):
        for kernel, dtype, tile in questions:
            count = compiled(kernel, generation, dtype, 64, tile)
            print(kernel.fn.__name__, generation, str(dtype).removeprefix("torch."), 64, count)
