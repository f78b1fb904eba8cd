"""The tables of a study's page; each row passes through the linter before it is shown."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqward.bench.compare import ENOUGH, RESAMPLES
from seqward.bench.events import possible
from seqward.bench.study import Key
from seqward.bench.summary import finished_on
from seqward.lint import refuse_impossible, refuse_impossible_figures, refuse_mixed
from seqward.report import cell, table
from seqward.statistics import (
    interquartile_mean,
    percentile_interval,
    probability_of_improvement,
    stratified_bootstrap,
    widened,
)

OF_Q = {
    "q.mean_q": "Mean Q",
    "q.max_q": "Largest Q",
    "q.mean_return": "Mean return",
    "q.gap": "Q above the return",
    "q.rank_correlation": "Rank correlation of Q and return",
}

Floats = NDArray[np.float64]
Figures = Mapping[str, Any]


def refuse_bad_rows(report: Figures) -> None:
    """Refuse to show a study of which a run or a baseline is impossible, or runs are of different protocols.

    Raises:
        Finding: names the rows and the bounds they break.
    """
    for name, data in report["data"].items():
        runs = finished_on(report, name)
        refuse_mixed({str(Key(name, r["method"], r["seed"])): r.get("evaluation", {}) for r in runs}, f"data {name}")
        rows = [(f"{run['method']} seed {run['seed']}", run["test"]) for run in runs]
        rows += [
            (f"{run['method']} seed {run['seed']}, best validations", run["best_validations"])
            for run in runs
            if "best_validations" in run
        ]
        refuse_impossible_figures([*rows, *data["baselines"].items()], data.get("protocol", {}))


def columns(figures: Mapping[str, Collection[str]], names: Sequence[str]) -> list[str]:
    """Those of the names that every method has."""
    return [name for name in names if all(name in of for of in figures.values())]


def results_table(compared: Figures, order: Sequence[str], baselines: Iterable[str], names: Sequence[str]) -> str:
    """Methods by figures: mean over seeds, beneath it the 95 % interval; best in bold where significant.

    Raises:
        Finding: a row is impossible.
    """
    figures, best = compared["figures"], compared["best"]
    shown = columns(figures, names)
    for method in order:
        for group in dict.fromkeys(name.rpartition(".")[0] for name in shown if "." in name):
            means = {n.rpartition(".")[2]: figures[method][n]["mean"] for n in shown if n.startswith(f"{group}.")}
            refuse_impossible([(method, group, means)])
    rows = []
    for method in order:
        cells = [
            cell(figures[method][name]["mean"], figures[method][name]["interval"], _is_best(best, name, method))
            for name in shown
        ]
        seeds = max(figures[method][name]["seeds"] for name in shown) if shown else 0
        label = f"<i>{escape(method)}</i>" if method in baselines else escape(method)
        rows.append(f"<tr><th>{label}</th><td>{'' if method in baselines else seeds}</td>{''.join(cells)}</tr>")
    return table(["seeds", *map(title, shown)], rows)


def _is_best(best: Figures, name: str, method: str) -> bool:
    return name in best and best[name]["method"] == method and best[name]["significant"]


def seeds_table(runs: Mapping[str, Sequence[Figures]], names: Sequence[str]) -> str:
    """Over seeds alone: interquartile mean and its interval, or the range; and how likely a run beats one of the first.

    The linter's bounds are not asked: the middle half of the runs by one figure need not be that by another.

    Args:
        runs: finished ones by method.
    """
    values = {method: {name: v for name in names if len(v := _values(of, name))} for method, of in runs.items()}
    shown, rows = columns(values, names), []
    if not values or not shown:
        return ""
    (first, firsts), decides = next(iter(values.items())), shown[min(1, len(shown) - 1)]
    for method, of in values.items():
        cells = [cell(interquartile_mean(of[name]), _interval(name, of[name])) for name in shown]
        beats = None if method == first else probability_of_improvement(of[decides], firsts[decides])
        cells += [f"<td>{len(of[decides])}</td>", f"<td>{'' if beats is None else format(beats, '.0%')}</td>"]
        rows.append(f"<tr><th>{escape(method)}</th>{''.join(cells)}</tr>")
    header = [*(f"{title(name)}, IQM" for name in shown), "seeds", f"beats a run of {first}"]
    note = (
        f"Over seeds alone: interquartile mean; beneath it the 95 % interval by a bootstrap over seeds, or the lowest "
        f"to the highest where there are fewer than {ENOUGH}. Beats: of all pairs of runs, the share with the higher "
        f"{title(decides)}."
    )
    return f"{table(header, rows)}<p class=note>{escape(note)}</p>"


def q_table(runs: Mapping[str, Sequence[Figures]]) -> str:
    """Q of the logged items on the test split beside the return that followed: mean over seeds, lowest to highest.

    Args:
        runs: finished ones by method; those without a critic are left out.
    """
    rows = []
    for method, of in runs.items():
        values = [_values(of, name) for name in OF_Q]
        if len(values[0]):
            cells = [cell(v.mean() if len(v) else None, (v.min(), v.max()) if len(v) > 1 else None) for v in values]
            rows.append(f"<tr><th>{escape(method)}</th>{''.join(cells)}</tr>")
    note = "Q of the logged items and the discounted return that followed them, test split; beneath, lowest to highest."
    return f"{table(list(OF_Q.values()), rows)}<p class=note>{note}</p>" if rows else ""


def _values(runs: Sequence[Figures], name: str) -> Floats:
    """[seeds] a figure of each run; empty where a run lacks it."""
    group, _, metric = name.rpartition(".")
    values = [((run["test"].get(group) or {}) if group else run["test"]).get(metric) for run in runs]
    return np.array([] if None in values else values, dtype=float)


def _interval(name: str, values: Floats) -> tuple[float, float] | None:
    if len(values) < ENOUGH:
        return (float(values.min()), float(values.max())) if len(values) > 1 else None
    drawn = stratified_bootstrap([widened(values)], interquartile_mean, RESAMPLES)
    return percentile_interval(possible(name, drawn))


def across_table(found: Figures) -> str:
    """Over all data sets: how many times the best baseline, as ``across.across`` has it."""
    order = dict.fromkeys(method for methods in found.values() for method in methods)
    rows = []
    for method in order:
        cells = [cell(methods[method]["iqm"], methods[method]["interval"]) for methods in found.values()]
        runs = next(iter(found.values()))[method]["runs"]
        rows.append(f"<tr><th>{escape(method)}</th>{''.join(cells)}<td>{runs}</td></tr>")
    return table([*(f"{title(name)}, times the best baseline" for name in found), "runs"], rows)


def evidence_table(verdict: Figures) -> str:
    """Every difference that a verdict rests on."""
    sides = {"rl": "supervised", "controls": "winner", "baselines": "leader"}
    pairs = [
        ((label, of) if part == "rl" else (of, label), row)
        for part, of in ((part, verdict.get(side, "")) for part, side in sides.items())
        for label, row in verdict[part].items()
    ]
    return _differences(pairs, verdict["metric"])


def best_table(beside: Figures) -> str:
    """How much better the best method is than each other one, as ``compare.beside_best`` has it."""
    return _differences([((beside["method"], label), row) for label, row in beside["rows"].items()], beside["metric"])


def _differences(pairs: Iterable[tuple[tuple[str, str], Figures]], metric: str) -> str:
    rows = []
    for (one, other), row in pairs:
        interval = "{:+.4f} to {:+.4f}".format(*row["interval"]) if row["interval"] else "one seed"
        cells = [f"{row['difference']:+.4f}<small>{interval}</small>", f"{row['p_adjusted']:.3g}"]
        cells.append("" if row["effect"] is None else f"{row['effect']:+.3f}")
        said = f"{escape(one)} less {escape(other)}"
        rows.append(f"<tr><th>{said}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return table([f"{title(metric)}, 95 % interval", "p (Holm)", "effect size"], rows)


def title(name: str) -> str:
    """goal_repeat.ndcg@20 -> goal repeat NDCG@20"""
    if name in OF_Q:
        return OF_Q[name]
    group, dot, metric = name.rpartition(".")
    words = metric.replace("_", " ")
    return f"{group.replace('_', ' ')} {words.upper()}" if dot else f"{words[:1].upper()}{words[1:]}"
