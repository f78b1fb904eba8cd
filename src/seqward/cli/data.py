"""Commands that make data sets: simulate, prepare, data list, data fetch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from seqward.cli.options import ItemCol, OrderCol, Separator, SessionCol, TimeCol, UserCol
from seqward.cli.output import print_table, warn
from seqward.errors import SeqwardError

if TYPE_CHECKING:
    from seqward.data.events import EventLog
    from seqward.data.prepare import PrepareSettings

app = typer.Typer(help="Public data sets: what can be read, and fetching what may be fetched.", no_args_is_help=True)


def simulate_log(
    out: Annotated[Path, Option(help="Event log to write (.csv or .parquet).")],
    preset: Annotated[str | None, Option(help="Shape of the log: retailrocket.")] = None,
    sessions: Annotated[int | None, Option(help="Number of sessions.")] = None,
    items: Annotated[int | None, Option(help="Number of items.")] = None,
    seed: Annotated[int, Option(help="The same seed gives the same log.")] = 0,
    force: Annotated[bool, Option("--force", help="Replace a log that is already there.")] = False,
) -> None:
    """Write the log of a simulated shop: views, carts and purchases, with popularity, drifting taste and repeats."""
    from seqward.data.simulate import shape_of, simulate, write_log

    shop = simulate(sessions=sessions, items=items, seed=seed, preset=preset)
    write_log(shop, out, force=force)
    print_table(("log", "value"), shape_of(shop).items())


def prepare_log(
    events: Annotated[
        Path, Argument(metavar="EVENTS", help="Log (.csv, .tsv, .parquet), or a source's file or folder.")
    ],
    out: Annotated[Path, Option(help="Folder to write.")],
    source: Annotated[str | None, Option(help="Read a public data set as it comes (see `seqward data list`).")] = None,
    session_col: SessionCol = None,
    user_col: UserCol = None,
    session_gap: Annotated[
        float | None, Option(help="Cut a user's log where more minutes than this have no event.")
    ] = None,
    item_col: ItemCol = None,
    event_col: Annotated[str | None, Option(help="Column of the event type.")] = None,
    time_col: TimeCol = None,
    time_unit: Annotated[
        str | None, Option(help="s, ms, us or ns, of times that are numbers; guessed without.")
    ] = None,
    order_col: OrderCol = None,
    reward: Annotated[list[str] | None, Option(help="EVENT=VALUE, once for each event type.")] = None,
    reward_col: Annotated[str | None, Option(help="Column of the reward, such as revenue or stars.")] = None,
    goal: Annotated[str | None, Option(help="The event type that is the goal, or a condition: 'reward>=4'.")] = None,
    separator: Separator = None,
    split: Annotated[str | None, Option(help="random (the default), temporal or leave-one-out.")] = None,
    vocabulary: Annotated[str | None, Option(help="training (the default): items trained on; log: all items.")] = None,
    min_session_length: Annotated[int | None, Option(help="Drop sessions with fewer events (default 3).")] = None,
    min_item_count: Annotated[int | None, Option(help="Then drop the events of items with fewer (default 1).")] = None,
    validation_users: Annotated[
        int | None,
        Option(help="Of leave-one-out: so many users' last event but one validates, the others' trains (default all)."),
    ] = None,
    seed: Annotated[int | None, Option(help="Draws the random split and the numbers of the items (default 0).")] = None,
    force: Annotated[bool, Option("--force", help="Replace a data set that is already there.")] = False,
) -> None:
    """Check, filter, split and number an event log: a folder of Parquet files and dataset.json."""
    from seqward.data.prepare import free_folder, prepare

    free_folder(out, force)  # before minutes go into reading
    columns = {
        "session_id": session_col,
        "user_id": user_col,
        "item_id": item_col,
        "timestamp": time_col,
        "order": order_col,
        "event_type": event_col,
        "reward": reward_col,
    }
    worth = {"rewards": parse_rewards(reward) if reward else None, "goal": goal}
    shape = {"separator": separator, "session_gap_minutes": session_gap, "time_unit": time_unit}
    log, settings = _read_log(events, source, columns, shape, worth, seed or 0)
    changes = {
        "min_session_length": min_session_length,
        "min_item_count": min_item_count,
        "split": split,
        "vocabulary": vocabulary,
        "validation_users": validation_users,
        "seed": seed,
    }
    data = prepare(log, settings, out=out, force=force, warn=warn, **_given(changes))
    print_table(*_counts_of(data.protocol))


def _read_log(
    file: Path,
    source: str | None,
    columns: Mapping[str, str | None],
    shape: Mapping[str, Any],
    worth: Mapping[str, Any],
    seed: int,
) -> tuple[EventLog, PrepareSettings]:
    """The log in a file or of a public data set, and how it is prepared by default."""
    from seqward.data.events import Columns, EventLog
    from seqward.data.prepare import PrepareSettings
    from seqward.data.sources import read_source

    if source is None:
        return EventLog.read(file, Columns(**columns), **shape, **worth), PrepareSettings()
    if _given(columns) or _given(shape):
        raise SeqwardError(
            f"--source {source} knows the columns of its files. Leave out --session-col and the like, "
            "or leave out --source to read the file as any log."
        )
    return read_source(source, file, seed=seed, **worth)


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _counts_of(protocol: Mapping[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """Header and rows of a data set's counts: one row a split, then the whole."""
    names = ["sessions", "events", "goals", "targets_outside_vocabulary"]
    rows = {**protocol["counts"]["splits"], "all": protocol["counts"]}
    header = ["split", *(name.replace("_", " ") for name in names), "items"]
    items = protocol["counts"]["items"]
    return header, [
        [split, *(counts[name] for name in names), items if split == "all" else None] for split, counts in rows.items()
    ]


def parse_rewards(texts: list[str]) -> dict[str, float]:
    """``["view=0.2", "cart=1"]`` as a map.

    Raises:
        SeqwardError: no ``=``, or what follows is no number, or an event type stands twice.
    """
    rewards: dict[str, float] = {}
    for text in texts:
        event, _, value = text.rpartition("=")
        try:
            number = float(value)
        except ValueError:
            number = None
        if not event or number is None:
            raise SeqwardError(f"--reward expects EVENT=VALUE, such as --reward purchase=1; got {text!r}.")
        if event in rewards:
            raise SeqwardError(
                f"--reward names the event {event!r} twice: {rewards[event]:g} and {number:g}. Keep one."
            )
        rewards[event] = number
    return rewards


@app.command("list", short_help="List the data sets that have a reader, and how to get them.")
def list_sources() -> None:
    """List the data sets that have a reader, what is known of each, and how to get it."""
    from seqward.data.sources import SOURCES

    header = ("name", "what it is", "files", "reader tried on real data", "how to get it", "terms")
    print_table(
        header,
        [
            (
                source.name,
                source.about,
                " or ".join(form.pattern for form in source.formats),
                "yes" if all(form.verified for form in source.formats) else "not for every format",
                f"seqward data fetch {source.name}" if source.archive else f"{source.obtain} from {source.home}",
                source.terms,
            )
            for source in SOURCES.values()
        ],
    )


@app.command("fetch", short_help="Download a data set, or say how to get it by hand.")
def fetch_source(
    name: Annotated[str, Argument(metavar="NAME", help="Name of the data set (see `seqward data list`).")],
    to: Annotated[Path, Option(help="Folder to put it in.")] = Path("raw"),
) -> None:
    """Download a data set, or say which file to download by hand where its licence or a login forbids fetching."""
    from seqward.data.fetch import fetch

    typer.echo(fetch(name, to).message)
