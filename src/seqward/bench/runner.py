"""Carries out a study: one folder a run, side by side, each in a process of its own.

Finished runs are skipped, interrupted ones go on where they stopped, failed ones are tried again. The test split is
ranked once a run, by the weights that validation chose. The result holds every run with what is needed to repeat it,
and a finished run that stands there is not repeated on another machine either: so several sessions fill one table. To
run one anew, remove it from there, and its folder.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from seqward.bench.changed import check_changes, note
from seqward.bench.events import FILE
from seqward.bench.kept import DONE, finished_in, kept_result, place_of, put_runs_aside, reuse_runs, why_anew
from seqward.bench.machine import commit, machine
from seqward.bench.prepared import all_prepared, baselines_of, data_place, keep_events, put_data_aside
from seqward.bench.processes import alone, side_by_side
from seqward.bench.results import finished_before, others_before, read, report, say, write
from seqward.bench.study import Key, Study
from seqward.bench.summary import mean_of_best
from seqward.data.dataset import Dataset
from seqward.errors import SeqwardError
from seqward.evaluate import evaluate
from seqward.recommender import Recommender
from seqward.run import Run
from seqward.runlog import read_log

FAILED = ".failed.json"
"""What a run that failed leaves beside its folder, which may be none yet."""

Jobs = int | Literal["auto"] | None


def run_study(
    study: Study,
    file: Path,
    folder: Path,
    *,
    only: Sequence[str] = (),
    jobs: Jobs = None,
    force: bool = False,
    reuse: Sequence[Path] = (),
    train: bool = True,
) -> dict[str, Any]:
    """Carry out what is missing of a study; its result, which stands in ``file``, too.

    Args:
        folder: of the runs.
        only: as in ``Study.runs``; other runs are left alone.
        jobs: runs at the same time, each in a process of its own; "auto" as many as there are cores. None: one after
            another in this process.
        force: go on although the study was changed since it was begun: what it touches is put aside and done again.
        reuse: folders of other studies, whose finished runs are copied where they are runs of this one, too.
        train: whether what is missing is carried out; if not, the result is of what there is.

    Raises:
        SeqwardError: its data cannot be had, or lack what a method learns from; or the study was changed, or what it
            stands on; or a folder to reuse is none of a study.
    """
    keys = study.runs(only)
    if not keys:
        raise SeqwardError(
            f"no run of {study.name} is called {' or '.join(only)}. They are DATA/METHOD/SEED, such as "
            f"'*/{next(iter(study.methods))}/*'. DATA is {' or '.join(study.data)}."
        )
    elsewhere = finished_in(reuse)
    for line in check_changes(study, folder, force):
        say(f"the study has changed: {line}")
    if force:
        put_data_aside(study, keys, folder)
    data = all_prepared(study, keys, folder)
    told = {**_told_before(file, study), **data}
    if (others := others_before(file, study, data)) and not force:
        raise SeqwardError(
            f"{file} holds {len(others)} finished runs of other data or settings than {study.name} gives them now, "
            f"{others[0]} first: a data set was prepared anew, or a default has changed.\nGive another --out, or "
            "--force to do them again."
        )
    if train:
        note(study, folder, told)
    runs = finished_before(file, study, data)
    if file.is_file() and (dropped := sum(run["state"] == "finished" for run in read(file)["runs"]) - len(runs)):
        say(f"{dropped} finished runs of {file} are of other data, settings or rules; they are not kept")
    runs |= _failed_before(file, study, keys if train else [])
    left = [key for key in keys if key not in runs]
    if force:
        put_runs_aside(study, left, folder)
    if elsewhere and (taken := reuse_runs(study, left, folder, elsewhere)):
        runs |= taken
        left = [key for key in left if key not in taken]
        write(file, report(study, told, runs))
    for key, run in carry_out(study, left if train else [], folder, jobs):
        runs[key] = run
        write(file, report(study, told, runs))
    return report(study, told, runs)


def _failed_before(file: Path, study: Study, tried: Sequence[Key]) -> dict[Key, dict[str, Any]]:
    """Runs that failed and are not tried now: they stay marked."""
    before = read(file)["runs"] if file.is_file() else []
    failed = {Key(run["data"], run["method"], run["seed"]): run for run in before if run["state"] == "failed"}
    return {key: run for key, run in failed.items() if key in study.runs() and key not in tried}


def _told_before(file: Path, study: Study) -> dict[str, Any]:
    """What an earlier result says of data sets that are not asked for now."""
    before = read(file)["data"] if file.is_file() else {}
    return {name: before[name] for name in study.data if name in before}


# Runs ----------------------------------------------------------------------------------------------------------------


def carry_out(study: Study, keys: list[Key], folder: Path, jobs: Jobs) -> Iterator[tuple[Key, dict[str, Any]]]:
    """Each run with its result, as they finish."""
    if jobs is None:
        for key in keys:
            yield key, attempt(study, key, folder)
        return
    for (_, key, _), code in side_by_side(attempt, [(study, key, folder) for key in keys], jobs):
        place = place_of(key, folder)
        files = [file for file in (place.with_name(place.name + FAILED), place / DONE) if file.is_file()]
        if code != 0 or not files:
            died = f"its process died twice (exit status {code}); the system may have had no memory left"
            run = failure(key, died if code else "its result could not be written; is the disk full?")
            say(f"{key}: {run['error']}")
        else:
            run = read(files[0])
        yield key, run


def attempt(study: Study, key: Key, folder: Path) -> dict[str, Any]:
    """The result of one run; a run that fails is a result, too, and does not stop the others.

    What the program itself says is said again by a second try, and so are a divergence and what the system says of a
    file; anything else is tried twice.
    """
    place, begun = place_of(key, folder), time.monotonic()
    note = place.with_name(place.name + FAILED)
    note.unlink(missing_ok=True)
    run: dict[str, Any] = {}
    for left in (1, 0):
        try:
            with alone(place.with_name(f"{place.name}.lock")):
                run = one_run(study, key, place, folder)
            break
        except Exception as error:  # whatever it is, it belongs to this run alone
            run = failure(key, f"{type(error).__name__}: {error}")
            if isinstance(error, SeqwardError | OSError) or not left:
                break
            traceback.print_exc()
            say(f"{key}: {run['error']}; it is tried once more")
    if run["state"] == "failed":
        with suppress(OSError):  # of a full disk; the reason is said below
            write(note, run)
    say(f"{key}: {run.get('error', run['state'])} ({time.monotonic() - begun:.0f} s)")
    return run


def failure(key: Key, error: str) -> dict[str, Any]:
    """The result of a run that has none."""
    return {**key._asdict(), "state": "failed", "error": error, "commit": commit()}


def in_words(record: Mapping[str, Any], metric: str) -> str:
    """A record of a run's log in words, without what to do: a study goes on by the same command."""
    if "text" in record:
        return record["text"].removesuffix(": resume with --resume")
    return f"{metric} {'has no value' if record['value'] is None else format(record['value'], '.4f')}"


def one_run(study: Study, key: Key, place: Path, folder: Path) -> dict[str, Any]:
    """Train, or go on training, then rank the test split; or read what an earlier call found by the same rules.

    Raises:
        SeqwardError: the folder holds a run with other settings, or one that trained longer than it may now.
    """
    data = Dataset.load(data_place(study, key.data, folder))
    method, sections = study.method_of(key.method)
    if why := why_anew(study, key, place, data):
        raise SeqwardError(f"{why}. Undo the change, or give --force to put it aside and do it again.")
    if done := kept_result(study, key, place):
        return done
    say(f"{key}: training")
    recommender = Recommender.from_sections(method, sections, key.seed, study.device)

    def observe(record: dict[str, Any]) -> None:
        if record["kind"] == "validation" or "text" in record:
            said = in_words(record, sections["train"].metric)
            say(f"{key}: step {record['step']}, {record['seconds']:.0f} s: {said}")

    recommender.fit(data, place, resume=True, max_minutes=study.max_minutes, observe=observe)
    begun = time.monotonic()
    evaluation = evaluate(recommender.scorer, data, "test", **study.evaluate)
    Run(place).record_evaluation("test")
    keep_events(place / FILE, evaluation, data)
    metrics = {"split": "test", "model": evaluation.figures, "baselines": baselines_of(study, key.data, folder, data)}
    write(place / "metrics.json", {"protocol": evaluation.protocol | recommender.in_protocol(), **metrics})
    rules = {name: value for name, value in evaluation.protocol.items() if name != "data"}
    result = {**key._asdict(), **of_training(Run(place)), "max_minutes": study.max_minutes}
    result |= {"evaluate_seconds": round(time.monotonic() - begun, 1), "commit": commit(), "machine": machine()}
    result |= {"evaluate": dict(study.evaluate), "evaluation": rules, "test": evaluation.figures}
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
        "stability": description.get("stability"),
        "validations": validations,
        "best_validations": mean_of_best([record for record in log if record["kind"] == "validation"]),
    }
