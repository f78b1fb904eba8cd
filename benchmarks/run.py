"""Runs a study of this folder and keeps what came out: python benchmarks/run.py benchmarks/studies/trivago.yaml

As `seqward bench`, but the result stands in ``benchmarks/results/STUDY.json``, its page and its runs in
``benchmarks/work/STUDY``, and raw files are looked for in ``../shared/data`` where SEQWARD_DATA says nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from machine import RESULTS, ROOT
from seqward import SeqwardError
from seqward.cli.bench import carry_out, number_of_jobs

WORK = ROOT / "benchmarks" / "work"
STUDIES = ROOT / "benchmarks" / "studies"
PUBLISHED = ROOT / "benchmarks" / "published"


def raw_folder() -> Path:
    """Where raw files lie; asked for when it is needed, since a program may set it."""
    return Path(os.environ.setdefault("SEQWARD_DATA", str(ROOT.parent / "shared" / "data")))


def main(
    study: Annotated[Path, typer.Argument(help="YAML file, such as benchmarks/studies/trivago.yaml.")],
    jobs: Annotated[str, typer.Option(help="Runs at the same time, which share the cores; auto: one a core.")] = "1",
    only: Annotated[list[str] | None, typer.Option(help="Pattern of DATA/METHOD/SEED; repeatable.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Of training, a run, instead of the study's.")] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Go on with a changed study: what the change touches is put aside and done again."
        ),
    ] = False,
    reuse: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of another study, whose finished runs are copied where they are the same; repeatable."
        ),
    ] = None,
    results: Annotated[Path, typer.Option(help="Folder of the result.")] = RESULTS,
    work: Annotated[Path, typer.Option(help="Folder of the runs.")] = WORK,
) -> None:
    """Run a study: data sets x methods x seeds."""
    raw_folder()
    file, folder = results / f"{study.stem}.json", work / study.stem
    try:
        changes = {} if max_minutes is None else {"max_minutes": max_minutes}
        options = {"jobs": number_of_jobs(jobs), "force": force, "reuse": reuse or []}
        carry_out(study, file, folder, changes, only=only or [], **options)
    except SeqwardError as error:
        typer.echo(str(error), err=True)
        raise SystemExit(error.exit_status) from None


if __name__ == "__main__":
    typer.run(main)
