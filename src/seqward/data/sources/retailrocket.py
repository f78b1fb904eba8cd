"""RetailRocket, as prepared by Xin et al. 2020 (SIGIR; their released preprocessing of the Kaggle file).

Rows with a transaction id are dropped, so views and carts are left; a visitor's whole history is one session; sessions
of fewer than three events go first, then items of fewer than three events, each counted once.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from seqward.data.events import Columns
from seqward.data.prepare import PrepareSettings
from seqward.data.published import Published
from seqward.data.sources.source import Format, Raw, Source, read_named


def read(path: Path, seed: int) -> Raw:
    """``events.csv``: timestamp (ms), visitorid, event, itemid, transactionid."""
    names = ["timestamp", "visitorid", "event", "itemid", "transactionid"]
    table = read_named(path, names, ids=["visitorid", "itemid"], types=["event"])
    kept = table.filter(pl.col("transactionid").is_null())
    return Raw(
        frame=kept,
        columns=Columns(session_id="visitorid", item_id="itemid", event_type="event"),
        rewards={"view": 0.2, "addtocart": 1.0},
        goal="addtocart",
        filters=[{"filter": "rows with a transaction id dropped", "events": len(table) - len(kept)}],
    )


SOURCE = Source(
    name="retailrocket",
    about="e-commerce visitors: views and carts of 4.5 months",
    formats=(
        Format(
            pattern="*events.csv",
            read=read,
            verified=True,
            published=(
                Published(
                    of="Xin et al. 2020 and the SASRec-CCQL paper",
                    counts={"sessions": 195_523, "items": 70_852, "clicks": 1_176_680, "goals": 57_269},
                ),
            ),
        ),
    ),
    defaults=PrepareSettings(min_session_length=3, min_item_count=3, vocabulary="log"),
    choices="a visitor is a session; transactions dropped; view .2, addtocart 1 and the goal, as in the papers",
    home="https://www.kaggle.com/datasets/retailrocket/ecommerce-dataset",
    terms="CC BY-NC-SA 4.0; download needs a Kaggle login",
    obtain="events.csv",
)
