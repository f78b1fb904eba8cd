"""The progress of training and of evaluation on standard error: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

Record = Mapping[str, Any]
"""One line of ``log.jsonl``."""


@contextmanager
def training_progress(total_events: int, max_minutes: float | None) -> Iterator[Callable[[Record], None]]:
    """Gives what receives every record of a training run's log.

    Args:
        total_events: training events of all epochs; early stopping may end sooner.
        max_minutes: the time limit, if there is one; the bar shows whichever is nearer its end.
    """

    def share_done(record: Record) -> float:
        of_time = record["seconds"] / (60 * max_minutes) if max_minutes else 0.0
        return min(1.0, max(record["events"] / max(total_events, 1), of_time))

    if not sys.stderr.isatty():
        yield lambda record: print(_line(record), file=sys.stderr, flush=True) if _told(record) else None
        return
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.text import Text

    # The terms stand below the bar: beside it they would leave the times no room.
    columns = (TextColumn("{task.percentage:3.0f} %"), BarColumn(24), TimeElapsedColumn(), TimeRemainingColumn())
    bar, terms = Progress(*columns), Text()
    with Live(Group(bar, terms), console=Console(stderr=True), refresh_per_second=4) as live:
        task = bar.add_task("", total=1.0)

        def show(record: Record) -> None:
            if record["kind"] == "step":
                bar.update(task, completed=share_done(record))
                terms.plain = _line(record)
            elif _told(record):
                live.console.print(_line(record), highlight=False, markup=False)

        yield show


@contextmanager
def counting_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Gives what receives (done, total); shown on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _told(record: Record) -> bool:
    """Whether a record gets a line that stays. Of a divergence the command itself tells, and what is left."""
    told = record["kind"] == "validation" or "text" in record
    return told and not (record["kind"] == "event" and record["text"].startswith("diverged"))


def _line(record: Record) -> str:
    """``step 1200  18,204 events/s  L_CE 5.231  ω L_Q 0.031`` and the like."""
    start = f"step {record['step']:,}"
    if record["kind"] == "step":
        terms = "  ".join(f"{symbol} {value:.4g}" for symbol, value in record["terms"].items())
        return f"{start}  {record['events_per_second']:,.0f} events/s  {terms}"
    if record["kind"] == "validation":
        value = "has no value" if record["value"] is None else f"{record['value']:.4f}"
        return f"{start}  {record['seconds']:.0f} s  validation {value}{' (best)' if record['best'] else ''}"
    return f"{start}  {record['seconds']:.0f} s  {record['text']}"
