"""How long an import takes, and what memory the process then has, each time in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any

from peers.contestants.protocol import Meter, answer, asked

PEAK = "from pathlib import Path; print(*[l for l in Path('/proc/self/status').read_text().splitlines() if 'HWM' in l])"


def children() -> float:
    """Processor seconds of the processes that were started, instead of this one's."""
    found = getrusage(RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def main() -> None:
    ask: Any = asked()
    meter, peaks = Meter(ask, clock=children), []

    def one() -> float:
        peaks.append(int(printed(f"{ask.options.code}\n{PEAK}").split()[-2]) / 1024)
        return 1.0

    meter.run(one)
    torch = printed(f"{ask.options.code}\nimport sys; print('torch' in sys.modules)").split()[-1] == "True"
    answer(meter, note="loads torch" if torch else "without torch", peak_mb=max(peaks))


def printed(code: str) -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
