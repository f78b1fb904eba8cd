"""Ranking metrics: pure functions of what happened at each evaluated event.

One item is relevant at an event, the one that came next. So HR@k is Recall@k, NDCG@k is ``1 / log2(rank + 1)`` where
rank <= k, and MRR@k is ``1 / rank`` there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations, product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqward.statistics import bootstrap_sums, percentile_interval, spearman

CUTOFFS = (5, 10, 20)
GROUPS = ("all", "goal", "click", "goal_repeat", "goal_novel")
EXACT = 1e-9
"""Half-width of a figure that was not rounded: the room for floating point."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What happened at each evaluated event; all arrays are [events]."""

    rank: NDArray[np.int64]
    """1 for the best item; ``catalogue.scores.MISS`` where the target is no candidate or unknown to the model."""
    goal: NDArray[np.bool_]
    """The event is the goal (the paper's purchase); every other event counts as a click."""
    repeat: NDArray[np.bool_]
    """The target stands earlier in the session: in the whole of it, whatever the model can read."""
    known: NDArray[np.bool_]
    """The target is in the vocabulary."""
    reward: NDArray[np.float32]
    session: NDArray[np.int64]
    """Number of the event's session in the data set."""

    def __post_init__(self) -> None:
        lengths = {f.name: len(getattr(self, f.name)) for f in fields(self)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"one entry an event is expected in every array of Outcomes; lengths are {lengths}")

    def __len__(self) -> int:
        return len(self.rank)


def hr(rank: NDArray[np.int64], k: int) -> Floats:
    """[n] 1 where the target is among the first k."""
    return (rank <= k).astype(np.float64)


def ndcg(rank: NDArray[np.int64], k: int) -> Floats:
    """[n] ``1 / log2(rank + 1)`` where the target is among the first k; the ideal gain of one relevant item is 1."""
    return np.where(rank <= k, 1 / np.log2(rank + 1.0), 0.0)


def mrr(rank: NDArray[np.int64], k: int) -> Floats:
    """[n] ``1 / rank`` where the target is among the first k."""
    return np.where(rank <= k, 1 / rank, 0.0)


METRICS: dict[str, Callable[[NDArray[np.int64], int], Floats]] = {"hr": hr, "ndcg": ndcg, "mrr": mrr}


def groups(outcomes: Outcomes) -> dict[str, NDArray[np.bool_]]:
    """The events of each group of ``GROUPS``."""
    goal, repeat = outcomes.goal, outcomes.repeat
    everything = np.ones(len(outcomes), dtype=bool)
    members = (everything, goal, ~goal, goal & repeat, goal & ~repeat)
    return dict(zip(GROUPS, members, strict=True))


def summarise(outcomes: Outcomes, ks: Sequence[int] = CUTOFFS) -> dict[str, Any]:
    """Every metric of every group, cheap enough to call at each validation.

    Returns:
        ``{"all": {"n", "hr@5", ...}, "goal": {...}, ..., "reward@20": sum over hits, "reward_per_event@20": mean}``;
        a group without events is None. Reward@k is the sum of the rewards of the events hit (Xin et al. 2020).

    Raises:
        AssertionError: the figures contradict each other (``impossible_pairs``), which is a defect of this program.
    """
    return _figures(_sums(outcomes, ks), ks)


def summarise_with_intervals(
    outcomes: Outcomes, ks: Sequence[int] = CUTOFFS, *, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """``summarise`` with a ``ci`` of ``[low, high]`` for each figure, by a percentile bootstrap over sessions.

    ``ci`` is None where fewer than two sessions hold events of the group: one session says nothing of its spread.
    """
    sums = _sums(outcomes, ks)
    summary = _figures(sums, ks)
    samples = _ratios(_resampled(sums, resamples, seed), ks)
    sessions = dict(zip(GROUPS, (sums.groups[:, :, 0] > 0).sum(0), strict=True))
    for name in GROUPS:
        if summary[name]:
            summary[name]["ci"] = _intervals(samples[name]) if sessions[name] > 1 else None
    rewards = {key: values for key, values in samples.items() if key not in GROUPS}
    summary["ci"] = _intervals(rewards) if sessions["all"] > 1 else None
    return summary


class _Sums(NamedTuple):
    """Sums of each session (or of each resample), from which every figure is a ratio."""

    groups: Floats
    """[..., groups, 1 + metrics]: the count of events, then the sum of each metric (``_names``)."""
    rewards: Floats
    """[..., cut-offs]: Reward@k."""


def _names(ks: Sequence[int]) -> list[str]:
    return [f"{metric}@{k}" for metric in METRICS for k in ks]


def _values(rank: NDArray[np.int64], ks: Sequence[int]) -> Iterator[Floats]:
    yield np.ones(len(rank))
    for metric in METRICS.values():
        for k in ks:
            yield metric(rank, k)


def _sums(outcomes: Outcomes, ks: Sequence[int]) -> _Sums:
    """Sums of each session; one metric at a time, so that memory does not grow with their number."""
    sessions, session = np.unique(outcomes.session, return_inverse=True)

    def by_session(values: NDArray[Any]) -> Floats:
        return np.bincount(session, weights=values, minlength=len(sessions)).astype(np.float64, copy=False)

    members = groups(outcomes).values()
    by_metric = [
        np.stack([by_session(np.where(member, value, 0.0)) for member in members], axis=1)
        for value in _values(outcomes.rank, ks)
    ]
    rewards = [by_session(hr(outcomes.rank, k) * outcomes.reward) for k in ks]
    return _Sums(np.stack(by_metric, axis=2), np.stack(rewards, axis=1))


def _resampled(sums: _Sums, resamples: int, seed: int) -> _Sums:
    flat = sums.groups.reshape(len(sums.groups), -1)
    drawn = bootstrap_sums(np.concatenate([flat, sums.rewards], axis=1), resamples, seed)
    shape = (resamples, *sums.groups.shape[1:])
    return _Sums(drawn[:, : flat.shape[1]].reshape(shape), drawn[:, flat.shape[1] :])


def _ratios(sums: _Sums, ks: Sequence[int]) -> dict[str, Any]:
    """``{group: {metric: [...]}, "reward@k": [...]}`` of sums [..., ]; NaN for a group without events."""
    count = sums.groups[..., :1]
    with np.errstate(invalid="ignore"):
        means, rewards = sums.groups[..., 1:] / count, sums.rewards / count[..., 0, :]
    ratios: dict[str, Any] = {
        group: {name: means[..., g, i] for i, name in enumerate(_names(ks))} for g, group in enumerate(GROUPS)
    }
    for i, k in enumerate(ks):
        ratios |= {f"reward@{k}": sums.rewards[..., i], f"reward_per_event@{k}": rewards[..., i]}
    return ratios


def _figures(sums: _Sums, ks: Sequence[int]) -> dict[str, Any]:
    """The ratios of the whole sample as plain numbers, with counts, and None for a group without events."""
    total = _Sums(sums.groups.sum(0), sums.rewards.sum(0))
    counts = dict(zip(GROUPS, total.groups[:, 0].astype(int).tolist(), strict=True))
    figures: dict[str, Any] = {}
    for key, value in _ratios(total, ks).items():
        if key not in counts:
            figures[key] = float(value) if counts["all"] else None
        elif counts[key]:
            figures[key] = {"n": counts[key], **{name: float(mean) for name, mean in value.items()}}
            impossible = impossible_pairs(figures[key])
            assert not impossible, f"{key}: {impossible}"
        else:
            figures[key] = None
    return figures


def _intervals(samples: Mapping[str, Floats]) -> dict[str, list[float]]:
    return {name: list(percentile_interval(values)) for name, values in samples.items()}


BOUNDS: dict[str, tuple[Callable[[int], float], str]] = {
    "ndcg": (lambda rank: 1 / np.log2(rank + 1), "NDCG"),
    "mrr": (lambda rank: 1 / rank, "MRR"),
}
"""Metric -> what a hit of a rank is worth, which falls with the rank, and the metric's name."""


class ImpossiblePair(NamedTuple):
    """Two cut-offs whose HR and NDCG (or MRR) no single ranking can have."""

    a: int
    b: int
    hr_rise: float
    rise: float
    low: float
    high: float
    metric: str = "NDCG"

    def __str__(self) -> str:
        return (
            f"from {self.a} to {self.b}: {self.metric} rises by {self.rise:.4f}, but with HR rising by "
            f"{self.hr_rise:.4f} one ranking allows {self.low:.4f} to {self.high:.4f}"
        )


def impossible_pairs(
    figures: Mapping[str, Any], decimals: int | Mapping[str, int] | None = None, metric: str = "ndcg"
) -> list[ImpossiblePair]:
    """The cut-offs a < b between which a row of HR and NDCG, or MRR, contradicts itself.

    With one relevant item an event, a hit that is new between a and b has a rank of a + 1 to b, so
    ``(HR@b - HR@a) / log2(b + 1) <= NDCG@b - NDCG@a <= (HR@b - HR@a) / log2(a + 2)``, and HR cannot fall. At a = 0 both
    are 0. Likewise for MRR, where a hit is worth 1 / rank. (Own derivation.)

    Args:
        figures: has ``hr@k`` and the metric's; other keys are ignored.
        decimals: the figures (or each of them) are rounded to so many, and stand for half a unit of the last one to
            either side. None for figures that were not rounded.
        metric: ``ndcg`` or ``mrr``.
    """
    worth, name = BOUNDS[metric]
    ks = sorted(int(key[3:]) for key in figures if key.startswith("hr@") and f"{metric}@{key[3:]}" in figures)
    found = []
    for a, b in combinations([0, *ks], 2):
        hr_rise, hr_room = rise(figures, decimals, "hr", a, b)
        its_rise, its_room = rise(figures, decimals, metric, a, b)
        low = max(0.0, hr_rise - hr_room) * worth(b) - its_room
        high = (hr_rise + hr_room) * worth(a + 1) + its_room
        if hr_rise < -hr_room or not low <= its_rise <= high:
            found.append(ImpossiblePair(a, b, hr_rise, its_rise, float(low), float(high), name))
    return found


def impossible_apart(
    figures: Mapping[str, Any], decimals: int | Mapping[str, int] | None = None, metric: str = "ndcg"
) -> list[str]:
    """In words: HR at one cut-off, a, and NDCG or MRR at another, b, that contradict each other, where a row lacks one
    of the two at the other's, so that it has no such pair as ``impossible_pairs`` looks at.

    Hits up to a are worth what rank a is, or more, and later ones no more than rank a + 1: ``HR@a / log2(a + 1) <=
    NDCG@b <= HR@a + (1 - HR@a) / log2(a + 2)`` for a < b. Where HR@b is known, it stands for the 1, and the hits after
    a are worth what rank b is, or more; where NDCG@a is known, it stands for what is said of the hits up to a. For
    a > b ``NDCG@b <= HR@a``; that more could be said with NDCG@a is left aside. (Own derivation.)

    Args:
        figures, decimals, metric: as in ``impossible_pairs``.
    """
    worth, name = BOUNDS[metric]
    of_hr, of_metric = (
        {int(key.partition("@")[2]) for key in figures if key.startswith(f"{kind}@")} for kind in ("hr", metric)
    )
    found = []
    for a, b in product(sorted(of_hr), sorted(of_metric)):
        if a == b or (a in of_metric and b in of_hr):
            continue
        hr, value = figures[f"hr@{a}"], figures[f"{metric}@{b}"]
        hr_low, hr_high = _within(figures, decimals, f"hr@{a}")
        low, high = 0.0, hr_high
        if a < b:
            later_low, later_high = _within(figures, decimals, f"hr@{b}") if b in of_hr else (0.0, 1.0)
            low = hr_low * worth(a) + max(0.0, later_low - hr_low) * worth(b)
            high = hr_high + max(0.0, later_high - hr_high) * worth(a + 1)
            if a in of_metric:
                its_low, its_high = _within(figures, decimals, f"{metric}@{a}")
                low, high = max(low, its_low), min(high, its_high + (1 - hr_low) * worth(a + 1))
        room = half_unit(decimals, f"{metric}@{b}")
        low, high = max(0.0, low - room), high + room
        if not low <= value <= high:
            found.append(
                f"{name}@{b} is {value:.4f}, but with HR@{a} of {hr:.4f} one ranking allows {low:.4f} to {high:.4f}"
            )
    return found


def _within(figures: Mapping[str, Any], decimals: int | Mapping[str, int] | None, name: str) -> tuple[float, float]:
    """The least and the largest share that a figure may stand for."""
    room = half_unit(decimals, name)
    return max(0.0, figures[name] - room), min(1.0, figures[name] + room)


def rise(
    figures: Mapping[str, Any], decimals: int | Mapping[str, int] | None, metric: str, a: int, b: int
) -> tuple[float, float]:
    """How much more a metric is at b than at a (0 at a = 0), and the room that rounding leaves to either side."""
    ends = [f"{metric}@{k}" for k in (a, b) if k]
    before = figures[ends[0]] if a else 0.0
    return figures[ends[-1]] - before, sum(half_unit(decimals, name) for name in ends)


def half_unit(decimals: int | Mapping[str, int] | None, name: str) -> float:
    """Half a unit of the last decimal of the figure ``name``, with room for floating point."""
    places = decimals[name] if isinstance(decimals, Mapping) else decimals
    return EXACT if places is None else 0.5 * 10.0**-places + EXACT


OF_Q = ("mean_q", "max_q", "mean_return", "gap", "rank_correlation")
"""What ``q_against_returns`` finds, beside how many events."""


def q_against_returns(q: Floats, returns: Floats) -> dict[str, float | int | None]:
    """Does the critic know the return? Both are [n], at the same logged events.

    ``gap`` is mean Q less mean return: above 0 the critic overestimates (van Hasselt et al. 2016, section 4).
    ``rank_correlation`` is Spearman's, None where either is constant.
    """
    return {
        "n": len(q),
        "mean_q": float(q.mean()),
        "max_q": float(q.max()),
        "mean_return": float(returns.mean()),
        "gap": float(q.mean() - returns.mean()),
        "rank_correlation": spearman(q, returns),
    }
