"""A study that was changed since it was begun: what differs, and whether its runs may go on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seqward.bench.study import Study
from seqward.errors import SeqwardError

BEGUN = "study.json"


def begin(study: Study, folder: Path, force: bool) -> list[str]:
    """Note what the study is, or what it has become; what is new in it, in words.

    New data sets, methods, seeds and settings that had not been named leave what is finished as it is.

    Raises:
        SeqwardError: entries that finished runs depend on have changed, and ``force`` is not given.
    """
    file, now = folder / BEGUN, study.definition()
    before = json.loads(file.read_text()) if file.is_file() else now
    added, altered = differences(before, now)
    if altered and not force:
        lines = "\n".join(f"  {line}" for line in altered)
        raise SeqwardError(
            f"{study.name} has changed since it was begun in {folder}:\n{lines}\n"
            "Undo that, give another --out, or --force to go on: runs that the change touches are done again."
        )
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(now, indent=1) + "\n")
    return [*added, *altered]


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """What was added only, and what was changed or removed; a line an entry."""
    added, altered = [], []
    for entry in [*before, *(entry for entry in now if entry not in before)]:
        then, here = before.get(entry), now.get(entry)
        if then == here and (entry in before) == (entry in now):
            continue
        if entry == "seeds" and then and here and set(then) < set(here):
            added.append(f"seeds: {then} are {here} now")
        elif entry not in before and not entry.startswith(("settings.", "evaluate.")):
            added.append(f"{entry} is new")
        elif entry not in before:
            altered.append(f"{entry}={json.dumps(here)} is new, and changes what is there")
        elif entry not in now:
            altered.append(f"{entry} is gone; it was {json.dumps(then)}")
        else:
            altered.append(f"{entry} was {json.dumps(then)} and is {json.dumps(here)}")
    return added, altered
