"""The report of a run: whole, self-contained, and true to the numbers."""

from __future__ import annotations

import errno
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from made_up import big, renamed
from seqward.bench.page import page as study_page
from seqward.bench.summary import published_check
from seqward.errors import Finding, SeqwardError
from seqward.metrics import GROUPS, METRICS
from seqward.panels import marks, training_panels
from seqward.pictures import (
    COLOURS,
    HEIGHT,
    LEFT,
    PALETTE,
    POINTS,
    RIGHT,
    WIDTH,
    Dot,
    Line,
    curves,
    dots,
    keys,
    thinned,
)
from seqward.report import protocol_in_words, write_report

KS = (5, 20)
SVG = "{http://www.w3.org/2000/svg}"


def figures(shift: float = 0.0) -> dict[str, Any]:
    """HR of .05 and .2, the NDCG and MRR that such hits may have, and as much more as ``shift`` hits at rank 2 or 3."""
    hits = {f"{metric}@{k}": 0.01 * k + shift for metric in METRICS for k in KS}
    worth = {"hr": (1.0, 0.0), "ndcg": (0.3, 0.015 + 0.3 * shift), "mrr": (0.1, 0.01 + 0.3 * shift)}
    values = {name: v * worth[name.partition("@")[0]][0] + worth[name.partition("@")[0]][1] for name, v in hits.items()}
    group = {"n": 1234, **values, "ci": {name: [value - 0.005, value + 0.005] for name, value in values.items()}}
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


def pictures(page: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(picture) for picture in re.findall(r'<svg role="img".*?</svg>', page, flags=re.S)]


def test_nothing_is_fetched_from_outside(page: str) -> None:
    assert set(re.findall(r"\S*http[^\"]*", page)) == {
        'xmlns="http://www.w3.org/2000/svg',
        'xmlns:xlink="http://www.w3.org/1999/xlink',
    }
    assert "@import" not in page and "<link" not in page and "<script" not in page
    assert re.findall(r"url\((?!#)", page) == []
    assert set(re.findall(r'[\s:](src|href)="[^#]', page)) == set()


def test_pictures_are_whole_and_named(page: str) -> None:
    titles = [picture.findtext(f"{SVG}title") for picture in pictures(page)]
    assert len(set(titles)) == len(titles) > 15
    assert page.count("<svg") == page.count('<svg role="img"') + page.count('aria-hidden="true"')


def test_pictures_of_a_page_leave_each_other_alone(page: str) -> None:
    """An id stands once, what refers to one finds it in its own picture, and no style reaches out of a picture."""
    found = pictures(page)
    ids = [[e.attrib["id"] for e in picture.iter() if "id" in e.attrib] for picture in found]
    assert len(set(chain(*ids))) == sum(map(len, ids)) > len(found)
    for own, picture in zip(ids, found, strict=True):
        referred = re.findall(r'(?:url\(|href=")#([^)"]+)', ElementTree.tostring(picture, encoding="unicode"))
        assert set(referred) <= set(own)
    assert page.count("<style") == 1


def test_pictures_have_the_colours_of_the_page(page: str) -> None:
    """So that dark is dark: no colour of their own, and every variable is set for both schemes."""
    text = "".join(ElementTree.tostring(picture, encoding="unicode") for picture in pictures(page))
    assert re.findall(r"(?:fill|stroke): (?!none|var\()[^;\"]*", text) == []
    for name in set(re.findall(r"var\(--([\w-]+)\)", text)):
        assert page.count(f"--{name}:") == 2, name


def test_every_term_metric_and_scale_of_q_is_drawn(page: str) -> None:
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
        assert f"<title>{title} over steps</title>" in page
    assert "390 steps: 4,680 training events in 56 seconds." in page


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


def test_a_row_that_no_ranking_can_have_is_not_reported(run: Path) -> None:
    out = write_report(run, run / "report.html")
    before, wrong = out.read_text(), metrics()
    wrong["baselines"]["popularity"]["goal"]["ndcg@20"] = 0.5
    (run / "metrics.json").write_text(json.dumps(wrong))
    with pytest.raises(Finding, match=r"popularity, goal: from 0 to 20: NDCG rises by 0\.5000"):
        write_report(run, out)
    assert out.read_text() == before


@pytest.mark.parametrize("out", ["missing/report.html", ".", "/dev/null"])
def test_an_impossible_place_is_refused(run: Path, out: str) -> None:
    with pytest.raises(SeqwardError, match="cannot be written: expected a file name in a folder that exists"):
        write_report(run, run / out)


def test_a_full_disk_leaves_the_report_that_was_there(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / "report.html").write_text("precious")
    before = sorted(run.iterdir())

    def fill(path: Path, text: str, encoding: str) -> None:
        path.write_bytes(text[:100].encode(encoding))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fill)
    with pytest.raises(SeqwardError, match=r"report\.html cannot be written: No space left on device"):
        write_report(run, run / "report.html")
    assert (run / "report.html").read_text() == "precious"
    assert sorted(run.iterdir()) == before


def test_values_that_are_not_finite_are_left_out() -> None:
    records = [
        {"kind": "step", "step": step, "events": step, "seconds": step, "terms": {"L_Q": value}}
        for step, value in enumerate([1.0, float("nan"), float("inf"), 2.0])
    ]
    (panel,) = training_panels(records)["Loss terms"]
    (line,) = panel.lines
    assert line.x.tolist() == [0, 3] and line.y.tolist() == [1, 2]


def test_marks_show_phases_and_the_state_that_is_kept() -> None:
    later = [
        {**record, "best": record["step"] == 300} if record["kind"] == "validation" else record for record in log()
    ]
    stopped = {"kind": "event", "step": 390, "text": "all 4 epochs done"}
    assert marks([*later, stopped]) == {"phase 2": 200.0, "best": 300.0}
    assert marks([]) == {}


def test_long_lines_are_thinned_to_means_within_their_range() -> None:
    y = np.random.default_rng(0).normal(size=10_000)
    line = thinned(Line("y", np.arange(10_000.0), y))
    assert len(line.x) == POINTS and line.band is not None
    low, high = line.band
    assert line.y.mean() == pytest.approx(y.mean(), abs=1e-3)
    assert (low <= line.y).all() and (line.y <= high).all() and (low.min(), high.max()) == (y.min(), y.max())


def test_a_thinned_band_holds_the_band() -> None:
    y = np.random.default_rng(0).normal(size=500)
    line = thinned(Line("y", np.arange(500.0), y, (y - 1, y + 2)))
    assert line.band is not None
    assert (line.band[0].min(), line.band[1].max()) == (y.min() - 1, y.max() + 2)


def test_short_lines_are_drawn_as_they_are() -> None:
    line = Line("y", np.array([1.0, 2.0, 4.0]), np.array([3.0, 1.0, 2.0]))
    assert thinned(line) is line


def paths(picture: str, colour: str) -> list[tuple[list[tuple[float, float]], str]]:
    """Corners and style of what is drawn in a colour of the page."""
    drawn = [
        path for path in ElementTree.fromstring(picture).iter(f"{SVG}path") if f"--{colour})" in path.get("style", "")
    ]
    corners = [re.findall(r"[ML] (\S+) (\S+)", path.attrib["d"]) for path in drawn]
    return [([(float(x), float(y)) for x, y in c], p.attrib["style"]) for c, p in zip(corners, drawn, strict=True)]


def pixels(x: float, y: float) -> Any:
    """Where a point lies if x goes from 0 to 4, and data go from y 0 to 10, beneath one flag."""
    return pytest.approx((LEFT + (WIDTH - LEFT - RIGHT) * x / 4, 23 + HEIGHT * (10.5 - y) / 11), abs=0.11)


def test_a_curve_and_its_mark_stand_where_their_values_say() -> None:
    line = Line("y", np.array([2.0, 4.0]), np.array([0.0, 10.0]))
    picture = curves([line], "steps", "y", {"best": 1.0}, until=4)
    ((corners, style),) = paths(picture, "line-0")
    assert [corner == pixels(*at) for corner, at in zip(corners, [(2, 0), (4, 10)], strict=True)] == [True, True]
    assert "dasharray" not in style
    (mark,) = (corners for corners, style in paths(picture, "ink") if "dasharray" in style)
    assert mark[0] == pixels(1, -0.5) and mark[1] == (mark[0][0], 8)
    assert ">best</text>" in picture and ">steps</text>" in picture


def test_a_band_stands_where_its_ends_say() -> None:
    x = np.array([2.0, 4.0])
    lines = [Line("a", x, np.array([5.0, 5.0])), Line("b", x, np.array([1.0, 9.0]), (np.array([0.0, 8.0]), x * 2.5))]
    picture = curves(lines, "steps", "y", {"best": 1.0}, until=4)
    (band, style), (_, dashed) = paths(picture, "line-1")
    whole = 23 + HEIGHT + 36  # matplotlib draws bands upwards from the lower edge of the picture
    for end in [(2, 0), (4, 8), (2, 5), (4, 10)]:
        assert any((x, y + whole) == pixels(*end) for x, y in band)
    assert "opacity: 0.2" in style and "stroke-dasharray" in dashed


@pytest.mark.parametrize("y", [[3.0], [0.0, 0.0], [5.0, 5.0, 5.0], [-1e-9, 1e-9], [1.0, 3e38]])
@pytest.mark.parametrize("start", [0.0, 1.0])
def test_flat_single_and_wide_curves_are_drawn(y: list[float], start: float) -> None:
    x = start + np.arange(len(y))
    picture = curves([Line("y", x, np.array(y))], "steps", "y", {}, until=x[-1])
    assert "nan" not in picture and "inf" not in picture
    assert len(paths(picture, "line-0")) == (2 if len(y) == 1 else 1), "a single point is a dot, too"


def test_the_spread_of_a_single_point_is_a_line() -> None:
    line = Line("y", np.array([1.0]), np.array([5.0]), (np.array([0.0]), np.array([10.0])))
    ((spread, style), *_) = paths(curves([line], "steps", "y", {}, until=4), "line-0")
    assert "opacity" not in style
    assert {round(abs(spread[0][1] - spread[1][1]), 1), spread[0][0] - spread[1][0]} == {round(HEIGHT / 1.1, 1), 0}


def test_a_group_without_events_leaves_its_line_empty() -> None:
    picture = dots(["goal", "goal novel"], {"model": [Dot(0.5, (0.4, 0.6)), None]}, "HR", "HR")
    assert ">goal novel<" in picture and picture.count("<use") == 1


def test_dots_stand_in_their_intervals() -> None:
    rows = {"a": [Dot(0.5, (0.25, 1.0))], "b": [Dot(0.75, None)]}
    picture = dots(["all"], rows, "HR", "HR")
    (interval,) = (corners for corners, style in paths(picture, "line-0") if "fill: none" in style)
    assert [x for x, _ in interval] == pytest.approx([84 + 238 * 0.25, 84 + 238], abs=0.11)
    first, second = (use.attrib for use in ElementTree.fromstring(picture).iter(f"{SVG}use"))
    assert float(first["x"]) == pytest.approx(84 + 238 * 0.5, abs=0.11)
    assert float(second["x"]) == pytest.approx(84 + 238 * 0.75, abs=0.11)
    assert float(first["y"]) == pytest.approx(interval[0][1], abs=0.11) and float(first["y"]) < float(second["y"])


def test_the_legend_has_the_colours_and_dashes_of_the_curves() -> None:
    names = [f"<{number}>" for number in range(8)]
    lines = [Line(name, np.array([0.0, 1.0]), np.full(2, float(number))) for number, name in enumerate(names)]
    picture = curves(lines, "steps", "y", {}, until=1)
    for number, key in enumerate(keys(names, dashed=True).split("</span> ")[:-1]):
        assert key.endswith(f"&lt;{number}&gt;")
        styles = [style for _, style in paths(picture, f"line-{number % len(COLOURS)}")]
        dashes = [(re.findall(r"dasharray: ([\d.,]+)", style) or [""])[0].replace(",", " ") for style in styles]
        assert f'stroke="var(--line-{number % len(COLOURS)})"' in key
        assert re.findall('dasharray="(.*?)"', key)[0] in dashes


def test_names_are_letters_and_no_formula() -> None:
    picture = dots(["$x_1$ & <b>"], {"model": [Dot(0.5, None)]}, "$\\alpha$", 'a "label" < & >')
    texts = [text.text for text in ElementTree.fromstring(picture).iter(f"{SVG}text")]
    assert "$x_1$ & <b>" in texts and "$\\alpha$" in texts
    assert ElementTree.fromstring(picture).findtext(f"{SVG}title") == 'a "label" < & >'


def test_a_users_own_looks_are_left_aside_and_left_alone() -> None:
    import matplotlib

    def drawn() -> str:
        return dots(["all"], {"model": [Dot(0.5, (0.4, 0.6))]}, "HR", "HR")

    plain = drawn()
    with matplotlib.rc_context({"text.usetex": True, "font.size": 30, "axes.grid": False, "svg.fonttype": "path"}):
        own = dict(matplotlib.rcParams)
        assert drawn() == plain
        assert dict(matplotlib.rcParams) == own


def test_only_reports_load_matplotlib() -> None:
    code = "import sys, seqward.cli, seqward.recommender, seqward.train; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# Machado, Oliveira and Fernandes (2009), severity 1: what red, green and blue of linear light become.
SEEN = {
    "normal": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def light_of(colour: str) -> Any:
    """Linear light of red, green and blue."""
    value = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def oklab(light: Any) -> Any:
    """Ottosson (2020): distances are about as large as they look; black to white is 1."""
    cones = [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]
    opponents = [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
    return np.array(opponents) @ np.cbrt(np.array(cones) @ np.clip(light, 0, 1))


@pytest.mark.parametrize("scheme", [0, 1])
@pytest.mark.parametrize("eyes", SEEN)
def test_colours_are_told_apart(scheme: int, eyes: str) -> None:
    found = [oklab(np.array(SEEN[eyes]) @ light_of(c[scheme])) for n, c in PALETTE.items() if n.startswith("line")]
    distances = [np.linalg.norm(a - b) for i, a in enumerate(found) for b in found[:i]]
    assert min(distances) > 0.1


@pytest.mark.parametrize("scheme", [0, 1])
def test_colours_stand_out_from_the_page(scheme: int) -> None:
    """WCAG 2.1: graphics 3 to 1, text 4.5 to 1."""
    bright = {name: light_of(c[scheme]) @ [0.2126, 0.7152, 0.0722] + 0.05 for name, c in PALETTE.items()}
    contrast = {name: max(b / bright["paper"], bright["paper"] / b) for name, b in bright.items()}
    assert min(value for name, value in contrast.items() if name.startswith("line")) > 3
    assert contrast["ink"] > 4.5


OVERLAPS = """() => [...document.querySelectorAll('svg[role=img]')].flatMap(svg => {
    const frame = svg.getBoundingClientRect(), found = [];
    const boxes = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
    boxes.forEach(([name, a], i) => {
        if (a.left < frame.left || a.right > frame.right || a.top < frame.top || a.bottom > frame.bottom)
            found.push(`${svg.querySelector('title').textContent}: ${name} is cut off`);
        for (const [other, b] of boxes.slice(i + 1))
            if (a.left < b.right && b.left < a.right && a.top + 2 < b.bottom && b.top + 2 < a.bottom)
                found.push(`${svg.querySelector('title').textContent}: ${name} lies on ${other}`);
    });
    return found;
})"""
"""Two pixels of height are the room of letters that are not there."""


LETTERS = """() => [...document.querySelectorAll('svg[role=img] text')].filter(t => t.getClientRects()[0]).map(text => {
    const svg = text.ownerSVGElement;
    return parseFloat(getComputedStyle(text).fontSize) * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
})"""
"""Sizes of letters on the screen in pixels."""


def report_of_a_run(folder: Path) -> Path:
    return write_report(run_in(folder / "run"), folder / "report.html")


def page_of_a_study(folder: Path) -> Path:
    """With long names, runs that failed, repairs, and figures beside published ones."""
    report, found = big((14, 3, 8))
    report["data"]["d"]["baselines"] = {"method-13": {}}
    found["guard"]["d"]["method-0, seed 0"]["repairs"] = [[500, "repaired: clipped"]]
    lost = {key: list(range(0, 150, 50)) for key in ("steps", "events", "seconds")}
    found["curves"]["d"]["method-1"]["failed"] = [{"seed": 3, **lost, "metrics": {"goal.hr@20": [0.1, 0.2, 0.1]}}]
    entry = {"method": "method-0", "figures": {"hr@20": [0.35, 0.01]}, "source": "nobody", "group": "all"}
    report["published"] = published_check([entry], report["runs"])
    names = {f"method-{i}": f"sasrec-ccql objective.gamma=0.{i}" for i in (2, 3)}
    (folder / "study.html").write_text(study_page(renamed(report, names), renamed(found, names)))
    return folder / "study.html"


@contextmanager
def opened(file: Path, width: int) -> Iterator[Any]:
    """A page in a browser, which asks for nothing else."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 844})
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        yield page
        assert asked == [file.as_uri()]
        browser.close()


@pytest.mark.slow
@pytest.mark.parametrize("width", [380, 1200])
@pytest.mark.parametrize("made", [report_of_a_run, page_of_a_study])
def test_in_a_browser(tmp_path: Path, made: Callable[[Path], Path], width: int) -> None:
    """Nothing is asked for, nothing is wider than the screen, labels are large enough and lie on nothing."""
    with opened(made(tmp_path), width) as page:
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(OVERLAPS) == []
        assert min(page.evaluate(LETTERS)) >= 11
        assert max(page.evaluate(LETTERS)) < 18


@pytest.mark.slow
def test_choosing_an_axis_leaves_the_reader_where_he_is(tmp_path: Path) -> None:
    """By a click and by the keyboard, which shows where it is."""
    where = "document.querySelector('.axes').getBoundingClientRect().top"
    shown = "[...document.querySelectorAll('div.steps,div.events,div.seconds')].filter(x => x.offsetParent)"
    names = f"[...new Set({shown}.map(x => x.className))]"
    with opened(page_of_a_study(tmp_path), 380) as page:
        page.locator("label.by-seconds").first.scroll_into_view_if_needed()
        page.evaluate("scrollBy(0, 300)")
        before = page.evaluate(where)
        assert page.evaluate("scrollY") > 300 and page.evaluate(names) == ["steps"]
        page.locator("label.by-seconds").first.click()
        assert page.evaluate(names) == ["seconds"]
        assert page.evaluate(where) == pytest.approx(before, abs=2)
        page.keyboard.press("ArrowLeft")
        assert page.evaluate(names) == ["events"]
        assert page.evaluate(where) == pytest.approx(before, abs=2)
        outline = "getComputedStyle(document.querySelector('label.by-events')).outlineStyle"
        assert page.evaluate(outline) == "solid"
