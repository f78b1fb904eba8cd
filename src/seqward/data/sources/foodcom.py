"""Food.com (Majumder et al. 2019): reviews of recipes with ratings."""

from __future__ import annotations

from pathlib import Path

from seqward.data.events import Columns
from seqward.data.prepare import PrepareSettings
from seqward.data.sources.source import Format, Raw, Source, read_named


def read(path: Path, seed: int) -> Raw:
    """``RAW_interactions.csv``: user_id, recipe_id, date (days), rating (0 where none was given), review."""
    table = read_named(path, ["user_id", "recipe_id", "date", "rating"], ids=["user_id", "recipe_id"])
    columns = Columns(user_id="user_id", item_id="recipe_id", timestamp="date", reward="rating")
    return Raw(frame=table, columns=columns, goal="reward>=4")


SOURCE = Source(
    name="foodcom",
    about="ratings and reviews of recipes over 18 years",
    formats=(Format(pattern="RAW_interactions.csv", read=read, verified=False),),
    defaults=PrepareSettings(),
    choices="a user is a session; the rating is the reward, 0 where none was given; the goal reward>=4 is our choice",
    home="https://www.kaggle.com/datasets/shuyangli94/food-com-recipes-and-user-interactions",
    terms="see its page; download needs a Kaggle login",
    obtain="RAW_interactions.csv",
)
