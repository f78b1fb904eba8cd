"""How training went, from the runs' logs: validation metrics with their spread over seeds, and the guard's states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqward.bench.kept import place_of
from seqward.bench.study import Key
from seqward.runlog import read_log
from seqward.stability.told import goes_on_sound

AXES = {"steps": "step", "events": "events", "seconds": "seconds"}
"""What curves are drawn over, and what the log calls it."""

Record = Mapping[str, Any]


def curves_of(report: Record, folder: Path) -> dict[str, Any]:
    """Data set -> method -> ``seeds``, the places on each of AXES, and ``metrics``: mean, lowest and highest of each.

    At a step stands what at least half of the seeds have measured there; the rest have stopped before. Places in
    seconds are means over seeds. ``failed`` are the runs that failed, up to their last validation and each for itself:
    ``seed``, places, and ``metrics``. No mean is of them, and a method of which none has finished has 0 seeds.
    """
    found: dict[str, Any] = {}
    for name in report["data"]:
        runs = [run for run in report["runs"] if run["data"] == name]
        for method in dict.fromkeys(run["method"] for run in runs):
            logs = {(run["seed"], run["state"]): validations(run, folder) for run in runs if run["method"] == method}
            failed = [_failed(seed, log) for (seed, state), log in logs.items() if log and state == "failed"]
            finished = [log for (_, state), log in logs.items() if log and state == "finished"]
            if finished or failed:
                found.setdefault(name, {})[method] = {**_spread(finished), "failed": failed}
    return found


def _failed(seed: int, log: Sequence[Record]) -> dict[str, Any]:
    """One run for itself."""
    alone = _spread([log])
    return {**alone, "seed": seed, "metrics": {name: of["mean"] for name, of in alone["metrics"].items()}}


def validations(run: Record, folder: Path) -> list[dict[str, Any]]:
    """Places and flat metrics of a run's validations; of a run from elsewhere only the metric it was selected by."""
    log = read_log(place_of(Key(run["data"], run["method"], run["seed"]), folder) / "log.jsonl")
    here = [record for record in log if record["kind"] == "validation"]
    if here:
        return [{**{key: r[key] for key in AXES.values()}, "metrics": dict(flat(r["metrics"]))} for r in here]
    metric = (run.get("settings") or {}).get("train", {}).get("metric")
    an_event = run.get("events", 0) / max(run.get("steps", 0), 1)
    return [
        {"step": r["step"], "events": r["step"] * an_event, "seconds": r["seconds"], "metrics": {metric: r["value"]}}
        for r in run.get("validations", [])
        if metric and r["value"] is not None
    ]


def flat(metrics: Record) -> Iterator[tuple[str, float]]:
    """``goal.hr@20`` and the like of a validation's figures; counts and what has no value are left out."""
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}.{name}", one) for name, one in flat(value))
        elif isinstance(value, int | float) and key != "n" and np.isfinite(value):
            yield key, float(value)


def _spread(logs: Sequence[Sequence[Record]]) -> dict[str, Any]:
    by_step: dict[int, list[Record]] = {}
    for log in logs:
        for record in log:
            by_step.setdefault(record["step"], []).append(record)
    shared = [by_step[step] for step in sorted(by_step) if 2 * len(by_step[step]) >= len(logs)]
    names = dict.fromkeys(name for records in shared for record in records for name in record["metrics"])
    places = {axis: [_short(np.mean([r[key] for r in records])) for records in shared] for axis, key in AXES.items()}
    return {"seeds": len(logs), **places, "metrics": {name: _of_metric(name, shared) for name in names}}


def _of_metric(name: str, shared: Sequence[Sequence[Record]]) -> dict[str, list[float | None]]:
    values = [[r["metrics"][name] for r in records if name in r["metrics"]] for records in shared]
    ways = {"mean": np.mean, "low": np.min, "high": np.max}
    return {how: [_short(of(v)) if v else None for v in values] for how, of in ways.items()}


def _short(value: Any) -> float:
    """Six digits: more than a picture shows."""
    return float(f"{float(value):.6g}")


def _states_of(record: Record) -> list[tuple[str, str]]:
    """State and reason that a record of the guard tells; after a roll back all is well."""
    told = [(record["state"], record.get("reason") or "")] if "state" in record else []
    return [*told, ("healthy", "")] if goes_on_sound(record) else told


def guarded(report: Record, folder: Path) -> dict[str, Any]:
    """Data set -> run -> ``end``, the last step, ``states`` and ``repairs``.

    A state is ``[step, state, reason]`` where it changes, a repair ``[step, text]``. A run that ended before the guard
    looked at it has no state; one that was not guarded, or is from elsewhere, is left out.
    """
    found: dict[str, Any] = {}
    for run in report["runs"]:
        key = Key(run["data"], run["method"], run["seed"])
        log = read_log(place_of(key, folder) / "log.jsonl")
        states: list[list[Any]] = []
        for record in (record for record in log if record["kind"] in ("guard", "repair")):
            for state, reason in _states_of(record):
                if not states or states[-1][1] != state:
                    states.append([record["step"], state, reason])
        if states or (log and _is_watched(run)):
            name = f"{key.method}, seed {key.seed}"
            repairs = [[record["step"], record["text"]] for record in log if record["kind"] == "repair"]
            end = max(record.get("step", 0) for record in log)
            found.setdefault(key.data, {})[name] = {"end": end, "states": states, "repairs": repairs}
    return found


def _is_watched(run: Record) -> bool:
    """Of a run that failed the settings are not told; those that come with the program watch."""
    return "settings" not in run or run["settings"].get("guard", {}).get("watch", False)
