"""What an event is worth, and which events are the goal (the paper's purchase)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqward.errors import SeqwardError, did_you_mean

_CONDITION = re.compile(r"\s*reward\s*(>=|<=|==|>|<)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")
NO_TYPE = "event"
"""The type of every event of a log without a column of types."""
_COMPARE = {">=": np.greater_equal, "<=": np.less_equal, "==": np.equal, ">": np.greater, "<": np.less}


def rewards_of_types(rewards: Mapping[str, float] | None, counts: Mapping[str, int]) -> dict[str, float]:
    """Event type -> reward, for the types of a log with their counts; 1.0 where there is one type and no map.

    Raises:
        SeqwardError: a type has no reward, or a reward is no finite number.
    """
    if rewards is None and len(counts) == 1:
        return dict.fromkeys(counts, 1.0)
    given = rewards or {}
    if not isinstance(given, Mapping):
        raise SeqwardError(f"Expected rewards as a mapping such as {{'view': 0.2, 'buy': 1.0}}; got {given!r}.")
    for name, value in given.items():
        if not _is_finite(value):
            raise SeqwardError(f"The reward of event type {name!r} is {value!r}; expected a finite number.")
    without = [name for name in counts if name not in given]
    if without:
        there = ", ".join(f"{name} {count}" for name, count in counts.items())
        missing, near = ", ".join(map(repr, without)), did_you_mean(without[0], given)
        raise SeqwardError(
            f"No reward for event type {missing}.{near} Types of the log with their counts: {there}.\n"
            "Give each a value, rewards={'view': 0.2, 'buy': 1.0} or --reward view=0.2, or name a reward column."
        )
    return {name: float(given[name]) for name in counts}


def _is_finite(value: Any) -> bool:
    try:
        return abs(float(value)) <= float(np.finfo(np.float32).max)
    except (TypeError, ValueError, OverflowError):
        return False


def goals(
    goal: str | None, event_types: tuple[str, ...], event_type: NDArray[np.int16], reward: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """[events] True where an event is of the type ``goal`` or meets the condition ``goal``, such as ``reward>=4``.

    The bound is rounded to float32 as the rewards are, so that ``reward==0.2`` finds the rewards 0.2.

    Raises:
        SeqwardError: neither a type of the log nor a condition.
    """
    if goal is None:
        return np.zeros(len(reward), bool)
    if goal in event_types:
        return event_type == event_types.index(goal)
    if condition := _CONDITION.fullmatch(str(goal)):
        compare, bound = condition.groups()
        return _COMPARE[compare](reward, np.float32(bound))
    near = did_you_mean(str(goal), event_types)
    if tuple(event_types) == (NO_TYPE,):
        near = " Say which column holds the event types (--event-col)."
    raise SeqwardError(
        f"The goal {goal!r} is neither an event type of the log ({', '.join(event_types)}) nor a condition such as "
        f"'reward>=4' (one of >= <= > < ==).{near}"
    )
