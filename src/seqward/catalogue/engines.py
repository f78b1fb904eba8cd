"""Which engine answers: a choice of scale, never of mathematics."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from seqward.catalogue import native
from seqward.catalogue.chunked import ChunkedScores
from seqward.catalogue.dense import DenseScores
from seqward.catalogue.fused import FusedScores, refusal
from seqward.catalogue.gpu import GpuScores
from seqward.catalogue.gpu import refusal as gpu_refusal
from seqward.catalogue.scores import LinearScores


def fused(states: Tensor, weight: Tensor, bias: Tensor | None = None) -> LinearScores:
    """Kernels of our own: Triton's on a GPU, native ones on a processor."""
    return (GpuScores if weight.is_cuda else FusedScores)(states, weight, bias)


ENGINES: dict[str, Callable[[Tensor, Tensor, Tensor | None], LinearScores]] = {
    "dense": DenseScores,
    "chunked": ChunkedScores,
    "fused": fused,
}
DENSE_BELOW = 1024
"""Items up to which the matrix of a batch stays in cache, so that writing it costs nothing."""


def scores_of(states: Tensor, weight: Tensor, bias: Tensor | None = None, engine: str = "auto") -> LinearScores:
    """Scores ``states @ weight.T + bias``.

    Args:
        states: [n, width].
        weight: [items, width].
        bias: [items].
        engine: a name in ENGINES, or "auto".
    """
    if engine == "auto":
        small = len(weight) < DENSE_BELOW
        refused = None if small else (gpu_refusal if weight.is_cuda else refusal)(states, weight, bias)
        if refused is not None and (weight.is_cuda or native.variant_for(torch.float32) is not None):
            native.warn_once(f"catalogue: {refused}. The chunked engine answers instead.")
        engine = "dense" if small else "fused" if refused is None else "chunked"
    return ENGINES[engine](states, weight, bias)
