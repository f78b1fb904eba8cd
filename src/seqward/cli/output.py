"""Tables on standard output: aligned on a terminal; tab-separated with nothing cut anywhere else. And files."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from seqward.errors import SeqwardError

if TYPE_CHECKING:
    from rich.table import Table

Row = Sequence[Any]
Rows = list[list[Any]]


def print_table(
    header: Sequence[str],
    rows: Iterable[Row],
    title: str | None = None,
    arranged: Callable[[list[str], Rows], tuple[list[str], Rows]] | None = None,
) -> None:
    """Print rows under a header; floats have four decimals on a terminal and seven digits elsewhere, None is empty.

    Args:
        title: for a terminal only.
        arranged: header and rows as a terminal is to show them, where there is room for the words of each column; else
            each row is shown as a list of its entries.
    """
    if not sys.stdout.isatty():
        writer = csv.writer(sys.stdout, dialect="excel-tab", lineterminator="\n")
        writer.writerow(header)
        writer.writerows([_text(value, ".7g") for value in row] for row in rows)
        return
    from rich.console import Console
    from rich.measure import Measurement

    console, entries = Console(highlight=False), [list(row) for row in rows]
    table = _aligned(*(arranged(list(header), entries) if arranged else (header, entries)), title)
    unbounded = console.options.update(max_width=sys.maxsize)
    if Measurement.get(console, unbounded, table).minimum <= console.width:
        console.print(table)
    else:
        print(*([title] if title else []), *_listed(header, entries, console.width), sep="\n")
    print()


def _aligned(header: Sequence[str], rows: Rows, title: str | None) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    for column, name in enumerate(header):
        numeric = any(isinstance(row[column], int | float) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_text(value, ".4f")) for value in row))
    return table


def _listed(header: Sequence[str], rows: Rows, width: int) -> Iterator[str]:
    """Every row as lines of name and entry, broken between words only, and a blank line between rows."""
    for number, row in enumerate(rows):
        if number:
            yield ""
        for name, value in zip(header, row, strict=True):
            entry = f"{name}: {_text(value, '.4f')}"
            yield from wrap(entry, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


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


def warn(message: str) -> None:
    """Say something on standard error that does not stop the command."""
    print(f"warning: {message}", file=sys.stderr)


def _text(value: Any, spec: str) -> str:
    if value is None:
        return ""
    return format(value, spec) if isinstance(value, float) else str(value)
