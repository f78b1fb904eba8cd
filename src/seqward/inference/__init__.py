"""Recommending from a run folder with NumPy and the native kernels alone: no torch, half a second to import."""

from __future__ import annotations

from seqward.inference.serving import Inference

__all__ = ["Inference"]
