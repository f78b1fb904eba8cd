"""What a public data set is to Seqward: its files, how each is read, and what is known of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import polars as pl

from seqward.data.events import Columns
from seqward.data.files import column_names, listed, plain_integers, read_columns
from seqward.data.prepare import PrepareSettings
from seqward.data.published import Published
from seqward.errors import SeqwardError, did_you_mean


@dataclass(frozen=True, kw_only=True, eq=False)
class Raw:
    """What a reader found in a file: arguments of ``EventLog.from_frame``."""

    frame: pl.DataFrame
    columns: Columns = field(default_factory=Columns)
    rewards: Mapping[str, float] | None = None
    """Event type -> reward; None where ``columns`` names a reward column or an event is worth 1."""
    goal: str | None = None
    filters: Sequence[Mapping[str, Any]] = ()
    warnings: Sequence[str] = ()
    more_files: Sequence[Path] = ()
    """Files read beside the one that was asked for."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """More for the protocol, such as the seed of a sample."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """One file format of a source."""

    pattern: str
    """Name of the file, or a pattern such as ``*.parquet``."""
    read: Callable[[Path, int], Raw]
    """(file, seed) -> what is in it; the seed serves readers that draw a sample."""
    verified: bool
    """True where the reader was tried on real data in this very format."""
    published: tuple[Published, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Source:
    """A public data set."""

    name: str
    about: str
    formats: tuple[Format, ...]
    """The first that fits is taken."""
    defaults: PrepareSettings
    """How it is prepared where nothing else is said."""
    choices: str
    """What stands for a session, the rewards and the goal, and which of it is our choice."""
    home: str
    """Where it comes from."""
    terms: str
    """Licence, as far as known."""
    obtain: str
    """What to download by hand, where ``archive`` is None."""
    archive: Archive | None = None


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A zip file that may be fetched by a program. Its hash is recorded by the first fetch."""

    base_url: str
    name: str
    member: str
    """The file in it that the reader takes."""


def locate(source: Source, path: Path) -> tuple[Path, Format]:
    """The file to read and its format, from a file or a folder.

    Raises:
        SeqwardError: nothing there, several files of a kind, or none of the source's formats.
    """
    expected = f"{source.name} reads {listed(form.pattern for form in source.formats)}"
    if not path.exists():
        raise SeqwardError(f"{path} does not exist. {expected}: give the file or its folder.")
    if path.is_file():
        for fits in (fnmatch, _same_ending):
            for form in source.formats:
                if fits(path.name, form.pattern):
                    return path, form
        raise SeqwardError(f"{path.name} is no file of this source: {expected}.")
    for form in source.formats:
        files = sorted(file for file in path.iterdir() if fnmatch(file.name, form.pattern))
        if len(files) > 1:
            raise SeqwardError(
                f"{path} holds several files like {form.pattern}: {listed(f.name for f in files)}. Name one."
            )
        if files:
            return files[0], form
    raise SeqwardError(f"{path} holds no file of this source: {expected}.")


def _same_ending(name: str, pattern: str) -> bool:
    return Path(name).suffix.lower() == Path(pattern).suffix


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what reading a broken file raises into one line.

    Raises:
        SeqwardError: the file is empty or cannot be read.
    """
    if path.stat().st_size == 0:
        raise SeqwardError(f"{path.name} is empty (0 bytes).")
    try:
        yield
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SeqwardError(f"{path.name} cannot be read in the format of this source: {said}.") from error


def read_named(
    path: Path, names: Collection[str], ids: Collection[str] = (), types: Collection[str] = ()
) -> pl.DataFrame:
    """The columns ``names`` of a .csv or .parquet file with a header.

    Raises:
        SeqwardError: a column is missing, or the file cannot be read.
    """
    check_columns(path, names, column_names(path))
    return read_columns(path, names, ids, types=types)


def check_columns(path: Path, wanted: Collection[str], there: Collection[str]) -> None:
    """Raises a SeqwardError for the first column of ``wanted`` that is not ``there``."""
    for name in wanted:
        if name not in there:
            raise SeqwardError(
                f"{path.name} has no column {name!r}, which files of this source have. "
                f"It has: {listed(there)}.{did_you_mean(name, there)}"
            )


def read_bare(path: Path, names: Mapping[str, int], separator: str) -> pl.DataFrame:
    """Columns of a text file without a header, as strings (ids that are integers as integers).

    Args:
        names: name -> position in the line, from 0.
    """
    with reading(path):
        table = pl.read_csv(
            path, has_header=False, separator=separator, columns=list(names.values()), infer_schema=False
        )
        return with_plain_ids(table.rename(dict(zip(table.columns, names, strict=True))))


def read_json_lines(path: Path, types: Mapping[str, Any]) -> pl.DataFrame:
    """The keys ``types`` of a file of one JSON object a line (.gz too); a key of no line is refused."""
    with reading(path):
        table = pl.scan_ndjson(path, schema=dict(types)).collect()
    for name in types:
        if table[name].null_count() == len(table):
            raise SeqwardError(f"{path.name}: no line has the key {name!r}, which files of this source have.")
    return table


def with_plain_ids(table: pl.DataFrame) -> pl.DataFrame:
    """String columns that hold nothing but plainly written integers, as integers."""
    return table.with_columns(plain_integers(column) for column in table if column.dtype == pl.String)
