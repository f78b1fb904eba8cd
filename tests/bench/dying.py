"""A call that kills its own process; it loads nothing, so that a test of it is quick."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def once_dead(folder: Path, always: bool) -> None:
    """Dies as by lack of memory: the first time, or always."""
    note = folder / "died"
    if always or not note.exists():
        note.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / "lived").touch()
