"""A log's columns: which one plays which part, and each turned into plain NumPy arrays or refused with its row.

Rows are counted from 1, the first after the header.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from seqward.data.files import listed
from seqward.errors import SeqwardError, did_you_mean

OPTIONS = {
    "session_id": "--session-col",
    "user_id": "--user-col",
    "item_id": "--item-col",
    "timestamp": "--time-col",
    "datetime": "--time-col",
    "order": "--order-col",
    "event_type": "--event-col",
    "reward": "--reward-col",
}
UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
"""Ticks a second."""
DENSE = 8
"""Integers whose range is below this many times their number are numbered through a table instead of a join."""
PIECE = 2**17
"""Rows."""
NUMBER_AS_NAME = r"-?\d+(\.\d+)?(_duplicated_\d+)?"
EXACT = 2**53
"""Below it 64-bit floats tell whole numbers apart."""
OLD = 1e8
"""Seconds; times beyond are counted from 1970."""
NEEDED = "Every event needs one: drop or fill these rows."
ZONE = r":\d{2}(?:\.\d+)?\s*(Z|z|UTC|[+-]\d{2}(?::?\d{2})?)$"


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of a log's columns. ``None``: the column of the field's own name is used where the log has it.

    ``session_id`` or ``user_id`` is needed (naming only one leaves the other out), ``item_id``, and a time
    (``timestamp`` or ``datetime``) or an ``order``. ``order`` is used only where it is named; beside a time it orders
    the events of a session, while the time orders the sessions.
    """

    session_id: str | None = None
    user_id: str | None = None
    item_id: str | None = None
    timestamp: str | None = None
    datetime: str | None = None
    order: str | None = None
    event_type: str | None = None
    reward: str | None = None

    @classmethod
    def of(cls, columns: Columns | Mapping[str, str] | None) -> Columns:
        """Columns as they are given, or as ``{"item_id": "product"}``.

        Raises:
            SeqwardError: something else, or a field that there is not.
        """
        if columns is None or isinstance(columns, cls):
            return columns or cls()
        known = [field.name for field in fields(cls)]
        if not isinstance(columns, Mapping) or not all(isinstance(name, str) for name in columns.values()):
            raise SeqwardError(f"columns must be Columns(...), such as Columns(item_id='product'); got {columns!r}.")
        for name in columns:
            if name not in known:
                near = did_you_mean(str(name), known)
                raise SeqwardError(f"columns: no part of a log is called {name!r}; they are {', '.join(known)}.{near}")
        return cls(**columns)

    def resolve(
        self, names: Sequence[str], *, gap: bool = False, rewards: bool = False, timed: bool = True
    ) -> dict[str, str]:
        """Part -> column, for the parts ``session_id user_id item_id time order event_type reward`` that the log has.

        ``gap``: a user's log is to be cut, so a session column counts only where it is named. ``rewards``: a map gives
        the rewards, likewise. ``timed=False``: the rows are in order where there is no time.

        Raises:
            SeqwardError: a column that is named or needed is not there, two are named for one part, or one for two.
        """
        named = {field: name for field, name in asdict(self).items() if name is not None}
        for field, name in named.items():
            _check_there(field, name, names)
        _check_one_each(named, gap, rewards)
        left_out = {"order"} | ({"reward"} if rewards else set())
        if gap or "user_id" in named:
            left_out.add("session_id")
        if "session_id" in named:
            left_out.add("user_id")
        found = {field: field for field in OPTIONS if field in names and field not in left_out} | named
        _check_needed(found, names, gap, timed)
        _check_once(found, names)
        time = next((fields[f] for fields in (named, found) for f in ("timestamp", "datetime") if f in fields), None)
        parts = {field: name for field, name in found.items() if field not in ("timestamp", "datetime")}
        parts |= {"time": time} if time else {}
        _check_apart(parts)
        return parts


def _check_there(field: str, name: str, names: Sequence[str]) -> None:
    if name not in names:
        raise SeqwardError(
            f"The log has no column {name!r} (named for {field}). It has: {listed(names)}."
            f"{did_you_mean(name, names) or _odd_header(names)}"
        )


def _check_once(found: Mapping[str, str], names: Sequence[str]) -> None:
    for field, name in found.items():
        if f"{name}_duplicated_0" in names:  # polars' name for the second column of a name
            raise SeqwardError(f"The log has two columns {name!r}: rename one, it is unclear which is the {field}.")


def _check_apart(parts: Mapping[str, str]) -> None:
    for (part, name), (other, same) in combinations(parts.items(), 2):
        if name == same and {part, other} != {"order", "time"}:
            options = " or ".join(OPTIONS[p] for p in (part, other) if p != "time")
            raise SeqwardError(f"The column {name!r} would be both {part} and {other}. Name another with {options}.")


def _check_one_each(named: Mapping[str, str], gap: bool, rewards: bool) -> None:
    if "timestamp" in named and "datetime" in named:
        raise SeqwardError("Both a timestamp and a datetime column are named. Name the one that is to be read.")
    if "reward" in named and rewards:
        raise SeqwardError(f"Rewards come from a map and from the column {named['reward']!r}. Give one of the two.")
    if "session_id" in named and gap:
        raise SeqwardError(f"A gap cuts the log of a user, but {named['session_id']!r} names sessions: drop one.")


def _check_needed(found: Mapping[str, str], names: Sequence[str], gap: bool, timed: bool) -> None:
    sessions = ("user_id",) if gap else ("session_id", "user_id")
    times = ("timestamp", "datetime") if gap else ("timestamp", "datetime", "order")
    for choices in (("item_id",), sessions, *([times] if timed else [])):
        if not found.keys() & set(choices):
            near = next((hint for field in choices if (hint := did_you_mean(field, names))), "")
            options = " or ".join(dict.fromkeys(OPTIONS[field] for field in choices))
            raise SeqwardError(
                f"The log has no column {' or '.join(choices)}. It has: {listed(names)}.{near}{_odd_header(names)}\n"
                f"Say which column is meant with {options}, in Python Columns({choices[0]}=...)."
            )


def _odd_header(names: Sequence[str]) -> str:
    if len(names) == 1:
        return " It is one column: is the separator another (--separator)?"
    return " Has the file no header line?" if any(re.fullmatch(NUMBER_AS_NAME, name) for name in names) else ""


def number_ids(column: pl.Series, part: str) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """The distinct ids, sorted (int64, or str objects), and the position of each row's id among them.

    Raises:
        SeqwardError: null or blank ids (how many, and the first row), or ids that are neither integers nor strings.
    """
    name = column.name
    if isinstance(column.dtype, (pl.Categorical, pl.Enum)):
        column = column.cast(pl.String)
    _check_complete(column, f"{name!r} ({part})", NEEDED)
    if column.dtype == pl.String:
        ids = column.unique()
        _check_not_blank(column, ids.filter(ids.str.strip_chars() == ""), f"{name!r} ({part})")
        return _numbered_by_join(column, ids)
    if not column.dtype.is_integer():
        raise SeqwardError(
            f"Ids in {name!r} ({part}) are of type {column.dtype}; they must be integers or strings. "
            f"First value: {column.head(1).to_list()[0]!r}."
        )
    if column.dtype in (pl.UInt64, pl.Int128, pl.UInt128) and column.cast(pl.Int64, strict=False).null_count():
        raise SeqwardError(f"Ids in {name!r} ({part}) go beyond 64-bit integers. Give them as strings.")
    column = column.cast(pl.Int64)
    low, high = column.min(), column.max()
    assert isinstance(low, int) and isinstance(high, int)  # neither empty nor null
    if high - low < DENSE * len(column):
        return _numbered_by_table(column, low, high)
    return _numbered_by_join(column, column.unique())


def number_types(column: pl.Series) -> tuple[tuple[str, ...], NDArray[np.int16]]:
    """The distinct event types, sorted, and the position of each row's type among them.

    Raises:
        SeqwardError: null or blank types, or more of them than event types can be.
    """
    name, what = column.name, f"{column.name!r} (event types)"
    if column.dtype.is_nested() or column.dtype == pl.Binary:
        raise SeqwardError(f"{what} is of type {column.dtype}; event types must be strings or numbers.")
    if column.dtype != pl.Categorical:  # for few distinct values much faster than a join
        column = column.cast(pl.String).cast(pl.Categorical)
    _check_complete(column, what, NEEDED)
    distinct = column.unique()
    names = distinct.cast(pl.String)
    _check_not_blank(column, distinct.filter(names.str.strip_chars() == ""), what)
    if len(names) > np.iinfo(np.int16).max:
        raise SeqwardError(f"Column {name!r} has {len(names)} event types: is it the right column?")
    codes = distinct.to_physical().to_numpy()
    number = np.zeros(int(codes.max()) + 1, np.int16)
    number[codes[names.arg_sort().to_numpy()]] = np.arange(len(codes), dtype=np.int16)
    return tuple(names.sort().to_list()), _looked_up(number, column.to_physical())


def _numbered_by_table(column: pl.Series, low: int, high: int) -> tuple[NDArray[Any], NDArray[np.int32]]:
    there = np.zeros(high - low + 1, bool)
    for rows in pieces(len(column)):
        there[column[rows].to_numpy() - low] = True
    number = np.cumsum(there, dtype=np.int32)
    number -= 1
    return np.flatnonzero(there) + low, _looked_up(number, column, low)


def _looked_up(table: NDArray[Any], column: pl.Series, low: int = 0) -> NDArray[Any]:
    """[rows] what stands in ``table`` for each value, the first for ``low``."""
    found = np.empty(len(column), table.dtype)
    for rows in pieces(len(column)):
        found[rows] = table[column[rows].to_numpy() - low]
    return found


def pieces(rows: int, size: int = PIECE) -> Iterator[slice]:
    """All rows, so few at a time that what NumPy makes of them for a moment stays in cache."""
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))


def occurrences(numbers: NDArray[np.integer], at_least: int = 0) -> NDArray[np.int64]:
    """How often each number from 0 to the largest, and below ``at_least``, is there."""
    counts = np.zeros(max(at_least, int(numbers.max(initial=-1)) + 1), np.int64)
    for rows in pieces(len(numbers), max(len(counts), PIECE)):  # since bincount turns all into 64 bits
        counts += np.bincount(numbers[rows], minlength=len(counts))
    return counts


def as_array(column: pl.Series) -> NDArray[Any]:
    """A column without nulls in NumPy's memory, whose large pages are several times as fast to read in random order."""
    values = np.empty(len(column), column.head(0).to_numpy().dtype)
    for rows in pieces(len(column)):
        values[rows] = column[rows].to_numpy()
    return values


def _numbered_by_join(column: pl.Series, ids: pl.Series) -> tuple[NDArray[Any], NDArray[np.int32]]:
    ids = ids.sort()
    rows, table = pl.DataFrame({"id": column}), pl.DataFrame({"id": ids, "number": np.arange(len(ids), dtype=np.int32)})
    number = rows.join(table, on="id", how="left", maintain_order="left")["number"]
    values = ids.to_numpy()
    return (values.astype(object) if ids.dtype == pl.String else values), number.to_numpy()


def _check_complete(column: pl.Series, what: str, advice: str) -> None:
    missing = column.is_null()
    if column.dtype == pl.String:
        missing = missing | (column == "").fill_null(True)
    elif column.dtype.is_float():
        missing = missing | column.is_nan().fill_null(True)
    if missing.any():
        raise SeqwardError(f"{what} is missing in {_rows(missing)}. {advice}")


def _check_not_blank(column: pl.Series, blank: pl.Series, what: str) -> None:
    if len(blank):
        raise SeqwardError(f"{what} is blank in {_rows(column.is_in(blank.implode()))}. {NEEDED}")


def _rows(flags: pl.Series) -> str:
    """How many rows are flagged, and the first of them."""
    count = int(flags.sum())
    return f"{count} row{'s' if count > 1 else ''}, first in row {_first(flags)}"


def _first(flags: pl.Series) -> int:
    """Number of the first row where a flag is set."""
    return int(flags.arg_max() or 0) + 1


@dataclass(frozen=True)
class Times:
    """A parsed time column."""

    values: NDArray[np.int64] | NDArray[np.float64]
    """[rows] numbers as they are in the log; dates as microseconds since 1970."""
    unit: str
    """``s ms us ns``: known for dates, guessed from its size for numbers."""
    kind: str
    """``number`` or ``date``."""
    zones: tuple[str, ...] = ()
    """As they stand in the log, where there are several."""


def parse_times(column: pl.Series) -> Times:
    """Integers, decimals, dates, ISO 8601 strings (all with a time zone or all without) to numbers.

    Raises:
        SeqwardError: null, unparsable or infinite times, or some in no zone, with the row and its value.
    """
    what = f"Time column {column.name!r}"
    _check_complete(column, what, "Every event needs a time: drop or fill these rows.")
    if column.dtype in (pl.Date, pl.Datetime):
        return Times(column.cast(pl.Datetime("us")).dt.timestamp("us").to_numpy(), "us", "date")
    if column.dtype == pl.String:
        if column.head(1).cast(pl.Float64, strict=False).null_count():
            return _parse_iso(column)
        column = parse_numbers(column, what)
    if not column.dtype.is_numeric():
        raise SeqwardError(
            f"{what} is of type {column.dtype}; expected numbers (seconds or finer), dates or ISO 8601 strings."
        )
    values = _plain(column, what)
    return Times(values, _guess_unit(values), "number")


def doubts_of_times(times: Times) -> list[str]:
    """Warnings of times that can be read and still look wrong."""
    if times.zones:
        return [f"Times stand in several time zones ({listed(times.zones)}): they are compared as times in UTC."]
    low, high = times.values.min().item(), times.values.max().item()
    if high > OLD * UNITS[times.unit] and low < high / 10:
        shown = [str(np.datetime64(time, "us")) if times.kind == "date" else f"{time}" for time in (low, high)]
        return [f"Times lie between {shown[0]} and {shown[1]}: do some rows hold 0 for none, or another unit?"]
    if times.kind == "number" and low >= 19000101 and high <= 21001231:
        month, day = times.values // 100 % 100, times.values % 100
        if ((month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)).all():
            return [f"Times such as {low} look like dates: they are taken for numbers, so gaps between them are wrong."]
    return []


def parse_order(column: pl.Series) -> NDArray[np.int64] | NDArray[np.float64]:
    """A column of numbers that orders the events of a session.

    Raises:
        SeqwardError: it is no number somewhere.
    """
    what = f"Order column {column.name!r}"
    _check_complete(column, what, "Every event needs its place: drop or fill these rows.")
    return _plain(parse_numbers(column, what), what)


def parse_rewards(column: pl.Series) -> NDArray[np.float32]:
    """Rewards as they stand in a column.

    Raises:
        SeqwardError: null, infinite or no number somewhere.
    """
    what = f"Reward column {column.name!r}"
    _check_complete(column, what, "Fill these rows, with 0 where the event is worth nothing.")
    column = parse_numbers(column, what)
    _check_finite(column.cast(pl.Float32), column, what)
    return column.cast(pl.Float32).to_numpy()


def parse_numbers(column: pl.Series, what: str) -> pl.Series:
    """The column as numbers; strings that are no numbers are refused with their row."""
    if column.dtype != pl.String:
        if not column.dtype.is_numeric():
            raise SeqwardError(f"{what} is of type {column.dtype}; expected numbers. First value: {column[0]!r}.")
        return column
    for kind in (pl.Int64, pl.Float64):
        numbers = column.cast(kind, strict=False)
        if not numbers.null_count():
            return numbers
    wrong = column.cast(pl.Float64, strict=False).is_null()
    raise SeqwardError(f"{what}: row {_first(wrong)} holds {column[_first(wrong) - 1]!r}, which is no number.")


def _plain(column: pl.Series, what: str) -> NDArray[np.int64] | NDArray[np.float64]:
    """int64 where every number is whole, else float64."""
    _check_finite(column, column, what)
    whole = column.cast(pl.Int64, strict=False)
    if whole.null_count() == 0 and (column.dtype.is_integer() or bool((whole == column).all())):
        return as_array(whole)
    too_large = whole.is_null() if column.dtype.is_integer() else column.cast(pl.Float64).abs() >= EXACT
    if too_large.any():
        row = _first(too_large)
        raise SeqwardError(
            f"{what}: row {row} holds {column[row - 1]}, too large to be kept exactly. "
            "Expected whole numbers below 2^63, or decimals below 2^53."
        )
    return as_array(column.cast(pl.Float64))


def _check_finite(values: pl.Series, shown: pl.Series, what: str) -> None:
    if values.dtype.is_float() and not (finite := values.is_finite()).all():
        row = _first(~finite)
        raise SeqwardError(f"{what}: row {row} holds {shown[row - 1]}, which is no finite number.")


def _guess_unit(values: NDArray[Any]) -> str:
    """Unit of numbers counted from 1970, by the size of the largest: seconds stay below 1e11 until the year 5138."""
    size = max(abs(float(values.min())), abs(float(values.max())))
    return "s" if size < 1e11 else "ms" if size < 1e14 else "us" if size < 1e17 else "ns"


def _parse_iso(text: pl.Series) -> Times:
    """ISO 8601 strings."""
    what = f"Time column {text.name!r}"
    if text.str.ends_with("Z").all():  # much faster than the pattern, and what most logs hold
        zones, local = None, text.str.strip_suffix("Z")
    else:
        zones = text.str.extract(ZONE).fill_null("")
        local = text.str.slice(0, text.str.len_chars() - zones.str.len_chars()).str.strip_chars_end()
    iso = local.str.contains(r"^\d{4}-\d{2}-\d{2}")
    try:
        times = local.str.to_datetime(time_unit="us", strict=False) if iso[0] else local.clear(len(local))
    except pl.exceptions.ComputeError:  # nothing like a time in the first row
        times = local.clear(len(local))
    if not (parsed := times.is_not_null() & iso).all():
        row = _first(~parsed)
        raise SeqwardError(
            f"{what}: row {row} holds {text[row - 1]!r}, which is no time that can be read. "
            "Expected a number or ISO 8601, such as 2024-05-31 or 2024-05-31T13:45:00.250Z."
        )
    values = times.dt.timestamp("us").to_numpy()
    if zones is None:
        return Times(values, "us", "date")
    ahead = _offsets(text, zones, what)
    if len(set(ahead.values())) == 1:
        return Times(values - ahead[zones[0]], "us", "date")
    return Times(values - zones.replace_strict(ahead, return_dtype=pl.Int64).to_numpy(), "us", "date", tuple(ahead))


def _offsets(text: pl.Series, zones: pl.Series, what: str) -> dict[str, int]:
    """Zone -> microseconds ahead of UTC; a time without a zone has none, and cannot stand beside one that has.

    Summer time alone puts two zones into a log, and each row says which.
    """
    if (without := zones == "").any() and not without.all():
        row = _first(without != without[0])
        raise SeqwardError(
            f"{what} has times with a zone and without: row 1 holds {text[0]!r}, row {row} {text[row - 1]!r}.\n"
            "Write the zone of all of them, or of none."
        )
    return {zone: _offset(zone) if zone else 0 for zone in zones.unique().sort()}


def _offset(zone: str) -> int:
    """Microseconds that a zone such as ``+02:00`` is ahead of UTC."""
    if zone in ("Z", "z", "UTC"):
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    return (-1 if zone[0] == "-" else 1) * minutes * 60_000_000
