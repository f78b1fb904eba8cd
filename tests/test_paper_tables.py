"""The paper's tables beside ours: the figures as printed, which of them no ranking can have, and the command."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import paper_tables
from paper_tables import STUDIES, comparison, main, printed, proof, published_rows, reduced, write_raw
from run import PUBLISHED
from seqward.bench.published import published_table
from seqward.bench.study import read_study
from seqward.data.sources import read_source
from seqward.errors import Finding
from seqward.methods import METHODS


def impossible() -> list[tuple[int, str, str, str]]:
    return [
        (r["table"], r["data"], r["model"].split(" (")[0], r["task"]) for r in published_rows() if not r["possible"]
    ]


def test_fourteen_of_the_54_published_rows_are_impossible() -> None:
    """Those that docs/log.md names (2026-11-23, Can the published tables come from rankings?)."""
    assert Counter(row["table"] for row in published_rows()) == {1: 16, 2: 22, 3: 8, 4: 8}
    assert impossible() == [
        (1, "retailrocket", "SASRec-AC", "purchase"),
        (1, "retailrocket", "SA2C", "purchase"),
        (1, "retailrocket", "SASRec-CCQL", "purchase"),
        (2, "yelp", "SA2C", "purchase"),
        (2, "yelp", "SA2C", "click"),
        (2, "yelp", "SASRec-CO", "click"),
        (2, "yelp", "SASRec-CCQL", "purchase"),
        (2, "yelp", "SASRec-CCQL", "click"),
        (3, "retailrocket", "SASRec-AC", "purchase"),
        (3, "retailrocket", "SASRec-CCQL", "purchase"),
        (3, "retailrocket", "SASRec-CCQL", "click"),
        (4, "rc15", "SASRec-AC", "click"),
        (4, "rc15", "SASRec-CO", "click"),
        (4, "rc15", "SASRec-CCQL", "click"),
    ]


def test_published_rows_are_as_printed() -> None:
    """One row of each table, read off the paper."""
    rows = {(r["table"], r["data"], r["model"], r["task"]): r for r in published_rows()}
    assert len(rows) == 54
    keys = ["hr@5", "ndcg@5", "hr@10", "ndcg@10", "hr@20", "ndcg@20"]
    for row, figures, reward in (
        ((1, "rc15", "FMLPRec*", "purchase"), [0.439, 0.320, 0.542, 0.354, 0.625, 0.375], {}),
        ((2, "yelp", "GRU-AC (Xin et al., 2020)", "click"), [0.289, 0.224, 0.341, 0.241, 0.390, 0.254], 397),
        ((3, "retailrocket", "SASRec-CO", "click"), [0.280, 0.214, 0.335, 0.230, 0.387, 0.245], 12897),
        ((4, "rc15", "SASRec-AC", "click"), [0.343, 0.239, 0.439, 0.338, 0.517, 0.290], 14010),
    ):
        assert rows[row]["figures"] == dict(zip(keys, figures, strict=True))
        assert rows[row]["reward"] == (reward and {"reward@20": reward})


def test_every_published_row_is_run() -> None:
    """By a method of ours, in the study of its data set, five seeds; and nothing else but what was released."""
    assert {row["method"] for row in published_rows()} <= set(METHODS)
    for study in map(read_study, STUDIES):
        (data,) = study.data
        wanted = {row["method"] for row in published_rows() if row["data"] == data}
        assert {label.removesuffix("-released") for label in study.methods} == wanted
        assert wanted <= set(study.methods) and len(study.seeds) == 5
        for label in study.methods:
            name, sections = study.method_of(label)
            assert (name, sections["train"].draw, sections["train"].patience) == (label, "transitions", 0)


def test_settings_on_retailrocket_are_its_own() -> None:
    """method-spec 3.5, 3.6, 3.9: learning rates of SA2C; batches, rates, 50,000 steps and contrast of CCQL."""
    study = read_study(STUDIES[0])
    sa2c = study.method_of("sa2c")[1]
    assert (sa2c["train"].lr, sa2c["objective"].lr_phase_2, sa2c["objective"].warmup_events) == (
        0.005,
        0.001,
        15000 * 256,
    )
    for label in ("sasrec-ccql", "sasrec-ccql-released"):
        sections = study.method_of(label)[1]
        train, objective = sections["train"], sections["objective"]
        assert (train.batch_size, train.lr, objective.lr_phase_2, train.clip_value) == (512, 0.01, 0.01, 1.0)
        assert objective.warmup_events == 50_000 * 512
    assert study.method_of("sasrec-ccql-released")[1]["objective"].contrast == "coordinate"
    ccql = read_study(STUDIES[1]).method_of("sasrec-ccql-released")[1]
    assert (ccql["train"].lr, ccql["objective"].lr_phase_2, ccql["objective"].contrast) == (0.005, 0.001, "cosine")


def figures(hr: float, reward: float) -> dict[str, Any]:
    group = {f"{metric}@{k}": hr for metric in ("hr", "ndcg") for k in (5, 10, 20)}
    return {"goal": group, "click": None, "reward@20": reward}


def test_ours_stands_beside_what_is_published() -> None:
    """Two seeds of SASRec at HR .5 and .6, on validation .7, published .586: the mean is .55, the difference .114.

    The paper reports validations. One seed was ended by the clock, which is said.
    """
    run = {"data": "retailrocket", "state": "finished", "method": "sasrec", "best_validations": figures(0.7, 90.0)}
    runs = [run | {"seed": seed, "test": figures(hr, 100.0)} for seed, hr in ((0, 0.5), (1, 0.6))]
    runs[0]["stopped"] = "time limit of 5 minutes"
    runs += [run | {"seed": 2, "state": "failed", "test": figures(9.0, 0.0)}]
    runs += [run | {"seed": 0, "method": "sasrec-ccql-released", "test": figures(0.613, 1.0)}]
    report = {"runs": runs, "data": {"retailrocket": {"baselines": {"last-items": figures(0.1, 5.0)}}}}
    found = {(r["method"], r["task"], r["metric"], r.get("table")): r for r in comparison(report)}

    row = found["sasrec", "purchase", "hr@5", 3]
    assert (row["ours"], row["seeds"], row["on validation"]) == (pytest.approx(0.55), [0.5, 0.6], 0.7)
    assert row["difference"] == pytest.approx(0.7 - 0.586) and row["possible"] is True
    assert row["remark"] == "budget-limited (1 of 2)"
    assert found["sasrec", "click", "hr@5", 3]["ours"] is None
    reward = found["sasrec", "both", "reward@20", 3]
    assert (reward["ours"], reward["published"], reward["possible"]) == (100.0, 12240.0, None)
    for table in (1, 3):
        released = found["sasrec-ccql-released", "purchase", "hr@5", table]
        assert released["difference"] == pytest.approx(0.7 - 0.613) and released["possible"] is False
    assert found["last-items", "purchase", "hr@20", None]["ours"] == 0.1

    header, lines = printed(comparison(report))
    texts = {tuple(line[:5]): line[5:] for line in lines}
    names = ["seeds", "ours (lowest..highest)", "on validation", "published", "difference", "published row", "remark"]
    assert header[5:] == names
    limited = "budget-limited (1 of 2)"
    shown = [2, "0.5500 (0.5000..0.6000)", "0.7000", "0.5860", "+0.1140", "possible", limited]
    assert texts["retailrocket", 3, "sasrec", "purchase", "hr@5"] == shown
    assert texts["retailrocket", 3, "sasrec", "click", "hr@5"] == [2, "", "", "0.2630", "", "possible", limited]
    assert texts["retailrocket", 3, "sasrec", "both", "reward@20"] == [
        2,
        "100 (100..100)",
        "90",
        "12,240",
        "-12,150",
        None,
        limited,
    ]
    assert texts["retailrocket", 3, "sasrec-ccql-released", "purchase", "hr@5"][-2:] == ["IMPOSSIBLE", ""]


def test_the_simulated_shop_is_in_the_raw_format(tmp_path: Path) -> None:
    """The reader finds views and carts, and drops the transactions that the shop wrote."""
    file = tmp_path / "events.csv"
    write_raw(file, sessions=300, items=50)
    raw = pl.read_csv(file)
    assert raw.columns == ["timestamp", "visitorid", "event", "itemid", "transactionid"]
    assert raw["timestamp"].min() > 10**12, "milliseconds"
    bought = raw.filter(pl.col("event") == "transaction")
    assert len(bought) > 0 and bought["transactionid"].is_unique().all()
    assert raw["transactionid"].null_count() == len(raw) - len(bought)
    log, _ = read_source("retailrocket", tmp_path)
    assert set(log.event_types) == {"view", "addtocart"} and log.n_events == len(raw) - len(bought)


def test_missing_raw_files_are_named_with_where_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEQWARD_DATA", "overridden")
    with pytest.raises(SystemExit) as stopped:
        main(raw=tmp_path, results=tmp_path / "results", work=tmp_path / "work")
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == ["paper-retailrocket", "paper-rc15", "paper-yelp"]
    assert "events.csv" in lines[0] and "kaggle.com" in lines[0] and str(tmp_path / "retailrocket") in lines[0]
    assert "yoochoose-buys.dat" in lines[1] and "review.json" in lines[2] and "seqward data list" in lines[3]


def test_a_reduced_study_changes_only_what_a_method_has() -> None:
    small = reduced(read_study(STUDIES[0]), (7,), {"train.epochs": 1, "objective.warmup_events": 5})
    assert small.seeds == (7,) and small.methods["sasrec"] == {"train.epochs": 1}
    assert small.methods["sasrec-ccql"]["objective.warmup_events"] == 5
    assert small.methods["sasrec-ccql"]["train.lr"] == 0.01


def test_a_row_of_ours_that_no_ranking_can_have_is_not_set_beside_the_papers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"n": 9, "hr@5": 0.2, "ndcg@5": 0.3}
    run = {"data": "retailrocket", "method": "sasrec", "seed": 0, "state": "finished", "test": {"goal": row}}
    report = {"runs": [run], "data": {"retailrocket": {"baselines": {}}}}
    monkeypatch.setattr(paper_tables, "lacking", lambda study, work: None)
    monkeypatch.setattr(paper_tables, "run_study", lambda *args, **options: report)
    with pytest.raises(Finding, match="sasrec seed 0, goal: from 0 to 5: NDCG"):
        paper_tables.tables([read_study(STUDIES[0])], tmp_path, tmp_path)
    assert not (tmp_path / "paper-tables.json").exists()


@pytest.mark.slow
def test_from_the_raw_file_to_the_table(tmp_path: Path) -> None:
    """All methods of RetailRocket's tables on a small shop; what was done is not done again."""
    tiny = {"backbone.n_factors": 8, "train.epochs": 2, "objective.pretrain_epochs": 1, "objective.warmup_events": 0.4}
    size = {"sessions": 150, "items": 40, "seeds": (0,), "settings": tiny}
    found = proof(tmp_path, **size)
    assert found["missing"] == []
    (report,) = found["studies"].values()
    assert [run["state"] for run in report["runs"]] == ["finished"] * len(read_study(STUDIES[0]).methods)
    data = report["data"]["retailrocket"]["protocol"]
    assert any("transaction id" in step["filter"] for step in data["filters"])
    assert {r["table"] for r in found["rows"] if "table" in r} == {1, 3}
    assert all(0 <= r["ours"] <= 1 for r in found["rows"] if r["metric"].startswith("hr@"))
    assert json.loads((tmp_path / "results" / "paper-tables.json").read_text())["rows"] == found["rows"]
    assert proof(tmp_path, **size)["rows"] == found["rows"]


def test_tables_of_published_figures_name_methods() -> None:
    rows = published_table(PUBLISHED / "leave-one-out.csv")
    assert {row["method"] for row in rows} <= set(METHODS)
    assert {row["data"] for row in rows} == {"ml-1m", "beauty"}
    assert all(0 < float(row["NDCG@10"]) < float(row["HR@10"]) < 1 and row["source"] for row in rows)
