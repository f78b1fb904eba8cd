"""Where the real data lies that some tests read; they skip where it is missing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("SEQWARD_DATA", Path(__file__).parents[2] / "shared" / "data"))


def shared_data(name: str) -> Path:
    """The folder ``name``; skips the test where it is missing."""
    folder = ROOT / name
    if not folder.exists():
        pytest.skip(f"{folder} is missing: point SEQWARD_DATA at the folder with the real data")
    return folder
