"""Readers of public data sets, one a file: a raw file as its authors ship it becomes an ``EventLog``.

log, defaults = read_source("retailrocket", "downloads/retailrocket")
data = prepare(log, defaults, out="data/retailrocket")
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from seqward.data.events import EventLog
from seqward.data.files import sha256_of
from seqward.data.prepare import PrepareSettings
from seqward.data.sources import amazon, foodcom, movielens, rc15, recbole, retailrocket, sequences, trivago, yelp
from seqward.data.sources.source import Archive, Format, Published, Source, locate
from seqward.errors import SeqwardError, did_you_mean

__all__ = ["SOURCES", "Archive", "Format", "Published", "Source", "find_source", "read_source"]

SOURCES = {
    source.name: source
    for source in (
        retailrocket.SOURCE,
        rc15.SOURCE,
        yelp.SOURCE,
        movielens.ML_1M,
        movielens.ML_100K,
        foodcom.SOURCE,
        amazon.SOURCE,
        trivago.SOURCE,
        recbole.SOURCE,
        sequences.SOURCE,
    )
}


def find_source(name: str) -> Source:
    """The source of that name.

    Raises:
        SeqwardError: there is none; says what there is.
    """
    if name not in SOURCES:
        raise SeqwardError(f"No source {name!r}. There is: {', '.join(SOURCES)}.{did_you_mean(name, SOURCES)}")
    return SOURCES[name]


def read_source(
    name: str,
    path: Path | str,
    *,
    seed: int = 0,
    rewards: Mapping[str, float] | None = None,
    goal: str | None = None,
) -> tuple[EventLog, PrepareSettings]:
    """Read a public data set in its own format, and how it is prepared by default.

    Args:
        name: a name of ``SOURCES``.
        path: the raw file, or the folder that holds it.
        seed: draws the sample of the sources that have one (rc15).
        rewards: event type -> value, instead of the source's rewards.
        goal: event type or condition, instead of the source's goal.

    Raises:
        SeqwardError: unknown name, no such file, or a file that is not in the source's format.
    """
    source = find_source(name)
    file, form = locate(source, Path(path))
    raw = form.read(file, seed)
    doubt = (
        f"The format of {file.name} was built from its description and never tried on the real file: check the counts."
    )
    log = EventLog.from_frame(
        raw.frame,
        raw.columns if rewards is None else replace(raw.columns, reward=None),
        rewards=raw.rewards if rewards is None else rewards,
        goal=goal or raw.goal,
        source=_facts(source, form, [file, *raw.more_files]) | dict(raw.facts),
        filters=raw.filters,
        warnings=[*raw.warnings, *([] if form.verified else [doubt])],
    )
    return log, source.defaults


def _facts(source: Source, form: Format, files: list[Path]) -> dict[str, Any]:
    """For the protocol. ``prepare`` holds ``published`` against the counts of what it made."""
    return {
        "name": source.name,
        "files": [{"file": file.name, "sha256": sha256_of(file), "bytes": file.stat().st_size} for file in files],
        "format": form.pattern,
        "verified": form.verified,
        "choices": source.choices,
        "published": [asdict(known) for known in form.published],
    }
