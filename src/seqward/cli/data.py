"""Commands that make data sets: simulate, prepare, data list, data fetch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from seqward.errors import SeqwardError

app = typer.Typer(help="Public data sets: what can be read, and fetching what may be fetched.", no_args_is_help=True)


def simulate(
    out: Annotated[Path, Option(help="Event log to write (.csv or .parquet).")],
    preset: Annotated[str | None, Option(help="Shape of the log: retailrocket.")] = None,
    sessions: Annotated[int | None, Option(help="Number of sessions.")] = None,
    items: Annotated[int | None, Option(help="Number of items.")] = None,
    seed: Annotated[int, Option(help="The same seed gives the same log.")] = 0,
) -> None:
    """Write the log of a simulated shop: views, carts and purchases, with popularity, drifting taste and repeats."""
    raise NotImplementedError


def prepare(
    events: Annotated[Path, Argument(help="Event log (.csv, .tsv, .parquet), or the source's own file or folder.")],
    out: Annotated[Path, Option(help="Folder to write.")],
    source: Annotated[
        str | None, Option(help="Read a public data set in its own format (see `seqward data list`).")
    ] = None,
    session_col: Annotated[str | None, Option(help="Column of the session.")] = None,
    user_col: Annotated[str | None, Option(help="Column of the user; the user's whole log is one session ...")] = None,
    session_gap: Annotated[
        float | None, Option(help="... unless cut where this many minutes pass without an event.")
    ] = None,
    item_col: Annotated[str | None, Option(help="Column of the item.")] = None,
    event_col: Annotated[str | None, Option(help="Column of the event type.")] = None,
    time_col: Annotated[str | None, Option(help="Column of the time: dates, or numbers.")] = None,
    order_col: Annotated[str | None, Option(help="Column that orders the events of a session.")] = None,
    reward: Annotated[list[str] | None, Option(help="EVENT=VALUE, once for each event type.")] = None,
    reward_col: Annotated[str | None, Option(help="Column of the reward, such as revenue or stars.")] = None,
    goal: Annotated[
        str | None, Option(help="The event type that counts as success, or a condition: 'reward>=4'.")
    ] = None,
    split: Annotated[str | None, Option(help="random, temporal or leave-one-out.")] = None,
    min_session_length: Annotated[int | None, Option(help="Drop sessions with fewer events.")] = None,
    min_item_count: Annotated[int | None, Option(help="Drop items with fewer events.")] = None,
    seed: Annotated[int | None, Option(help="Decides the random split and the numbers of the items.")] = None,
    force: Annotated[bool, Option("--force", help="Replace a data set that is already there.")] = False,
) -> None:
    """Check, filter, split and number an event log: a folder of Parquet files and dataset.json."""
    raise NotImplementedError


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


@app.command("list")
def list_sources() -> None:
    """List the data sets that have a reader, what is known of each, and how to get it."""
    raise NotImplementedError


@app.command("fetch")
def fetch(
    name: Annotated[str, Argument(help="Name of the data set (see `seqward data list`).")],
    to: Annotated[Path, Option(help="Folder to put it in.")] = Path("data"),
) -> None:
    """Download a data set, or say which file to download by hand where its licence or a login forbids fetching."""
    raise NotImplementedError
