"""Opening a log's file: is it what its ending says, what columns has it, and reading only those that are needed."""

from __future__ import annotations

import csv
import errno
import gzip
import hashlib
from collections.abc import Callable, Collection, Iterable
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqward.errors import SeqwardError

if TYPE_CHECKING:
    import polars as pl

SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
PARQUET = (".parquet", ".pq")
COMPRESSED = {".gz": b"\x1f\x8b", ".zst": b"\x28\xb5\x2f\xfd"}
SAMPLE = 10_000
"""Rows by which the type of a text file's numbers and times is guessed; what is no id is read again where it errs."""
NULLS = ["NULL", "null", "NaN", "nan", "NA", "None", "\\N"]
"""Words for a missing value in text, as databases, R and Python write them, beside nothing at all."""
WHOLE_LINES: dict[str, Any] = {"separator": "\0", "quote_char": None, "infer_schema": False, "glob": False}
"""Reads a text file line by line."""
NO_SEPARATOR = '\r\n"'
"""What ends a line or quotes a value."""

_BEGINNINGS = (
    (b"PAR1", "a Parquet file"),
    (b"PK\x03\x04", "a zip archive (or a spreadsheet)"),
    (b"\x1f\x8b", "gzip-compressed"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
    (b"<!doctype", "a web page"),
    (b"<html", "a web page"),
    (b"{", "JSON"),
    (b"[", "JSON"),
)


def check_file(path: Path) -> str:
    """``"csv"`` or ``"parquet"``, by the ending of the name, which the content must bear out.

    Raises:
        SeqwardError: no such file, empty, an unknown ending, or a content that is not what the ending says.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise SeqwardError(f"{path} {what}. Expected an event log: a .csv, .tsv or .parquet file.")
    if path.stat().st_size == 0:
        raise SeqwardError(f"{path} is empty (0 bytes). Expected a header line and one line an event.")
    packed = path.suffix.lower() in COMPRESSED
    ending = Path(path.stem).suffix.lower() if packed else path.suffix.lower()
    if ending in PARQUET and not packed:
        _check_parquet(path)
        return "parquet"
    if ending not in SEPARATORS:
        said = f"ends in {path.suffix!r}" if path.suffix else "has no ending"
        raise SeqwardError(
            f"{path.name} {said}; known are .csv, .tsv, .txt (tab-separated), each also with .gz or .zst, and .parquet."
        )
    _check_text(path, COMPRESSED[path.suffix.lower()] if packed else None)
    return "csv"


def _check_parquet(path: Path) -> None:
    with path.open("rb") as stream:
        head = stream.read(4)
        stream.seek(max(0, path.stat().st_size - 4))
        tail = stream.read(4)
    if head != b"PAR1":
        raise SeqwardError(
            f"{path.name} is no Parquet file, though its name says so: it is {_what(path)}. "
            "Give it the ending of what it is, such as .csv."
        )
    if tail != b"PAR1":
        raise SeqwardError(f"{path.name} was cut off: a Parquet file ends in PAR1, this one does not. Fetch it again.")


def _check_text(path: Path, magic: bytes | None) -> None:
    with path.open("rb") as stream:
        head = stream.read(4096)
    if magic is not None:
        if not head.startswith(magic):
            raise SeqwardError(f"{path.name} is not compressed as its ending {path.suffix} says. Rename the file.")
    elif (what := _what(path)) != "text":
        save = " Save it as UTF-8." if what == "UTF-16 text" else ""
        raise SeqwardError(f"{path.name} is not the text that its ending {path.suffix} says: it is {what}.{save}")
    elif b"\r" in head and b"\n" not in head:
        raise SeqwardError(f"{path.name} ends its lines with CR alone, as old Macs did. Save it with LF or CRLF.")


def _what(path: Path) -> str:
    with path.open("rb") as stream:
        head = stream.read(4096)
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for beginning, name in _BEGINNINGS:
        if head.startswith(beginning) or start.startswith(beginning):
            return name
    return "binary data" if b"\0" in head else "text"


def sha256_of(path: Path) -> str:
    """sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def column_names(path: Path, separator: str | None = None) -> list[str]:
    """The columns of a checked file, without reading its rows."""
    import polars as pl

    if check_file(path) == "parquet":
        if separator is not None:
            raise SeqwardError(f"{path.name} is a Parquet file, which has no separator: leave it out.")
        return _reading(path, lambda: pl.read_parquet_schema(path)).names()
    return _reading(path, lambda: pl.read_csv(path, n_rows=0, **_dialect(path, separator))).columns


def read_columns(
    path: Path,
    names: Collection[str],
    ids: Collection[str] = (),
    separator: str | None = None,
    types: Collection[str] = (),
) -> pl.DataFrame:
    """The columns ``names`` of a checked file.

    In a text file the columns ``ids`` are integers where all of theirs are written plainly, else strings as they stand
    there, and the columns ``types`` (event types) are categories. Where the type of another column changes further
    down, it is read as strings, so that the row at fault can be named by who parses it. ``NULLS`` are nulls.

    Raises:
        SeqwardError: the file cannot be read, or the separator is not one character.
    """
    import polars as pl

    names = list(dict.fromkeys(names))
    if check_file(path) == "parquet":
        return _reading(path, lambda: pl.read_parquet(path, columns=names, glob=False))
    dialect = _dialect(path, separator)
    try:
        table = _read_text(path, names, ids, types, dialect)
    except (pl.exceptions.PolarsError, OSError):
        table = _reading(
            path, lambda: pl.read_csv(path, columns=names, infer_schema=False, **dialect), dialect["separator"]
        )
    table = table.head(len(table) - _blank_lines_at_end(path, table))
    for name in table.columns:  # one by one, since text is large
        table = table.with_columns(_from_text(table[name], name in ids))
    return table


def _read_text(
    path: Path, names: list[str], ids: Collection[str], types: Collection[str], dialect: dict[str, Any]
) -> pl.DataFrame:
    """The columns, of which those in ``ids`` whose first rows are integers are made so piece by piece.

    Text takes several times the memory of numbers. Where a later row is no plain integer, the file is read again.
    """
    import polars as pl

    known = dict.fromkeys(ids, pl.String) | dict.fromkeys(types, pl.Categorical)
    scan = pl.scan_csv(path, schema_overrides=known, infer_schema_length=SAMPLE, **dialect).select(names)
    first = scan.select(ids).head(SAMPLE).collect()
    whole = [name for name in ids if plain_integers(first[name]) is not first[name]]
    plain = {f"{name} is plain": _is_plain(pl.col(name)) for name in whole}
    table = scan.with_columns(pl.col(whole).cast(pl.Int64, strict=False), **plain).collect(engine="streaming")
    if not all(table[name].all() for name in plain):
        return scan.collect(engine="streaming")
    return table.select(names)


def _from_text(text: pl.Series, is_id: bool) -> pl.Series:
    import polars as pl

    if text.dtype == pl.Categorical:
        words = text.unique().cast(pl.String).is_in(NULLS).any()
        return _without_null_words(text.cast(pl.String)) if words else text
    if text.dtype != pl.String:
        return text
    if is_id and (numbers := plain_integers(text)) is not text:
        return numbers
    text = _without_null_words(text)
    return plain_integers(text) if is_id else text


def _without_null_words(text: pl.Series) -> pl.Series:
    """Nulls for the words in ``NULLS``. Telling the reader of them would take it a third longer."""
    import polars as pl

    is_word = reduce(or_, (text == word for word in NULLS))
    return text.zip_with(~is_word.fill_null(False), pl.Series([None], dtype=pl.String)) if is_word.any() else text


def plain_integers(text: pl.Series) -> pl.Series:
    """Strings as 64-bit integers where each reads back as it was written, else as they are: ``007`` is not ``7``."""
    import polars as pl

    for part in (text.head(SAMPLE), text):  # most columns of strings are known by their first rows
        if not part.to_frame("text").select(_is_plain(pl.col("text")).all()).item():
            return text
    return text.cast(pl.Int64)


def _is_plain(text: pl.Expr) -> pl.Expr:
    """Whether each string is missing, or an integer as it would be written: ``+7``, ``007`` and ``-0`` are not."""
    import polars as pl

    starts = text.str.starts_with
    padded = (starts("0") & (text.str.len_bytes() > 1)) | starts("+") | starts("-0")
    return text.is_null() | (text.cast(pl.Int64, strict=False).is_not_null() & ~padded)


def _blank_lines_at_end(path: Path, table: pl.DataFrame) -> int:
    """Empty lines after the last row, which polars reads as rows of nulls; those between rows are left to be told."""
    import polars as pl

    if table.is_empty() or any(value is not None for value in table.row(-1)):
        return 0
    lines = _reading(path, lambda: pl.read_csv(path, has_header=False, **WHOLE_LINES)).to_series()
    return len(lines) - 1 - int(lines.is_not_null().arg_true()[-1])


def quoted_line_breaks(path: Path, separator: str | None = None) -> int:
    """How many lines of a checked file go on in the next one, since a field in quotes holds the line break."""
    import polars as pl

    def count(dialect: dict[str, Any]) -> int:
        return _reading(path, lambda: pl.scan_csv(path, **dialect).select(pl.len()).collect(engine="streaming").item())

    if check_file(path) == "parquet":
        return 0
    return count(WHOLE_LINES) - count(_dialect(path, separator) | {"infer_schema": False})


def _dialect(path: Path, separator: str | None) -> dict[str, Any]:
    ending = next(e for e in reversed(path.suffixes) if e.lower() in SEPARATORS)
    chosen = SEPARATORS[ending.lower()] if separator is None else separator.replace("\\t", "\t")
    if len(chosen.encode()) != 1 or chosen in NO_SEPARATOR:
        raise SeqwardError(
            f"The separator is {separator!r}; expected one ASCII character, such as ';' or '\\t' (a tab).\n"
            "For a file with another, write one with a single character, or see `seqward data list` for its reader."
        )
    return {"separator": chosen, "glob": False}


def _reading(path: Path, read: Callable[[], Any], separator: str | None = None) -> Any:
    """``read()``, with what it raises about the file's content as one line."""
    import polars as pl

    try:
        return read()
    except (pl.exceptions.PolarsError, OSError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        said = "it is not UTF-8 text" if "utf-8" in said else said
        said = (separator and "more fields" in said and _row_too_long(path, separator)) or said
        raise SeqwardError(f"{path.name} cannot be read: {said}.\nRepair or export the file again.") from error


def _row_too_long(path: Path, separator: str) -> str | None:
    """Names the first row of more fields than the header, for a message."""
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", errors="replace", newline="") as stream:
            rows = csv.reader(stream, delimiter=separator)
            columns = len(next(rows))
            found = next(((number, len(row)) for number, row in enumerate(rows, 1) if len(row) > columns), None)
    except csv.Error:  # a field of its own limit
        return None
    return found and f"row {found[0]} has {found[1]} fields, and the header {columns}"


def no_space(error: BaseException) -> bool:
    """Whether an error says that the disk is full (polars passes the system's error on as text)."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or "No space left on device" in str(error)


def listed(names: Iterable[str], at_most: int = 30) -> str:
    """Names for a message: ``a, b, c`` and how many more there are."""
    names = list(names)
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more
