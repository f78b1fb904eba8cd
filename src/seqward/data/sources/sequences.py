"""Plain item sequences: one session a line, oldest item first, items separated by blanks."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from seqward.data.events import Columns
from seqward.data.prepare import PrepareSettings
from seqward.data.sources.source import Format, Raw, Source, reading, with_plain_ids


def read(path: Path, seed: int) -> Raw:
    """Sessions are numbered by their line, from 1; empty lines are passed over."""
    with reading(path):
        lines = path.read_text(encoding="utf-8").split("\n")
    sessions = pl.DataFrame({"session_id": range(1, len(lines) + 1), "item_id": [line.split() for line in lines]})
    events = sessions.filter(pl.col("item_id").list.len() > 0).explode("item_id")
    order = pl.int_range(pl.len()).over("session_id").alias("order")
    empty = sum(not line.split() for line in lines[:-1])
    return Raw(
        frame=with_plain_ids(events.with_columns(order)),
        columns=Columns(session_id="session_id", order="order"),
        warnings=[f"{empty} empty lines passed over."] if empty else [],
    )


SOURCE = Source(
    name="sequences",
    about="plain item sequences of your own: one session a line, items separated by blanks",
    formats=(Format(pattern="*.txt", read=read, verified=True),),
    defaults=PrepareSettings(),
    choices="a line is a session; every event is worth 1; no goal",
    home="your own file",
    terms="your own",
    obtain="a text file with one session a line",
)
