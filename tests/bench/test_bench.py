"""What a study says: its errors at once, its changes, deaths and kills, comparisons, the verdict, and the page."""

from __future__ import annotations

import errno
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dying import once_dead

import seqward
from made_up import big, renamed
from seqward import SeqwardError
from seqward.bench import drawing
from seqward.bench.compare import Sums, all_sums, beside_best, best_methods, compared, paired
from seqward.bench.conclusion import Outcome, bench
from seqward.bench.curves import AXES, curves_of, guarded
from seqward.bench.events import FILE, figure_names, load_events, save_events, session_sums
from seqward.bench.page import page, write_page
from seqward.bench.processes import side_by_side
from seqward.bench.results import deciding
from seqward.bench.runner import attempt
from seqward.bench.shipped import FOLDER, data_instead, shipped_studies, study_file
from seqward.bench.study import Key, read_study
from seqward.bench.summary import published_check
from seqward.bench.tables import best_table, evidence_table, q_table, refuse_bad_rows, seeds_table, title
from seqward.bench.training import training
from seqward.bench.verdict import validated, verdict, verdicts
from seqward.cli import main
from seqward.cli.bench import one_a_device
from seqward.errors import Finding
from seqward.lint import refuse_impossible, refuse_mixed, rows_of, two_rewards
from seqward.metrics import GROUPS, Outcomes, summarise
from seqward.pictures import Line
from seqward.report import cell

STUDY = """
data:
  shop:
    simulate: {preset: retailrocket, sessions: 300, items: 60, seed: 0}
    rewards: {view: 0.2, addtocart: 1.0}
    goal: addtocart
seeds: [0, 1]
settings: {train.epochs: 2, backbone.n_factors: 6, train.batch_size: 64}
methods:
  sasrec: {}
  snqn: {sweep: {objective.gamma: [0.0, 0.9]}}
  broken: {method: sasrec, train.metric: q.mean_q}
verdict: {supervised: [sasrec], rl: [snqn gamma=0.9], controls: [snqn gamma=0.0]}
"""


def study_in(folder: Path, text: str = STUDY) -> Any:
    (folder / "tiny.yaml").write_text(text)
    return read_study(folder / "tiny.yaml", folder / "out")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    folder = tmp_path_factory.mktemp("bench")
    return folder, bench(study_in(folder), folder / "out")


# What is refused before the first run ------------------------------------------------------------------------------


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    wrong = """
data:
  mine: {path: nowhere.csv, columns: {item: i}}
  other: {source: retailroket, path: x}
seeds: [0, -1]
settings: {train.lr: -1}
evaluate: {exclude: true}
methods: {sasrek: {}, snqn: {objective.gama: 0.5}, sasrec: {}}
verdict: {supervised: [sasrec], rl: [sqn], controls: []}
"""
    with pytest.raises(SeqwardError) as told:
        study_in(tmp_path, wrong)
    said = str(told.value)
    for part in (
        "data mine: unknown column 'item'",
        "data mine: nowhere.csv is not there",
        "data other: No source 'retailroket'",
        "seeds: expected",
        "methods sasrek: ",
        "methods snqn: objective.gama: no such key",
        "methods snqn, sasrec: train.lr should be greater than 0",
        "evaluate: unknown key 'exclude'",
        "verdict: sqn is none of the methods",
    ):
        assert part in said, part
    assert not (tmp_path / "out").exists()


def test_data_that_lack_what_a_method_learns_from_are_refused_before_the_first_run(tmp_path: Path) -> None:
    with pytest.raises(SeqwardError, match="snqn learns what leads to a goal"):
        bench(study_in(tmp_path, STUDY.replace("    goal: addtocart\n", "")), tmp_path / "out")
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_sweep_is_variants_named_after_their_values(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    assert [label for label in study.methods if label.startswith("snqn")] == ["snqn gamma=0.0", "snqn gamma=0.9"]
    assert study.method_of("snqn gamma=0.9")[1]["objective"].gamma == 0.9


def test_a_changed_study_is_told_apart(done: tuple[Path, Outcome]) -> None:
    folder = done[0]
    changed = STUDY.replace("train.epochs: 2", "train.epochs: 3").replace("items: 60", "items: 61")
    with pytest.raises(SeqwardError) as told:
        bench(study_in(folder, changed), folder / "out")
    assert "settings.train.epochs was 2 and is 3" in str(told.value) and "data.shop was" in str(told.value)
    with pytest.raises(SeqwardError, match=r"methods.broken is gone"):
        bench(study_in(folder, re.sub("  broken.*\n", "", STUDY)), folder / "out")
    again = bench(study_in(folder), folder / "out")
    assert again.report["runs"] == done[1].report["runs"], "undone, it goes on"


def test_what_is_only_added_goes_on(done: tuple[Path, Outcome], capsys: pytest.CaptureFixture[str]) -> None:
    folder, outcome = done
    more = STUDY.replace("seeds: [0, 1]", "seeds: [0, 1, 2]").replace(
        "methods:", "methods:\n  popularity: {seeds: [0]}"
    )
    found = bench(study_in(folder, more), folder / "out", only=["*/popularity/*"])
    said = capsys.readouterr().err
    assert "methods.popularity is new" in said and "seeds: [0, 1] before, [0, 1, 2] now" in said
    kept = [run for run in found.report["runs"] if run["method"] != "popularity"]
    assert [run for run in kept if run["state"] == "finished"] == [
        run for run in outcome.report["runs"] if run["state"] == "finished"
    ]
    (folder / "out" / "study.json").write_text(json.dumps(study_in(folder).definition()))


# Deaths and kills ----------------------------------------------------------------------------------------------------


def test_a_process_that_dies_is_tried_once_more(tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("once", "always")]
    for place in places:
        place.mkdir()
    ended = {task[0].name: code for task, code in side_by_side(once_dead, [(p, p.name == "always") for p in places], 2)}
    assert ended == {"once": 0, "always": -signal.SIGKILL}
    assert (places[0] / "lived").exists() and not (places[1] / "lived").exists()


def test_a_run_that_breaks_is_tried_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def break_once(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise MemoryError("too little")
        return evaluate(*args, **options)

    from seqward.bench.runner import evaluate

    study = study_in(tmp_path)
    bench(study, tmp_path / "out", only=["*/broken/0"])  # the baselines are evaluated
    monkeypatch.setattr("seqward.bench.runner.evaluate", break_once)
    found = bench(study, tmp_path / "out", only=["shop/sasrec/0"])
    states = {(run["method"], run["seed"]): run["state"] for run in found.report["runs"]}
    assert len(calls) == 2 and states["sasrec", 0] == "finished"


def test_a_run_on_a_full_disk_fails_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither its weights nor the note that it failed can be written: no traceback, and nothing is tried twice."""
    full = OSError(errno.ENOSPC, "No space left on device")
    study = study_in(tmp_path)
    bench(study, tmp_path / "out", only=["*/broken/0"])
    calls: list[int] = []

    def fit(*_: Any, **__: Any) -> None:
        calls.append(1)
        raise full

    def write(*_: Any) -> None:
        raise full

    monkeypatch.setattr("seqward.recommender.Recommender.fit", fit)
    monkeypatch.setattr("seqward.bench.runner.write", write)
    capsys.readouterr()
    run = attempt(study, Key("shop", "sasrec", 0), tmp_path / "out")
    told = capsys.readouterr().err
    assert (run["state"], len(calls)) == ("failed", 1)
    assert "OSError: [Errno 28] No space left on device" in told and "Traceback" not in told


def test_failed_runs_are_left_out_loudly(done: tuple[Path, Outcome]) -> None:
    found = done[1].found
    assert [line.partition(":")[0] for line in found["left_out"]] == ["shop/broken/0", "shop/broken/1"]
    text = done[1].page.read_text()
    assert "Runs that failed: 2." in text and "Left out of these tables: broken seed 0, broken seed 1." in text
    assert "broken" not in found["compared"]["shop"]["figures"]


@pytest.mark.slow
def test_a_killed_study_goes_on(done: tuple[Path, Outcome], tmp_path: Path) -> None:
    """Killed without a word while it trains; begun again, it has the figures of one that was never killed.

    That one trained by more threads, which add up in another order, and Q's figures show their last digit.
    """
    study_in(tmp_path, re.sub("  broken.*\n", "", STUDY))
    command = [sys.executable, "-m", "seqward", "bench", str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "out")]
    with subprocess.Popen([*command, "--jobs", "2"], stderr=subprocess.PIPE, text=True) as begun:
        assert begun.stderr is not None
        for line in begun.stderr:
            if "finished" in line:
                break
        begun.kill()
    time.sleep(3)  # until its runs have noticed
    assert main(command[3:]) == 0
    runs = {(r["method"], r["seed"]): r for r in json.loads((tmp_path / "out" / "results.json").read_text())["runs"]}
    for run in done[1].report["runs"]:
        if run["state"] == "finished":
            again = runs[run["method"], run["seed"]]["test"]
            q, q_then = again.pop("q", {}), run["test"].get("q", {})
            assert again == {name: figures for name, figures in run["test"].items() if name != "q"}
            near = {"rank_correlation": 1e-3, "gap": 1e-6}
            assert q == {
                name: value if value is None else pytest.approx(value, rel=1e-5, abs=near.get(name))
                for name, value in q_then.items()
            }


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_a_study_in_words(tmp_path: Path, number: signal.Signals) -> None:
    """Each of its runs saves, and none of them prints a traceback."""
    study_in(tmp_path, re.sub("  broken.*\n", "", STUDY).replace("epochs: 2", "epochs: 1000"))
    command = [sys.executable, "-m", "seqward", "bench", str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "out")]
    with subprocess.Popen([*command, "--jobs", "2"], stderr=subprocess.PIPE, text=True) as begun:
        assert begun.stderr is not None
        said: list[str] = []
        for line in begun.stderr:
            if "step" in line and not any("step" in earlier for earlier in said):
                begun.send_signal(number)
            said.append(line)
    assert begun.returncode == 130
    assert "Traceback" not in "".join(said)


# What the runs say together ------------------------------------------------------------------------------------------


def test_events_are_kept_and_give_the_figures(done: tuple[Path, Outcome]) -> None:
    run = next(run for run in done[1].report["runs"] if run["method"] == "sasrec" and run["seed"] == 1)
    events = load_events(done[0] / "out" / "shop" / "sasrec" / "seed-1" / FILE)
    figures = summarise(events.outcomes)
    assert figures["goal"]["ndcg@20"] == pytest.approx(run["test"]["goal"]["ndcg@20"])
    sums, counts = session_sums(events, [5, 10, 20])
    names = figure_names([5, 10, 20])
    assert sums[:, names.index("goal.hr@20")].sum() / counts[:, 1].sum() == pytest.approx(figures["goal"]["hr@20"])
    assert sums[:, names.index("reward@20")].sum() == pytest.approx(figures["reward@20"])
    parts = [sums[:, names.index(f"{part}.hr@20")].sum() for part in ("head", "tail")]
    assert sum(parts) == sums[:, names.index("goal.hr@20")].sum()


def test_means_are_over_seeds_and_baselines_are_always_there(done: tuple[Path, Outcome]) -> None:
    report, of = done[1].report, done[1].found["compared"]["shop"]
    values = [run["test"]["all"]["hr@10"] for run in report["runs"] if run["method"] == "sasrec"]
    figure = of["figures"]["sasrec"]["all.hr@10"]
    assert (
        figure["mean"] == pytest.approx(np.mean(values))
        and figure["interval"][0] < figure["mean"] < figure["interval"][1]
    )
    assert {"last-items", "popularity"} <= of["figures"].keys()
    assert set(of["best"]["all.hr@10"]["p"]) == of["figures"].keys() - {of["best"]["all.hr@10"]["method"]}


def test_without_events_nothing_is_marked(done: tuple[Path, Outcome], tmp_path: Path) -> None:
    """As for a result that was merged from another machine."""
    found = compared(done[1].report, all_sums(done[1].report, tmp_path))["shop"]
    assert found["best"] == {} and set(found["untested"]) == set(found["figures"])
    assert found["figures"]["sasrec"]["goal.hr@20"]["interval"] is None


def test_runs_of_different_protocols_are_refused(done: tuple[Path, Outcome]) -> None:
    report = json.loads(json.dumps(done[1].report))
    report["runs"][0]["evaluation"]["exclude_history"] = True
    with pytest.raises(Finding, match=r"different protocols \(exclude_history is True and False\)"):
        compared(report, all_sums(report, done[0] / "out"))


def test_impossible_rows_are_refused(done: tuple[Path, Outcome], tmp_path: Path) -> None:
    report = json.loads(json.dumps(done[1].report))
    test = next(run for run in report["runs"] if run["state"] == "finished")["test"]
    test["goal"]["ndcg@20"] = test["goal"]["hr@20"] + 0.01
    with pytest.raises(Finding, match=r"sasrec seed 0, goal: from 0 to 20: NDCG"):
        write_page(report, done[1].found, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_best_validations_and_protocols_are_held_to_it_too(done: tuple[Path, Outcome]) -> None:
    """Whoever makes a table of a study's runs asks for all of it at once."""
    report = json.loads(json.dumps(done[1].report))
    refuse_bad_rows(report)
    run = next(run for run in report["runs"] if run["state"] == "finished")
    run["evaluation"]["exclude_history"] = True
    with pytest.raises(Finding, match=r"different protocols \(exclude_history is True and False\)"):
        refuse_bad_rows(report)
    run["evaluation"]["exclude_history"] = False
    run["best_validations"]["goal"]["hr@20"] = 0.0
    with pytest.raises(Finding, match=r"sasrec seed 0, best validations, goal: "):
        refuse_bad_rows(report)


def test_a_wrong_reward_of_a_run_is_refused(done: tuple[Path, Outcome], tmp_path: Path) -> None:
    """As it comes from an evaluation, with all its groups, and as a study's page shows it."""
    report = json.loads(json.dumps(done[1].report))
    rewards = two_rewards(report["data"]["shop"]["protocol"])
    test = next(run for run in report["runs"] if run["state"] == "finished")["test"]
    assert rewards == (0.2, 1.0) and all(test[group] for group in GROUPS)
    refuse_impossible(rows_of("m", test), rewards)
    test["reward@20"] += 0.2 * test["click"]["n"] * 0.01 + 1
    with pytest.raises(Finding, match=r"m, goal: reward@20 is .*, but hr@20 implies"):
        refuse_impossible(rows_of("m", test), rewards)
    with pytest.raises(Finding, match=r"sasrec seed 0, click: reward@20 is"):
        write_page(report, done[1].found, tmp_path / "page.html")


def test_rewards_are_held_to_the_hits() -> None:
    rewards = two_rewards({"goal": "buy", "rewards": {"types": {"buy": 1.0, "view": 0.2, "cart": 0.2}}})
    assert (
        rewards == (0.2, 1.0) and two_rewards({"goal": "buy", "rewards": {"types": {"buy": 1, "a": 2, "b": 3}}}) is None
    )
    rows = [("m", "click", {"n": 100, "hr@20": 0.5, "reward@20": 15.0}), ("m", "goal", {"n": 10, "hr@20": 0.5})]
    refuse_impossible(rows, rewards)
    rows[0][2]["reward@20"] = 15.5
    with pytest.raises(Finding, match=r"reward@20 is 15.5"):
        refuse_impossible(rows, rewards)


def test_protocols_may_leave_entries_out() -> None:
    """What one row leaves out is no contradiction; what two rows say differently is."""
    assert refuse_mixed({"a": {"events": 3}, "b": {}}, "table") is None
    assert refuse_mixed({}, "table") is None
    for rows in ({"a": {"events": 3}, "b": {}, "c": {"events": 4}}, {"a": {}, "b": {"events": 3}, "c": {"events": 4}}):
        with pytest.raises(Finding, match=r"table: [ab] and c are of different protocols \(events is 3 and 4\)"):
            refuse_mixed(rows, "table")


# Does RL help ------------------------------------------------------------------------------------------------------


NAMES = figure_names([20])
SAID = {"supervised": ["ce"], "rl": ["sqn"], "controls": ["gamma-0"]}
BY_CE = {"ce": {"goal.ndcg@20": 1.0}}


def planted(rates: dict[str, float], sessions: int, seeds: int = 5) -> dict[str, Sums]:
    """Methods that hit a goal of each session with a rate, with the luck of the sessions shared."""
    random = np.random.default_rng(0)
    luck, found = random.random((1, sessions)), {}
    for method, rate in rates.items():
        own = np.clip(luck + random.normal(0, 0.05, (seeds, sessions)), 0, 1)
        sums = np.repeat((own < rate).astype(float)[:, :, None], len(NAMES), axis=2)
        found[method] = Sums(list(range(seeds)), sums, np.ones((sessions, 7)))
    return found


@pytest.mark.parametrize(
    ("rates", "sessions", "answer"),
    [
        ({"ce": 0.3, "sqn": 0.4, "gamma-0": 0.3}, 2000, "yes"),
        ({"ce": 0.3, "sqn": 0.4, "gamma-0": 0.4}, 20_000, "not RL"),
        ({"ce": 0.4, "sqn": 0.3, "gamma-0": 0.3}, 2000, "no"),
        ({"ce": 0.3, "sqn": 0.31, "gamma-0": 0.3}, 60, "open"),
    ],
)
def test_the_verdict(rates: dict[str, float], sessions: int, answer: str) -> None:
    found = verdict(SAID, planted(rates, sessions), NAMES, BY_CE, {})
    assert found["answer"] == answer, found["words"]
    assert "sqn" in found["rl"] and (answer in ("no", "open")) == (not found["controls"])


def test_one_seed_is_no_verdict() -> None:
    found = verdict(SAID, planted({"ce": 0.3, "sqn": 0.4, "gamma-0": 0.3}, 2000, seeds=1), NAMES, {}, {})
    assert found["answer"] == "open" and "One seed" in found["words"]


@pytest.mark.parametrize(
    ("rates", "lost"),
    [
        ({"ce": 0.3, "sqn": 0.4, "gamma-0": 0.3}, {"controls": "count"}),
        ({"ce": 0.3, "sqn": 0.4, "gamma-0": 0.3}, {"supervised": "rnn"}),
        ({"ce": 0.3, "sqn": 0.4, "gamma-0": 0.3}, {"supervised": "ce"}),
        ({"ce": 0.3, "sqn": 0.4, "gamma-0": 0.3}, {"rl": "sqn"}),
        ({"ce": 0.3, "sqn": 0.4, "gamma-0": 0.3}, {"controls": "gamma-0"}),
        ({"ce": 0.4, "sqn": 0.3, "gamma-0": 0.3}, {"rl": "sa2c"}),
        ({"ce": 0.4, "sqn": 0.3, "gamma-0": 0.3}, {"supervised": "ce"}),
        ({"ce": 0.3, "sqn": 0.4}, {"controls": "gamma-0"}),
    ],
)
def test_what_lost_runs_leaves_it_open(rates: dict[str, float], lost: dict[str, str]) -> None:
    """All of them, as those that no rate is planted for, or some."""
    asked = {part: list(dict.fromkeys([*labels, lost.get(part, labels[0])])) for part, labels in SAID.items()}
    (label,) = lost.values()
    found = verdict(asked, planted(rates, 2000), NAMES, BY_CE, {label: "3 of 5 seeds failed", "not asked": "x"})
    assert found["answer"] == "open"
    assert found["words"].startswith("It cannot be told") and f" Incomplete: {label} (3 of 5 seeds" in found["words"]
    assert "not asked" not in found["words"]


def test_what_lost_runs_and_does_not_change_the_answer_is_named() -> None:
    sums = planted({"ce": 0.4, "rnn": 0.3, "sqn": 0.3, "gamma-0": 0.3}, 2000)
    lost = {"rnn": "1 of 5 seeds failed"}
    found = verdict(SAID | {"supervised": ["ce", "rnn"]}, sums, NAMES, {}, lost)
    assert found["answer"] == "no" and found["words"].endswith(" Incomplete: rnn (1 of 5 seeds failed).")


@pytest.mark.parametrize(
    ("best", "answer", "said"),
    [
        (0.75, "no need", "But listing the session's last items does better than sqn: 0.7"),
        (0.40, "open", "sqn is not told apart from listing the session's last items (0."),
        (0.20, "yes", "sqn beats listing the session's last items (0."),
    ],
)
def test_the_winner_is_held_against_the_best_baseline(best: float, answer: str, said: str) -> None:
    """The better of the two baselines, and only what beats it, too, is said to help."""
    rates = {"ce": 0.3, "sqn": 0.4, "gamma-0": 0.3, "last-items": best, "popularity": 0.05}
    sums = planted(rates, 2000)
    for label in ("last-items", "popularity"):
        sums[label] = Sums([0], sums[label].sums[:1], sums[label].counts, seedless=True)
    asked = SAID | {"baselines": ["popularity", "last-items"]}
    found = verdict(asked, sums, NAMES, BY_CE, {})
    assert found["answer"] == answer and said in found["words"] and list(found["baselines"]) == ["last-items"]
    assert "sqn less last-items" in evidence_table(found)
    lost = verdict(asked, sums, NAMES, BY_CE, {"popularity": "not kept"})
    assert lost["answer"] == "open" and lost["words"].endswith("Incomplete: popularity (not kept).")


def test_where_rl_does_not_win_the_best_method_is_held_against_the_baseline() -> None:
    sums = planted({"ce": 0.4, "sqn": 0.3, "gamma-0": 0.3, "popularity": 0.6}, 2000)
    found = verdict(SAID | {"baselines": ["popularity"]}, sums, NAMES, {}, {})
    assert found["answer"] == "no" and "But listing what is popular does better than ce: 0.5" in found["words"]
    assert "ce less popularity" in evidence_table(found)


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ({"sqn": 0.4}, "No supervised method can be compared. Incomplete: ce (5 of 5 seeds failed)."),
        ({"ce": 0.4}, "No method of RL can be compared. Incomplete: ce (5 of 5 seeds failed)."),
        ({}, "No supervised method can be compared. No method of RL can be compared. Incomplete: ce"),
    ],
)
def test_the_side_that_is_not_there_is_named(rates: dict[str, float], said: str) -> None:
    found = verdict(SAID, planted(rates, 20), NAMES, {}, {"ce": "5 of 5 seeds failed"})
    assert found["answer"] == "open" and said in found["words"]


def test_failed_and_not_run_and_not_kept_are_told_apart(done: tuple[Path, Outcome], tmp_path: Path) -> None:
    """Seed 0 of snqn's control was not asked for, seed 1 failed; elsewhere stands the result without the events."""
    folder, outcome = done
    study, report = study_in(tmp_path), json.loads(json.dumps(outcome.report))
    kept = "finished, but what happened at each event is not kept here"
    (found,) = verdicts(study, report, tmp_path, all_sums(report, tmp_path)).values()
    labels = ("sasrec", "snqn gamma=0.9", "snqn gamma=0.0", "last-items", "popularity")
    assert "No supervised method can be compared. No method of RL can be" in found["words"]
    assert found["lost"] == dict.fromkeys(labels, kept)
    assert f" Incomplete: {', '.join(labels)} ({kept})." in found["words"], "one reason is told once"
    report["runs"] = [run for run in report["runs"] if (run["method"], run["seed"]) != (labels[2], 0)]
    next(run for run in report["runs"] if run["method"] == labels[2])["state"] = "failed"
    (found,) = verdicts(study, report, folder / "out", all_sums(report, folder / "out")).values()
    assert found["answer"] == "open" and found["lost"] == {labels[2]: "1 of 2 seeds failed, 1 of 2 seeds not run"}


def test_neighbours_that_failed_leave_a_verdict_open(done: tuple[Path, Outcome]) -> None:
    folder, outcome = done
    study = study_in(folder)
    study = replace(study, methods={**study.methods, "vsknn": {"seeds": [0]}})
    (found,) = verdicts(study, outcome.report, folder / "out", all_sums(outcome.report, folder / "out")).values()
    assert found["lost"]["vsknn"] == "1 of 1 seeds not run" and found["answer"] == "open"


def test_neighbours_of_a_study_stand_beside_the_baselines_of_its_verdict(tmp_path: Path) -> None:
    """They train nothing, so validation, which chooses the best supervised method, does not know them."""
    study = study_in(
        tmp_path, STUDY.replace("  broken: {method: sasrec, train.metric: q.mean_q}", "  vsknn: {seeds: [0]}")
    )
    (found,) = bench(study, tmp_path / "out", only=["*/0"]).found["verdicts"].values()
    assert found["asked"]["baselines"] == ["last-items", "popularity", "vsknn"] and found["chosen_on"] == "validation"


def test_what_does_not_change_the_answer_may_be_missing() -> None:
    sums = planted({"ce": 0.3, "sqn": 0.4, "gamma-0": 0.3}, 2000)
    assert verdict(SAID | {"rl": ["sqn", "sa2c"]}, sums, NAMES, {}, {"sa2c": "not run"})["answer"] == "yes"


def test_a_control_that_is_not_told_apart_is_no_proof() -> None:
    """One whose runs are few and unlike says neither that the future matters nor that it does not."""
    sums = planted({"ce": 0.3, "sqn": 0.4, "gamma-0": 0.3}, 2000)
    control = sums["gamma-0"].sums[:2]
    control[1] = 1.0
    found = verdict(SAID, sums | {"gamma-0": Sums([0, 1], control, sums["ce"].counts)}, NAMES, BY_CE, {})
    assert found["answer"] == "open" and "From gamma-0, which look at no future, it is not told apart" in found["words"]


def test_methods_of_other_seeds_are_not_compared() -> None:
    sums = planted({"ce": 0.3, "sqn": 0.4, "gamma-0": 0.3}, 200)
    others = Sums([7, 8, 9, 10, 11], sums["sqn"].sums, sums["sqn"].counts)
    assert paired(sums["ce"], others, NAMES, "goal.hr@20") is None
    found = verdict(SAID, sums | {"sqn": others}, NAMES, {}, {})
    assert found["answer"] == "open" and found["rl"] == {}
    assert "No method of RL has a seed in common with ce, the best supervised method" in found["words"]
    assert "Incomplete: sqn (no seed in common with ce)." in found["words"]
    control = Sums([7, 8, 9, 10, 11], sums["gamma-0"].sums, sums["gamma-0"].counts)
    found = verdict(SAID, planted({"ce": 0.3, "sqn": 0.4}, 2000) | {"gamma-0": control}, NAMES, {}, {})
    assert found["answer"] == "open" and "gamma-0 (no seed in common with sqn)" in found["words"]


def test_a_control_that_is_surely_worse_does_not_reach_as_much() -> None:
    """By less than 2 % of what the supervised method reaches, which is no room for a difference that matters."""
    sums = planted({"ce": 0.3, "sqn": 0.4, "gamma-0": 0.3975}, 60_000)
    found = verdict(SAID, sums, NAMES, {}, {})
    row = found["controls"]["gamma-0"]
    assert row["p_adjusted"] < 0.05 and row["interval"][0] > 0 and row["interval"][1] < found["worth"]
    assert found["answer"] != "not RL" and "reach as much" not in found["words"]


def test_it_is_said_on_what_the_opponent_was_chosen() -> None:
    sums = planted({"ce": 0.3, "sqn": 0.4, "gamma-0": 0.3}, 2000)
    chosen = "ce, the best supervised method by goal.ndcg@20 on "
    assert f"{chosen}validation" in verdict(SAID, sums, NAMES, BY_CE, {})["words"]
    assert f"{chosen}test" in verdict(SAID, sums, NAMES, {}, {})["words"]
    assert f"{chosen}test" in verdict(SAID, sums, NAMES, {"ce": {"reward@20": 1.0}}, {})["words"], "of another metric"


@pytest.mark.parametrize(
    ("validation", "against", "said"),
    [
        ({"a": 0.4, "b": 0.5}, "b", "No method of RL beats b, the best supervised method by goal.ndcg@20 on validati"),
        ({"a": 0.5, "b": 0.4}, "a", "But on test sqn reaches 0.3"),
    ],
)
def test_no_supervised_method_stands_above_the_winner(validation: dict[str, float], against: str, said: str) -> None:
    """Supervised a .30 and b .41, RL .36 on test: whichever validation favours, RL is not said to help."""
    sums = planted({"a": 0.3, "b": 0.41, "sqn": 0.36, "gamma-0": 0.3}, 4000)
    by_metric = {label: {"goal.ndcg@20": value, "reward@20": -value} for label, value in validation.items()}
    found = verdict(SAID | {"supervised": ["a", "b"]}, sums, NAMES, by_metric, {})
    assert (found["answer"], found["supervised"]) == ("no" if against == "b" else "open", against)
    assert said in found["words"] and (against == "b" or "and supervised learning more: b 0.4" in found["words"])


def test_intervals_below_0_leave_no_room_for_a_gain() -> None:
    """RL reaches .30 where supervised learning reaches .41; .295 where it reaches .30, of which 2 % would matter."""
    worse = verdict(SAID, planted({"ce": 0.41, "sqn": 0.3, "gamma-0": 0.3}, 1000), NAMES, {}, {})
    assert worse["answer"] == "no" and "intervals leave no room for a gain in goal.ndcg@20." in worse["words"]
    little = verdict(SAID, planted({"ce": 0.3, "sqn": 0.295, "gamma-0": 0.3}, 4000), NAMES, {}, {})
    assert 0 < little["rl"]["sqn"]["interval"][1] < little["worth"]
    assert little["answer"] == "no" and "leave room for a gain of at most 0.00" in little["words"]


def test_the_opponent_is_chosen_by_the_metric_that_decides_at_the_selected_step(tmp_path: Path) -> None:
    """By reward@20 both select, a the step 20 with .5 and b the step 10 with .2 and, of seed 1, .4: a mean of .3."""
    runs = []
    for (method, seed), (step, values) in {
        ("a", 0): (20, (0.1, 0.5)),
        ("b", 0): (10, (0.2, 0.9)),
        ("b", 1): (10, (0.4,)),
    }.items():
        place = tmp_path / "d" / method / f"seed-{seed}"
        place.mkdir(parents=True)
        log = [
            {
                "kind": "validation",
                "step": 10 * i,
                "events": i,
                "seconds": i,
                "metrics": {"goal": {"ndcg@20": v}, "reward@20": 1.0},
            }
            for i, v in enumerate(values, 1)
        ]
        (place / "log.jsonl").write_text("\n".join(map(json.dumps, log)))
        best = {"step": step, "metric": "reward@20", "value": 9.0}
        runs.append({"data": "d", "method": method, "seed": seed, "state": "finished", "best": best})
    found = validated(runs, tmp_path)
    assert {method: of["goal.ndcg@20"] for method, of in found.items()} == {"a": 0.5, "b": pytest.approx(0.3)}
    assert validated([run | {"best": None} for run in runs], tmp_path) == {"a": {}, "b": {}}


def marked(seed_luck: float, gain: float, seeds: int, sessions: int = 400) -> bool:
    """Whether the better of two methods would be marked, whose runs differ by the luck of their seeds and ``gain``."""
    random = np.random.default_rng(4)
    figures = []
    for extra in (0.0, gain):
        own = 0.5 + extra + random.normal(0, seed_luck, (seeds, 1)) + random.normal(0, 0.05, (seeds, sessions))
        figures.append(np.repeat(own[:, :, None], len(NAMES), axis=2))
    a, b = (Sums(list(range(seeds)), f, np.ones((sessions, 7))) for f in figures)
    return best_methods({"a": a, "b": b}, NAMES)["goal.hr@20"]["significant"]


def test_only_what_holds_over_seeds_is_marked_as_best() -> None:
    """The luck of a seed (.02) is far beyond the sessions' standard error (.05 / 20 = .0025), and marks nothing."""
    assert marked(seed_luck=0.002, gain=0.05, seeds=5)
    assert not marked(seed_luck=0.02, gain=0.01, seeds=5)
    assert not marked(seed_luck=0.02, gain=0.0, seeds=3)
    assert not marked(seed_luck=0.0, gain=0.05, seeds=1)


def test_a_baseline_has_no_seed_to_be_lucky_with() -> None:
    """It is compared with every run of a method, and two of them over sessions alone."""
    sums = planted({"a": 0.5, "b": 0.3, "c": 0.1}, 1000)
    fixed = {name: Sums([0], sums[name].sums[:1], sums[name].counts, seedless=True) for name in ("b", "c")}
    row = paired(sums["a"], fixed["b"], NAMES, "goal.hr@20")
    assert row is not None and row["seeds"] == 5
    assert best_methods(fixed, NAMES)["goal.hr@20"]["significant"]
    assert best_methods(fixed | {"a": sums["a"]}, NAMES)["goal.hr@20"] == {
        "method": "a",
        "significant": True,
        "p": {"b": pytest.approx(0.001, abs=1e-4), "c": pytest.approx(0.001, abs=1e-4)},
    }


def test_a_paired_difference() -> None:
    sums = planted({"a": 0.5, "b": 0.3}, 1000)
    row = paired(sums["a"], sums["b"], NAMES, "goal.hr@20")
    assert row is not None
    assert row["difference"] == pytest.approx(0.2, abs=0.05) and row["p"] < 0.001
    assert row["interval"][0] < row["difference"] < row["interval"][1]


@pytest.mark.filterwarnings("error")
def test_a_difference_of_few_events_warns_of_nothing() -> None:
    """Of 20 sessions one has an event: a third of the draws have none, and say nothing."""
    sums, counts = np.zeros((2, 20, len(NAMES))), np.zeros((20, 7))
    counts[0] = sums[1, 0] = 1
    row = paired(Sums([0, 1], sums, counts), Sums([0], sums[:1], counts, seedless=True), NAMES, "goal.hr@20")
    assert row is not None and row["difference"] == 0.5 and np.isfinite(row["interval"]).all()


# The page ------------------------------------------------------------------------------------------------------------


def test_the_page_fetches_nothing_and_begins_with_pictures(done: tuple[Path, Outcome]) -> None:
    text = done[1].page.read_text()
    assert set(re.findall(r"\S*http[^\"]*", text)) <= {
        'xmlns="http://www.w3.org/2000/svg',
        'xmlns:xlink="http://www.w3.org/1999/xlink',
    }
    assert not re.search(r"<script|<link|@import|(?:src|href)=\"[^#]", text)
    body = text[text.index("</section>") :]  # behind the verdict
    assert body.index("<svg") < body.index("<table")


def test_every_validation_metric_is_drawn_over_three_axes(done: tuple[Path, Outcome]) -> None:
    text, curves = done[1].page.read_text(), done[1].found["curves"]["shop"]["sasrec"]
    assert {"steps", "events", "seconds"} <= curves.keys() and len(curves["metrics"]) > 40
    for axis in ("steps", "events", "seconds"):
        assert f"<title>shop: goal_repeat NDCG@20 over {axis}".replace("goal_repeat", "goal repeat") in text
        assert text.count(f" over {axis}</title>") >= len(curves["metrics"])
    assert "over gamma" in text and "Q of snqn gamma=0.9" in text and "head against tail" in text


def test_a_page_of_five_methods_and_five_seeds_is_small() -> None:
    report, found = big((5, 5, 60))
    text = page(report, found)
    assert len(text.encode()) < 3_000_000
    assert "Reasons: 50" in text and "|Q| grows" in text


def test_a_timeline_has_a_strip_for_each_state() -> None:
    picture = drawing.timeline({"run": [(0.0, "healthy"), (50.0, "diverged")]}, {"run": 100.0}, "label")
    widths = [float(w) for w in re.findall(r'<rect[^>]* width="([\d.]+)"', picture)]
    assert len(widths) == 2 and widths[0] == pytest.approx(widths[1])
    assert "run: diverged from step 50" in picture


def test_a_curve_stands_where_its_values_say() -> None:
    line = Line("a", np.array([0.0, 4.0]), np.array([0.0, 10.0]))
    picture = drawing.curves([Line("none", np.array([]), np.array([])), line], "steps", "label", 4.0)
    (points,) = re.findall(r'class=line stroke="var\(--line-1\)"[^>]* d="M(.*?)"', picture)
    (x0, y0), (x1, y1) = ([float(v) for v in point.split()] for point in points.split("L"))
    assert (x0, x1) == (62.0, 322.0)
    assert y0 - y1 == pytest.approx(drawing.HEIGHT / 1.1, abs=0.2)


def test_names_cannot_write_html() -> None:
    """Of the study, data, methods and baselines, runs, states, reasons and repairs."""
    evil = "<script>alert(1)</script>"
    report, found = big((2, 2, 2))
    report["data"]["d"]["baselines"] = {"method-1": {}}
    found["left_out"] = [evil]
    found["guard"]["d"]["method-0, seed 0"] |= {"states": [[0, "warning", evil]], "repairs": [[1, evil]]}
    found["curves"]["d"]["method-0"]["failed"] = [
        {"seed": evil, **{axis: [1] for axis in AXES}, "metrics": {"all.hr@5": [0.1]}}
    ]
    report["published"] = published_check([], []) | {"left_out": [evil]}
    names = {"d": f"d{evil}", "method-0": f"m{evil}", "method-1": f"b{evil}"}
    text = page(renamed(report, names) | {"study": f"<b>{evil}"}, renamed(found, names))
    assert not re.search(r"<script|<b>&lt;script|title><b>|h1><b>", text)
    for name in ("d", "m", "b", "&lt;b&gt;"):
        assert f"{name}&lt;script&gt;alert" in text, name


def test_what_the_guard_did_is_told_and_ticked() -> None:
    report, found = big((1, 2, 3))
    found["guard"]["d"]["method-0, seed 1"] |= {"repairs": [[500, "repaired: clipped, because |Q| grows"]]}
    text = page(report, found)
    assert text.count("<path class=tick") == 1
    assert "Repairs, a tick each: 1</summary>" in text
    assert "<li>method-0, seed 1, step 500: repaired: clipped, because |Q| grows" in text
    assert "Repairs" not in page(*big((1, 2, 3)))


def test_a_tick_stands_where_its_repair_was_made() -> None:
    strips = {"run": [(0.0, "healthy"), (50.0, "diverged")]}
    picture = drawing.timeline(strips, {"run": 100.0}, "label", {"run": [(50.0, "clip")]})
    (second,) = re.findall(r'<rect x="([\d.]+)"[^>]*><title>run: diverged', picture)
    assert re.findall(r'class=tick d="M([\d.]+) ', picture) == [second] and "run, step 50: clip" in picture


def test_what_is_told_of_a_guarded_run(tmp_path: Path) -> None:
    """A state where it changes, each repair in words; a short run has neither, one that nobody watched is left out."""
    logs = {
        0: [
            {"kind": "guard", "step": 100, "state": "healthy", "reason": ""},
            {"kind": "guard", "step": 200, "state": "warning", "reason": "|Q| grows"},
            {
                "kind": "repair",
                "step": 200,
                "state": "warning",
                "reason": "|Q| grows",
                "action": "clip",
                "text": "clipped",
            },
            {"kind": "guard", "step": 300, "state": "warning", "reason": "|Q| grows"},
            {"kind": "repair", "step": 300, "state": "warning", "reason": "", "action": "freeze", "text": "frozen"},
        ],
        1: [{"kind": "step", "step": 40}],
        2: [{"kind": "step", "step": 400}],
    }
    runs = [
        {"data": "d", "method": "m", "seed": seed, "state": "finished", "settings": {"guard": {"watch": seed < 2}}}
        for seed in (0, 1, 2, 3)
    ]
    for seed, log in logs.items():
        (tmp_path / "d" / "m" / f"seed-{seed}").mkdir(parents=True)
        (tmp_path / "d" / "m" / f"seed-{seed}" / "log.jsonl").write_text("\n".join(map(json.dumps, log)))
    assert guarded({"runs": runs}, tmp_path)["d"] == {
        "m, seed 0": {
            "end": 300,
            "states": [[100, "healthy", ""], [200, "warning", "|Q| grows"]],
            "repairs": [[200, "clipped"], [300, "frozen"]],
        },
        "m, seed 1": {"end": 40, "states": [], "repairs": []},
    }


def test_a_run_without_a_strip_is_named() -> None:
    report, found = big((1, 2, 3))
    found["guard"]["d"]["method-0, seed 1"] = {"end": 40, "states": [], "repairs": []}
    said = "No strip, since they ended before the guard looked at them: method-0, seed 1."
    assert said in page(report, found) and said not in page(*big((1, 2, 3)))


def test_runs_that_failed_are_drawn_and_are_in_no_mean(tmp_path: Path) -> None:
    """Seed 1 failed after its validation at step 20, another method before any other seed had finished."""
    run = {"data": "d", "method": "m", "state": "finished"}
    lost = {"data": "d", "method": "gone", "seed": 0, "state": "failed"}
    report = {"data": {"d": {}}, "runs": [run | {"seed": 0}, run | {"seed": 1, "state": "failed"}, lost]}
    for (method, seed), values in {("m", 0): [0.1, 0.2, 0.3], ("m", 1): [0.5, 0.7], ("gone", 0): [0.4]}.items():
        folder = tmp_path / "d" / method / f"seed-{seed}"
        folder.mkdir(parents=True)
        where = [{"step": 10 * i, "events": 20 * i, "seconds": i} for i in range(1, 4)]
        log = [
            {"kind": "validation", **at, "metrics": {"all": {"hr@20": value}}}
            for at, value in zip(where, values, strict=False)
        ]
        (folder / "log.jsonl").write_text("\n".join(map(json.dumps, log)))
    curves = curves_of(report, tmp_path)["d"]
    assert curves["m"]["seeds"] == 1 and curves["m"]["metrics"]["all.hr@20"]["mean"] == [0.1, 0.2, 0.3]
    (failed,) = curves["m"]["failed"]
    assert (failed["seed"], failed["steps"], failed["metrics"]) == (1, [10, 20], {"all.hr@20": [0.5, 0.7]})
    assert curves["gone"]["seeds"] == 0 and curves["gone"]["failed"][0]["events"] == [20]

    drawn = "".join(training("d", curves, ["all.hr@20"], []))
    assert "m seed 1, gone seed 0, which failed." in drawn
    assert drawn.count('class="line broken"') == 6, "two runs on three axes"
    (steps,) = re.findall(
        r'class="line broken" stroke="var\(--line-0\)" d="M(.*?)"', drawn.partition("class=events")[0]
    )
    assert [float(point.split()[0]) for point in steps.split("L")] == pytest.approx(
        [62 + 260 / 3, 62 + 520 / 3], abs=0.1
    )
    found = {"compared": {}, "across": {}, "curves": {"d": curves}, "guard": {}, "left_out": [], "sweeps": {}}
    found["verdicts"] = {}
    whole = page({"study": "s", "data": {"d": {}}, "runs": []}, found)
    assert "No run has finished." in whole and 'class="line broken"' in whole


def test_baselines_stay_in_the_pictures_of_many_methods() -> None:
    report, found = big((15, 1, 2))
    report["data"]["d"]["baselines"] = {"method-14": {}}
    text = page(report, found)
    pictures = re.findall(
        r"<title>d: goal HR@20 by method</title>.*?</svg>|<title>d: HR@20, .*?</svg>", text, re.DOTALL
    )
    assert len(pictures) == 3
    for picture in pictures:
        assert "method-14" in picture and "method-11" in picture and "method-12" not in picture
    assert text.count("Not drawn: method-12, method-13.") == 2, "results, and repeat against novel"
    assert text.count("<summary>Curves: method-12, method-13</summary>") == 1, "curves of the others are folded"


def test_long_names_keep_both_ends() -> None:
    report, found = big((2, 1, 2))
    long = "sasrec-ccql objective.gamma="
    names = {"method-0": f"{long}0.5", "method-1": f"{long}0.99"}
    text = page(renamed(report, names), renamed(found, names))
    shown = set(re.findall(r">(sasrec-\S*\N{HORIZONTAL ELLIPSIS}[^<]*)</text>", text))
    assert len(shown) == 2 and {one.rpartition("=")[2] for one in shown} == {"0.5", "0.99"}


def test_the_page_sets_runs_beside_what_was_published() -> None:
    report, found = big((1, 1, 2))
    entry = {"method": "method-0", "figures": {"hr@20": [0.35, 0.01]}, "source": "a & b", "group": "all"}
    lost = {"data": "d", "method": "method-0", "seed": 7, "state": "failed"}
    text = page(report | {"published": published_check([entry], [*report["runs"], lost])}, found)
    (section,) = re.findall(r"<h2>Beside published figures</h2>(.*?)</section>", text, re.DOTALL)
    for entry in ("0.3500", "0.3000", "-0.0500", "off", "a &amp; b"):
        assert f"<td>{entry}</td>" in section
    assert "Runs not set beside them: 1.</b><ul><li>d/method-0/7: it failed" in section
    assert "Beside published" not in page(report, found) and "no ranking can have" not in section
    entry = {"method": "method-0", "figures": {"hr@20": [0.3, 0.01], "ndcg@20": [0.312, 0.05]}, "source": "<b>"}
    text = page(report | {"published": published_check([entry], report["runs"])}, found)
    (section,) = re.findall(r"<h2>Beside published figures</h2>(.*?)</section>", text, re.DOTALL)
    assert section.count("<td>IMPOSSIBLE row</td>") == 2 and "matched" not in section
    assert "Published figures that no ranking can have.</b><ul><li>&lt;b&gt;, method-0, all: from 0 to 20" in section


# The tables ----------------------------------------------------------------------------------------------------------


def test_what_figures_are_called() -> None:
    assert title("goal_repeat.ndcg@20") == "goal repeat NDCG@20" and title("reward@5") == "Reward@5"
    assert title("reward_per_event@5") == "Reward per event@5"
    assert (title("q.max_q"), title("q.gap")) == ("Largest Q", "Q above the return")
    assert title("q.rank_correlation") == "Rank correlation of Q and return"


def test_an_interval_has_the_decimals_of_its_figure() -> None:
    assert cell(15.0, (9.6, 21.7)) == "<td>15.0<small>9.6 to 21.7</small></td>"
    assert cell(9.0, (8.5, 10.5), best=True) == "<td><b class=best>9.0000</b><small>8.5000 to 10.5000</small></td>"


def test_the_table_over_seeds() -> None:
    """Of a's five runs one is cut off at either end: .25. Of b's ten pairs with them four win and two are ties.

    For the interval a's runs are moved 1.58 times as far from .25, by (5/4)^.5 * 2.776 / 1.96: to -.146 and .646.
    """

    def runs(*values: float) -> list[dict[str, Any]]:
        return [{"test": {"goal": {"hr@20": v, "ndcg@20": v}, "reward@20": v}} for v in values]

    names = ["goal.hr@20", "goal.ndcg@20", "reward@20"]
    text = seeds_table({"a": runs(0.1, 0.2, 0.25, 0.3, 0.4), "b": runs(0.2, 0.3), "c": runs(0.4)}, names)
    a, b, c = re.findall(r"<tr><th>[abc]</th>(.*?)</tr>", text)
    low, high = map(float, re.findall(r"<td>0.2500<small>(\S+) to (\S+)</small>", a)[0])
    assert 0 < low < 0.2 and 0.3 < high < 0.5
    assert b.startswith("<td>0.2500<small>0.2000 to 0.3000</small>") and b.endswith("<td>2</td><td>50%</td>")
    assert c == "<td>0.4000</td>" * 3 + "<td>1</td><td>90%</td>" and a.endswith("<td>5</td><td></td>")
    assert "beats a run of a" in text and "where there are fewer than 3" in text


def test_intervals_of_shares_are_shares_and_those_of_rewards_are_not_cut(tmp_path: Path) -> None:
    """What is made up for few seeds goes beyond 0 and 1; a reward may lose, and may be above 1."""

    def interval_of(*values: float) -> list[tuple[float, float]]:
        runs = [{"test": {"goal": {"hr@20": v, "ndcg@20": v}, "reward@20": 20 * v - 18}} for v in values]
        text = seeds_table({"a": runs}, ["goal.hr@20", "goal.ndcg@20", "reward@20"])
        return [(float(low), float(high)) for low, high in re.findall(r"<small>(\S+) to (\S+)</small>", text)]

    share, _, reward = interval_of(0.0, 0.0, 0.3)
    assert share[0] == 0 < share[1] and reward[0] < -18 < reward[1] < 0
    share, _, reward = interval_of(1.0, 1.0, 0.7)
    assert share[0] < share[1] == 1 and 1 < 2 < reward[1]

    goal = np.zeros(40, bool)
    for seed, rank in enumerate((1, 1000)):  # all hit, none hit
        outcomes = Outcomes(
            rank=np.full(40, rank),
            session=np.arange(40),
            goal=~goal,
            repeat=goal,
            known=~goal,
            reward=np.full(40, -0.5),
        )
        save_events(tmp_path / "d" / "m" / f"seed-{seed}" / FILE, outcomes, goal)
    runs = [
        {"data": "d", "method": "m", "seed": seed, "state": "finished", "evaluation": {"cutoffs": [20]}}
        | {"test": {}, "steps": 1}
        for seed in (0, 1)
    ]
    report = {"data": {"d": {"baselines": {}}}, "runs": runs}
    found = compared(report, all_sums(report, tmp_path))["d"]["figures"]["m"]
    assert found["all.hr@20"]["interval"] == found["goal.ndcg@20"]["interval"] == [0, 1]
    assert found["reward@20"]["mean"] == -10
    assert found["reward@20"]["interval"][0] < -20 and found["reward@20"]["interval"][1] > 0


def test_what_decides() -> None:
    of = ["all.ndcg@5", "all.ndcg@20", "reward@20"]
    assert deciding([of, of]) == ("all", 20)
    assert deciding([[*of, "goal.ndcg@20"], of]) == ("all", 20)
    assert deciding([[*of, "goal.ndcg@20"]]) == ("goal", 20)


def test_the_best_is_held_against_each_of_the_others() -> None:
    """Two methods are alike, and the third hits a tenth of the sessions less."""
    sums = planted({"a": 0.4, "b": 0.399, "c": 0.3}, 2000)
    best = best_methods(sums, NAMES)["goal.ndcg@20"]
    found = beside_best(sums, NAMES, "goal.ndcg@20", best)
    means = {method: float(of.values(NAMES)[:, NAMES.index("goal.ndcg@20")].mean()) for method, of in sums.items()}
    assert found["method"] == max(means, key=lambda method: means[method])
    (near,) = {"a", "b"} - {found["method"]}
    for method, row in found["rows"].items():
        assert row["difference"] == pytest.approx(means[found["method"]] - means[method])
        assert row["p_adjusted"] == best["p"][method]
    assert found["rows"]["c"]["p_adjusted"] < 0.01 and found["rows"]["c"]["interval"][0] > 0.05
    assert found["rows"][near]["p_adjusted"] > 0.05
    text = best_table(found)
    assert f"{found['method']} less c" in text and "effect size" in text


def test_q_on_the_test_split_stands_beside_the_return() -> None:
    """Two runs with mean Q of 1 and 3, where 0.5 followed; one of them has no rank correlation."""
    runs = [
        {"test": {"q": {"n": 9, "mean_q": q, "max_q": 9.0, "mean_return": 0.5, "gap": q - 0.5, "rank_correlation": r}}}
        for q, r in ((1.0, 0.25), (3.0, None))
    ]
    text = q_table({"snqn": runs, "sasrec": [{"test": {}}]})
    (row,) = (line for line in text.split("<tr>") if line.startswith("<th>snqn"))
    assert row.startswith("<th>snqn</th><td>2.0000<small>1.0000 to 3.0000</small></td>") and "<td></td></tr>" in row
    assert q_table({"sasrec": [{"test": {}}]}) == ""


# The command ---------------------------------------------------------------------------------------------------------


def test_shipped_studies_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    names = [name for name, _ in shipped_studies()]
    paper = {f"table-{n}" for n in (1, 2, 3, 4)} | {f"figure-{n}" for n in (1, 3, 4)}
    appendix = {f"appendix-{part}" for part in ("discount", "overestimation", "rl")}
    assert paper | appendix | {"sweeps", "does-rl-help", "guard-demo"} == set(names)
    for name in names:
        assert read_study(FOLDER / f"{name}.yaml").runs()
    assert main(["bench", "--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(names) + 1
    with pytest.raises(SeqwardError, match="Did you mean 'figure-3'"):
        study_file("figur-3")


def told(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    status = main(["bench", *arguments])
    return status, capsys.readouterr().err


def test_bad_options_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told([], capsys)[1].startswith("Which study?")
    assert "--jobs is a whole number" in told(["figure-3", "--jobs", "0"], capsys)[1]
    status, said = told(["figure-3", "--out", str(tmp_path / "o"), "--data", str(tmp_path)], capsys)
    assert status == 2 and "expected a folder that `seqward prepare` wrote" in said


def test_what_has_finished_is_drawn_without_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of two runs has been carried out when the page is asked for."""
    study = tmp_path / "two.yaml"
    study.write_text(
        "data: {d: {simulate: {sessions: 60, items: 20, seed: 0}, rewards: {view: 0.2, cart: 0.5, purchase: 1}}}\n"
        "seeds: [0]\nmethods: {vsknn: {}, item-knn: {}}\n"
    )
    out = str(tmp_path / "out")
    assert told([str(study), "--out", out, "--jobs", "1", "--only", "*/item-knn/0"], capsys)[0] == 0
    (tmp_path / "out" / "results.html").unlink()
    monkeypatch.setattr("seqward.bench.runner.attempt", lambda *_: pytest.fail("a run was carried out"))
    assert told([str(study), "--out", out, "--draw"], capsys)[0] == 0
    assert (tmp_path / "out" / "results.html").is_file()
    report = json.loads((tmp_path / "out" / "results.json").read_text())
    assert len(report["runs"]) == 1
    failed = {"data": "d", "method": "vsknn", "seed": 0, "state": "failed", "error": "it has died"}
    (tmp_path / "out" / "results.json").write_text(json.dumps({**report, "runs": [*report["runs"], failed]}))
    status, said = told([str(study), "--out", out, "--draw"], capsys)
    assert status == 1 and "d/vsknn/0: it has died" in said


def test_a_device_that_is_not_there_is_told_before_the_first_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, said = told(["figure-3", "--out", str(tmp_path / "o"), "--device", "tpu"], capsys)
    assert status == 2 and "device must be auto, cpu or cuda; got 'tpu'." in said and not (tmp_path / "o").exists()


def test_runs_share_no_gpu_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert one_a_device("auto", "cpu") == "auto" and one_a_device(3, "cpu") == 3
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert one_a_device("auto", "auto") == 1 and one_a_device(3, "cuda") == 3


def test_my_own_data_stand_in_the_place_of_all(done: tuple[Path, Outcome]) -> None:
    """A prepared folder, and a log with columns of its own names."""
    folder = done[0] / "my-log"
    shutil.copytree(done[0] / "out" / "data" / "shop", folder)
    mine = data_instead([str(folder)])
    study = read_study(FOLDER / "does-rl-help.yaml", None, mine)
    assert study.data == {"my-log": {"prepared": str(folder.resolve())}}
    small = read_study(done[0] / "tiny.yaml", done[0] / "o", mine)
    found = bench(small, done[0] / "o", only=["my-log/sasrec/0"])
    assert list(found.found["verdicts"]) == ["my-log"] and (done[0] / "o" / "my-log" / "sasrec" / "seed-0").is_dir()
    assert "<h2 class=data>my-log</h2>" in found.page.read_text()
    assert bench(small, done[0] / "o", only=["my-log/sasrec/0"]).report == found.report, "it goes on"
    with pytest.raises(SeqwardError, match=r"data.my-log was .* and is"):
        other = data_instead([str(shutil.copytree(folder, done[0] / "other" / "my-log"))])
        bench(read_study(done[0] / "tiny.yaml", done[0] / "o", other), done[0] / "o")
    first = next(run for run in done[1].report["runs"] if (run["method"], run["seed"]) == ("sasrec", 0))
    assert found.report["runs"][0]["test"] == first["test"]


def test_my_own_log_with_its_own_columns(tmp_path: Path) -> None:
    rows = [f"{s},{(s * 7 + i) % 12},{i},{'buy' if i == 4 else 'view'}" for s in range(60) for i in range(5)]
    (tmp_path / "log.csv").write_text("\n".join(["s,i,t,what", *rows]))
    text = """
data:
  mine:
    path: log.csv
    columns: {session_id: s, item_id: i, timestamp: t, event_type: what}
    rewards: {view: 0.2, buy: 1.0}
    goal: buy
    prepare: {min_session_length: 2}
seeds: [0]
methods: {popularity: {}}
"""
    found = bench(study_in(tmp_path, text), tmp_path / "out")
    assert found.report["data"]["mine"]["protocol"]["counts"]["events"] == 300
    assert (tmp_path / "out" / "results.html").is_file()


def test_the_package_names_its_studies() -> None:
    text = (Path(seqward.__file__).parents[2] / "pyproject.toml").read_text()
    assert "studies/*.yaml" in text
