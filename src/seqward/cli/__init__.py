"""The command line. Exit status: 0 on success, 1 for a finding, 2 on bad input, 130 on Ctrl-C and SIGTERM.

Commands import what they need when they run, so that ``seqward --help`` loads neither torch nor polars.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import seqward
from seqward.bench.processes import spin_briefly
from seqward.cli import bench, data, runs
from seqward.clock import sigterm_as_ctrl_c
from seqward.errors import SeqwardError

app = typer.Typer(
    name="seqward",
    help="From an event log to recommendations: sequential recommenders trained by offline reinforcement learning.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for name, command, summary in (
    ("simulate", data.simulate_log, "Write the log of a simulated shop."),
    ("prepare", data.prepare_log, "Make a data set of an event log."),
    ("train", runs.train, "Train a method on a data set."),
    ("evaluate", runs.evaluate, "Rank the whole catalogue at every event of a split."),
    ("recommend", runs.recommend, "Recommend items for histories."),
    ("report", runs.report, "Write the report of a run as one HTML file."),
    ("bench", bench.bench, "Run a study of methods, data sets, seeds and settings."),
    ("methods", runs.list_methods, "List the methods."),
    ("lint-table", runs.lint_table, "Find the rows of a table that no ranking can have."),
    ("config", runs.show_config, "Print every setting of a method as a file."),
    ("doctor", runs.doctor, "Say what this machine is and which kernels answer on it."),
):
    app.command(name, short_help=summary)(command)
app.add_typer(data.app, name="data", short_help="List public data sets and fetch them.")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"seqward {seqward.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; what the user can mend is told on standard error in a few lines."""
    spin_briefly()
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(logging.Formatter("warning: %(message)s"))
    try:
        with sigterm_as_ctrl_c():
            app(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    except KeyboardInterrupt:  # while the commands were being read; from there on typer says the same
        return 130
    except SeqwardError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    except Exception as error:
        message = _about_memory(error) or _about_files(error)
        if message is None:
            raise
        print(message, file=sys.stderr)
        return SeqwardError.exit_status
    return 0


def _about_memory(error: Exception) -> str | None:
    """The message where an array or a tensor did not fit; None for anything else."""
    said = str(error).strip().partition("\n")[0]
    torch_says = type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator" in said
    if not (isinstance(error, MemoryError) or torch_says):
        return None
    return (
        f"Not enough memory: {said or 'the system has none left'}.\n"
        "In training a smaller train.batch_size needs less, and so does train.catalogue=chunked where it was dense."
    )


def _about_files(error: Exception) -> str | None:
    """The message for a full disk or a file that the system refuses; None for anything else, which is a bug."""
    from seqward.data.files import no_space

    said, file = str(error), getattr(error, "filename", None)
    if no_space(error):
        place = f" for {file}" if file else ""
        return f"No space left on the disk{place}; what was being written is incomplete. Free some and try again."
    if not isinstance(error, OSError) or (error.errno is None and "(os error " not in said):
        return None
    if error.errno is None:  # of polars, which names the file in the text
        return said
    return f"{error.strerror}: {file}" if file else f"{error.strerror}, in reading or writing a file."
