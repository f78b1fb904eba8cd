"""The command ``bench``: a study from its file to its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from seqward.cli.options import Device
from seqward.cli.output import print_table
from seqward.errors import SeqwardError


def bench(
    study: Annotated[str | None, Argument(metavar="STUDY", help="YAML file, or a name of --list.")] = None,
    out: Annotated[Path | None, Option(help="Folder of the runs and the page; bench/STUDY by default.")] = None,
    jobs: Annotated[
        str, Option(help="Runs at the same time, which share the cores; auto: one a core, or one on a GPU.")
    ] = "auto",
    only: Annotated[list[str] | None, Option(help="Pattern of DATA/METHOD/SEED; repeatable.")] = None,
    max_minutes: Annotated[float | None, Option(min=0, help="Of training, a run, instead of the study's.")] = None,
    data: Annotated[
        list[str] | None,
        Option(help="[NAME=]FOLDER that `seqward prepare` wrote, in the place of a data set (of all, without NAME)."),
    ] = None,
    force: Annotated[
        bool, Option("--force", help="Go on with a changed study: what the change touches is put aside and done again.")
    ] = False,
    reuse: Annotated[
        list[Path] | None,
        Option(help="Folder of another study, whose finished runs are copied where they are the same; repeatable."),
    ] = None,
    draw: Annotated[
        bool, Option("--draw", help="Run nothing: draw what has finished, be it of a study that still runs.")
    ] = False,
    device: Device = "auto",
    list_: Annotated[bool, Option("--list", help="List the studies that come with the program.")] = False,
) -> None:
    """Run a study, methods x data sets x seeds x settings, and write what came out as one HTML file and as JSON.

    What is finished is kept: after Ctrl-C, a crash or a kill the same command goes on. Exits with 1 where a run failed.
    """
    from seqward.bench.shipped import shipped_studies, study_file

    if list_:
        print_table(("study", "what it is"), shipped_studies())
        return
    if study is None:
        raise SeqwardError("Which study? Give a YAML file, or a name of `seqward bench --list`.")
    if draw and force:
        raise SeqwardError("--draw runs nothing, and --force does things again: give one of them.")
    file = study_file(study)
    folder = out or Path("bench") / file.stem
    options: dict[str, Any] = {"only": only or [], "force": force, "reuse": reuse or [], "train": not draw}
    options["jobs"] = one_a_device(number_of_jobs(jobs), device)
    changes = {"device": device, **({} if max_minutes is None else {"max_minutes": max_minutes})}
    carry_out(file, folder / "results.json", folder, changes=changes, data=data or [], **options)


def number_of_jobs(said: str) -> Any:
    """``auto``, or how many.

    Raises:
        SeqwardError: it is neither.
    """
    if said == "auto":
        return said
    if not said.isdecimal() or int(said) < 1:
        raise SeqwardError(f"--jobs is a whole number from 1 on, or auto; got {said!r}.")
    return int(said)


def one_a_device(jobs: Any, device: str) -> Any:
    """``auto`` is one run at a time where runs would share a GPU.

    Raises:
        SeqwardError: there is no such device.
    """
    from seqward.recommender import device_named

    return 1 if jobs == "auto" and device_named(device).type == "cuda" else jobs


def carry_out(
    file: Path,
    results: Path,
    folder: Path,
    changes: Mapping[str, Any] | None = None,
    data: Sequence[str] = (),
    only: Sequence[str] = (),
    **options: Any,
) -> None:
    """Run the study of a file, print its tables, and write its page into the folder.

    Args:
        changes: of the study, such as ``max_minutes``.
        options: jobs, force, reuse and train, as in ``run_study``.

    Raises:
        SeqwardError: the study or its data are refused.
        Finding: a row of the result is impossible, or rows are of different protocols.
        typer.Exit: with 1, where a run failed.
    """
    from dataclasses import replace

    from seqward.bench.conclusion import bench as run_and_draw
    from seqward.bench.shipped import data_instead
    from seqward.bench.study import read_study
    from seqward.bench.summary import method_table, published_table

    study = replace(read_study(file, folder, data_instead(data), only), **(changes or {}))
    report, found, page = run_and_draw(study, folder, results=results, only=only, **options)
    print_table(*method_table(report), title=study.name)
    if beside := report.get("published", {}).get("comparisons"):
        print_table(*published_table(beside), title="beside published figures")
    for line in report.get("published", {}).get("left_out", ()):
        typer.echo(f"not set beside published figures: {line}", err=True)
    for name, verdict in found["verdicts"].items():
        typer.echo(f"{name}: {verdict['words']}", err=True)
    typer.echo(f"results: {results}\npage: {page}", err=True)
    if found["left_out"]:
        typer.echo("LEFT OUT, since these runs failed:\n" + "\n".join(found["left_out"]), err=True)
        raise typer.Exit(1)
