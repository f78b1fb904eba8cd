"""An event log: who met which item, when, and what it was worth. Checked once, then plain NumPy columns in order.

    log = EventLog.read("events.csv", Columns(user_id="visitorid", item_id="itemid", event_type="event"),
                        rewards={"view": 0.2, "addtocart": 1.0}, goal="addtocart")
    log = EventLog.from_frame(frame, rewards={"click": 0.2, "buy": 1.0}, goal="buy")      # canonical column names

``from_frame(frame, columns=Columns(), *, session_gap_minutes=None, time_unit=None, rewards=None, goal=None,
source=None, filters=(), warnings=())`` is what source readers call: ``source`` is recorded in the protocol as it is
(name, file, sha256, ...), ``filters`` lists what the reader itself removed (``{"filter": "transaction rows dropped",
"events": 46}``), ``warnings`` what it has to say.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any, TypedDict, Unpack

import narwhals as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray

from seqward.data.columns import (
    UNITS,
    Columns,
    Times,
    doubts_of_times,
    number_ids,
    number_types,
    occurrences,
    parse_order,
    parse_rewards,
    parse_times,
)
from seqward.data.files import column_names, quoted_line_breaks, read_columns, sha256_of
from seqward.data.rewards import NO_TYPE, goals, rewards_of_types
from seqward.data.sessions import Grouped, group_rows, stable_order
from seqward.errors import SeqwardError, did_you_mean

__all__ = ["Columns", "EventLog"]

TIE_RULE = "equal times keep the order of the rows (stable sort)"
APPEARANCE = 0.99
"""Share of neighbouring ids that first appear in their order, from which ids are said to be in order of appearance."""
FEWEST_ITEMS = 10
"""Below this many items such an order is likely by chance."""


class Meaning(TypedDict, total=False):
    """What the rows of a log mean, beside what its columns are called."""

    session_gap_minutes: float | None
    """A user's log is cut where nothing happened for longer than this."""
    time_unit: str | None
    """``s ms us ns`` of times that are numbers, for the gap; guessed from their size without it."""
    rewards: Mapping[str, float] | None
    """Event type -> value. Without it the reward column is read; without that, too, every event is worth 1.0 if the log
    has one event type."""
    goal: str | None
    """An event type, or a condition such as ``reward>=4``; without it no event is a goal."""
    source: Mapping[str, Any] | None
    """Recorded in the protocol; without it what is known of the file is, or a sha256 of the content."""
    filters: Sequence[Mapping[str, Any]]
    """What a reader removed before, recorded in the protocol."""
    warnings: Sequence[str]
    """What a reader found, recorded in the protocol."""


@dataclass(frozen=True, eq=False)
class EventLog:
    """A checked log: events grouped by session and in order within each; equal times keep the order of the rows."""

    item: NDArray[np.int32]
    """[events] position in ``item_ids``."""
    time: NDArray[np.int64] | NDArray[np.float64] | None
    """[events] as in the log; microseconds where it has dates; None where it has only an order."""
    event_type: NDArray[np.int16]
    """[events] position in ``event_types``."""
    reward: NDArray[np.float32]
    """[events] value of the event."""
    goal: NDArray[np.bool_]
    """[events] True where the event is the goal."""
    offsets: NDArray[np.int64]
    """[sessions + 1] the events of session s are ``offsets[s]:offsets[s + 1]``."""
    item_ids: NDArray[Any]
    """[items] sorted; int64 or str objects."""
    session_ids: NDArray[Any]
    """[sessions] sorted; where a gap cut the log of a user: ``user/1``, ``user/2``, ... by user and time."""
    user_ids: NDArray[Any] | None
    """[sessions] the user of each session, where the log names one."""
    event_types: tuple[str, ...]
    """Sorted by name; ("event",) where the log has no types."""
    protocol: dict[str, Any]
    """Source, columns, rewards, goal, tie rule, and what the log looked like."""
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        counts = f"{self.n_events:,} events, {self.n_sessions:,} sessions, {len(self.item_ids):,} items"
        return f"EventLog({counts}, {int(self.goal.sum()):,} goals)"

    @property
    def n_events(self) -> int:
        return len(self.item)

    @property
    def n_sessions(self) -> int:
        return len(self.session_ids)

    @classmethod
    def read(
        cls,
        path: Path | str,
        columns: Columns | Mapping[str, str] | None = None,
        *,
        separator: str | None = None,
        **meaning: Unpack[Meaning],
    ) -> EventLog:
        """Read a .csv, .tsv, .txt (each also .gz or .zst) or .parquet file.

        Args:
            separator: of a text file; by its ending and its first lines without it.
            columns, meaning: as in ``from_frame``.

        Raises:
            SeqwardError: the file is missing, empty or not what its ending says, or the log in it is refused.
        """
        path = Path(path)
        _check_meaning(meaning)
        parts = _parts(columns, column_names(path, separator), meaning)
        ids = [parts[part] for part in ("session_id", "user_id", "item_id") if part in parts]
        types = [parts["event_type"]] if "event_type" in parts else []
        doubts = _doubts_of_file(path, separator)
        table = read_columns(path, list(parts.values()), ids, separator, types).to_dict()
        if not len(table[parts["item_id"]]):
            raise SeqwardError(f"{path.name} has a header and no rows. Expected one row an event.")
        meaning["source"] = meaning.get("source") or {
            "file": path.name,
            "sha256": sha256_of(path),
            "bytes": path.stat().st_size,
        }
        meaning["warnings"] = [*doubts, *meaning.get("warnings", ())]
        return _log_of(table, parts, **meaning)

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        columns: Columns | Mapping[str, str] | None = None,
        **meaning: Unpack[Meaning],
    ) -> EventLog:
        """Check a pandas, polars, pyarrow or duckdb frame and put it in order.

        Args:
            frame: one row an event; only the columns that are needed are read.
            columns: the names of the columns where they are not the fields' own.
            meaning: ``session_gap_minutes``, ``time_unit``, ``rewards``, ``goal``, ``source``, ``filters`` and
                ``warnings``, see ``Meaning``.

        Raises:
            SeqwardError: a column is missing, or a value is null or cannot be read; the message names the row.
        """
        _check_meaning(meaning)
        table, parts = selected(frame, lambda names: _parts(columns, names, meaning))
        return _log_of(table.to_dict(), parts, **meaning)


def _parts(
    columns: Columns | Mapping[str, str] | None, names: Sequence[str], meaning: Mapping[str, Any]
) -> dict[str, str]:
    """Which part each column plays."""
    cut, mapped = (meaning.get(name) is not None for name in ("session_gap_minutes", "rewards"))
    return Columns.of(columns).resolve(names, gap=cut, rewards=mapped)


def _log_of(
    table: dict[str, pl.Series],
    parts: Mapping[str, str],
    *,
    session_gap_minutes: float | None = None,
    time_unit: str | None = None,
    rewards: Mapping[str, float] | None = None,
    goal: str | None = None,
    source: Mapping[str, Any] | None = None,
    filters: Sequence[Mapping[str, Any]] = (),
    warnings: Sequence[str] = (),
) -> EventLog:
    """The log in the columns ``table``, which are taken out as they are read, so that their memory is free again."""
    rows = _parsed(table, parts, session_gap_minutes, time_unit)
    odd = [
        *([] if rows.times is None else doubts_of_times(rows.times)),
        *_appearance_warning(rows.item, rows.item_ids, rows.times),
    ]
    offsets, late = rows.put_in_order()
    reward, worth = _worth(rows, parts, rewards)
    users, mixed = _users(rows.grouped, offsets)
    log = EventLog(
        item=rows.item,
        time=None if rows.times is None else rows.times.values,
        event_type=rows.event_type,
        reward=reward,
        goal=goals(goal, rows.event_types, rows.event_type, reward),
        offsets=offsets,
        item_ids=rows.item_ids,
        session_ids=rows.grouped.ids,
        user_ids=users,
        event_types=rows.event_types,
        protocol={},
    )
    ties, repeats = _ties(log, rows.keys)
    found = [
        *_order_warnings(late, repeats, ties, log.n_events),
        *odd,
        *_goal_warnings(log, goal, rewards),
        *mixed,
    ]
    facts = {
        "source": dict(source) if source is not None else {"frame": True, "sha256": _content_hash(log)},
        "columns": dict(parts),
        "sessions": rows.grouped.rule,
        "time": _time_facts(rows.times, time_unit),
        "rewards": worth,
        "goal": goal,
        "tie_rule": TIE_RULE,
        "equal_times": ties / log.n_events,
        "repeated_rows": repeats,
        "rows_out_of_order": late,
        "log": count_events(log),
        "filters": [dict(removed) for removed in filters],
    }
    return replace(log, protocol=facts, warnings=(*warnings, *found))


@dataclass(eq=False)
class _Rows:
    """A log, a row an event, with its ids numbered; as it came until it is put in order."""

    item: NDArray[np.int32]
    item_ids: NDArray[Any]
    times: Times | None
    keys: NDArray[Any]
    """What orders the events of a session: the order column, or else the time."""
    grouped: Grouped
    event_type: NDArray[np.int16]
    event_types: tuple[str, ...]
    reward: NDArray[np.float32] | None
    """Where a column holds it."""

    def put_in_order(self) -> tuple[NDArray[np.int64], int]:
        """Sort one column after the other, so that the memory of each is free for the next.

        Returns:
            [sessions + 1] offsets, and how many rows came before an earlier one of their session.
        """
        rows, keys, offsets, late = stable_order(self.grouped.number, self.keys)
        if self.times is not None:
            by_time = self.keys is self.times.values
            self.times = replace(self.times, values=keys if by_time else self.times.values[rows])
        self.keys = keys
        self.item = self.item[rows]
        self.event_type = self.event_type[rows]
        if self.grouped.users is not None:
            ids, user = self.grouped.users
            self.grouped = self.grouped._replace(users=(ids, user[rows]))
        if self.reward is not None:
            self.reward = self.reward[rows]
        return offsets, late


def _parsed(table: dict[str, pl.Series], parts: Mapping[str, str], gap: float | None, unit: str | None) -> _Rows:
    item_ids, item = number_ids(table.pop(parts["item_id"]), "items")
    times = parse_times(table[parts["time"]]) if "time" in parts else None
    keys = parse_order(table[parts["order"]]) if "order" in parts else _values(times)
    for part in {"time", "order"} & parts.keys():  # which may be one column
        table.pop(parts[part], None)
    if times is not None and times.kind == "date" and unit is not None:
        raise SeqwardError(
            f"A time unit ({unit}) is for times that are numbers, and {parts['time']!r} holds dates: leave it out."
        )
    grouped = group_rows(table, parts, times, gap, unit)
    event_types, event_type = (NO_TYPE,), np.zeros(len(item), np.int16)
    if "event_type" in parts:
        event_types, event_type = number_types(table.pop(parts["event_type"]))
    reward = parse_rewards(table.pop(parts["reward"])) if "reward" in parts else None
    return _Rows(item, item_ids, times, keys, grouped, event_type, event_types, reward)


def count_events(log: EventLog) -> dict[str, Any]:
    """Events, sessions, items, goals, and events per type of a log."""
    return {
        "events": log.n_events,
        "sessions": log.n_sessions,
        "items": len(log.item_ids),
        "goals": int(log.goal.sum()),
        "events_per_type": per_type(log.event_types, log.event_type),
    }


def per_type(event_types: Sequence[str], event_type: NDArray[np.int16]) -> dict[str, int]:
    """Event type -> number of events."""
    return dict(zip(event_types, occurrences(event_type, len(event_types)).tolist(), strict=True))


def _doubts_of_file(path: Path, separator: str | None) -> list[str]:
    breaks = quoted_line_breaks(path, separator)
    warning = (
        f"{breaks} line breaks of {path.name} stand in quotes, so they are part of a field and end no row. "
        "If no field is meant to hold one, a quote is not closed, or is escaped by a backslash instead of doubled."
    )
    return [warning] if breaks else []


def _check_meaning(meaning: Mapping[str, Any]) -> None:
    for name in meaning:
        if name not in Meaning.__annotations__:
            known = [*Meaning.__annotations__]
            raise SeqwardError(
                f"A log is not told {name!r}; it is told {', '.join(known)}, and columns={{'item_id': ...}} for what "
                f"its columns are called.{did_you_mean(name, known)}"
            )
    minutes, unit = meaning.get("session_gap_minutes"), meaning.get("time_unit")
    if unit is not None and unit not in UNITS:
        raise SeqwardError(f"Unknown time unit {unit!r}; known are {', '.join(UNITS)}.{did_you_mean(unit, UNITS)}")
    if minutes is not None and not (isinstance(minutes, Real) and 0 < float(minutes) < math.inf):
        raise SeqwardError(f"The session gap is {minutes} minutes; expected a number above 0.")


def selected(frame: Any, resolve: Callable[[Sequence[str]], dict[str, str]]) -> tuple[pl.DataFrame, dict[str, str]]:
    """The needed columns as a polars frame, whatever the backend, and the part that each plays.

    Args:
        resolve: part -> column, given the names of the columns.

    Raises:
        SeqwardError: no frame, no rows, or a column that cannot be read.
    """
    try:
        table = nw.from_native(frame)
        names = table.collect_schema().names()
    except TypeError as error:
        got = type(frame).__name__
        raise SeqwardError(f"Expected a pandas, polars, pyarrow or duckdb frame, got {got}.") from error
    except nw.exceptions.DuplicateError as error:
        raise SeqwardError(f"The frame has several columns of one name: {error}. Rename them.") from error
    if strange := [name for name in names if not isinstance(name, str)]:
        raise SeqwardError(f"The frame has a column {strange[0]!r}; expected strings as names. Rename its columns.")
    parts = resolve(names)
    table = table.select(*dict.fromkeys(parts.values()))
    table = table.collect("polars") if isinstance(table, nw.LazyFrame) else table
    native = pl.DataFrame({name: _to_polars(table[name], name == parts.get("time")) for name in table.columns})
    if native.is_empty():
        raise SeqwardError("The log has no rows. Expected one row an event.")
    return native, parts


def _to_polars(column: nw.Series[Any], is_time: bool) -> pl.Series:
    # A pandas column of Python dates may hold several time zones, or none in some rows, which a conversion would level
    # without a word.
    if is_time and column.dtype == nw.Object:
        return pl.Series(column.name, [_as_text(value) for value in column.to_list()], dtype=pl.String)
    try:
        return column.to_polars()
    except (TypeError, ValueError, NotImplementedError, OverflowError, pl.exceptions.PolarsError) as error:
        said = str(error).splitlines()[0]
        raise SeqwardError(f"Column {column.name!r} cannot be read, are its values of one type? {said}.") from error
    except ImportError as error:
        raise SeqwardError(f"Reading this frame needs a package ({error}): pip install 'seqward[frames]'.") from error


def _as_text(value: Any) -> str | None:
    if value is None or value != value:  # NaN and NaT differ from themselves
        return None
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _worth(
    rows: _Rows, parts: Mapping[str, str], rewards: Mapping[str, float] | None
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """[events] reward of each event, and where it comes from."""
    if rows.reward is not None:
        least = float(rows.reward.min())
        return rows.reward, {"column": parts["reward"]} | ({"least": least} if least < 0 else {})
    values = rewards_of_types(rewards, per_type(rows.event_types, rows.event_type))
    return np.array(list(values.values()), np.float32)[rows.event_type], {"types": values}


def _values(times: Times | None) -> NDArray[Any]:
    assert times is not None  # Columns.resolve asks for a time where there is no order
    return times.values


def _users(grouped: Grouped, offsets: NDArray[np.int64]) -> tuple[NDArray[Any] | None, list[str]]:
    """The user of each session's first event, and a warning where later events name another."""
    if grouped.users is None:
        return grouped.owners, []
    ids, user = grouped.users
    first = user[offsets[:-1]]
    several = np.logical_or.reduceat(user != np.repeat(first, np.diff(offsets)), offsets[:-1])
    warning = (
        f"{int(several.sum())} sessions hold events of several users (the first is {grouped.ids[several.argmax()]!r}): "
        "the user of the first event is taken. Are session ids counted anew for each user?"
    )
    return ids[first], [warning] if several.any() else []


def _ties(log: EventLog, key: NDArray[Any]) -> tuple[int, int]:
    """How many events have their time (``key``) in common with another of their session, and how many repeat one."""
    same = np.empty(len(key), bool)
    np.equal(key[1:], key[:-1], out=same[1:])
    same[log.offsets[:-1]] = False
    at = np.flatnonzero(same | np.append(same[1:], False))
    if not len(at):
        return 0, 0
    columns = {"item": log.item[at], "event_type": log.event_type[at], "reward": log.reward[at]}
    return len(at), len(at) - pl.DataFrame({"moment": np.cumsum(~same[at]), **columns}).n_unique()


def _order_warnings(late: int, repeats: int, ties: int, events: int) -> list[str]:
    said = {
        f"{late} of {events} rows stood after a later event of their session: sorted.": late,
        f"{repeats} of {events} rows repeat another row (session, time, item, type, reward): kept.": repeats,
        f"{ties} of {events} events ({ties / events:.1%}) share their session and time: {TIE_RULE}.": ties,
    }
    return [warning for warning, count in said.items() if count]


def _appearance_warning(item: NDArray[np.int32], ids: NDArray[Any], times: Times | None) -> list[str]:
    """Item ids that follow time tell a model that ranks ties by id what comes next."""
    warning = "Item ids are in order of first appearance, so they tell time. Items are numbered anew, by the seed."
    if len(ids) < FEWEST_ITEMS:
        return []
    numbers = _numbers(ids)
    if numbers is not None:
        item = np.argsort(np.argsort(numbers, kind="stable")).astype(np.int32)[item]
    by_item = bool((item[1:] >= item[:-1]).all())
    moments = ([] if by_item else [np.arange(len(item))]) + ([] if times is None else [times.values])
    for moment in moments:
        first = np.full(len(ids), moment.max(), moment.dtype)
        np.minimum.at(first, item, moment)
        if np.mean(first[1:] > first[:-1]) >= APPEARANCE:
            return [warning]
    return []


def _numbers(ids: NDArray[Any]) -> NDArray[np.int64] | None:
    """[items] the number at the end of each id; None where they are numbers, or not all end in one."""
    if ids.dtype.kind in "iu":
        return None
    numbers = pl.Series(ids.astype(str)).str.extract(r"^[^0-9]*([0-9]{1,18})$").cast(pl.Int64)
    return None if numbers.has_nulls() else numbers.to_numpy()


def _goal_warnings(log: EventLog, goal: str | None, rewards: Mapping[str, float] | None) -> list[str]:
    unused = [name for name in rewards or {} if name not in log.event_types]
    said = [f"The reward map names {', '.join(map(repr, unused))}, which no event of the log is."] if unused else []
    if goal is not None and not log.goal.any():
        said.append(f"No event meets the goal {goal!r}.")
    if goal is None and len(log.event_types) > 1:
        said.append(f"No goal is named, so no event counts as one. Event types: {', '.join(log.event_types)}.")
    return said


def _time_facts(times: Times | None, unit: str | None) -> dict[str, Any] | None:
    if times is None:
        return None
    first, last = times.values.min().item(), times.values.max().item()
    if times.kind == "date":
        return {"kind": "date", "first": str(np.datetime64(first, "us")), "last": str(np.datetime64(last, "us"))}
    return {"kind": "number", "unit": unit or f"{times.unit} (guessed)", "first": first, "last": last}


def _content_hash(log: EventLog) -> str:
    """Names the content of a log that came as a frame, whatever the backend."""
    digest = hashlib.sha256()
    for ids in (log.item_ids, log.session_ids, log.user_ids, log.event_types):
        digest.update(repr(None if ids is None else list(ids)).encode())
    for column in (log.item, log.time, log.event_type, log.reward, log.goal, log.offsets):
        digest.update(b"-" if column is None else np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()
