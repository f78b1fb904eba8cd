"""What the command line prints where no terminal is, taken apart."""

from __future__ import annotations

import csv
import io


def table(lines: list[str]) -> list[list[str]]:
    """Rows of a tab-separated table."""
    return list(csv.reader(io.StringIO("\n".join(lines)), dialect="excel-tab"))
