"""Amazon reviews of one category: the ratings file, the reviews file, or the sequences that papers pass around."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from seqward.data.events import Columns
from seqward.data.files import column_names
from seqward.data.prepare import PrepareSettings
from seqward.data.published import Published
from seqward.data.sources.source import Format, Raw, Source, read_bare, read_json_lines, read_named
from seqward.data.sources.yelp import SEQUENCE_COLUMNS
from seqward.errors import SeqwardError

GOAL = "reward>=4"
ASIN_LENGTH = 10
"""Of a product's number; a reviewer's is longer."""


def read_ratings(path: Path, seed: int) -> Raw:
    """``user,item,rating,timestamp`` (s) without a header, as in the release of 2014."""
    table = read_bare(path, {"user": 0, "item": 1, "rating": 2, "timestamp": 3}, separator=",")
    first, second = (table[name].cast(pl.String).str.len_chars() for name in ("user", "item"))
    if (first == ASIN_LENGTH).all() and (second > ASIN_LENGTH).all():
        raise SeqwardError(
            f"{path.name} names the product before the user, as the release of 2018 does. "
            "Expected user,item,rating,timestamp: swap the first two columns."
        )
    return Raw(frame=table, columns=Columns(user_id="user", item_id="item", reward="rating"), goal=GOAL)


def read_reviews(path: Path, seed: int) -> Raw:
    """A JSON object a line with reviewerID, asin, overall, unixReviewTime."""
    types = {"reviewerID": pl.String, "asin": pl.String, "overall": pl.Float64, "unixReviewTime": pl.Int64}
    columns = Columns(user_id="reviewerID", item_id="asin", timestamp="unixReviewTime", reward="overall")
    return Raw(frame=read_json_lines(path, types), columns=columns, goal=GOAL)


def read_sequences(path: Path, seed: int) -> Raw:
    """A table of user, item, pos (order within the user), or of user_id, item_id, time; without rewards."""
    if "pos" in column_names(path):
        return Raw(frame=read_named(path, ["user", "item", "pos"]), columns=SEQUENCE_COLUMNS)
    table = read_named(path, ["user_id", "item_id", "time"])
    return Raw(frame=table, columns=Columns(user_id="user_id", item_id="item_id", timestamp="time"))


SOURCE = Source(
    name="amazon-reviews",
    about="product reviews of one Amazon category",
    formats=(
        Format(pattern="*.csv", read=read_ratings, verified=False),
        Format(pattern="*.json", read=read_reviews, verified=False),
        Format(pattern="*.json.gz", read=read_reviews, verified=False),
        Format(
            pattern="*.parquet",
            read=read_sequences,
            verified=True,
            published=(
                Published(
                    of="Beauty 5-core of S3-Rec",
                    counts={"events": 198_502, "sessions": 22_363, "items": 12_101},
                    remark="other categories have the same format",
                ),
            ),
        ),
    ),
    defaults=PrepareSettings(split="leave-one-out"),
    choices="a user is a session; the rating is the reward; the goal reward>=4 is our choice",
    home="https://jmcauley.ucsd.edu/data/amazon/",
    terms="no licence stated; cite the papers named on its page",
    obtain="ratings_CATEGORY.csv or reviews_CATEGORY_5.json.gz of a category",
)
