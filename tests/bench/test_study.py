"""What a study file may say, and in which words it is refused; which of its data are needed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqward import SeqwardError
from seqward.bench.events import load_events
from seqward.bench.runner import run_study
from seqward.bench.shipped import FOLDER, data_instead, study_file
from seqward.bench.study import Instead, Study, read_study
from seqward.bench.sweeps import sweeps_of
from seqward.cli import main

# Which data are needed ----------------------------------------------------------------------------------------------

WITHOUT = "--only 'shop/*' does without"


def without_trivago() -> list[Path]:
    """The studies that say in their head that a part of them needs no file."""
    return [file for file in sorted(FOLDER.glob("*.yaml")) if WITHOUT in file.read_text()]


@pytest.mark.parametrize("file", without_trivago(), ids=lambda file: file.stem)
def test_only_does_without_the_files_of_other_data(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the head says of it: the runs on the shop need no file of trivago, the others do."""
    monkeypatch.delenv("SEQWARD_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    study = read_study(file, tmp_path, only=["shop/*"])
    assert {key.data for key in study.runs(["shop/*"])} == {"shop"}
    for only in ([], ["shop/*", "trivago/*/0"]):
        with pytest.raises(SeqwardError, match=r"data trivago: trivago/events\.parquet is not there"):
            read_study(file, tmp_path, only=only)


def test_studies_that_need_a_file_say_so() -> None:
    assert len(without_trivago()) == 8
    for file in FOLDER.glob("*.yaml"):
        assert (WITHOUT in file.read_text()) == (set(read_study(file).data) == {"shop", "trivago"}), file.stem


def test_the_command_does_without_them_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is asked for where it is needed, and it is not where it is not: no run has the name that is given."""
    monkeypatch.delenv("SEQWARD_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "figure-1", "--only", "*/snqn/0"]) == 2
    assert "data trivago: trivago/events.parquet is not there" in capsys.readouterr().err
    assert main(["bench", "figure-1", "--only", "shop/snqn/7"]) == 2
    assert "no run of figure-1 is called shop/snqn/7. They are DATA/METHOD/SEED, such as " in capsys.readouterr().err


# One's own data -----------------------------------------------------------------------------------------------------


def prepared_folders(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "dataset.json").write_text("{}")
    return [folder / name for name in names]


def test_my_own_data_have_the_names_of_their_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of all others; the folder of the README is called as no data set can be."""
    mine, other, data = prepared_folders(tmp_path, "mine", "other", "data")
    monkeypatch.chdir(mine)
    for said, names in (
        (["."], {"mine": mine}),
        ([f"{other}/", str(mine)], {"other": other, "mine": mine}),
        ([str(data)], {"my-data": data}),
        ([f"trivago={other}"], {"shop": None, "trivago": other}),
        ([f"trivago={data}", str(mine)], {"trivago": data, "mine": mine}),
    ):
        study = read_study(FOLDER / "figure-1.yaml", None, data_instead(said))
        assert set(study.data) == set(names), said
        assert all(study.data[name] == {"prepared": str(place)} for name, place in names.items() if place), said
    study = read_study(FOLDER / "figure-1.yaml", None, data_instead([str(mine)]))
    assert {key.data for key in study.runs(["mine/snqn/*"])} == {"mine"} and not study.runs(["shop/*"])


@pytest.mark.parametrize(
    ("names", "said", "called"),
    [
        (("a/mine", "b/mine"), "{0} {1}", "mine"),
        (("a/trivago", "b/log"), "trivago={1} {0}", "trivago"),
        (("a/trivago", "b/log"), "{0} trivago={1}", "trivago"),
        (("a/data", "b/data"), "{0} {1}", "my-data"),
    ],
)
def test_data_of_one_name_are_refused(names: tuple[str, str], said: str, called: str, tmp_path: Path) -> None:
    places = prepared_folders(tmp_path, *names)
    with pytest.raises(SeqwardError, match=f"another data set is called '{called}', too. Rename one of the folders"):
        data_instead(said.format(*places).split())


# What is refused -----------------------------------------------------------------------------------------------------


SHOP = "{simulate: {preset: retailrocket}, rewards: {view: 0.2, addtocart: 1}, goal: addtocart}"
PARTS = {
    "data": f"{{shop: {SHOP}}}",
    "seeds": "[0, 1]",
    "methods": "{sasrec: {}, snqn: {}, m: {method: sasrec}}",
}
VERDICT = "{supervised: [sasrec], rl: [snqn], controls: []"


def study_of(folder: Path, **parts: str) -> Study:
    """The study of a file in which these parts are others."""
    file = folder / "s.yaml"
    file.write_text("".join(f"{key}: {value}\n" for key, value in {**PARTS, **parts}.items()))
    return read_study(file, folder / "out")


def refused(folder: Path, **parts: str) -> list[str]:
    """The lines by which it is refused, without the file's name before each."""
    with pytest.raises(SeqwardError) as told:
        study_of(folder, **parts)
    lines = str(told.value).splitlines()
    assert all(line.startswith(f"{folder / 's.yaml'}, ") for line in lines), lines
    assert not (folder / "out").exists()
    return [line.removeprefix(f"{folder / 's.yaml'}, ") for line in lines]


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("data", "", "data is missing."),
        ("data", "{}", "data: expected names of data sets, with a recipe below each, got {}."),
        ("data", "[1]", "data: expected names of data sets, with a recipe below each, got [1]."),
        ("data", "{shop: 5}", "data shop: expected keys such as `path` or `simulate`, got 5."),
        ("data", f"{{data: {SHOP}}}", "data data: no data set can have this name."),
        ("data", f"{{../shop: {SHOP}}}", "data ../shop: no data set can have this name."),
        ("data", "{s: {goal: buy}}", "data s: a data set comes from one of `path` (with a `source` or `columns`), "),
        ("data", "{s: {simulate: {}, prepared: ..}}", "data s: a data set comes from one of `path`"),
        ("data", "{s: {simulate: }}", "data s: a data set comes from one of `path`"),
        ("data", "{s: {path: [1]}}", "data s: path: expected a path, got [1]."),
        (
            "data",
            "{s: {simulate: {}, prepare: 1}}",
            "data s: prepare: expected settings such as {split: random}, got 1",
        ),
        ("data", "{s: {simulate: {}, columns: [1]}}", "data s: columns: expected names of columns, such as "),
        ("data", "{s: {simulate: {items: many}}}", "data s: simulate: items: expected a whole number from 1 on, got "),
        ("data", "{s: {simulate: {repeats: 2}}}", "data s: repeats must lie between 0 and 1, not at 2."),
        ("data", "{s: {simulate: {preset: retailroket}}}", "data s: No preset 'retailroket'. There is: retailrocket. "),
        ("data", f"{{s: {SHOP}}}".replace("goal: a", "goal: A"), "data s: The goal 'Addtocart' is neither an "),
        ("methods", "{}", "methods: expected labels of methods, such as {sasrec: {}}, got {}."),
        ("methods", "{sasrec: 5}", "methods sasrec: expected settings such as {train.epochs: 30}, got 5."),
        ("methods", "{sasrec: [1]}", "methods sasrec: expected settings such as {train.epochs: 30}, got [1]."),
        (
            "methods",
            "{sasrec: {sweep: [1, 2]}}",
            "methods sasrec: sweep: expected different values by setting, such as",
        ),
        ("methods", "{sasrec: {sweep: {train.lr: []}}}", "methods sasrec: sweep: expected different values"),
        ("methods", "{sasrec: {seeds: 1}}", "methods sasrec: seeds: expected a list of different whole numbers from 0"),
        ("methods", "{sasrec: {seeds: [0, 0]}}", "methods sasrec: seeds: expected a list of different whole numbers"),
        ("methods", "{m: {method: 7}}", "methods m: method: expected the name of a method, got 7."),
        (
            "methods",
            "{../../esc: {method: sasrec}}",
            "methods ../../esc: a label names a folder: it cannot be empty, .",
        ),
        ("methods", "{snqn: {objective.gama: 0}}", "methods snqn: objective.gama: no such key (in the study). Did you"),
        (
            "methods",
            "{snqn: {train.lr: -1}}",
            "methods snqn: train.lr should be greater than 0, got -1 (in the study).",
        ),
        (
            "methods",
            "{sasrec: {train.metric: all.nothing}}",
            "methods sasrec: train.metric=all.nothing is not measured.",
        ),
        (
            "methods",
            "{snqn: {train.metric: q.mean_g}}",
            "methods snqn: train.metric=q.mean_g is not measured. Did you mean 'q.mean_q'?",
        ),
        ("seeds", "", "seeds is missing."),
        (
            "seeds",
            "[0, 0]",
            "seeds: expected a list of different whole numbers from 0 on, such as [0, 1, 2], got [0, 0]",
        ),
        ("seeds", "[true]", "seeds: expected a list of different whole numbers from 0 on"),
        ("seeds", "[]", "seeds: expected a list of different whole numbers from 0 on"),
        ("settings", "[1]", "settings: expected settings such as {train.epochs: 30}, got [1]."),
        (
            "settings",
            "{train.epoch: 1}",
            "settings: train.epoch: no such key of any method of the study. Did you mean 'train.epochs'?",
        ),
        ("settings", "{epochs: 1}", "settings: epochs: no such key of any method of the study. Did you mean 'train.ep"),
        ("max_minutes", "soon", "max_minutes: expected a number of minutes above 0, got 'soon'."),
        ("max_minutes", "-1", "max_minutes: expected a number of minutes above 0, got -1."),
        ("max_minutes", "0", "max_minutes: expected a number of minutes above 0, got 0."),
        ("evaluate", "{ks: 5}", "evaluate: ks: expected a list of cut-offs, such as [5, 10, 20], got 5."),
        ("evaluate", "{exclude_history: maybe}", "evaluate: exclude_history: expected true or false, got 'maybe'."),
        ("evaluate", "{bootstrap: 0}", "evaluate: bootstrap: expected a whole number from 1 on, got 0."),
        ("verdict", "[1]", "verdict: expected the keys supervised, rl and controls, got [1]."),
        (
            "verdict",
            "{supervised: sasrec, rl: [snqn], controls: []}",
            "verdict: supervised: expected a list of labels of",
        ),
        ("verdict", "{supervised: [sasrec]}", "verdict: rl, controls is missing."),
        (
            "verdict",
            VERDICT.replace("[snqn]", "[sqn]") + "}",
            "verdict: sqn is none of the methods. Did you mean 'snqn'?",
        ),
        (
            "verdict",
            VERDICT + ", metric: goal.ndgc@20}",
            "verdict: metric goal.ndgc@20 is not measured. Did you mean 'goal.ndcg@20'?",
        ),
        ("published", "5", "published: expected a system's figures or a list of them, got 5."),
        (
            "published",
            "{method: m, figures: {hr@11: [0.3, 0.1]}}",
            "published: hr@11 is not measured. Did you mean 'hr@1",
        ),
        ("published", "{method: m, figures: {hr@10: 0.3}}", "published: figures: expected a value and a tolerance by "),
        (
            "published",
            "{method: m, figures: {hr@10: [0.3]}}",
            "published: figures: expected a value and a tolerance by ",
        ),
        ("published", "{method: n, figures: {}}", "published: n is none of the methods."),
        (
            "published",
            "{method: m, figures: {hr@10: [.nan, 0.1]}}",
            "published: figures: expected a value and a tolera",
        ),
        (
            "published",
            "{method: m, figures: {hr@10: [0.3, .nan]}}",
            "published: figures: expected a value and a tolera",
        ),
        (
            "published",
            "{method: m, figures: {hr@10: [0.3, .inf]}}",
            "published: figures: expected a value and a tolera",
        ),
        (
            "published",
            "{method: m, figures: {hr@10: [31.5, 1]}}",
            "published: figures: expected a value and a toleranc",
        ),
        (
            "published",
            "{method: m, figures: {hr@10: [-0.1, 1]}}",
            "published: figures: expected a value and a toleranc",
        ),
        (
            "published",
            "[{table: t.csv, group: some, within: 1}]",
            "published: group: expected one of all, goal, click, ",
        ),
        ("seed", "[0]", "unknown key 'seed'. Did you mean 'seeds'?"),
    ],
)
def test_a_wrong_part_is_told_in_words(part: str, value: str, message: str, tmp_path: Path) -> None:
    """Before the first run, as a message and not as a failure of this program, and nothing that follows from it."""
    lines = refused(tmp_path, **{part: value})
    assert [line for line in lines if line.startswith(message)], lines
    assert len(lines) == 1, lines


def test_a_setting_is_not_guessed_by_its_section_alone(tmp_path: Path) -> None:
    lines = refused(tmp_path, methods="{snqn: {}}", settings="{objective.warmup_events: 0.4}")
    assert lines == ["settings: objective.warmup_events: no such key of any method of the study."]


def test_empty_parts_are_left_out(tmp_path: Path) -> None:
    empty = dict.fromkeys(("settings", "evaluate", "max_minutes", "verdict", "published"), "")
    assert study_of(tmp_path, **empty) == study_of(tmp_path)
    assert study_of(tmp_path, methods="{sasrec: }").methods == {"sasrec": {}}


def test_empty_parts_of_a_recipe_are_left_out(tmp_path: Path) -> None:
    shop = (
        "simulate: {preset: retailrocket, sessions: 99, items: 20, repeats: }, goal: , rewards: {view: 0, addtocart: 1}"
    )
    empty = "path: , prepared: , source: , columns: , prepare: , session_gap_minutes: "
    study = study_of(tmp_path, data=f"{{s: {{{shop}, {empty}}}}}", methods="{popularity: }", seeds="[0]")
    (run,) = run_study(study, tmp_path / "r.json", tmp_path / "out")["runs"]
    assert run["state"] == "finished"


def test_a_wrong_key_hides_no_other_error(tmp_path: Path) -> None:
    lines = refused(
        tmp_path,
        seed="[0]",
        settings="[1]",
        methods="{sasrec: 5, snqn: {objective.gama: 0}}",
        max_minutes="soon",
        verdict="{supervised: sasrec, rl: [sqn], controls: []}",
        evaluate="{ks: 5, exclude: true}",
        published="{method: x, figures: {hr@11: [1, 2]}}",
    )
    begins = ("unknown key 'seed'", "settings: ", "methods sasrec: ", "methods snqn: ", "max_minutes: ")
    begins += ("verdict: supervised", "verdict: sqn", "evaluate: unknown key", "evaluate: ks", "published: x is none")
    for begin in begins:
        assert [line for line in lines if line.startswith(begin)], (begin, lines)


def test_the_cut_offs_of_the_study_are_those_of_its_figures(tmp_path: Path) -> None:
    parts = {"verdict": VERDICT + ", metric: all.hr@7}", "published": "{method: m, figures: {mrr@7: [0.1, 0.1]}}"}
    assert study_of(tmp_path, evaluate="{ks: [7]}", **parts).evaluate == {"ks": [7]}
    assert len(refused(tmp_path, **parts)) == 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("d,m,0.1", r"row 1: source, system is missing"),
        ("a,b,d,m,much", r"row 1: HR@10 is 'much', which is no number"),
        ("a,b,d,m,nan", r"row 1: HR@10 is 'nan', which is no number from 0 to 1"),
        ("a,b,d,m,31.5", r"row 1: HR@10 is '31.5', which is no number from 0 to 1"),
    ],
)
def test_a_table_of_published_figures_is_checked(row: str, message: str, tmp_path: Path) -> None:
    columns = "source,system,data,method,HR@10" if row.count(",") == 4 else "data,method,HR@10"
    (tmp_path / "t.csv").write_text(f"{columns}\n{row}\n")
    (line,) = refused(tmp_path, published="{table: t.csv, group: all, within: 0.05}")
    assert re.search(message, line), line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: [0]\nseeds: [1]\n", r"s\.yaml, line 2: not readable as YAML: 'seeds' stands twice\."),
        ("methods: {a: {}, a: {}}\n", r"s\.yaml, line 1: not readable as YAML: 'a' stands twice\."),
        ("? [a]\n: b\n", r"s\.yaml, line 1: not readable as YAML: a key is no word\."),
        ("methods: {a\n", r"s\.yaml, line 2: not readable as YAML: "),
        ("- a\n", r"s\.yaml: expected the keys data, methods and seeds, with names below data and methods\."),
        ("", r"s\.yaml: expected the keys data, methods and seeds"),
        (b"\xff", r"s\.yaml is no UTF-8 text\. Expected a study"),
    ],
)
def test_a_file_that_is_no_study_is_told(text: str | bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SeqwardError, match=message):
        read_study(tmp_path / "s.yaml")


def test_numbers_are_those_of_the_settings_files(tmp_path: Path) -> None:
    """YAML 1.1 reads 1e-3 as a word."""
    study = study_of(tmp_path, methods="{sasrec: {train.lr: 1e-3}}")
    assert study.method_of("sasrec")[1]["train"].lr == 0.001


def cut_events(folder: Path, size: int) -> Path:
    """The first bytes of a file of arrays."""
    file = folder / "events.npz"
    np.savez_compressed(file, rank=np.arange(1000), session=np.arange(1000))
    file.write_bytes(file.read_bytes()[:size])
    return file


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda folder: read_study(folder / "no.yaml"),
            r"no\.yaml does not exist\. Expected a study: a YAML file, or a ",
        ),
        (lambda _: study_file("nothing-like-it"), r"There is no study nothing-like-it\. See `seqward bench --list`\."),
        (
            lambda folder: read_study(study_of(folder).folder / "s.yaml", None, Instead({"shp": {"prepared": "x"}})),
            r"s\.yaml has no data set 'shp'\. It has: shop\.",
        ),
        (
            lambda folder: run_study(study_of(folder), folder / "r.json", folder / "out", only=["a/*", "b/*"]),
            r"no run of s is called a/\* or b/\*\. They are DATA/METHOD/SEED, such as '\*/.*/\*'\. DATA is shop\.",
        ),
        (
            lambda folder: load_events(Path((folder / "events.npz").write_text("cut off") and folder / "events.npz")),
            r"events\.npz cannot be read: .*\.\nRemove its folder and its entry in results\.json, of a baseline",
        ),
        (lambda folder: load_events(cut_events(folder, 0)), r"events\.npz cannot be read: .*\.\nRemove its folder"),
        (lambda folder: load_events(cut_events(folder, 300)), r"events\.npz cannot be read: .*\.\nRemove its folder"),
    ],
    ids=["file", "shipped", "data", "only", "events", "no events", "cut events"],
)
def test_what_is_not_there_is_told(call: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(SeqwardError, match=message):
        call(tmp_path)


# Sweeps --------------------------------------------------------------------------------------------------------------


def test_a_setting_that_is_a_list_can_be_swept(tmp_path: Path) -> None:
    """Its values have no order but that in which they stand, and one that stands twice is one."""
    study = study_of(
        tmp_path, methods="{sasrec: {sweep: {guard.ladder: [[stop], [clip, stop]], train.lr: [0.1, 0.01]}}}"
    )
    labels = [f"sasrec ladder={ladder} lr={lr}" for ladder in ("stop", "clip+stop") for lr in (0.1, 0.01)]
    assert list(study.methods) == labels
    assert study.method_of(labels[2])[1]["guard"].ladder == ("clip", "stop")
    figure = {"mean": 0.5, "low": 0.4, "high": 0.6}
    figures = {label: {"all.hr@20": figure} for label in labels}
    ladder, lr = sweeps_of(study, {"shop": {"figures": figures}})["shop"]
    assert (ladder["setting"], ladder["values"]) == ("guard.ladder", [["stop"], ["clip", "stop"]])
    assert (lr["setting"], lr["values"]) == ("train.lr", [0.01, 0.1])
    assert list(lr["lines"]) == ["sasrec ladder=stop", "sasrec ladder=clip+stop"]
    assert ladder["lines"]["sasrec lr=0.1"] == [[0, 0.5, 0.4, 0.6], [1, 0.5, 0.4, 0.6]]
