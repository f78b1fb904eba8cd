"""A study that was changed since it was begun: what is refused, what goes on, and what --force puts aside."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from seqward import SeqwardError
from seqward.bench.changed import differences
from seqward.bench.runner import run_study
from seqward.bench.study import read_study

STUDY = """
data:
  shop:
    simulate: {preset: retailrocket, sessions: 200, items: 30, seed: 0}
    rewards: {view: 0.2, addtocart: 1.0}
    goal: addtocart
seeds: [0]
settings: {train.epochs: 1, backbone.n_factors: 4}
methods:
  popularity: {}
  small: {method: sasrec, train.lr: 0.01}
"""


def run_in(folder: Path, text: str = STUDY, **options: Any) -> dict[str, dict[str, Any]]:
    """Carry the study out; its runs by method."""
    (folder / "s.yaml").write_text(text)
    study = read_study(folder / "s.yaml", folder / "out")
    report = run_study(study, folder / "out" / "results.json", folder / "out", **options)
    return {run["method"]: run for run in report["runs"]}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("changed")
    run_in(folder)
    return folder


@pytest.fixture
def begun(first: Path, tmp_path: Path) -> Path:
    """A folder in which the study was carried out."""
    return Path(shutil.copytree(first, tmp_path / "begun"))


def test_a_typo_in_the_data_can_be_corrected(tmp_path: Path) -> None:
    """What is refused before the first run leaves no note, so that its correction is no change."""
    rows = [f"{s},{(s * 7 + i) % 12},{i}" for s in range(60) for i in range(5)]
    (tmp_path / "log.csv").write_text("\n".join(["s,i,t", *rows]))
    data = "data: {mine: {path: log.csv, columns: {session_id: s, item_id: %s, timestamp: t}}}\n"
    rest = "seeds: [0]\nmethods: {popularity: {}}\n"
    with pytest.raises(SeqwardError, match="data mine: "):
        run_in(tmp_path, data % "item" + rest)
    assert not (tmp_path / "out" / "study.json").exists()
    assert run_in(tmp_path, data % "i" + rest)["popularity"]["state"] == "finished"
    assert (tmp_path / "out" / "study.json").is_file()


# --force -------------------------------------------------------------------------------------------------------------


def test_a_changed_setting_is_refused_or_the_run_is_done_again(begun: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place, other = begun / "out" / "shop" / "small" / "seed-0", STUDY.replace("train.lr: 0.01", "train.lr: 0.02")
    old = (place / "result.json").read_text()
    with pytest.raises(SeqwardError, match=r"(?s)methods\.small was .*--force to go on: .* are done again"):
        run_in(begun, other)
    runs, said = run_in(begun, other, force=True), capsys.readouterr().err
    assert runs["small"]["state"] == "finished" and runs["small"]["settings"]["train"]["lr"] == 0.02
    assert "shop/small/0 is done again: " in said and "was begun with train.lr=0.01" in said
    aside = place.with_name("seed-0.before")
    assert f"What was there is kept as {aside}." in said and (aside / "result.json").read_text() == old
    assert "popularity/0 is done again" not in said, "the change does not touch it"
    assert run_in(begun, other) == runs and "done again" not in capsys.readouterr().err
    run_in(begun, STUDY, force=True)
    assert place.with_name("seed-0.before-2").is_dir() and (aside / "result.json").read_text() == old


def test_changed_data_are_refused_or_prepared_again(begun: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, other = begun / "out", STUDY.replace("items: 30", "items: 31")
    old = (out / "data" / "shop" / "dataset.json").read_text()
    with pytest.raises(SeqwardError, match=r"data\.shop was "):
        run_in(begun, other)
    runs, said = run_in(begun, other, force=True), capsys.readouterr().err
    assert [run["state"] for run in runs.values()] == ["finished"] * 2
    assert f"data shop is prepared again. What was there is kept as {out / 'data' / 'shop.before'}." in said
    assert (out / "data" / "shop.before" / "dataset.json").read_text() == old
    for method in runs:
        assert f"shop/{method}/0 is done again: " in said
        assert (out / "shop" / method / "seed-0.before" / "result.json").is_file()
    assert run_in(begun, other) == runs


def test_data_of_another_recipe_are_told(begun: Path) -> None:
    """Where no note says how the study was begun."""
    (begun / "out" / "study.json").unlink()
    with pytest.raises(SeqwardError, match=r"data shop: .*data/shop was prepared by another recipe\. Undo the change"):
        run_in(begun, STUDY.replace("items: 30", "items: 31"))
    assert not (begun / "out" / "study.json").exists()


def test_a_shorter_time_limit_is_a_change(begun: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that trained longer is done again by force; a longer limit has it go on, and says so."""
    short, long = (f"{STUDY}max_minutes: {limit}\n" for limit in ("0.000001", "10"))
    whole = run_in(begun)
    with pytest.raises(SeqwardError, match="max_minutes was null and is 1e-06"):
        run_in(begun, short)
    runs, said = run_in(begun, short, force=True), capsys.readouterr().err
    assert runs["small"]["stopped"].startswith("time limit")
    assert "shop/small/0 is done again: " in said and "trained for longer than 1e-06 minutes. What was there" in said
    longer, said = run_in(begun, long), capsys.readouterr().err
    assert "the study has changed: max_minutes: 1e-06 before, 10 now" in said
    assert longer["small"]["stopped"] == whole["small"]["stopped"]
    assert longer["small"]["test"] == whole["small"]["test"]


def test_what_was_left_out_when_a_change_was_forced_is_told(begun: Path) -> None:
    """By --only: it is refused, or fails where the result is gone, and done again by --force alone; nothing is lost."""
    other = STUDY.replace("train.lr: 0.01", "train.lr: 0.02")
    run_in(begun, other, force=True, only=["*/popularity/*"])
    with pytest.raises(SeqwardError, match=r"holds 1 finished runs of other data or settings .* shop/small/0 first"):
        run_in(begun, other)
    (begun / "out" / "results.json").unlink()
    place, error = begun / "out" / "shop" / "small" / "seed-0", run_in(begun, other)["small"]["error"]
    assert f"{place} was begun with train.lr=0.01, and cannot be resumed with 0.02. Undo the change, or give" in error
    assert "--force to put it aside and do it again." in error
    assert run_in(begun, other, force=True)["small"]["settings"]["train"]["lr"] == 0.02
    assert (place.with_name("seed-0.before") / "result.json").is_file()


def test_data_that_no_run_has_needed_can_be_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As with --only, before the file of other data was there."""
    more = STUDY.replace("data:", "data:\n  mine: {path: %s, columns: {item_id: i}}")
    only = ["shop/popularity/*"]
    for path in ("no.csv", "mine.csv"):
        (tmp_path / "s.yaml").write_text(more % path)
        study = read_study(tmp_path / "s.yaml", tmp_path / "out", only=only)
        run_study(study, tmp_path / "out" / "results.json", tmp_path / "out", only=only)
    assert "has changed" not in capsys.readouterr().err
    with pytest.raises(SeqwardError, match=r"data\.shop is gone"):
        run_in(tmp_path, "data: {mine: {simulate: {}}}" + STUDY[STUDY.index("\nseeds") :])


# What counts as a change ---------------------------------------------------------------------------------------------


BEFORE = {"seeds": [0], "max_minutes": 5, "methods.a": {"seeds": [0], "train.lr": 0.1}, "methods.b": {}}


@pytest.mark.parametrize(
    ("now", "added", "altered"),
    [
        ({}, [], []),
        ({"seeds": [0, 1]}, ["seeds: [0] before, [0, 1] now"], []),
        ({"seeds": [1]}, [], ["seeds was [0] and is [1]"]),
        ({"methods.a": {"seeds": [0, 2], "train.lr": 0.1}}, ["methods.a: "], []),
        ({"methods.a": {"seeds": [2], "train.lr": 0.1}}, [], ["methods.a was "]),
        ({"methods.a": {"seeds": [0, 2], "train.lr": 0.2}}, [], ["methods.a was "]),
        ({"methods.a": {"train.lr": 0.1}}, ["methods.a: "], []),  # the study's seeds, which are the same
        ({"methods.b": {"seeds": [0, 1]}}, ["methods.b: {} before, "], []),
        ({"methods.b": {"seeds": [1]}}, [], ["methods.b was {} "]),
        ({"max_minutes": 6}, ["max_minutes: 5 before, 6 now"], []),
        ({"max_minutes": None}, ["max_minutes: 5 before, null now"], []),
        ({"max_minutes": 4}, [], ["max_minutes was 5 and is 4"]),
    ],
)
def test_more_is_no_change(now: Mapping[str, Any], added: list[str], altered: list[str]) -> None:
    """More seeds, of the study or of one method, and a longer time limit leave what is finished as it is."""
    found = differences(BEFORE, {**BEFORE, **now})
    for lines, expected in zip(found, (added, altered), strict=True):
        assert len(lines) == len(expected) and all(map(str.startswith, lines, expected)), found


def test_a_study_that_an_earlier_version_began_goes_on(begun: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It did not note the time limit."""
    file = begun / "out" / "study.json"
    noted = json.loads(file.read_text())
    assert noted.pop("max_minutes") is None
    file.write_text(json.dumps(noted))
    run_in(begun, STUDY + "max_minutes: 10\n")
    assert "has changed" not in capsys.readouterr().err
    assert json.loads(file.read_text())["max_minutes"] == 10


def test_a_run_whose_process_died_twice_is_left_out(
    begun: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It failed, whatever stands in its folder; another run of the study is read as ever."""

    def dying(work: Any, tasks: list[tuple[Any, ...]], jobs: Any) -> Any:
        for task in tasks:
            work(*task)
            yield task, -9 if task[1].method == "small" else 0

    monkeypatch.setattr("seqward.bench.runner.side_by_side", dying)
    (begun / "out" / "results.json").unlink()
    runs = run_in(begun, jobs=1)
    died = "its process died twice (exit status -9); the system may have had no memory left"
    assert (runs["small"]["state"], runs["small"]["error"]) == ("failed", died)
    assert f"shop/small/0: {died}" in capsys.readouterr().err and runs["popularity"]["state"] == "finished"
