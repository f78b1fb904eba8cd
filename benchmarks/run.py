"""Runs a study and keeps what came out: python benchmarks/run.py benchmarks/studies/trivago.yaml

One folder a run, ``benchmarks/work/STUDY/DATA/METHOD/seed-N``. Finished runs are skipped, interrupted ones go on where
they stopped, failed ones are tried again. The test split is ranked once a run, by the weights that validation chose.
``benchmarks/results/STUDY.json`` holds every run with what is needed to repeat it, and a finished run that stands
there is not repeated on another machine either: so several sessions fill one table. To run one anew, remove it from
there, and its folder.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from fnmatch import fnmatch
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from machine import RESULTS, ROOT, commit, machine
from seqward import Dataset, Recommender, SeqwardError
from seqward.baselines import fitted_baselines
from seqward.cli.output import print_table
from seqward.config import from_dict, to_dict
from seqward.data.dataset import read_description
from seqward.evaluate import evaluate
from seqward.methods import method_named
from seqward.run import Run, describe
from seqward.runlog import read_log
from study import Key, Study, data_of, read_study
from summary import is_limited, mean_of_best, method_table, published_check, published_table, summary

WORK = ROOT / "benchmarks" / "work"
DONE = "result.json"
"""Written last into a run's folder."""


def main(
    study: Annotated[Path, typer.Argument(help="YAML file, such as benchmarks/studies/trivago.yaml.")],
    jobs: Annotated[int, typer.Option(min=1, help="Runs at the same time; they share the cores.")] = 1,
    only: Annotated[list[str] | None, typer.Option(help="Pattern of DATA/METHOD/SEED; repeatable.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Of training, a run, instead of the study's.")] = None,
    results: Annotated[Path, typer.Option(help="Folder of the result.")] = RESULTS,
    work: Annotated[Path, typer.Option(help="Folder of the runs.")] = WORK,
) -> None:
    """Run a study: data sets x methods x seeds."""
    try:
        chosen = read_study(study)
        if max_minutes is not None:
            chosen = replace(chosen, max_minutes=max_minutes)
        found = results_of(chosen, results, work, only, jobs)
    except SeqwardError as error:
        typer.echo(str(error), err=True)
        raise SystemExit(2) from None
    print_table(*method_table(found), title=chosen.name)
    if compared := found.get("published", {}).get("comparisons"):
        print_table(*published_table(compared), title="beside published figures")
    tell_failed(found)


def tell_failed(found: dict[str, Any]) -> None:
    """Exit with 1 where a run of a study has failed."""
    if failed := [str(Key(r["data"], r["method"], r["seed"])) for r in found["runs"] if r["state"] == "failed"]:
        typer.echo(f"failed: {', '.join(failed)}", err=True)
        raise SystemExit(1)


def results_of(study: Study, results: Path, work: Path, only: list[str] | None = None, jobs: int = 1) -> dict[str, Any]:
    """Carry out what is missing of a study; its result, which stands in ``results``, too.

    Raises:
        SeqwardError: its data cannot be had.
    """
    folder, file = work / study.name, results / f"{study.name}.json"
    keys = [key for key in study.runs() if not only or any(fnmatch(str(key), pattern) for pattern in only)]
    data = {name: prepared(study, name, folder) for name in study.data}
    runs = finished_before(file, study, data)
    if file.is_file() and (dropped := sum(run["state"] == "finished" for run in read(file)["runs"]) - len(runs)):
        say(f"{dropped} finished runs of {file} are of other data, settings or rules; they are not kept")
    for key, run in carry_out(study, [key for key in keys if key not in runs], folder, jobs):
        runs[key] = run
        write(file, report(study, data, runs))
    return report(study, data, runs)


def prepared(study: Study, name: str, folder: Path) -> dict[str, Any]:
    """A data set's protocol and hashes, and what the zero-parameter baselines reach on its test split."""
    place = folder / "data" / name
    data = data_of(study.data[name], place)
    description = read_description(place)
    return {
        "recipe": study.data[name],
        "catalogue": description["catalogue"],
        "sha256": description["sha256"],
        "protocol": data.protocol,
        "baselines": baselines_of(study, name, folder, data),
    }


def baselines_of(study: Study, name: str, folder: Path, data: Dataset) -> dict[str, Any]:
    """What the zero-parameter baselines reach on the test split by the study's rules; kept beside the data set."""
    file = folder / "data" / f"{name}.baselines.json"
    kept = read(file) if file.is_file() else {}
    if kept.get("evaluate") != dict(study.evaluate):
        figures = {label: evaluate(s, data, "test", **study.evaluate) for label, s in fitted_baselines(data).items()}
        kept = {"evaluate": dict(study.evaluate), "figures": {label: e.to_json() for label, e in figures.items()}}
        write(file, kept)
    return kept["figures"]


def finished_before(file: Path, study: Study, data: dict[str, Any]) -> dict[Key, dict[str, Any]]:
    """The finished runs of an earlier result: same data, same settings, same rules, and ended as they would now."""
    if not file.is_file():
        return {}
    before, planned = read(file), study.runs()
    runs = {}
    for run in before["runs"]:
        key = Key(run["data"], run["method"], run["seed"])
        if run["state"] != "finished" or key not in planned or before["evaluate"] != dict(study.evaluate):
            continue
        same = same_data(before["data"][key.data], data[key.data])
        if same and same_method(run, *study.method_of(key.method)) and ends_alike(run, study.max_minutes):
            runs[key] = run
    return runs


def same_data(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether two data sets are of one source, prepared alike into the same events of the same items.

    Sessions are not compared: a later version writes more of them down, such as their times.
    """
    same_files = all(before["sha256"][part] == now["sha256"][part] for part in ("events", "items"))
    return same_files and before["protocol"] == now["protocol"]


def ends_alike(run: Mapping[str, Any], max_minutes: float | None) -> bool:
    """Whether a finished run would have ended where it did under this time limit, too."""
    if run["max_minutes"] == max_minutes:
        return True
    by_itself = not run["stopped"].startswith("time limit")
    return by_itself and (max_minutes is None or run["train_seconds"] <= 60 * max_minutes)


def same_method(run: Mapping[str, Any], method: str, sections: Mapping[str, Any]) -> bool:
    """Whether a run trained this method with these settings, though an earlier version named them otherwise."""
    if run["method_name"] != method:
        return False
    try:
        return from_dict(method_named(method).sections, run["settings"], str(run["data"])) == sections
    except SeqwardError:  # a setting that is gone
        return False


def may_go_on(run: dict[str, Any], study: Study) -> bool:
    """Whether a time limit ended the run, and the study's is a longer one."""
    return is_limited(run) and (study.max_minutes is None or study.max_minutes > run["max_minutes"])


def carry_out(study: Study, keys: list[Key], folder: Path, jobs: int) -> Iterator[tuple[Key, dict[str, Any]]]:
    """Each run with its result, as they finish."""
    if jobs == 1:
        for key in keys:
            yield key, attempt(study, key, folder)
        return
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with ProcessPoolExecutor(jobs, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        running = {pool.submit(attempt, study, key, folder): key for key in keys}
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def attempt(study: Study, key: Key, folder: Path) -> dict[str, Any]:
    """The result of one run; a run that fails is a result, too, and does not stop the others."""
    place = folder / key.data / key.method / f"seed-{key.seed}"
    begin = time.monotonic()
    try:
        run = one_run(study, key, place, Dataset.load(folder / "data" / key.data))
    except Exception as error:  # whatever it is, it belongs to this run alone
        if not isinstance(error, SeqwardError):
            traceback.print_exc()
        run = {**key._asdict(), "state": "failed", "error": f"{type(error).__name__}: {error}", "commit": commit()}
    say(f"{key}: {run.get('error', run['state'])} ({time.monotonic() - begin:.0f} s)")
    return run


def one_run(study: Study, key: Key, place: Path, data: Dataset) -> dict[str, Any]:
    """Train, or go on training, then rank the test split; or read what an earlier call found by the same rules.

    Raises:
        SeqwardError: the folder holds a run with other settings, or one that trained longer than it may now.
    """
    method, sections = study.method_of(key.method)
    if (place / DONE).is_file():
        done = read(place / DONE)
        same = same_method(done, method, sections) and ends_alike(done, study.max_minutes)
        if same and done.get("evaluate") == dict(study.evaluate):
            Run(place).check_same(describe(method, to_dict(sections), key.seed, data), data, sections)
            return done
        if study.max_minutes is not None and done["train_seconds"] > 60 * study.max_minutes and not same:
            raise SeqwardError(f"{place} trained for longer than {study.max_minutes:g} minutes. Remove it.")
    say(f"{key}: training")
    recommender = Recommender.from_sections(method, sections, key.seed)

    def observe(record: dict[str, Any]) -> None:
        if record["kind"] != "step":
            said = record.get("text") or f"{sections['train'].metric}={record['value']}"
            say(f"{key}: step {record['step']}, {record['seconds']:.0f} s: {said}")

    recommender.fit(data, place, resume=True, max_minutes=study.max_minutes, observe=observe)
    begin = time.monotonic()
    evaluation = evaluate(recommender.scorer, data, "test", **study.evaluate)
    Run(place).record_evaluation("test")
    baselines = baselines_of(study, key.data, place.parents[2], data)
    metrics = {"split": "test", "model": evaluation.to_json(), "baselines": baselines}
    protocol = evaluation.protocol | {"method": method, "settings": recommender.settings, "model_seed": key.seed}
    write(place / "metrics.json", {"protocol": protocol, **metrics})
    rules = {name: value for name, value in evaluation.protocol.items() if name != "data"}
    result = {**key._asdict(), **of_training(Run(place)), "max_minutes": study.max_minutes}
    result |= {"evaluate_seconds": round(time.monotonic() - begin, 1), "commit": commit(), "machine": machine()}
    result |= {"evaluate": dict(study.evaluate), "evaluation": rules, "test": evaluation.to_json()}
    write(place / DONE, result)
    return result


def of_training(run: Run) -> dict[str, Any]:
    """How a finished training went."""
    description = run.description
    log = read_log(run.folder / "log.jsonl")
    validations = [
        {"step": r["step"], "seconds": r["seconds"], "value": r["value"]} for r in log if r["kind"] == "validation"
    ]
    last = log[-1] if log else {"seconds": 0.0, "step": 0, "events": 0}
    return {
        "method_name": description["method"],
        "settings": description["settings"],
        "state": "finished",
        "stopped": description["state"],
        "train_seconds": last["seconds"],
        "steps": last["step"],
        "events": last["events"],
        "best": description.get("best"),
        "validations": validations,
        "best_validations": mean_of_best([record for record in log if record["kind"] == "validation"]),
    }


def report(study: Study, data: dict[str, Any], runs: dict[Key, dict[str, Any]]) -> dict[str, Any]:
    """The content of the study's result."""
    ordered: Iterable[Key] = [key for key in study.runs() if key in runs]
    content = {
        "study": study.name,
        "evaluate": dict(study.evaluate),
        "data": data,
        "runs": [runs[key] for key in ordered],
    }
    content["summary"] = summary(content["runs"])
    if study.published:
        content["published"] = published_check(study.published, content["runs"])
    return content


def read(file: Path) -> Any:
    return json.loads(file.read_text())


def write(file: Path, content: Any) -> None:
    """Whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f"{file.name}.new")
    new.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    new.replace(file)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    typer.run(main)
