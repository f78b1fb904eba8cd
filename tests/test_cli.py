"""The command line: its surface, its exit statuses, and each command once on a small shop."""

from __future__ import annotations

import json
import os
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
from seqward.cli import app, main
from seqward.data.dataset import Dataset
from seqward.data.fetch import Fetched
from seqward.data.sources import SOURCES
from seqward.errors import Finding
from seqward.methods import METHODS
from seqward.recommender import Recommender
from tables import table

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
bench STUDY --out --jobs --only --max-minutes --data --force --reuse --draw --device --list
methods --json --markdown
lint-table FILE --click-reward --goal-reward --json
config METHOD
doctor --machine
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


def test_surface_is_frozen() -> None:
    """A command or an option is added here on purpose, and none is renamed or taken away."""
    assert list(commands(typer.main.get_command(app))) == SURFACE.replace("\n    ", " ").strip().splitlines()


def test_version(seqward: Command) -> None:
    assert seqward("--version") == ["seqward 0.1.0"]


def test_module_has_the_exit_status_of_the_command(tmp_path: Path) -> None:
    """A shell that runs `python -m seqward` sees a refusal as one, and success as 0."""
    module = [sys.executable, "-m", "seqward"]
    refused = subprocess.run([*module, "prepare", "none.csv", "--out", "data"], cwd=tmp_path, capture_output=True)
    assert (refused.returncode, refused.stdout) == (2, b"")
    assert refused.stderr.startswith(b"none.csv does not exist.")
    assert subprocess.run([*module, "--version"], capture_output=True).returncode == 0


def test_ctrl_c_while_the_command_line_is_loaded_is_130() -> None:
    """In a process of its own, whose first import of ``seqward.cli`` is interrupted."""
    code = """
import sys
from importlib.abc import MetaPathFinder

class Interrupts(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "seqward.cli":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupts())
from seqward.__main__ import main
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")


def test_ctrl_c_before_a_command_begins_is_130_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("seqward.cli.app", interrupted)
    assert main(["methods"]) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", METHODS)
def test_printed_configuration_is_the_defaults_and_explains_every_key(
    seqward: Command, name: str, tmp_path: Path
) -> None:
    file = tmp_path / "method.yaml"
    file.write_text("\n".join(seqward("config", name)))
    sections = METHODS[name].all_sections
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


def test_doctor_tells_which_kernels_answer_and_why(seqward: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqward.doctor.SIDE", 64)
    told = dict(table(seqward("doctor", "--machine"))[1:])
    assert told["native kernels"].startswith(("native kernels from ", "no native kernels: "))
    assert float(told["fp32 product, GFLOP/s a core"]) > 0
    monkeypatch.setenv("SEQWARD_NATIVE", "off")
    told = dict(table(seqward("doctor", "--machine"))[1:])
    assert told["sums in fp32 by"] == told["ranks by"] == "torch, in chunks"
    assert told["answers without torch by"] == "NumPy"


def test_doctor_tells_whether_the_gpus_kernels_work(seqward: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqward.doctor.SIDE", 64)
    for there, fault, said in (
        (False, None, "not asked: there is no GPU"),
        (True, "Triton is not installed", "Triton is not installed"),
        (True, None, "Triton's"),
    ):
        monkeypatch.setattr("torch.cuda.is_available", lambda there=there: there)
        monkeypatch.setattr("torch.cuda.get_device_name", lambda: "a GPU")
        monkeypatch.setattr("seqward.doctor.fault", lambda device, fault=fault: fault)
        assert dict(table(seqward("doctor", "--machine"))[1:])["gpu's kernels"] == said


def test_doctor_looks_at_the_machine_without_being_told(seqward: Command) -> None:
    assert [row[0] for row in table(seqward("doctor"))] == [row[0] for row in table(seqward("doctor", "--machine"))]


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
    seqward(*start, "--max-minutes", 0, "--resume")
    assert "time limit" in seqward(*start, "--max-minutes", 0, "--resume")[1]
    assert "all 1 epochs done" in seqward(*start, "--epochs", 1, "--resume")[1]
    assert "all 2 epochs done" in seqward(*start, "--epochs", 2, "--force")[1]


def test_resume_needs_nothing_of_what_the_run_was_begun_with(
    shop_data: Path, seqward: Command, refused: Callable[..., str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Method, seed and settings stand in the run; what is said again has to be the same, but for how long it lasts."""
    run = tmp_path / "run"
    begin = ["--method", "gru4rec", "--set", "n_factors=8", "--set", "patience=7", "--seed", 3]
    seqward("train", shop_data, "--out", run, *begin, "--epochs", 4, "--max-minutes", 0)
    seqward("train", shop_data, "--out", run, "--resume")
    begun = json.loads((run / "run.json").read_text())
    assert (begun["method"], begun["seed"], begun["state"]) == ("gru4rec", 3, "all 4 epochs done")
    assert (begun["settings"]["train"]["patience"], begun["settings"]["backbone"]["n_factors"]) == (7, 8)
    assert "goes on" not in caplog.text
    seqward("train", shop_data, "--out", run, "--resume", "--epochs", 5)
    assert f"{run} goes on: train.epochs was 4 and is 5 from here on." in caplog.text
    for said, why in ((["--seed", 4], "seed=3, and"), (["--method", "sasrec"], "method=gru4rec, and")):
        assert f"was begun with {why} cannot be resumed" in refused("train", shop_data, "--out", run, "--resume", *said)


@pytest.mark.parametrize("name", ["epochs=2", "train.epochs=2", "epochs =2"])
def test_epochs_are_given_once(shop_data: Path, refused: Callable[..., str], tmp_path: Path, name: str) -> None:
    said = refused("train", shop_data, "--method", "sasrec", "--out", tmp_path / "r", "--set", name, "--epochs", 3)
    assert said == "--epochs and --set train.epochs say the same: give one of them."


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("name", ["last-items", "popularity"])
def test_parameter_free_methods_train_like_any(shop_data: Path, seqward: Command, tmp_path: Path, name: str) -> None:
    rows = table(seqward("train", shop_data, "--method", name, "--out", tmp_path / "run", "--epochs", 3))
    assert rows[1][1:3] == [name, "fitted"]
    seqward("evaluate", tmp_path / "run", "--split", "all")
    assert json.loads((tmp_path / "run" / "metrics-all.json").read_text())["split"] == "all"


def test_passes_of_what_is_not_trained_are_told(
    shop_data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["train", shop_data, "--method", "popularity", "--epochs", 3, "--out", tmp_path / "run"]
    assert main([str(word) for word in words]) == 0
    assert "warning: --epochs has no effect: popularity reads the data once." in capsys.readouterr().err


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize(
    "name", [pytest.param(m.name, marks=[pytest.mark.slow] if m.trained else []) for m in METHODS.values()]
)
def test_every_method_goes_through_the_commands(shop_data: Path, seqward: Command, tmp_path: Path, name: str) -> None:
    run, sections = tmp_path / "run", METHODS[name].sections
    small = {"n_factors": 8, "batch_size": 64, "pretrain_epochs": 1, "warmup_events": 0.5}
    known = {key for section in sections.values() for key in vars(section)}
    options = [word for key in known & small.keys() for word in ("--set", f"{key}={small[key]}")]
    rows = table(seqward("train", shop_data, "--method", name, "--out", run, "--epochs", 2, *options))
    assert rows[1][1:3] == [name, "all 2 epochs done" if METHODS[name].trained else "fitted"]
    seqward("evaluate", run)
    assert json.loads((run / "metrics.json").read_text())["model"]["all"]["n"] > 0
    best = table(seqward("recommend", run, "--history", "1,2", "-k", 3))
    assert [row[3] for row in best[1:]] == ["1", "2", "3"][: len(best) - 1]


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


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "Not enough memory: the system has none left."),
        (MemoryError("Unable to allocate 7 TiB"), "Not enough memory: Unable to allocate 7 TiB."),
        (RuntimeError("[x] DefaultCPUAllocator: can't allocate memory: 9 bytes"), "Not enough memory: [x] DefaultCPU"),
    ],
)
def test_too_little_memory_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, refused: Command, popularity_run: Path, error: Exception, said: str
) -> None:
    def evaluate(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(Recommender, "evaluate", evaluate)
    message = str(refused("evaluate", popularity_run))
    assert message.startswith(said) and "a smaller train.batch_size needs less" in message


def test_an_error_that_nobody_expects_is_not_hidden(monkeypatch: pytest.MonkeyPatch, popularity_run: Path) -> None:
    def evaluate(*_: Any, **__: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Recommender, "evaluate", evaluate)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["evaluate", str(popularity_run)])


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


def test_a_reader_that_closes_the_pipe_ends_it_quietly() -> None:
    pipe = "set -o pipefail; {} -c 'import sys; from seqward.cli import main; sys.exit(main())' methods | true"
    done = subprocess.run(["bash", "-c", pipe.format(sys.executable)], capture_output=True, text=True)
    assert done.stderr == ""


@pytest.mark.parametrize("argv", [["--nonsense"], ["trian"], ["train"], ["recommend", "x", "-k", "many"]])
def test_usage_errors_exit_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    assert capsys.readouterr().err.startswith("Usage: ")
