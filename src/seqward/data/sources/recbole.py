"""RecBole's atomic ``.inter`` files: tab-separated, with a header of ``name:type`` fields."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from seqward.data.events import Columns
from seqward.data.prepare import PrepareSettings
from seqward.data.sources.source import Format, Raw, Source, check_columns, reading, with_plain_ids

PARTS = {
    "session_id": "session_id",
    "user_id": "user_id",
    "item_id": "item_id",
    "timestamp": "timestamp",
    "rating": "reward",
}
"""Field of the file -> field of ``Columns``. A file has a session or a user; a session goes first."""


def read(path: Path, seed: int) -> Raw:
    """Interactions, with the rating as reward where there is one; no goal."""
    with reading(path):
        table = pl.read_csv(path, separator="\t", infer_schema=False, quote_char=None)
    fields = {name: name.partition(":")[0] for name in table.columns}
    owner = "session_id" if "session_id" in fields.values() else "user_id"
    check_columns(path, [owner, "item_id", "timestamp"], list(fields.values()))
    table = table.rename(fields).select(name for name in PARTS if name in fields.values())
    used = {part: name for name, part in PARTS.items() if name in table.columns}
    return Raw(frame=with_plain_ids(table), columns=Columns(**used))


SOURCE = Source(
    name="recbole",
    about="any data set in RecBole's atomic format",
    formats=(Format(pattern="*.inter", read=read, verified=True),),
    defaults=PrepareSettings(split="leave-one-out"),
    choices="a user is a session unless there is session_id; a rating is the reward; name a goal yourself",
    home="https://recbole.io/dataset_list.html",
    terms="those of each data set",
    obtain="the .inter file of the data set",
)
