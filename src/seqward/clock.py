"""When training is to stop or to save: seconds, Ctrl-C and SIGTERM."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Clock:
    """Seconds of training, those before a resume included."""

    before: float
    begin: float = field(default_factory=time.monotonic)
    checkpoint: float = field(default_factory=time.monotonic)

    def seconds(self) -> float:
        return self.before + time.monotonic() - self.begin

    def checkpoint_due(self, minutes: float) -> bool:
        """Whether that much time has gone since it last said so."""
        due = time.monotonic() - self.checkpoint >= 60 * minutes
        if due:
            self.checkpoint = time.monotonic()
        return due


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """SIGTERM, which a batch system sends, ends what runs in here as Ctrl-C does; in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Ctrl-C or SIGTERM sets the event, to be seen between two steps; a second one ends at once."""
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return

    def restore_handlers() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, frame: Any) -> None:
        pressed.set()
        restore_handlers()

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            signal.signal(number, handle)
        yield pressed
    finally:
        restore_handlers()
