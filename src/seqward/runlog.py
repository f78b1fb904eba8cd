"""What a training run writes down: ``log.jsonl``, a line a record, and TensorBoard where it is installed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqward.board import Board
from seqward.checkpoint import Progress

Observe = Callable[[dict[str, Any]], None]
"""Receives every record of the log as it is written."""


SCALES = ("grad_norm", "q_mean", "q_max", "q_greedy")


class RunLog:
    """``log.jsonl`` and, where it is installed, TensorBoard. What a lost stretch had written is cut on resume."""

    def __init__(self, folder: Path, progress: Progress, observe: Observe) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.observe, self.last = observe, (progress.events, progress.seconds)
        self.waiting: dict[str, list[Tensor]] = {}
        self.file = folder / "log.jsonl"
        before = read_log(self.file) if progress.validated_step >= 0 else []
        self.file.write_text("".join(json.dumps(r) + "\n" for r in before if known(r, progress)))
        self.board = _tensorboard(folder / "tensorboard", progress.step)

    def add(self, means: dict[str, Tensor]) -> None:
        """Keep what a step reports for the next line."""
        for name, value in means.items():
            self.waiting.setdefault(name, []).append(value)

    def flush(self, progress: Progress) -> None:
        """Write the means since the line before, if a step was taken since."""
        if not self.waiting:
            return
        means = {name: float(torch.stack(values).mean()) for name, values in self.waiting.items()}
        self.waiting.clear()
        events, seconds = progress.events - self.last[0], progress.seconds - self.last[1]
        self.last = (progress.events, progress.seconds)
        terms = {k: v for k, v in means.items() if k not in SCALES}
        scales = {k: v for k, v in means.items() if k in SCALES}
        rate = events / seconds if seconds > 0 else 0.0
        self._write("step", {"terms": terms, **scales, "events_per_second": round(rate, 1)}, progress)
        self._draw(
            {**{f"loss/{k}": v for k, v in terms.items()}, **{f"scale/{k}": v for k, v in scales.items()}}, progress
        )

    def validation(self, metrics: dict[str, Any], value: float | None, best: bool, progress: Progress) -> None:
        """``value`` is that of the declared metric, None where it has none."""
        self._write("validation", {"metrics": metrics, "value": value, "best": best}, progress)
        flat = {f"validation/{k}": v for k, v in metrics.items() if isinstance(v, int | float)}
        for group, values in metrics.items():
            if isinstance(values, dict):
                flat |= {f"validation/{group}/{k}": v for k, v in values.items() if isinstance(v, int | float)}
        self._draw(flat, progress)

    def event(self, text: str, progress: Progress) -> None:
        self._write("event", {"text": text}, progress)

    def guard(self, verdict: dict[str, Any], progress: Progress, text: str) -> None:
        """What the guard sees at a probe, or at a step or a validation that changes its mind; ``text`` where that is
        news."""
        self._write("guard", {**verdict, **({"text": text} if text else {})}, progress)
        self._draw({f"guard/{name}": value for name, value in verdict.get("signals", {}).items()}, progress)

    def repair(self, taken: dict[str, Any], progress: Progress, text: str) -> None:
        """What the guard did."""
        self._write("repair", {**taken, "text": text}, progress)

    def _write(self, kind: str, record: dict[str, Any], progress: Progress) -> None:
        where = {"step": progress.step, "events": progress.events, "seconds": round(progress.seconds, 3)}
        whole = {"kind": kind, **where, "phase": progress.phase + 1, **record}
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(whole, ensure_ascii=False) + "\n")
        self.observe(whole)

    def _draw(self, values: Mapping[str, float], progress: Progress) -> None:
        if self.board is not None:
            self.board.scalars({name: value for name, value in values.items() if math.isfinite(value)}, progress.step)

    def close(self) -> None:
        if self.board is not None:
            self.board.close()


def known(record: Mapping[str, Any], progress: Progress) -> bool:
    """Whether a record tells of what the checkpoint with this progress has gone through.

    The rest is done again: later steps, a phase that began at its very step, and a validation that only the time limit
    brought about.
    """
    if record["step"] > progress.step or record.get("phase", 1) > progress.phase + 1:
        return False
    measured = "signals" in record or "of_step" in record
    of_validation = record["kind"] == "validation" or (record["kind"] == "guard" and not measured)
    return not of_validation or record["step"] <= progress.validated_step


def read_log(file: Path) -> list[dict[str, Any]]:
    """The whole lines of a log; a last line that was cut off is left out."""
    records = []
    for line in file.read_bytes().splitlines() if file.is_file() else []:
        try:
            records.append(json.loads(line))
        except ValueError:  # no JSON, or cut off within a letter
            break
    return records


def _tensorboard(folder: Path, step: int) -> Board | None:
    try:
        return Board(folder, step)
    except ImportError:
        return None
