"""Uncertainty of the figures: bootstrap over sessions and seeds, tests of differences, and rank correlation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
AT_ONCE = 1 << 21
"""Counts held at once while resampling: 16 MB."""
NORMAL = 1.959964
"""2.5 % of a normal distribution lie beyond so many standard deviations."""
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""And of Student's t with 1, 2, ... degrees of freedom."""


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
        sums[start:stop] = _drawn(random, n, stop - start).astype(np.float64) @ columns
    return sums


def _drawn(random: np.random.Generator, n: int, samples: int) -> NDArray[np.intp]:
    """[samples, n] how often each of n is in a sample of n with replacement; multinomial draws take ten times this."""
    return np.stack([np.bincount(random.integers(0, n, n, dtype=np.int32), minlength=n) for _ in range(samples)])


def percentile_interval(samples: Floats, level: float = 0.95) -> tuple[float, float]:
    """The middle ``level`` of [n] samples; samples that are NaN (an empty denominator) are left out."""
    tail = (1 - level) / 2
    low, high = np.nanquantile(samples, [tail, 1 - tail])
    return float(low), float(high)


def interquartile_mean(values: Floats) -> float:
    """Mean of the middle half of [n] values: a quarter of n, rounded down, is cut off at either end.

    Less moved by a lucky or failed run than the mean, and less uncertain than the median (Agarwal et al. 2021).
    """
    cut = len(values) // 4
    return float(np.sort(values)[cut : len(values) - cut].mean())


def stratified_bootstrap(
    strata: Sequence[Floats], statistic: Callable[[Floats], float], resamples: int = 2000, seed: int = 0
) -> Floats:
    """A statistic of all runs together, when those of each stratum (a data set) are drawn anew among themselves.

    Agarwal et al. 2021, section 4: as many runs are drawn of every stratum as it has.

    Args:
        strata: a [runs] array each.
        statistic: of the drawn runs of all strata, one after the other.

    Returns:
        [resamples]
    """
    random = np.random.default_rng(seed)
    return np.array(
        [statistic(np.concatenate([random.choice(runs, len(runs)) for runs in strata])) for _ in range(resamples)]
    )


def bootstrap_seeds_and_sessions(
    columns: Floats, resamples: int = 1000, seed: int = 0, *, widen: bool = True
) -> Floats:
    """Column sums when seeds are drawn with replacement, and sessions within them.

    Runs are tested on the same sessions and share the luck of these, so one draw of sessions serves all drawn seeds
    (the pigeonhole bootstrap, Owen 2007): to draw anew for each would average the sessions' part of the uncertainty
    away.

    Args:
        columns: [seeds, sessions, columns] sums of each session in each run.
        widen: whether seeds are moved apart as by ``widened``; it is the draws of them that are.

    Returns:
        [resamples, columns] sums over the drawn seeds and sessions; a figure is a ratio of two. For the same number of
        seeds and sessions draws are the same, so the sums of a difference are the difference of the sums.
    """
    seeds, sessions, width = columns.shape
    runs, times = _draws(seeds, sessions, resamples, seed)
    if widen:
        runs = 1 + _widening(seeds) * (runs - 1)
    flat = np.ascontiguousarray(columns.swapaxes(0, 1)).reshape(sessions, seeds * width)
    sums = np.empty((resamples, width))
    step = max(1, AT_ONCE // max(sessions, 1))
    for start in range(0, resamples, step):
        some = slice(start, start + step)
        by_run = (times[some].astype(float) @ flat).reshape(-1, seeds, width)
        sums[some] = np.einsum("rs,rsw->rw", runs[some], by_run)
    return sums


@lru_cache(maxsize=2)
def _draws(seeds: int, sessions: int, resamples: int, seed: int) -> tuple[Floats, NDArray[np.unsignedinteger]]:
    """How often each seed [resamples, seeds] and each session [resamples, sessions] is drawn.

    A study asks the same of each of its methods, and to draw takes far longer than to multiply; so the last draws are
    kept, a byte a session and resample.
    """
    random = np.random.default_rng(seed)
    runs, step = _drawn(random, seeds, resamples).astype(float), max(1, AT_ONCE // max(sessions, 1))
    parts = [_drawn(random, sessions, min(step, resamples - at)) for at in range(0, resamples, step)]
    most = np.min_scalar_type(max((int(part.max(initial=0)) for part in parts), default=0))
    return runs, np.concatenate([part.astype(most) for part in parts])


def widened(columns: Floats, freedom: int | None = None) -> Floats:
    """[seeds, ...] with each seed's distance from their mean made as large as so few seeds leave open.

    A bootstrap of S seeds takes their spread about their own mean, too small by sqrt(S / (S - 1)), for the truth, and
    knows of no t-distribution: of 3 seeds its 95 % interval holds the truth in 80 %. What is returned makes up for
    both, for intervals of 95 %. One seed, which says nothing of the others, stays what it is.

    Args:
        freedom: degrees of freedom of the t-distribution, where the figure is over more than these seeds; without it
            one less than they are.
    """
    mean = columns.mean(0)
    return mean + _widening(len(columns), freedom) * (columns - mean)


def _widening(seeds: int, freedom: int | None = None) -> float:
    """How many times as far from their mean."""
    if seeds == 1:
        return 1.0
    return (seeds / (seeds - 1)) ** 0.5 * _student(seeds - 1 if freedom is None else freedom) / NORMAL


def _student(freedom: int) -> float:
    """The quantile of Student's t beyond which 2.5 % lie; above 9 degrees of freedom by Fisher's expansion in 1 / n."""
    if freedom <= len(STUDENT):
        return STUDENT[freedom - 1]
    z, n = NORMAL, freedom
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / n + second / n**2 + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384 / n**3


def randomisation_test(differences: Floats, resamples: int = 9999, seed: int = 0) -> float:
    """Two-sided p of "neither is better", from the differences of two systems on the same sessions.

    If neither is, each session's difference is as likely as its opposite (Fisher's randomisation test; Smucker et al.
    2007 for retrieval). Up to 13 sessions all signs are tried, else so many draws, of which the one observed is one.

    Args:
        differences: [sessions] sums of a metric, the one system's less the other's.
    """
    return float(randomisation_tests(differences[:, None], resamples, seed)[0])


def randomisation_tests(differences: Floats, resamples: int = 9999, seed: int = 0) -> Floats:
    """``randomisation_test`` of each column of [sessions, columns], all by the same signs: [columns]."""
    observed = np.abs(differences.sum(0)) * (1 - 1e-12)  # what is equal but for rounding counts as equal
    n = len(differences)
    if 2**n <= resamples:
        signs = 1 - 2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
        return (np.abs(signs @ differences) >= observed).mean(0)
    random, extreme = np.random.default_rng(seed), np.zeros(differences.shape[1])
    step = max(1, AT_ONCE // n)
    for start in range(0, resamples, step):
        signs = 1 - 2.0 * random.integers(0, 2, (min(step, resamples - start), n))
        extreme += (np.abs(signs @ differences) >= observed).sum(0)
    return (extreme + 1) / (resamples + 1)


def holm(p: Sequence[float]) -> list[float]:
    """p-values of several tests, adjusted so that the chance of any false alarm is kept (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    factors = len(p) - np.arange(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(np.asarray(p)[order] * factors))
    return adjusted.tolist()


def paired_effect(differences: Floats) -> float | None:
    """Mean of paired differences [n] in units of their standard deviation (Cohen's d_z); None where they are equal."""
    spread = differences.std(ddof=1) if len(differences) > 1 else 0.0
    return float(differences.mean() / spread) if spread > 0 else None


def probability_of_improvement(a: Floats, b: Floats) -> float:
    """How likely a run of a is better than one of b, ties half: the Mann-Whitney statistic over all pairs of runs."""
    above = np.sign(a[:, None] - b[None, :])
    return float((above + 1).mean() / 2)


def spearman(x: NDArray[Any], y: NDArray[Any]) -> float | None:
    """Pearson correlation of the ranks of two [n] arrays, ties at their mean rank; None where either is constant."""
    a, b = (_mean_ranks(v) for v in (x, y))
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else None


def _mean_ranks(values: NDArray[Any]) -> Floats:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]
