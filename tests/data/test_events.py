"""Event logs: what is read, what is refused and with which words, and what is warned of."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqward.data import files
from seqward.data.events import Columns, EventLog
from seqward.data.files import NULLS, plain_integers, read_columns
from seqward.data.sessions import cut_by_gap, stable_order
from seqward.errors import SeqwardError

HEADER = "session_id,item_id,timestamp\n"


def csv(folder: Path, text: str, name: str = "events.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode(errors="surrogateescape"))
    return path


def frame(**columns: list) -> pl.DataFrame:
    """A log of three events in one session, with the columns given in place of the usual."""
    return pl.DataFrame({"session_id": ["s"] * 3, "item_id": [1, 2, 3], "timestamp": [10, 20, 30]} | columns)


def refusal(action) -> str:
    with pytest.raises(SeqwardError) as caught:
        action()
    assert caught.value.exit_status == 2
    message = str(caught.value)
    assert len(message.splitlines()) <= 3
    return message


# What is read


def test_a_log_is_grouped_by_session_and_in_order_of_time(tmp_path):
    log = EventLog.read(csv(tmp_path, HEADER + "b,20,5\na,10,9\nb,30,1\na,20,3\n"))
    assert log.session_ids.tolist() == ["a", "b"]
    assert log.offsets.tolist() == [0, 2, 4]
    assert log.item_ids[log.item].tolist() == [20, 10, 30, 20]
    assert log.time is not None and log.time.tolist() == [3, 9, 1, 5]
    assert (log.event_types, log.reward.tolist(), log.goal.any()) == (("event",), [1.0] * 4, False)
    assert log.user_ids is None


@pytest.mark.parametrize(
    ("written", "kept"), [("7", 7), ("007", "007"), ("7.0", "7.0"), ("a7", "a7"), ("9" * 25, "9" * 25)]
)
def test_ids_keep_the_form_they_have_in_the_file(tmp_path, written, kept):
    log = EventLog.read(csv(tmp_path, HEADER + f"s,{written},1\n"))
    assert log.item_ids.tolist() == [kept]
    assert type(log.item_ids.tolist()[0]) is type(kept)


def test_ids_that_are_strings_only_far_down_are_strings(tmp_path):
    text = HEADER + "".join(f"s,{i},{i}\n" for i in range(10_001)) + "s,x,10001\n"
    log = EventLog.read(csv(tmp_path, text))
    assert {"0", "10000", "x"} <= set(log.item_ids.tolist())
    assert log.time is not None and log.time.tolist() == list(range(10_002))


@pytest.mark.parametrize("odd", ["007", "+7", "-0", "-07", " 7", "\t7", "7.0", "9" * 19, "x"])
@pytest.mark.parametrize("column", ["session_id", "item_id", "user_id"])
def test_ids_never_merge_however_far_down_one_is_written_otherwise(tmp_path, odd, column):
    table = pl.DataFrame({"session_id": "1", "item_id": "1", "user_id": "1", "timestamp": range(10_003)})
    ids = ["7", "0", *map(str, range(10, 10_010)), odd]
    table.with_columns(pl.Series(column, ids)).write_csv(tmp_path / "log.csv")
    columns = Columns(user_id="user_id") if column == "user_id" else Columns(session_id="session_id")
    log = EventLog.read(tmp_path / "log.csv", columns)
    assert {"7", "0", odd} <= set((log.item_ids if column == "item_id" else log.session_ids).tolist())


INTEGERS = st.integers(-(2**65), 2**65).map(str)


@given(st.lists(st.text("019+-\t .", min_size=1, max_size=6) | INTEGERS | INTEGERS), st.booleans())
def test_ids_of_a_file_are_integers_only_where_each_reads_back(tmp_path_factory, texts, quoted):
    """The first row, by which types are guessed, is 7."""
    file = tmp_path_factory.mktemp("log") / "log.csv"
    quote = '"' if quoted else ""
    file.write_text("a,b\n" + "".join(f"{quote}{text}{quote},x\n" for text in ["7", *texts]))
    plain = all(re.fullmatch(r"0|-?[1-9]\d*", text) and -(2**63) <= int(text) < 2**63 for text in texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "SAMPLE", 1)
        read = read_columns(file, ["a"], ["a"])["a"].to_list()
    assert read == [7, *map(int, texts)] if plain else read == ["7", *texts]


def test_event_types_never_merge(tmp_path):
    path = csv(tmp_path, "session_id,item_id,timestamp,event_type\ns,1,1,01\ns,1,2,1\n")
    assert EventLog.read(path, rewards={"01": 0.5, "1": 1}).event_types == ("01", "1")


@given(st.lists(st.text("019+- .", min_size=1, max_size=20) | st.integers(-(2**65), 2**65).map(str) | st.none()))
def test_strings_are_integers_only_where_each_reads_back(texts):
    whole = [text for text in texts if text is not None]
    plain = all(re.fullmatch(r"0|-?[1-9]\d*", text) and -(2**63) <= int(text) < 2**63 for text in whole)
    read = plain_integers(pl.Series(texts, dtype=pl.String)).to_list()
    assert read == ([None if text is None else int(text) for text in texts] if plain else texts)


@pytest.mark.parametrize("word", NULLS)
def test_words_for_a_missing_value_are_no_ids(tmp_path, word):
    rows = HEADER + f"s,7,1\ns,{word},2\n"
    for text in (rows, rows + "s,x,3\n"):
        file = csv(tmp_path, text)
        assert "'item_id' (items) is missing in 1 row, first in row 2" in refusal(partial(EventLog.read, file))
    assert "'timestamp' is missing in 1 row" in refusal(lambda: EventLog.read(csv(tmp_path, HEADER + f"s,1,{word}\n")))


def test_sparse_integer_ids_and_dense_ones_are_numbered_alike():
    dense = EventLog.from_frame(frame(item_id=[3, 1, 3]))
    sparse = EventLog.from_frame(frame(item_id=[3 * 10**12, 10**12, 3 * 10**12]))
    assert dense.item.tolist() == sparse.item.tolist() == [1, 0, 1]
    assert sparse.item_ids.tolist() == [10**12, 3 * 10**12]
    negative = EventLog.from_frame(frame(item_id=[-5, 4, -5]))
    assert negative.item_ids[negative.item].tolist() == [-5, 4, -5]


@pytest.mark.parametrize("name", ["e.csv", "e.tsv", "e.txt", "e.csv.gz", "e.parquet", "E.CSV"])
def test_every_ending_that_is_named_reads(tmp_path, name):
    path, rows = tmp_path / name, frame()
    if name.endswith("parquet"):
        rows.write_parquet(path)
    else:
        text = rows.write_csv(separator="\t" if name.endswith(("tsv", "txt")) else ",").encode()
        path.write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    log = EventLog.read(path)
    assert log.item_ids.tolist() == [1, 2, 3]
    assert log.protocol["source"]["file"] == name
    assert len(log.protocol["source"]["sha256"]) == 64


def test_columns_are_renamed_by_options_and_only_those_needed_are_read(tmp_path):
    path = csv(tmp_path, "v,i,t,junk\n1,2,3,\n1,2,4,x\n")
    log = EventLog.read(path, Columns(user_id="v", item_id="i", timestamp="t"))
    assert log.protocol["columns"] == {"user_id": "v", "item_id": "i", "time": "t"}
    assert log.user_ids is not None and log.user_ids.tolist() == [1]


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\r\n\r\n\r\n", "\n" * 5000])
@pytest.mark.parametrize("name", ["events.csv", "events.csv.gz"])
def test_how_the_text_ends_and_begins_does_not_matter(tmp_path, end, name):
    path = tmp_path / name
    text = b"\xef\xbb\xbf" + (HEADER + "s,1,2\ns,2,3" + end).encode()
    path.write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    assert EventLog.read(path).item_ids.tolist() == [1, 2]


def test_rows_of_nothing_but_separators_at_the_end_are_not_taken_for_blank_lines(tmp_path):
    message = refusal(lambda: EventLog.read(csv(tmp_path, HEADER + "s,1,2\n,,\n\n")))
    assert "is missing in 1 row, first in row 2" in message


def test_another_separator_is_an_option(tmp_path):
    path = csv(tmp_path, HEADER.replace(",", ";") + "s;1;2\n")
    assert EventLog.read(path, separator=";").n_events == 1
    assert "separator" in refusal(lambda: EventLog.read(path))
    assert EventLog.read(csv(tmp_path, HEADER.replace(",", "\t") + "s\t1\t2\n"), separator=r"\t").n_events == 1


@pytest.mark.parametrize("separator", ["::", "", "\n", '"', "é"])
def test_a_separator_is_one_character(tmp_path, separator):
    message = refusal(lambda: EventLog.read(csv(tmp_path, HEADER + "s,1,2\n"), separator=separator))
    assert f"The separator is {separator!r}; expected one ASCII character" in message


def test_naming_the_user_leaves_sessions_out_and_the_reverse():
    rows = frame(user_id=["u", "u", "v"])
    both = EventLog.from_frame(rows.with_columns(session_id=pl.Series(["s", "s", "t"])))
    assert (both.session_ids.tolist(), both.user_ids.tolist()) == (["s", "t"], ["u", "v"])
    assert EventLog.from_frame(rows, Columns(user_id="user_id")).session_ids.tolist() == ["u", "v"]
    assert EventLog.from_frame(rows, Columns(session_id="session_id")).user_ids is None


def test_a_session_of_several_users_is_told():
    log = EventLog.from_frame(frame(user_id=["u", "v", "u"]))
    assert log.user_ids is not None and log.user_ids.tolist() == ["u"]
    assert any("1 sessions hold events of several users (the first is 's')" in warning for warning in log.warnings)


def test_an_order_column_orders_and_a_time_beside_it_stays():
    log = EventLog.from_frame(frame(step=[3, 1, 2]), Columns(order="step"))
    assert log.item_ids[log.item].tolist() == [2, 3, 1]
    assert log.time is not None and log.time.tolist() == [20, 30, 10]
    alone = EventLog.from_frame(frame(step=[3, 1, 2]).drop("timestamp"), Columns(order="step"))
    assert alone.time is None


def test_a_time_may_be_the_order_too():
    log = EventLog.from_frame(frame(timestamp=[30, 10, 20]), Columns(order="timestamp"))
    assert log.item_ids[log.item].tolist() == [2, 3, 1]
    assert EventLog.from_frame(frame(), Columns(datetime="timestamp")).protocol["columns"]["time"] == "timestamp"


def test_a_gap_cuts_the_log_of_a_user():
    rows = pl.DataFrame({"user_id": ["b", "a", "a", "a"], "item_id": [1, 2, 3, 4], "timestamp": [0, 0, 1800, 3601]})
    log = EventLog.from_frame(rows, session_gap_minutes=30)
    assert log.session_ids.tolist() == ["a/1", "a/2", "b/1"]
    assert log.user_ids is not None and log.user_ids.tolist() == ["a", "a", "b"]
    assert np.diff(log.offsets).tolist() == [2, 1, 1]
    assert log.protocol["sessions"]["gap_minutes"] == 30
    milliseconds = EventLog.from_frame(rows, session_gap_minutes=30, time_unit="ms")
    assert milliseconds.n_sessions == 2


@pytest.mark.parametrize("size", [1, 10**3, 10**6, 10**9])
def test_the_unit_of_times_is_seen_from_their_size(size):
    times = [1_700_000_000 * size, (1_700_000_000 + 1801) * size]
    rows = pl.DataFrame({"user_id": ["a", "a"], "item_id": [1, 2], "timestamp": times})
    assert EventLog.from_frame(rows, session_gap_minutes=30).n_sessions == 2
    assert EventLog.from_frame(rows, session_gap_minutes=31).n_sessions == 1


MOMENT = datetime(2024, 2, 29, 13, 45, 0, 250_000)
MICROSECONDS = 1709214300250000


@pytest.mark.parametrize(
    ("written", "microseconds"),
    [
        ("2024-02-29T13:45:00.250Z", MICROSECONDS),
        ("2024-02-29 13:45:00.250", MICROSECONDS),
        ("2024-02-29T13:45:00.250+00:00", MICROSECONDS),
        ("2024-02-29 13:45:00.250 UTC", MICROSECONDS),
        ("2024-02-29T13:45:00.250-0230", MICROSECONDS + 150 * 60 * 10**6),
        ("2024-02-29T13:45:00.250+02", MICROSECONDS - 120 * 60 * 10**6),
        ("2024-02-29", 1709164800 * 10**6),
        ("2024-02-29T13:45", 1709214300 * 10**6),
    ],
)
def test_iso_times_are_microseconds(tmp_path, written, microseconds):
    log = EventLog.read(csv(tmp_path, HEADER + f"s,1,{written}\n"))
    assert log.time is not None and log.time.tolist() == [microseconds]


def test_each_time_counts_in_the_zone_that_it_says(tmp_path):
    """As the clocks went back in Berlin: 02:30 +02:00 is 00:30 UTC, 02:10 +01:00 is 01:10 UTC, 40 minutes later.

    Read without their zones, or all in the first one's, the second would stand before the first.
    """
    rows = ("s,1,2025-10-26T02:30:00+02:00\n", "s,2,2025-10-26T02:10:00+01:00\n", "s,3,2025-10-26T01:20:00Z\n")
    log = EventLog.read(csv(tmp_path, HEADER + "".join(rows)))
    assert log.item_ids[log.item].tolist() == [1, 2, 3]
    assert log.time is not None and np.diff(log.time).tolist() == [40 * 60 * 10**6, 10 * 60 * 10**6]
    assert log.time[0] == datetime(2025, 10, 26, 0, 30, tzinfo=UTC).timestamp() * 10**6
    assert log.warnings == (
        "Times stand in several time zones (+01:00, +02:00, Z): they are compared as times in UTC.",
    )


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_dates_in_frames_are_microseconds(unit):
    for zone in (None, "UTC"):
        dates = pl.Series([MOMENT] * 3).cast(pl.Datetime(unit)).dt.replace_time_zone(zone)
        log = EventLog.from_frame(frame(timestamp=dates))
        assert log.time is not None and log.time.tolist() == [MICROSECONDS] * 3


def test_decimal_times_stay_and_whole_ones_become_integers():
    assert EventLog.from_frame(frame(timestamp=[1.5, 0.25, 2.0])).time.tolist() == [0.25, 1.5, 2.0]
    whole = EventLog.from_frame(frame(timestamp=[1.0, 2.0, 3.0])).time
    assert whole is not None and whole.dtype == np.int64


def test_rewards_by_type_and_the_goal():
    rows = frame(event_type=["view", "cart", "view"])
    log = EventLog.from_frame(rows, rewards={"view": 0.2, "cart": 1}, goal="cart")
    assert log.event_types == ("cart", "view")
    assert log.reward.tolist() == pytest.approx([0.2, 1, 0.2])
    assert log.goal.tolist() == [False, True, False]
    assert log.protocol["rewards"] == {"types": {"cart": 1.0, "view": 0.2}}
    assert log.protocol["log"]["events_per_type"] == {"cart": 1, "view": 2}


@pytest.mark.parametrize(
    ("goal", "met"),
    [
        ("reward>=4", [0, 1, 1]),
        ("reward > 4", [0, 0, 1]),
        ("reward<=4.0", [1, 1, 0]),
        ("reward<4e0", [1, 0, 0]),
        ("reward==.2", [1, 0, 0]),
    ],
)
def test_the_goal_as_a_condition_on_the_reward_column(goal, met):
    log = EventLog.from_frame(frame(stars=[0.2, 4, 5]), Columns(reward="stars"), goal=goal)
    assert log.goal.tolist() == met
    assert log.protocol["rewards"] == {"column": "stars"}
    log = EventLog.from_frame(frame(stars=[2.0, -1.5, 4.0]), Columns(reward="stars"))
    assert log.protocol["rewards"] == {"column": "stars", "least": -1.5}


def test_a_map_of_rewards_goes_before_a_column_called_reward():
    rows = frame(reward=[9, 9, 9])
    assert EventLog.from_frame(rows).reward.tolist() == [9, 9, 9]
    assert EventLog.from_frame(rows, rewards={"event": 2}).reward.tolist() == [2, 2, 2]


def test_what_a_reader_says_is_in_the_protocol():
    removed = {"filter": "transaction rows dropped", "events": 46}
    log = EventLog.from_frame(
        frame(), source={"name": "shop"}, filters=[removed], warnings=["4 references are no item"]
    )
    assert log.protocol["source"] == {"name": "shop"}
    assert log.protocol["filters"] == [removed]
    assert log.warnings[0] == "4 references are no item"


# Backends


def test_pandas_polars_duckdb_and_lazy_frames_give_the_same_log():
    rows = pl.DataFrame(
        {
            "session_id": ["b", "a", "b", "a"],
            "item_id": [5, 7, 5, 6],
            "datetime": [MOMENT + timedelta(seconds=i) for i in (3, 1, 2, 0)],
            "event_type": ["view", "cart", "view", "view"],
            "reward": [0.5, 1.0, 0.25, 2.0],
        }
    )
    con = duckdb.connect()
    con.register("rows", rows.to_arrow())
    backends = [rows, rows.lazy(), rows.to_pandas(), rows.to_arrow(), con.sql("select * from rows")]
    first, *others = [EventLog.from_frame(backend, goal="cart") for backend in backends]
    for other in others:
        assert other.protocol == first.protocol
        assert other.warnings == first.warnings
        for name in ("item", "time", "reward", "goal", "event_type", "offsets", "item_ids", "session_ids"):
            assert getattr(other, name).tolist() == getattr(first, name).tolist(), name
            assert getattr(other, name).dtype == getattr(first, name).dtype, name


def test_categories_are_strings():
    rows = frame(session_id=["s", "t", "s"]).with_columns(pl.col("session_id").cast(pl.Categorical))
    assert EventLog.from_frame(rows).session_ids.tolist() == ["s", "t"]


# Refused


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("", "e.csv", r"e\.csv is empty \(0 bytes\)"),
        (HEADER, "e.csv", r"has a header and no rows"),
        (HEADER + "s,1,2\n", "e.parquet", r"is no Parquet file, though its name says so: it is text"),
        ("<!DOCTYPE html><p>log in", "e.csv", r"not the text that its ending \.csv says: it is a web page"),
        ('{"a": 1}\n', "e.csv", r"it is JSON"),
        ("PK\x03\x04", "e.csv", r"it is a zip archive"),
        ("a\0b", "e.tsv", r"it is binary data"),
        (HEADER, "e.csv.gz", r"is not compressed as its ending \.gz says"),
        (HEADER, "e.xlsx", r"ends in '\.xlsx'; known are \.csv, \.tsv"),
        (HEADER, "e", r"e has no ending; known are \.csv"),
        ("\udcff\udcfe", "e.csv", r"it is UTF-16 text\. Save it as UTF-8"),
        (
            "session,item_id,timestamp\ns,1,2\n",
            "e.csv",
            r"no column session_id or user_id. It has: session, item_id, time",
        ),
        (
            "session_id,itemid,timestamp\ns,1,2\n",
            "e.csv",
            r"no column item_id\..*Did you mean 'itemid'\?\n.*--item-col",
        ),
        ("session_id,item_id,when\ns,1,2\n", "e.csv", r"no column timestamp or datetime or order"),
        (HEADER + "s,1,2\n,1,2\n,1,3\n", "e.csv", r"'session_id' \(sessions\) is missing in 2 rows, first in row 2"),
        (HEADER + "s,1,2\ns,,2\n", "e.csv", r"'item_id' \(items\) is missing in 1 row, first in row 2"),
        (HEADER + 's,1,2\ns,"",2\n', "e.csv", r"'item_id' \(items\) is missing in 1 row, first in row 2"),
        (HEADER + "s,1,\ns,1,2\n", "e.csv", r"Time column 'timestamp' is missing in 1 row, first in row 1"),
        (HEADER + "s,1,2\ns,1,soon\n", "e.csv", r"row 2 holds 'soon', which is no number"),
        (HEADER + "s,1,2024-01-01\ns,1,2024-13-01\n", "e.csv", r"row 2 holds '2024-13-01', which is no time"),
        (HEADER + "s,1,2024-02-30\ns,1,2024-01-01\n", "e.csv", r"row 1 holds '2024-02-30', which is no time"),
        (HEADER + "s,1,2\ns,NULL,3\n", "e.csv", r"'item_id' \(items\) is missing in 1 row, first in row 2"),
        (HEADER + "s,1,2\nNA,1,3\n", "e.csv", r"'session_id' \(sessions\) is missing in 1 row, first in row 2"),
        (HEADER + "s,1,2\n\ns,1,3\n", "e.csv", r"is missing in 1 row, first in row 2"),
        (HEADER + "s,1,01/02/2024\n", "e.csv", r"row 1 holds '01/02/2024', which is no time.*ISO 8601"),
        (HEADER + "s,1,2024-01-01T00:00:00Z\ns,1,bad\n", "e.csv", r"row 2 holds 'bad', which is no time"),
        (
            HEADER + "s,1,2024-01-01T00:00:00Z\ns,1,2024-01-01T00:00:00\n",
            "e.csv",
            r"times with a zone and without: row 1 holds '2024-01-01T00:00:00Z', row 2 '2024-01-01T00:00:00'",
        ),
        (HEADER + "s,1,2024-01-01T00:00:00\ns,1,2024-01-01T00:00:00Z\n", "e.csv", r"a zone and without: row 1"),
        ((HEADER + "s,1,2\n").replace("\n", "\r"), "e.csv", r"e\.csv ends its lines with CR alone"),
        (HEADER + "s,\udce9,2\n", "e.csv", r"e\.csv cannot be read: it is not UTF-8 text"),
        ("7,1,2\n7,2,3\n", "e.csv", r"It has: 7, 1, 2\. Has the file no header line\?"),
        (
            HEADER + "s,1,2\ns,1,99999999999999999999\n",
            "e.csv",
            "row 2 holds 99999999999999999999, too large to be kept",
        ),
        (HEADER + "s,1,2,3\n", "e.csv", r"e\.csv cannot be read: row 1 has 4 fields, and the header 3\."),
        ('session_id,item_id,timestamp\ns,"1,2\n', "e.csv", r"e\.csv cannot be read"),
        ("session_id,item_id,item_id,timestamp\ns,1,1,2\n", "e.csv", r"two columns 'item_id'"),
    ],
)
def test_a_file_is_refused_with_its_reason(tmp_path, text, name, message):
    path = csv(tmp_path, text, name)
    assert re.search(message, refusal(lambda: EventLog.read(path)), re.DOTALL)


def test_a_compressed_file_that_was_cut_off_is_refused(tmp_path):
    whole = gzip.compress((HEADER + "".join(f"s,{i},{i}\n" for i in range(5000))).encode())
    (tmp_path / "e.csv.gz").write_bytes(whole[:-20])
    assert "e.csv.gz cannot be read: unexpected end" in refusal(lambda: EventLog.read(tmp_path / "e.csv.gz"))


@pytest.mark.parametrize("name", ["e.csv", "e.csv.gz"])
def test_a_row_with_too_many_fields_is_named(tmp_path, name):
    text = (HEADER + "".join(f"s,{i},{i}\n" for i in range(12_000)) + 's,"1,5",2,3\n').encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    assert "row 12001 has 4 fields, and the header 3" in refusal(lambda: EventLog.read(tmp_path / name))


def test_a_name_with_a_bracket_is_no_pattern(tmp_path):
    assert EventLog.read(csv(tmp_path, HEADER + "s,1,2\n", "log[1].csv")).n_events == 1
    frame().write_parquet(tmp_path / "log*.parquet")
    frame().write_parquet(tmp_path / "log2.parquet")
    assert EventLog.read(tmp_path / "log*.parquet").n_events == 3


def test_a_parquet_file_has_no_separator(tmp_path):
    frame().write_parquet(tmp_path / "log.parquet")
    assert "has no separator" in refusal(lambda: EventLog.read(tmp_path / "log.parquet", separator=","))


def test_the_row_at_fault_is_named_far_down_the_file(tmp_path):
    text = HEADER + "".join(f"s,{i},{i}\n" for i in range(12_000))
    assert "row 12001 holds 'x'" in refusal(lambda: EventLog.read(csv(tmp_path, text + "s,1,x\n")))
    iso = HEADER + "s,1,2024-01-01\n" * 12_000
    assert "row 12001 holds '12'" in refusal(lambda: EventLog.read(csv(tmp_path, iso + "s,1,12\n")))


def test_a_parquet_file_is_refused_when_it_is_another_thing(tmp_path):
    whole = tmp_path / "whole.parquet"
    frame().write_parquet(whole)
    bytes_ = whole.read_bytes()
    (tmp_path / "named.csv").write_bytes(bytes_)
    assert "it is a Parquet file" in refusal(lambda: EventLog.read(tmp_path / "named.csv"))
    (tmp_path / "cut.parquet").write_bytes(bytes_[:-20])
    assert "cut.parquet was cut off" in refusal(lambda: EventLog.read(tmp_path / "cut.parquet"))
    (tmp_path / "bent.parquet").write_bytes(bytes_[:4] + b"\0" * 40 + bytes_[-12:-8] + b"\xff" * 4 + b"PAR1")
    assert "bent.parquet cannot be read" in refusal(lambda: EventLog.read(tmp_path / "bent.parquet"))
    (tmp_path / "latin.csv").write_bytes(HEADER.encode() + b"\xff\xe9,1,2\n")
    assert "latin.csv cannot be read" in refusal(lambda: EventLog.read(tmp_path / "latin.csv"))


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "does not exist" in refusal(lambda: EventLog.read(tmp_path / "none.csv"))
    assert "is a folder" in refusal(lambda: EventLog.read(tmp_path))


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        (frame(), Columns(item_id="item"), r"no column 'item' \(named for item_id\). It has: session_id.*'item_id'\?"),
        (
            frame(datetime=[1, 2, 3]),
            Columns(timestamp="timestamp", datetime="datetime"),
            "Both a timestamp and a datetime",
        ),
        (
            frame(item_id=[1.5, 2, 3]),
            Columns(),
            r"'item_id' \(items\) are of type Float64; they must be integers or str",
        ),
        (frame(item_id=[1, None, 3]), Columns(), r"'item_id' \(items\) is missing in 1 row, first in row 2"),
        (
            frame(item_id=["a", " ", "\t"]),
            Columns(),
            r"'item_id' \(items\) is blank in 2 rows, first in row 2\. Every event",
        ),
        (
            frame(event_type=["a", "b", "  "]),
            Columns(),
            r"'event_type' \(event types\) is blank in 1 row, first in row 3",
        ),
        (
            frame(),
            Columns(item_id="session_id"),
            "'session_id' would be both session_id and item_id. Name another with --session-col or --item-col",
        ),
        (
            frame(),
            Columns(reward="timestamp"),
            "'timestamp' would be both reward and time. Name another with --reward-col",
        ),
        (frame(item_id=[2**70, 1, 2]), Columns(), "beyond 64-bit integers"),
        (frame(item_id=[[1], [2], [3]]), Columns(), r"of type List\(Int64\); they must be .* First value: \[1\]\.$"),
        (frame(event_type=[["a"], ["b"], ["c"]]), Columns(), r"is of type List\(String\); event types must be strings"),
        (frame(event_type=[b"a", b"b", b"\xff"]), Columns(), r"is of type Binary; event types must be strings"),
        (
            frame(timestamp=pl.Series([1, 2**64, 3], dtype=pl.Int128)),
            Columns(),
            "row 2 holds 18446744073709551616, too large to be kept exactly",
        ),
        (frame(timestamp=[0.5, 1.0, 2.0**60]), Columns(), "row 3 holds 1.15.*e[+]18, too large to be kept exactly"),
        (frame(session_id=[True, True, False]), Columns(), "of type Boolean"),
        (frame(user_id=["u", None, None]), Columns(), r"'user_id' \(users\) is missing in 2 rows, first in row 2"),
        (frame(timestamp=[1.0, float("nan"), 2.0]), Columns(), "is missing in 1 row, first in row 2"),
        (frame(timestamp=[1.0, 2.0, float("inf")]), Columns(), "row 3 holds inf, which is no finite number"),
        (frame(timestamp=[[1], [2], [3]]), Columns(), "is of type List"),
        (frame(timestamp=["1", "2", "x"]), Columns(), "row 3 holds 'x', which is no number"),
        (frame(step=[1, None, 2]), Columns(order="step"), "Order column 'step' is missing in 1 row, first in row 2"),
        (
            frame(step=["a", "b", "c"]),
            Columns(order="step"),
            "Order column 'step': row 1 holds 'a', which is no number",
        ),
        (frame(reward=[1.0, None, 2.0]), Columns(), "Reward column 'reward' is missing in 1 row, first in row 2"),
        (frame(reward=["1", "2,5", "3"]), Columns(), "Reward column 'reward': row 2 holds '2,5', which is no number"),
        (frame(reward=[1e39, 1.0, 2.0]), Columns(), "row 1 holds 1e[+]?39, which is no finite number"),
        (frame(reward=[True, True, True]), Columns(), "is of type Boolean; expected numbers"),
        (
            frame(event_type=["view", None, "view"]),
            Columns(),
            r"'event_type' \(event types\) is missing in 1 row, first in",
        ),
        (frame(event_type=["view", "buy", "view"]), Columns(), "No reward for event type 'buy', 'view'.*buy 1, view 2"),
        (frame().clear(), Columns(), "The log has no rows"),
    ],
)
def test_a_frame_is_refused_with_its_reason(rows, columns, message):
    assert re.search(message, refusal(lambda: EventLog.from_frame(rows, columns)), re.DOTALL)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rewards": {"view": 0.2}}, r"No reward for event type 'cart'\..*with their counts: cart 1, view 2"),
        ({"rewards": {"view": 0.2, "carts": 1}}, r"No reward for event type 'cart'\. Did you mean 'carts'\?"),
        (
            {"rewards": {"view": 0.2, "cart": float("nan")}},
            "reward of event type 'cart' is nan; expected a finite number",
        ),
        ({"rewards": {"view": 0.2, "cart": "much"}}, "is 'much'; expected a finite number"),
        (
            {"rewards": {"view": 0.2, "cart": 1}, "goal": "carts"},
            "neither an event type .*cart, view.*Did you mean 'cart'",
        ),
        ({"rewards": {"view": 0.2, "cart": 1}, "goal": "reward=>4"}, "nor a condition such as 'reward>=4'"),
        ({"rewards": {"view": 0.2, "cart": 1}, "session_gap_minutes": 30}, "no column user_id"),
        (
            {"goals": "cart"},
            r"A log is not told 'goals'; .* and columns=\{'item_id': .*Did you mean 'goal'",
        ),
        ({"columns": {"item": "i"}}, "columns: no part of a log is called 'item'; they are session_id, "),
        ({"session_gap_minutes": float("inf")}, "The session gap is inf minutes; expected a number above 0"),
        ({"session_gap_minutes": "30"}, "The session gap is 30 minutes; expected a number above 0"),
        ({"rewards": {"view": 0.2, "cart": 1e50}}, r"is 1e\+50; expected a finite number"),
        ({"rewards": [("view", 1), ("cart", 1)]}, "Expected rewards as a mapping such as .*; got .*view"),
        ({"rewards": {"view": 0.2, "cart": 1}, "goal": 4}, "The goal 4 is neither an event type"),
        ({"session_gap_minutes": 0}, "The session gap is 0 minutes; expected a number above 0"),
        ({"time_unit": "sec"}, "Unknown time unit 'sec'; known are s, ms, us, ns"),
        (
            {"columns": Columns(timestamp="day"), "time_unit": "s", "rewards": {"view": 0.2, "cart": 1}},
            r"A time unit \(s\) is for times that are numbers, and 'day' holds dates: leave it out",
        ),
    ],
)
def test_options_are_refused_with_their_reason(options, message):
    rows = frame(event_type=["view", "cart", "view"], day=[MOMENT] * 3)
    assert re.search(message, refusal(lambda: EventLog.from_frame(rows, **options)), re.DOTALL)


def test_a_goal_by_type_asks_for_the_column_of_types():
    message = refusal(lambda: EventLog.from_frame(frame(), goal="purchase"))
    assert message.endswith("(one of >= <= > < ==). Say which column holds the event types (--event-col).")


@pytest.mark.parametrize(
    ("columns", "hint"),
    [
        (["user;item;when"], "It has: user;item;when. It is one column: is the separator another (--separator)?"),
        (["17", "2024", "view"], "It has: 17, 2024, view. Has the file no header line?"),
        (["USER", "item", "when"], "It has: USER, item, when. Did you mean 'USER'?"),
    ],
)
def test_a_named_column_that_is_not_there_tells_what_may_be_wrong_with_the_header(columns, hint):
    rows = pl.DataFrame({name: [1] for name in columns})
    message = refusal(lambda: EventLog.from_frame(rows, Columns(user_id="user")))
    assert message == f"The log has no column 'user' (named for user_id). {hint}"


def test_two_sources_of_one_thing_are_refused():
    rows = frame(reward=[1, 2, 3], user_id=["u"] * 3)
    message = refusal(lambda: EventLog.from_frame(rows, Columns(reward="reward"), rewards={"event": 1}))
    assert "Rewards come from a map and from the column 'reward'" in message
    message = refusal(lambda: EventLog.from_frame(rows, Columns(session_id="session_id"), session_gap_minutes=5))
    assert "A gap cuts the log of a user, but 'session_id' names sessions" in message


def test_what_is_no_frame_is_refused():
    assert "Expected a pandas, polars, pyarrow or duckdb frame, got list" in refusal(lambda: EventLog.from_frame([1]))
    twice = pd.DataFrame([[1, 2]], columns=["item_id", "item_id"])
    assert "several columns of one name" in refusal(lambda: EventLog.from_frame(twice))
    mixed = frame().to_pandas().assign(item_id=pd.Series([1, "a", 2], dtype=object))
    assert "Column 'item_id' cannot be read, are its values of one type?" in refusal(lambda: EventLog.from_frame(mixed))


def test_columns_of_a_frame_are_named_by_strings_and_hold_numbers():
    by_number = pd.DataFrame({0: ["s"], 1: [1], 2: [3]})
    assert "The frame has a column 0; expected strings as names" in refusal(lambda: EventLog.from_frame(by_number))
    rows = frame().to_pandas().assign(reward=1j)
    assert "Column 'reward' cannot be read" in refusal(lambda: EventLog.from_frame(rows))


def test_python_dates_with_and_without_a_zone_in_pandas_are_refused():
    dates = [MOMENT.replace(tzinfo=UTC), MOMENT, MOMENT.replace(tzinfo=UTC)]
    rows = frame().to_pandas().assign(timestamp=pd.Series(dates, dtype=object))
    assert "times with a zone and without: row 1" in refusal(lambda: EventLog.from_frame(rows))
    missing = frame().to_pandas().assign(timestamp=pd.Series([MOMENT, None, MOMENT], dtype=object))
    assert "is missing in 1 row, first in row 2" in refusal(lambda: EventLog.from_frame(missing))


# Warned


def warnings_of(rows: pl.DataFrame, **options) -> str:
    return "\n".join(EventLog.from_frame(rows, **options).warnings)


def test_a_clean_log_warns_of_nothing():
    assert EventLog.from_frame(frame()).warnings == ()


def test_unsorted_rows_are_sorted_and_told():
    log = EventLog.from_frame(frame(timestamp=[20, 10, 30]))
    assert log.item_ids[log.item].tolist() == [2, 1, 3]
    assert log.warnings == ("1 of 3 rows stood after a later event of their session: sorted.",)
    assert log.protocol["rows_out_of_order"] == 1
    interleaved = frame(session_id=["b", "a", "b"])
    assert EventLog.from_frame(interleaved).warnings == ()


def test_equal_times_keep_the_order_of_the_rows_and_are_told():
    log = EventLog.from_frame(frame(item_id=[3, 1, 2], timestamp=[5, 5, 9]))
    assert log.item_ids[log.item].tolist() == [3, 1, 2]
    assert log.protocol["equal_times"] == pytest.approx(2 / 3)
    assert log.warnings == (
        "2 of 3 events (66.7%) share their session and time: equal times keep the order of the rows (stable sort).",
    )
    apart = frame(session_id=["a", "b", "c"], timestamp=[5, 5, 5])
    assert EventLog.from_frame(apart).protocol["equal_times"] == 0


def test_duplicate_rows_are_kept_and_told():
    rows = frame(item_id=[1, 1, 1], timestamp=[5, 5, 6])
    log = EventLog.from_frame(rows)
    assert log.n_events == 3
    assert log.protocol["repeated_rows"] == 1
    assert "1 of 3 rows repeat another row (session, time, item, type, reward): kept." in log.warnings
    assert EventLog.from_frame(replace_reward(rows, [1, 2, 3])).protocol["repeated_rows"] == 0


def replace_reward(rows: pl.DataFrame, values: list[float]) -> pl.DataFrame:
    return rows.with_columns(reward=pl.Series(values))


@pytest.mark.parametrize("name", ["e.csv", "e.csv.gz"])
def test_rows_swallowed_by_a_quote_are_told(tmp_path, name):
    path = tmp_path / name

    def warnings_of_text(rows: str) -> str:
        text = ("session_id,item_id,timestamp,text\n" + rows).encode()
        path.write_bytes(gzip.compress(text) if name.endswith("gz") else text)
        return "\n".join(EventLog.read(path).warnings)

    told = f"1 line breaks of {name} stand in quotes"
    assert told in warnings_of_text('s,1,1,"a\\"b"\ns,2,2,"c\\"d"\ns,3,3,e\n')
    assert told in warnings_of_text('s,1,1,"two\nlines"\ns,2,2,"one"\n\n\n')
    assert "line breaks" not in warnings_of_text('s,1,1,"one, ""quoted"""\ns,2,2,"one"\n\n\n')


@pytest.mark.parametrize(
    ("times", "told"),
    [
        ([1_700_000_000_000, 1_700_000_001, 1_700_000_000_001], "Times lie between 1700000001 and 1700000000001"),
        ([1_700_000_000, 0, 1_700_000_001], "do some rows hold 0 for none"),
        ([datetime(2024, 1, 1), datetime(1970, 1, 1), datetime(2024, 1, 2)], "between 1970-01-01T00:00:00.000000 and"),
        ([20240131, 20240201, 20231231], "Times such as 20231231 look like dates: they are taken for numbers"),
    ],
)
def test_times_that_look_wrong_are_told(times, told):
    assert told in warnings_of(frame(timestamp=times))


@pytest.mark.parametrize(
    "times", [[0, 5, 9], [946_684_800, 946_684_801, 1_700_000_000], [20240001, 20240101, 20240102]]
)
def test_times_that_may_be_right_are_not_told(times):
    assert "Times" not in warnings_of(frame(timestamp=times))


def test_items_numbered_in_order_of_appearance_are_told():
    n = 50
    rows = pl.DataFrame({"session_id": np.arange(n) // 5, "item_id": np.arange(n), "timestamp": np.arange(n)})
    told = "Item ids are in order of first appearance"
    assert told in warnings_of(rows)
    assert told in warnings_of(rows.sample(fraction=1, shuffle=True, seed=0))
    shuffled = rows.with_columns(pl.col("item_id").shuffle(seed=1))
    assert told not in warnings_of(shuffled)
    assert told not in warnings_of(shuffled.sort("item_id"))
    assert told not in warnings_of(rows.head(9))
    named = rows.with_columns(pl.format("item{}", "item_id").alias("item_id"))
    assert told in warnings_of(named)  # item10 stands before item2 as text
    assert told not in warnings_of(named.with_columns(pl.col("item_id").shuffle(seed=1)))
    for ending in ("th", "\u0663"):  # no number at the end, and a digit of other numbers
        assert told not in warnings_of(rows.with_columns(pl.format("{}" + ending, "item_id").alias("item_id")))


def test_a_reward_or_goal_for_nothing_is_told():
    rows = frame(event_type=["view", "cart", "view"])
    rewards = {"view": 0.2, "cart": 1, "sale": 5}
    assert "The reward map names 'sale', which no event of the log is." in warnings_of(rows, rewards=rewards)
    assert "No goal is named" in warnings_of(rows, rewards=rewards)
    assert "No event meets the goal 'reward>9'." in warnings_of(rows, rewards=rewards, goal="reward>9")


# Against slow oracles


keys = st.lists(st.tuples(st.integers(0, 4), st.integers(-3, 3)), min_size=1, max_size=40)


@given(keys)
def test_order_is_that_of_a_stable_sort(pairs):
    group, key = (np.array(column) for column in zip(*pairs, strict=True))
    rows, keys_in, offsets, late = stable_order(group.astype(np.int32), key)
    assert rows.tolist() == sorted(range(len(pairs)), key=lambda row: pairs[row])
    assert keys_in.tolist() == [pairs[row][1] for row in rows]
    held = [group[rows[start:end]].tolist() for start, end in pairwise(offsets)]
    assert held == [[one] * n for one, n in sorted(Counter(group.tolist()).items())]
    by_group = sorted(range(len(pairs)), key=lambda row: pairs[row][0])
    assert late == sum(pairs[a][0] == pairs[b][0] and pairs[b][1] < pairs[a][1] for a, b in pairwise(by_group))


@given(keys, st.integers(1, 3))
def test_cutting_by_a_gap_agrees_with_a_walk(pairs, gap):
    user, time = (np.array(column) for column in zip(*pairs, strict=True))
    user = np.unique(user, return_inverse=True)[1].astype(np.int32)
    number, owner, nth = cut_by_gap(user, time, gap)
    expected: dict[int, tuple[int, int]] = {}
    last: tuple[int, int, int] | None = None
    for row in sorted(range(len(user)), key=lambda row: (user[row], time[row])):
        if last is None or last[0] != user[row]:
            last = (user[row], time[row], 1)
        else:
            last = (last[0], time[row], last[2] + (time[row] - last[1] > gap))
        expected[row] = (last[0], last[2])
    assert [(owner[s], nth[s]) for s in number] == [expected[row] for row in range(len(user))]
    assert sorted(set(number.tolist())) == list(range(len(owner)))


def test_a_log_is_frozen():
    log = EventLog.from_frame(frame())
    with pytest.raises(AttributeError):
        log.item = log.item  # type: ignore[misc]
    assert replace(log, warnings=("x",)).warnings == ("x",)
