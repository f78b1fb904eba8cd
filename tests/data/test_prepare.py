"""From log to data set: filters, vocabulary, protocol, the folder, and what is refused."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
from collections import Counter
from dataclasses import fields
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from seqward.data.dataset import SPLITS, TEST, TRAIN, VALIDATION, Dataset, read_description
from seqward.data.events import Columns, EventLog
from seqward.data.prepare import PrepareSettings, prepare
from seqward.errors import SeqwardError
from shared_data import shared_data

Row = tuple[int, int, int]


def log_of(rows: list[Row], **options) -> EventLog:
    """A log of (session, item, time)."""
    table = pl.DataFrame(rows, schema=["session_id", "item_id", "timestamp"], orient="row")
    return EventLog.from_frame(table, **options)


def quiet(log: EventLog, **options) -> Dataset:
    return prepare(log, warn=lambda _: None, **options)


def rows_of(data: Dataset) -> list[tuple[int, int]]:
    """(session, item) in order, with the ids of the log."""
    sessions = data.session_ids[data.session_of_event()]
    return list(zip(sessions.tolist(), data.item_ids[data.item].tolist(), strict=True))


def digest(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def assert_same(a: Dataset, b: Dataset) -> None:
    for field in fields(Dataset):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if field.name != "path":
            assert x.tolist() == y.tolist() if isinstance(x, np.ndarray) else x == y, field.name


SHOP = [(s, (s * 7 + e * e) % 23, 100 * s + e) for s in range(40) for e in range(2 + s % 5)]

# Distinct times, so that the order of the rows carries nothing.
logs = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 8)), min_size=12, max_size=80).map(
    lambda pairs: [(session, item, time * 3 % 83) for time, (session, item) in enumerate(pairs)]
)
choices = st.fixed_dictionaries(
    {
        "split": st.sampled_from(["random", "temporal", "leave-one-out"]),
        "vocabulary": st.sampled_from(["training", "log"]),
        "seed": st.integers(0, 3),
        "min_session_length": st.integers(1, 2),
        "min_item_count": st.integers(1, 2),
    }
)


def kept_rows(rows: list[Row], min_session_length: int, min_item_count: int) -> list[Row]:
    """The slow oracle of the filters: sessions, then items, each counted once."""
    sessions = Counter(session for session, _, _ in rows)
    rows = [row for row in rows if sessions[row[0]] >= min_session_length]
    items = Counter(item for _, item, _ in rows)
    return sorted((row for row in rows if items[row[1]] >= min_item_count), key=lambda row: (row[0], row[2]))


@given(logs, choices)
def test_no_event_is_lost_and_every_one_has_one_split(rows, settings):
    expected = kept_rows(rows, settings["min_session_length"], settings["min_item_count"])
    assume(len({session for session, _, _ in expected}) > 1)
    data = quiet(log_of(rows), **settings)
    assert rows_of(data) == [(session, item) for session, item, _ in expected]
    assert np.isin(data.split, list(SPLITS.values())).all()
    assert sum(len(data.events_of(name)) for name in SPLITS) == data.n_events
    removed = sum(step["events"] for step in data.protocol["filters"])
    assert removed + data.n_events == len(rows)


@given(logs, choices)
def test_items_are_numbered_one_to_one_and_the_vocabulary_comes_first(rows, settings):
    assume(len({session for session, _, _ in kept_rows(rows, 2, 2)}) > 1)
    data = quiet(log_of(rows), **settings)
    assert len(set(data.item_ids.tolist())) == len(data.item_ids)
    assert set(data.item.tolist()) == set(range(len(data.item_ids)))
    trained = set(data.item[data.split == TRAIN].tolist())
    known = trained if settings["vocabulary"] == "training" else set(data.item.tolist())
    assert known == set(range(data.n_items))
    outside = data.protocol["counts"]["splits"]["test"]["targets_outside_vocabulary"]
    assert outside == sum(item not in known for item in data.item[data.split == TEST].tolist())


@given(logs, choices, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing_where_times_are_distinct(rows, settings, random):
    assume(len({session for session, _, _ in kept_rows(rows, 2, 2)}) > 1)
    shuffled = random.sample(rows, len(rows))
    a, b = quiet(log_of(rows), **settings), quiet(log_of(shuffled), **settings)
    for data in (a, b):
        data.protocol.pop("warnings")
        data.protocol.pop("rows_out_of_order")
    assert_same(a, b)


def test_filters_count_once_sessions_first_and_short_sessions_may_remain():
    rows = [(1, 10, 0), (1, 10, 1), (1, 11, 2), (2, 12, 0), (2, 12, 1), (3, 10, 0), (3, 12, 1), (3, 12, 2)]
    data = quiet(log_of(rows), min_session_length=3, min_item_count=3, split="leave-one-out")
    assert rows_of(data) == [(1, 10), (1, 10), (3, 10)]
    sessions, items = data.protocol["filters"]
    assert sessions == {"filter": "sessions of fewer than 3 events", "events": 2, "sessions": 1, "items": 0}
    assert items["filter"] == "events of items with fewer than 3 events"
    assert (items["events"], items["items"], items["shorter_sessions_kept"]) == (3, 2, 2)


def test_the_published_order_of_filters_equals_a_slow_walk_on_retailrocket():
    path = shared_data("retailrocket-sample") / "sample_events.csv"
    rows = pl.read_csv(path).filter(pl.col("transactionid").is_null())
    log = EventLog.from_frame(
        rows,
        Columns(user_id="visitorid", item_id="itemid", event_type="event"),
        rewards={"view": 0.2, "addtocart": 1.0},
        goal="addtocart",
    )
    data = quiet(log, min_session_length=3, min_item_count=3)
    walk = kept_rows(rows.select("visitorid", "itemid", "timestamp").rows(), 3, 3)
    assert Counter(rows_of(data)) == Counter((session, item) for session, item, _ in walk)
    assert data.protocol["counts"]["goals"] == int(data.goal.sum()) > 0


def test_numbers_are_shuffled_by_the_seed():
    rows = [(s, i, 1000 * s + i) for s in range(20) for i in range(30)]
    a, b, c = (quiet(log_of(rows), seed=seed) for seed in (0, 0, 1))
    assert a.item_ids.tolist() == b.item_ids.tolist() != c.item_ids.tolist()
    assert a.item_ids.tolist() != sorted(a.item_ids.tolist())


def test_the_protocol_tells_how_the_log_became_this():
    log = log_of(SHOP, source={"name": "shop", "sha256": "abc"}, filters=[{"filter": "bots", "events": 5}])
    data = quiet(log, seed=4, split="temporal", min_session_length=4)
    protocol = data.protocol
    assert protocol["source"] == {"name": "shop", "sha256": "abc"}
    assert [step["filter"] for step in protocol["filters"]] == ["bots", "sessions of fewer than 4 events"]
    assert protocol["split"]["name"] == "temporal" and "last event" in protocol["split"]["rule"]
    assert (protocol["seed"], protocol["goal"], protocol["rewards"]) == (4, None, {"types": {"event": 1.0}})
    counts = protocol["counts"]
    assert counts["events"] == data.n_events == counts["events_per_type"]["event"]
    assert counts["sessions"] == data.n_sessions == sum(part["sessions"] for part in counts["splits"].values())
    assert counts["items"] + counts["items_outside_vocabulary"] == len(data.item_ids)
    assert counts["mean_length"] == pytest.approx(data.n_events / data.n_sessions)
    assert protocol["tie_rule"].startswith("equal times keep the order of the rows")
    assert json.loads(json.dumps(protocol)) == protocol


def test_the_protocol_tells_how_many_validate():
    data = quiet(log_of(SHOP), split="leave-one-out", validation_users=7)
    assert data.protocol["split"]["validation_users"] == 7 == (data.split == VALIDATION).sum()
    assert "of 7 sessions (users) drawn by the seed the one before is validation" in data.protocol["split"]["rule"]
    everybody = quiet(log_of(SHOP), split="leave-one-out").protocol["split"]
    assert set(everybody) == {"name", "rule"} and "the one before validation" in everybody["rule"]


def test_what_the_protocol_says_is_not_in_the_hashes_of_the_tables(tmp_path):
    """So a result stays one of the same data when the words of the protocol change."""
    plain, told = (quiet(log_of(SHOP, warnings=said), out=tmp_path / name) for name, said in (("a", []), ("b", ["x"])))
    assert plain.protocol != told.protocol
    assert read_description(tmp_path / "a")["sha256"] == read_description(tmp_path / "b")["sha256"]


def test_warnings_are_passed_on_and_recorded():
    said: list[str] = []
    data = prepare(log_of([*SHOP, SHOP[0]], warnings=["4 references are no item"]), warn=said.append)
    assert said == data.protocol["warnings"]
    assert said[0] == "4 references are no item"
    assert any("rows repeat another row" in warning for warning in said)
    assert any(warning.startswith("Dropped sessions of fewer than 3 events: ") for warning in said)


def test_warnings_go_to_the_log_by_default(caplog):
    with caplog.at_level(logging.WARNING, "seqward"):
        prepare(log_of(SHOP))
    assert "Dropped sessions of fewer than 3 events" in caplog.text


def test_an_empty_split_is_told():
    rows = [(s, e, e) for s in range(4) for e in range(3)]
    assert "The validation split is empty." in quiet(log_of(rows)).protocol["warnings"]


# The folder


def test_the_folder_reads_back_as_it_was(tmp_path):
    table = pl.DataFrame(SHOP, schema=["session_id", "item_id", "timestamp"], orient="row")
    for name, rows in {
        "integers": table,
        "strings": table.with_columns(pl.col("session_id", "item_id").cast(pl.String), user_id=pl.lit("u")),
    }.items():
        data = quiet(EventLog.from_frame(rows), out=tmp_path / name)
        assert data.path == tmp_path / name
        read = Dataset.load(tmp_path / name)
        assert_same(data, read)
        assert read.item_ids.dtype == data.item_ids.dtype
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["integers", "strings"]


def test_the_same_seed_gives_the_same_folder(tmp_path):
    digests = [digest(quiet(log_of(SHOP), out=tmp_path / str(i), seed=i // 2).path) for i in range(4)]
    assert digests[0] == digests[1] != digests[2] == digests[3]


def test_every_backend_gives_the_same_folder(tmp_path):
    rows = pl.DataFrame(
        [(str(s), f"i{i}", t, "buy" if t % 3 else "view") for s, i, t in SHOP],
        schema=["session_id", "item_id", "timestamp", "event_type"],
        orient="row",
    )
    con = duckdb.connect()
    con.register("rows", rows.to_arrow())
    backends = {"polars": rows, "pandas": rows.to_pandas(), "duckdb": con.sql("select * from rows")}
    folders = {
        name: quiet(EventLog.from_frame(frame, rewards={"view": 0.2, "buy": 1}, goal="buy"), out=tmp_path / name).path
        for name, frame in backends.items()
    }
    assert digest(folders["polars"]) == digest(folders["pandas"]) == digest(folders["duckdb"])


def test_a_folder_that_exists_is_left_alone_without_force(tmp_path):
    out = tmp_path / "data"
    quiet(log_of(SHOP), out=out)
    before = digest(out)
    with pytest.raises(SeqwardError, match=r"already holds a data set.*--force"):
        quiet(log_of(SHOP), out=out, seed=1)
    assert digest(out) == before
    assert digest(quiet(log_of(SHOP), out=out, seed=1, force=True).path) != before


def test_force_replaces_a_data_set_and_nothing_else(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(SeqwardError, match=r"holds other files \(thesis\.tex"):
        quiet(log_of(SHOP), out=tmp_path, force=True)
    with pytest.raises(SeqwardError, match="is a file"):
        quiet(log_of(SHOP), out=tmp_path / "thesis.tex", force=True)
    (tmp_path / "empty").mkdir()
    assert quiet(log_of(SHOP), out=tmp_path / "empty").path == tmp_path / "empty"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), "polars"])
@pytest.mark.parametrize("table", ["events", "items"])
def test_a_full_disk_leaves_no_half_folder(tmp_path, monkeypatch, error, table):
    if error == "polars":
        error = pl.exceptions.ComputeError("parquet: underlying IO error: No space left on device (os error 28)")
    write = pl.DataFrame.write_parquet

    def full(frame: pl.DataFrame, file: Path) -> None:
        if Path(file).stem == table:
            Path(file).write_bytes(b"PAR1 half a")
            raise error
        write(frame, file)

    out = tmp_path / "data"
    quiet(log_of(SHOP), out=out)
    before = digest(out)
    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    for target, force in ((out, True), (tmp_path / "new", False)):
        with pytest.raises(SeqwardError, match=r"No space is left on the disk of .*, so no data set was written"):
            quiet(log_of(SHOP), out=target, force=force, seed=1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["data"]
    assert digest(out) == before
    Dataset.load(out)


def test_another_error_of_the_system_is_told_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SeqwardError, match="cannot be written: Not a directory"):
        quiet(log_of(SHOP), out=tmp_path / "file" / "data")


# Refused


def test_no_session_left_says_what_each_filter_removed():
    rows = [(s, i, i) for s in range(3) for i in range(3)] + [(9, 0, 0)]
    with pytest.raises(SeqwardError) as caught:
        quiet(log_of(rows), min_item_count=9)
    assert "No session is left after the filters. Removed were" in str(caught.value)
    assert "sessions of fewer than 3 events: 1 sessions, 1 events" in str(caught.value)
    assert "events of items with fewer than 9 events: 3 sessions, 9 events" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"splits": "random"}, r"prepare has no setting 'splits'; it has .*Did you mean 'split'\?"),
        ({"split": "leave_one_out"}, r"split is 'leave_one_out'; expected one of .*Did you mean 'leave-one-out'\?"),
        ({"vocabulary": "all"}, "vocabulary is 'all'; expected one of training, log"),
        ({"min_session_length": 0}, "min_session_length must be a whole number of at least 1; got 0"),
        ({"min_item_count": 2.5}, "min_item_count must be a whole number of at least 1; got 2.5"),
        ({"seed": -1}, "seed must be a whole number of at least 0; got -1"),
        ({"validation_users": -1, "split": "leave-one-out"}, "validation_users must be a whole number of at"),
        ({"validation_sessions": 1}, r"no setting 'validation_sessions'.*Did you mean 'validation_users'\?"),
    ],
)
def test_settings_are_refused_with_their_reason(settings, message):
    with pytest.raises(SeqwardError, match=message):
        quiet(log_of(SHOP), **settings)


def test_numbers_of_numpy_are_numbers():
    data = quiet(log_of(SHOP), seed=np.int64(1), min_item_count=np.int32(1))
    assert data.protocol["seed"] == 1 and type(data.protocol["seed"]) is int
    assert repr(data).startswith("Dataset(") and len(repr(data)) < 200


def test_what_is_no_log_is_refused():
    with pytest.raises(SeqwardError, match=r"^prepare expects an EventLog; got DataFrame\. EventLog\.from_frame makes"):
        prepare(pl.DataFrame({"session_id": [1]}))  # pyright: ignore[reportArgumentType]


def test_nothing_to_train_on_is_refused():
    with pytest.raises(SeqwardError, match="The split leaves nothing to train on"):
        quiet(log_of([(1, 1, 1), (1, 2, 2), (1, 3, 3)]))
    data = quiet(log_of([(1, 1, 1), (1, 2, 2), (1, 3, 3)]), split="leave-one-out")
    assert data.split.tolist() == [TRAIN, VALIDATION, TEST]


def test_settings_of_a_source_stand_where_nothing_else_is_said():
    defaults = PrepareSettings(split="leave-one-out", min_session_length=4)
    data = quiet(log_of(SHOP), settings=defaults, seed=7)
    assert data.protocol["split"]["name"] == "leave-one-out"
    assert data.protocol["seed"] == 7
    assert np.diff(data.offsets).min() == 4
