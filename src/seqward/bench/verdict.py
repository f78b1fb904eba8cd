"""Does RL help here? A verdict in words, and the evidence it rests on.

RL helps if a method of it beats the best supervised method, and every control, too: the controls have the same extra
loss and parameters but no future in them, so what they reach as well is no merit of looking ahead (Xin et al. 2020
compare with the first only). The best supervised method is chosen by the metric that decides, on validation at the
step that each run selected; one that reaches more on the test split all the same leaves it open. Each difference has
to hold over sessions (a paired randomisation test by Holm's
correction) and over seeds and sessions together (a 95 % interval that leaves out 0). That there is none is said only
where the interval leaves no room for one that matters; all else is open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from seqward.bench.compare import LEVEL, Sums, paired, sums_of
from seqward.bench.curves import validations
from seqward.bench.events import figure_names
from seqward.bench.results import deciding
from seqward.bench.summary import runs_by_method
from seqward.statistics import holm

WORTH = 0.02
"""Gains below this share of the best supervised figure are too small to matter."""
PARTS = ("supervised", "rl", "controls")
MORE = "More seeds or more test sessions would tell."
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
            found[name] = verdict(said, sums, figure_names(ks), validated(runs, folder))
    return found


def validated(runs: Sequence[Figures], folder: Path) -> dict[str, dict[str, float]]:
    """Method -> metric -> mean over seeds on validation, at the step whose weights each run kept."""
    found = {}
    for method, of in runs_by_method(runs):
        kept = [_at_selected(run, folder) for run in of]
        found[method] = {name: fmean(m[name] for m in kept) for name in kept[0] if all(name in m for m in kept)}
    return found


def _at_selected(run: Figures, folder: Path) -> dict[str, float]:
    step = (run.get("best") or {}).get("step")
    return next((one["metrics"] for one in reversed(validations(run, folder)) if one["step"] == step), {})


def verdict(
    said: Figures, sums: Mapping[str, Sums], names: Sequence[str], validation: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """Answer, words, and every difference it rests on.

    Args:
        said: labels of ``supervised``, ``rl`` and ``controls``, and the ``metric`` that decides (NDCG@20 of the goals,
            or of all events where none is a goal).
        validation: method -> metric -> value. By the metric that decides it selects the best supervised method, so that
            the test split does not choose RL's opponent; where one lacks it the test figure does, which favours
            supervised learning.
    """
    there = {part: [label for label in said.get(part, ()) if label in sums] for part in PARTS}
    missing = {part: [label for label in said.get(part, ()) if label not in sums] for part in PARTS}
    if not there["supervised"] or not there["rl"]:
        return _answer("open", "Neither side is complete: a supervised method and one of RL have to finish.", {})
    metric = said.get("metric") or _deciding(sums, names)
    i = list(names).index(metric)
    value = {label: float(of.values(names)[:, i].mean()) for label, of in sums.items()}
    on_validation = all(metric in validation.get(label, ()) for label in there["supervised"])
    chosen_by = {label: validation[label][metric] for label in there["supervised"]} if on_validation else value
    best = max(there["supervised"], key=lambda label: chosen_by[label])
    rivals = _against({label: paired(sums[label], sums[best], names, metric) for label in there["rl"]})
    facts = {"metric": metric, "supervised": best, "chosen_on": "validation" if on_validation else "test"}
    facts |= {"values": value, "rl": rivals, "controls": {}, "missing": missing, "worth": WORTH * value[best]}
    winners = [label for label, row in rivals.items() if _better(row)]
    if not winners:
        return _none_better(facts)
    winner = max(winners, key=lambda label: value[label])
    controls = {label: paired(sums[winner], sums[label], names, metric) for label in there["controls"]}
    above = [label for label in there["supervised"] if value[label] > value[winner]]
    return _some_better(facts | {"winner": winner, "above": above, "controls": _against(controls)})


def _against(rows: Mapping[str, dict[str, Any] | None]) -> dict[str, dict[str, Any]]:
    """Those that can be compared, with their p adjusted by Holm."""
    found = {label: row for label, row in rows.items() if row is not None}
    adjusted = holm([row["p"] for row in found.values()])
    return {label: row | {"p_adjusted": p} for (label, row), p in zip(found.items(), adjusted, strict=True)}


def _deciding(sums: Mapping[str, Sums], names: Sequence[str]) -> str:
    there = [np.isfinite(of.values(names)) for of in sums.values()]
    group, k = deciding([name for name, values in zip(names, of.T, strict=True) if values.all()] for of in there)
    return f"{group}.ndcg@{k}"


def _better(row: Figures) -> bool:
    return row["p_adjusted"] < LEVEL and row["interval"] is not None and row["interval"][0] > 0


def _no_room(row: Figures, worth: float) -> bool:
    """Whether the interval leaves no room for a difference that matters."""
    return row["interval"] is not None and row["interval"][1] < worth


def _opponent(facts: Figures) -> str:
    return f"{facts['supervised']}, the best supervised method by {facts['metric']} on {facts['chosen_on']}"


def _some_better(facts: dict[str, Any]) -> dict[str, Any]:
    winner, row = facts["winner"], facts["rl"][facts["winner"]]
    gain = (
        f"{winner} beats {_opponent(facts)}, by {row['difference']:.4f} ({_interval(row)}, "
        f"p {row['p_adjusted']:.3g} after Holm)."
    )
    if facts["above"]:
        reached = ", ".join(f"{label} {facts['values'][label]:.4f}" for label in facts["above"])
        said = f"But on test {winner} reaches {facts['values'][winner]:.4f}, and supervised learning more: {reached}."
        return _answer("open", f"{gain} {said}", facts)
    controls = facts["controls"]
    equal = [label for label, control in controls.items() if _no_room(control, facts["worth"])]
    if equal:
        return _answer("not RL", f"{gain} But {', '.join(equal)}, which look at no future, reach as much.", facts)
    if not controls:
        return _answer("open", f"{gain} No control has finished, so it may be the extra loss and not RL.", facts)
    untold = [label for label, control in controls.items() if not _better(control)]
    if untold:
        said = f"{gain} From {', '.join(untold)}, which look at no future, it is not told apart. {MORE}"
        return _answer("open", said, facts)
    if missing := _missing(facts, "supervised", "controls"):
        return _answer("open", f"{gain} It beats {', '.join(controls)}, too.{missing}", facts)
    return _answer("yes", f"{gain} It beats every control, too: {', '.join(controls)}.", facts)


def _none_better(facts: dict[str, Any]) -> dict[str, Any]:
    rows = facts["rl"]
    if not rows or any(row["interval"] is None for row in rows.values()):
        return _answer("open", "One seed says nothing of the others: run at least three of all methods.", facts)
    reach = max(row["interval"][1] for row in rows.values())
    if reach < facts["worth"]:
        said = (
            f"No method of RL beats {_opponent(facts)}, and the 95 % intervals leave room for a gain of at most "
            f"{max(reach, 0):.4f} in {facts['metric']}, less than {WORTH:.0%} of what it reaches."
        )
        missing = _missing(facts, "rl")
        return _answer("open" if missing else "no", f"{said}{missing}", facts)
    wide = max(rows, key=lambda label: rows[label]["interval"][1])
    said = (
        f"No method of RL is significantly better than {facts['supervised']}, but a gain that matters is not excluded "
        f"either: for {wide} the difference is {rows[wide]['difference']:+.4f} ({_interval(rows[wide])}). {MORE}"
    )
    return _answer("open", f"{said}{_missing(facts, 'rl')}", facts)


def _missing(facts: Figures, *parts: str) -> str:
    labels = [label for part in parts for label in facts["missing"][part]]
    return f" But {', '.join(labels)} did not finish." if labels else ""


def _interval(row: Figures) -> str:
    return "95 % interval {:+.4f} to {:+.4f}".format(*row["interval"])


def _answer(answer: str, because: str, facts: dict[str, Any]) -> dict[str, Any]:
    return {"answer": answer, "words": f"{ANSWERS[answer]} {because}", **facts}
