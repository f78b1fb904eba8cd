"""Recommending from the command line: whose histories, how ids are written, what comes out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from seqward.data.dataset import Dataset
from seqward.recommender import Recommender
from tables import table

Command = Callable[..., list[str]]


def test_recommend_for_a_history(ccql_run: Path, seqward: Command) -> None:
    rows = table(seqward("recommend", ccql_run, "--history", "1, 2,3", "-k", 4))
    assert rows[0] == ["session_id", "item_id", "score", "rank"]
    assert [row[3] for row in rows[1:]] == ["1", "2", "3", "4"]
    frame = Recommender.load(ccql_run).recommend(histories=[[1, 2, 3]], k=4)
    assert [int(row[1]) for row in rows[1:]] == frame["item_id"].to_list()


def test_ids_with_commas_stand_in_quotes_and_a_repeated_option_is_another_history(
    seqward: Command, refused: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    ids = ["mug, red", 'rack 19"', "lamp", "007"]
    rows = [(s, t, ids[(s + t) % 4]) for s in range(30) for t in range(4)]
    pl.DataFrame(rows, schema=["session_id", "timestamp", "item_id"], orient="row").write_csv(tmp_path / "log.csv")
    seqward("prepare", tmp_path / "log.csv", "--out", tmp_path / "data")
    seqward("train", tmp_path / "data", "--method", "last-items", "--out", tmp_path / "run")
    asked = ["--history", '007,"mug, red", lamp', "--history", 'rack 19",,7', "--history", ""]
    shown = table(seqward("recommend", tmp_path / "run", *asked))
    assert [row[:2] for row in shown[1:]] == [["0", "lamp"], ["0", "mug, red"], ["0", "007"], ["1", 'rack 19"']]
    assert "Items of the histories that are not in the catalogue were skipped: 1, such as '7'." in caplog.text
    for text in ('"mug', '"mug" red,lamp'):
        message = refused("recommend", tmp_path / "run", "--history", text)
        assert message.startswith(f"--history {text}: expected item ids between commas, those with a comma in double")


def test_recommend_options_reach_the_recommender(ccql_run: Path, seqward: Command) -> None:
    rows = table(seqward("recommend", ccql_run, "--history", "1,2", "-k", 40, "--filter-viewed", "--rank-by", "q"))
    frame = Recommender.load(ccql_run).recommend(histories=[[1, 2]], k=40, filter_viewed=True, rank_by="q")
    assert [int(row[1]) for row in rows[1:]] == frame["item_id"].to_list()
    assert not {1, 2} & set(frame["item_id"])


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_place_that_cannot_be_written_is_told_in_a_line(
    popularity_run: Path, refused: Any, tmp_path: Path, ending: str
) -> None:
    out = tmp_path / f"out{ending}"
    out.symlink_to(tmp_path / f"gone/out{ending}")
    message = refused("recommend", popularity_run, "--history", "1", "--output", out)
    assert message == f"No such file or directory (os error 2): {out}"


@pytest.mark.parametrize("ending", [".CSV", ".tsv", ".parquet"])
def test_recommend_for_a_file(ccql_run: Path, seqward: Command, tmp_path: Path, ending: str) -> None:
    asked = pl.DataFrame({"user_id": ["b", "a", "b"], "timestamp": [3, 2, 1], "item_id": [5, 6, 7], "other": [0, 0, 0]})
    asked.write_csv(tmp_path / "asked.csv")
    out = tmp_path / f"new/out{ending}"
    assert seqward("recommend", ccql_run, "--input", tmp_path / "asked.csv", "--output", out, "-k", 3) == []
    got = (
        pl.read_parquet(out)
        if ending == ".parquet"
        else pl.read_csv(out, separator={".CSV": ",", ".tsv": "\t"}[ending])
    )
    want = Recommender.load(ccql_run).recommend(histories={"b": [7, 5], "a": [6]}, k=3)
    assert got.columns == ["user_id", "item_id", "score", "rank"]
    for owner in ("a", "b"):
        assert (
            got.filter(pl.col("user_id") == owner)["item_id"].to_list()
            == want.filter(pl.col("session_id") == owner)["item_id"].to_list()
        )


def test_columns_of_a_file_are_named_as_in_prepare(
    ccql_run: Path, seqward: Command, refused: Any, tmp_path: Path
) -> None:
    file = tmp_path / "asked.csv"
    rows = {"who": ["b", "a", "b"], "when": [3, 2, 1], "nth": [1, 1, 2], "what": [5, 6, 7]}
    pl.DataFrame(rows).write_csv(file, separator=";")
    model = Recommender.load(ccql_run)
    by_time, by_order = ({"b": items, "a": [6]} for items in ([7, 5], [5, 7]))
    names = ["--user-col", "who", "--item-col", "what", "--separator", ";"]
    for options, histories in ((["--time-col", "when"], by_time), (["--order-col", "nth"], by_order), ([], by_order)):
        shown = table(seqward("recommend", ccql_run, "--input", file, "-k", 3, *names, *options))
        want = model.recommend(histories=histories, k=3)
        assert shown[0] == ["user_id", "item_id", "score", "rank"]
        assert [row[:2] for row in shown[1:]] == [[owner, str(item)] for owner, item, *_ in want.rows()]
    shown = seqward("recommend", ccql_run, "--input", file, "--session-col", "nth", *names[2:])
    assert shown[0].startswith("session_id\t")
    assert "no column 'whom' (named for user_id). It has: who, when, nth, what. Did you mean 'who'?" in refused(
        "recommend", ccql_run, "--input", file, "--user-col", "whom", *names[2:]
    )
    assert "are for the file of --input" in refused("recommend", ccql_run, "--history", "1", "--item-col", "what")


def test_recommend_for_a_catalogue_of_strings(seqward: Command, tmp_path: Path) -> None:
    rows = [(s, t, f"{(s + t) % 4}" if t else "x") for s in range(30) for t in range(4)]
    pl.DataFrame(rows, schema=["session_id", "timestamp", "item_id"], orient="row").write_csv(tmp_path / "log.csv")
    seqward("prepare", tmp_path / "log.csv", "--out", tmp_path / "data")
    seqward("train", tmp_path / "data", "--method", "last-items", "--out", tmp_path / "run")
    (tmp_path / "asked.csv").write_text("session_id,item_id\n7,0\n7,2\n")
    for how in (["--history", "0,2"], ["--input", tmp_path / "asked.csv"]):
        assert [row[1] for row in table(seqward("recommend", tmp_path / "run", *how))] == ["item_id", "2", "0"]


def test_unknown_items_are_skipped_and_told(ccql_run: Path, seqward: Command, caplog: pytest.LogCaptureFixture) -> None:
    with_unknown = seqward("recommend", ccql_run, "--history", "1,999,x", "-k", 3)
    assert "Items of the histories that are not in the catalogue were skipped: 2, such as '999'" in caplog.text
    assert with_unknown == seqward("recommend", ccql_run, "--history", "1", "-k", 3)


def test_examples_in_words(ccql_run: Path, shop_data: Path, seqward: Command) -> None:
    lines = seqward("recommend", ccql_run, "--examples", 3, "-k", 2)
    assert len(lines) == 3
    data = Dataset.load(shop_data)
    for line in lines:
        session = data.session_ids.tolist().index(int(line.split()[1]))
        first = data.offsets[session]
        verb = {"view": "viewed", "addtocart": "carted"}[data.event_types[data.event_type[first]]]
        told, recommended = line.split(" -> ")
        if "earlier]" not in told:
            assert told.startswith(f"session {data.session_ids[session]} {verb} {data.item_ids[data.item[first]]}")
        assert recommended.startswith("1. item ")
        last = data.offsets[session + 1] - 1
        assert recommended.endswith(f" {data.item_ids[data.item[last]]})")
