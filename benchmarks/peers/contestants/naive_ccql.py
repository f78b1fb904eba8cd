"""The usual SASRec-CCQL step, written from the paper: windows, and every score of every head (``naive_ccql.py``)."""

from __future__ import annotations

from ccql_step import NAIVE_TRANSITIONS, Naive, sections
from peers.contestants.ours import dataset_of
from peers.contestants.protocol import Meter, answer, asked
from seqward.data.batches import TrainingEvents

READY = 64
"""Batches made beforehand, as in a replay buffer; it stops when they are used up."""


def main() -> None:
    ask = asked()
    form = ask.options.conservative
    events = TrainingEvents(dataset_of(ask), context=sections(form)["backbone"].session_max_len)
    sessions = max(2, round(NAIVE_TRANSITIONS * events.n_pieces / events.n_events))
    naive, meter = Naive(events, form, sessions, READY), Meter(ask)
    while naive.ready and not meter.lap(float(naive.step())):
        pass
    answer(meter, "torch", "numpy")


if __name__ == "__main__":
    main()
