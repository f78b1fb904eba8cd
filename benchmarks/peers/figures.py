"""From what the contestants said to rates, ratios of neighbours and shares of the machine's limit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from peers.tasks import OURS, ROOFLINE, TASKS, Contestant, Shape, Task

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Spread:
    """Median, lowest and highest over the rounds."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        found = list(values)
        return cls(median(found), min(found), max(found)) if found else None


@dataclass(frozen=True)
class Standing:
    """One contestant of a task with so many threads."""

    task: Task
    contestant: str
    threads: int
    rate: Spread
    """Units a second: of processor time with one thread, on the wall with more."""
    ratio: Spread | None
    """Ours over it, of neighbours in a round; None for ours."""
    share: Spread | None
    """Of the machine's limit, measured in the same round; None where neither product nor memory bounds the task."""
    rounds: int
    """In which it was measured."""
    peak_mb: float
    lap_ms: float
    """Median time of a lap on the wall."""
    note: str
    reach: float | None
    """The goal, of one thread at the full shapes; None elsewhere."""
    aim: float | None

    @property
    def verdict(self) -> str:
        """Whether the goal is reached, where there is one."""
        if self.reach is None or self.ratio is None:
            return ""
        return verdict_of(self.ratio.middle, self.reach, self.aim)


def verdict_of(value: float, reach: float, aim: float | None, at_most: bool = False) -> str:
    """Where a figure stands; equal is enough."""
    sign = -1 if at_most else 1
    if aim and sign * value >= sign * aim:
        return "beyond the aim"
    return "reached" if sign * value >= sign * reach else "missed"


def rate_of(record: Record) -> float:
    """Units a second by the clock that counts."""
    return record["units"] / (record["cpu"] if record["threads"] == 1 else record["wall"])


def standings(result: Mapping[str, Any]) -> list[Standing]:
    """All that was measured, in the order of the tasks."""
    good = [record for record in result["records"] if "error" not in record]
    limits = {(r["round"], r["threads"]): r["limits"] for r in good if r["task"] == ROOFLINE.name}
    found, small = [], result["extent"]["shrink"] is not None
    for task in TASKS:
        shape = Shape(**result["shapes"][task.shape])
        for threads in task.threads:
            records = [r for r in good if r["task"] == task.name and r["threads"] == threads]
            found += _of_task(task, shape, threads, records, limits, judged=threads == 1 and not small)
    return found


def _of_task(
    task: Task,
    shape: Shape,
    threads: int,
    records: Sequence[Record],
    limits: Mapping[tuple[int, int], Mapping[str, float]],
    judged: bool,
) -> list[Standing]:
    rates: dict[str, dict[int, float]] = {}
    for record in records:
        rates.setdefault(record["contestant"], {})[record["round"]] = rate_of(record)
    ours, known = rates.get(OURS, {}), {one.name: one for one in task.contestants}
    found = []
    for name, by_round in rates.items():
        about = known.get(name, Contestant(name, ""))
        own = [record for record in records if record["contestant"] == name]
        shares = (
            _share(task, shape, rate, limits[number, threads])
            for number, rate in by_round.items()
            if (number, threads) in limits
        )
        rate = Spread.of(by_round.values())
        assert rate is not None
        found.append(
            Standing(
                task=task,
                contestant=name,
                threads=threads,
                rate=rate,
                ratio=None if name == OURS else Spread.of(ours[n] / by_round[n] for n in by_round if n in ours),
                share=Spread.of(share for share in shares if share is not None),
                rounds=len(by_round),
                peak_mb=median(record["peak_mb"] for record in own),
                lap_ms=1000 * median(record["wall_median"] for record in own),
                note="; ".join(part for part in (own[-1].get("note", ""), about.differs) if part),
                reach=about.reach if judged else None,
                aim=about.aim if judged else None,
            )
        )
    return found


def _share(task: Task, shape: Shape, rate: float, limits: Mapping[str, float]) -> float | None:
    """Of the faster of the two products, or of copying."""
    flops = task.flops(shape)
    if flops is not None:
        return rate * flops / (1e9 * max(limits["fp32_gflops"], limits["bf16_gflops"]))
    if task.bytes_per_item is not None:
        return rate * shape.items * task.bytes_per_item / (1e9 * limits["copy_gb_s"])
    return None


def machine_limits(result: Mapping[str, Any]) -> dict[int, dict[str, Spread]]:
    """By threads, what the machine can do."""
    found: dict[int, dict[str, Spread]] = {}
    for threads in (1, 2):
        of = [r["limits"] for r in result["records"] if r.get("limits") and r["threads"] == threads]
        spreads = {name: Spread.of(limits[name] for limits in of) for name in (of[0] if of else {})}
        found[threads] = {name: spread for name, spread in spreads.items() if spread}
    return found


def scaling(found: Sequence[Standing]) -> dict[str, float]:
    """By task, the rate of ours with two threads on the wall over that with one by the processor's clock."""
    ours = {(one.task.name, one.threads): one.rate.middle for one in found if one.contestant == OURS}
    return {task: ours[task, 2] / rate for (task, threads), rate in ours.items() if threads == 1 and (task, 2) in ours}


def failures(result: Mapping[str, Any]) -> list[str]:
    """One line for each contestant and task that failed."""
    failed = [r for r in result["records"] if "error" in r]
    return sorted({f"{r['task']}, {r['contestant']}: {r['error']}" for r in failed})
