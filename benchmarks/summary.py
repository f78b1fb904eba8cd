"""What the runs of a study say together: mean and range over seeds, and the comparison with published figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from seqward.metrics import GROUPS

SHOWN = ("hr@10", "ndcg@10", "hr@20", "ndcg@20")

Figures = Mapping[str, Any]


def summary(runs: Sequence[Figures]) -> dict[str, Any]:
    """data -> method -> group -> metric -> [mean, lowest, highest] over the seeds; "" is the group of Reward@k."""
    whole: dict[str, Any] = {}
    for data, method, of_seeds in _by_method(runs):
        tests = [run["test"] for run in of_seeds]
        groups = {group: [test[group] for test in tests] for group in GROUPS if all(test[group] for test in tests)}
        groups[""] = [{k: v for k, v in test.items() if isinstance(v, float)} for test in tests]
        whole.setdefault(data, {})[method] = {
            group: {metric: _spread([f[metric] for f in figures]) for metric in figures[0] if metric not in ("n", "ci")}
            for group, figures in groups.items()
        }
    return whole


def _by_method(runs: Sequence[Figures]) -> Iterator[tuple[str, str, list[Figures]]]:
    finished = [run for run in runs if run["state"] == "finished"]
    for data, method in dict.fromkeys((run["data"], run["method"]) for run in finished):
        yield data, method, [run for run in finished if (run["data"], run["method"]) == (data, method)]


def _spread(values: Sequence[float]) -> list[float]:
    return [fmean(values), min(values), max(values)]


def method_table(report: Figures) -> tuple[list[str], list[list[Any]]]:
    """Header and rows: each method on each group, mean and lowest to highest over seeds; then the baselines."""
    rows = []
    for data, methods in report["summary"].items():
        baselines = report["data"][data]["baselines"]
        seeds = {method: len(runs) for name, method, runs in _by_method(report["runs"]) if name == data}
        for group in GROUPS:
            for method, groups in methods.items():
                if group in groups:
                    shown = [_range(groups[group][metric]) for metric in SHOWN]
                    rows.append([data, group, method, seeds[method], *shown])
            for name, figures in baselines.items():
                if figures[group]:
                    rows.append([data, group, name, None, *(f"{figures[group][metric]:.4f}" for metric in SHOWN)])
    return ["data", "group", "method", "seeds", *SHOWN], rows


def _range(spread: Sequence[float]) -> str:
    mean, low, high = spread
    return f"{mean:.4f} ({low:.4f}..{high:.4f})"


def published_check(published: Figures, runs: Sequence[Figures]) -> dict[str, Any]:
    """Each seed of the named method against the published figures: matched where within the tolerance."""
    rows = []
    for run in runs:
        if run["state"] != "finished" or run["method"] != published["method"]:
            continue
        for metric, (value, tolerance) in published["figures"].items():
            ours = run["test"][published["group"]][metric]
            rows.append(
                {
                    "data": run["data"],
                    "seed": run["seed"],
                    "metric": metric,
                    "ours": ours,
                    "published": value,
                    "tolerance": tolerance,
                    "difference": ours - value,
                    "matched": abs(ours - value) <= tolerance,
                }
            )
    return {"source": published["source"], "group": published["group"], "comparisons": rows}
