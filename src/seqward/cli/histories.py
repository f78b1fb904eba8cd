"""What `seqward recommend` reads and writes: histories from text, from a file, and sessions of a log in words."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from seqward.atomic import write_whole
from seqward.cli.output import check_new_file
from seqward.data.columns import Columns
from seqward.data.dataset import OWNERS, TEST
from seqward.data.files import SEPARATORS, column_names, read_columns
from seqward.data.rewards import NO_TYPE
from seqward.errors import SeqwardError
from seqward.histories import parts_of_histories

if TYPE_CHECKING:
    from seqward.data.dataset import Dataset
    from seqward.recommender import Recommender

PAST_TENSE = {
    "view": "viewed",
    "click": "clicked",
    "cart": "carted",
    "addtocart": "carted",
    "purchase": "bought",
    "buy": "bought",
    "transaction": "bought",
}
RECENT = 8
"""Events of a history that are told; earlier ones are counted."""


def from_text(history: str) -> list[str]:
    """Item ids between commas; one that holds a comma stands in double quotes, as in a line of CSV.

    Raises:
        SeqwardError: quotes that do not fit.
    """
    try:
        (items,) = csv.reader([history], skipinitialspace=True, strict=True) if history.strip() else ([],)
    except (csv.Error, ValueError):
        raise SeqwardError(
            f"--history {history}: expected item ids between commas, those with a comma in double quotes, such as "
            """--history 'a,"b, large",c'."""
        ) from None
    return [item.strip() for item in items if item.strip()]


def from_file(path: Path, columns: Columns, separator: str | None = None) -> pl.DataFrame:
    """The columns of a file of histories that ``Recommender.recommend(histories=..., columns=...)`` reads.

    Raises:
        SeqwardError: the file is not what its ending says, or lacks a column.
    """
    parts = parts_of_histories(columns, column_names(path, separator))
    ids = [name for part, name in parts.items() if part in (*OWNERS, "item_id")]
    table = read_columns(path, list(parts.values()), ids, separator=separator)
    if table.is_empty():
        raise SeqwardError(f"{path.name} has a header and no rows. Expected one row an event.")
    return table


def check_output(path: Path, force: bool) -> None:
    """Refuse, before anything is computed, a file that cannot be or must not be written; make its folder."""
    if path.suffix.lower() not in (".csv", ".tsv", ".parquet"):
        raise SeqwardError(f"--output {path}: expected a name that ends in .csv, .tsv or .parquet.")
    path.parent.mkdir(parents=True, exist_ok=True)
    check_new_file(path, "--output", force)


def write(frame: pl.DataFrame, path: Path) -> None:
    """Write what is recommended in the format of the file's ending."""
    ending = path.suffix.lower()
    if ending == ".parquet":
        write_whole(path, frame.write_parquet)
    else:
        write_whole(path, lambda file: frame.write_csv(file, separator=SEPARATORS[ending]))


def examples_in_words(recommender: Recommender, data: Dataset, n: int, how: dict[str, Any]) -> Iterator[str]:
    """For n test sessions drawn by the recommender's seed: what happened, what is recommended, what came next."""
    sessions = np.unique(data.session_of_event()[data.split == TEST])
    sessions = sessions[np.diff(data.offsets)[sessions] > 1]
    if not len(sessions):
        raise SeqwardError("The data set has no test session of two events or more to give an example of.")
    drawn = np.sort(np.random.default_rng(recommender.seed).choice(sessions, min(n, len(sessions)), replace=False))
    last = data.offsets[drawn + 1] - 1
    past = {data.session_ids[s]: slice(data.offsets[s], end) for s, end in zip(drawn, last, strict=True)}
    frame = recommender.recommend(
        histories={s: data.item_ids[data.item[events]].tolist() for s, events in past.items()}, **how
    )
    best = {owner: rows for (owner,), rows in frame.group_by("session_id")}
    for (session, events), end in zip(past.items(), last, strict=True):
        listing = ", ".join(
            f"{rank}. item {item}" for item, rank in best[session].sort("rank").select("item_id", "rank").rows()
        )
        yield f"session {session} {_told(data, events)} -> {listing} (then it {_told(data, slice(end, end + 1))})"


def _told(data: Dataset, events: slice) -> str:
    """``viewed 17, 4, carted 4``; of a long history the end."""
    hidden = max(0, events.stop - events.start - RECENT)
    shown = slice(events.start + hidden, events.stop)
    pairs = zip(data.event_type[shown], data.item_ids[data.item[shown]], strict=True)
    parts = [
        f"{_verb(data.event_types[kind])} {', '.join(str(item) for _, item in group)}"
        for kind, group in groupby(pairs, key=lambda pair: pair[0])
    ]
    return (f"[{hidden} earlier] " if hidden else "") + ", ".join(parts)


def _verb(event_type: str) -> str:
    return "had" if event_type == NO_TYPE else PAST_TENSE.get(event_type, event_type)
