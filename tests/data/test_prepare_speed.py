"""The benchmark of preparing: its log has the shape it says, and both jobs are measured."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from prepare_speed import ITEMS, VISITORS_AN_EVENT, measure, write_log
from seqward.data.dataset import Dataset


def test_the_log_is_of_the_shape_it_says_and_both_jobs_are_measured(tmp_path: Path) -> None:
    events = 20_000
    write_log(tmp_path / "events.csv", events)
    log = pl.read_csv(tmp_path / "events.csv")
    assert log.height == events
    assert log["visitorid"].n_unique() == int(events * VISITORS_AN_EVENT)
    assert log["itemid"].max() < ITEMS
    assert (log["event"] == "view").mean() == pytest.approx(0.967, abs=0.01)
    assert log.filter(pl.col("event") == "transaction")["transactionid"].null_count() == 0
    for job in ("read", "prepare"):
        found = measure(job, tmp_path / "events.csv", tmp_path / "data")
        assert 0 <= found["processor_seconds"] < 60 and found["peak_mb"] > 10
    lengths = log.group_by("visitorid").len()["len"]
    assert Dataset.load(tmp_path / "data").n_events == lengths.filter(lengths >= 3).sum()
