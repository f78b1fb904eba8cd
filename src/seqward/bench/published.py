"""What runs are held against: figures that a study names, and rows of a table of published ones."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from seqward.bench.shapes import PUBLISHED, PUBLISHED_TABLE, hint, sound
from seqward.errors import SeqwardError, did_you_mean
from seqward.metrics import METRICS

COLUMNS = ("source", "system", "data", "method")


def published_entries(
    said: Any, file: Path, labels: Collection[str], ks: Sequence[int], wrong: list[str]
) -> list[Mapping[str, Any]]:
    """One system an entry; the rows of a table become entries. What is wrong with them goes to ``wrong``.

    Args:
        file: the study, beside which tables lie.
        labels: of the study's methods, one of which an entry names; a table may have rows of others.
        ks: the cut-offs of the study, so that every figure has one of ours to be held against.
    """
    entries: list[Mapping[str, Any]] = []
    for entry in [said] if isinstance(said, dict) else said:
        if "table" not in entry:
            entries.append(sound(entry, PUBLISHED, "published: ", wrong, ("method", "figures")))
            if (label := entries[-1].get("method")) is not None and label not in labels:
                wrong.append(f"published: {label} is none of the methods.{did_you_mean(label, labels)}")
            continue
        table = sound(entry, PUBLISHED_TABLE, "published: ", wrong, ("table", "group", "within"))
        if len(table) == len(PUBLISHED_TABLE):
            try:
                entries += _rows_of(table, file.parent)
            except SeqwardError as error:
                wrong.append(str(error))
    known = [f"{metric}@{k}" for metric in METRICS for k in ks]
    names = dict.fromkeys(name for entry in entries for name in entry.get("figures", ()))
    wrong += [f"published: {name} is not measured.{hint(name, known)}" for name in names if name not in known]
    return entries


def _rows_of(table: Mapping[str, Any], beside: Path) -> Iterator[Mapping[str, Any]]:
    for row in published_table(beside / table["table"]):
        figures = {name.lower(): float(value) for name, value in row.items() if value and name and "@" in name}
        tolerances = {name: [value, table["within"] * value] for name, value in figures.items()}
        yield {**{name: row[name] for name in COLUMNS}, "group": table["group"], "figures": tolerances}


def published_table(file: Path) -> list[dict[str, str]]:
    """The rows of a table of published figures that belong to a method of ours.

    Raises:
        SeqwardError: there is no such table, or it lacks a column, or a figure is no share.
    """
    if not file.is_file():
        there = [known.name for known in file.parent.glob("*.csv")]
        raise SeqwardError(f"published: no table {file}.{did_you_mean(file.name, there)}")
    with file.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    for number, row in enumerate(rows, 1):
        if missing := [name for name in COLUMNS if row.get(name) is None]:
            raise SeqwardError(f"published: {file}, row {number}: {', '.join(missing)} is missing.")
        for name, value in row.items():
            if name is not None and "@" in name and value and not _is_share(value):
                raise SeqwardError(
                    f"published: {file}, row {number}: {name} is {value!r}, which is no number from 0 to 1."
                )
    return [row for row in rows if row["method"]]


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False
