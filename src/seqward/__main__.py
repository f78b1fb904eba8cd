"""The command `seqward`, and `python -m seqward`."""

from __future__ import annotations

import sys


def main() -> int:
    """Exit status of the command; Ctrl-C ends it quietly while it is still being loaded, too."""
    try:
        from seqward.cli import main as run

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
