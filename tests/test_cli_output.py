"""What the command line shows: tables on terminals and elsewhere, and progress."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from seqward.cli import main, output, progress
from seqward.data.sources import SOURCES
from seqward.methods import METHODS

Command = Callable[..., list[str]]


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
