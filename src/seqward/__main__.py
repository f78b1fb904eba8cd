"""`python -m seqward`, which is the command `seqward`."""

from seqward.cli import main

main()
