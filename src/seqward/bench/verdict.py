"""Does RL help here? A verdict in words, and the evidence it rests on.

RL helps if a method of it beats the best supervised method, and every control, too: the controls have the same extra
loss and parameters but no future in them, so what they reach as well is no merit of looking ahead (Xin et al. 2020
compare with the first only). Each difference has to hold over sessions (a paired randomisation test by Holm's
correction) and over seeds and sessions together (a 95 % interval that leaves out 0).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqward.bench.compare import LEVEL, Sums, paired, sums_of
from seqward.bench.events import figure_names
from seqward.statistics import holm

WORTH = 0.02
"""Gains below this share of the best supervised figure are too small to matter."""
ANSWERS = {
    "yes": "RL helps here.",
    "not RL": "The extra loss helps here, but not what makes it RL.",
    "no": "RL does not help here.",
    "open": "It cannot be told from these runs whether RL helps here.",
}

Figures = Mapping[str, Any]


def verdicts(said: Figures, report: Figures, folder: Path) -> dict[str, Any]:
    """Data set -> verdict, for those on which the methods that are asked about have finished."""
    found = {}
    for name in report["data"]:
        runs = [run for run in report["runs"] if run["data"] == name and run["state"] == "finished"]
        if runs:
            ks = list(runs[0]["evaluation"]["cutoffs"])
            sums = sums_of(name, report, folder, ks)
            found[name] = verdict(said, sums, figure_names(ks), validated(runs))
    return found


def validated(runs: Sequence[Figures]) -> dict[str, float]:
    """Method -> mean over seeds of the best validation value, where all selected by the same metric."""
    best: dict[str, list[float]] = {}
    metrics = set()
    for run in runs:
        if run.get("best") and run["best"].get("value") is not None:
            best.setdefault(run["method"], []).append(run["best"]["value"])
            metrics.add((run.get("settings") or {}).get("train", {}).get("metric"))
    return {method: float(np.mean(values)) for method, values in best.items()} if len(metrics) == 1 else {}


def verdict(
    said: Figures, sums: Mapping[str, Sums], names: Sequence[str], validation: Mapping[str, float]
) -> dict[str, Any]:
    """Answer, words, and every difference it rests on.

    Args:
        said: labels of ``supervised``, ``rl`` and ``controls``, and the ``metric`` that decides (NDCG@20 of the goals,
            or of all events where none is a goal).
        validation: what selects the best supervised method, so that the test split does not choose its own opponent;
            without it the test figure does, which favours supervised learning.
    """
    there = {
        part: [label for label in said.get(part, ()) if label in sums] for part in ("supervised", "rl", "controls")
    }
    if not there["supervised"] or not there["rl"]:
        return _answer("open", "Neither side is complete: a supervised method and one of RL have to finish.", {})
    metric = said.get("metric") or _deciding(sums, names)
    i = list(names).index(metric)
    value = {label: float(of.values(names)[:, i].mean()) for label, of in sums.items()}
    chosen_by = validation if set(there["supervised"]) <= set(validation) else value
    best = max(there["supervised"], key=lambda label: chosen_by[label])
    rivals = {label: _row(sums[label], sums[best], names, metric) for label in there["rl"]}
    for row, p in zip(rivals.values(), holm([row["p"] for row in rivals.values()]), strict=True):
        row["p_adjusted"] = p
    facts = {"metric": metric, "supervised": best, "values": value, "rl": rivals, "controls": {}}
    winners = [label for label, row in rivals.items() if _better(row)]
    if not winners:
        return _none_better(facts, worth=WORTH * value[best])
    winner = max(winners, key=lambda label: value[label])
    controls = {label: _row(sums[winner], sums[label], names, metric) for label in there["controls"]}
    for row, p in zip(controls.values(), holm([row["p"] for row in controls.values()]), strict=True):
        row["p_adjusted"] = p
    facts |= {"winner": winner, "controls": controls}
    return _some_better(facts)


def _deciding(sums: Mapping[str, Sums], names: Sequence[str]) -> str:
    k = max(int(name.partition("@")[2]) for name in names)
    values = next(iter(sums.values())).values(names)
    goal = f"goal.ndcg@{k}"
    return goal if np.isfinite(values[:, list(names).index(goal)]).all() else f"all.ndcg@{k}"


def _row(a: Sums, b: Sums, names: Sequence[str], metric: str) -> dict[str, Any]:
    return paired(a, b, names, metric)


def _better(row: Figures) -> bool:
    return row["p_adjusted"] < LEVEL and row["interval"] is not None and row["interval"][0] > 0


def _some_better(facts: dict[str, Any]) -> dict[str, Any]:
    winner, best, row = facts["winner"], facts["supervised"], facts["rl"][facts["winner"]]
    gain = (
        f"{winner} beats {best}, the best supervised method on validation, by {row['difference']:.4f} in "
        f"{facts['metric']} ({_interval(row)}, p {row['p_adjusted']:.3g} after Holm)."
    )
    if not facts["controls"]:
        return _answer("open", f"{gain} No control has finished, so it may be the extra loss and not RL.", facts)
    equal = [label for label, control in facts["controls"].items() if not _better(control)]
    if not equal:
        return _answer("yes", f"{gain} It beats every control, too: {', '.join(facts['controls'])}.", facts)
    ahead = [label for label in equal if facts["values"][label] >= facts["values"][winner]]
    how = "reach as much or more" if ahead else "are not told apart from it"
    return _answer("not RL", f"{gain} But {', '.join(ahead or equal)}, which look at no future, {how}.", facts)


def _none_better(facts: dict[str, Any], worth: float) -> dict[str, Any]:
    best, rows = facts["supervised"], facts["rl"]
    single = [label for label, row in rows.items() if row["interval"] is None]
    if single:
        return _answer("open", "One seed says nothing of the others: run at least two, better five.", facts)
    reach = max(row["interval"][1] for row in rows.values())
    if reach < worth:
        said = (
            f"No method of RL beats {best}, the best supervised one on validation, and the 95 % intervals leave room "
            f"for a gain of at most {max(reach, 0):.4f} in {facts['metric']}, less than {WORTH:.0%} of what it reaches."
        )
        return _answer("no", said, facts)
    wide = max(rows, key=lambda label: rows[label]["interval"][1])
    said = (
        f"No method of RL is significantly better than {best}, but a gain that matters is not excluded either: for "
        f"{wide} the difference is {rows[wide]['difference']:+.4f} ({_interval(rows[wide])}). More seeds or more test "
        "sessions would tell."
    )
    return _answer("open", said, facts)


def _interval(row: Figures) -> str:
    return "95 % interval {:+.4f} to {:+.4f}".format(*row["interval"])


def _answer(answer: str, because: str, facts: dict[str, Any]) -> dict[str, Any]:
    return {"answer": answer, "words": f"{ANSWERS[answer]} {because}", **facts}
