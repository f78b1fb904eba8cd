"""MovieLens 1M and 100K: ratings as rewards, four stars and more as the goal, a user's history as a session."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from seqward.data.events import Columns
from seqward.data.prepare import PrepareSettings
from seqward.data.published import Published
from seqward.data.sources import recbole
from seqward.data.sources.source import Archive, Format, Raw, Source, read_bare, read_named

GOAL = "reward>=4"
BASE_URL = "https://files.grouplens.org/datasets/movielens/"
TERMS = "research use, no redistribution; see the README in the archive"
CHOICES = "a user is a session; the rating is the reward; the goal reward>=4 is our choice"
COLUMNS = Columns(user_id="user", item_id="item", reward="rating")


def read_ratings_dat(path: Path, seed: int) -> Raw:
    """``user::item::rating::timestamp``; a single-character separator makes every other column empty."""
    table = read_bare(path, {"user": 0, "item": 2, "rating": 4, "timestamp": 6}, separator=":")
    return Raw(frame=table, columns=COLUMNS, goal=GOAL)


def read_u_data(path: Path, seed: int) -> Raw:
    """``user item rating timestamp``, separated by tabs."""
    table = read_bare(path, {"user": 0, "item": 1, "rating": 2, "timestamp": 3}, separator="\t")
    return Raw(frame=table, columns=COLUMNS, goal=GOAL)


def read_in_order(path: Path, seed: int) -> Raw:
    """A table of user, item, pos (order within the user), rating: the ratings without their times."""
    table = read_named(path, ["user", "item", "pos", "rating"])
    return Raw(frame=table, columns=replace(COLUMNS, order="pos"), goal=GOAL)


def read_inter(path: Path, seed: int) -> Raw:
    """RecBole's copy."""
    return replace(recbole.read(path, seed), goal=GOAL)


_ML_1M = (Published(of="MovieLens-1M", counts={"events": 1_000_209, "sessions": 6_040, "items": 3_706}),)
_ML_100K = (Published(of="MovieLens-100K", counts={"events": 100_000, "sessions": 943, "items": 1_682}),)

ML_1M = Source(
    name="ml-1m",
    about="a million movie ratings of 6,040 users",
    formats=(
        Format(pattern="ratings.dat", read=read_ratings_dat, verified=False, published=_ML_1M),
        Format(pattern="*.parquet", read=read_in_order, verified=True, published=_ML_1M),
    ),
    defaults=PrepareSettings(split="leave-one-out"),
    choices=CHOICES,
    home="https://grouplens.org/datasets/movielens/1m/",
    terms=TERMS,
    obtain="ml-1m.zip",
    archive=Archive(base_url=BASE_URL, name="ml-1m.zip", member="ml-1m/ratings.dat"),
)
ML_100K = Source(
    name="ml-100k",
    about="100,000 movie ratings of 943 users",
    formats=(
        Format(pattern="u.data", read=read_u_data, verified=False, published=_ML_100K),
        Format(pattern="*.inter", read=read_inter, verified=True, published=_ML_100K),
    ),
    defaults=PrepareSettings(split="leave-one-out"),
    choices=CHOICES,
    home="https://grouplens.org/datasets/movielens/100k/",
    terms=TERMS,
    obtain="ml-100k.zip",
    archive=Archive(base_url=BASE_URL, name="ml-100k.zip", member="ml-100k/u.data"),
)
