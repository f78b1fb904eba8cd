"""A study that was changed since it was begun: what differs, whether it may go on, and what is put aside if it does."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from seqward.bench.results import read, say, write
from seqward.bench.study import Study
from seqward.errors import SeqwardError

BEGUN = "study.json"
LIMIT = "max_minutes"


def check_changes(study: Study, folder: Path, force: bool) -> list[str]:
    """What is new in a study that was begun in this folder, in words; nothing is written.

    New data sets, methods, seeds and settings that had not been named leave what is finished as it is, and a longer
    time limit has runs go on that the shorter one ended.

    Raises:
        SeqwardError: entries that finished runs depend on have changed, and ``force`` is not given.
    """
    file, now = folder / BEGUN, study.definition()
    before = read(file) if file.is_file() else now
    added, altered = differences(before, now)
    if altered and not force:
        lines = "\n".join(f"  {line}" for line in altered)
        raise SeqwardError(
            f"{study.name} has changed since it was begun in {folder}:\n{lines}\n"
            "Undo that, give another --out, or --force to go on: runs that the change touches are done again."
        )
    return [*added, *altered]


def note(study: Study, folder: Path, data: Collection[str]) -> None:
    """Write down what the study is, for ``check_changes`` of a later call; of its data those that a run has needed."""
    unused = {f"data.{name}" for name in study.data if name not in data}
    write(folder / BEGUN, {entry: said for entry, said in study.definition().items() if entry not in unused})


def put_aside(place: Path, why: str) -> None:
    """Rename a folder to NAME.before, or NAME.before-2 and so on, and say so."""
    names = (f"{place.name}.before{'' if n == 1 else f'-{n}'}" for n in range(1, 10_000))
    aside = next(path for path in map(place.with_name, names) if not path.exists())
    place.rename(aside)
    say(f"{why} What was there is kept as {aside}.")


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """What was added only, and what was changed or removed; a line an entry."""
    added, altered = [], []
    for entry in [*before, *(entry for entry in now if entry not in before)]:
        then, here = before.get(entry), now.get(entry)
        if then == here and (entry in before) == (entry in now):
            continue
        if entry not in before and entry.startswith((LIMIT, "data.")):  # not noted by an earlier version, or not used
            continue
        if entry in before and entry in now and _extended(entry, before, now):
            added.append(f"{entry}: {json.dumps(then)} before, {json.dumps(here)} now")
        elif entry not in before and not entry.startswith(("settings.", "evaluate.")):
            added.append(f"{entry} is new")
        elif entry not in before:
            altered.append(f"{entry}={json.dumps(here)} is new, and changes what is there")
        elif entry not in now:
            altered.append(f"{entry} is gone; it was {json.dumps(then)}")
        else:
            altered.append(f"{entry} was {json.dumps(then)} and is {json.dumps(here)}")
    return added, altered


def _extended(entry: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether an entry only asks for more seeds, or for longer runs."""
    then, here = before[entry], now[entry]
    if entry == LIMIT:
        return here is None or (then is not None and here > then)
    if entry == "seeds":
        return set(then) <= set(here)
    if not entry.startswith("methods."):
        return False
    seeds = set(then.get("seeds", before["seeds"])), set(here.get("seeds", now["seeds"]))
    return {**then, "seeds": None} == {**here, "seeds": None} and seeds[0] <= seeds[1]
