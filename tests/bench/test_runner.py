"""The runner of studies: what it keeps, what it skips, and that one failing run does not stop the others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import seqward
from seqward import SeqwardError
from seqward.bench.conclusion import bench
from seqward.bench.results import ends_alike, finished_before
from seqward.bench.runner import in_words, run_study
from seqward.bench.study import Study, read_study
from seqward.bench.summary import impossible_of, mean_of_best, method_table, published_check, remark_of
from seqward.bench.summary import published_table as beside_published
from seqward.errors import Finding
from seqward.methods import METHODS

STUDY = """
data:
  shop:
    simulate: {preset: retailrocket, sessions: 200, items: 40, seed: 0}
    rewards: {view: 0.2, addtocart: 1.0}
    goal: addtocart
seeds: [0, 1]
settings: {train.epochs: 1, backbone.n_factors: 6, train.batch_size: 64}
methods:
  popularity: {}
  small: {method: sasrec, train.lr: 0.01}
  broken: {method: sasrec, train.metric: q.mean_q}
published: {source: nobody, method: small, group: all, figures: {hr@10: [0.5, 1.0], ndcg@10: [0.4, 0.001]}}
"""
SEVERAL = """
data: {shop: {simulate: {sessions: 100, items: 30}}}
seeds: [0, 1]
settings: {train.epochs: 2, objective.warmup_events: 40}
methods:
  sasrec: {seeds: [3]}
  every: {}
  again: {method: crr, seeds: [1], train.epochs: 5}
published:
  - {source: one, method: again, group: all, figures: {hr@10: [0.5, 0.1]}}
  - {table: PUBLISHED/leave-one-out.csv, group: all, within: 0.05}
"""


PUBLISHED = Path(__file__).parents[2] / "benchmarks" / "published"


def run_in(folder: Path, study: str = STUDY, max_minutes: float | None = None, **options: Any) -> dict[str, Any]:
    """Run the study and return the result that is kept."""
    (folder / "tiny.yaml").write_text(study)
    read = read_study(folder / "tiny.yaml")
    read = read if max_minutes is None else replace(read, max_minutes=max_minutes)
    found = run_study(read, folder / "results" / "tiny.json", folder / "work" / "tiny", **options)
    kept = json.loads((folder / "results" / "tiny.json").read_text())
    assert kept == json.loads(json.dumps(found))
    return kept


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("study")
    return folder, run_in(folder)


def test_every_run_is_kept_with_what_repeats_it(done: tuple[Path, dict[str, Any]]) -> None:
    result = done[1]
    runs = {(run["method"], run["seed"]): run for run in result["runs"]}
    assert set(runs) == {(method, seed) for method in ("popularity", "small", "broken") for seed in (0, 1)}
    for seed in (0, 1):
        run = runs["small", seed]
        assert run["state"] == "finished" and run["settings"]["train"]["lr"] == 0.01
        assert {"commit", "machine", "train_seconds", "stopped", "best", "evaluation", "test"} <= run.keys()
        assert runs["broken", seed]["state"] == "failed" and "q.mean_q is not measured" in runs["broken", seed]["error"]
    data = result["data"]["shop"]
    assert data["protocol"]["split"]["name"] == "random" and set(data["sha256"]) >= {"events", "items"}
    # A parameter-free method is the baseline of its name.
    assert runs["popularity", 0]["test"]["all"] == data["baselines"]["popularity"]["all"]


def test_means_and_ranges_are_over_seeds(done: tuple[Path, dict[str, Any]]) -> None:
    result = done[1]
    values = [run["test"]["all"]["hr@10"] for run in result["runs"] if run["method"] == "small"]
    mean, low, high = result["summary"]["shop"]["small"]["all"]["hr@10"]
    assert (low, high) == (min(values), max(values)) and mean == pytest.approx(sum(values) / 2)
    assert "broken" not in result["summary"]["shop"]
    matched = {row["metric"]: row["matched"] for row in result["published"]["comparisons"]}
    assert matched == {"hr@10": True, "ndcg@10": False}


def several(folder: Path) -> Study:
    (folder / "several.yaml").write_text(SEVERAL.replace("PUBLISHED", str(PUBLISHED)))
    return read_study(folder / "several.yaml")


def test_every_stands_for_the_methods_that_are_not_named(tmp_path: Path) -> None:
    study = several(tmp_path)
    trained_or_read = [name for name, entry in METHODS.items() if entry.family != "baseline"]
    assert sorted(study.methods) == sorted([*trained_or_read, "again"])
    assert (next(iter(study.methods)), list(study.methods)[-1]) == ("sasrec", "again")


def test_common_settings_are_of_the_methods_that_have_them(tmp_path: Path) -> None:
    study = several(tmp_path)
    assert study.method_of("sasrec-ccql")[1]["objective"].warmup_events == 40
    assert study.method_of("sasrec")[1]["train"].epochs == 2
    assert set(study.method_of("vsknn")[1]) == {"neighbours"}
    assert study.method_of("again")[0] == "crr" and study.method_of("again")[1]["train"].epochs == 5


def test_a_method_has_seeds_of_its_own(tmp_path: Path) -> None:
    runs = several(tmp_path).runs()
    seeds = {method: [key.seed for key in runs if key.method == method] for method in ("sasrec", "again", "gru4rec")}
    assert seeds == {"sasrec": [3], "again": [1], "gru4rec": [0, 1]}
    assert [key.seed for key in runs] == sorted(key.seed for key in runs), "seed after seed"


def test_runs_are_held_against_several_systems(tmp_path: Path) -> None:
    """The table gives a system a method of ours and data; a run that the time limit ended is marked, not judged."""
    published = several(tmp_path).published
    assert {"again", "gsasrec", "sasrec"} <= {entry["method"] for entry in published}
    run = {"state": "finished", "data": "ml-1m", "seed": 0, "stopped": "all 100 epochs done"}
    runs = [
        run | {"method": "gsasrec", "test": {"all": {"hr@10": 0.30, "ndcg@10": 0.1}}},
        run
        | {"method": "bert4rec", "stopped": "time limit of 60 minutes", "test": {"all": {"hr@10": 0, "ndcg@10": 0}}},
        run | {"method": "again", "data": "mine", "test": {"all": {"hr@10": 0.45}}},
        run | {"method": "esasrec", "data": "mine", "test": {"all": {"hr@10": 0.45}}},
    ]
    rows = published_check(published, runs)["comparisons"]
    remarks = {(row["method"], row["metric"]): row["remark"] for row in rows}
    assert remarks == {
        ("gsasrec", "hr@10"): "matched",
        ("gsasrec", "ndcg@10"): "off",
        ("bert4rec", "hr@10"): "budget-limited",
        ("bert4rec", "ndcg@10"): "budget-limited",
        ("again", "hr@10"): "matched",
    }
    (row,) = (row for row in rows if (row["method"], row["metric"]) == ("gsasrec", "hr@10"))
    assert (row["published"], row["tolerance"]) == (0.3003, pytest.approx(0.05 * 0.3003))
    header, lines = beside_published(rows)
    shown = dict(zip(header, lines[0], strict=True))
    assert shown["difference"] in ("-0.0500", "-0.0003") and "remark" in header


def test_a_published_row_that_no_ranking_has_is_never_matched() -> None:
    """Of the hits between 5 and 10, .1 of all events, each adds at most 1 / log2(7) = .356: NDCG cannot rise by .2."""
    test = {"all": {"hr@5": 0.5, "hr@10": 0.6, "ndcg@5": 0.3, "ndcg@10": 0.5}}
    run = {"data": "d", "method": "m", "seed": 0, "state": "finished", "stopped": "", "test": test}
    values = {"hr@5": 0.5, "hr@10": 0.6, "ndcg@5": 0.3, "ndcg@10": 0.5}
    entry = {"method": "m", "source": "s", "figures": {name: [value, 0.01] for name, value in values.items()}}
    rows = published_check([entry], [run, run | {"stopped": "time limit of 1 minutes"}])["comparisons"]
    assert len(rows) == 8
    assert {(row["matched"], row["remark"]) for row in rows} == {(False, "IMPOSSIBLE row")}
    (said,) = rows[0]["impossible"]
    assert said.startswith("s, m, all: from 5 to 10: NDCG rises by 0.2")
    header, lines = beside_published(rows)
    assert {line[header.index("remark")] for line in lines} == {"IMPOSSIBLE row"}

    entry["figures"] = {name: [value, 0.2] for name, value in (values | {"ndcg@10": 0.33}).items()}
    rows = published_check([entry], [run])["comparisons"]
    assert {(row["remark"], *row["impossible"]) for row in rows} == {("matched",)}


def test_published_figures_are_printed_to_the_decimals_of_the_longest() -> None:
    """At k = 1 both are the share of first places: two that differ by one unit of the last digit may be the same."""
    of = lambda hr, ndcg: {"method": "m", "figures": {"hr@1": [hr, 0.1], "ndcg@1": [ndcg, 0.1]}}  # noqa: E731
    for hr, ndcg in ((0.3, 0.31), (0.3, 0.301), (1e-05, 2e-05), (1, 1)):
        assert not impossible_of(of(hr, ndcg)), (hr, ndcg)
    for hr, ndcg in ((0.3, 0.32), (0.3, 0.302), (1e-05, 3e-05), (0, 0.7)):
        assert impossible_of(of(hr, ndcg)), (hr, ndcg)
    assert not impossible_of({"method": "m", "figures": {}})


def test_runs_that_the_time_limit_ended_are_marked(done: tuple[Path, dict[str, Any]]) -> None:
    result = json.loads(json.dumps(done[1]))
    small = [run for run in result["runs"] if run["method"] == "small"]
    header, rows = method_table(result)
    remarks = lambda rows: {row[header.index("method")]: row[-1] for row in rows}  # noqa: E731
    assert header[-1] == "remark" and remarks(rows)["small"] == ""
    small[0]["stopped"] = "time limit of 5 minutes"
    assert remarks(method_table(result)[1])["small"] == "budget-limited (1 of 2)"
    small[1]["stopped"] = "time limit of 5 minutes"
    assert remarks(method_table(result)[1])["small"] == "budget-limited"


@pytest.mark.parametrize(
    ("ks", "shown"), [([3], [3]), ([10], [10]), ([20, 5], [20]), ([100_000, 7], [100_000]), ([5, 20, 10, 50], [10, 20])]
)
def test_the_table_is_of_cut_offs_that_were_measured(
    done: tuple[Path, dict[str, Any]], tmp_path: Path, ks: list[int], shown: list[int]
) -> None:
    """Of the study's own, from the runs to the page; a list may be longer than the catalogue."""
    text = STUDY.partition("published")[0].replace("methods:", f"evaluate: {{ks: {ks}}}\nmethods:")
    shutil.copytree(done[0] / "work", tmp_path / "work")
    (tmp_path / "tiny.yaml").write_text(text)
    outcome = bench(read_study(tmp_path / "tiny.yaml"), tmp_path / "work" / "tiny", force=True)
    header, rows = method_table(outcome.report)
    assert header[4:-1] == [f"{metric}@{k}" for k in shown for metric in ("hr", "ndcg")]
    assert {"small", "last-items"} <= {row[2] for row in rows} and outcome.page.is_file()


def test_a_baseline_that_is_a_method_too_has_one_row_a_group(done: tuple[Path, dict[str, Any]]) -> None:
    result = json.loads(json.dumps(done[1]))
    result["data"]["shop"]["baselines"]["small"] = result["data"]["shop"]["baselines"].pop("popularity")
    rows = [(group, method) for _, group, method, *_ in method_table(result)[1]]
    assert len(rows) == len(set(rows)) and ("all", "small") in rows and ("all", "last-items") in rows


@pytest.mark.parametrize("label", ["small", "popularity"])
def test_means_and_baselines_that_cannot_be_are_not_printed(done: tuple[Path, dict[str, Any]], label: str) -> None:
    result = json.loads(json.dumps(done[1]))
    result["summary"]["shop"] = {"small": result["summary"]["shop"]["small"]}
    method_table(result)
    figures = {**result["summary"]["shop"], **result["data"]["shop"]["baselines"]}[label]["all"]
    figures["ndcg@20"] = [0.99, 0.99, 0.99] if label == "small" else 0.99
    with pytest.raises(Finding, match=f"{label}, all: from 0 to 20: NDCG rises by 0.9900"):
        method_table(result)


def test_the_best_validations_are_what_a_paper_reports() -> None:
    """Values 3 and 2 of four: .3 and .5; a group without events stays out, and so does what has no value."""
    records = [
        {"value": value, "metrics": {"all": {"n": 2, "hr@10": hr}, "goal": None, "reward@20": value, "q": {"n": 1}}}
        for value, hr in ((None, 0.1), (1.0, 0.9), (3.0, 0.3), (2.0, 0.5), (0.0, 0.7))
    ]
    assert mean_of_best(records, 2) == {"validations": 2, "all": {"hr@10": 0.4}, "reward@20": 2.5}
    assert mean_of_best([]) == {"validations": 0}


def test_finished_runs_are_skipped(done: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, first = done
    said = "a finished run was evaluated again"
    monkeypatch.setattr("seqward.bench.runner.evaluate", lambda *_, **__: pytest.fail(said))
    again = run_in(folder)
    assert again["runs"] == first["runs"]


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"kind": "validation", "value": 25.70000022649765}, "reward@20 25.7000"),
        ({"kind": "validation", "value": None}, "reward@20 has no value"),
        ({"kind": "event", "text": "interrupted: resume with --resume"}, "interrupted"),
        ({"kind": "event", "text": "phase 2 begins"}, "phase 2 begins"),
    ],
)
def test_a_study_tells_of_a_run_without_advice_for_another_command(record: dict[str, Any], told: str) -> None:
    assert in_words(record, "reward@20") == told


def test_an_interrupted_study_goes_on(
    done: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after the training of a run, before its test: the training is not repeated, the figures are the same."""
    place = tmp_path / "work" / "tiny" / "shop" / "small" / "seed-1"

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("seqward.bench.runner.Run.record_evaluation", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_in(tmp_path, only=["shop/small/1"])
    weights = place / "last" / "model.safetensors"
    trained = weights.read_bytes()
    (run,) = run_in(tmp_path, only=["shop/small/1"])["runs"]
    assert weights.read_bytes() == trained
    (straight,) = [r for r in done[1]["runs"] if (r["method"], r["seed"]) == ("small", 1)]
    assert run["test"] == straight["test"] and run["steps"] == straight["steps"]


def test_results_on_data_that_were_prepared_anew_are_not_thrown_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even those that are not asked for; with --force they are done again."""
    study = "data: {mine: {prepared: %s}}\nseeds: [0]\nmethods: {popularity: {}, last-items: {}}" % (tmp_path / "d")
    log = seqward.EventLog.from_frame(
        seqward.simulate(sessions=100, items=30).log, rewards={"view": 0.2, "cart": 0.5, "purchase": 1.0}
    )
    seqward.prepare(log, out=tmp_path / "d")
    run_in(tmp_path, study)
    seqward.prepare(log, out=tmp_path / "d", split="temporal", force=True)
    kept = (tmp_path / "results" / "tiny.json").read_bytes()
    for only in ((), ["mine/last-items/0"]):
        with pytest.raises(
            SeqwardError, match=r"tiny\.json holds 2 finished runs of other data .* mine/popularity/0 first"
        ):
            run_in(tmp_path, study, only=only)
        assert (tmp_path / "results" / "tiny.json").read_bytes() == kept
    again = run_in(tmp_path, study, force=True)
    assert [run["state"] for run in again["runs"]] == ["finished"] * 2
    assert again["data"]["mine"]["protocol"]["split"]["name"] == "temporal"
    assert "2 finished runs of" in capsys.readouterr().err


def reused(done: tuple[Path, dict[str, Any]], folder: Path, change: Callable[[dict[str, Any]], None]) -> list[str]:
    """The runs of the study that a changed result still holds as finished."""
    result = json.loads(json.dumps(done[1]))
    change(result)
    (folder / "tiny.json").write_text(json.dumps(result))
    study = read_study(done[0] / "tiny.yaml")
    return sorted(str(key) for key in finished_before(folder / "tiny.json", study, done[1]["data"]))


FINISHED = ["shop/popularity/0", "shop/popularity/1", "shop/small/0", "shop/small/1"]


def test_results_of_an_earlier_version_stay_valid(done: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Settings that are gone because they changed nothing, or that came later and have their defaults."""

    def earlier(result: dict[str, Any]) -> None:
        for run in result["runs"]:
            if run["state"] == "finished" and run["settings"]:
                run["settings"]["backbone"]["feed_forward"] = "relu-dropout"
                del run["settings"]["train"]["precision"]
                run["settings"]["guard"] |= {"probe_every": 7, "tolerance": 3.0}  # it only watches
        result["data"]["shop"]["sha256"]["sessions"] = "of fewer columns"

    assert reused(done, tmp_path, earlier) == FINISHED


@pytest.mark.parametrize(
    "changes",
    [
        {"train": {"lr": 0.02}},
        {"backbone": {"gone": 1}},
        {"objective": {"tied": True}},
        {"guard": {"actions": "repair"}},
    ],
    ids=str,
)
def test_results_of_other_settings_are_not_reused(
    done: tuple[Path, dict[str, Any]], tmp_path: Path, changes: dict[str, dict[str, Any]]
) -> None:
    def other(result: dict[str, Any]) -> None:
        for run in result["runs"]:
            if run["state"] == "finished" and run["settings"]:
                for section, values in changes.items():
                    run["settings"][section] |= values

    assert reused(done, tmp_path, other) == FINISHED[:2]


@pytest.mark.parametrize(("facts", "name"), [("sha256", "events"), ("sha256", "items"), ("protocol", "source")])
def test_results_of_other_data_are_not_reused(
    done: tuple[Path, dict[str, Any]], tmp_path: Path, facts: str, name: str
) -> None:
    def other(result: dict[str, Any]) -> None:
        result["data"]["shop"][facts][name] = "other"

    assert reused(done, tmp_path, other) == []


@pytest.mark.parametrize(
    ("stopped", "minutes", "kept"),
    [
        ("all 1 epochs done", None, True),
        ("all 1 epochs done", 60, True),
        ("all 1 epochs done", 1, False),
        ("time limit of 8 minutes", 8, True),
        ("time limit of 8 minutes", 9, False),
        ("time limit of 8 minutes; phase 2 of 2 never began", None, False),
    ],
)
def test_a_run_counts_under_a_time_limit_that_would_end_it_alike(
    stopped: str, minutes: float | None, kept: bool
) -> None:
    assert ends_alike({"stopped": stopped, "max_minutes": 8, "train_seconds": 470.0}, minutes) is kept


def test_figures_by_other_rules_are_not_reused(
    done: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another ``evaluate`` ranks every run and every baseline again, and trains none again."""
    folder = tmp_path / "study"
    shutil.copytree(done[0], folder)
    times = {file: file.stat().st_mtime_ns for file in folder.rglob("small/*/best/model.safetensors")}
    result = run_in(folder, STUDY + "evaluate: {exclude_history: true, bootstrap: 10}\n", force=True)
    assert "4 finished runs of" in capsys.readouterr().err
    assert times and {file: file.stat().st_mtime_ns for file in times} == times
    assert result["evaluate"] == {"exclude_history": True, "bootstrap": 10}
    for run in result["runs"]:
        if run["state"] == "finished":
            assert run["evaluation"]["exclude_history"] is True
            assert run["evaluate"] == result["evaluate"]
    baselines = result["data"]["shop"]["baselines"]
    assert baselines["last-items"]["all"]["hr@20"] == 0.0  # they repeat, and repeats are no candidates
    assert done[1]["data"]["shop"]["baselines"]["last-items"]["all"]["hr@20"] > 0
    popularity = next(run for run in result["runs"] if run["method"] == "popularity")
    assert popularity["test"]["all"] == baselines["popularity"]["all"]


def test_a_longer_study_goes_on_with_its_runs(done: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder = tmp_path / "study"
    shutil.copytree(done[0], folder)
    result = run_in(folder, STUDY.replace("train.epochs: 1", "train.epochs: 2"), force=True)
    runs = {(run["method"], run["seed"]): run for run in result["runs"]}
    before = {(run["method"], run["seed"]): run for run in done[1]["runs"]}
    for seed in (0, 1):
        assert runs["small", seed]["steps"] == 2 * before["small", seed]["steps"]
        assert runs["small", seed]["stopped"] == "all 2 epochs done"


def test_a_run_that_trained_too_long_is_told(done: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder = tmp_path / "study"
    shutil.copytree(done[0], folder)
    begun = folder / "work" / "tiny" / "study.json"
    before = json.loads(begun.read_text())
    del before["max_minutes"]  # as an earlier version wrote it, so that the change is not seen
    begun.write_text(json.dumps(before))
    result = run_in(folder, STUDY + "max_minutes: 1.0e-9\n")
    errors = [run["error"] for run in result["runs"] if run["method"] == "small"]
    assert errors
    assert all("for longer than 1e-09 minutes. Undo the change, or give --force to " in error for error in errors)


def test_a_run_that_a_shorter_limit_ended_goes_on(done: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """With no limit it ends where a straight run does; with the same limit it is left as it is."""

    def run(limit: float | None) -> dict[str, Any]:
        (found,) = run_in(tmp_path, max_minutes=limit, only=["shop/small/0"])["runs"]
        return found

    limited = run(1e-9)
    assert limited["stopped"].startswith("time limit") and limited["steps"] == 0
    assert run(1e-9) == limited
    whole = run(None)
    (straight,) = [r for r in done[1]["runs"] if (r["method"], r["seed"]) == ("small", 0)]
    assert (whole["stopped"], whole["test"]) == (straight["stopped"], straight["test"])


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("train.epochs", "train.epoch", "train.epoch: no such key"),
        ("method: sasrec, train.lr", "method: sasrek, train.lr", "Did you mean"),
        ("seeds:", "seed:", "unknown key 'seed'"),
        ("goal: addtocart", "gaol: addtocart", "unknown key 'gaol'"),
        ("source: nobody", "sauce: nobody", "unknown key 'sauce'"),
        ("{source: nobody, method: small, group: all, figures", "{group: all, figures", "method is missing"),
        ("published: {source", "published: {table: one-out.csv, group: all, within: 0.1} #", "no table .*one-out.csv"),
    ],
)
def test_a_wrong_study_is_refused(before: str, after: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(STUDY.replace(before, after))
    with pytest.raises(SeqwardError, match=message):
        read_study(file)


def test_a_repaired_run_is_no_reproduction_and_says_so() -> None:
    """Of two seeds the guard touched one: the other alone is held against what was published, and the table tells."""
    run = {"data": "d", "method": "m", "state": "finished", "stopped": "", "test": {"all": {"hr@10": 0.3}}}
    repairs = [{"step": 9, "action": "clip", "text": ""}, {"step": 12, "action": "freeze", "text": ""}]
    touched = {"state": "healthy", "worst": "diverged", "repairs": repairs}
    runs = [{**run, "seed": 0, "stability": None}, {**run, "seed": 1, "stability": touched}]
    published = [{"method": "m", "figures": {"hr@10": [0.3, 0.01]}}]
    found = published_check(published, [*runs, {"data": "d", "method": "m", "seed": 2, "state": "failed"}])
    assert [row["seed"] for row in found["comparisons"]] == [0]
    assert found["left_out"] == [
        "d/m/1: the guard repaired it (clip, freeze), so it is no reproduction",
        "d/m/2: it failed",
    ]
    of_goals = [{"method": "m", "figures": {"hr@10": [0.3, 0.01]}, "group": "goal"}]
    assert published_check(of_goals, runs[:1]) == {
        "comparisons": [],
        "left_out": ["d/m/0: its test split has no events of goal"],
    }
    assert remark_of(runs) == "repaired (clip, freeze; 1 of 2), diverged (1 of 2)"
    assert remark_of(runs[1:]) == "repaired (clip, freeze), diverged"
    assert remark_of(runs[:1]) == ""


def test_a_run_that_kept_its_warm_up_is_marked() -> None:
    """Of two phases only: with one, or with weights by Q from the first step on, all of it is the method's own."""
    of_two = {"settings": {"objective": {"phases": 2, "warmup_events": 100}}}
    runs = [{**of_two, "best": {"phase": phase}} for phase in (1, 2, 1)]
    assert remark_of(runs) == "weights of phase 1 (2 of 3)"
    for objective in ({"phases": 1, "warmup_events": 100}, {"phases": 2, "warmup_events": 0}, {}):
        assert remark_of([{"settings": {"objective": objective}, "best": {"phase": 1}}]) == ""
