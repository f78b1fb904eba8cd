"""trivago, RecSys Challenge 2019: sessions of hotel searches; the click-out to a booking site is the goal."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from seqward.data.events import Columns
from seqward.data.prepare import PrepareSettings
from seqward.data.sources.source import Format, Raw, Source, read_named

GOAL = "clickout item"
REWARDS = {
    GOAL: 1.0,
    "interaction item image": 0.2,
    "interaction item info": 0.2,
    "interaction item rating": 0.2,
    "interaction item deals": 0.2,
    "search for item": 0.2,
}
"""The actions whose reference is an item."""
NUMBER = r"^(0|[1-9]\d{0,17})$"
"""An item's reference."""
COLUMNS = Columns(
    session_id="session_id", item_id="reference", timestamp="timestamp", order="step", event_type="action_type"
)


def read(path: Path, seed: int) -> Raw:
    """Item actions by ``step`` (most share a second with another); references that are no number are no items."""
    names = ["session_id", "timestamp", "step", "action_type", "reference"]
    table = read_named(path, names, ids=["session_id", "reference"], types=["action_type"])
    actions = table.filter(pl.col("action_type").is_in(list(REWARDS)))
    reference = pl.col("reference").cast(pl.String)
    events = actions.filter(reference.str.contains(NUMBER)).with_columns(reference=reference.cast(pl.Int64))
    strange = len(actions) - len(events)
    return Raw(
        frame=events,
        columns=COLUMNS,
        rewards=REWARDS,
        goal=GOAL,
        filters=[
            {"filter": "actions on no item dropped", "events": len(table) - len(actions)},
            {"filter": "references that are no number dropped", "events": strange},
        ],
        warnings=[f"{strange} references of item actions are no item number: dropped."] if strange else [],
    )


SOURCE = Source(
    name="trivago",
    about="hotel search sessions: item interactions and click-outs",
    formats=(
        Format(pattern="train.csv", read=read, verified=False),
        Format(pattern="*.parquet", read=read, verified=True),
    ),
    defaults=PrepareSettings(),
    choices="click-out 1 and the goal, other item actions .2; ordered by step; all of it our choice",
    home="https://recsys.trivago.cloud/challenge/dataset/",
    terms="see its page; download needs a registration",
    obtain="train.csv",
)
