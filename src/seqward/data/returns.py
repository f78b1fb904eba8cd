"""What follows an event in its session: the return that a critic is to learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def discounted_returns(reward: NDArray[Any], offsets: NDArray[np.int64], gamma: float) -> NDArray[np.float64]:
    """[events] ``sum_h gamma^h reward[t + h]`` to the end of each session.

    By doubling the reach: log2(longest session) passes over the events.

    Args:
        reward: [events]
        offsets: [sessions + 1], session s is ``offsets[s]:offsets[s + 1]``.
    """
    lengths = np.diff(offsets)
    left = np.repeat(offsets[1:], lengths) - np.arange(len(reward))
    total = reward.astype(np.float64)
    reach, longest = 1, int(lengths.max(initial=0))
    while reach < longest:
        ahead = np.flatnonzero(left > reach)
        total[ahead] += gamma**reach * total[ahead + reach]
        reach *= 2
    return total
