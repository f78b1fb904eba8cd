"""RecSys Challenge 2015 (YooChoose), as prepared by Xin et al. 2020 (SIGIR).

Of the sessions of at least three clicks (counted on the clicks alone) 200,000 are drawn, theirs without a seed, ours
with one. Purchases are kept where their session is in the sample, repeated rows included. There is no item filter.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from seqward.data.prepare import PrepareSettings
from seqward.data.published import Published
from seqward.data.sources.source import Format, Raw, Source, reading
from seqward.data.splits import generator
from seqward.errors import SeqwardError

SAMPLED_SESSIONS = 200_000
MIN_CLICKS = 3
_TYPES = {"session_id": pl.Int64, "timestamp": pl.String, "item_id": pl.Int64}


def read(path: Path, seed: int) -> Raw:
    """``yoochoose-clicks.dat`` (session, time, item, category) and the buys beside it (.., price, quantity)."""
    buys = path.with_name(path.name.replace("clicks", "buys"))
    if buys == path or not buys.is_file():
        raise SeqwardError(
            f"No purchases beside {path}: expected yoochoose-clicks.dat and yoochoose-buys.dat in one folder."
        )
    with reading(path):
        long = pl.col("len") >= MIN_CLICKS
        lengths = _scan(path, 4).group_by("session_id").len().collect()
        eligible = lengths.filter(long)["session_id"].sort()
        drawn = _sample(eligible, seed)
        clicks = _of_sessions(_scan(path, 4), drawn)
    with reading(buys):
        bought = _of_sessions(_scan(buys, 5), drawn)
    known = bought.join(clicks.select("item_id").unique(), on="item_id", how="semi", maintain_order="left")
    events = [part.with_columns(event_type=pl.lit(name)) for part, name in ((clicks, "click"), (known, "purchase"))]
    short = lengths.filter(~long)
    return Raw(
        frame=pl.concat(events),
        rewards={"click": 0.2, "purchase": 1.0},
        goal="purchase",
        filters=[
            {
                "filter": f"sessions of fewer than {MIN_CLICKS} clicks dropped",
                "sessions": len(short),
                "events": int(short["len"].sum()),
            },
            {"filter": f"sessions outside a sample of {len(drawn):,} dropped", "sessions": len(eligible) - len(drawn)},
            {"filter": "purchases of items that the sample never clicks dropped", "events": len(bought) - len(known)},
        ],
        more_files=[buys],
        facts={"sample": {"sessions": len(drawn), "of": len(eligible), "seed": seed}},
    )


def _scan(path: Path, columns: int) -> pl.LazyFrame:
    names = [*_TYPES, *(f"unused_{n}" for n in range(columns - len(_TYPES)))]
    return pl.scan_csv(path, has_header=False, schema={name: _TYPES.get(name, pl.String) for name in names})


def _of_sessions(events: pl.LazyFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """The events of some sessions, in the order of the file."""
    chosen = events.join(sessions.lazy(), on="session_id", how="semi", maintain_order="left")
    return chosen.select(_TYPES.keys()).collect()


def _sample(eligible: pl.Series, seed: int) -> pl.DataFrame:
    """``SAMPLED_SESSIONS`` of the ids without replacement, or all where there are no more."""
    size = min(SAMPLED_SESSIONS, len(eligible))
    places = generator(seed, "rc15 sessions").choice(len(eligible), size=size, replace=False)
    return eligible.gather(np.sort(places)).to_frame()


SOURCE = Source(
    name="rc15",
    about="e-commerce sessions: clicks and purchases of half a year",
    formats=(
        Format(
            pattern="yoochoose-clicks.dat",
            read=read,
            verified=False,
            published=(
                Published(
                    of="Xin et al. 2020",
                    counts={"sessions": 200_000, "items": 26_702, "clicks": 1_110_965, "goals": 43_946},
                    remark="another sample, drawn without a seed",
                ),
            ),
        ),
    ),
    defaults=PrepareSettings(min_session_length=3, min_item_count=1, vocabulary="log"),
    choices="click .2, purchase 1 and the goal, as in the papers; the sample is drawn by the seed",
    home="https://www.kaggle.com/datasets/chadgostopp/recsys-challenge-2015",
    terms="see its page; download needs a Kaggle login",
    obtain="yoochoose-clicks.dat and yoochoose-buys.dat",
)
