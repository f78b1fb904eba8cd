"""Runs that a study need not do, since another one has done them."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqward.bench.conclusion import bench
from seqward.bench.study import read_study
from seqward.cli import main

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
        assert "taken from" not in capsys.readouterr().err


def test_a_folder_of_no_study_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "narrow.yaml").write_text(NARROW)
    command = ["bench", str(tmp_path / "narrow.yaml"), "--out", str(tmp_path / "out"), "--reuse", str(tmp_path)]
    assert main(command) == 2
    told = f"--reuse {tmp_path}: expected the folder of a study that `seqward bench` wrote."
    assert told in capsys.readouterr().err
