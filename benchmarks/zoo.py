"""The divergence zoo: which runs go wrong, how early the guard says so, and what its repairs are worth.

python benchmarks/zoo.py run          # the runs of benchmarks/studies/zoo-*.yaml, then those that went wrong, repaired
python benchmarks/zoo.py repair       # only those that went wrong, by benchmarks/results/zoo.json, once more, repaired
python benchmarks/zoo.py gather       # the logs that lie here, in short, into that file
python benchmarks/zoo.py table        # docs/stability.md and its picture from that file alone

A run is labelled by its outcome. It *diverges* where something is not finite or |Q| is beyond ten times the largest
possible return, *decays* where its goal HR@20 lies more than 5 % below its best for three validations, and else is
*healthy*. Thresholds are set on one half of the runs and tried on the other.
"""

from __future__ import annotations

import io
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean, median
from typing import Any, Literal, NamedTuple
from zlib import crc32

import matplotlib
import numpy as np
import typer
from matplotlib.figure import Figure

from machine import RESULTS, ROOT
from run import STUDIES, WORK
from seqward.bench.compare import LEVEL
from seqward.bench.results import read, write
from seqward.pictures import COLOURS, LOOK, WIDTH
from seqward.runlog import read_log
from seqward.stability.rules import DIVERGED, LOUDEST, RULES, History, Rule
from seqward.statistics import holm

FILE = RESULTS / "zoo.json"
PAGE = ROOT / "docs" / "stability.md"
PICTURE = PAGE.with_suffix(".svg")
STUDY_NAMES = ("zoo-shop", "zoo-trivago")
REPAIRED = "-repaired"
METRIC = ("goal", "hr@20")
FALL, IN_A_ROW = 0.05, 3
MARGIN = 1.25
"""How far above the highest score of a healthy run of the first half a threshold is set."""
PATIENCE = 3
"""Validations without a better one after which plain early stopping ends a run."""
ENOUGH = 6
"""Pairs that are all higher, or all lower, by chance in one of 32 cases."""
AIMS = (0.02, 0.9)
"""False alarms of the healthy runs, and bad ones told in time."""
TOLERANCES = (0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0)

Label = Literal["healthy", "decays", "diverges"]
Validations = Sequence[tuple[int, float]]
"""Steps and goal HR@20."""


@dataclass(frozen=True)
class Seen:
    """One run, as its log tells it."""

    name: str
    probes: list[dict[str, Any]]
    """``step``, ``phase``, ``signals``, and ``highs`` of single steps before it."""
    validations: list[tuple[int, float]]
    """Steps and goal HR@20."""
    not_finite: int | None = None
    """The step at which something was not finite."""
    start: float = 0.0
    """Goal HR@20 before the first step."""

    @property
    def outcome(self) -> tuple[Label, int | None]:
        """The label, and the first step at which the metric has lost 5 % for good, or Q is beyond all bounds."""
        beyond = [p["step"] for p in self.probes if p["signals"].get("q_over_bound", 0.0) > DIVERGED]
        gone = [step for step in (self.not_finite, *beyond[:1]) if step is not None]
        fallen = fallen_for_good(self.validations)
        if gone:
            return "diverges", min([*gone, *([fallen] if fallen is not None else [])])
        return ("healthy", None) if fallen is None else ("decays", fallen)

    @property
    def first_half(self) -> bool:
        """Whether thresholds are set on it: by a checksum of its name, so that nobody chose."""
        return crc32(self.name.encode()) % 2 == 0

    def records(self) -> Iterable[dict[str, Any]]:
        """Probes and validations as they came, and steps at which a signal was higher than since the probe before."""
        told = [{"kind": "guard", **probe} for probe in self.probes]
        told += [
            {"kind": "guard", "step": step, "of_step": {name: value}}
            for probe in self.probes
            for step, name, value in probe.get("highs", ())
            if step < probe["step"]
        ]
        told.append({"kind": "validation", "step": 0, "value": self.start})
        told += [{"kind": "validation", "step": step, "value": value} for step, value in self.validations]
        return sorted(told, key=lambda record: (record["step"], record["kind"]))

    def alarm(self, rules: Sequence[Rule] = RULES, tolerance: float = 1.0) -> int | None:
        """The step of the first alarm, as ``rules.judge`` would have raised it."""
        for place, (step, of_step) in enumerate(zip(self.steps, self.of_step, strict=True)):
            loud = [rule for rule in rules if self.scores[rule.name][place] > rule.limit(tolerance)]
            if of_step and not any(rule.of_step and rule.alone for rule in loud):
                continue  # the guard takes notice of a step only where that is enough
            if len(loud) > 1 or any(rule.alone for rule in loud) or self.scores["value bound"][place] > DIVERGED:
                return step
        return None

    def first_above(self, rule: Rule) -> float:
        """The first step at which a rule has more than its threshold."""
        found = (
            step for step, score in zip(self.steps, self.scores[rule.name], strict=True) if score > rule.limit(1.0)
        )
        return next(found, math.inf)

    def highest(self, rule: Rule) -> float:
        """The highest score of a rule."""
        return max(self.scores[rule.name], default=0.0)

    @cached_property
    def steps(self) -> list[int]:
        return [record["step"] for record in self.records()]

    @cached_property
    def of_step(self) -> list[bool]:
        """Whether a record is of a single step."""
        return ["of_step" in record for record in self.records()]

    @cached_property
    def scores(self) -> dict[str, list[float]]:
        """What each rule makes of the run after each record; thresholds do not come in."""
        history, found = History(), {rule.name: [] for rule in RULES}
        for record in self.records():
            history.add(record)
            for rule in RULES:
                found[rule.name].append(rule.score(history))
        return found


def fallen_for_good(validations: Validations) -> int | None:
    """The first of IN_A_ROW validations in a row that lie more than FALL below the best before them."""
    best, below = -math.inf, []
    for step, value in validations:
        best = max(best, value)
        below = [*below, step] if value < (1 - FALL) * best else []
        if len(below) == IN_A_ROW:
            return below[0]
    return None


# ----------------------------------------------------------------------------------------------------------- gathering


def seen_in(folder: Path, name: str) -> Seen:
    """A run by the log in its folder."""
    log = read_log(folder / "log.jsonl")
    gone = [r["step"] for r in log if r["kind"] == "event" and r["text"].startswith("diverged")]
    probes = [
        {
            "step": r["step"],
            "phase": r["phase"],
            "signals": {k: short(v) for k, v in r["signals"].items()},
            **({"highs": [[step, k, short(v)] for step, k, v in r["highs"]]} if "highs" in r else {}),
        }
        for r in log
        if r["kind"] == "guard" and "signals" in r
    ]
    group, key = METRIC
    values = [(r["step"], r["metrics"][group][key]) for r in log if r["kind"] == "validation"]
    start = values.pop(0)[1] if values else 0.0
    return Seen(name, probes, values, gone[0] if gone else None, start)


def short(value: float) -> float:
    return float(f"{value:.5g}")


def all_seen(study: str) -> list[Seen]:
    """The runs of a study that lie here."""
    folder = WORK / study
    places = sorted(folder.glob("*/*/seed-*/log.jsonl"))
    seen = ((p, seen_in(p.parent, f"{study}/{p.parent.parent.name}/{p.parent.name[5:]}")) for p in places)
    return [run for place, run in seen if (place.parent / "result.json").is_file() or run.not_finite is not None]


def repairs_in(study: str) -> dict[str, Any]:
    """What was done to the repaired runs of a study, and how they ended."""
    found = {}
    for run in all_seen(study + REPAIRED):
        _, label, seed = run.name.rsplit("/", 2)
        place = next((WORK / (study + REPAIRED)).glob(f"*/{label}/seed-{seed}"))
        log = read_log(place / "log.jsonl")
        actions = [r["action"] for r in log if r["kind"] == "repair"]
        found[f"{study}/{label}/{seed}"] = {"actions": actions, "validations": run.validations}
    return found


# ------------------------------------------------------------------------------------------------------------- judging


def set_thresholds(runs: Sequence[Seen]) -> tuple[Rule, ...]:
    """Rules whose thresholds hardly any healthy run reaches; trusted alone are those that catch a bad one themselves.

    Rules are taken one by one: each time the one that tells most runs in time that none before it has, and then most
    at all. What is left over alarms only in twos.
    """
    healthy = [run for run in runs if run.outcome[0] == "healthy"]
    bad = [run for run in runs if run.outcome[0] != "healthy"]
    rules = []
    for rule in RULES:
        highest = max((run.highest(rule) for run in healthy), default=rule.threshold)
        threshold = min(max(MARGIN * highest, rule.least), LOUDEST * rule.most)
        rules.append(replace(rule, threshold=threshold, alone=False))
    first = {(rule.name, run.name): run.first_above(rule) for rule in rules for run in bad}
    falls = {run.name: _fall(run) for run in bad}
    in_time = {rule.name: {name for name, fall in falls.items() if first[rule.name, name] < fall} for rule in rules}
    at_all = {rule.name: {name for name in falls if first[rule.name, name] < math.inf} for rule in rules}
    timely: set[str] = set()
    told_of: set[str] = set()
    alone = {"value bound"}  # what cannot be true needs no second witness
    while True:
        gain = {name: (len(in_time[name] - timely), len(at_all[name] - told_of)) for name in in_time}
        best = max(gain, key=lambda name: gain[name])
        if gain[best] == (0, 0):
            return tuple(replace(rule, alone=rule.name in alone) for rule in rules)
        alone.add(best)
        timely |= in_time[best]
        told_of |= at_all[best]


def _fall(run: Seen) -> int:
    fall = run.outcome[1]
    assert fall is not None
    return fall


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    if not n:
        return 0.0, 1.0
    z, p = 1.959964, hits / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


@dataclass(frozen=True)
class Told:
    """How the guard did on some runs."""

    healthy: int
    false_alarms: int
    bad: int
    in_time: int
    late: int
    lead: float | None
    """Median of the steps from the alarm to the fall, of those in time, as a share of the steps until the fall."""


def told(runs: Sequence[Seen], rules: Sequence[Rule] = RULES, tolerance: float = 1.0) -> Told:
    healthy = [run for run in runs if run.outcome[0] == "healthy"]
    bad = [run for run in runs if run.outcome[0] != "healthy"]
    pairs = [(run.alarm(rules, tolerance), _fall(run)) for run in bad]
    early = [(alarm, fall) for alarm, fall in pairs if alarm is not None and alarm < fall]
    return Told(
        healthy=len(healthy),
        false_alarms=sum(run.alarm(rules, tolerance) is not None for run in healthy),
        bad=len(bad),
        in_time=len(early),
        late=sum(alarm is not None and alarm >= fall for alarm, fall in pairs),
        lead=median((fall - alarm) / fall for alarm, fall in early) if early else None,
    )


def stopped_early(validations: Validations) -> float:
    """What plain early stopping keeps: the best until PATIENCE validations were no better."""
    best, stale = -math.inf, 0
    for _, value in validations:
        best, stale = (value, 0) if value > best else (best, stale + 1)
        if stale == PATIENCE:
            break
    return best


def last_of(validations: Validations) -> float:
    return validations[-1][1]


def best_of(validations: Validations) -> float:
    """What a run keeps that goes on to its end."""
    return max(value for _, value in validations)


def ends_above(validations: Validations, alone: Validations) -> float:
    """How much higher the last value is than what plain early stopping keeps of the run left alone."""
    return last_of(validations) - stopped_early(alone)


@dataclass(frozen=True)
class Pair:
    """A run that went wrong, and the same run, of the same configuration and seed, repaired."""

    alone: Seen
    repaired: Validations
    actions: list[str]

    @property
    def same_until_alarm(self) -> bool:
        """Whether nothing but the guard tells the two apart."""
        alarm = self.alone.alarm() or math.inf
        before = [pair for pair in self.alone.validations if pair[0] <= alarm]
        return before == list(self.repaired[: len(before)])


def last_or_stopped(validations: Validations, alone: Validations) -> float:
    """The last value of a repaired run, and of the one left alone what plain early stopping keeps."""
    return stopped_early(alone) if validations is alone else last_of(validations)


MEASURES: dict[str, Callable[[Validations, Validations], float]] = {
    "last value, held against early stopping": last_or_stopped,
    "last value": lambda validations, alone: last_of(validations),
    "ending above early stopping, held against the end left alone": lambda v, alone: ends_above(v, alone) > 0,
    "weights kept": lambda validations, alone: best_of(validations),
}
"""By what a repaired run is held against the same run left alone, given that one: the first asks whether repairs are
worth more than to stop early, the others hold both to one rule."""


def pairs_of(runs: Sequence[Seen], repaired: dict[str, Any]) -> list[Pair]:
    """Those in which the guard did something: the others are the same run twice."""
    by_name = {run.name: run for run in runs if run.validations}
    return [
        Pair(by_name[name], [(step, value) for step, value in fix["validations"]], fix["actions"])
        for name, fix in repaired.items()
        if name in by_name and fix["validations"] and fix["actions"]
    ]


class Signs(NamedTuple):
    """How many pairs are higher where they are repaired, lower, and neither."""

    higher: int
    lower: int
    equal: int

    @property
    def p(self) -> float:
        """Two-sided, of "as likely higher as lower": exact, over the pairs that differ."""
        n = self.higher + self.lower
        tail = sum(math.comb(n, k) for k in range(min(self.higher, self.lower) + 1))
        return min(1.0, 2 * tail / 2**n)


def signs_of(pairs: Sequence[Pair], by: str) -> Signs:
    """Of the pairs' differences by a measure."""
    found: Counter[bool | None] = Counter()
    for pair in pairs:
        repaired, alone = (MEASURES[by](v, pair.alone.validations) for v in (pair.repaired, pair.alone.validations))
        found[None if repaired == alone else repaired > alone] += 1
    return Signs(found[True], found[False], found[None])


# --------------------------------------------------------------------------------------------------------------- page


def share(hits: int, n: int) -> str:
    low, high = wilson(hits, n)
    return f"{hits} of {n} ({100 * hits / max(n, 1):.0f} %; {100 * low:.0f} to {100 * high:.0f})"


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def runs_of(kept: dict[str, Any]) -> list[Seen]:
    """The gathered runs."""
    return [Seen(**{**run, "validations": [tuple(v) for v in run["validations"]]}) for run in kept["runs"]]


def page(file: Path = FILE) -> str:
    """The page, from the gathered runs alone."""
    kept = read(file)
    runs = runs_of(kept)
    parts = [HEAD, _outcomes(runs)]
    first, second = halves(runs)
    rules = set_thresholds(first)
    parts.append(_guard(first, second, [run for run in runs if not run.name.startswith("zoo-shop/")], rules))
    parts.append(_thresholds(rules, second))
    parts.append(_repairs(runs, kept["repaired"]))
    return "\n".join(parts)


HEAD = f"""# Stability

Made by `python benchmarks/zoo.py table` from `benchmarks/results/zoo.json`; `make zoo` makes that, in an hour or two
of two cores. A run *diverges* where something is not finite or |Q| is beyond {DIVERGED:g} times the largest possible
return, and *decays* where its goal HR@20 on validation lies more than 5 % below its best for {IN_A_ROW} validations in
a row; how it was set up does not count. In brackets: 95 % intervals of shares (Wilson).

Thresholds lie above what any healthy run of the first half has. That was settled when both halves had been seen with
0 to 5 % of those runs left out, and rules were designed on earlier runs of the same configurations; seeds of one
configuration lie in both halves. So that half's figures are flattered a little, and less so those of trivago, which
set nothing. SA2C's first phase is SNQN, so that what the two see of a seed is the same until the second: the
intervals take them for independent, and are too narrow by that. Thresholds are of 12 passes and states 64 wide, with
a probe every 25 steps, as is the default.
"""


def halves(runs: Iterable[Seen]) -> tuple[list[Seen], list[Seen]]:
    """The shop's runs that set the thresholds, and its others."""
    shop = [run for run in runs if run.name.startswith("zoo-shop/")]
    return [run for run in shop if run.first_half], [run for run in shop if not run.first_half]


def picture(file: Path = FILE) -> str:
    """SVG: bad runs that are told of against false alarms, over all tolerances, and the aims."""
    first, second = halves(runs_of(read(file)))
    rules, size = set_thresholds(first), (WIDTH / 72, 0.75 * WIDTH / 72)
    found = [told(second, rules, tolerance) for tolerance in np.geomspace(TOLERANCES[0], 5, 120)]
    false = [100 * one.false_alarms / one.healthy for one in found]
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**LOOK, "svg.hashsalt": "zoo", "figure.facecolor": "white"})
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        lines = {"at all": [t.in_time + t.late for t in found], "in time": [t.in_time for t in found]}
        for colour, (name, counts) in zip(COLOURS, lines.items(), strict=False):
            axes.plot(false, [100 * n / t.bad for n, t in zip(counts, found, strict=True)], color=colour, label=name)
        shipped = told(second, rules)
        axes.plot(100 * shipped.false_alarms / shipped.healthy, 100 * shipped.in_time / shipped.bad, "o", color="black")
        axes.plot(100 * AIMS[0], 100 * AIMS[1], "x", color="black", label="aim")
        axes.set(xlabel="false alarms, % of healthy runs", ylabel="told, % of bad runs", ylim=(0, 101))
        axes.set_xscale("symlog", linthresh=5)
        axes.set_xticks([0, 2, 5, 10, 20, 50, 100], ["0", "2", "5", "10", "20", "50", "100"])
        axes.legend(frameon=False)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = out.getvalue()
    return text[text.index("<svg") :].replace(f"'{LOOK['font.family']}'", "system-ui, sans-serif")


def _outcomes(runs: Sequence[Seen]) -> str:
    by: dict[str, Counter[str]] = {}
    for run in runs:
        by.setdefault(run.name.rsplit("/", 1)[0], Counter())[run.outcome[0]] += 1
    rows = [[name, *(count[label] or "" for label in ("healthy", "decays", "diverges"))] for name, count in by.items()]
    total = Counter(run.outcome[0] for run in runs)
    rows.append(["all", *(total[label] for label in ("healthy", "decays", "diverges"))])
    return "## What the runs did\n\n" + table(["runs", "healthy", "decay", "diverge"], rows) + "\n" + _as_published(by)


def _as_published(by: Mapping[str, Counter[str]]) -> str:
    """Whether those do that are reported to decay, as their sources set them up."""
    shown = sum((count for name, count in by.items() if "negatives=" in name), Counter())
    return (
        f"SNQN and SA2C are reported to decay with more negatives. Runs of them on the shop with 10, 20 or 50 "
        f"negatives and nothing else changed: {shown.total()}, of which {shown['healthy']} healthy, decaying "
        f"{shown['decays']}, diverging {shown['diverges']}.\n"
    )


def _guard(first: Sequence[Seen], second: Sequence[Seen], others: Sequence[Seen], rules: Sequence[Rule]) -> str:
    rows = []
    for name, runs, using in (
        ("shop, half that set the thresholds", first, rules),
        ("shop, other half", second, rules),
        ("shop, other half, as shipped", second, RULES),
        ("trivago, as shipped", others, RULES),
    ):
        if runs:
            t = told(runs, using)
            lead = "" if t.lead is None else f"{100 * t.lead:.0f} %"
            missed = t.bad - t.in_time - t.late
            rows.append([name, share(t.false_alarms, t.healthy), share(t.in_time, t.bad), t.late, missed, lead])
    header = ["runs", "false alarms of the healthy", "bad ones told in time", "told late", "never told", "lead"]
    (alarms, caught), curve, reached = AIMS, [], []
    for tolerance in TOLERANCES:
        t = told(second, rules, tolerance)
        curve.append([f"{tolerance:g}", share(t.false_alarms, t.healthy), share(t.in_time, t.bad)])
        if t.false_alarms < alarms * t.healthy and t.in_time >= caught * t.bad:
            reached.append(f"{tolerance:g}")
    aims = f"reached at a tolerance of {', '.join(reached)}" if reached else "reached at no tolerance"
    return (
        "## What the guard saw\n\nIn time is before the metric has lost 5 % (or Q has passed its bound). The lead is "
        "the median time from the alarm to that, as a share of the time until then. Aimed at were false alarms of less "
        f"than {100 * alarms:.0f} % and {100 * caught:.0f} % told in time: {aims}, as the second table shows.\n\n"
        + table(header, rows)
        + "\nThe same on the other half with thresholds scaled (`guard.tolerance`). The point is what is shipped:\n\n"
        + f"![Bad runs told of against false alarms]({PICTURE.name})\n\n"
        + table(["tolerance", "false alarms", "told in time"], curve)
        + _by_kind(second, rules)
    )


def _by_kind(runs: Sequence[Seen], rules: Sequence[Rule]) -> str:
    """Which bad runs are told in time, and which are not, by how they were set up."""
    by: dict[str, list[Seen]] = {}
    for run in runs:
        if run.outcome[0] != "healthy":
            by.setdefault(run.name.rsplit("/", 1)[0], []).append(run)
    found = {kind: told(mine, rules) for kind, mine in sorted(by.items())}
    rows = [[kind, t.bad, t.in_time, t.late, t.bad - t.in_time - t.late] for kind, t in found.items()]
    return f"\nWhich bad ones of the other half are told in time:\n\n{table(KINDS, rows)}"


KINDS = ("runs", "bad", "in time", "late", "never")


def _thresholds(rules: Sequence[Rule], second: Sequence[Seen]) -> str:
    bad = [run for run in second if run.outcome[0] != "healthy"]
    healthy = [run for run in second if run.outcome[0] == "healthy"]
    shipped = {rule.name: rule for rule in RULES}
    rows = []
    for rule in rules:
        told_by = sum(run.first_above(rule) < _fall(run) for run in bad)
        false = sum(run.highest(rule) > rule.limit(1.0) for run in healthy)
        mine = shipped[rule.name]
        ships = f"{mine.threshold:.3g}{'' if mine.alone else ', in twos'}"
        rows.append([rule.name, f"{rule.threshold:.3g}{'' if rule.alone else ', in twos'}", ships, told_by, false])
    header = [
        "rule",
        "threshold set",
        "shipped",
        f"of {len(bad)} bad told in time by it alone",
        f"of {len(healthy)} healthy",
    ]
    return (
        f"## Rule by rule\n\nThresholds are {MARGIN:g} times the highest score of the first half's healthy runs; the "
        "counts are of the other half.\n\n" + table(header, rows)
    )


def _repairs(runs: Sequence[Seen], repaired: dict[str, Any]) -> str:
    title = "## What repairs are worth\n\n"
    pairs = pairs_of(runs, repaired)
    if not pairs:
        return f"{title}Not measured yet.\n"
    groups = {label: [pair for pair in pairs if pair.alone.outcome[0] == label] for label in ("decays", "diverges")}
    found = {(of[:-1], by): signs_of(mine, by) for of, mine in groups.items() if mine for by in MEASURES}
    adjusted = dict(zip(found, holm([signs.p for signs in found.values()]), strict=True))
    tested = [
        [*of_by, *signs, share(signs.higher, signs.higher + signs.lower), f"{signs.p:.2g}", f"{adjusted[of_by]:.2g}"]
        for of_by, signs in found.items()
    ]
    words = "".join(f"- {_said(*of_by, signs, adjusted[of_by])}\n" for of_by, signs in found.items())
    by_kind: dict[str, list[Pair]] = {}
    for pair in sorted(pairs, key=lambda pair: pair.alone.name):
        by_kind.setdefault(pair.alone.name.rsplit("/", 1)[0], []).append(pair)
    rows = [_worth(f"all that {of[:-1]}", mine) for of, mine in groups.items() if mine]
    rows += [_worth(kind, mine) for kind, mine in by_kind.items()]
    return (
        f"{title}{_asked(runs, repaired, pairs)}\n\n{table(TESTED, tested)}\n{words}{_one_way(by_kind)}\n"
        "Means, and how many of the pairs are higher and lower by the last value and by the weights kept:\n\n"
        f"{table(WORTH, rows)}\n{UNKNOWN}"
    )


TESTED = ("of runs that", "by", "higher", "lower", "equal", "higher of those that differ", "p", "p by Holm")
WORTH = (
    "runs",
    "pairs",
    *(
        f"{side}: {what}"
        for side in ("left alone", "repaired")
        for what in ("last value", f"early stopping (patience {PATIENCE})", "kept")
    ),
    "last value, higher and lower",
    "kept, higher and lower",
)
UNKNOWN = """Pairs of a configuration differ by their seed alone, and one configuration may make the whole of a row.
The runs were chosen because they went wrong: but where every seed of a configuration did, their last values would
likely be higher if they were only done over with any small change, and no such runs were made. All figures are of
validation, which chose the weights: `zoo.json` has none of the test split, so what the kept weights are worth there is
not known.
"""


def _asked(runs: Sequence[Seen], repaired: dict[str, Any], pairs: Sequence[Pair]) -> str:
    """What is held against what, and why."""
    untouched = sum(not fix["actions"] for fix in repaired.values())
    left = sum(run.outcome[0] != "healthy" and run.name not in repaired for run in runs)
    actions = Counter(action for pair in pairs for action in pair.actions)
    ends = {"healthy": "healthy runs", "decays": "that decay", "diverges": "that diverge"}
    alone = [
        _above(said, [(run, run.validations) for run in runs if run.outcome[0] == of and run.validations])
        for of, said in ends.items()
    ]
    mended = [
        _above(said, [(pair.alone, pair.repaired) for pair in pairs if pair.alone.outcome[0] == of])
        for of, said in list(ends.items())[1:]
    ]
    return (
        f"Goal HR@20 on validation. The runs that went wrong, {len(repaired)}, again with `guard.actions=repair`. In "
        f"{untouched} of them the guard took no action, and they are left out. "
        f"{f'{left} were not run again. ' if left else ''}"
        f"Taken in the other {len(pairs)}: {', '.join(f'{name} {n}' for name, n in actions.most_common())}. Each is "
        "paired with the same run left alone, of the same configuration and seed; up to the first alarm, the "
        f"validations of {sum(pair.same_until_alarm for pair in pairs)} of the {len(pairs)} pairs are equal to the "
        "last digit.\n\n"
        "First the last value of the repaired run is held against what plain early stopping keeps of the run left "
        "alone. Then both of a pair are held to one rule: their last values; whether the last value is above what "
        "plain early stopping keeps of the run left alone; or the weights kept, which are those of the best "
        "validation. Early stopping keeps a maximum, which a last value seldom passes: with nothing repaired it does "
        "in "
        f"{', '.join(alone)}; repaired, in {' and '.join(mended)}. The best of a whole run may be more than what "
        "stopping by patience finds, repaired or not, so a best that is higher than early stopping's is no proof of a "
        "gain. Tested is whether pairs that differ are as often lower as higher (an exact sign test), with Holm's "
        "correction over the rows."
    )


def _above(said: str, ends: Sequence[tuple[Seen, Validations]]) -> str:
    """How many end above what early stopping keeps of the run left alone."""
    above = [ends_above(validations, alone.validations) for alone, validations in ends]
    return f"{sum(x > 0 for x in above)} of {len(above)} {said} ({sum(x == 0 for x in above)} equal)"


def _said(of: str, by: str, signs: Signs, p: float) -> str:
    word = "no gain is shown" if p >= LEVEL else "a gain" if signs.higher > signs.lower else "a loss"
    return f"Of runs that {of}, by {by}, {signs.higher} are higher and {signs.lower} lower: {word}."


def _one_way(by_kind: dict[str, list[Pair]]) -> str:
    """The configurations whose pairs are all higher, or all lower, where those that differ are enough to tell."""
    said = []
    for kind, mine in by_kind.items():
        for by in MEASURES:
            signs = signs_of(mine, by)
            if max(signs.higher, signs.lower) >= ENOUGH and not min(signs.higher, signs.lower):
                word = "higher" if signs.higher else "lower"
                said.append(f"- All {signs.higher + signs.lower} of {kind} that differ by {by} are {word}.\n")
    return "".join(said)


def _worth(name: str, pairs: Sequence[Pair]) -> list[Any]:
    sides = [pair.alone.validations for pair in pairs], [pair.repaired for pair in pairs]
    means = [fmean(map(what, side)) for side in sides for what in (last_of, stopped_early, best_of)]
    signs = [signs_of(pairs, by) for by in ("last value", "weights kept")]
    return [name, len(pairs), *(f"{mean:.3f}" for mean in means), *(f"{s.higher}, {s.lower}" for s in signs)]


# ------------------------------------------------------------------------------------------------------------ commands

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run(jobs: str = "auto") -> None:
    """Carry out the studies, then the runs that went wrong once more, repaired. Goes on where it stopped."""
    for name in STUDY_NAMES:
        _study(STUDIES / f"{name}.yaml", jobs, [])
    gather()
    repair(jobs)


@app.command()
def repair(jobs: str = "auto") -> None:
    """Carry out the gathered runs that went wrong once more, repaired. Goes on where it stopped."""
    bad = [run.name.split("/", 1) for run in runs_of(read(FILE)) if run.outcome[0] != "healthy"]
    for name in STUDY_NAMES:
        only = [f"*/{run}" for study, run in bad if study == name]
        if only:
            again = WORK / f"{name}{REPAIRED}.yaml"
            again.parent.mkdir(exist_ok=True)
            text = (STUDIES / f"{name}.yaml").read_text()
            again.write_text(text.replace("\nsettings:\n", "\nsettings:\n  guard.actions: repair\n"))
            _study(again, jobs, only)
    gather()
    make_table()


def _study(file: Path, jobs: str, only: Sequence[str]) -> None:
    chosen = [word for pattern in only for word in ("--only", pattern)]
    results = WORK / "zoo-results"
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "run.py"),
        str(file),
        "--jobs",
        jobs,
        "--results",
        str(results),
    ]
    subprocess.run([*command, *chosen], check=True)


@app.command()
def gather() -> None:
    """Put the logs of the runs that lie here, in short, into one file; what is there of other runs stays."""
    before = read(FILE) if FILE.is_file() else {"runs": [], "repaired": {}}
    runs = {run["name"]: run for run in before["runs"]}
    for r in (run for name in STUDY_NAMES for run in all_seen(name)):
        runs[r.name] = {
            "name": r.name,
            "probes": r.probes,
            "validations": r.validations,
            "not_finite": r.not_finite,
            "start": r.start,
        }
    repaired = before["repaired"] | {name: fix for study in STUDY_NAMES for name, fix in repairs_in(study).items()}
    write(FILE, {"runs": list(runs.values()), "repaired": repaired}, indent=None)
    print(f"{len(runs)} runs and {len(repaired)} repaired ones in {FILE}")


@app.command("table")
def make_table() -> None:
    """Make the page and its picture."""
    PAGE.write_text(page())
    PICTURE.write_text(picture())
    print(PAGE)


if __name__ == "__main__":
    app()
