"""What a user can mend: every such failure is a SeqwardError with a message of one to three lines.

The command line prints the message on standard error and exits with ``exit_status``; no traceback is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from math import inf, isfinite
from numbers import Integral, Real

STOPPED = "training has diverged and was stopped. Begin again with a lower train.lr, or with train.clip_norm."
"""Said where a training ends because something is not finite."""


class SeqwardError(Exception):
    """Bad input or a state that the user can change. The message says what was expected, what came, what to do."""

    exit_status = 2


class Finding(SeqwardError):
    """The program worked and found something wrong with the run itself, such as a loss that is not a number."""

    exit_status = 1


def check_whole(name: str, value: object, least: int) -> None:
    """Refuse what is no whole number of at least ``least``.

    Raises:
        SeqwardError: it is not; names it.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise SeqwardError(f"{name} must be a whole number of at least {least}; got {value!r}.")


def check_finite(name: str, value: object, least: float = -inf) -> None:
    """Refuse what is no finite number of at least ``least``.

    Raises:
        SeqwardError: it is not; names it.
    """
    if not isinstance(value, Real) or not isfinite(value) or value < least:
        raise SeqwardError(
            f"{name} must be a finite number{f' of at least {least:g}' * (least > -inf)}; got {value!r}."
        )


def did_you_mean(word: str, known: Iterable[str], most: int = 1) -> str:
    """`` Did you mean 'x'?`` when a known word is close to ``word``, whatever their case, else an empty string.

    Args:
        most: so many of the closest, at most.
    """
    known = {name.lower(): name for name in known}
    return one_of([known[close] for close in get_close_matches(word.lower(), known, n=most, cutoff=0.6)])


def one_of(names: Sequence[str]) -> str:
    """`` Did you mean 'x', 'y' or 'z'?``, or nothing where there is none."""
    quoted = [repr(name) for name in names]
    listed = " or ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)
    return f" Did you mean {listed}?" if names else ""
