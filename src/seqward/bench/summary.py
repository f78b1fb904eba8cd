"""What the runs of a study say together: mean and range over seeds, and the comparison with published figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from statistics import fmean
from typing import Any

from seqward.lint import TableRow, broken_bounds, refuse_impossible
from seqward.metrics import CUTOFFS, GROUPS
from seqward.stability.told import repairs_of

SHOWN = (10, 20)
"""Cut-offs of the table, where they are measured."""

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


def finished_on(report: Figures, data: str) -> list[Figures]:
    """The finished runs on one data set."""
    return [run for run in report["runs"] if run["data"] == data and run["state"] == "finished"]


def runs_by_method(runs: Sequence[Figures]) -> Iterator[tuple[str, list[Figures]]]:
    """Each method of one data set with its finished runs."""
    finished = [run for run in runs if run["state"] == "finished"]
    for method in dict.fromkeys(run["method"] for run in finished):
        yield method, [run for run in finished if run["method"] == method]


def _by_method(runs: Sequence[Figures]) -> Iterator[tuple[str, str, list[Figures]]]:
    for data in dict.fromkeys(run["data"] for run in runs):
        for method, of_seeds in runs_by_method([run for run in runs if run["data"] == data]):
            yield data, method, of_seeds


def _spread(values: Sequence[float]) -> list[float]:
    return [fmean(values), min(values), max(values)]


def method_table(report: Figures) -> tuple[list[str], list[list[Any]]]:
    """Header and rows: each method on each group, mean and lowest to highest over seeds; then the baselines.

    Cut-offs are 10 and 20 where the study measures them, else its largest.

    Raises:
        Finding: a row is impossible.
    """
    rows, ks = [], report["evaluate"].get("ks", CUTOFFS)
    names = [f"{metric}@{k}" for k in [k for k in SHOWN if k in ks] or [max(ks)] for metric in ("hr", "ndcg")]
    for data, methods in report["summary"].items():
        baselines = report["data"][data]["baselines"]
        runs = {method: runs for name, method, runs in _by_method(report["runs"]) if name == data}
        means = {
            label: {group: {metric: spread[0] for metric, spread in of.items()} for group, of in groups.items()}
            for label, groups in methods.items()
        }
        for label, groups in [*means.items(), *baselines.items()]:
            refuse_impossible([(label, group, groups[group]) for group in GROUPS if groups.get(group)])
        for group in GROUPS:
            for method, groups in methods.items():
                if group in groups:
                    shown = [_range(groups[group][metric]) for metric in names]
                    rows.append([data, group, method, len(runs[method]), *shown, remark_of(runs[method])])
            for name, figures in baselines.items():
                if figures[group] and name not in methods:
                    rows.append([data, group, name, None, *(f"{figures[group][metric]:.4f}" for metric in names), ""])
    return ["data", "group", "method", "seeds", *names, "remark"], rows


def _range(spread: Sequence[float]) -> str:
    """The mean, and what it is of where that differs."""
    mean, low, high = spread
    return f"{mean:.4f} ({low:.4f}..{high:.4f})" if low < high else f"{mean:.4f}"


BUDGET = "budget-limited"
"""The time limit ended the run: what it would have reached is not known."""

IMPOSSIBLE = "IMPOSSIBLE row"
"""No ranking has the published figures."""


def is_limited(run: Figures) -> bool:
    """Whether the time limit ended a run."""
    return str(run.get("stopped", "")).startswith("time limit")


def is_of_the_warm_up(run: Figures) -> bool:
    """Whether no validation of a run's second phase was better than one of its first, whose weights it kept."""
    objective = (run.get("settings") or {}).get("objective") or {}
    weighted_later = objective.get("phases") == 2 and objective.get("warmup_events")
    return bool(weighted_later) and (run.get("best") or {}).get("phase") == 1


def remark_of(runs: Sequence[Figures]) -> str:
    """How many of a method's runs the time limit ended, the guard repaired and by what, turned bad, or kept no weights
    of their second phase."""
    repairs = [repairs_of(run) for run in runs]
    by_what = ", ".join(dict.fromkeys(action for of_run in repairs for action in of_run))
    told = (
        (BUDGET, "", sum(is_limited(run) for run in runs)),
        ("repaired", by_what, sum(map(bool, repairs))),
        ("diverged", "", sum((run.get("stability") or {}).get("worst") == "diverged" for run in runs)),
        ("weights of phase 1", "", sum(map(is_of_the_warm_up, runs))),
    )
    said = []
    for what, how, n in told:
        details = "; ".join(filter(None, (how, "" if n == len(runs) else f"{n} of {len(runs)}")))
        said += [f"{what} ({details})" if details else what] if n else []
    return ", ".join(said)


def published_check(published: Sequence[Figures], runs: Sequence[Figures]) -> dict[str, Any]:
    """Each run of a named method against what was published for it: matched where within the tolerance.

    Published figures that no ranking can have are never matched; ``impossible`` says which bounds they break.
    An entry that names data is of the runs on it, others of all. A run that the guard repaired is no reproduction:
    ``left_out`` says so of each, of those that failed, and of those whose test split has none of the events.
    """
    rows: list[dict[str, Any]] = []
    left_out: dict[str, None] = {}
    for entry in published:
        impossible = impossible_of(entry)
        for run in runs:
            if run["method"] != entry["method"] or entry.get("data", run["data"]) != run["data"]:
                continue
            if why := _no_reproduction(run, entry.get("group", "all")):
                left_out[f"{run['data']}/{run['method']}/{run['seed']}: {why}"] = None
            else:
                rows += [_compared(entry, run, metric, impossible) for metric in entry["figures"]]
    return {"comparisons": rows, "left_out": list(left_out)}


def impossible_of(entry: Figures) -> list[str]:
    """The bounds that published figures break, in words; a row is printed to the decimals of its longest figure."""
    figures = {name: value for name, (value, _) in entry["figures"].items()}
    places = max((-int(Decimal(str(value)).as_tuple().exponent) for value in figures.values()), default=0)
    decimals = dict.fromkeys(figures, places)
    row = TableRow(0, entry["method"], entry.get("group", "all"), {}, figures, decimals, {})
    return [f"{entry.get('source') or 'published'}, {row.model}, {row.task}: {said}" for said in broken_bounds(row)]


def _no_reproduction(run: Figures, group: str) -> str | None:
    if run["state"] != "finished":
        return "it failed"
    if not run["test"].get(group):
        return f"its test split has no events of {group}"
    return f"the guard repaired it ({', '.join(done)}), so it is no reproduction" if (done := repairs_of(run)) else None


def _compared(entry: Figures, run: Figures, metric: str, impossible: list[str]) -> dict[str, Any]:
    value, tolerance = entry["figures"][metric]
    ours = run["test"][entry.get("group", "all")][metric]
    matched = not impossible and abs(ours - value) <= tolerance
    remark = IMPOSSIBLE if impossible else BUDGET if is_limited(run) else "matched" if matched else "off"
    return {
        **{name: run[name] for name in ("data", "method", "seed")},
        **{name: entry.get(name) for name in ("system", "source", "group")},
        "metric": metric,
        "ours": ours,
        "published": value,
        "tolerance": tolerance,
        "difference": ours - value,
        "matched": matched,
        "impossible": impossible,
        "remark": remark,
    }


def published_table(comparisons: Sequence[Figures]) -> tuple[list[str], list[list[Any]]]:
    """Header and rows of ``published_check``: off is a defect until it is explained."""
    header = ["data", "method", "seed", "metric", "ours", "published", "difference", "remark", "system", "source"]
    shown = {"ours": ".4f", "published": ".4f", "difference": "+.4f"}
    rows = [[format(row[name], shown[name]) if name in shown else row[name] for name in header] for row in comparisons]
    return header, rows


def mean_of_best(validations: Sequence[Figures], count: int = 5) -> dict[str, Any]:
    """What a paper that reports its best checkpoints would print: the mean of the ``count`` best validations.

    Args:
        validations: records of a run's log, with ``value``, what is selected by, and ``metrics``; those without a
            value, such as a correlation of constants, are never among the best.
    """
    valued = sorted((v for v in validations if v["value"] is not None), key=lambda v: v["value"], reverse=True)
    best = [v["metrics"] for v in valued[:count]]
    groups = {name: _mean([m[name] for m in best]) for name in GROUPS if best and all(m.get(name) for m in best)}
    return {"validations": len(best), **groups, **_mean(best)}


def _mean(figures: Sequence[Figures]) -> dict[str, float]:
    """Of what is a number in all of them."""
    names = [name for name in figures[0] if all(isinstance(f.get(name), float) for f in figures)] if figures else []
    return {name: fmean(f[name] for f in figures) for name in names}
