"""What `seqward recommend` reads and writes: histories from text, from a file, and sessions of a log in words."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from seqward.cli.output import check_new_file, write_whole
from seqward.data.columns import number_ids, parse_times
from seqward.data.dataset import OWNERS, TEST
from seqward.data.files import SEPARATORS, column_names, listed, read_columns
from seqward.errors import SeqwardError, did_you_mean

if TYPE_CHECKING:
    from seqward.data.dataset import Dataset
    from seqward.recommender import Recommender

TIMES = ("timestamp", "datetime")
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


def from_text(history: str, item_ids: NDArray[Any]) -> list[list[Any]]:
    """One history from item ids between commas; ids are integers where the catalogue's are."""
    return [
        _as_in_catalogue(
            pl.Series([i.strip() for i in history.split(",") if i.strip()], dtype=pl.String), item_ids
        ).to_list()
    ]


def from_file(path: Path, item_ids: NDArray[Any]) -> pl.DataFrame:
    """Histories of a file, in order of its time where it has one, else of its rows: session_id or user_id, item_id.

    Raises:
        SeqwardError: the file is not what its ending says, lacks a column, or an id or a time is missing.
    """
    names = column_names(path)
    owner = next((name for name in OWNERS if name in names), None)
    if owner is None or "item_id" not in names:
        missing = "item_id" if owner else "session_id or user_id"
        raise SeqwardError(
            f"{path.name} has no column {missing}; it has: {listed(names)}.{did_you_mean(missing.split()[0], names)}"
        )
    time = [name for name in TIMES if name in names][:1]
    table = read_columns(path, [owner, "item_id", *time], [owner, "item_id"])
    if table.is_empty():
        raise SeqwardError(f"{path.name} has a header and no rows. Expected one row an event.")
    for name in (owner, "item_id"):
        number_ids(table[name], name)  # refuses what is missing, with its row
    if time:
        table = table[np.argsort(parse_times(table[time[0]]).values, kind="stable")]
    return table.select(owner, _as_in_catalogue(table["item_id"], item_ids))


def _as_in_catalogue(ids: pl.Series, item_ids: NDArray[Any]) -> pl.Series:
    """Ids as the catalogue has them, integers or strings; what is no integer where they are is unknown: null."""
    if item_ids.dtype == object:
        return ids.cast(pl.String)
    numbers = ids.cast(pl.Int64, strict=False)
    return numbers.zip_with(numbers.cast(pl.String) == ids.cast(pl.String), numbers.clear(1))  # 007 is not 7


def check_output(path: Path, force: bool) -> None:
    """Refuse, before anything is computed, a file that cannot be or must not be written; make its folder."""
    if path.suffix not in (".csv", ".tsv", ".parquet"):
        raise SeqwardError(f"--output {path}: expected a name that ends in .csv, .tsv or .parquet.")
    path.parent.mkdir(parents=True, exist_ok=True)
    check_new_file(path, "--output", force)


def write(frame: pl.DataFrame, path: Path) -> None:
    """Write what is recommended in the format of the file's ending."""
    if path.suffix == ".parquet":
        write_whole(path, frame.write_parquet)
    else:
        write_whole(path, lambda file: frame.write_csv(file, separator=SEPARATORS[path.suffix]))


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
    return "had" if event_type == "event" else PAST_TENSE.get(event_type, event_type)
