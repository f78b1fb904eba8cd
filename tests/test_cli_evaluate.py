"""Evaluating from the command line: which files are written, what they never replace, what is told."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqward.cli import main
from seqward.cli.tables import by_group
from tables import table

Command = Callable[..., list[str]]


def test_evaluate_writes_metrics_and_report(ccql_run: Path, seqward: Command, tmp_path: Path) -> None:
    lines = seqward("evaluate", ccql_run, "--json", tmp_path / "copy.json")
    metrics = json.loads((ccql_run / "metrics.json").read_text())
    assert metrics == json.loads((tmp_path / "copy.json").read_text())
    assert metrics["split"] == "test"
    assert list(metrics["baselines"]) == ["last-items", "popularity"]
    rows = table(lines)
    assert rows[0][:4] == ["group", "method", "events", "hr@5"]
    assert [row[:3] for row in rows[1:4]] == [
        ["all", name, str(metrics["model"]["all"]["n"])] for name in ("sasrec-ccql", "last-items", "popularity")
    ]
    assert float(rows[1][3]) == pytest.approx(metrics["model"]["all"]["hr@5"], rel=1e-6)
    assert (ccql_run / "report.html").read_text().startswith("<!")
    assert json.loads((ccql_run / "run.json").read_text())["evaluations"][-1]["split"] == "test"


@pytest.mark.usefixtures("no_report")
def test_a_dash_prints_the_metrics_instead_of_the_table(popularity_run: Path, seqward: Command) -> None:
    printed = json.loads("\n".join(seqward("evaluate", popularity_run, "--json", "-")))
    assert printed == json.loads((popularity_run / "metrics.json").read_text())
    assert not Path("-").exists()


def test_a_log_whose_events_cost_is_evaluated(seqward: Command, tmp_path: Path) -> None:
    """Seven items in turn, then the first again, which costs 1: last-items has it seventh, so Reward@10 is less than
    Reward@5, which is 0.
    """
    rows = [f"{s},{t},{t % 7},{-1 if t == 7 else 1}" for s in range(20) for t in range(8)]
    (tmp_path / "log.csv").write_text("\n".join(["session_id,timestamp,item_id,reward", *rows]))
    seqward("prepare", tmp_path / "log.csv", "--out", tmp_path / "data")
    seqward("train", tmp_path / "data", "--method", "last-items", "--out", tmp_path / "run")
    seqward("evaluate", tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert (metrics["model"]["reward@5"], metrics["model"]["reward@10"]) == (0, -2)


@pytest.mark.usefixtures("no_report")
def test_each_question_keeps_its_own_answer(popularity_run: Path, seqward: Command, tmp_path: Path) -> None:
    """Another split or other rules write other files: no evaluation is lost to the next one."""
    run = tmp_path / "run"
    shutil.copytree(popularity_run, run, ignore=shutil.ignore_patterns("metrics*", "report*"))
    asked = {
        "metrics.json": [],
        "metrics-validation.json": ["--split", "validation"],
        "metrics-all.json": ["--split", "all"],
        "metrics-test-exclude-history.json": ["--exclude-history"],
        "metrics-validation-exclude-history-skip-first.json": [
            *("--split", "validation", "--exclude-history", "--skip-first")
        ],
    }
    kept: dict[str, bytes] = {}
    for name, options in asked.items():
        seqward("evaluate", run, *options)
        kept[name] = (run / name).read_bytes()
    assert {file.name for file in run.glob("metrics*")} == set(asked)
    assert {name: (run / name).read_bytes() for name in asked} == kept
    found = [json.loads(kept[name]) for name in asked]
    assert [one["split"] for one in found] == ["test", "validation", "all", "test", "validation"]
    assert [one["protocol"]["exclude_history"] for one in found] == [False, False, False, True, True]


def test_each_evaluation_has_its_report(popularity_run: Path, seqward: Command, refused: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(popularity_run, run, ignore=shutil.ignore_patterns("metrics*", "report*"))
    seqward("evaluate", run, "--split", "validation")
    seqward("report", run, "--out", tmp_path / "only.html")
    seqward("evaluate", run)
    seqward("report", run, "--out", tmp_path / "test.html")
    seqward("report", run, "--metrics", run / "metrics-validation.json", "--out", tmp_path / "named.html")
    pages = [run / "report-validation.html", tmp_path / "only.html", tmp_path / "named.html"]
    assert all("validation split:" in page.read_text() for page in pages)
    assert all("test split:" in page.read_text() for page in (run / "report.html", tmp_path / "test.html"))
    assert "does not exist" in refused("report", run, "--out", tmp_path / "x", "--metrics", tmp_path / "y")


@pytest.mark.usefixtures("no_report")
def test_a_file_that_is_named_is_replaced_by_force_only(
    popularity_run: Path, seqward: Command, refused: Any, tmp_path: Path
) -> None:
    file = tmp_path / "mine"
    commands = (["evaluate", popularity_run, "--json", file], ["report", popularity_run, "--out", file])
    for command in commands:
        file.write_text("precious")
        assert f"{file} already exists. Give another {command[2]}, or --force to replace it." in refused(*command)
        assert file.read_text() == "precious"
        seqward(*command, "--force")
    for place, words in ((tmp_path / "no" / "file", "there is no folder"), (tmp_path, "it is a folder")):
        assert words in refused("report", popularity_run, "--out", place)


@pytest.mark.usefixtures("no_report")
def test_a_second_look_at_test_is_told(
    shop_data: Path, seqward: Command, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    seqward("train", shop_data, "--method", "popularity", "--out", run)
    for told in (
        [],
        ["the test split of this run was evaluated once before; what is chosen by it is no test any more."],
    ):
        caplog.clear()
        seqward("evaluate", run)
        assert caplog.messages == told
        seqward("evaluate", run, "--split", "validation")
        assert caplog.messages == told


def test_files_are_named_and_what_flatters_popularity_is_told(
    popularity_run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(popularity_run, run, ignore=shutil.ignore_patterns("metrics*", "report*"))
    assert main(["evaluate", str(run)]) == 0
    assert capsys.readouterr().err == f"metrics: {run}/metrics.json\nreport: {run}/report.html\n"
    assert main(["evaluate", str(run), "--split", "all"]) == 0
    assert capsys.readouterr().err.startswith("note: popularity counts training events, which are ranked here, too: ")
    assert "which are ranked here, too" in (run / "report-all.html").read_text()


@pytest.mark.usefixtures("no_report")
def test_evaluate_data_that_moved(
    ccql_run: Path, shop_data: Path, seqward: Command, refused: Any, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.symlink_to(ccql_run)
    moved = tmp_path / "elsewhere"
    shop_data.rename(moved)
    try:
        assert "no longer there. Name it with --data FOLDER." in refused("evaluate", run, "--split", "validation")
        seqward("evaluate", run, "--split", "validation", "--data", moved)
    finally:
        moved.rename(shop_data)


def test_report_of_a_run_that_was_not_evaluated(popularity_run: Path, seqward: Command, tmp_path: Path) -> None:
    seqward("report", popularity_run, "--out", tmp_path / "report.html")
    assert "popularity" in (tmp_path / "report.html").read_text()


@pytest.mark.usefixtures("no_report")
def test_files_are_written_though_nobody_reads_the_table(
    popularity_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: Any, **__: Any) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("seqward.cli.runs.print_table", closed)
    assert main(["evaluate", str(popularity_run), "--json", str(tmp_path / "copy.json")]) != 0
    assert json.loads((tmp_path / "copy.json").read_text())["split"] == "test"


def test_a_repaired_run_is_marked_beside_its_figures() -> None:
    figures = {"all": {"n": 3, "hr@5": 0.5, "ndcg@5": 0.4, "ci": None}}
    for repairs, name in (([], "snqn"), (["clip"], "snqn (repaired)")):
        metrics = {
            "protocol": {"cutoffs": [5], "repairs": repairs},
            "model": figures,
            "baselines": {"popularity": figures},
        }
        assert [row[1] for row in by_group(metrics, "snqn")[1]] == [name, "popularity"]
