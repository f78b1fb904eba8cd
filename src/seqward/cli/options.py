"""Options that several commands have: the columns of a log, and the device."""

from __future__ import annotations

from typing import Annotated

from typer import Option

SessionCol = Annotated[str | None, Option("--session-col", help="Column of the session.")]
UserCol = Annotated[str | None, Option("--user-col", help="Column of the user, whose whole log is one session.")]
ItemCol = Annotated[str | None, Option("--item-col", help="Column of the item.")]
TimeCol = Annotated[str | None, Option("--time-col", help="Column of the time: dates, or numbers.")]
OrderCol = Annotated[str | None, Option("--order-col", help="Column of numbers that order the events of a session.")]
Separator = Annotated[
    str | None, Option("--separator", help="Between the columns of a text file; by its ending without.")
]
Device = Annotated[str, Option(help="auto, cpu or cuda.")]
