"""The result of a study as one JSON file, and which runs in it are finished as they would be now."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from seqward.atomic import write_text
from seqward.bench.study import Key, Study
from seqward.bench.summary import published_check, summary
from seqward.config import from_dict
from seqward.errors import SeqwardError
from seqward.methods import method_named

Runs = dict[Key, dict[str, Any]]


def finished_before(file: Path, study: Study, data: Mapping[str, Any]) -> Runs:
    """The finished runs of an earlier result: same data, same settings, same rules, and ended as they would now."""
    same, _ = _finished_before(file, study, data)
    return {key: run for key, run in same.items() if ends_alike(run, study.max_minutes)}


def others_before(file: Path, study: Study, data: Mapping[str, Any]) -> list[Key]:
    """The finished runs of an earlier result that are of other data or settings than the study would give them now."""
    return list(_finished_before(file, study, data)[1])


def _finished_before(file: Path, study: Study, data: Mapping[str, Any]) -> tuple[Runs, Runs]:
    """Those of the study as it is now, and those of other data or settings; what it no longer asks for is neither."""
    same, others, planned = {}, {}, study.runs()
    before: dict[str, Any] = read(file) if file.is_file() else {"runs": []}
    for run in before["runs"]:
        key = Key(run["data"], run["method"], run["seed"])
        if run["state"] == "finished" and key in planned and before["evaluate"] == dict(study.evaluate):
            its_data = key.data not in data or same_data(before["data"][key.data], data[key.data])
            its_own = its_data and same_method(run, *study.method_of(key.method))
            (same if its_own else others)[key] = run
    return same, others


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
    """Whether a run trained this method with these settings, though an earlier version named them otherwise.

    How a guard watches that does no more makes no other run.
    """
    if run["method_name"] != method:
        return False
    try:
        before = from_dict(method_named(method).all_sections, run["settings"], str(run["data"]))
    except SeqwardError:  # a setting that is gone
        return False
    return _that_act(before) == _that_act(sections)


def _that_act(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Without a guard that only observes."""
    guard = sections.get("guard")
    return {**sections, "guard": None if guard is None or guard.actions == "observe" else guard}


def report(study: Study, data: Mapping[str, Any], runs: Mapping[Key, dict[str, Any]]) -> dict[str, Any]:
    """The content of the study's result."""
    ordered: Iterable[Key] = [key for key in study.runs() if key in runs]
    content: dict[str, Any] = {
        "study": study.name,
        "evaluate": dict(study.evaluate),
        "data": dict(data),
        "runs": [runs[key] for key in ordered],
    }
    content["summary"] = summary(content["runs"])
    if study.published:
        content["published"] = published_check(study.published, content["runs"])
    return content


def left_out(runs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Runs that no figure is of, each with the reason, to be said wherever figures are shown."""
    failed = [run for run in runs if run["state"] == "failed"]
    return [f"{Key(run['data'], run['method'], run['seed'])}: {run['error']}" for run in failed]


def deciding(names: Iterable[Collection[str]]) -> tuple[str, int]:
    """The group whose figures decide, and at which cut-off.

    Args:
        names: of the figures that each method has, such as ``goal.ndcg@20``.

    Returns:
        ``goal``, or ``all`` where a method has no figure of goals, and the largest k.
    """
    found = list(names)
    k = max(int(name.partition("@")[2]) for of in found for name in of)
    return "goal" if all(f"goal.ndcg@{k}" in of for of in found) else "all", k


def read(file: Path) -> Any:
    """Raises SeqwardError where the file is broken."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        raise SeqwardError(f"{file} cannot be read: it was cut off or edited. Remove it to begin anew.") from None


def write(file: Path, content: Any, indent: int | None = 1) -> None:
    """Whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(content, indent=indent, ensure_ascii=False) + "\n")


def say(text: str) -> None:
    """On standard error, at once."""
    print(text, file=sys.stderr, flush=True)
