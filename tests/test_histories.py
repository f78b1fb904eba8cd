"""Whose histories, in which form and order, and how items and owners are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from asking import listed, refusal
from jobs import recommender, shop
from seqward.cli.histories import from_file, from_text
from seqward.data.columns import Columns
from seqward.histories import of_histories
from seqward.recommender import Recommender
from worlds import data_of


@pytest.fixture(scope="module")
def model() -> Recommender:
    """A trained one with a critic."""
    return recommender("sasrec-ac").fit(shop())


# Who asks -----------------------------------------------------------------------------------------------------------


def test_a_mapping_names_the_sessions(model: Recommender) -> None:
    frame = model.recommend(histories={"ann": ["i1"], "bob": ["i2", "i3"]}, k=2)
    plain = model.recommend(histories=[["i1"], ["i2", "i3"]], k=2)
    assert frame["session_id"].to_list() == ["ann", "ann", "bob", "bob"]
    assert frame["item_id"].to_list() == plain["item_id"].to_list()


@pytest.mark.parametrize("owner", ["session_id", "user_id"])
@pytest.mark.parametrize("kind", [pl.DataFrame, pd.DataFrame])
def test_a_frame_gives_a_frame_of_its_kind(model: Recommender, kind: type, owner: str) -> None:
    """Rows of two owners, mixed: each one's items in the order of the rows."""
    frame = model.recommend(histories=kind({owner: [7, 8, 7], "item_id": ["i1", "i5", "i2"]}), k=3)
    assert isinstance(frame, kind)
    assert list(frame.columns) == [owner, "item_id", "score", "rank"]
    plain = model.recommend(histories=[["i1", "i2"], ["i5"]], k=3)
    assert list(frame["item_id"]) == plain["item_id"].to_list()
    assert list(frame[owner]) == [7, 7, 7, 8, 8, 8]


SHUFFLED = {"who": ["b", "a", "b", "a", "b"], "what": ["i1", "i5", "i2", "i6", "i3"], "when": [9, 4, 7, 5, 7]}
NAMED = Columns(user_id="who", item_id="what", timestamp="when")


@pytest.mark.parametrize("kind", [pl.DataFrame, pd.DataFrame, pl.LazyFrame])
def test_rows_of_a_frame_are_put_in_order_of_time(model: Recommender, kind: type) -> None:
    """Equal times keep the order of the rows, and owners the order of their first row."""
    plain = model.recommend(histories={"b": ["i2", "i3", "i1"], "a": ["i5", "i6"]}, k=3)
    usual = {"who": "user_id", "what": "item_id", "when": "timestamp"}
    renamed = {usual[name]: column for name, column in SHUFFLED.items()}
    as_dates = {**SHUFFLED, "when": [f"2024-05-0{day}T08:00:00Z" for day in SHUFFLED["when"]]}
    by_order = Columns(user_id="who", item_id="what", order="when")
    asked = [(renamed, None), (SHUFFLED, NAMED), (as_dates, NAMED), (SHUFFLED, by_order)]
    for frame, columns in asked:
        found = model.recommend(histories=kind(frame), columns=columns, k=3)
        assert list(found["user_id"]) == ["b"] * 3 + ["a"] * 3
        assert list(found["item_id"]) == plain["item_id"].to_list()


def test_of_session_and_user_the_session_counts(model: Recommender) -> None:
    frame = pl.DataFrame({"user_id": ["u", "u"], "session_id": [2, 1], "item_id": ["i1", "i2"]})
    assert model.recommend(histories=frame, k=1)["session_id"].to_list() == [2, 1]
    named = model.recommend(histories=frame, columns=Columns(user_id="user_id"), k=1)
    assert named["user_id"].to_list() == ["u"]


def test_an_id_is_known_by_its_text(said: pytest.LogCaptureFixture) -> None:
    """In lists, frames and candidates alike; what is written otherwise is another id."""
    asked = ["7", "007", "+7", "7.0", 8, "x", "9"]
    for ids, known in (([7, 8, 9], [7, 8, 9]), (["7", "8", "007"], ["7", "8", "007"])):
        fitted = Recommender("last-items").fit(data_of([[0, 1, 2]], 3, item_ids=ids))
        frame = pl.DataFrame({"user_id": [1] * len(asked), "item_id": list(map(str, asked))})
        for histories in ([asked], frame):
            assert set(fitted.recommend(histories=histories)["item_id"]) == set(known)
        few = fitted.recommend(histories=[ids], items_to_recommend=["8", 7])
        assert few["item_id"].to_list() == [known[1], known[0]]
    assert "Items of the histories that are not in the catalogue were skipped: 4, such as '007'." in said.messages


def test_lazy_frames_are_read(model: Recommender) -> None:
    lazy = pl.LazyFrame({"session_id": ["a"], "item_id": ["i1"]})
    assert model.recommend(histories=lazy, k=1)["session_id"].to_list() == ["a"]


def test_a_data_set_names_its_sessions(model: Recommender) -> None:
    data = shop()
    everybody = model.recommend(dataset=data, k=2)
    assert everybody["session_id"].unique(maintain_order=True).to_list() == data.session_ids.tolist()
    one = model.recommend(["s3", "s1"], data, k=2)
    assert one["session_id"].to_list() == ["s3", "s3", "s1", "s1"]
    numbered = replace(data_of([[0, 1], [1]], 2, item_ids=[4, 5]), session_ids=np.array([70, 7]))
    by_text = Recommender("last-items").fit(numbered).recommend(["7", 70], numbered, k=1)
    assert by_text.select("session_id", "item_id").rows() == [(7, 5), (70, 5)]
    whole = [data.item_ids[i] for i in data.item[data.offsets[3] : data.offsets[4]]]
    assert listed(one, "s3") == model.recommend(histories=[whole], k=2)["item_id"].to_list()


def test_of_a_users_sessions_the_last_is_read() -> None:
    data = data_of([[0, 1], [2], [3]], 4, users=["ann", "bob", "ann"])
    frame = Recommender("last-items").fit(data).recommend(["ann", "bob"], data, k=3)
    assert frame.select("user_id", "item_id").rows() == [("ann", "i3"), ("bob", "i2")]


@pytest.mark.parametrize(("time", "read"), [([30, 99, 20], "i1"), ([20, 0, 30], "i3"), ([30, 0, 30], "i3")])
def test_of_a_users_sessions_the_last_in_time_is_read(time: list[int], read: str) -> None:
    """Whatever their ids, by which sessions are numbered; of two that ended at once that with the higher number."""
    data = replace(
        data_of([[0, 1], [2], [3]], 4, users=["ann", "bob", "ann"]), session_time=np.array(time, dtype=np.int64)
    )
    frame = Recommender("last-items").fit(data).recommend(["ann", "bob"], data, k=1)
    assert frame.select("user_id", "item_id").rows() == [("ann", read), ("bob", "i2")]


def test_integer_ids_stay_integers() -> None:
    data = data_of([[0, 1, 0]], 2, item_ids=[900, 50])
    frame = Recommender("popularity").fit(data).recommend(histories=[[50]], k=2)
    assert frame["item_id"].to_list() == [900, 50]
    assert frame["item_id"].dtype == pl.Int64
    assert Recommender("last-items").fit(data).recommend(histories=[np.array([900, 50])])["item_id"].to_list() == [
        50,
        900,
    ]


def test_users_come_before_sessions_of_the_same_name() -> None:
    data = data_of([[0], [1], [2]], 3, users=["s2", "s2", "bob"])
    fitted = Recommender("last-items").fit(data)
    assert fitted.recommend(["s2"], data).rows()[0][:2] == ("s2", "i1")
    assert fitted.recommend(["s0"], data).select("session_id", "item_id").rows() == [("s0", "i0")]


def test_an_empty_history_gets_what_most_begin_with(model: Recommender) -> None:
    assert len(model.recommend(histories=[[]], k=3)) == 3
    nobody = Recommender("last-items").fit(shop()).recommend(histories=[[], ["i4"]], k=3)
    assert nobody.select("session_id", "item_id").rows() == [(1, "i4")]
    nothing = Recommender("last-items").fit(shop()).recommend(histories=[[]], k=3)
    assert (nothing.columns, len(nothing)) == (["session_id", "item_id", "score", "rank"], 0)


# What is not known --------------------------------------------------------------------------------------------------


def test_unknown_items_are_skipped_and_told(model: Recommender, said: pytest.LogCaptureFixture) -> None:
    frame = model.recommend(histories=[["i1", "new", "i2"], ["newer"]], k=3)
    assert said.messages == [
        "Items of the histories that are not in the catalogue were skipped: 2, such as 'new'; "
        "of the histories, 1 held no other and were read as empty."
    ]
    assert listed(frame, 0) == listed(model.recommend(histories=[["i1", "i2"]], k=3), 0)
    assert listed(frame, 1) == listed(model.recommend(histories=[[]], k=3), 0)


def test_unknown_users_are_left_out_and_told(model: Recommender, said: pytest.LogCaptureFixture) -> None:
    frame = model.recommend(["s1", "nobody"], shop(), k=1)
    assert frame["session_id"].to_list() == ["s1"]
    assert said.messages == ["1 of 2 users are not in the data set, such as 'nobody'."]


def test_unknown_candidates_are_left_out_and_told(model: Recommender, said: pytest.LogCaptureFixture) -> None:
    frame = model.recommend(histories=[["i1"]], items_to_recommend=["i3", "new"], k=5)
    assert frame["item_id"].to_list() == ["i3"]
    assert said.messages == ["1 of 2 items to recommend are not in the catalogue, such as 'new'."]


UNKNOWN = [
    {"histories": [["i1", "new"]]},
    {"users": ["s1", "nobody"], "dataset": shop()},
    {"histories": [["i1"]], "items_to_recommend": ["i3", "new"]},
]


@pytest.mark.parametrize("asked", UNKNOWN)
def test_what_is_unknown_is_ignored_or_refused_where_asked(
    model: Recommender, said: pytest.LogCaptureFixture, asked: Any
) -> None:
    assert len(model.recommend(**asked, on_unsupported_targets="ignore"))
    assert said.messages == []
    assert "not in the" in refusal(model.recommend, **asked, on_unsupported_targets="raise")


# From the command line ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("catalogue", "known"),
    [(np.array([7, 8]), [0]), (np.array(["7", "007"], object), [0, 1])],
)
def test_an_id_that_is_written_otherwise_is_unknown(tmp_path: Path, catalogue: np.ndarray, known: list) -> None:
    texts = ["7", "007", "+7", "x", "9"]
    file = tmp_path / "asked.csv"
    file.write_text("user_id,item_id\n" + "".join(f"u,{text}\n" for text in texts))
    for asked in ([from_text(", ".join(texts))], from_file(file, Columns())):
        said: list[str] = []
        (items,) = of_histories(asked, catalogue, said.append).items
        assert items.tolist() == known
        skipped = f"Items of the histories that are not in the catalogue were skipped: {5 - len(known)}, "
        assert said[0].startswith(skipped)


def test_integers_are_asked_for_by_strings_and_the_reverse(tmp_path: Path) -> None:
    file = tmp_path / "asked.csv"
    file.write_text("user_id,item_id\nu,7\nu,8\n")
    for catalogue, known in ((np.array([7, 8]), [0, 1]), (np.array(["7", "x"], object), [0])):
        (items,) = of_histories(from_file(file, Columns()), catalogue, lambda _: None).items
        assert items.tolist() == known
