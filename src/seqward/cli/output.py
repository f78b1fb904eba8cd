"""Tables on standard output: aligned on a terminal; tab-separated with nothing cut anywhere else. And files."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from seqward.errors import SeqwardError

Row = Sequence[Any]


def print_table(header: Sequence[str], rows: Iterable[Row], title: str | None = None) -> None:
    """Print rows under a header; floats have four decimals on a terminal and seven digits elsewhere, None is empty."""
    if not sys.stdout.isatty():
        writer = csv.writer(sys.stdout, dialect="excel-tab", lineterminator="\n")
        writer.writerow(header)
        writer.writerows([_text(value, ".7g") for value in row] for row in rows)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0)
    rows = list(rows)
    for column, name in enumerate(header):
        numeric = any(isinstance(row[column], int | float) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_text(value, ".4f")) for value in row))
    Console().print(table)


def check_new_file(path: Path, option: str, force: bool) -> None:
    """Refuse, before anything is computed, a place where no file can be written or one is that must not be lost.

    Raises:
        SeqwardError: there is no such folder, the path is a folder, or a file with something in it is there already.
    """
    if not path.parent.is_dir() or path.is_dir():
        what = f"there is no folder {path.parent}" if not path.parent.is_dir() else "it is a folder; name a file in it"
        raise SeqwardError(f"{option} {path}: {what}.")
    if path.is_file() and path.stat().st_size and not force:
        raise SeqwardError(f"{path} already exists. Give another {option}, or --force to replace it.")


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Have ``write`` make the file: whole, or as it was before. Only a plain file: a pipe is written to."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        write(path)
        return
    unfinished = path.with_name(path.name + ".part")
    try:
        write(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def warn(message: str) -> None:
    """Say something on standard error that does not stop the command."""
    print(f"warning: {message}", file=sys.stderr)


def _text(value: Any, spec: str) -> str:
    if value is None:
        return ""
    return format(value, spec) if isinstance(value, float) else str(value)
