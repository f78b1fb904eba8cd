"""How the guard judges: each rule makes one number of what was measured so far, and alarms above its threshold.

Rules read nothing but records, so a log can be judged again by other thresholds: that is how ``benchmarks/zoo.py``
sets them. A run is in ``warning`` where one rule that is trusted alone alarms, or two of the others do at the same
probe; it has ``diverged`` where |Q| is beyond ten times the largest possible return. What is not finite ends a run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any, Literal, NamedTuple

import numpy as np

State = Literal["healthy", "warning", "diverged"]
STATES: tuple[State, ...] = ("healthy", "warning", "diverged")
"""From good to bad."""
Signals = Mapping[str, float]

WINDOW = 8
"""Probes that a law of growth is fitted to."""
REFERENCE = 8
"""Probes that say what is usual, for rules about change."""
LOUDEST = 0.95
"""Share of the largest number that a rule can make above which it alarms at any tolerance."""
SLACK = 0.5
"""Standard deviations that a cumulative sum forgives at every probe (Page 1954)."""
EARNED = 0.3
"""Share of the largest possible return up to which Q may grow as it likes."""
DIVERGED = 10.0
"""Times the largest possible return from which Q has diverged."""
FORETOLD = 1000.0
"""Times the largest possible return beyond which it makes no difference where Q is heading."""
SURGE = 50.0
"""The most that the cumulative sum of unusual norms comes to: it is soon back at 0 when they are usual again."""
AVERAGED = 3
"""Validations whose mean is held against the best such mean: a single one is a matter of luck."""
FORGIVEN = 0.03
"""Share of the best by which that mean may lie below it at every validation."""
HORIZON = 2.0
"""Rewards that Q may amount to at least, however near the horizon: what a gamma of .5 allows. What a head makes of rare
states does not shrink with gamma."""


class Probe(NamedTuple):
    step: int
    phase: int
    signals: Signals


class Validation(NamedTuple):
    step: int
    value: float


@dataclass
class History:
    """What was measured so far, in order of steps."""

    probes: list[Probe] = field(default_factory=list)
    validations: list[Validation] = field(default_factory=list)
    since: dict[str, float] = field(default_factory=dict)
    """Signals by which a single step alarmed since the last probe."""

    def add(self, record: Mapping[str, Any]) -> None:
        """Take in a record of the log; those of other kinds are passed over."""
        if record["kind"] == "guard" and record.get("signals"):
            self.probes.append(Probe(record["step"], record.get("phase", 1), record["signals"]))
            self.since = {}
        elif record["kind"] == "guard" and record.get("of_step"):
            self.since |= record["of_step"]
        elif record["kind"] == "validation" and record["value"] is not None:
            self.validations.append(Validation(record["step"], record["value"]))
        elif record["kind"] == "repair" and "back_to" in record:
            self.cut(record["back_to"])

    def cut(self, step: int) -> None:
        """Forget what came after a step: the weights are again those of then."""
        before = self.until(step)
        self.probes, self.validations, self.since = before.probes, before.validations, {}

    def until(self, step: int, more: int = 0) -> History:
        """What the probes and validations up to a step had seen, and so many more validations."""
        validations = sum(validation.step <= step for validation in self.validations)
        return History([probe for probe in self.probes if probe.step <= step], self.validations[: validations + more])

    @property
    def last_step(self) -> int:
        """Of the last probe; 0 where there was none."""
        return self.probes[-1].step if self.probes else 0

    def ever(self, name: str) -> list[float]:
        """A signal over the probes that have it; nothing where the last one has not, as of a critic that is frozen."""
        return [probe.signals[name] for probe in self._with(name)]

    def of(self, name: str) -> list[float]:
        """The same over the last probe's phase: what was usual in another is of another loss."""
        return [probe.signals[name] for probe in self._with(name) if probe.phase == self.probes[-1].phase]

    def newest(self, name: str) -> float:
        """A signal of single steps, as of the one that alarmed last, or else the highest up to the last probe; or 0."""
        return self.since.get(name, _last(self.of(name)))

    def _with(self, name: str) -> list[Probe]:
        seen = self.probes and name in self.probes[-1].signals
        return [probe for probe in self.probes if name in probe.signals] if seen else []


@dataclass(frozen=True)
class Rule:
    """One number over what was measured, and what it means above its threshold."""

    name: str
    score: Callable[[History], float]
    threshold: float
    words: str
    """What is said of an alarm; ``{score}`` stands for the number."""
    alone: bool = True
    """Whether it is trusted without a second one."""
    most: float = math.inf
    """The largest number that it can make."""
    least: float = 1e-3
    """The smallest threshold that means something."""
    usual: float = 0.0
    """What it is where all is well."""
    sums: bool = False
    """Whether it is a sum that begins anew where all is well: it is long on its way to half of a threshold."""
    of_step: str = ""
    """The signal that it reads, where that is one of every step: its alarm does not wait for the next probe."""

    def limit(self, tolerance: float) -> float:
        """Above which it alarms; what has diverged has at any tolerance."""
        limit = min(tolerance * self.threshold, LOUDEST * self.most)
        return min(limit, DIVERGED) if self.score is value_bound else limit


def value_bound(history: History) -> float:
    """The largest |Q| of the probe over the largest possible return, or over HORIZON rewards if that is more; over the
    largest possible return alone where Q has diverged."""
    q, rewards = _last(history.of("q_over_bound")), history.of("q_over_reward")
    return q if q > DIVERGED or not rewards else min(q, rewards[-1] / HORIZON)


def growth(history: History) -> float:
    """Where the law that |Q| has followed over the last probes leads in as many more, over the largest possible return.

    Of a line, an exponential and a hyperbola (1 / Q falls on a line to a crash: SEEM, Yue et al. 2023, with plain
    gradients; with Adam growth is polynomial) the one that fits best, where it explains nine tenths of the change. A Q
    that is far below the largest return has every reason to grow.
    """
    q = history.of("q_over_bound")
    return law_of_growth(q)[1] if q and q[-1] > EARNED else 0.0


def law_of_growth(q: Sequence[float]) -> tuple[str, float]:
    """The law and what it foretells; ("", 0.0) where none holds. See ``growth``."""
    y = np.array(q[-WINDOW:])
    if len(y) < WINDOW or y.min() <= 0 or y[-1] <= y[0]:
        return "", 0.0
    x = np.arange(WINDOW, dtype=float)
    ahead, best = 2.0 * WINDOW - 1, ("", 0.0, 0.9)
    for name, there, back in (
        ("linearly", lambda v: v, lambda v: v),
        ("exponentially", np.log, np.exp),
        ("ever faster, to a crash", lambda v: 1 / v, lambda v: 1 / v if v > 0 else np.inf),
    ):
        slope, start = np.polyfit(x, there(y), 1)
        with np.errstate(over="ignore"):
            fitted = np.array([back(v) for v in start + slope * x])
            foretold = float(back(start + slope * ahead))
        explained = 1 - float(((y - fitted) ** 2).sum() / max(((y - y.mean()) ** 2).sum(), 1e-12))
        if explained > best[2]:
            best = (name, min(foretold, FORETOLD), explained)
    return best[:2]


def td_drift(history: History) -> float:
    """How far the mean TD error has wandered from what it was at first, as a cumulative sum of standard deviations."""
    return max(_cusum(history.of("td_mean"), 1.0), _cusum(history.of("td_mean"), -1.0))


def overestimation(history: History) -> float:
    """Mean Q above the mean return, in standard deviations of the returns."""
    return max(_last(history.of("overestimation")), 0.0)


def conservative_gap(history: History) -> float:
    """How far the items that were not chosen have gained on the logged one since the first probes."""
    gaps = history.of("conservative_gap")
    return gaps[-1] - median(gaps[:REFERENCE]) if len(gaps) > REFERENCE else 0.0


def gradient(history: History) -> float:
    """The cumulative sum of unusual norms of the gradient: not one spike that comes alone."""
    return history.newest("grad_surge")


def loss_spike(history: History) -> float:
    """The loss over its trailing median."""
    return history.newest("loss_ratio")


def feature_rank(history: History) -> float:
    """Share of the largest feature rank that was lost."""
    return _lost(history.ever("feature_rank"))


def dormant(history: History) -> float:
    """Share of dormant units."""
    return _last(history.of("dormant"))


def coverage(history: History) -> float:
    """Share of the largest coverage of the recommended lists that was lost."""
    return _lost(history.ever("coverage"))


def churn(history: History) -> float:
    """How much more of the recommended lists changed since the probe before than did usually."""
    changed = history.of("churn")
    return changed[-1] - median(changed[-1 - REFERENCE : -1]) if len(changed) > REFERENCE else 0.0


def metric_fall(history: History) -> float:
    """A cumulative sum of how far the mean of the last validations lies below the best such mean, as shares of it (Page
    1954)."""
    values = [value for _, value in history.validations]
    best, total = -np.inf, 0.0
    for end in range(AVERAGED, len(values) + 1):
        mean = fmean(values[end - AVERAGED : end])
        if mean > best:
            best, total = mean, 0.0
        elif best > 0:
            total = max(0.0, total + (best - mean) / best - FORGIVEN)
    return total


def _last(values: Sequence[float]) -> float:
    return values[-1] if values else 0.0


def _lost(values: Sequence[float]) -> float:
    most = max(values, default=0.0)
    return 1 - values[-1] / most if most > 0 else 0.0


def _cusum(values: Sequence[float], sign: float) -> float:
    """One-sided cumulative sum of the values after the first ones, standardised by these."""
    if len(values) <= REFERENCE:
        return 0.0
    usual = np.array(values[:REFERENCE])
    mean, spread, total = float(usual.mean()), max(float(usual.std()), 1e-3), 0.0
    for value in values[REFERENCE:]:
        total = max(0.0, total + sign * (value - mean) / spread - SLACK)
    return total


RULES: tuple[Rule, ...] = (
    Rule(
        "value bound",
        value_bound,
        3.84,
        "Q reaches {score:.2g} times the largest possible return (or two rewards, if that is more)",
    ),
    Rule(
        "growth of Q",
        growth,
        950.0,
        "Q grows {law}: it is on its way to {score:.2g} times the largest possible return",
        alone=False,
        most=FORETOLD,
    ),
    Rule("TD error", td_drift, 82.5, "the mean TD error has wandered off (cumulative sum {score:.3g})", alone=False),
    Rule(
        "overestimation",
        overestimation,
        4.16,
        "Q lies {score:.2g} standard deviations above the return of the log",
        alone=False,
    ),
    Rule(
        "conservative gap",
        conservative_gap,
        0.403,
        "items that nobody chose gain on the logged ones in Q, by {score:.2g} so far",
        alone=False,
    ),
    Rule(
        "gradient",
        gradient,
        27.8,
        "the gradient's norm is unusually large again and again (cumulative sum {score:.3g})",
        most=SURGE,
        of_step="grad_surge",
    ),
    Rule(
        "loss",
        loss_spike,
        1.97,
        "the loss was {score:.2g} times its median over the last steps",
        usual=1.0,
        of_step="loss_ratio",
    ),
    Rule("feature rank", feature_rank, 0.893, "the states have lost {score:.0%} of their rank", most=1.0, alone=False),
    Rule("dormant units", dormant, 0.001, "{score:.0%} of the units are dormant", most=1.0),
    Rule(
        "coverage",
        coverage,
        0.95,
        "the lists have lost {score:.0%} of the items that they held",
        alone=False,
        most=1.0,
    ),
    Rule(
        "churn", churn, 0.354, "{score:.0%} more of each list than usual has changed since the last probe", alone=False
    ),
    Rule(
        "metric",
        metric_fall,
        0.0592,
        "the validation metric stays below its best ({score:.2g} of it in all)",
        least=0.05,
        sums=True,
    ),
)
"""Thresholds as ``benchmarks/zoo.py`` set them; see docs/stability.md for what they catch and miss."""


class Alarm(NamedTuple):
    rule: Rule
    score: float
    reason: str


class Verdict(NamedTuple):
    state: State
    alarms: tuple[Alarm, ...] = ()

    @property
    def reason(self) -> str:
        """In words; empty where all is well."""
        return "; ".join(alarm.reason for alarm in self.alarms)


def judge(history: History, tolerance: float = 1.0, rules: Sequence[Rule] = RULES) -> Verdict:
    """The state after the last record.

    Args:
        tolerance: factor on every threshold; what has diverged has at any tolerance.
    """
    scores = [(rule, rule.score(history)) for rule in rules]
    loud = [(rule, score) for rule, score in scores if score > rule.limit(tolerance)]
    diverged = value_bound(history) > DIVERGED
    if not diverged and not any(rule.alone for rule, _ in loud) and len(loud) < 2:
        return Verdict("healthy")
    law = law_of_growth(history.of("q_over_bound"))[0]
    alarms = tuple(Alarm(rule, score, rule.words.format(score=score, law=law)) for rule, score in loud)
    return Verdict("diverged" if diverged else "warning", alarms)


def onset(history: History, verdict: Verdict, tolerance: float = 1.0) -> int:
    """The last probe at which there was nothing to be seen of any of its alarms: of the metric a sum of 0, of others
    less than half of the way from what is usual to their threshold; 0 if there was none.

    It judges the whole history over again, which is for those who are about to act, not for every probe.
    """
    rules = [alarm.rule for alarm in verdict.alarms]
    seen = [(rule.score, 0.0 if rule.sums else (rule.usual + rule.limit(tolerance)) / 2) for rule in rules]
    for probe in reversed(history.probes[: -1 if not history.since else None]):
        before = history.until(probe.step, AVERAGED - 1)  # so many later a mean tells of what has happened before
        if all(score(before) <= quiet for score, quiet in seen):
            return probe.step
    return 0
