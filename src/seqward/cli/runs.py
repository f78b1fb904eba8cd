"""Commands on methods and runs: train, evaluate, recommend, report, methods, config."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option


def train(
    data: Annotated[Path, Argument(help="Folder that `seqward prepare` wrote.")],
    out: Annotated[Path, Option(help="Run folder to write.")],
    method: Annotated[str | None, Option(help="See `seqward methods`. May stand in the configuration instead.")] = None,
    config: Annotated[Path | None, Option(help="YAML file; `seqward config METHOD` prints one to start from.")] = None,
    set_: Annotated[
        list[str] | None, Option("--set", help="key.path=value, such as train.lr=1e-4; repeatable.")
    ] = None,
    epochs: Annotated[int | None, Option(help="The same as --set train.epochs=N.")] = None,
    max_minutes: Annotated[float | None, Option(help="Stop after so many minutes; the best state is kept.")] = None,
    seed: Annotated[int, Option(help="The same seed gives the same model.")] = 0,
    device: Annotated[str, Option(help="auto, cpu or cuda.")] = "auto",
    resume: Annotated[bool, Option("--resume", help="Go on where the run in --out stopped.")] = False,
    force: Annotated[bool, Option("--force", help="Replace the run that is already in --out.")] = False,
) -> None:
    """Train a method on a prepared data set. Ctrl-C saves; --resume goes on with the very same numbers."""
    raise NotImplementedError


def evaluate(
    run: Annotated[Path, Argument(help="Run folder that `seqward train` wrote.")],
    split: Annotated[str, Option(help="validation, test, or all (parameter-free methods only).")] = "test",
    json_file: Annotated[
        Path | None, Option("--json", help="Write the metrics here as well as to RUN/metrics.json.")
    ] = None,
    data: Annotated[Path | None, Option(help="Data set, where it is no longer where the run was trained.")] = None,
    device: Annotated[str, Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Rank the whole catalogue at every event of a split; print the table, write metrics.json and report.html."""
    raise NotImplementedError


def recommend(
    run: Annotated[Path, Argument(help="Run folder that `seqward train` wrote.")],
    history: Annotated[str | None, Option(help="Item ids in order, separated by commas.")] = None,
    input_file: Annotated[
        Path | None, Option("--input", help="Log of histories: session_id or user_id, item_id, time.")
    ] = None,
    output: Annotated[Path | None, Option(help="File for what is recommended (.csv or .parquet).")] = None,
    k: Annotated[int, Option("-k", help="Items to recommend.")] = 20,
    rank_by: Annotated[str | None, Option(help="policy, q or mixture; the method's own choice by default.")] = None,
    filter_viewed: Annotated[bool, Option("--filter-viewed", help="Leave out items of the history.")] = False,
    data: Annotated[Path | None, Option(help="Data set, where it is no longer where the run was trained.")] = None,
) -> None:
    """Recommend items for a history, for a file of histories, or for sessions of the data set."""
    raise NotImplementedError


def report(
    run: Annotated[Path, Argument(help="Run folder that `seqward evaluate` has seen.")],
    out: Annotated[Path, Option(help="HTML file to write.")],
) -> None:
    """Write the report of a run as one self-contained HTML file."""
    raise NotImplementedError


def list_methods() -> None:
    """List the methods and the papers they come from."""
    raise NotImplementedError


def show_config(method: Annotated[str, Argument(help="Name of a method.")]) -> None:
    """Print every setting of a method with its default and what it does, as a file for `train --config`."""
    raise NotImplementedError
