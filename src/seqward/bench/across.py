"""Methods over all data sets of a study: how many times the best baseline they reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqward.bench.compare import ENOUGH, RESAMPLES
from seqward.bench.results import deciding
from seqward.bench.summary import runs_by_method
from seqward.statistics import interquartile_mean, percentile_interval, stratified_bootstrap, widened

Floats = NDArray[np.float64]
Figures = Mapping[str, Any]


def across(report: Figures, of_all: Figures) -> dict[str, Any]:
    """Figure -> method or baseline -> ``iqm``, ``interval`` and ``runs``, of those with figures on every data set.

    Data sets are of different difficulty, so each run's figure is divided by that of the best baseline on its data
    set. The interquartile mean is of all runs of all data sets; its 95 % interval is by a bootstrap whose strata are
    the data sets (Agarwal et al. 2021, section 4), None where one of them has fewer than ``ENOUGH`` seeds.

    Args:
        of_all: what ``compare.compared`` gives.

    Returns:
        {} where there is one data set, or no method has run on all of them.
    """
    if len(of_all) < 2 or set(of_all) != set(report["data"]):
        return {}
    group, k = deciding(figures for of_data in of_all.values() for figures in of_data["figures"].values())
    found = {name: _times_the_baseline(report, group, name) for name in (f"hr@{k}", f"ndcg@{k}")}
    return {
        f"{group}.{name}": {method: _over_strata(strata) for method, strata in methods.items()}
        for name, methods in found.items()
        if methods
    }


def _times_the_baseline(report: Figures, group: str, name: str) -> dict[str, list[Floats]]:
    """Method -> of each data set [seeds] figures over the best baseline's; none where that has found nothing."""
    by_data = []
    for data, of in report["data"].items():
        values = {baseline: [figures[group][name]] for baseline, figures in of["baselines"].items() if figures[group]}
        best = max((figure for (figure,) in values.values()), default=0.0)
        if not best:
            return {}
        runs = [run for run in report["runs"] if run["data"] == data]
        trained = {method: [run["test"][group][name] for run in of_seeds] for method, of_seeds in runs_by_method(runs)}
        by_data.append({label: np.array(of_runs) / best for label, of_runs in {**trained, **values}.items()})
    everywhere = [method for method in by_data[0] if all(method in methods for methods in by_data)]
    return {method: [methods[method] for methods in by_data] for method in everywhere}


def _over_strata(strata: Sequence[Floats]) -> dict[str, Any]:
    together = np.concatenate(strata)
    interval = None
    if min(map(len, strata)) >= ENOUGH:
        freedom = len(together) - len(strata)
        drawn = stratified_bootstrap([widened(values, freedom) for values in strata], interquartile_mean, RESAMPLES)
        interval = [max(bound, 0.0) for bound in percentile_interval(drawn)]
    return {"iqm": interquartile_mean(together), "interval": interval, "runs": len(together)}
