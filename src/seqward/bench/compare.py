"""What the runs of a study say about its methods: means, intervals over seeds and sessions, and paired tests.

All of it is made from what happened at every event (``events``), so two methods are compared on the same sessions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqward.bench.events import FILE, SHOWN_GROUPS, figure_names, load_events, possible, session_sums
from seqward.bench.kept import place_of
from seqward.bench.results import deciding
from seqward.bench.study import Key
from seqward.bench.summary import finished_on, runs_by_method
from seqward.lint import refuse_mixed
from seqward.statistics import (
    bootstrap_seeds_and_sessions,
    holm,
    interquartile_mean,
    paired_effect,
    percentile_interval,
    randomisation_tests,
)

ENOUGH = 3
"""Seeds for an interval over them alone."""
RESAMPLES = 1000
SIGNS = 1999
"""Draws of a randomisation test; a p-value is at least 1 in 2000."""
LEVEL = 0.05

Floats = NDArray[np.float64]
Figures = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Sums:
    """One method's runs on one data set."""

    seeds: list[int]
    sums: Floats
    """[seeds, sessions, figures]"""
    counts: Floats
    """[sessions, groups] events, the same for every run."""
    seedless: bool = False
    """Whether another seed would change nothing: a baseline, or what only counts."""
    _drawn: dict[tuple[int, ...], Floats] = field(default_factory=dict)
    """Seeds -> their samples."""

    def of_seeds(self, seeds: Sequence[int]) -> Floats:
        """[seeds, sessions, figures] of the named seeds; what has none is the same for all."""
        return self.sums[[0 if self.seedless else self.seeds.index(seed) for seed in seeds]]

    def samples(self, seeds: Sequence[int], names: Sequence[str]) -> Floats:
        """[resamples, figures] values when the named seeds, and sessions, are drawn anew; NaN of no event of the group.

        Those of two methods can be subtracted: of as many seeds the draws are the same.
        """
        if (key := tuple(seeds)) not in self._drawn:
            groups = np.broadcast_to(self.counts, (len(seeds), *self.counts.shape))
            drawn = bootstrap_seeds_and_sessions(np.concatenate([self.of_seeds(seeds), groups], axis=2), RESAMPLES)
            self._drawn[key] = _values(drawn[:, : len(names)], drawn[:, len(names) :], names, len(seeds))
        return self._drawn[key]

    def values(self, names: Sequence[str]) -> Floats:
        """[seeds, figures]: shares of the group's events; Reward@k as the sum it is. NaN where the group is empty."""
        return _values(self.sums.sum(1), self.counts.sum(0), names)


def _values(sums: Floats, counts: Floats, names: Sequence[str], runs: int = 1) -> Floats:
    """[..., figures] what the sums of so many runs, and [..., groups] the counts of their events, come to."""
    by_group = [
        counts[..., SHOWN_GROUPS.index(group)] if dot else np.full(counts.shape[:-1], float(runs))
        for group, dot, _ in (name.partition(".") for name in names)
    ]
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums / np.stack(by_group, axis=-1)


def compared(report: Figures, sums: Mapping[str, Mapping[str, Sums]]) -> dict[str, Any]:
    """Data set -> ``figures`` (method -> name -> mean, IQM, range, interval, seeds), ``best``, ``beside_best`` and
    ``untested``.

    ``best`` has for each figure the method with the highest mean, and whether its difference to every other one is
    significant: over sessions by paired randomisation tests of means over the seeds, Holm's correction and 5 %, and
    over seeds, too, by a 95 % interval that leaves out 0 (which a single seed has not). Baselines are methods here.
    ``beside_best`` has the differences by NDCG of what decides. A run of which only the figures are known, from
    elsewhere, leaves its method untested.

    Args:
        sums: what ``all_sums`` gives.
    """
    return {name: _of_data(name, report, of_data) for name, of_data in sums.items()}


def _of_data(name: str, report: Figures, sums: Mapping[str, Sums]) -> dict[str, Any]:
    runs = finished_on(report, name)
    names = figure_names(list(runs[0]["evaluation"]["cutoffs"]))
    figures = {method: _plain(of, names) for method, of in runs_by_method(runs)}
    figures |= {
        b: _plain([{"test": f}], names) for b, f in report["data"][name]["baselines"].items() if b not in figures
    }
    for method, of in sums.items():
        figures[method] = _with_intervals(of, names)
    untested = [method for method in figures if method not in sums]
    best = best_methods(sums, names) if not untested else {}
    group, k = deciding(figures.values())
    decides = f"{group}.ndcg@{k}"
    beside = beside_best(sums, names, decides, best[decides]) if decides in best else {}
    return {"figures": figures, "best": best, "beside_best": beside, "untested": untested}


def all_sums(report: Figures, folder: Path) -> dict[str, dict[str, Sums]]:
    """Data set on which a run has finished -> method or baseline of which every run's events are kept -> sums.

    Raises:
        Finding: runs on one data set are of different protocols.
    """
    return {name: _sums_of(name, report, folder) for name in report["data"] if finished_on(report, name)}


def _sums_of(name: str, report: Figures, folder: Path) -> dict[str, Sums]:
    found, finished = {}, finished_on(report, name)
    refuse_mixed({str(Key(name, r["method"], r["seed"])): r["evaluation"] for r in finished}, f"data {name}")
    ks = list(finished[0]["evaluation"]["cutoffs"])
    for method, runs in runs_by_method(finished):
        files = [place_of(Key(name, method, run["seed"]), folder) / FILE for run in runs]
        if all(file.is_file() for file in files):
            seedless = all(run["steps"] == 0 for run in runs)
            found[method] = _sums([run["seed"] for run in runs], files, ks, seedless)
    for baseline in report["data"][name]["baselines"]:
        file = folder / "data" / f"{name}.{baseline}.npz"
        if baseline not in found and file.is_file():
            found[baseline] = _sums([0], [file], ks, seedless=True)
    shapes = {of.counts.shape for of in found.values()}
    return found if len(shapes) <= 1 else {}  # what is kept is of other events than the figures


def _sums(seeds: list[int], files: Sequence[Path], ks: list[int], seedless: bool) -> Sums:
    by_run = [session_sums(load_events(file), ks) for file in files]
    return Sums(seeds, np.stack([sums for sums, _ in by_run]), by_run[0][1], seedless)


def _plain(runs: Sequence[Figures], names: Sequence[str]) -> dict[str, Any]:
    """Without intervals, from the figures alone."""
    found = {}
    for name in names:
        group, dot, metric = name.rpartition(".")
        values = [(run["test"].get(group) or {}).get(metric) if dot else run["test"].get(metric) for run in runs]
        if all(value is not None for value in values):
            found[name] = _over_seeds(np.array(values, dtype=float))
    return found


def _over_seeds(values: Floats) -> dict[str, Any]:
    spread = {"mean": values.mean(), "iqm": interquartile_mean(values), "low": values.min(), "high": values.max()}
    return {"seeds": len(values), **{name: float(value) for name, value in spread.items()}, "interval": None}


def _with_intervals(of: Sums, names: Sequence[str]) -> dict[str, Any]:
    values, samples = of.values(names), of.samples(of.seeds, names)
    found = {}
    for i, name in enumerate(names):
        if np.isfinite(values[:, i]).all():
            interval = list(percentile_interval(possible(name, samples[:, i])))
            found[name] = {**_over_seeds(values[:, i]), "interval": interval}
    return found


def best_methods(sums: Mapping[str, Sums], names: Sequence[str]) -> dict[str, Any]:
    """By figure: the ``method`` with the highest mean, whether that is ``significant``, and ``p`` against each other.

    Significant is what is better than every other method, over sessions (by Holm's correction) and over seeds.
    """
    if len(sums) < 2:
        return {}
    methods = list(sums)
    means = np.stack([of.values(names).mean(0) for of in sums.values()])
    by_session = {method: of.sums.mean(0) for method, of in sums.items()}
    there = [i for i in range(len(names)) if np.isfinite(means[:, i]).all()]
    best = {i: methods[int(means[:, i].argmax())] for i in there}
    pairs = [(i, other) for i in there for other in methods if other != best[i]]
    differences = np.stack([by_session[best[i]][:, i] - by_session[other][:, i] for i, other in pairs], axis=1)
    p = dict(zip(pairs, randomisation_tests(differences, SIGNS).tolist(), strict=True))
    adjusted = {i: _adjusted(i, methods, best[i], p) for i in there}
    sure = {i for i in there if all(value < LEVEL for value in adjusted[i].values())}
    for method, other in dict.fromkeys((best[i], other) for i, other in pairs):
        of_both = [i for i in sure if best[i] == method]
        sure -= set(of_both) - _above(sums[method], sums[other], names, of_both)
    return {names[i]: {"method": best[i], "significant": i in sure, "p": adjusted[i]} for i in there}


def _adjusted(i: int, methods: Sequence[str], best: str, p: Mapping[tuple[int, str], float]) -> dict[str, float]:
    others = [method for method in methods if method != best]
    return dict(zip(others, holm([p[i, other] for other in others]), strict=True))


def _above(a: Sums, b: Sums, names: Sequence[str], figures: Sequence[int]) -> set[int]:
    """Those of the figures by which a is above b over seeds, too."""
    seeds = shared_seeds(a, b)
    if len(seeds) < 2:
        return set(figures) if a.seedless and b.seedless else set()
    drawn = a.samples(seeds, names) - b.samples(seeds, names)
    return {i for i in figures if percentile_interval(drawn[:, i], 1 - LEVEL)[0] > 0}


def by_holm(rows: Mapping[str, dict[str, Any] | None]) -> dict[str, dict[str, Any]]:
    """Those of ``paired`` that can be compared, with their p adjusted by Holm."""
    found = {label: row for label, row in rows.items() if row is not None}
    adjusted = holm([row["p"] for row in found.values()])
    return {label: row | {"p_adjusted": p} for (label, row), p in zip(found.items(), adjusted, strict=True)}


def beside_best(sums: Mapping[str, Sums], names: Sequence[str], name: str, best: Figures) -> dict[str, Any]:
    """How much better the best method is by the figure ``name`` than each other that shares a seed with it.

    Args:
        best: what ``best_methods`` has of that figure; its p stand in the rows.
    """
    rows = {other: paired(sums[best["method"]], sums[other], names, name) for other in best["p"]}
    found = {other: row | {"p_adjusted": best["p"][other]} for other, row in rows.items() if row is not None}
    return {"metric": name, "method": best["method"], "rows": found}


def shared_seeds(a: Sums, b: Sums) -> list[int]:
    """The seeds that two methods are compared on: those of both, where one has none those of the other."""
    if a.seedless or b.seedless:
        return b.seeds if a.seedless else a.seeds
    return [seed for seed in a.seeds if seed in b.seeds]


def paired(a: Sums, b: Sums, names: Sequence[str], name: str) -> dict[str, Any] | None:
    """How much better a is than b by one figure: difference, 95 % interval over seeds and sessions, p, effect size.

    Only seeds that both have, None where that is none; the interval is None where it is a single one, which says
    nothing of the others.
    """
    seeds, i = shared_seeds(a, b), list(names).index(name)
    if not seeds:
        return None
    group, dot, _ = name.partition(".")
    counts = a.counts[:, SHOWN_GROUPS.index(group)] if dot else np.full(len(a.counts), 1.0 / len(a.counts))
    by_session = (a.of_seeds(seeds)[:, :, i] - b.of_seeds(seeds)[:, :, i]).mean(0)
    here = counts > 0
    interval = None
    if len(seeds) > 1 or (a.seedless and b.seedless):
        interval = list(percentile_interval((a.samples(seeds, names) - b.samples(seeds, names))[:, i]))
    return {
        "seeds": len(seeds),
        "difference": float(by_session.sum() / counts.sum()),
        "interval": interval,
        "p": float(randomisation_tests(by_session[here, None], SIGNS)[0]),
        "effect": paired_effect(by_session[here]),
    }
