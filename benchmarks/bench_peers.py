"""Seqward beside its peers on the same machine: rates, memory, and shares of what the machine can do.

    python benchmarks/bench_peers.py install [NAME ...]    a virtual environment for each peer, 1 to 2 GB each
    python benchmarks/bench_peers.py run [--rounds 3] [--quick] [--only 'train-rr/*']
    python benchmarks/bench_peers.py page        benchmarks/peers/page.html, docs/peers.md and docs/peers.svg

``make bench-peers`` does all three. See benchmarks/peers/README.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from machine import RESULTS, ROOT
from peers import goals
from peers.install import install
from peers.page import HEADER, REACHED, caption, html, markdown, missing, picture, rows_of, tables
from peers.race import QUICK, Extent, changed, guest_of, race
from seqward.catalogue import native
from seqward.cli.output import print_table
from seqward.errors import SeqwardError

RESULT = RESULTS / "peers.json"
PAGE = ROOT / "benchmarks" / "peers" / "page.html"
DOCS = ROOT / "docs"
app = typer.Typer(add_completion=False, help="Seqward beside its peers.", pretty_exceptions_enable=False)
app.command("install")(install)


@app.command()
def run(
    rounds: Annotated[int, typer.Option(min=1, help="Turns of every contestant.")] = 3,
    wall_rounds: Annotated[int | None, typer.Option(min=0, help="Of them with two threads as well; all.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Pattern of TASK/CONTESTANT; repeatable.")] = None,
    threads: Annotated[list[int] | None, typer.Option(min=1, max=2, help="1 or 2; both by default.")] = None,
    quick: Annotated[bool, typer.Option(help="Small data and a fraction of a second a turn: a first look.")] = False,
    seconds: Annotated[float | None, typer.Option(min=0.01, help="Of timed work a turn.")] = None,
    events: Annotated[int | None, typer.Option(min=1000, help="Of the log to prepare.")] = None,
    engine: Annotated[str | None, typer.Option(help="Which answers for the catalogue in ours.")] = None,
    precision: Annotated[
        str | None, typer.Option(help="Of ours: fp32 or bf16; bf16 where a kernel multiplies in it.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="After which a contestant is given up.")] = 15.0,
    guest: Annotated[list[str] | None, typer.Option(help="TASK=NAME=FILE.py[=PYTHON]; repeatable.")] = None,
    out: Annotated[Path, typer.Option(help="JSON file to write, or to go on with.")] = RESULT,
) -> None:
    """Measure what is missing of a race, and print its tables."""
    fast = native.variant_for(torch.bfloat16)
    precision = precision or ("bf16" if fast is not None and fast.bytes == 2 else "fp32")
    extent = changed(QUICK if quick else Extent(), seconds=seconds, events=events, engine=engine, precision=precision)
    try:
        guests = [guest_of(text) for text in guest or ()]
        result = race(out, extent, rounds, only or (), threads or (1, 2), guests, minutes, say, wall_rounds)
    except SeqwardError as error:
        say(str(error))
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        say(f"stopped; the same command goes on from {out}.")
        raise SystemExit(130) from None
    tell(result)


@app.command()
def page(
    result: Annotated[Path, typer.Option(help="What `run` wrote.")] = RESULT,
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = PAGE,
    docs: Annotated[Path, typer.Option(help="Folder for peers.md and peers.svg.")] = DOCS,
) -> None:
    """Draw the page."""
    if not result.is_file():
        say(f"{result} does not exist: expected what `bench_peers.py run` writes.")
        raise SystemExit(2)
    found = json.loads(result.read_text())
    for file, text in ((out, html(found)), (docs / "peers.md", markdown(found)), (docs / "peers.svg", picture(found))):
        file.write_text(text)
        say(str(file))


def tell(result: dict[str, Any]) -> None:
    for task, threads, found in tables(result):
        print_table(HEADER, rows_of(found), title=f"{task.title}. {caption(task, threads, found, result)}")
    print_table(goals.HEADER, list(goals.rows(result)), title=REACHED)
    for line in missing(result):
        say(line)


def say(line: str) -> None:
    typer.echo(line, err=True)


if __name__ == "__main__":
    app()
