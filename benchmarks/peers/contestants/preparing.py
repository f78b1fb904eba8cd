"""Preparing a log, once: ours, the same with pandas, or reading the file alone (``prepare_speed.py``)."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from peers.contestants.protocol import Meter, answer, asked
from prepare_speed import JOBS, write_log

FEWEST = 3
"""Events of a session that is kept."""


def with_pandas(pd: Any, file: Path, out: Path) -> None:
    """Sessions of enough events, numbered, in order, saved: no checks, no split, no vocabulary of training items."""
    log = pd.read_csv(file, usecols=["timestamp", "visitorid", "event", "itemid"], dtype={"event": "category"})
    log = log[log.groupby("visitorid")["itemid"].transform("size") >= FEWEST]
    log = log.sort_values(["visitorid", "timestamp"], kind="stable")
    item, ids = pd.factorize(log["itemid"])
    lengths = log.groupby("visitorid", sort=False).size().to_numpy()
    np.savez(out, item=item, offsets=np.cumsum(lengths), event=log["event"].cat.codes.to_numpy(), ids=ids)


def main() -> None:
    ask: Any = asked()
    # What imports pandas has its memory: only that contestant does, and before the clock runs.
    pandas = ask.options.how == "pandas"
    how = partial(with_pandas, import_module("pandas")) if pandas else JOBS[ask.options.how]
    file = Path(ask.work) / f"log-{ask.events}.csv"
    if not file.is_file():
        unfinished = file.with_suffix(".part")
        write_log(unfinished, ask.events)
        unfinished.rename(file)
    with TemporaryDirectory(dir=ask.work) as folder:
        meter = Meter(ask, warm_up=False)
        how(file, Path(folder, "data"))
        meter.lap(float(ask.events))
    answer(meter, "polars", "numpy", "pandas")


if __name__ == "__main__":
    main()
