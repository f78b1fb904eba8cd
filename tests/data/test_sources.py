"""Readers of public data sets: hand-made files of each format, the real data where it is there, and the count check."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from seqward.data.dataset import Dataset
from seqward.data.events import EventLog
from seqward.data.prepare import prepare
from seqward.data.published import count_check
from seqward.data.sources import SOURCES, rc15, read_source
from seqward.errors import SeqwardError
from shared_data import shared_data


def sessions(log: EventLog) -> dict:
    """Session id -> [(item id, event type, reward, goal)]."""
    rows = [
        (log.item_ids[i], log.event_types[e], round(float(r), 3), bool(g))
        for i, e, r, g in zip(log.item, log.event_type, log.reward, log.goal, strict=True)
    ]
    bounds = zip(log.offsets[:-1], log.offsets[1:], strict=True)
    return {name: rows[a:b] for name, (a, b) in zip(log.session_ids, bounds, strict=True)}


def items(log: EventLog) -> dict:
    return {name: [row[0] for row in rows] for name, rows in sessions(log).items()}


def prepared(name: str, path: Path, **changes) -> Dataset:
    log, defaults = read_source(name, path)
    return prepare(log, defaults, warn=lambda warning: None, **changes)


# --- RetailRocket ----------------------------------------------------------------------------------------------------

RETAILROCKET = """timestamp,visitorid,event,itemid,transactionid
1500000000117,7,view,30,
1500000000000,7,view,20,
1500000000500,7,addtocart,20,
1500000001000,7,transaction,20,99
1500000000117,7,view,10,
1500000000999,5,view,20,
"""


def test_retailrocket_drops_transactions_and_takes_visitors_as_sessions(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text(RETAILROCKET)
    log, defaults = read_source("retailrocket", tmp_path)
    assert sessions(log) == {
        5: [(20, "view", 0.2, False)],
        7: [  # by time; 30 before 10, which have one time, as in the file
            (20, "view", 0.2, False),
            (30, "view", 0.2, False),
            (10, "view", 0.2, False),
            (20, "addtocart", 1.0, True),
        ],
    }
    assert log.protocol["filters"] == [{"filter": "rows with a transaction id dropped", "events": 1}]
    source = log.protocol["source"]
    assert (source["name"], source["files"][0]["file"], source["verified"]) == ("retailrocket", "events.csv", True)
    assert len(source["files"][0]["sha256"]) == 64
    assert (defaults.min_session_length, defaults.min_item_count, defaults.vocabulary) == (3, 3, "log")


def test_retailrocket_filters_visitors_then_items_once(tmp_path: Path) -> None:
    # Visitor 1 counts for item 8, though it falls below three events itself; visitor 2 (two events) does not.
    visits = {1: [8, 8, 9], 2: [8, 9], 3: [8, 7, 7, 7], 4: [7, 7, 7], 5: [7, 7, 7], 6: [7] * 4}
    rows = [
        f"{t},{v},{'view' if t else 'addtocart'},{item}," for v, seen in visits.items() for t, item in enumerate(seen)
    ]
    (tmp_path / "events.csv").write_text("timestamp,visitorid,event,itemid,transactionid\n" + "\n".join(rows))
    data = prepared("retailrocket", tmp_path)
    assert dict(zip(data.session_ids.tolist(), np.diff(data.offsets).tolist(), strict=True)) == {
        1: 2,
        3: 4,
        4: 3,
        5: 3,
        6: 4,
    }
    assert set(data.item_ids.tolist()) == {7, 8}
    assert data.n_items == 2


def test_rewards_and_goal_can_be_others_than_the_source_s(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text(RETAILROCKET)
    log, _ = read_source("retailrocket", tmp_path, rewards={"view": 1, "addtocart": 5}, goal="view")
    assert sessions(log)[7][-1] == (20, "addtocart", 5.0, False)
    assert sessions(log)[5] == [(20, "view", 1.0, True)]


def test_last_items_on_the_retailrocket_sample() -> None:
    """The visitor's last distinct items, over all visitors of at least three events, first events and repeats kept."""
    data = prepared("retailrocket", shared_data("retailrocket-sample"), min_item_count=1)
    assert data.event_types[int(data.event_type[data.goal][0])] == "addtocart"
    rank = np.full(data.n_events, np.inf)
    for start, stop in pairwise(data.offsets):
        history = data.item[start:stop].tolist()
        for place, item in enumerate(history):
            recent = list(dict.fromkeys(reversed(history[:place])))
            if item in recent:
                rank[start + place] = recent.index(item) + 1
    carts, views = rank[data.goal], rank[~data.goal]
    gain = np.where(carts <= 20, 1 / np.log2(carts + 1), 0)
    measured = [(carts <= 5).mean(), (carts <= 10).mean(), (carts <= 20).mean(), gain.mean(), (views <= 20).mean()]
    assert measured == pytest.approx([0.649, 0.667, 0.689, 0.623, 0.357], abs=0.0005)


def test_the_retailrocket_sample_is_told_from_the_full_file() -> None:
    warnings: list[str] = []
    log, defaults = read_source("retailrocket", shared_data("retailrocket-sample"))
    data = prepare(log, defaults, warn=warnings.append)
    assert data.protocol["filters"][0] == {"filter": "rows with a transaction id dropped", "events": 46}
    assert data.protocol["count_check"].startswith("differs: Xin et al. 2020")
    assert "expected 195,523 sessions, 70,852 items, 1,176,680 clicks, 57,269 goals, found 389" in warnings[-1]


# --- RC15 ------------------------------------------------------------------------------------------------------------


def write_rc15(folder: Path, clicks: list[tuple], buys: list[tuple]) -> Path:
    (folder / "yoochoose-clicks.dat").write_text("".join(f"{s},{t},{i},0\n" for s, t, i in clicks))
    (folder / "yoochoose-buys.dat").write_text("".join(f"{s},{t},{i},1046,1\n" for s, t, i in buys))
    return folder


def at(second: int) -> str:
    return f"2014-04-07T10:{second // 60:02}:{second % 60:02}.277Z"


def test_rc15_counts_clicks_keeps_repeated_buys_and_drops_buys_of_unclicked_items(tmp_path: Path) -> None:
    clicks = [(1, at(5), 11), (1, at(9), 12), (1, at(7), 12), (2, at(1), 11), (2, at(2), 12)]
    buys = [(1, at(20), 12), (1, at(20), 12), (1, at(21), 99), (2, at(3), 11), (1, at(9), 11)]
    log, defaults = read_source("rc15", write_rc15(tmp_path, clicks, buys))
    click, buy = ("click", 0.2, False), ("purchase", 1.0, True)
    assert sessions(log) == {  # session 2 has two clicks: its purchase does not count as the third event
        1: [(11, *click), (12, *click), (12, *click), (11, *buy), (12, *buy), (12, *buy)]
    }
    removed = {step["filter"]: step for step in log.protocol["filters"]}
    assert removed["sessions of fewer than 3 clicks dropped"]["events"] == 2
    assert removed["purchases of items that the sample never clicks dropped"]["events"] == 1
    assert [file["file"] for file in log.protocol["source"]["files"]] == ["yoochoose-clicks.dat", "yoochoose-buys.dat"]
    assert any("never tried on the real file" in warning for warning in log.warnings)
    assert (defaults.min_item_count, defaults.vocabulary) == (1, "log")


def test_rc15_draws_its_sample_by_the_seed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(rc15, "SAMPLED_SESSIONS", 20)
    clicks = [(s, at(t), s * 10 + t) for s in range(100, 150) for t in range(3)]
    buys = [(s, at(30), s * 10) for s in range(100, 150)]
    folder = write_rc15(tmp_path, clicks, buys)
    (first, _), (again, _), (other, _) = (read_source("rc15", folder, seed=seed) for seed in (1, 1, 2))
    assert sessions(first) == sessions(again)
    assert set(first.session_ids) != set(other.session_ids)
    assert first.protocol["source"]["sample"] == {"sessions": 20, "of": 50, "seed": 1}
    assert first.n_sessions == 20 and first.n_events == 80 and len(first.item_ids) == 60
    drawn = np.bincount([s - 100 for seed in range(60) for s in read_source("rc15", folder, seed=seed)[0].session_ids])
    assert drawn.min() > 8 and drawn.max() < 42  # 60 draws of 20 in 50: 24 each on average


def test_rc15_reads_back_real_sessions_written_in_its_raw_format(tmp_path: Path) -> None:
    frame = pl.read_parquet(shared_data("rc15-labelled-171") / "clicks_with_purchase_label.parquet")
    iso = pl.from_epoch((pl.col("time") * 1000).round().cast(pl.Int64), time_unit="ms").dt.strftime(
        "%Y-%m-%dT%H:%M:%S%.3fZ"
    )
    rows = frame.with_columns(time=iso)
    clicks = rows.select("session_id", "time", "item_id").rows()
    bought = rows.filter(pl.col("bought") == 1).select("session_id", "item_id").unique(maintain_order=True)
    buys = [(s, "2014-12-31T00:00:00.000Z", i) for s, i in bought.rows()]
    log, _ = read_source("rc15", write_rc15(tmp_path, clicks, buys))
    long = frame.filter(pl.len().over("session_id") >= 3)
    assert log.n_sessions == long["session_id"].n_unique()
    assert int((~log.goal).sum()) == len(long)
    assert int(log.goal.sum()) == len(bought.join(long, on="session_id", how="semi"))
    expected = long.sort("session_id", "time", maintain_order=True)
    assert log.item_ids[log.item[~log.goal]].tolist() == expected["item_id"].to_list()


def test_rc15_without_its_buys_is_refused(tmp_path: Path) -> None:
    write_rc15(tmp_path, [(1, at(1), 1)], [])
    (tmp_path / "yoochoose-buys.dat").unlink()
    with pytest.raises(
        SeqwardError, match=r"No purchases beside .*: expected yoochoose-clicks\.dat and yoochoose-buys"
    ):
        read_source("rc15", tmp_path)


# --- ratings ---------------------------------------------------------------------------------------------------------


def test_movielens_1m_in_its_original_format(tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text("1::31::5::900000060\n1::42::3::900000109\n2::42::4::900000000\n")
    log, defaults = read_source("ml-1m", tmp_path)
    assert sessions(log) == {
        1: [(31, "event", 5.0, True), (42, "event", 3.0, False)],
        2: [(42, "event", 4.0, True)],
    }
    assert log.user_ids is not None and log.user_ids.tolist() == [1, 2]
    assert defaults.split == "leave-one-out"


def test_movielens_100k_in_its_original_format_is_ordered_by_time(tmp_path: Path) -> None:
    (tmp_path / "u.data").write_text("77\t24\t3\t800000050\n77\t5\t4\t800000049\n")
    log, _ = read_source("ml-100k", tmp_path / "u.data")
    assert sessions(log) == {77: [(5, "event", 4.0, True), (24, "event", 3.0, False)]}


@pytest.mark.parametrize(("name", "folder"), [("ml-1m", "ml-1m"), ("ml-100k", "ml-100k")])
def test_movielens_has_its_published_counts(name: str, folder: str) -> None:
    data = prepared(name, shared_data(folder))
    assert data.protocol["count_check"] == f"matched: MovieLens-{name[3:].upper()}"
    assert (data.goal == (data.reward >= 4)).all()


def test_the_original_format_gives_the_same_sequences_as_the_shared_table(tmp_path: Path) -> None:
    table = pl.read_parquet(shared_data("ml-1m") / "ratings_in_order.parquet").filter(pl.col("user") <= 50)
    lines = [
        f"{user}::{item}::{rating}::{pos}"
        for user, item, pos, rating in table.sample(fraction=1, shuffle=True, seed=1).rows()
    ]
    (tmp_path / "ratings.dat").write_text("\n".join(lines) + "\n")
    assert items(read_source("ml-1m", tmp_path)[0]) == {
        user: rows["item"].to_list() for (user,), rows in table.sort("pos").group_by("user")
    }


def test_foodcom_reads_quoted_reviews_of_several_lines(tmp_path: Path) -> None:
    (tmp_path / "RAW_interactions.csv").write_text(
        'user_id,recipe_id,date,rating,review\n8,403,2013-12-17,4,"Great, with a salad.\nMade it twice."\n'
        "8,443,2012-02-01,0,Not rated\n129,403,2010-01-21,5,\n"
    )
    log, _ = read_source("foodcom", tmp_path)
    assert sessions(log) == {
        8: [(443, "event", 0.0, False), (403, "event", 4.0, True)],
        129: [(403, "event", 5.0, True)],
    }
    assert prepare(log, min_session_length=1, warn=lambda w: None, split="leave-one-out").protocol["count_check"] == (
        "no published count known"
    )


AMAZON = [("A2", "B01", 5.0, 1400000001), ("A2", "B02", 3.0, 1400000000), ("A10", "B01", 4.0, 1400000000)]
AMAZON_SESSIONS = {
    "A10": [("B01", "event", 4.0, True)],
    "A2": [("B02", "event", 3.0, False), ("B01", "event", 5.0, True)],
}


def amazon_json() -> str:
    keys = ("reviewerID", "asin", "overall", "unixReviewTime")
    objects = [dict(zip(keys, row, strict=True)) | {"reviewText": "a\nb", "helpful": [0, 1]} for row in AMAZON]
    return "".join(json.dumps(one) + "\n" for one in objects)


def test_amazon_ratings_and_reviews_read_the_same(tmp_path: Path) -> None:
    (tmp_path / "ratings_Beauty.csv").write_text("".join(f"{u},{i},{r},{t}\n" for u, i, r, t in AMAZON))
    (tmp_path / "reviews_Beauty_5.json").write_text(amazon_json())
    (tmp_path / "reviews_Baby_5.json.gz").write_bytes(gzip.compress(amazon_json().encode()))
    for name in ("ratings_Beauty.csv", "reviews_Beauty_5.json", "reviews_Baby_5.json.gz"):
        assert sessions(read_source("amazon-reviews", tmp_path / name)[0]) == AMAZON_SESSIONS, name


def test_amazon_ratings_of_2018_are_refused(tmp_path: Path) -> None:
    (tmp_path / "Beauty.csv").write_text(
        "B000000001,A1234567890ABC,1.0,1500000000\nB000000001,A1234567890ABD,4.0,1500000001\n"
    )
    with pytest.raises(SeqwardError, match="names the product before the user, as the release of 2018 does"):
        read_source("amazon-reviews", tmp_path)


@pytest.mark.parametrize(
    ("name", "folder", "check"),
    [
        ("amazon-reviews", "amazon-beauty", "matched: Beauty 5-core of S3-Rec"),
        ("amazon-reviews", "amazon-grocery", "no published count known for this file: Beauty"),
        ("yelp", "yelp-sequences", "matched: Yelp of S3-Rec"),
    ],
)
def test_sequences_that_papers_pass_around(name: str, folder: str, check: str) -> None:
    data = prepared(name, shared_data(folder), split="leave-one-out")
    assert data.protocol["count_check"].startswith(check)
    assert set(data.reward.tolist()) == {1.0}
    assert not data.goal.any()


def test_yelp_takes_four_stars_for_a_purchase(tmp_path: Path) -> None:
    reviews = [
        ("u1", "b2", 3.0, "2017-05-06 20:00:11"),
        ("u1", "b1", 4.0, "2011-01-02 03:04:05"),
        ("u2", "b1", 5.0, "2013-04-05 06:07:08"),
    ]
    keys = ("user_id", "business_id", "stars", "date")
    text = "".join(
        json.dumps({"review_id": "r", **dict(zip(keys, row, strict=True)), "text": "good\n"}) + "\n" for row in reviews
    )
    (tmp_path / "yelp_academic_dataset_review.json").write_text(text)
    log, _ = read_source("yelp", tmp_path)
    assert sessions(log) == {
        "u1": [("b1", "purchase", 1.0, True), ("b2", "click", 0.2, False)],
        "u2": [("b1", "purchase", 1.0, True)],
    }


# --- sessions --------------------------------------------------------------------------------------------------------

TRIVAGO = """user_id,session_id,timestamp,step,action_type,reference,platform,city
U,s,10,3,clickout item,5001,FR,Paris
U,s,10,1,search for poi,Louvre,FR,Paris
U,s,10,2,interaction item image,5001,FR,"Paris, France"
U,s,11,4,interaction item info,unknown,FR,Paris
U,s,9,5,search for item,77,FR,Paris
"""


def test_trivago_keeps_item_actions_in_the_order_of_steps(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(TRIVAGO)
    log, _ = read_source("trivago", tmp_path)
    assert sessions(log) == {
        "s": [
            (5001, "interaction item image", 0.2, False),
            (5001, "clickout item", 1.0, True),
            (77, "search for item", 0.2, False),
        ]
    }
    assert [step["events"] for step in log.protocol["filters"]] == [1, 1]
    assert "1 references of item actions are no item number: dropped." in log.warnings


def test_trivago_sample_is_as_described() -> None:
    """Counts and repeats as told where the data comes from; the log has them in sessions of at least three events."""
    log, defaults = read_source("trivago", shared_data("trivago"))
    assert int(log.goal.sum()) == 13_597
    assert "4 references of item actions are no item number: dropped." in log.warnings
    data = prepare(log, defaults, warn=lambda warning: None)
    repeats = np.zeros(data.n_events, bool)
    for start, stop in pairwise(data.offsets):
        part = data.item[start:stop]
        repeats[start:stop] = [item in part[:place] for place, item in enumerate(part)]
    assert repeats[~data.goal].mean() == pytest.approx(0.90, abs=0.005)
    assert repeats[data.goal].mean() == pytest.approx(0.50, abs=0.005)


def test_recbole_reads_typed_headers(tmp_path: Path) -> None:
    (tmp_path / "my.inter").write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\nu1\t007\t3.5\t20\nu1\t07\t4\t10\nu2\t007\t1\t5\n"
    )
    log, _ = read_source("recbole", tmp_path)
    assert sessions(log) == {
        "u1": [("07", "event", 4.0, False), ("007", "event", 3.5, False)],
        "u2": [("007", "event", 1.0, False)],
    }


def test_recbole_prefers_sessions_and_does_without_ratings(tmp_path: Path) -> None:
    (tmp_path / "my.inter").write_text("session_id:token\titem_id:token\ttimestamp:float\n9\t4\t2\n9\t3\t1\n8\t4\t3\n")
    assert sessions(read_source("recbole", tmp_path)[0]) == {
        8: [(4, "event", 1.0, False)],
        9: [(3, "event", 1.0, False), (4, "event", 1.0, False)],
    }


def test_recbole_without_an_item_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "my.inter").write_text("user_id:token\titem:token\ttimestamp:float\n1\t2\t3\n")
    with pytest.raises(
        SeqwardError, match=r"my\.inter has no column 'item_id'.* It has: user_id, item, timestamp\."
    ) as error:
        read_source("recbole", tmp_path)
    assert "Did you mean 'item'?" in str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3 1 2\n\n1  1\t4\r\n", {1: [3, 1, 2], 3: [1, 1, 4]}),
        ("a b\nb 1", {1: ["a", "b"], 2: ["b", "1"]}),
    ],
)
def test_sequences_are_one_session_a_line(tmp_path: Path, text: str, expected: dict) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(text.encode())
    log, _ = read_source("sequences", path)
    assert items(log) == expected
    assert ("1 empty lines passed over." in log.warnings) == ("\n\n" in text)


# --- refusals --------------------------------------------------------------------------------------------------------


def test_an_unknown_source_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(
        SeqwardError, match=r"No source 'retail-rocket'\. There is: retailrocket, rc15.*Did you mean 'retailrocket'\?"
    ):
        read_source("retail-rocket", ".")


def test_a_missing_path_and_a_folder_without_the_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SeqwardError, match=r"nowhere does not exist\. ml-1m reads ratings\.dat, \*\.parquet"):
        read_source("ml-1m", tmp_path / "nowhere")
    with pytest.raises(SeqwardError, match=r"holds no file of this source: ml-1m reads ratings\.dat"):
        read_source("ml-1m", tmp_path)
    (tmp_path / "ratings.zip").write_text("x")
    with pytest.raises(SeqwardError, match=r"ratings\.zip is no file of this source: ml-1m reads"):
        read_source("ml-1m", tmp_path / "ratings.zip")


def test_a_folder_with_several_fitting_files_is_refused(tmp_path: Path) -> None:
    for name in ("Baby.csv", "Beauty.csv"):
        (tmp_path / name).write_text("A,B,1,2\n")
    with pytest.raises(SeqwardError, match=r"several files like \*\.csv: Baby\.csv, Beauty\.csv\. Name one\."):
        read_source("amazon-reviews", tmp_path)


@pytest.mark.parametrize(
    ("source", "file", "text", "message"),
    [
        (
            "retailrocket",
            "events.csv",
            "timestamp,visitor,event,itemid,transactionid\n",
            "no column 'visitorid'.*Did you mean 'visitor'",
        ),
        ("retailrocket", "events.csv", RETAILROCKET.replace("view,30", "look,30"), "No reward for event type 'look'"),
        ("ml-1m", "ratings.dat", "UserID::MovieID\n", r"ratings\.dat cannot be read in the format of this source"),
        ("ml-1m", "ratings.dat", "1::2::good::900000060\n", "'good', which is no number"),
        ("ml-1m", "ratings.dat", "", r"ratings\.dat is empty \(0 bytes\)"),
        ("rc15", "yoochoose-clicks.dat", "session,timestamp,item,category\n", "cannot be read in the format"),
        ("yelp", "review.json", '{"user_id": "u", "busi', "cannot be read in the format"),
        (
            "yelp",
            "review.json",
            '{"user_id": "u", "stars": 1, "date": "2018-07-07"}\n',
            "no line has the key 'business_id'",
        ),
        (
            "amazon-reviews",
            "x.json",
            '{"reviewerID":"u","asin":"i","overall":"five","unixReviewTime":1}\n',
            "cannot be read",
        ),
        (
            "foodcom",
            "RAW_interactions.csv",
            "user_id,recipe_id,date,rating\n1,2,last week,4\n",
            "'last week', which is no time",
        ),
        ("trivago", "train.csv", TRIVAGO.replace("5001", "x").replace("77", "y"), "The log has no rows"),
        ("sequences", "log.txt", "\n\n", "The log has no rows"),
    ],
)
def test_files_that_are_not_in_the_source_s_format(
    tmp_path: Path, source: str, file: str, text: str, message: str
) -> None:
    (tmp_path / file).write_text(text)
    (tmp_path / "yoochoose-buys.dat").write_text("1,2014-04-07T10:00:00.000Z,1,1,1\n")
    with pytest.raises(SeqwardError, match=message) as error:
        read_source(source, tmp_path / file)
    assert len(str(error.value).splitlines()) <= 3


def test_text_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_bytes(b"\xff\xfe1 2")
    with pytest.raises(SeqwardError, match=r"log\.txt cannot be read in the format of this source: .*utf-8"):
        read_source("sequences", tmp_path / "log.txt")


# --- counts ----------------------------------------------------------------------------------------------------------

EXACT = {"of": "A", "counts": {"sessions": 2_000, "items": 3}, "remark": ""}
LOOSE = {"of": "B", "counts": {"sessions": 5}, "remark": "another sample"}


@pytest.mark.parametrize(
    ("published", "found", "said"),
    [
        ([EXACT], {"sessions": 2_000, "items": 3}, "matched: A"),
        (
            [EXACT],
            {"sessions": 2_000, "items": 4},
            "differs: A: expected 2,000 sessions, 3 items, found 2,000 sessions, 4 items",
        ),
        ([LOOSE], {"sessions": 5, "items": 4}, "matched: B"),
        (
            [LOOSE],
            {"sessions": 6, "items": 4},
            "no published count known for this file: B has 5 sessions (another sample)",
        ),
        ([], {"sessions": 6}, "no published count known"),
    ],
)
def test_count_check(published: list, found: dict, said: str) -> None:
    assert count_check(published, found) == said


def test_every_source_says_where_it_comes_from_and_what_was_chosen() -> None:
    names = "retailrocket rc15 yelp ml-1m ml-100k foodcom amazon-reviews trivago recbole sequences"
    assert list(SOURCES) == names.split()
    for source in SOURCES.values():
        assert source.home and source.terms and source.choices and source.obtain and source.about
