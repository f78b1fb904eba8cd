"""Runs that a study need not do, since another one has done them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import seqward
from seqward import EventLog
from seqward.bench.conclusion import bench
from seqward.bench.study import read_study
from seqward.cli import main
from seqward.run import Run

WIDE = """
data: {shop: {simulate: {sessions: 200, items: 40, seed: 0}, rewards: {view: 0.2, cart: 0.5, purchase: 1.0}}}
seeds: [0, 1]
settings: {train.epochs: 1, backbone.n_factors: 6}
methods: {sasrec: {}, gru4rec: {}, popularity: {}}
"""
NARROW = """
data: {mine: {simulate: {sessions: 200, items: 40, seed: 0}, rewards: {view: 0.2, cart: 0.5, purchase: 1.0}}}
seeds: [1, 2]
settings: {train.epochs: 1, backbone.n_factors: 6}
methods:
  same: {method: sasrec}
  longer: {method: sasrec, train.epochs: 2}
  most: {method: popularity}
"""


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished study."""
    folder = tmp_path_factory.mktemp("wide")
    (folder / "wide.yaml").write_text(WIDE)
    bench(read_study(folder / "wide.yaml"), folder)
    return folder


def test_a_study_takes_from_another_what_is_the_same_run_and_nothing_else(
    wide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Same events, method, settings and seed under other names; not the longer run, nor a seed that is not there."""
    (tmp_path / "narrow.yaml").write_text(NARROW)
    study = read_study(tmp_path / "narrow.yaml")
    report, found, _ = bench(study, tmp_path / "out", reuse=[wide])
    told = capsys.readouterr().err
    assert [line.partition(": taken")[0] for line in told.splitlines() if ": taken from" in line] == [
        "mine/same/1",
        "mine/most/1",
    ]
    assert [line for line in told.splitlines() if line.endswith(": training")] == [
        "mine/longer/1: training",
        "mine/same/2: training",
        "mine/longer/2: training",
        "mine/most/2: training",
    ]
    alone, _, _ = bench(study, tmp_path / "alone")
    tests = {(run["method"], run["seed"]): run["test"] for run in alone["runs"]}
    assert {(run["method"], run["seed"]): run["test"] for run in report["runs"]} == tests
    assert {run["data"] for run in report["runs"]} == {"mine"}
    assert set(found["curves"]["mine"]) >= {"same", "longer"}


def test_what_was_taken_is_as_good_as_trained(wide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The next call finds it finished, without the other study."""
    (tmp_path / "narrow.yaml").write_text(NARROW)
    command = ["bench", str(tmp_path / "narrow.yaml"), "--out", str(tmp_path / "out"), "--jobs", "1", "--only"]
    assert main([*command, "mine/same/1", "--reuse", str(wide)]) == 0
    assert "taken from" in capsys.readouterr().err
    (tmp_path / "out" / "results.json").unlink()
    assert main([*command, "mine/same/1"]) == 0
    assert "training" not in capsys.readouterr().err


def test_a_run_on_other_events_or_by_other_rules_is_not_taken(
    wide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, changed in (
        ("events", NARROW.replace("items: 40, seed: 0", "items: 40, seed: 1")),
        ("rules", NARROW + "evaluate: {exclude_history: true}\n"),
    ):
        (tmp_path / f"{name}.yaml").write_text(changed)
        bench(read_study(tmp_path / f"{name}.yaml"), tmp_path / name, reuse=[wide], only=["mine/most/1"])
        assert "0 of 1 runs that are not finished here are taken from other studies" in capsys.readouterr().err


def test_a_run_that_has_other_data_in_any_respect_is_not_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same events on other days: neighbours of sessions are chosen by their time."""
    log = seqward.simulate(sessions=200, items=40, seed=0).log
    for name, moved in (("then", log), ("later", log.with_columns(pl.col("timestamp") + 10**9))):
        events = EventLog.from_frame(moved, rewards={"view": 0.2, "cart": 0.5, "purchase": 1.0})
        seqward.prepare(events, out=tmp_path / f"data-{name}")
        study = f"data: {{d: {{prepared: {tmp_path / f'data-{name}'}}}}}\nseeds: [0]\nmethods: {{vsknn: {{}}}}\n"
        (tmp_path / f"{name}.yaml").write_text(study)
    bench(read_study(tmp_path / "then.yaml"), tmp_path / "then")
    bench(read_study(tmp_path / "later.yaml"), tmp_path / "later", reuse=[tmp_path / "then"])
    assert "0 of 1 runs that are not finished here are taken" in capsys.readouterr().err
    bench(read_study(tmp_path / "then.yaml"), tmp_path / "again", reuse=[tmp_path / "then"])
    assert "1 of 1 runs that are not finished here are taken" in capsys.readouterr().err


def test_a_run_that_is_broken_or_trains_on_or_is_begun_here_is_not_taken(
    wide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "narrow.yaml").write_text(NARROW)
    study = read_study(tmp_path / "narrow.yaml")

    def told(name: str, change: Callable[[Path], None]) -> str:
        shutil.copytree(wide, tmp_path / name)
        change(tmp_path / name / "shop" / "popularity" / "seed-1")
        bench(study, tmp_path / f"out-{name}", reuse=[tmp_path / name], only=["mine/most/1"])
        return capsys.readouterr().err

    def trains_on(run: Path) -> None:
        Run(run).update(state="training")

    def without_description(run: Path) -> None:
        (run / "run.json").unlink()

    def cut_off(run: Path) -> None:
        (run / "result.json").write_text('{"seed": 1')

    none = "0 of 1 runs that are not finished here are taken from other studies"
    assert none in told("on", trains_on)
    assert none in told("bare", without_description)
    broken = told("broken", cut_off)
    assert none in broken and "not reused: " in broken and "result.json cannot be read" in broken
    place = tmp_path / "out-begun" / "mine" / "most" / "seed-1"
    place.mkdir(parents=True)
    assert none in told("begun", lambda _: None)
    assert "1 of 1 runs" in told("as-it-is", lambda _: None)


def test_a_study_takes_nothing_from_itself(wide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(wide, tmp_path / "wide")
    study = read_study(wide / "wide.yaml")
    (tmp_path / "wide" / "results.json").unlink()
    before = (tmp_path / "wide" / "shop" / "sasrec" / "seed-0" / "result.json").read_bytes()
    bench(study, tmp_path / "wide", reuse=[tmp_path / "wide"])
    told = capsys.readouterr().err
    assert "0 of 6 runs" in told and "training" not in told
    assert (tmp_path / "wide" / "shop" / "sasrec" / "seed-0" / "result.json").read_bytes() == before


def test_a_folder_of_no_study_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "narrow.yaml").write_text(NARROW)
    command = ["bench", str(tmp_path / "narrow.yaml"), "--out", str(tmp_path / "out"), "--reuse", str(tmp_path)]
    assert main(command) == 2
    told = f"--reuse {tmp_path}: expected the folder of a study that `seqward bench` wrote."
    assert told in capsys.readouterr().err
