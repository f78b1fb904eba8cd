"""What the README and the documents say is so: their code runs; paths, options, settings, tests they name exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer

from seqward import simulate
from seqward.cli import app, main
from seqward.methods import METHODS

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "seqward"
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[str]:
    """The README's code blocks in a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """The words of each `seqward ...` line of the README's shell blocks."""
    lines = "".join(blocks("sh")).replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("seqward ")]


def tree() -> Iterator[Path]:
    """Paths of the annotated tree: folders end in /, what is indented stands in the last folder above it."""
    (drawn,) = blocks("text")
    folders: list[tuple[int, Path]] = []
    for line in drawn.splitlines():
        depth = len(line) - len(line.lstrip())
        folders = [(d, folder) for d, folder in folders if d < depth]
        for name in re.split(r"\s{2,}", line.strip())[0].split():
            path = (folders[-1][1] if folders else ROOT) / name
            yield path
            if name.endswith("/"):
                folders.append((depth, path))


def test_quick_start_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = (block for block in blocks("python") if "import" in block)
    assert len(code.splitlines()) <= 12
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code, names)
    printed = capsys.readouterr().out
    assert all(f"{name} " in printed for name in ("sasrec-ccql", "last-items", "popularity"))
    assert (tmp_path / "model" / "run.json").is_file()
    again = names["Recommender"].load("model").recommend(histories=[[17, 4, 4]], k=5)
    assert again.equals(names["model"].recommend(histories=[[17, 4, 4]], k=5))


def test_five_commands_train_on_ones_own_csv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (sample,) = blocks("csv")
    header, first, *_ = sample.splitlines()
    own_log(header, first).write_csv("shop.csv")
    pl.DataFrame({"user_id": ["new", "new", "other"], "item_id": ["mug-3", "mug-8", "mug-1"]}).write_csv(
        "histories.csv"
    )
    ran = commands()
    assert [words[0] for words in ran] == ["prepare", "train", "evaluate", "recommend", "recommend"]
    for words in ran:
        quick = ["--epochs", "1", "--set", "n_factors=8"] if words[0] == "train" else []
        assert main([*words, *quick]) == 0, capsys.readouterr().err
    assert {name.name for name in Path("runs/ccql").iterdir()} >= set(landing("train")) | set(landing("evaluate"))
    assert {name.name for name in Path("data").iterdir()} == set(landing("prepare"))
    listed = pl.read_csv("recommended.csv")
    assert listed.columns == ["user_id", "item_id", "score", "rank"]
    assert listed["user_id"].to_list() == ["new"] * 10 + ["other"] * 10


def own_log(header: str, first: str) -> pl.DataFrame:
    """A simulated log that looks like the README's sample."""
    log = simulate(sessions=150, items=40, seed=1).log
    when = pl.from_epoch("timestamp", "ms").dt.strftime("%Y-%m-%d %H:%M:%S")
    own = log.select(
        visitor=pl.format("v{}", "session_id"), when=when, action="event_type", product=pl.format("mug-{}", "item_id")
    )
    assert ",".join(own.columns) == header
    assert re.sub(r"\d", "0", own.row(0)[1]) == re.sub(r"\d", "0", first.split(",")[1])
    return own


def landing(command: str) -> list[str]:
    """The files that the README says a command writes; those without which it does not always are left out."""
    (row,) = re.findall(rf"^\| `{command} .*? \| (.*) \|$", README, flags=re.MULTILINE)
    names = re.findall(r"`([\w./]+)`", row.split("`tensorboard/`")[0])
    return [name.removeprefix("RUN/").rstrip("/") for name in names]


def test_eq_4_is_the_code() -> None:
    (shown,) = (block.splitlines() for block in blocks("python") if block.startswith("eq_4"))
    code = [line.strip() for line in (PACKAGE / "methods" / "ccql.py").read_text().splitlines()]
    first = code.index(shown[0])
    assert code[first : first + len(shown)] == [line.strip() for line in shown]
    assert len(shown) == 3 + 2


def test_methods_are_counted() -> None:
    """Baselines stand in every table and are no methods of their own."""
    count = sum(entry.family != "baseline" for entry in METHODS.values())
    assert set(re.findall(r"(\d+) methods", README)) == {str(count)}


def test_every_path_of_the_tree_exists() -> None:
    paths = list(tree())
    assert [str(path) for path in paths if not path.exists()] == []
    assert len(paths) == len(set(paths))


def test_every_file_of_the_package_is_in_the_tree() -> None:
    there = {path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}
    folders = {path.parent for path in PACKAGE.rglob("__init__.py")}
    assert {str(path) for path in (there | folders) - set(tree())} == set()


def options(group: Any) -> Iterator[str]:
    for command in getattr(group, "commands", {}).values():
        yield from (option for parameter in command.params for option in parameter.opts)
        yield from options(command)


def test_every_option_exists() -> None:
    known = set(options(typer.main.get_command(app)))
    for document in DOCUMENTS:
        text = document.read_text()
        assert [option for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", text) if option not in known] == []


def test_every_setting_exists() -> None:
    known = {
        f"{section}.{field.name}"
        for entry in METHODS.values()
        for section, settings in entry.sections.items()
        for field in fields(settings)
    }
    for document in DOCUMENTS:
        named = re.findall(r"`((?:backbone|objective|train)\.(?!py\b)[a-z_0-9]+)(?:=[^`]*)?`", document.read_text())
        assert [name for name in named if name not in known] == [], document.name


def test_every_link_and_path_exists() -> None:
    for document in DOCUMENTS:
        text = document.read_text()
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
        for path in re.findall(r"`((?:src|tests|docs|benchmarks|scripts)/[\w/.-]+\.\w+)`", text):
            assert (ROOT / path).exists(), f"{document.name}: {path}"


def test_every_test_that_a_document_names_exists() -> None:
    tests = {file.name: file.read_text() for file in (ROOT / "tests").rglob("test_*.py")}
    for document in DOCUMENTS:
        for file, name in re.findall(r"`(?:tests/)?(?:\w+/)*(test_\w+\.py)(?:::(test_\w+))?`", document.read_text()):
            assert file in tests, f"{document.name}: {file}"
            assert f"def {name}(" in tests[file] or not name, f"{document.name}: {file}::{name}"


def test_every_method_is_told_of(seqward: Callable[..., list[str]]) -> None:
    """docs/methods.md is what `seqward methods --markdown` prints; the README names it."""
    assert "docs/methods.md" in README
    assert (ROOT / "docs" / "methods.md").read_text().splitlines() == seqward("methods", "--markdown")
