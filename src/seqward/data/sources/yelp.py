"""Yelp reviews. The SASRec-CCQL paper gives no preprocessing: what counts as a purchase is our choice, stated below."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from seqward.data.events import Columns
from seqward.data.prepare import PrepareSettings
from seqward.data.published import Published
from seqward.data.sources.source import Format, Raw, Source, read_json_lines, read_named

PURCHASE_STARS = 4


def read_reviews(path: Path, seed: int) -> Raw:
    """``yelp_academic_dataset_review.json``: a JSON object a line with user_id, business_id, stars, date."""
    types = {"user_id": pl.String, "business_id": pl.String, "stars": pl.Float64, "date": pl.String}
    table = read_json_lines(path, types)
    is_purchase = pl.col("stars") >= PURCHASE_STARS
    event = pl.when(is_purchase).then(pl.lit("purchase")).otherwise(pl.lit("click"))
    return Raw(
        frame=table.with_columns(event_type=pl.when(pl.col("stars").is_not_null()).then(event)),
        columns=Columns(user_id="user_id", item_id="business_id", timestamp="date"),
        rewards={"click": 0.2, "purchase": 1.0},
        goal="purchase",
    )


def read_sequences(path: Path, seed: int) -> Raw:
    """A table of user, item, pos (order within the user), without rewards."""
    return Raw(frame=read_named(path, ["user", "item", "pos"]), columns=SEQUENCE_COLUMNS)


SEQUENCE_COLUMNS = Columns(user_id="user", item_id="item", order="pos")
SOURCE = Source(
    name="yelp",
    about="reviews of businesses",
    formats=(
        Format(pattern="*review*.json", read=read_reviews, verified=False),
        Format(
            pattern="*.parquet",
            read=read_sequences,
            verified=True,
            published=(
                Published(of="Yelp of S3-Rec", counts={"events": 316_354, "sessions": 30_431, "items": 20_033}),
            ),
        ),
    ),
    defaults=PrepareSettings(),
    choices="a user is a session; 4 stars and more are a purchase (1, the goal), fewer a click (.2): our choice",
    home="https://business.yelp.com/data/resources/open-dataset/",
    terms="Yelp's own agreement, to be accepted before download; academic use",
    obtain="yelp_academic_dataset_review.json",
)
