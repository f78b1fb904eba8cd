"""Methods without a parameter to learn, which every table carries."""

from __future__ import annotations

from seqward.baselines import LastItems, Popularity
from seqward.methods.registry import method


@method("last-items", "baseline", source="the zero-parameter baseline of session data with repeats")
def last_items(n_items: int) -> LastItems:
    """The distinct items of the history, most recent first; nothing else is a candidate."""
    return LastItems(n_items)


@method("popularity", "baseline", source="the zero-parameter baseline")
def popularity(n_items: int) -> Popularity:
    """Items by their number of training events, the same for everybody."""
    return Popularity(n_items)
