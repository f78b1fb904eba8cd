"""`python -m seqward`, which is the command `seqward`."""

import sys

from seqward.cli import main

if __name__ == "__main__":
    sys.exit(main())
