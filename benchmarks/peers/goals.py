"""What is to be reached, and whether it was: the ratios of ``tasks.py``, and memory, times and shares of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from peers.figures import Spread, Standing, machine_limits, standings, verdict_of
from peers.tasks import OURS, PORTABLE, TASKS, task_named

HEADER = ("task", "goal", "to reach", "aim", "measured", "spread", "verdict")
EVENTS = 33_000_000
"""Of the log that the goals of preparing speak of."""
Result = Mapping[str, Any]


Found = Mapping[tuple[str, int], Standing]
"""What was measured of a task, by contestant and threads."""


@dataclass(frozen=True)
class Goal:
    """A figure that is to be at least, or at most, so much."""

    task: str
    what: str
    reach: float
    aim: float | None
    unit: str
    of: Callable[[Found], Spread | None]
    contestant: str = OURS
    """Who has to have been there."""
    at_most: bool = False
    bf16: bool = False
    """Whether it is a share of the product in bf16, which not every processor is fast in."""


def own(value: Callable[[Standing], Spread | float | None]) -> Callable[[Found], Spread | None]:
    """A figure of ours with one thread; a number is a median already."""

    def of(found: Found) -> Spread | None:
        one = found.get((OURS, 1))
        figure = one and value(one)
        return Spread(figure, figure, figure) if isinstance(figure, float | int) else figure

    return of


def per_unit(seconds: float) -> Callable[[Found], Spread | None]:
    """From a rate to how long ``seconds`` units take."""
    return own(lambda one: Spread(seconds / one.rate.middle, seconds / one.rate.high, seconds / one.rate.low))


def ahead_of(name: str, threads: int = 1) -> Callable[[Found], Spread | None]:
    """How many times faster ours is, of neighbours in a round."""
    return lambda found: found[name, threads].ratio if (name, threads) in found else None


def over(one: tuple[str, int], other: tuple[str, int]) -> Callable[[Found], Spread | None]:
    """The rate of one over that of another."""

    def of(found: Found) -> Spread | None:
        if not {one, other} <= found.keys():
            return None
        a, b = found[one].rate, found[other].rate
        return Spread(a.middle / b.middle, a.low / b.high, a.high / b.low)

    return of


def percent(one: Standing) -> Spread | None:
    share = one.share
    return share and Spread(100 * share.middle, 100 * share.low, 100 * share.high)


RATIOS = tuple(
    Goal(task.name, f"faster than {one.name}", one.reach, one.aim, "x", ahead_of(one.name), one.name)
    for task in TASKS
    for one in task.contestants
    if one.reach
)
ON_THE_WALL = {"RecBole": 8.0, "RePlay": 14.0, "RecTools": 30.0, "plain torch": 5.5}
"""How many times faster ours is to train with two threads."""
WALL = tuple(
    Goal("train-rr", f"faster than {name}, two threads, on the wall", reach, None, "x", ahead_of(name, 2), name)
    for name, reach in ON_THE_WALL.items()
)
OWN = (
    Goal("train-rr", "two threads on the wall over one", 1.6, 1.95, "x", over((OURS, 2), (OURS, 1))),
    Goal(
        "train-rr", "without kernels, faster than RecBole", 5, None, "x", over((PORTABLE, 1), ("RecBole", 1)), PORTABLE
    ),
    Goal(
        "head-rr",
        "without kernels, faster than plain torch",
        3.5,
        None,
        "x",
        over((PORTABLE, 1), ("plain torch", 1)),
        PORTABLE,
    ),
    Goal("train-rr", "peak memory", 600, 500, "MB", own(lambda one: one.peak_mb), at_most=True),
    Goal("head-rr", "share of the bf16 product", 70, 85, "%", own(percent), bf16=True),
    Goal("ranks-rr", "share of the bf16 product", 85, 92, "%", own(percent), bf16=True),
    Goal("serve-rr", "time of an answer", 0.25, 0.12, "ms", own(lambda one: one.lap_ms), at_most=True),
    Goal("serve-million", "time of an answer", 5, 3, "ms", own(lambda one: one.lap_ms), at_most=True),
    Goal("import", "processor time, and torch is not loaded", 0.5, None, "s", per_unit(1), at_most=True),
    Goal("prepare", f"processor time of {EVENTS:,} events", 15, 6, "s", per_unit(EVENTS), at_most=True),
    Goal("prepare", "peak memory", 1600, 1200, "MB", own(lambda one: one.peak_mb), at_most=True),
)
GOALS = tuple(goal for task in TASKS for goal in (*RATIOS, *WALL, *OWN) if goal.task == task.name)
NOT_HERE = (
    (
        "head-rr",
        "share of the product, on a GPU, batches of 4,096",
        "50%",
        "",
        "not measured: there was no GPU; `python benchmarks/gpu.py` measures it",
    ),
)
"""Goals that no run of this benchmark can judge by itself, as they stand in the table."""


def rows(result: Result) -> Iterator[tuple[str, ...]]:
    """The cells under HEADER, in the order of the tasks."""
    standing = standings(result)
    for task in TASKS:
        found = {(one.contestant, one.threads): one for one in standing if one.task.name == task.name}
        for goal in GOALS:
            if goal.task == task.name:
                yield row(goal, found, result)
        for name, what, reach, aim, why in NOT_HERE:
            if name == task.name:
                yield task.short, what, reach, aim, "", "", why


def row(goal: Goal, found: Found, result: Result) -> tuple[str, ...]:
    """A goal beside what was measured."""
    value = goal.of(found)
    sign, unit = "≤ " if goal.at_most else "", "" if goal.unit == "%" else " "
    said = [f"{sign}{number:g}{unit}{goal.unit}" if number else "" for number in (goal.reach, goal.aim)]
    measured = [f"{value.middle:.3g}{unit}{goal.unit}", f"{value.low:.3g} to {value.high:.3g}"] if value else ["", ""]
    return task_named(goal.task).short, goal.what, *said, *measured, verdict(goal, found, value, result)


def verdict(goal: Goal, found: Found, value: Spread | None, result: Result) -> str:
    if reason := unmeasured(goal, value, result):
        return f"not measured: {reason}"
    assert value is not None
    if goal.task == "import" and "without torch" not in found[OURS, 1].note:
        return "missed: torch is loaded"
    return verdict_of(value.middle, goal.reach, goal.aim, goal.at_most)


def unmeasured(goal: Goal, value: Spread | None, result: Result) -> str:
    """Why a goal cannot be judged; nothing where it can."""
    if value is None:
        return why_absent(goal, result)
    if result["extent"]["shrink"]:
        return "a quick look at data that were made small"
    if goal.task == "prepare" and result["extent"]["events"] != EVENTS:
        return f"a log of {result['extent']['events']:,} events"
    limits = machine_limits(result)[1]
    if goal.bf16 and limits["bf16_gflops"].middle < limits["fp32_gflops"].middle:
        return "this processor is faster in fp32; the figure is of that"
    return ""


def why_absent(goal: Goal, result: Result) -> str:
    if goal.contestant in result["absent"]:
        return f"{goal.contestant} is not installed here"
    failed = (r for r in result["records"] if "error" in r and r["task"] == goal.task)
    said = [r["error"] for r in failed if r["contestant"] == goal.contestant]
    return f"failed: {said[0]}" if said else "no turn was taken"
