"""Scalars for TensorBoard, written where and when they are given.

TensorBoard's own writer does it in a thread, whose traceback is all that a full disk leaves.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Board:
    """An event file of one stretch of a run."""

    def __init__(self, folder: Path, step: int) -> None:
        """Begin a file; what other files of the folder hold from ``step`` on is hidden, as that stretch was lost.

        Raises:
            ImportError: TensorBoard is not installed.
        """
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.events: Any = event_pb2
        self.summary: Any = summary_pb2
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / f"events.out.tfevents.{time.time_ns()}.{os.getpid()}").open("wb")
        self.records = RecordWriter(file)
        self._write(file_version="brain.Event:2")
        self._write(step=step, session_log=self.events.SessionLog(status=self.events.SessionLog.START))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to the curve of each name."""
        points = [self.summary.Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(step=step, summary=self.summary.Summary(value=points))

    def close(self) -> None:
        self.records.close()

    def _write(self, **content: Any) -> None:
        self.records.write(self.events.Event(wall_time=time.time(), **content).SerializeToString())
        self.records.flush()
