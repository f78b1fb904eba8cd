"""A small shop, prepared, and two runs on it, made once by the command line.

Being here, this file also lets every test import its helpers (``reference``, ``shared_data``) by their plain names.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from seqward.cli import main

Command = Callable[..., list[str]]

if threading.current_thread() is threading.main_thread():
    # A shell has its jobs in the background ignore Ctrl-C; tests press it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shop_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """session_id, item_id, event_type (view, addtocart), timestamp: 300 sessions, 200 items."""
    file = tmp_path_factory.mktemp("shop") / "events.csv"
    assert main(f"simulate --out {file} --preset retailrocket --sessions 300 --items 200".split()) == 0
    return file


@pytest.fixture(scope="session")
def shop_data(shop_log: Path) -> Path:
    folder = shop_log.parent / "data"
    rewards = "--reward view=0.2 --reward addtocart=1 --goal addtocart"
    assert main(f"prepare {shop_log} --out {folder} {rewards}".split()) == 0
    return folder


@pytest.fixture(scope="session")
def popularity_run(shop_data: Path) -> Path:
    folder = shop_data.parent / "popularity"
    assert main(f"train {shop_data} --method popularity --out {folder}".split()) == 0
    return folder


@pytest.fixture(scope="session")
def ccql_run(shop_data: Path) -> Path:
    folder = shop_data.parent / "ccql"
    small = "--set n_factors=8 --set batch_size=64 --epochs 2 --device cpu"
    assert main(f"train {shop_data} --method sasrec-ccql --out {folder} {small}".split()) == 0
    return folder


@pytest.fixture
def seqward(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command line that must succeed and returns the lines of its standard output."""

    def run(*argv: object) -> list[str]:
        capsys.readouterr()
        status = main([str(word) for word in argv])
        out, err = capsys.readouterr()
        assert status == 0, err
        return out.splitlines()

    return run


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command line that must exit with 2 and nothing on standard output; returns its message, 1 to 3 lines."""

    def run(*argv: object) -> str:
        capsys.readouterr()
        status = main([str(word) for word in argv])
        out, err = capsys.readouterr()
        assert (status, out) == (2, "")
        assert 1 <= len(err.splitlines()) <= 3
        return err.strip()

    return run


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that look at other things: drawing takes seconds."""
    monkeypatch.setattr("seqward.report.write_report", lambda run, out, metrics=None: out)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """``said.messages``: what was logged."""
    caplog.set_level(logging.WARNING, "seqward")
    return caplog
