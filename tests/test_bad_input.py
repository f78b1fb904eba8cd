"""Bad input at the command line: each refusal exits with 2 and says in a few lines what to do; warnings exit with 0."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from seqward.cli import main
from seqward.data.dataset import Dataset

Refused = Callable[..., str]

SHOP = "session_id,item_id,timestamp,event\n"
ROWS = [(s, f"i{(s * 3 + t) % 9}", 100 * s + t, "buy" if t == 3 else "view") for s in range(20) for t in range(4)]


def write_log(folder: Path, rows: Any = ROWS, name: str = "log.csv", header: str = SHOP) -> Path:
    file = folder / name
    file.write_text(header + "".join(",".join(map(str, row)) + "\n" for row in rows))
    return file


def changed(row: int, **values: Any) -> list[tuple[Any, ...]]:
    """ROWS with other values in one row."""
    columns = SHOP.strip().split(",")
    new = tuple(values.get(name, old) for name, old in zip(columns, ROWS[row], strict=True))
    return [*ROWS[:row], new, *ROWS[row + 1 :]]


@pytest.fixture
def prepare(refused: Refused, tmp_path: Path) -> Refused:
    """The message with which `prepare FILE --out data ...` is refused; nothing is written."""

    def run(file: Path, *options: object) -> str:
        message = refused("prepare", file, "--out", tmp_path / "data", *options)
        assert not (tmp_path / "data").exists()
        return message

    return run


def test_missing_column(prepare: Refused, tmp_path: Path) -> None:
    file = write_log(tmp_path)
    message = prepare(file, "--item-col", "itemid")
    assert "no column 'itemid'" in message
    assert "It has: session_id, item_id, timestamp, event." in message
    assert "Did you mean 'item_id'?" in message
    no_time = write_log(tmp_path, [(1, "a")], header="session_id,item_id\n")
    message = prepare(no_time)
    assert "no column timestamp or datetime or order" in message
    assert "--time-col or --order-col" in message


@pytest.mark.parametrize("value", ["yesterday", "", "2024-13-01"])
def test_timestamps_that_cannot_be_read(prepare: Refused, tmp_path: Path, value: str) -> None:
    message = prepare(write_log(tmp_path, changed(7, timestamp=value)), "--reward", "view=0", "--reward", "buy=1")
    assert "'timestamp'" in message
    assert "row 8" in message


def test_times_with_a_zone_and_without(prepare: Refused, tmp_path: Path) -> None:
    zones = ["2024-01-01T00:00:00+00:00", "2024-01-01T00:00:00"]
    rows = [(1, "a", zones[0]), (1, "b", zones[1]), (1, "c", zones[0])]
    message = prepare(write_log(tmp_path, rows, header="session_id,item_id,datetime\n"))
    assert "times with a zone and without: row 1 holds" in message
    assert "row 2" in message


@pytest.mark.parametrize("column", ["session_id", "item_id"])
def test_null_ids(prepare: Refused, tmp_path: Path, column: str) -> None:
    message = prepare(write_log(tmp_path, changed(4, **{column: ""})))
    assert f"'{column}'" in message
    assert "is missing in 1 row, first in row 5." in message


def test_unknown_event_type_without_a_reward(prepare: Refused, tmp_path: Path) -> None:
    message = prepare(write_log(tmp_path), "--event-col", "event", "--reward", "view=0.2")
    assert "No reward for event type 'buy'." in message
    assert "buy 20, view 60" in message
    assert "--reward" in message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--reward", "view"], "--reward expects EVENT=VALUE, such as --reward purchase=1; got 'view'."),
        (["--reward", "view=much"], "--reward expects EVENT=VALUE, such as --reward purchase=1; got 'view=much'."),
        (["--reward", "view=1", "--reward", "view=2"], "--reward names the event 'view' twice: 1 and 2. Keep one."),
        (["--goal", "reward>=many"], "reward>=many"),
        (["--split", "tempral"], "Did you mean 'temporal'?"),
        (["--min-session-length", "0"], "min_session_length must be a whole number of at least 1; got 0."),
        (
            ["--session-gap", "-1", "--user-col", "session_id"],
            "The session gap is -1.0 minutes; expected a number above 0.",
        ),
        (["--source", "retail-rocket"], "Did you mean 'retailrocket'?"),
        (["--source", "retailrocket", "--item-col", "x"], "--source retailrocket knows the columns of its files."),
    ],
)
def test_options_of_prepare(prepare: Refused, tmp_path: Path, options: list[str], words: str) -> None:
    rewards = [] if "--reward" in options else ["--reward", "view=0", "--reward", "buy=1"]
    columns = [] if "--source" in options else ["--event-col", "event"]
    assert words in prepare(write_log(tmp_path), *columns, *rewards, *options)


def test_empty_file(prepare: Refused, tmp_path: Path) -> None:
    assert "is empty (0 bytes)" in prepare(write_log(tmp_path, [], header=""))
    assert "has a header and no rows" in prepare(write_log(tmp_path, []))


def test_file_that_is_not_what_its_ending_says(prepare: Refused, tmp_path: Path) -> None:
    parquet = tmp_path / "log.csv"
    pl.DataFrame({"a": [1]}).write_parquet(parquet)
    assert "is not the text that its ending .csv says: it is a Parquet file." in prepare(parquet)
    assert "is no Parquet file, though its name says so" in prepare(write_log(tmp_path, name="log.parquet"))
    assert "ends in '.xlsx'; known are .csv" in prepare(write_log(tmp_path, name="log.xlsx"))
    assert "does not exist" in prepare(tmp_path / "nothing.csv")


def test_no_session_left(prepare: Refused, tmp_path: Path) -> None:
    message = prepare(write_log(tmp_path), "--min-session-length", 9)
    assert "No session is left after the filters." in message
    assert "sessions of fewer than 9 events: 20 sessions, 80 events" in message


def test_data_set_that_is_there_is_not_overwritten(shop_log: Path, shop_data: Path, refused: Refused) -> None:
    message = refused("prepare", shop_log, "--out", shop_data, "--reward", "view=0", "--reward", "addtocart=1")
    assert "already holds a data set" in message
    assert "--force" in message


def test_log_that_is_there_is_not_overwritten(shop_log: Path, refused: Refused) -> None:
    assert refused("simulate", "--out", shop_log).endswith(
        " already exists. Give another --out, or --force to replace it."
    )
    assert "Did you mean 'retailrocket'?" in refused("simulate", "--out", shop_log, "--preset", "retailroket")


def test_data_set_that_was_cut_off_or_edited(shop_data: Path, refused: Refused, tmp_path: Path) -> None:
    def train_on(damage: Callable[[Path], Any]) -> str:
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(shop_data, copy)
        damage(copy)
        return refused("train", copy, "--method", "popularity", "--out", tmp_path / "run")

    def edit(folder: Path) -> None:
        events = pl.read_parquet(folder / "events.parquet")
        events.with_columns(reward=pl.col("reward") * 2).write_parquet(folder / "events.parquet")

    assert "holds no dataset.json" in train_on(lambda folder: (folder / "dataset.json").unlink())
    assert "items.parquet is missing" in train_on(lambda folder: (folder / "items.parquet").unlink())
    assert "was cut off or edited" in train_on(edit)
    assert "dataset.json cannot be read: the data set was cut off or edited" in train_on(
        lambda folder: (folder / "dataset.json").write_text((folder / "dataset.json").read_text()[:100])
    )
    assert "is no folder. Expected a data set" in train_on(shutil.rmtree)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method", "sarsec"], "unknown method 'sarsec'. Did you mean 'sasrec', 'gsasrec' or 'esasrec'?"),
        (["--method", "sqn"], "'gru4rec-sqn', 'caser-sqn', 'nextitnet-sqn' or 'sasrec-sqn'?"),
        (["--method", "sac"], "Did you mean 'gru4rec-ac', 'caser-ac', 'nextitnet-ac' or 'sasrec-ac'?"),
        ([], "No method is named: give --method NAME"),
        (["--method", "sasrec", "--set", "train.learning_rate=1"], "train.learning_rate: no such key"),
        (["--method", "sasrec", "--set", "train.epohcs=1"], "Did you mean 'epochs'?"),
        (
            ["--method", "sasrec-ccql", "--set", "alpha=-1"],
            "objective.alpha should be greater than or equal to 0, got -1",
        ),
        (["--method", "sasrec", "--set", "dropout_rate=1"], "backbone.dropout_rate should be less than 1, got 1"),
        (["--method", "sasrec", "--epochs", "0"], "train.epochs should be greater than or equal to 1, got 0"),
        (["--method", "sasrec", "--device", "tpu"], "device must be auto, cpu or cuda; got 'tpu'."),
        (["--method", "sasrec", "--config", "none.yaml"], "Cannot read the configuration none.yaml"),
        (["--method", "popularity", "--set", "lr=1"], "The method has no settings."),
    ],
)
def test_method_and_settings(shop_data: Path, refused: Refused, tmp_path: Path, options: list[str], words: str) -> None:
    assert words in refused("train", shop_data, "--out", tmp_path / "run", *options)
    assert not (tmp_path / "run").exists()


def test_two_methods(shop_data: Path, refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("method: sasrec\n")
    options = ["--method", "sasrec-ac", "--config", tmp_path / "run.yaml", "--out", tmp_path / "run"]
    assert refused("train", shop_data, *options).startswith("--method says 'sasrec-ac', and")


def test_run_folder_that_is_there(popularity_run: Path, shop_data: Path, refused: Refused, tmp_path: Path) -> None:
    before = (popularity_run / "run.json").read_bytes()
    message = refused("train", shop_data, "--method", "popularity", "--out", popularity_run)
    assert "already exists. Give another --out, --resume to go on with it, or --force" in message
    assert "--force" in message
    assert (popularity_run / "run.json").read_bytes() == before
    (tmp_path / "precious").write_text("text")
    assert "holds no run, and what it holds is left alone" in refused(
        "train", shop_data, "--method", "popularity", "--out", tmp_path, "--force"
    )
    assert (tmp_path / "precious").exists()


def test_resume_as_another_run(ccql_run: Path, shop_data: Path, refused: Refused) -> None:
    message = refused("train", shop_data, "--method", "sasrec-ccql", "--out", ccql_run, "--resume", "--set", "lr=0.1")
    assert "cannot be resumed" in message


def test_data_set_that_must_be_fetched_by_hand(refused: Refused, tmp_path: Path) -> None:
    message = refused("data", "fetch", "retailrocket", "--to", tmp_path)
    assert "is to be downloaded by hand" in message
    assert f"put it into {tmp_path / 'retailrocket'}" in message
    assert "Did you mean 'retailrocket'?" in refused("data", "fetch", "retail-rocket")


def test_no_run(refused: Refused, tmp_path: Path) -> None:
    for command in (["evaluate"], ["recommend", "--history", "1"], ["report", "--out", "x.html"]):
        assert "holds no run.json" in refused(command[0], tmp_path, *command[1:])


def test_checkpoint_of_another_catalogue(ccql_run: Path, shop_log: Path, refused: Refused, tmp_path: Path) -> None:
    other = tmp_path / "other"
    rewards = "--reward view=0.2 --reward addtocart=1 --seed 1"
    assert main(f"prepare {shop_log} --out {other} {rewards}".split()) == 0
    assert "trained on another catalogue" in refused("evaluate", ccql_run, "--data", other)
    run = tmp_path / "run"
    shutil.copytree(ccql_run, run)
    (run / "items.json").write_text("[1, 2, 3]\n")
    assert "is not the catalogue that the run was trained on" in refused("recommend", run, "--history", "1")


def test_checkpoint_that_was_cut_off(ccql_run: Path, refused: Refused, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(ccql_run, run)
    weights = run / "best" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "it was cut off or edited" in refused("recommend", run, "--history", "1")
    weights.unlink()
    assert "is missing" in refused("recommend", run, "--history", "1")
    (run / "run.json").write_text("{")
    assert "run.json cannot be read: it was cut off or edited" in refused("recommend", run, "--history", "1")


@pytest.mark.parametrize("split", ["all", "tset"])
def test_split_that_cannot_be_evaluated(ccql_run: Path, refused: Refused, split: str) -> None:
    words = {"all": "holds the events that the model was trained on", "tset": "Did you mean 'test'?"}
    assert words[split] in refused("evaluate", ccql_run, "--split", split)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "Give one of --history a,b,c, --input FILE and --examples N."),
        (["--history", "1", "--examples", "3"], "Give one of --history a,b,c, --input FILE and --examples N."),
        (["--history", "1", "-k", "0"], "k must be a whole number of at least 1; got 0."),
        (["--history", "1", "--rank-by", "luck"], "rank_by must be policy, q or mixture; got 'luck'."),
        (["--input", "none.csv"], "none.csv does not exist."),
        (["--history", "1", "--data", "x"], "--data is where --examples come from"),
        (["--history", "1", "--output", "out.txt"], "expected a name that ends in .csv, .tsv or .parquet."),
    ],
)
def test_options_of_recommend(ccql_run: Path, refused: Refused, options: list[str], words: str) -> None:
    assert words in refused("recommend", ccql_run, *options)


def test_rank_by_q_without_a_critic(popularity_run: Path, refused: Refused) -> None:
    assert "has no critic" in refused("recommend", popularity_run, "--history", "1", "--rank-by", "q")


def test_file_of_histories(ccql_run: Path, refused: Refused, tmp_path: Path) -> None:
    def asked(text: str) -> str:
        (tmp_path / "asked.csv").write_text(text)
        return refused("recommend", ccql_run, "--input", tmp_path / "asked.csv")

    assert "no column session_id or user_id. It has: session, item_id." in asked("session,item_id\n1,2\n")
    assert "with --session-col or --user-col" in asked("session,item_id\n1,2\n")
    assert "no column item_id. It has: user_id, item. Did you mean 'item'?" in asked("user_id,item\n1,2\n")
    assert "'item_id' (items) is missing in 1 row, first in row 2." in asked("user_id,item_id\n1,2\n1,\n")
    assert "has a header and no rows" in asked("user_id,item_id\n")
    (tmp_path / "out.csv").write_text("precious")
    assert "already exists. Give another --output, or --force" in refused(
        "recommend", ccql_run, "--history", "1", "--output", tmp_path / "out.csv"
    )


# No space on the disk


def full(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_no_space_for_a_log(monkeypatch: pytest.MonkeyPatch, refused: Refused, tmp_path: Path) -> None:
    monkeypatch.setattr(pl.DataFrame, "write_csv", full)
    assert "No space left on device" in refused("simulate", "--out", tmp_path / "log.csv", "--sessions", 50)
    assert list(tmp_path.iterdir()) == []


def test_no_space_for_a_data_set(monkeypatch: pytest.MonkeyPatch, shop_log: Path, prepare: Refused) -> None:
    monkeypatch.setattr(Dataset, "save", full)
    assert "No space is left on the disk" in prepare(shop_log, "--reward", "view=0", "--reward", "addtocart=1")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "No space left on the disk; what was being written is incomplete.",
        ),
        (OSError(errno.EIO, "Input/output error"), "Input/output error, in reading or writing a file."),
    ],
)
def test_a_disk_that_fails_under_a_checkpoint(
    error: OSError, message: str, monkeypatch: pytest.MonkeyPatch, shop_data: Path, refused: Refused, tmp_path: Path
) -> None:
    """The system names no file where it fails in writing to one that is open."""

    def failing(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(Path, "write_bytes", failing)
    assert refused("train", shop_data, "--method", "popularity", "--out", tmp_path / "run").startswith(message)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full")
def test_no_space_for_metrics(popularity_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table is printed all the same: what was found is not lost."""
    assert main(["evaluate", str(popularity_run), "--json", "/dev/full"]) == 2
    out, err = capsys.readouterr()
    assert out.startswith("group\tmethod\tevents")
    assert err.startswith("No space left on the disk")


def half_of_it(content: Any, file: Any, *_: Any, **__: Any) -> None:
    """Writing to a disk that is full after the first half."""
    Path(file).write_bytes(b"half of ")
    full()


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet"])
def test_no_space_for_recommendations_leaves_what_was_there(
    monkeypatch: pytest.MonkeyPatch, popularity_run: Path, refused: Refused, tmp_path: Path, ending: str
) -> None:
    for name in ("write_csv", "write_parquet"):
        monkeypatch.setattr(pl.DataFrame, name, half_of_it)
    file = tmp_path / f"out{ending}"
    ask = ["recommend", popularity_run, "--history", "1", "--output", file]
    assert "No space left on the disk" in refused(*ask)
    assert list(tmp_path.iterdir()) == []
    file.write_text("of yesterday")
    assert "No space left on the disk" in refused(*ask, "--force")
    assert [file.read_text() for file in tmp_path.iterdir()] == ["of yesterday"]


def test_no_space_for_metrics_leaves_what_was_there(
    monkeypatch: pytest.MonkeyPatch, popularity_run: Path, tmp_path: Path
) -> None:
    file, run = tmp_path / "copy.json", tmp_path / "run"
    shutil.copytree(popularity_run, run)
    file.write_text("of yesterday")
    (run / "metrics.json").write_text("of yesterday")

    def write_text(path: Path, text: str, *_: Any, **__: Any) -> int:
        with path.open("w") as stream:
            stream.write("half of ")
        return full()

    with monkeypatch.context() as patch:
        patch.setattr("seqward.run.Run.record_evaluation", lambda *_: None)
        patch.setattr(Path, "write_text", write_text)
        assert main(["evaluate", str(run), "--json", str(file), "--force"]) == 2
    assert [place.read_text() for place in (file, run / "metrics.json")] == ["of yesterday"] * 2
    assert not [*tmp_path.rglob("*.part")]


def test_place_that_cannot_be_written(popularity_run: Path, refused: Refused, tmp_path: Path) -> None:
    file = tmp_path / "no" / "folder.json"
    assert refused("evaluate", popularity_run, "--json", file) == f"--json {file}: there is no folder {file.parent}."
    simulate = ["simulate", "--sessions", 50, "--out", "/proc/log.csv"]
    assert "/proc/log.csv cannot be written" in refused(*simulate)


# Warned of and recorded, exit 0


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([*ROWS[1:4], ROWS[0], *ROWS[4:]], "1 of 80 rows stood after a later event of their session: sorted."),
        ([ROWS[0], *ROWS], "1 of 81 rows repeat another row"),
        ([(99, "i1", 0, "view"), *ROWS], "Dropped sessions of fewer than 3 events: 1 of 21 sessions, 1 of 81 events."),
        (changed(1, timestamp=0), "2 of 80 events (2.5%) share their session and time"),
    ],
)
def test_warned_of_and_recorded(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, rows: list[tuple[Any, ...]], words: str
) -> None:
    command = f"prepare {write_log(tmp_path, rows)} --out {tmp_path / 'data'} --min-item-count 1"
    assert main(command.split()) == 0
    assert f"warning: {words}" in capsys.readouterr().err
    recorded = json.loads((tmp_path / "data" / "dataset.json").read_text())["protocol"]["warnings"]
    assert any(words in warning for warning in recorded)


def test_item_ids_in_order_of_appearance_are_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = [(s, 4 * s + t, 100 * s + t, "view") for s in range(20) for t in range(4)]
    assert main(f"prepare {write_log(tmp_path, rows)} --out {tmp_path / 'data'}".split()) == 0
    assert "warning: Item ids are in order of first appearance" in capsys.readouterr().err


def test_references_that_are_no_item_are_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    header = "user_id,session_id,timestamp,step,action_type,reference,impressions\n"
    rows = [
        ("u", f"s{s}", 100 * s + t, t, "clickout item", 5 if (s, t) != (1, 1) else "unknown", "")
        for s in range(9)
        for t in range(1, 5)
    ]
    file = write_log(tmp_path, rows, name="train.csv", header=header)
    assert main(f"prepare {file} --source trivago --out {tmp_path / 'data'}".split()) == 0
    assert "warning: 1 references of item actions are no item number: dropped." in capsys.readouterr().err


def test_events_that_were_trained_on_are_not_tested(
    refused: Refused, ccql_run: Path, shop_data: Path, tmp_path: Path
) -> None:
    """Another split of the same log has the same items, and other events to test."""
    data = Dataset.load(shop_data)
    other = replace(data, split=data.split[::-1].copy(), path=None).save(tmp_path / "other")
    assert "trained on other events" in refused("evaluate", ccql_run, "--data", other.path)
    assert "the split 'train' holds the events" in refused("evaluate", ccql_run, "--split", "train")


def test_epochs_are_said_once(refused: Refused, shop_data: Path, tmp_path: Path) -> None:
    start = ["train", shop_data, "--method", "sasrec", "--out", tmp_path / "run", "--epochs", 2]
    assert refused(*start, "--set", "train.epochs=3").startswith("--epochs and --set train.epochs say the same")
    assert not (tmp_path / "run").exists()


def test_force_and_resume_contradict(refused: Refused, shop_data: Path, tmp_path: Path) -> None:
    message = refused("train", shop_data, "--method", "sasrec", "--out", tmp_path / "run", "--force", "--resume")
    assert "give one of them" in message
