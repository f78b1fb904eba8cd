"""The log beside the log: TensorBoard's file, a full disk, and the bar on a terminal."""

from __future__ import annotations

import errno
import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs import job_of, recommender, shop
from seqward.cli import progress
from seqward.runlog import read_log
from seqward.train import train


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard reads: the steps and values of each curve."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    read = accumulator.EventAccumulator(str(folder), purge_orphaned_data=True)
    read.Reload()
    return {tag: [(e.step, e.value) for e in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def test_tensorboard_shows_what_the_log_says(tmp_path: Path) -> None:
    recommender("sasrec-ac").fit(shop(), tmp_path / "run")
    found, log = curves(tmp_path / "run" / "tensorboard"), read_log(tmp_path / "run" / "log.jsonl")
    steps, validations = ([r for r in log if r["kind"] == kind] for kind in ("step", "validation"))
    for tag, expected in {
        "loss/ω L_Q": [(r["step"], r["terms"]["ω L_Q"]) for r in steps],
        "loss/Q L_CE": [(r["step"], r["terms"]["Q L_CE"]) for r in steps if r["phase"] == 2],
        "scale/grad_norm": [(r["step"], r["grad_norm"]) for r in steps],
        "validation/reward@20": [(r["step"], r["metrics"]["reward@20"]) for r in validations],
        "validation/all/hr@5": [(r["step"], r["metrics"]["all"]["hr@5"]) for r in validations],
        "validation/q/mean_q": [(r["step"], r["metrics"]["q"]["mean_q"]) for r in validations],
    }.items():
        assert [step for step, _ in found[tag]] == [step for step, _ in expected]
        assert [value for _, value in found[tag]] == pytest.approx([value for _, value in expected])


def test_tensorboard_forgets_a_stretch_that_was_lost(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def kill(record: dict[str, Any]) -> None:
        if record["step"] == 11:
            raise Killed

    with pytest.raises(Killed):
        recommender("sasrec").fit(shop(), tmp_path / "run", observe=kill)
    recommender("sasrec").fit(shop(), tmp_path / "run", resume=True)
    assert [step for step, _ in curves(tmp_path / "run" / "tensorboard")["loss/L_CE"]] == list(range(1, 19))


@pytest.mark.parametrize("part", ["compat.proto", "summary.writer.record_writer"])
def test_training_needs_no_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    monkeypatch.setitem(sys.modules, f"tensorboard.{part}", None)
    train(job_of("sasrec", shop(), tmp_path, epochs=1))
    assert read_log(tmp_path / "log.jsonl")
    assert not (tmp_path / "tensorboard").exists()


def test_a_full_disk_is_told_without_a_traceback(
    shop_data: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Be it TensorBoard's file: no thread of its own fails beside the message."""
    writer = pytest.importorskip("tensorboard.summary.writer.record_writer")
    written = []

    def write(self: Any, data: bytes) -> None:
        written.append(data)
        if len(written) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writer.RecordWriter, "write", write)
    told = refused("train", shop_data, "--method", "sasrec", "--out", tmp_path / "run", "--set", "n_factors=8")
    assert told.splitlines()[-1] == (
        "No space left on the disk; what was being written is incomplete. Free some and try again."
    )
    assert "Traceback" not in told


# The bar ------------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_the_bar_keeps_its_times_however_long_the_terms_are(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", str(columns))
    terms = {"Q L_CE": 5.2345, "ω L_Q": 0.03123, "L_CO as released": 3.1234, "α L_CQL as released": 123.4}
    record = {"kind": "step", "step": 123_456, "events": 250, "seconds": 3.0, "terms": terms, "events_per_second": 1e4}
    with progress.training_progress(1000, None) as observe:
        observe(record)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue()).splitlines()
    assert max(map(len, shown)) <= columns
    (bar,) = {line.rstrip() for line in shown if " 25 %" in line}
    assert re.search(r"25 % .* 0:00:\d\d +(-:--:--|0:00:\d\d)$", bar)
    assert any(line.startswith("step 123,456  10,000 events/s  Q L_CE 5.23") for line in shown)
    assert "123.4" in terminal.getvalue(), "no term is cut off"
