"""The report of a run: whole, self-contained, and true to the numbers."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqward.errors import SeqwardError
from seqward.metrics import GROUPS, METRICS
from seqward.panels import marks, training_panels
from seqward.pictures import POINTS, Dot, Line, curves, dots, short, thinned, ticks
from seqward.report import protocol_in_words, write_report

KS = (5, 20)


def figures(shift: float = 0.0) -> dict[str, Any]:
    group = {
        "n": 1234,
        **{f"{metric}@{k}": 0.01 * k + shift for metric in METRICS for k in KS},
        "ci": {f"{metric}@{k}": [0.01 * k + shift - 0.005, 0.01 * k + shift + 0.005] for metric in METRICS for k in KS},
    }
    rewards = {f"{name}@{k}": 3.0 * k for name in ("reward", "reward_per_event") for k in KS}
    listed = {
        "events": 10,
        "popularity_of_targets": 7.5,
        **{f"{x}@{k}": 0.5 for x in ("coverage", "popularity") for k in KS},
    }
    return {
        **dict.fromkeys(GROUPS, group),
        "goal_novel": None,
        "goal_repeat": {**group, "ci": None},
        **rewards,
        "ci": {key: [1.0, 99.0] for key in rewards},
        "recommended": listed,
    }


def metrics() -> dict[str, Any]:
    protocol = {
        "events": 1234,
        "sessions": 321,
        "unknown_targets": 17,
        "candidates": 5000,
        "cutoffs": list(KS),
        "first_events": True,
        "exclude_history": False,
        "ties": "in order",
        "unknown_items": "skipped",
        "intervals": "95 %",
        "resamples": 1000,
        "sample": 10000,
        "seed": 3,
        "data": {
            "counts": {"events": 9, "sessions": 3, "items": 2},
            "split": {"name": "random", "rule": "sessions by lot"},
            "filters": [{"filter": "short sessions", "events": 12}, {"filter": "rare items", "events": 0}],
            "warnings": ["<script>alert(1)</script>"],
        },
    }
    q = {"n": 50, "mean_q": 0.75, "max_q": 2.0, "mean_return": 0.5, "gap": 0.25, "rank_correlation": 0.125}
    baselines = {"last-items": figures(0.1), "popularity": figures(-0.01)}
    return {"protocol": protocol, "split": "test", "model": {**figures(0.2), "q": q}, "baselines": baselines}


def log() -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    for step in range(10, 400, 10):
        where = {"step": step, "events": 12 * step, "seconds": step / 7}
        scales = {"q_mean": 0.1, "q_max": 0.3, "q_greedy": 0.2, "grad_norm": 1.0, "events_per_second": 900.0}
        records.append({"kind": "step", **where, "phase": 1, "terms": {"L_CE": 5 / step, "L_Q": 0.1}, **scales})
        if step == 200:
            records.append({"kind": "event", **where, "text": "phase 2 begins"})
        if step % 100 == 0:
            found = {**figures(), "q": metrics()["model"]["q"]}
            records.append({"kind": "validation", **where, "metrics": found, "value": 1.0, "best": step < 300})
    return records


def run_in(folder: Path) -> Path:
    folder.mkdir()
    about = {"method": "sasrec<ccql>", "settings": {"train": {"lr": 0.001}}, "seed": 0, "catalogue": "x"}
    (folder / "run.json").write_text(json.dumps(about))
    (folder / "metrics.json").write_text(json.dumps(metrics()))
    (folder / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in log()))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return run_in(tmp_path / "run")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page_of(run_in(tmp_path_factory.mktemp("report") / "run"))


def page_of(run: Path) -> str:
    return write_report(run, run / "report.html").read_text(encoding="utf-8")


def test_nothing_is_fetched_from_outside(page: str) -> None:
    assert "http" not in page and "@import" not in page and "<link" not in page and "<script" not in page
    assert re.findall(r"url\((?!#)", page) == []
    assert set(re.findall(r'[\s:](src|href)="[^#]', page)) == set()


def test_pictures_are_well_formed_and_named(page: str) -> None:
    pictures = re.findall(r"<svg.*?</svg>", page, flags=re.S)
    labels = [ElementTree.fromstring(picture).attrib["aria-label"] for picture in pictures]
    assert len(set(labels)) == len(labels) > 30
    assert "nan" not in "".join(pictures)


def test_every_term_metric_and_scale_of_q_is_drawn_over_every_axis(page: str) -> None:
    titles = [
        "L_CE",
        "L_Q",
        "Q in training",
        "Norm of the gradient",
        "Q and the return, validation",
        "Largest Q, validation",
    ]
    titles += [f"{metric.upper()}@{k}" for metric in METRICS for k in KS] + ["Reward, sum over hits", "Reward an event"]
    for title in titles:
        for axis in ("steps", "training events", "seconds"):
            assert f'aria-label="{title} over {axis}"' in page


def test_pictures_come_before_tables(page: str) -> None:
    assert page.index("<svg") < page.index("<table")
    assert page.index("Against the baselines") < page.index("Training") < page.index("Figures") < page.index("Protocol")


def test_the_table_has_the_figures_with_their_intervals(page: str) -> None:
    assert "<td>0.4000<small>0.3950 to 0.4050</small></td>" in page  # the model at 20
    assert "<td>0.3000<small>0.2950 to 0.3050</small></td>" in page  # last items at 20
    assert "<td>60.0<small>1.0 to 99.0</small></td>" in page  # reward
    assert "goal repeat: 1,234 events" in page and "goal novel: no event" in page


def test_names_and_warnings_cannot_write_html(page: str) -> None:
    assert "<script>" not in page and "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<h1>sasrec&lt;ccql&gt;</h1>" in page


def test_the_same_run_gives_the_same_bytes(run: Path) -> None:
    assert page_of(run) == page_of(run)


def test_protocol_in_words() -> None:
    sentences = protocol_in_words(metrics())
    assert sentences[:2] == [
        "Ranked were 1,234 events of 321 sessions, the test split, the first event of a session included.",
        "Each target stood among all 5,000 items of the vocabulary; items of its history stay candidates.",
    ]
    assert "Items outside the vocabulary are skipped; 17 targets are such." in sentences
    assert "The data set has 9 events, 3 sessions, 2 items." in sentences
    assert "Split: random, sessions by lot." in sentences
    assert [sentence for sentence in sentences if sentence.startswith("Removed")] == [
        "Removed before: short sessions (12 events)."
    ]


def test_a_critic_is_told_in_words(page: str) -> None:
    assert "At 50 logged items Q is 0.7500 on average (at most 2.0000), 0.2500 above" in page


def test_a_run_that_was_not_evaluated_has_its_curves(run: Path) -> None:
    (run / "metrics.json").unlink()
    page = page_of(run)
    assert "Not evaluated yet" in page and "L_CE over steps" in page and "<table" not in page


def test_a_run_without_a_log_has_its_figures(run: Path) -> None:
    (run / "log.jsonl").unlink()
    page = page_of(run)
    assert "<table" in page and "Training" not in page


def test_a_baseline_run_is_not_listed_twice(run: Path) -> None:
    about = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**about, "method": "last-items"}))
    page = page_of(run)
    assert len(re.findall("<tr><th>last-items</th>", page)) == 5  # 4 groups with events, and the rewards


@pytest.mark.parametrize("content", ["", "{", "[]", '{"model": {}}'])
def test_broken_metrics_are_refused(run: Path, content: str) -> None:
    (run / "metrics.json").write_text(content)
    with pytest.raises(SeqwardError, match=r"metrics\.json cannot be read: it was cut off or edited"):
        write_report(run, run / "report.html")


def test_no_run_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SeqwardError, match=r"holds no run\.json"):
        write_report(tmp_path, tmp_path / "report.html")


@pytest.mark.parametrize("out", ["missing/report.html", "."])
def test_an_impossible_place_is_refused(run: Path, out: str) -> None:
    with pytest.raises(SeqwardError, match="cannot be written: expected a file name in a folder that exists"):
        write_report(run, run / out)


def test_values_that_are_not_finite_are_left_out() -> None:
    records = [
        {"kind": "step", "step": step, "events": step, "seconds": step, "terms": {"L_Q": value}}
        for step, value in enumerate([1.0, float("nan"), float("inf"), 2.0])
    ]
    (panel,) = training_panels(records)["Loss terms"]
    (line,) = panel.lines("step")
    assert line.x.tolist() == [0, 3] and line.y.tolist() == [1, 2]


def test_marks_show_phases_and_the_state_that_is_kept() -> None:
    later = [
        {**record, "best": record["step"] == 300} if record["kind"] == "validation" else record for record in log()
    ]
    assert marks(later, "events") == {2400.0: "--", 3600.0: ":"}


def test_long_lines_are_thinned_to_means_within_their_range() -> None:
    y = np.random.default_rng(0).normal(size=10_000)
    x, mean, low, high = thinned(Line("y", np.arange(10_000.0), y))
    assert len(x) == POINTS
    assert mean.mean() == pytest.approx(y.mean(), abs=1e-3)
    assert (low <= mean).all() and (mean <= high).all() and (low.min(), high.max()) == (y.min(), y.max())


def test_short_lines_are_drawn_as_they_are() -> None:
    line = Line("y", np.array([1.0, 2.0, 4.0]), np.array([3.0, 1.0, 2.0]))
    x, mean, _, _ = thinned(line)
    assert x.tolist() == [1, 2, 4] and mean.tolist() == [3, 1, 2]


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_few_round_and_inside(low: float, share: float) -> None:
    span = share * max(abs(low), 1e-3)
    found = ticks(low, low + span)
    assert 2 <= len(found) <= 8
    assert found == sorted(set(found))
    assert low - 1e-6 * span <= found[0] and found[-1] <= (low + span) + 1e-6 * span
    assert np.diff(found) == pytest.approx(found[1] - found[0], rel=1e-3)


def test_ticks_and_their_labels_by_hand() -> None:
    assert [short(tick) for tick in ticks(0, 1_600_000)] == ["0", "500k", "1M", "1.5M"]
    assert [short(tick) for tick in ticks(0, 0.001)] == ["0", "0.0002", "0.0004", "0.0006", "0.0008", "0.001"]


def test_a_curve_stands_where_its_values_say() -> None:
    """x from 0 to 4 over 46 to 328 pixels, y from 0 to 10 over 166 to 8."""
    picture = curves([Line("y", np.array([2.0, 4.0]), np.array([0.0, 10.0]))], "steps", "y", {1.0: "--"})
    assert 'd="M187 166L328 8"' in picture
    assert 'stroke-dasharray="6 3" d="M116.5 166V8"' in picture


@pytest.mark.parametrize("y", [[3.0], [0.0, 0.0], [5.0, 5.0, 5.0], [-1e-9, 1e-9]])
def test_flat_and_single_curves_are_drawn(y: list[float]) -> None:
    picture = curves([Line("y", np.arange(1.0, 1 + len(y)), np.array(y))], "steps", "y", {})
    assert "nan" not in picture and "inf" not in picture
    ElementTree.fromstring(picture)


def test_a_group_without_events_leaves_its_line_empty() -> None:
    picture = dots(["goal", "goal novel"], {"model": [Dot(0.5, (0.4, 0.6)), None]}, "HR", "HR")
    assert ">goal novel<" in picture and picture.count("<circle") == 1


@pytest.mark.slow
def test_in_a_browser(run: Path) -> None:
    """On a phone: nothing is asked for, nothing is wider than the screen, the axis can be chosen."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright

    out = write_report(run, run / "report.html")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(out.as_uri())
        assert asked == [out.as_uri()]
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        for axis, other in (("seconds", "step"), ("events", "seconds"), ("step", "events")):
            page.check(f"#by-{axis}")
            assert page.locator(f"div.by-{axis} svg").first.is_visible()
            assert not page.locator(f"div.by-{other} svg").first.is_visible()
        browser.close()
