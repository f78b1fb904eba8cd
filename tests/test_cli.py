"""The command line: its surface, its exit statuses, and each command once on a small shop."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer

from seqward import config
from seqward.cli import app, main, output, progress
from seqward.data.dataset import Dataset
from seqward.data.fetch import Fetched
from seqward.data.sources import SOURCES
from seqward.errors import Finding
from seqward.methods import METHODS
from seqward.recommender import Recommender

Command = Callable[..., list[str]]

SURFACE = """
simulate --out --preset --sessions --items --seed --force
prepare EVENTS --out --source --session-col --user-col --session-gap --item-col --event-col --time-col --time-unit
    --order-col --reward --reward-col --goal --separator --split --vocabulary --min-session-length --min-item-count
    --validation-users --seed --force
train DATA --out --method --config --set --epochs --max-minutes --seed --device --resume --force
evaluate RUN --split --json --exclude-history --skip-first --data --device --force
recommend RUN --history --input --session-col --user-col --item-col --time-col --order-col --separator --output
    --examples -k --rank-by --filter-viewed --data --force
report RUN --out --metrics --force
methods --json --markdown
config METHOD
data list
data fetch NAME --to
"""


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Each command with its arguments and options, in order."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            words = [p.metavar if p.param_type_name == "argument" else p.opts[0] for p in command.params]
            yield " ".join((*path, name, *words))


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that look at other things: drawing takes seconds."""
    monkeypatch.setattr("seqward.report.write_report", lambda run, out, metrics=None: out)


def table(lines: list[str]) -> list[list[str]]:
    return list(csv.reader(io.StringIO("\n".join(lines)), dialect="excel-tab"))


def test_surface_is_frozen() -> None:
    """A command or an option is added here on purpose, and none is renamed or taken away."""
    assert list(commands(typer.main.get_command(app))) == SURFACE.replace("\n    ", " ").strip().splitlines()


def test_version(seqward: Command) -> None:
    assert seqward("--version") == ["seqward 0.1.0"]


@pytest.mark.parametrize("name", METHODS)
def test_printed_configuration_is_the_defaults_and_explains_every_key(
    seqward: Command, name: str, tmp_path: Path
) -> None:
    file = tmp_path / "method.yaml"
    file.write_text("\n".join(seqward("config", name)))
    sections = METHODS[name].sections
    assert config.method_named_in(file) == name
    assert config.read_config(sections, file) == sections
    for section in sections.values():
        assert config.key_docs(type(section)).keys() == vars(section).keys()


def test_methods_are_listed_uncut(seqward: Command) -> None:
    rows = table(seqward("methods"))
    assert rows[0] == ["method", "family", "terms", "what it is", "source"]
    assert [[row[0], row[1], *row[3:]] for row in rows[1:]] == [
        [m.name, m.family, m.summary, m.source] for m in METHODS.values()
    ]
    terms = {row[0]: row[2] for row in rows}
    assert terms["sasrec-ccql"] == "L_CE + ω L_Q + L_CO + α L_CQL → Q L_CE + ω L_Q + L_CO + α L_CQL"
    assert terms["last-items"] == ""


def test_methods_are_told_to_programs(seqward: Command) -> None:
    records = {record["method"]: record for record in json.loads("\n".join(seqward("methods", "--json")))}
    assert records.keys() == METHODS.keys()
    assert records["sasrec-ac"]["terms"] == ["L_CE + ω L_Q", "Q L_CE + ω L_Q"]
    assert records["sasrec-ac"]["needs"] == ["goal", "rewards"]
    assert records["vsknn"]["terms"] == []


def test_simulate_tells_the_shape_and_writes_the_same_log_again(seqward: Command, tmp_path: Path) -> None:
    shape = dict(table(seqward("simulate", "--out", tmp_path / "a.csv", "--sessions", 50, "--seed", 3))[1:])
    assert shape["sessions"] == "50"
    seqward("simulate", "--out", tmp_path / "b.csv", "--sessions", 50, "--seed", 3)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_sources_are_listed_uncut_with_how_to_get_each(seqward: Command) -> None:
    rows = table(seqward("data", "list"))
    assert rows[0] == ["name", "what it is", "files", "reader tried on real data", "how to get it", "terms"]
    assert [row[0] for row in rows[1:]] == list(SOURCES)
    assert all(all(row) for row in rows)


def test_fetch_tells_what_to_do_next(seqward: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fetch(name: str, folder: Path) -> Fetched:
        return Fetched(source=name, path=folder / "u.data", archive="ml-100k.zip", sha256="ab12", is_first=True)

    monkeypatch.setattr("seqward.data.fetch.fetch", fetch)
    lines = seqward("data", "fetch", "ml-100k", "--to", tmp_path)
    assert lines[-1] == f"Next: seqward prepare {tmp_path}/u.data --source ml-100k --out DATA"


def test_prepare_with_every_option(seqward: Command, tmp_path: Path) -> None:
    rows = [(user, 60 * t, f"i{(user + t) % 7}", t % 3, t) for user in range(40) for t in range(8)]
    log = pl.DataFrame(rows, schema=["who", "when", "what", "how", "worth"], orient="row").with_columns(
        how=pl.col("how").replace_strict({0: "see", 1: "try", 2: "buy"}, return_dtype=pl.String)
    )
    log.write_csv(tmp_path / "log.csv", separator=";")
    columns = [
        "--user-col",
        "who",
        "--item-col",
        "what",
        "--event-col",
        "how",
        "--time-col",
        "when",
        "--separator",
        ";",
    ]
    rules = ["--time-unit", "s", "--session-gap", 1, "--goal", "reward>=6", "--reward-col", "worth"]
    how = [
        "--split",
        "leave-one-out",
        "--vocabulary",
        "log",
        "--min-session-length",
        2,
        "--min-item-count",
        2,
        "--seed",
        7,
    ]
    counts = table(seqward("prepare", tmp_path / "log.csv", "--out", tmp_path / "data", *columns, *rules, *how))
    assert counts[0] == ["split", "sessions", "events", "goals", "targets outside vocabulary", "items"]
    assert counts[-1] == ["all", "40", "320", "80", "0", "7"]
    protocol = Dataset.load(tmp_path / "data").protocol
    assert protocol["columns"] == {
        "user_id": "who",
        "item_id": "what",
        "event_type": "how",
        "reward": "worth",
        "time": "when",
    }
    assert (protocol["seed"], protocol["split"]["name"], protocol["vocabulary"]["name"]) == (7, "leave-one-out", "log")
    assert protocol["sessions"]["gap_minutes"] == 1


def test_train_prints_what_came_of_it(shop_data: Path, seqward: Command, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("method: sasrec\ntrain: {batch_size: 64, epochs: 9}\n")
    rows = table(seqward("train", shop_data, "--config", file, "--out", tmp_path / "run", "--epochs", 1))
    assert rows[0] == ["run", "method", "state", "best validation reward@20", "at step"]
    assert rows[1][:3] == [str(tmp_path / "run"), "sasrec", "all 1 epochs done"]
    settings = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]
    assert (settings["train"]["batch_size"], settings["train"]["epochs"]) == (64, 1)


def test_resume_goes_on_and_force_replaces(shop_data: Path, seqward: Command, tmp_path: Path) -> None:
    start = ["train", shop_data, "--method", "sasrec", "--set", "n_factors=8", "--out", tmp_path / "run"]
    seqward(*start, "--max-minutes", 0)
    assert "time limit" in seqward(*start, "--max-minutes", 0, "--resume")[1]
    assert "all 1 epochs done" in seqward(*start, "--epochs", 1, "--resume")[1]
    assert "all 2 epochs done" in seqward(*start, "--epochs", 2, "--force")[1]


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("name", ["last-items", "popularity"])
def test_parameter_free_methods_train_like_any(shop_data: Path, seqward: Command, tmp_path: Path, name: str) -> None:
    rows = table(seqward("train", shop_data, "--method", name, "--out", tmp_path / "run", "--epochs", 3))
    assert rows[1][1:3] == [name, "fitted"]
    seqward("evaluate", tmp_path / "run", "--split", "all")
    assert json.loads((tmp_path / "run" / "metrics-all.json").read_text())["split"] == "all"


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


def test_recommend_for_a_history(ccql_run: Path, seqward: Command) -> None:
    rows = table(seqward("recommend", ccql_run, "--history", "1, 2,3", "-k", 4))
    assert rows[0] == ["session_id", "item_id", "score", "rank"]
    assert [row[3] for row in rows[1:]] == ["1", "2", "3", "4"]
    frame = Recommender.load(ccql_run).recommend(histories=[[1, 2, 3]], k=4)
    assert [int(row[1]) for row in rows[1:]] == frame["item_id"].to_list()


def test_ids_with_commas_stand_in_quotes_and_a_repeated_option_is_another_history(
    seqward: Command, refused: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    ids = ["mug, red", 'rack 19"', "lamp", "007"]
    rows = [(s, t, ids[(s + t) % 4]) for s in range(30) for t in range(4)]
    pl.DataFrame(rows, schema=["session_id", "timestamp", "item_id"], orient="row").write_csv(tmp_path / "log.csv")
    seqward("prepare", tmp_path / "log.csv", "--out", tmp_path / "data")
    seqward("train", tmp_path / "data", "--method", "last-items", "--out", tmp_path / "run")
    asked = ["--history", '007,"mug, red", lamp', "--history", 'rack 19",,7', "--history", ""]
    shown = table(seqward("recommend", tmp_path / "run", *asked))
    assert [row[:2] for row in shown[1:]] == [["0", "lamp"], ["0", "mug, red"], ["0", "007"], ["1", 'rack 19"']]
    assert "1 items of the histories are not in the catalogue and were skipped, such as '7'." in caplog.text
    for text in ('"mug', '"mug" red,lamp'):
        message = refused("recommend", tmp_path / "run", "--history", text)
        assert message.startswith(f"--history {text}: expected item ids between commas, those with a comma in double")


def test_recommend_options_reach_the_recommender(ccql_run: Path, seqward: Command) -> None:
    rows = table(seqward("recommend", ccql_run, "--history", "1,2", "-k", 40, "--filter-viewed", "--rank-by", "q"))
    frame = Recommender.load(ccql_run).recommend(histories=[[1, 2]], k=40, filter_viewed=True, rank_by="q")
    assert [int(row[1]) for row in rows[1:]] == frame["item_id"].to_list()
    assert not {1, 2} & set(frame["item_id"])


@pytest.mark.parametrize("ending", [".CSV", ".tsv", ".parquet"])
def test_recommend_for_a_file(ccql_run: Path, seqward: Command, tmp_path: Path, ending: str) -> None:
    asked = pl.DataFrame({"user_id": ["b", "a", "b"], "timestamp": [3, 2, 1], "item_id": [5, 6, 7], "other": [0, 0, 0]})
    asked.write_csv(tmp_path / "asked.csv")
    out = tmp_path / f"new/out{ending}"
    assert seqward("recommend", ccql_run, "--input", tmp_path / "asked.csv", "--output", out, "-k", 3) == []
    got = (
        pl.read_parquet(out)
        if ending == ".parquet"
        else pl.read_csv(out, separator={".CSV": ",", ".tsv": "\t"}[ending])
    )
    want = Recommender.load(ccql_run).recommend(histories={"b": [7, 5], "a": [6]}, k=3)
    assert got.columns == ["user_id", "item_id", "score", "rank"]
    for owner in ("a", "b"):
        assert (
            got.filter(pl.col("user_id") == owner)["item_id"].to_list()
            == want.filter(pl.col("session_id") == owner)["item_id"].to_list()
        )


def test_columns_of_a_file_are_named_as_in_prepare(
    ccql_run: Path, seqward: Command, refused: Any, tmp_path: Path
) -> None:
    file = tmp_path / "asked.csv"
    rows = {"who": ["b", "a", "b"], "when": [3, 2, 1], "nth": [1, 1, 2], "what": [5, 6, 7]}
    pl.DataFrame(rows).write_csv(file, separator=";")
    model = Recommender.load(ccql_run)
    by_time, by_order = ({"b": items, "a": [6]} for items in ([7, 5], [5, 7]))
    names = ["--user-col", "who", "--item-col", "what", "--separator", ";"]
    for options, histories in ((["--time-col", "when"], by_time), (["--order-col", "nth"], by_order), ([], by_order)):
        shown = table(seqward("recommend", ccql_run, "--input", file, "-k", 3, *names, *options))
        want = model.recommend(histories=histories, k=3)
        assert shown[0] == ["user_id", "item_id", "score", "rank"]
        assert [row[:2] for row in shown[1:]] == [[owner, str(item)] for owner, item, *_ in want.rows()]
    shown = seqward("recommend", ccql_run, "--input", file, "--session-col", "nth", *names[2:])
    assert shown[0].startswith("session_id\t")
    assert "no column 'whom' (named for user_id). It has: who, when, nth, what. Did you mean 'who'?" in refused(
        "recommend", ccql_run, "--input", file, "--user-col", "whom", *names[2:]
    )
    assert "are for the file of --input" in refused("recommend", ccql_run, "--history", "1", "--item-col", "what")


def test_recommend_for_a_catalogue_of_strings(seqward: Command, tmp_path: Path) -> None:
    rows = [(s, t, f"{(s + t) % 4}" if t else "x") for s in range(30) for t in range(4)]
    pl.DataFrame(rows, schema=["session_id", "timestamp", "item_id"], orient="row").write_csv(tmp_path / "log.csv")
    seqward("prepare", tmp_path / "log.csv", "--out", tmp_path / "data")
    seqward("train", tmp_path / "data", "--method", "last-items", "--out", tmp_path / "run")
    (tmp_path / "asked.csv").write_text("session_id,item_id\n7,0\n7,2\n")
    for how in (["--history", "0,2"], ["--input", tmp_path / "asked.csv"]):
        assert [row[1] for row in table(seqward("recommend", tmp_path / "run", *how))] == ["item_id", "2", "0"]


def test_unknown_items_are_skipped_and_told(ccql_run: Path, seqward: Command, caplog: pytest.LogCaptureFixture) -> None:
    with_unknown = seqward("recommend", ccql_run, "--history", "1,999,x", "-k", 3)
    assert "2 items of the histories are not in the catalogue and were skipped, such as '999'" in caplog.text
    assert with_unknown == seqward("recommend", ccql_run, "--history", "1", "-k", 3)


def test_examples_in_words(ccql_run: Path, shop_data: Path, seqward: Command) -> None:
    lines = seqward("recommend", ccql_run, "--examples", 3, "-k", 2)
    assert len(lines) == 3
    data = Dataset.load(shop_data)
    for line in lines:
        session = data.session_ids.tolist().index(int(line.split()[1]))
        first = data.offsets[session]
        verb = {"view": "viewed", "addtocart": "carted"}[data.event_types[data.event_type[first]]]
        told, recommended = line.split(" -> ")
        if "earlier]" not in told:
            assert told.startswith(f"session {data.session_ids[session]} {verb} {data.item_ids[data.item[first]]}")
        assert recommended.startswith("1. item ")
        last = data.offsets[session + 1] - 1
        assert recommended.endswith(f" {data.item_ids[data.item[last]]})")


def test_ctrl_c_saves_and_exits_with_130(shop_data: Path, tmp_path: Path) -> None:
    """A real process and a real signal, sent when the first step was logged."""
    run = tmp_path / "run"
    command = f"train {shop_data} --method sasrec --set n_factors=8 --set log_every=1 --epochs 100000 --out {run}"
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; from seqward.cli import main; sys.exit(main())", *command.split()],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stderr is not None
        while not ((run / "log.jsonl").exists() and '"step"' in (run / "log.jsonl").read_text()):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(2)
        told = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "interrupted: resume with --resume" in told
    assert "Traceback" not in told
    assert (run / "last" / "model.safetensors").exists()


def test_a_finding_exits_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shop_data: Path, tmp_path: Path
) -> None:
    def diverge(*_: Any, **__: Any) -> None:
        raise Finding("the loss term L_CE is nan at step 3")

    monkeypatch.setattr(Recommender, "fit", diverge)
    assert main(f"train {shop_data} --method sasrec --out {tmp_path / 'run'}".split()) == 1
    assert capsys.readouterr().err == "the loss term L_CE is nan at step 3\n"


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(method: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(config, "to_yaml", lambda *_: broken("x"))
    with pytest.raises(ZeroDivisionError):
        main(["config", "sasrec"])


@pytest.mark.usefixtures("no_report")
def test_files_are_written_though_nobody_reads_the_table(
    popularity_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: Any, **__: Any) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("seqward.cli.runs.print_table", closed)
    assert main(["evaluate", str(popularity_run), "--json", str(tmp_path / "copy.json")]) != 0
    assert json.loads((tmp_path / "copy.json").read_text())["split"] == "test"


def test_a_reader_that_closes_the_pipe_ends_it_quietly() -> None:
    pipe = "set -o pipefail; {} -c 'import sys; from seqward.cli import main; sys.exit(main())' methods | true"
    done = subprocess.run(["bash", "-c", pipe.format(sys.executable)], capture_output=True, text=True)
    assert done.stderr == ""


@pytest.mark.parametrize("argv", [["--nonsense"], ["trian"], ["train"], ["recommend", "x", "-k", "many"]])
def test_usage_errors_exit_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    assert capsys.readouterr().err.startswith("Usage: ")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_table_on_a_terminal_is_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    output.print_table(("name", "value"), [("[red]a", 0.123456), ("b", None)], title="test split")
    shown = terminal.getvalue()
    assert "test split" in shown
    assert "[red]a" in shown
    assert "0.1235" in shown
    assert "None" not in shown


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Runs a command line on a terminal of so many columns; the lines shown, none longer unless of one word."""

    def run(columns: int, *argv: object) -> list[str]:
        terminal = Terminal()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", terminal)
            patch.setenv("COLUMNS", str(columns))
            assert main([str(word) for word in argv]) == 0
        lines = [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()]
        assert not [line for line in lines if len(line) > columns and len(line.split()) > 1]
        return lines

    return run


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("columns", [80, 60])
def test_evaluation_can_be_read_on_a_narrow_terminal(ccql_run: Path, on_terminal: Command, columns: int) -> None:
    """No name and no figure is folded over two lines, or cut."""
    lines = on_terminal(columns, "evaluate", ccql_run, "--split", "validation")
    model = json.loads((ccql_run / "metrics-validation.json").read_text())["model"]["all"]
    figures = [f"{model[f'{metric}@{k}']:.4f}" for metric in ("hr", "ndcg") for k in (5, 10, 20)]
    row = ["sasrec-ccql", *figures, "{:.3f}-{:.3f}".format(*model["ci"]["ndcg@20"])]
    if columns == 80:
        first = lines.index(f"all: {model['n']} events")
        assert lines[first + 1].split() == row
    else:
        first = next(number for number, line in enumerate(lines) if line == "group: all")
        assert [line.split()[-1] for line in lines[first + 1 : first + 10]] == [row[0], str(model["n"]), *row[1:]]


def test_lists_can_be_read_on_a_narrow_terminal(on_terminal: Command) -> None:
    shown = {word for line in on_terminal(80, "data", "list") for word in line.split()}
    for source in SOURCES.values():
        home = set() if source.archive else set(source.home.split())
        assert {source.name, *source.about.split()} | home <= shown
    words = {word for line in on_terminal(80, "methods") for word in line.split()}
    assert words >= {word for method in METHODS.values() for word in f"{method.name} {method.summary}".split()}


def test_help_is_not_cut(on_terminal: Command) -> None:
    for words in (["--help"], ["data", "--help"]):
        assert not [line for line in on_terminal(80, *words)[1:] if line.endswith("...")]


def test_table_elsewhere_is_tab_separated_and_uncut(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(("name", "value"), [("x" * 500, 0.123456), ("tab\there", None)])
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out), dialect="excel-tab"))
    assert rows == [["name", "value"], ["x" * 500, "0.123456"], ["tab\there", ""]]


STEP = {
    "kind": "step",
    "step": 1200,
    "events": 500,
    "seconds": 3.0,
    "terms": {"α L_CQL": 0.25},
    "events_per_second": 9e3,
}
VALIDATION = {"kind": "validation", "step": 1200, "events": 500, "seconds": 3.0, "value": 0.5, "best": True}


def test_progress_elsewhere_is_one_line_a_validation(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.training_progress(1000, None) as observe:
        observe(STEP)
        observe(VALIDATION)
    assert capsys.readouterr().err == "step 1,200  3 s  validation 0.5000 (best)\n"


def test_progress_on_a_terminal_shows_the_terms_and_the_share_done(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "200")
    with progress.training_progress(1000, max_minutes=0.1) as observe:
        observe(STEP)
        observe(VALIDATION)
    shown = terminal.getvalue()
    assert "9,000 events/s  α L_CQL 0.25" in shown
    assert " 50 %" in shown
    assert "validation 0.5000 (best)" in shown
