"""Time of comparing the runs of a study and drawing its page, and the size of the page: 5 methods, 5 seeds.

    OMP_NUM_THREADS=1 python benchmarks/report_speed.py [--rounds 3] [--out FILE]

Nothing is trained: events, logs and figures of 25 runs and 2 baselines are made up, with the sessions that trivago has
in its test split, and with a tenth of RetailRocket's; 60 validations and 100 looks of the guard a run, and a verdict.
Processor time from the runs' files to the page (``conclude``), and of the comparison alone. Prints JSON.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import typer

from machine import RESULTS, commit, machine
from seqward import statistics
from seqward.bench.compare import all_sums, compared
from seqward.bench.conclusion import conclude
from seqward.bench.events import FILE, save_events
from seqward.bench.kept import place_of
from seqward.bench.study import Key, Study, read_study
from seqward.data.simulate import draw_lengths
from seqward.data.world import PRESETS
from seqward.metrics import Outcomes, summarise

SESSIONS = {"trivago": 3_771, "a tenth of RetailRocket": 19_500}
METHODS = {"sasrec": 1.0, "sasrec-sqn": 0.97, "snqn": 0.9, "sasrec-ccql": 0.8, "sasrec-sqn-gamma-0": 0.95}
"""What a method's ranks are raised to: the lower, the better."""
BASELINES = {"last-items": 0.7, "popularity": 1.2}
SEEDS, VALIDATIONS, PROBES, STEPS = 5, 60, 100, 3000
ITEMS = 70_852
GOALS = {"seconds": 10.0, "megabytes": 3.0}
STUDY = f"""
data: {{d: {{simulate: {{preset: retailrocket}}}}}}
seeds: {list(range(SEEDS))}
methods: {{{", ".join(f"{method}: {{}}" for method in METHODS)}}}
verdict: {{supervised: [sasrec], rl: [sasrec-sqn, snqn, sasrec-ccql], controls: [sasrec-sqn-gamma-0]}}
"""


def main(
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    out: Annotated[Path, typer.Option(help="JSON file to write.")] = RESULTS / "report-speed.json",
) -> None:
    """Measure, print and keep the result."""
    found = {name: measure(sessions, rounds) for name, sessions in SESSIONS.items()}
    result = {"commit": commit(), "machine": machine(), "rounds": rounds, "goals": GOALS, "studies": found}
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def measure(sessions: int, rounds: int) -> dict[str, Any]:
    """Seconds of all and of the comparison, and megabytes of the page."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "made-up.yaml").write_text(STUDY)
        study = read_study(folder / "made-up.yaml", folder)
        report = made_up(study, folder, sessions)
        whole = [seconds(lambda: conclude(study, report, folder)) for _ in range(rounds)]
        alone = [seconds(lambda: compared(report, all_sums(report, folder))) for _ in range(rounds)]
        megabytes = (folder / "results.html").stat().st_size / 1e6
    return {
        "sessions": sessions,
        "runs": len(report["runs"]),
        "seconds": round(median(whole), 2),
        "from_to": [round(min(whole), 2), round(max(whole), 2)],
        "of_it_compared": round(median(alone), 2),
        "page_megabytes": round(megabytes, 2),
        "reached": median(whole) < GOALS["seconds"] and megabytes < GOALS["megabytes"],
    }


def made_up(study: Study, folder: Path, sessions: int) -> dict[str, Any]:
    """What a study's runs would have left in a folder, and their report."""
    random = np.random.default_rng(0)
    lengths = draw_lengths(PRESETS["retailrocket"], sessions, random)
    n = int(lengths.sum())
    luck, goal, repeat, head = random.random(n), random.random(n) < 0.1, random.random(n) < 0.3, random.random(n) < 0.5
    session = np.repeat(np.arange(sessions), lengths)

    def of(power: float, file: Path) -> dict[str, Any]:
        own = np.clip(luck + random.normal(0, 0.05, n), 0, 1)
        rank = np.ceil(ITEMS ** (own**0.5 * min(power + random.normal(0, 0.005), 1.25))).astype(np.int64)
        reward = np.where(goal, 1.0, 0.2).astype(np.float32)
        outcomes = Outcomes(np.maximum(rank, 1), goal, repeat, np.ones(n, dtype=bool), reward, session)
        save_events(file, outcomes, head)
        return summarise(outcomes)

    baselines = {name: of(power, folder / "data" / f"d.{name}.npz") for name, power in BASELINES.items()}
    runs = []
    for key in study.runs():
        test = of(METHODS[key.method], place_of(key, folder) / FILE)
        write_log(place_of(key, folder) / "log.jsonl", test, random)
        runs.append(run_of(key, test))
    return {"study": study.name, "data": {"d": {"baselines": baselines}}, "runs": runs}


def run_of(key: Key, test: dict[str, Any]) -> dict[str, Any]:
    """A finished run, as a report has it."""
    return {
        **key._asdict(),
        "state": "finished",
        "stopped": "all 60 epochs done",
        "steps": STEPS,
        "events": 64 * STEPS,
        "best": {"value": test["all"]["ndcg@20"]},
        "settings": {"train": {"metric": "ndcg@20"}, "guard": {"watch": True}},
        "evaluation": {"cutoffs": [5, 10, 20]},
        "test": test,
    }


def write_log(file: Path, test: dict[str, Any], random: np.random.Generator) -> None:
    """Validations that come near the test figures, and a guard that warns in the middle."""
    records: list[dict[str, Any]] = []
    for number in range(1, VALIDATIONS + 1):
        share = (1 - np.exp(-number / 20)) * random.uniform(0.97, 1.0)
        metrics = {
            group: {name: value * share for name, value in figures.items()} if isinstance(figures, dict) else figures
            for group, figures in test.items()
        }
        metrics["q"] = {name: float(random.random()) for name in ("mean_q", "max_q", "mean_return", "gap")}
        records.append({"kind": "validation", "step": number * STEPS // VALIDATIONS, "metrics": metrics, "value": 0.1})
    for number in range(1, PROBES + 1):
        state = "warning" if number == PROBES // 2 else "healthy"
        records.append({"kind": "guard", "step": number * STEPS // PROBES, "state": state, "reason": "", "rules": []})
    records.sort(key=lambda record: record["step"])
    placed = [{**record, "events": 64 * record["step"], "seconds": record["step"] / 20} for record in records]
    file.write_text("".join(json.dumps(record) + "\n" for record in placed))


def seconds(work: Callable[[], object]) -> float:
    """Processor time, as of a program that has just begun: nothing is drawn yet."""
    statistics._draws.cache_clear()
    begin = time.process_time()
    work()
    return time.process_time() - begin


if __name__ == "__main__":
    typer.run(main)
