"""The race against peers: its data, its clock, its figures, a small race of ours and plain torch, and its page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import bench_peers
from peers import goals
from peers import race as racing
from peers.contestants.protocol import Meter, Sessions
from peers.figures import Spread, rate_of, standings
from peers.install import PEERS, pinned
from peers.page import html, markdown, picture
from peers.race import Extent, begun, entries_of, guest_of, race
from peers.synthetic import sessions_of
from peers.tasks import SHAPES, TASKS, Shape, task_named
from seqward.errors import SeqwardError

SMALL = Extent(seconds=0.02, sessions=40, events=2_000, shrink=(400, 150))
FULL = Extent()
ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", ["rr", "ml-50"])
def test_every_item_can_be_learned_and_the_same_seed_gives_the_same_sessions(name: str) -> None:
    shape = SHAPES[name].smaller(300, 200)
    data, again = sessions_of(shape), sessions_of(shape)
    items, offsets = data["items"], data["offsets"]
    assert all(np.array_equal(data[key], again[key]) for key in data)
    assert len(offsets) == 301 and offsets[-1] == len(items)
    assert len(np.unique(np.delete(items, offsets[1:] - 1))) == 200
    with pytest.raises(ValueError, match="cannot hold 100000 items"):
        sessions_of(Shape("x", items=100_000, sessions=10, context=10, blocks=1))


def test_lengths_are_those_of_the_logs() -> None:
    lengths = {name: np.diff(sessions_of(SHAPES[name].smaller(5_000, 100))["offsets"]) for name in ("rr", "ml-50")}
    assert lengths["rr"].mean() == pytest.approx(6.3, abs=0.1)
    assert lengths["ml-50"].mean() == pytest.approx(165.5, rel=0.05) and lengths["ml-50"].min() >= 20


def test_tails_are_the_last_items_before_the_held_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", items=np.arange(7), offsets=[0, 3, 7])
    data = Sessions(SimpleNamespace(data=str(tmp_path / "d.npz"), shape=SimpleNamespace(context=2)))
    assert data.tails(np.array([0, 1]), 3).tolist() == [[-1, 0, 1], [3, 4, 5]]
    assert data.is_last.tolist() == [False, False, True, False, False, False, True]


def test_the_meter_warms_up_and_stops_after_enough_laps() -> None:
    ticks = iter(range(100))
    meter = Meter(SimpleNamespace(seconds=3, threads=1), clock=lambda: float(next(ticks)))
    assert [meter.lap(units) for units in (100, 5, 5, 5)] == [False, False, False, True]
    assert (meter.units, meter.cpu, meter.result()["laps"]) == (15, 3, 3)


def records(**rates: list[float]) -> list[dict[str, Any]]:
    """Of train-rr with one thread: a rate a round."""
    limits = {"fp32_gflops": 50.0, "bf16_gflops": 100.0, "copy_gb_s": 10.0}
    rounds = [{"round": n, "threads": 1, "task": "roofline", "contestant": "machine", "limits": limits} for n in (0, 1)]
    common = {
        "threads": 1,
        "task": "train-rr",
        "wall": 9.0,
        "wall_median": 0.5,
        "peak_mb": 100.0,
        "versions": {"x": "1"},
    }
    return rounds + [
        {**common, "contestant": name, "round": n, "units": 2 * rate, "cpu": 2.0}
        for name, found in rates.items()
        for n, rate in enumerate(found)
    ]


def result(found: list[dict[str, Any]], extent: Extent = FULL) -> dict[str, Any]:
    facts = {"cpu": "some <processor> (x)", "cores": 2, "python": "3", "torch": "2"}
    shapes = {name: extent.shape(name).__dict__ for name in SHAPES}
    about = {"commit": "c", "machine": facts, "load_average": [0.1], "absent": ["RePlay"]}
    return {**about, "extent": extent.__dict__, "shapes": shapes, "records": found}


def test_ratios_are_of_neighbours_and_shares_of_the_faster_product() -> None:
    found = {one.contestant: one for one in standings(result(records(Seqward=[100, 400], RecBole=[10, 20])))}
    assert found["Seqward"].ratio is None and found["Seqward"].rate == Spread(250, 100, 400)
    assert found["RecBole"].ratio == Spread(15, 10, 20)
    assert found["RecBole"].verdict == "beyond the aim"
    flops = 6 * 70_852 * 64 + 3 * (10 * 64**2 + 2 * 10 * 64)
    assert found["Seqward"].share is not None
    assert found["Seqward"].share.high == pytest.approx(400 * flops / 100e9)
    assert rate_of({"units": 8, "cpu": 2.0, "wall": 4.0, "threads": 2}) == 2


def test_goals_are_not_judged_on_small_data() -> None:
    _, recbole = standings(result(records(Seqward=[100], RecBole=[50]), SMALL))
    assert recbole.verdict == "" and recbole.ratio == Spread(2, 2, 2)
    assert standings(result(records(Seqward=[100], RecBole=[50])))[1].verdict == "missed"


def test_the_page_tells_rates_what_is_missing_and_what_failed() -> None:
    failed = {"round": 0, "threads": 1, "task": "rank-rr", "contestant": "RecTools", "error": "exit status 1: <boom>"}
    found = result([*records(Seqward=[100, 400], RecBole=[10, 20]), failed])
    page, text = html(found), markdown(found)
    assert "&lt;boom&gt;" in page and "<boom>" not in page
    assert "| RecBole | 15 | 10 to 20 | 15 x (beyond the aim 9.5) | 10 to 20 |" in text
    assert "RePlay: not installed here." in text and "rank-rr, RecTools: exit status 1" in text
    drawn = "".join(ElementTree.fromstring(picture(found)).itertext())
    assert "RecBole" in drawn and "15 x" in drawn and "of the limit: 100 GF/s" in drawn


def verdicts(found: dict[str, Any]) -> dict[tuple[str, str], tuple[str, str]]:
    """Of each goal, by task and what, the measured figure and the verdict."""
    return {cells[:2]: (cells[4], cells[6]) for cells in goals.rows(found)}


def test_each_goal_stands_beside_its_figure_or_the_reason_why_there_is_none() -> None:
    rank = {"round": 0, "threads": 1, "task": "rank-rr", "contestant": "RecTools", "error": "status 1: boom"}
    found = result([*records(Seqward=[100, 100], RecBole=[10, 10], RecTools=[5, 5]), rank])
    said, training = verdicts(found), "training, full cross-entropy, 70,852 items"
    assert said[training, "faster than RecBole"] == ("10 x", "reached")
    assert said[training, "faster than RecTools"] == ("20 x", "missed")
    assert said[training, "faster than RePlay"] == ("", "not measured: RePlay is not installed here")
    assert said[training, "faster than plain torch"] == ("", "not measured: no turn was taken")
    assert said[training, "peak memory"] == ("100 MB", "beyond the aim")
    assert said["full ranking, end to end", "faster than RecTools"] == ("", "not measured: failed: status 1: boom")
    assert verdicts(result(records(Seqward=[9], RecBole=[1]), SMALL))[training, "faster than RecBole"] == (
        "9 x",
        "not measured: a quick look at data that were made small",
    )
    assert len(list(goals.rows(found))) == len(goals.GOALS) + len(goals.NOT_HERE)


def test_goals_on_the_wall_and_without_kernels() -> None:
    """Two units in 2 s of processor time, and with two threads in 1.25 s on the wall; ours in 1.25, the others in 2."""
    one = records(**{"Seqward": [100, 100], "Seqward, plain torch": [60, 80], "RecBole": [10, 10]})
    two = [r | {"threads": 2} | ({} if "limits" in r else {"wall": 2.0}) for r in one]
    two = [r | ({"wall": 1.25} if r["contestant"] == "Seqward" else {}) for r in two]
    said, training = verdicts(result([*one, *two])), "training, full cross-entropy, 70,852 items"
    assert said[training, "two threads on the wall over one"] == ("1.6 x", "reached")
    assert said[training, "faster than RecBole, two threads, on the wall"] == ("16 x", "reached")
    assert said[training, "without kernels, faster than RecBole"] == ("7 x", "reached")
    assert said[training, "faster than plain torch, two threads, on the wall"][1] == "not measured: no turn was taken"


def test_the_goals_are_printed_with_the_standings(capsys: pytest.CaptureFixture[str]) -> None:
    bench_peers.tell(result(records(Seqward=[100, 100], RecBole=[10, 10])))
    printed = capsys.readouterr().out
    assert "faster than RecBole" in printed and "reached" in printed and "share of the product, on a GPU" in printed


def test_a_share_of_the_bf16_product_is_not_judged_where_fp32_is_faster() -> None:
    limits = {"fp32_gflops": 80.0, "bf16_gflops": 1.0, "copy_gb_s": 10.0}
    roofline = {"round": 0, "threads": 1, "task": "roofline", "contestant": "machine", "limits": limits}
    rate = 0.5 * 80e9 / (6 * 70_852 * 64)
    head = records(Seqward=[rate])[-1] | {"task": "head-rr"}
    key = ("cross-entropy alone", "share of the bf16 product")
    assert verdicts(result([roofline, head]))[key] == (
        "50%",
        "not measured: this processor is faster in fp32; the figure is of that",
    )
    roofline["limits"] = {**limits, "bf16_gflops": 80.0 * 0.5 / 0.7}  # the faster of the two stays fp32's
    assert "faster in fp32" in verdicts(result([roofline, head]))[key][1]
    roofline["limits"] = {"fp32_gflops": 10.0, "bf16_gflops": 0.5 * 80 / 0.7, "copy_gb_s": 10.0}
    assert verdicts(result([roofline, head]))[key] == ("70%", "reached")


def test_rounds_on_the_wall_may_be_fewer_and_a_long_task_has_its_own_number() -> None:
    turns = [(e.round, e.threads) for e in entries_of(3, wall_rounds=1) if e.task.name == "train-rr"]
    assert set(turns) == {(0, 1), (1, 1), (2, 1), (0, 2)}
    assert {(e.round, e.threads) for e in entries_of(3) if e.task.name == "prepare"} == {(0, 1), (0, 2)}


def test_a_small_race(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours and plain torch run; who is not installed or fails is told and does not stop it; a race goes on."""
    monkeypatch.setattr(racing, "WORK", tmp_path / "work")
    monkeypatch.setattr(racing, "python_of", lambda name: None)
    bad = tmp_path / "bad.py"
    bad.write_text("raise SystemExit('no such luck')")
    guest, only = (
        guest_of(f"train-rr=guest={bad}={sys.executable}"),
        ["train-rr/Seqward", "train-rr/[pg]*", "*/RecBole"],
    )
    said: list[str] = []
    out = tmp_path / "race.json"
    found = race(out, SMALL, 1, only, threads=[1], guests=[guest], say=said.append)
    assert found == json.loads(out.read_text())
    assert any("RecBole is not installed" in line for line in said)
    assert any("guest: FAILED, exit status 1: no such luck" in line for line in said)
    rates = {one.contestant: one for one in standings(found)}
    assert {"Seqward", "plain torch"} <= rates.keys() and "guest" not in rates
    assert rates["plain torch"].ratio is not None and rates["plain torch"].ratio.middle > 0
    assert "no such luck" in markdown(found)
    said.clear()
    race(out, SMALL, 1, only, threads=[1], guests=[guest], say=said.append)
    assert [line.split(",")[0] for line in said if "is not installed" not in line] == ["[1/1] round 1"]
    found = json.loads(out.read_text())
    assert begun(out, SMALL, said.append) == found
    assert begun(out, Extent(), said.append)["records"] == []
    aside = tmp_path / "race.before.json"
    assert (
        said[-1]
        == f"{out} held a race of another extent, commit or machine: it is kept as {aside}, and a new one begins."
    )
    assert json.loads(aside.read_text()) == found and not out.exists()
    out.write_text("{}")
    with pytest.raises(SeqwardError, match="cannot be read: it was cut off or edited"):
        begun(out, SMALL, said.append)


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(SeqwardError, match="no contestant fits nobody"):
        race(tmp_path / "x.json", SMALL, 1, ["nobody"])
    with pytest.raises(SeqwardError, match="expected TASK=NAME=FILE"):
        guest_of("nothing=x=y.py")
    with pytest.raises(SeqwardError, match="is no file"):
        guest_of("train-rr=x=missing.py")


def test_a_peer_needs_no_seqward() -> None:
    """What a contestant of another environment imports of ours, where Seqward cannot be imported."""
    code = "import sys; sys.modules['seqward'] = None; import peers.contestants.onnx_graph, peers.contestants.protocol"
    command, folder = [sys.executable, "-c", f"{code}; print('loaded')"], str(ROOT / "benchmarks")
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": folder}, capture_output=True, text=True)
    assert done.stdout == "loaded\n", done.stderr


def test_contestants_and_environments_exist() -> None:
    for task in TASKS:
        assert task_named(task.name) is task and task.shape in SHAPES
        names = [one.name for one in task.contestants]
        assert names[0] == "Seqward" and len(set(names)) == len(names)
        for one in task.contestants:
            assert (ROOT / "benchmarks" / "peers" / "contestants" / f"{one.module}.py").is_file()
            assert one.venv is None or one.venv in PEERS
    assert pinned("torch").startswith("torch==")


def test_the_committed_page_is_made_from_the_committed_race() -> None:
    file = ROOT / "benchmarks" / "results" / "peers.json"
    if not file.is_file():
        pytest.skip("no race was run yet")
    assert (ROOT / "docs" / "peers.md").read_text() == markdown(json.loads(file.read_text()))
