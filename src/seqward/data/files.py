"""Opening a log's file: is it what its ending says, what columns has it, and reading only those that are needed."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqward.errors import SeqwardError

if TYPE_CHECKING:
    import polars as pl

SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
PARQUET = (".parquet", ".pq")
COMPRESSED = {".gz": b"\x1f\x8b", ".zst": b"\x28\xb5\x2f\xfd"}
SAMPLE = 10_000
"""Rows that decide whether a CSV file's ids are integers."""
NULLS = ["NULL", "null", "NaN", "nan", "NA", "None", "\\N"]
"""Words for a missing value in text, as databases, R and Python write them, beside nothing at all."""
INTEGER = r"^(0|-?[1-9]\d{0,17})$"
"""An integer that reads back as it was written: zero-padded ids are strings."""

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
        raise SeqwardError(
            f"{path.name} ends in {path.suffix or 'nothing'!r}; known are .csv, .tsv, .txt (tab-separated), each also "
            "with .gz or .zst, and .parquet."
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
        raise SeqwardError(f"{path.name} is not the text that its ending {path.suffix} says: it is {what}.")


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
        return _reading(path, lambda: pl.read_parquet_schema(path)).names()
    return _reading(path, lambda: pl.read_csv(path, n_rows=0, **_dialect(path, separator))).columns


def read_columns(
    path: Path, names: Collection[str], ids: Collection[str] = (), separator: str | None = None
) -> pl.DataFrame:
    """The columns ``names`` of a checked file.

    In a text file the columns ``ids`` are integers where the first 10,000 rows of theirs are, written plainly, else
    strings: zero-padded, decimal and very long numbers stay as they stand in the file. A column whose type changes
    further down is read as strings, so that the row at fault can be named by who parses it. ``NULLS`` are nulls.

    Raises:
        SeqwardError: the file cannot be read.
    """
    import polars as pl

    names = list(dict.fromkeys(names))
    if check_file(path) == "parquet":
        return _reading(path, lambda: pl.read_parquet(path, columns=names))
    options: dict[str, Any] = _dialect(path, separator) | {"columns": names, "null_values": NULLS}
    sample = _reading(path, lambda: pl.read_csv(path, n_rows=SAMPLE, infer_schema=False, **options))
    types: dict[str, Any] = {name: pl.Int64 if _all_integers(sample[name]) else pl.String for name in ids}
    try:
        table = pl.read_csv(path, schema_overrides=types, infer_schema_length=SAMPLE, **options)
    except pl.exceptions.ComputeError:
        text = _reading(path, lambda: pl.read_csv(path, infer_schema=False, **options))
        table = text.with_columns(text[name].cast(pl.Int64) for name in ids if _all_integers(text[name]))
    return table.head(len(table) - _blank_lines_at_end(path))


def _blank_lines_at_end(path: Path) -> int:
    """Empty lines after the last row, which polars reads as rows of nulls."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 4096))
        tail = stream.read()
    return max(0, tail[len(tail.rstrip(b"\r\n")) :].count(b"\n") - 1)


def _all_integers(text: pl.Series) -> bool:
    return bool(text.str.contains(INTEGER).all())


def _dialect(path: Path, separator: str | None) -> dict[str, Any]:
    ending = next(e for e in reversed(path.suffixes) if e.lower() in SEPARATORS)
    return {"separator": separator or SEPARATORS[ending.lower()]}


def _reading(path: Path, read: Any) -> Any:
    """``read()``, with what it raises about the file's content as one line."""
    import polars as pl

    try:
        return read()
    except (pl.exceptions.PolarsError, OSError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SeqwardError(f"{path.name} cannot be read: {said}.\nRepair or export the file again.") from error


def no_space(error: BaseException) -> bool:
    """Whether an error says that the disk is full (polars passes the system's error on as text)."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or "No space left on device" in str(error)


def listed(names: Iterable[str], at_most: int = 30) -> str:
    """Names for a message: ``a, b, c`` and how many more there are."""
    names = list(names)
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more
