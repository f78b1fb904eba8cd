"""Does RL help here? A verdict in words, and the evidence it rests on.

RL helps if a method of it beats the best supervised method, and every control, too: the controls have the same extra
loss and parameters but no future in them, so what they reach as well is no merit of looking ahead (Xin et al. 2020
compare with the first only). The best supervised method is chosen by the metric that decides, on validation at the
step that each run selected; one that reaches more on the test split all the same leaves it open. Each difference has
to hold over sessions (a paired randomisation test by Holm's correction) and over seeds and sessions together (a 95 %
interval that leaves out 0). That there is none is said only where the interval leaves no room for one that matters.
What needs no training has to be beaten, too. All else is open, and so is what rests on a method of which the study asks
for runs that are not here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from seqward.bench.compare import LEVEL, Sums, by_holm, paired
from seqward.bench.curves import validations
from seqward.bench.events import figure_names
from seqward.bench.results import deciding
from seqward.bench.study import Study
from seqward.bench.summary import finished_on, runs_by_method
from seqward.methods import method_named

WORTH = 0.02
"""Gains below this share of the best supervised figure are too small to matter."""
PARTS = ("supervised", "rl", "controls", "baselines")
SIDES = {"supervised": "supervised method", "rl": "method of RL"}
NOT_KEPT = "finished, but what happened at each event is not kept here"
MORE = "More seeds or more test sessions would tell."
BASELINES = {"last-items": "listing the session's last items", "popularity": "listing what is popular"}
ANSWERS = {
    "yes": "RL helps here.",
    "no need": "RL beats supervised learning here, but what needs no training beats both.",
    "not RL": "The extra loss helps here, but not what makes it RL.",
    "no": "RL does not help here.",
    "open": "It cannot be told from these runs whether RL helps here.",
}

Figures = Mapping[str, Any]


def verdicts(study: Study, report: Figures, folder: Path, sums: Mapping[str, Mapping[str, Sums]]) -> dict[str, Any]:
    """Data set -> verdict, for those on which a run has finished; none where the study asks for none.

    Methods of the study that train nothing and that it names on no side stand beside the baselines.
    """
    found: dict[str, Any] = {}
    if study.verdict is None:
        return found
    for name, of_data in sums.items():
        runs = finished_on(report, name)
        names = figure_names(list(runs[0]["evaluation"]["cutoffs"]))
        sides = {label for part in PARTS for label in study.verdict.get(part, ())}
        idle = [label for label in study.methods if label not in sides and not is_trained(study, label)]
        baselines = list(dict.fromkeys([*report["data"][name]["baselines"], *idle]))
        lost = {label: NOT_KEPT for label in baselines if label not in of_data} | gaps(study, name, report, of_data)
        said = {**study.verdict, "baselines": baselines}
        found[name] = verdict(said, of_data, names, validated(runs, folder), lost)
    return found


def is_trained(study: Study, label: str) -> bool:
    """Whether a method of the study is trained, as neighbours are not."""
    return method_named(study.method_of(label)[0]).trained


def gaps(study: Study, name: str, report: Figures, sums: Collection[str]) -> dict[str, str]:
    """Method -> what of the runs that the study asks for is not here, in words; those that have all are left out."""
    states = {(run["method"], run["seed"]): run["state"] for run in report["runs"] if run["data"] == name}
    of_methods: dict[str, list[str]] = {}
    for key in study.runs():
        if key.data == name:
            of_methods.setdefault(key.method, []).append(states.get((key.method, key.seed), "not run"))
    found = {}
    for method, of in of_methods.items():
        said = [f"{of.count(state)} of {len(of)} seeds {state}" for state in ("failed", "not run") if state in of]
        said += [NOT_KEPT] if "finished" in of and method not in sums else []
        found[method] = ", ".join(said)
    return {method: said for method, said in found.items() if said}


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
    said: Figures,
    sums: Mapping[str, Sums],
    names: Sequence[str],
    validation: Mapping[str, Mapping[str, float]],
    lost: Mapping[str, str],
) -> dict[str, Any]:
    """Answer, words, and every difference it rests on.

    Args:
        said: labels of ``supervised``, ``rl``, ``controls`` and ``baselines``, and the ``metric`` that decides (NDCG@20
            of the goals, or of all events where none is a goal).
        validation: method -> metric -> value. By the metric that decides it selects the best supervised method, so that
            the test split does not choose RL's opponent; where one lacks it the test figure does, which favours
            supervised learning.
        lost: method -> what of its runs is not here, in words.
    """
    there = {part: [label for label in said.get(part, ()) if label in sums] for part in PARTS}
    asked = [label for part in PARTS for label in said.get(part, ())]
    facts: dict[str, Any] = {"lost": {label: lost[label] for label in dict.fromkeys(asked) if label in lost}}
    if absent := [f"No {words} can be compared." for side, words in SIDES.items() if not there[side]]:
        return _answer("open", " ".join(absent), facts)
    metric = said.get("metric") or _deciding(sums, names)
    i = list(names).index(metric)
    value = {label: float(of.values(names)[:, i].mean()) for label, of in sums.items()}
    on_validation = all(metric in validation.get(label, ()) for label in there["supervised"])
    chosen_by = {label: validation[label][metric] for label in there["supervised"]} if on_validation else value
    best = max(there["supervised"], key=lambda label: chosen_by[label])
    rivals = by_holm({label: paired(sums[label], sums[best], names, metric) for label in there["rl"]})
    facts["lost"] |= {label: f"no seed in common with {best}" for label in there["rl"] if label not in rivals}
    facts |= {"metric": metric, "supervised": best, "chosen_on": "validation" if on_validation else "test"}
    facts |= {"asked": said, "values": value, "rl": rivals, "controls": {}, "worth": WORTH * value[best]}
    winners = [label for label, row in rivals.items() if _better(row)]
    leader = max(winners or [best, *there["rl"]], key=lambda label: value[label])
    listed = sorted((label for label in there["baselines"] if label != leader), key=lambda label: -value[label])[:1]
    beside = by_holm({label: paired(sums[leader], sums[label], names, metric) for label in listed})
    facts |= {"leader": leader, "baselines": beside}
    if not winners:
        return _none_better(facts)
    winner = leader
    controls = by_holm({label: paired(sums[winner], sums[label], names, metric) for label in there["controls"]})
    facts["lost"] |= {label: f"no seed in common with {winner}" for label in there["controls"] if label not in controls}
    above = [label for label in there["supervised"] if value[label] > value[winner]]
    return _some_better(facts | {"winner": winner, "above": above, "controls": controls})


def _deciding(sums: Mapping[str, Sums], names: Sequence[str]) -> str:
    there = [np.isfinite(of.values(names)) for of in sums.values()]
    group, k = deciding([name for name, values in zip(names, of.T, strict=True) if values.all()] for of in there)
    return f"{group}.ndcg@{k}"


def _better(row: Figures) -> bool:
    return row["p_adjusted"] < LEVEL and row["interval"] is not None and row["interval"][0] > 0


def _worse(row: Figures) -> bool:
    return row["p_adjusted"] < LEVEL and row["interval"] is not None and row["interval"][1] < 0


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
    # One that is surely worse is not equal, however little.
    equal = [label for label, row in controls.items() if _no_room(row, facts["worth"]) and not _better(row)]
    if equal:
        said = f"{gain} But {', '.join(equal)}, which look at no future, reach as much."
        return _answer("not RL", said, facts, [winner, facts["supervised"], *equal])
    if not controls:
        return _answer("open", f"{gain} No control can be compared, so it may be the extra loss and not RL.", facts)
    untold = [label for label, control in controls.items() if not _better(control)]
    if untold:
        said = f"{gain} From {', '.join(untold)}, which look at no future, it is not told apart. {MORE}"
        return _answer("open", said, facts)
    rests_on = [
        winner,
        *(label for part in ("supervised", "controls", "baselines") for label in facts["asked"].get(part, ())),
    ]
    return _answer(_needed(facts), f"{gain} It beats its controls, too: {', '.join(controls)}.", facts, rests_on)


def _none_better(facts: dict[str, Any]) -> dict[str, Any]:
    rows = facts["rl"]
    if not rows:
        return _answer("open", f"No method of RL has a seed in common with {_opponent(facts)}.", facts)
    if any(row["interval"] is None for row in rows.values()):
        return _answer("open", "One seed says nothing of the others: run at least three of all methods.", facts)
    reach = max(row["interval"][1] for row in rows.values())
    if reach < facts["worth"]:
        room = f"room for a gain of at most {reach:.4f}" if reach > 0 else "no room for a gain"
        little = f", less than {WORTH:.0%} of what it reaches" if reach > 0 else ""
        left = f"{room} in {facts['metric']}{little}"
        said = f"No method of RL beats {_opponent(facts)}, and the 95 % intervals leave {left}."
        return _answer("no", said, facts, [facts["supervised"], *facts["asked"]["rl"]])
    wide = max(rows, key=lambda label: rows[label]["interval"][1])
    said = (
        f"No method of RL is significantly better than {facts['supervised']}, but a gain that matters is not excluded "
        f"either: for {wide} the difference is {rows[wide]['difference']:+.4f} ({_interval(rows[wide])}). {MORE}"
    )
    return _answer("open", said, facts)


def _needed(facts: Figures) -> str:
    """The answer where RL beats supervised learning and its controls, by what the best baseline reaches."""
    if any(_worse(row) for row in facts["baselines"].values()):
        return "no need"
    return "yes" if all(_better(row) for row in facts["baselines"].values()) else "open"


def _beside_baseline(facts: Figures) -> str:
    """The best baseline and the best method, or the one that won."""
    leader, value = facts.get("leader", ""), facts.get("values", {})
    for label, row in facts.get("baselines", {}).items():
        what, both = BASELINES.get(label, label), f"{value[label]:.4f}, against {value[leader]:.4f}"
        if _better(row):
            return f" {leader} beats {what} ({value[label]:.4f})."
        if _worse(row):
            return f" But {what} does better than {leader}: {both}."
        return f" {leader} is not told apart from {what} ({both})."
    return ""


def _interval(row: Figures) -> str:
    return "95 % interval {:+.4f} to {:+.4f}".format(*row["interval"])


def _answer(answer: str, because: str, facts: dict[str, Any], rests_on: Collection[str] = ()) -> dict[str, Any]:
    """The answer, which is open where a method that it rests on lacks runs; all that lack some are named."""
    lost = facts["lost"]
    answer = "open" if any(label in lost for label in rests_on) else answer
    by_reason = {why: ", ".join(label for label in lost if lost[label] == why) for why in lost.values()}
    named = "; ".join(f"{labels} ({why})" for why, labels in by_reason.items())
    incomplete = f" Incomplete: {named}." if lost else ""
    words = f"{ANSWERS[answer]} {because}{_beside_baseline(facts)}{incomplete}"
    return {"answer": answer, "words": words, **facts}
