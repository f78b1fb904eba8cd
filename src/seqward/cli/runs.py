"""Commands on methods and runs: train, evaluate, recommend, report, methods, config."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from seqward.atomic import write_text
from seqward.cli.options import Device, ItemCol, OrderCol, Separator, SessionCol, TimeCol, UserCol
from seqward.cli.output import check_new_file, print_table, warn
from seqward.errors import SeqwardError

if TYPE_CHECKING:
    from seqward.data.dataset import Dataset
    from seqward.run import Run

RunFolder = Annotated[Path, Argument(metavar="RUN", help="Run folder that `seqward train` wrote.")]
DataFolder = Annotated[
    Path | None, Option("--data", help="The data set, where it is no longer where it was trained on.")
]
EPOCHS = ("epochs", "train.epochs")
"""How --set may name them."""


def train(
    data: Annotated[Path, Argument(metavar="DATA", help="Folder that `seqward prepare` wrote.")],
    out: Annotated[Path, Option(help="Run folder to write.")],
    method: Annotated[str | None, Option(help="See `seqward methods`. May stand in the configuration instead.")] = None,
    config: Annotated[Path | None, Option(help="YAML file; `seqward config METHOD` prints one to start from.")] = None,
    set_: Annotated[
        list[str] | None, Option("--set", help="key.path=value, such as train.lr=1e-4; repeatable.")
    ] = None,
    epochs: Annotated[int | None, Option(help="The same as --set train.epochs=N.")] = None,
    max_minutes: Annotated[float | None, Option(min=0, help="Stop after so many minutes of training.")] = None,
    seed: Annotated[int | None, Option(help="The same seed gives the same model; 0 by default.")] = None,
    device: Device = "auto",
    resume: Annotated[
        bool, Option("--resume", help="Go on where the run in --out stopped, with what that was begun with.")
    ] = False,
    force: Annotated[bool, Option("--force", help="Replace the run that is already in --out.")] = False,
) -> None:
    """Train a method on a prepared data set. Ctrl-C saves; --resume goes on with the very same numbers."""
    from seqward.cli.progress import training_progress
    from seqward.config import from_dict, method_named_in, read_config
    from seqward.data.dataset import TRAIN, Dataset
    from seqward.methods import method_named
    from seqward.recommender import Recommender
    from seqward.run import Run

    Run(out).check_free(force, resume)
    begun = Run(out).description if resume and (out / "run.json").is_file() else {}
    entry = method_named(_agreed_method(method, method_named_in(config) if config else None, config, begun))
    overrides = [*(set_ or [])]
    if epochs is not None and any(override.partition("=")[0].strip() in EPOCHS for override in overrides):
        raise SeqwardError("--epochs and --set train.epochs say the same: give one of them.")
    if epochs is not None and not entry.trained:
        warn(f"--epochs has no effect: {entry.name} reads the data once.")
    elif epochs is not None:
        overrides.append(f"train.epochs={epochs}")
    if max_minutes is not None and not entry.trained:
        warn(f"--max-minutes has no effect: {entry.name} reads the data once.")
    defaults = entry.all_sections
    if begun.get("method") == entry.name:
        defaults = from_dict(defaults, begun["settings"], f"{out}/run.json")
    sections = read_config(defaults, config, overrides)
    dataset = Dataset.load(data)
    recommender = Recommender.from_sections(
        entry.name, sections, begun.get("seed", 0) if seed is None else seed, device
    )
    if resume and not begun:
        warn(f"there is no run in {out} to go on with: it begins now.")
    total = int((dataset.split == TRAIN).sum()) * (sections["train"].epochs if entry.trained else 1)
    with training_progress(total, max_minutes) as observe:
        recommender.fit(dataset, out, resume=resume, force=force, max_minutes=max_minutes, observe=observe)
    description = Run(out).description
    best = description.get("best") or {"step": None, "value": None}
    metric = sections["train"].metric if entry.trained else "metric"
    print_table(
        ("run", "method", "state", f"best validation {metric}", "at step"),
        [(out, entry.name, description["state"], best["value"], best["step"])],
    )


def _agreed_method(option: str | None, in_file: str | None, file: Path | None, begun: Mapping[str, Any]) -> str:
    """What is asked for, else that of the run that was begun."""
    if option and in_file and option != in_file:
        raise SeqwardError(f"--method says {option!r}, and {file} says {in_file!r}. Give one of them.")
    name = option or in_file or begun.get("method")
    if name is None:
        raise SeqwardError(
            "No method is named: give --method NAME, or `method: NAME` in --config. See `seqward methods`."
        )
    return name


def evaluate(
    run: RunFolder,
    split: Annotated[str, Option(help="validation, test, or all (parameter-free methods only).")] = "test",
    json_file: Annotated[
        Path | None, Option("--json", help="Write the metrics here, too; - prints them instead of the table.")
    ] = None,
    exclude_history: Annotated[
        bool, Option("--exclude-history", help="Items of the earlier session are no candidates, so repeats are missed.")
    ] = False,
    skip_first: Annotated[bool, Option("--skip-first", help="Leave out events without a history.")] = False,
    data: DataFolder = None,
    device: Device = "auto",
    force: Annotated[bool, Option("--force", help="Replace a file that is already in --json.")] = False,
) -> None:
    """Rank the whole catalogue at every event of a split; print the table, write metrics and a report into RUN.

    They are metrics.json and report.html for the test split as it stands. Any other question has names of its own,
    such as metrics-validation.json or report-test-exclude-history.html, so that no answer replaces another; the same
    question again replaces its own.
    """
    from seqward.cli.progress import counting_progress
    from seqward.cli.tables import by_group, by_ranker, refuse_impossible_rows, under_groups
    from seqward.recommender import Recommender
    from seqward.report import write_report
    from seqward.run import Run

    printed = json_file == Path("-")
    copy = None if printed else json_file
    if copy is not None:
        check_new_file(copy, "--json", force)
    recommender = Recommender.load(run, device)
    dataset = _data_of(Run(run), data)
    how = {"exclude_history": exclude_history, "first_events": not skip_first}
    with counting_progress(f"{split} events") as progress:
        metrics = recommender.evaluate(dataset, split, progress=progress, **how)
    refuse_impossible_rows(metrics, recommender.method)
    text = json.dumps(metrics, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    question = _name_of_question(split, exclude_history, skip_first)
    kept, page = run / f"metrics{question}.json", run / f"report{question}.html"
    try:
        for file in (kept, copy):
            if file is not None:
                write_text(file, text)
        write_report(run, page, kept)
    finally:  # what was found is told even where it cannot be kept
        if printed:
            typer.echo(text, nl=False)
        else:
            print_table(*by_group(metrics, recommender.method), title=f"{split} split", arranged=under_groups)
            print_table(*by_ranker(metrics, recommender.method))
        if split in ("all", "train"):
            typer.echo(f"note: popularity counts {metrics['protocol']['popularity']}.", err=True)
    typer.echo(f"metrics: {kept}\nreport: {page}", err=True)


def _name_of_question(split: str, exclude_history: bool, skip_first: bool) -> str:
    """What the files of an evaluation have in their names: nothing for the test split as it stands."""
    rules = [name for name, on in (("exclude-history", exclude_history), ("skip-first", skip_first)) if on]
    return "" if split == "test" and not rules else "-".join(["", split, *rules])


def _data_of(run: Run, given: Path | None) -> Dataset:
    """The data set that is given, else the one that the run was trained on."""
    from seqward.data.dataset import Dataset

    place = given or run.description["data"]["path"]
    if given is None and (place is None or not Path(place).exists()):
        where = "is not recorded" if place is None else f"was {place}, which is no longer there"
        raise SeqwardError(f"The data set of {run.folder} {where}. Name it with --data FOLDER.")
    return Dataset.load(place)


def recommend(
    run: RunFolder,
    history: Annotated[
        list[str] | None,
        Option(help="Item ids in order between commas (one with a comma in double quotes); repeat for more histories."),
    ] = None,
    input_file: Annotated[
        Path | None,
        Option("--input", help="Histories: session_id or user_id, item_id, and a time if rows are unsorted."),
    ] = None,
    session_col: SessionCol = None,
    user_col: UserCol = None,
    item_col: ItemCol = None,
    time_col: TimeCol = None,
    order_col: OrderCol = None,
    separator: Separator = None,
    output: Annotated[Path | None, Option(help="File for what is recommended (.csv, .tsv or .parquet).")] = None,
    examples: Annotated[int | None, Option(help="Instead: so many test sessions in words.", min=1)] = None,
    k: Annotated[int, Option("-k", help="Items to recommend.")] = 10,
    rank_by: Annotated[str | None, Option(help="policy, q or mixture; by default what the method ranks by.")] = None,
    filter_viewed: Annotated[bool, Option("--filter-viewed", help="Leave out items of the history.")] = False,
    data: DataFolder = None,
    force: Annotated[bool, Option("--force", help="Replace a file that is already in --output.")] = False,
) -> None:
    """Recommend items for a history or for a file of histories: session or user, item, score, rank.

    Sessions or users come in the order in which they first appear. Options of columns and --separator are for --input.
    """
    from seqward.cli import histories
    from seqward.data.columns import Columns
    from seqward.recommender import Recommender
    from seqward.run import Run, check_catalogue

    names = {
        "session_id": session_col,
        "user_id": user_col,
        "item_id": item_col,
        "timestamp": time_col,
        "order": order_col,
    }
    _check_asked(bool(history), input_file, examples, output, data, any([*names.values(), separator]))
    if output is not None:
        histories.check_output(output, force)
    recommender = Recommender.load(run)
    how: dict[str, Any] = {"k": k, "rank_by": rank_by, "filter_viewed": filter_viewed}
    if examples is not None:
        dataset = _data_of(Run(run), data)
        check_catalogue(Run(run).description["catalogue"], dataset, run)
        for line in histories.examples_in_words(recommender, dataset, examples, how):
            typer.echo(line)
        return
    if input_file is None:
        asked = [histories.from_text(text) for text in history or ()]
    else:
        how["columns"] = Columns(**names)
        asked = histories.from_file(input_file, how["columns"], separator)
    frame = recommender.recommend(histories=asked, **how)
    if output is not None:
        histories.write(frame, output)
    else:
        print_table(frame.columns, frame.iter_rows())


def _check_asked(
    history: bool, input_file: Path | None, examples: int | None, output: Path | None, data: Path | None, columns: bool
) -> None:
    """Refuse options of `recommend` that do not go together."""
    if examples is not None and output is not None:
        raise SeqwardError("--examples are printed in words: leave --output out, or give --input.")
    if sum((history, input_file is not None, examples is not None)) != 1:
        raise SeqwardError("Give one of --history a,b,c, --input FILE and --examples N.")
    if data is not None and examples is None:
        raise SeqwardError("--data is where --examples come from: leave it out, or ask for --examples.")
    if input_file is None and columns:
        raise SeqwardError("--session-col and the like and --separator are for the file of --input: leave them out.")


def report(
    run: RunFolder,
    out: Annotated[Path, Option(help="HTML file to write.")],
    metrics: Annotated[
        Path | None,
        Option(help="Evaluation to tell of; RUN/metrics.json without, or the newest where that is missing."),
    ] = None,
    force: Annotated[bool, Option("--force", help="Replace a file that is already in --out.")] = False,
) -> None:
    """Write the report of an evaluated run as one self-contained HTML file."""
    from seqward.report import write_report

    check_new_file(out, "--out", force)
    if metrics is None and not (run / "metrics.json").is_file():
        metrics = max(run.glob("metrics-*.json"), key=lambda file: file.stat().st_mtime, default=None)
    write_report(run, out, metrics)


def list_methods(
    json_output: Annotated[bool, Option("--json", help="Print a JSON list with all that is known of each.")] = False,
    markdown: Annotated[bool, Option("--markdown", help="Print the page docs/methods.md.")] = False,
) -> None:
    """List the methods: family, what each minimises, and the paper it comes from."""
    from seqward.describe import facts, page

    if json_output:
        typer.echo(json.dumps(facts(), indent=2, ensure_ascii=False))
    elif markdown:
        typer.echo(page(), nl=False)
    else:
        rows = [(m["method"], m["family"], " → ".join(m["terms"]), m["summary"], m["source"]) for m in facts()]
        print_table(("method", "family", "terms", "what it is", "source"), rows)


def show_config(method: Annotated[str, Argument(metavar="METHOD", help="Name of a method.")]) -> None:
    """Print every setting of a method with its default and what it does, as a file for `train --config`."""
    from seqward.config import to_yaml
    from seqward.methods import method_named

    entry = method_named(method)
    typer.echo(to_yaml(entry.name, entry.all_sections), nl=False)


def lint_table(
    file: Annotated[Path, Argument(metavar="FILE", help="CSV with the columns model, task, and metrics such as HR@5.")],
    click_reward: Annotated[float, Option(help="Of an event of the task click, for Reward@k.")] = 0.2,
    goal_reward: Annotated[float, Option(help="Of an event of the other task.")] = 1.0,
    json_output: Annotated[bool, Option("--json", help="Print a JSON list of what is impossible.")] = False,
) -> None:
    """Find the rows of a table that no ranking can have: HR, NDCG and Reward bound each other. Exits with 1 if any."""
    from seqward.lint import lint_table

    n_rows, found, unchecked = lint_table(file, click_reward, goal_reward)
    rows = len({one.line for one in found})
    if json_output:
        typer.echo(json.dumps([one._asdict() for one in found], indent=2))
    elif found:
        print_table(("line", "model", "task", "bound that is broken"), found)
    typer.echo("\n".join([*unchecked, f"{rows} of {n_rows} rows are impossible."]), err=True)
    if found:
        raise typer.Exit(1)


def doctor(
    machine: Annotated[bool, Option("--machine", help="Processor, threads, kernels, rates: all that there is.")] = True,
) -> None:
    """Say which kernels score the catalogue on this machine and why, and how fast it multiplies."""
    from seqward.doctor import about_machine

    print_table(("what", "value"), about_machine())
