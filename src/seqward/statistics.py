"""Uncertainty of the figures: bootstrap over sessions, and rank correlation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
AT_ONCE = 1 << 21
"""Counts held at once while resampling: 16 MB."""


def bootstrap_sums(columns: Floats, resamples: int, seed: int) -> Floats:
    """Column sums of ``resamples`` samples of the rows, drawn with replacement.

    Events of a session are not independent, so rows are sessions, and a figure is a ratio of two of the sums: its
    denominator varies with the sample (Efron and Tibshirani 1993, chapters 6 and 13).

    Args:
        columns: [sessions, columns] sums of each session.

    Returns:
        [resamples, columns]; the same for the same seed, whatever the memory.
    """
    n = len(columns)
    random = np.random.default_rng(seed)
    sums = np.empty((resamples, columns.shape[1]))
    step = max(1, AT_ONCE // max(n, 1))
    for start in range(0, resamples, step):
        stop = min(start + step, resamples)
        drawn = [np.bincount(random.integers(0, n, n, dtype=np.int32), minlength=n) for _ in range(start, stop)]
        sums[start:stop] = np.stack(drawn).astype(np.float64) @ columns
    return sums


def percentile_interval(samples: Floats, level: float = 0.95) -> tuple[float, float]:
    """The middle ``level`` of [n] samples; samples that are NaN (an empty denominator) are left out."""
    tail = (1 - level) / 2
    low, high = np.nanquantile(samples, [tail, 1 - tail])
    return float(low), float(high)


def spearman(x: NDArray[Any], y: NDArray[Any]) -> float | None:
    """Pearson correlation of the ranks of two [n] arrays, ties at their mean rank; None where either is constant."""
    a, b = (_mean_ranks(v) for v in (x, y))
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else None


def _mean_ranks(values: NDArray[Any]) -> Floats:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]
