"""What is to be reached, and whether it was: the ratios of ``tasks.py``, and memory, times and shares of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from peers.figures import Spread, Standing, machine_limits, standings, verdict_of
from peers.tasks import OURS, TASKS, task_named

HEADER = ("task", "goal", "to reach", "aim", "measured", "spread", "verdict")
EVENTS = 33_000_000
"""Of the log that the goals of preparing speak of."""
Result = Mapping[str, Any]


@dataclass(frozen=True)
class Goal:
    """A figure of one contestant with one thread that is to be at least, or at most, so much."""

    task: str
    what: str
    reach: float
    aim: float | None
    unit: str
    of: Callable[[Standing], Spread | None]
    contestant: str = OURS
    at_most: bool = False
    bf16: bool = False
    """Whether it is a share of the product in bf16, which not every processor has."""


def per_unit(seconds: float) -> Callable[[Standing], Spread]:
    """From a rate to how long ``seconds`` units take."""
    return lambda one: Spread(seconds / one.rate.middle, seconds / one.rate.high, seconds / one.rate.low)


def once(value: Callable[[Standing], float]) -> Callable[[Standing], Spread]:
    """A figure that is a median already."""
    return lambda one: Spread(value(one), value(one), value(one))


def percent(one: Standing) -> Spread | None:
    share = one.share
    return share and Spread(100 * share.middle, 100 * share.low, 100 * share.high)


RATIOS = tuple(
    Goal(task.name, f"faster than {one.name}", one.reach, one.aim, "x", lambda found: found.ratio, one.name)
    for task in TASKS
    for one in task.contestants
    if one.reach
)
OWN = (
    Goal("train-rr", "peak memory", 600, 500, "MB", once(lambda one: one.peak_mb), at_most=True),
    Goal("head-rr", "share of the bf16 product", 70, 85, "%", percent, bf16=True),
    Goal("ranks-rr", "share of the bf16 product", 85, 92, "%", percent, bf16=True),
    Goal("serve-rr", "time of an answer", 0.25, 0.12, "ms", once(lambda one: one.lap_ms), at_most=True),
    Goal("serve-million", "time of an answer", 5, 3, "ms", once(lambda one: one.lap_ms), at_most=True),
    Goal("import", "processor time, and torch is not loaded", 0.5, None, "s", per_unit(1), at_most=True),
    Goal("prepare", f"processor time of {EVENTS:,} events", 15, 6, "s", per_unit(EVENTS), at_most=True),
    Goal("prepare", "peak memory", 1600, 1200, "MB", once(lambda one: one.peak_mb), at_most=True),
)
GOALS = tuple(goal for task in TASKS for goal in (*RATIOS, *OWN) if goal.task == task.name)
NOT_HERE = (
    (
        "ccql-rr",
        "faster than the code that the paper's authors released",
        "75 x",
        "120 x",
        "not measured: that code is no part of this project; whoever has it runs it as a guest",
    ),
)
"""Goals that no run of this benchmark can judge by itself, as they stand in the table."""


def rows(result: Result) -> Iterator[tuple[str, ...]]:
    """The cells under HEADER, in the order of the tasks."""
    found = {(one.task.name, one.contestant): one for one in standings(result) if one.threads == 1}
    for task in TASKS:
        for goal in GOALS:
            if goal.task == task.name:
                yield row(goal, found.get((task.name, goal.contestant)), result)
        for name, what, reach, aim, why in NOT_HERE:
            if name == task.name:
                yield task.short, what, reach, aim, "", "", why


def row(goal: Goal, one: Standing | None, result: Result) -> tuple[str, ...]:
    """A goal beside what was measured."""
    value = one and goal.of(one)
    sign, unit = "≤ " if goal.at_most else "", "" if goal.unit == "%" else " "
    said = [f"{sign}{number:g}{unit}{goal.unit}" if number else "" for number in (goal.reach, goal.aim)]
    measured = [f"{value.middle:.3g}{unit}{goal.unit}", f"{value.low:.3g} to {value.high:.3g}"] if value else ["", ""]
    return task_named(goal.task).short, goal.what, *said, *measured, verdict(goal, one, value, result)


def verdict(goal: Goal, one: Standing | None, value: Spread | None, result: Result) -> str:
    if reason := unmeasured(goal, one, result):
        return f"not measured: {reason}"
    assert one is not None and value is not None
    if goal.task == "import" and "without torch" not in one.note:
        return "missed: torch is loaded"
    return verdict_of(value.middle, goal.reach, goal.aim, goal.at_most)


def unmeasured(goal: Goal, one: Standing | None, result: Result) -> str:
    """Why a goal cannot be judged; nothing where it can."""
    if one is None or goal.of(one) is None:
        return why_absent(goal, result)
    if result["extent"]["shrink"]:
        return "a quick look at data that were made small"
    if goal.task == "prepare" and result["extent"]["events"] != EVENTS:
        return f"a log of {result['extent']['events']:,} events"
    limits = machine_limits(result)[1]
    if goal.bf16 and limits["bf16_gflops"].middle < limits["fp32_gflops"].middle:
        return "this processor has no product in bf16; the figure is of that in fp32"
    return ""


def why_absent(goal: Goal, result: Result) -> str:
    if goal.contestant in result["absent"]:
        return f"{goal.contestant} is not installed here"
    failed = (r for r in result["records"] if "error" in r and r["task"] == goal.task)
    said = [r["error"] for r in failed if r["contestant"] == goal.contestant]
    return f"failed: {said[0]}" if said else "no turn was taken"
