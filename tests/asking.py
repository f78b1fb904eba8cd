"""Asking a recommender of 12 items: what it lists, and how it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from seqward.errors import SeqwardError

N = 12
IDS = [f"i{n}" for n in range(N)]


def refusal(ask: Any, *args: Any, **options: Any) -> str:
    """The message with which a call is refused."""
    with pytest.raises(SeqwardError) as error:
        ask(*args, **options)
    assert error.value.exit_status == 2
    assert 1 <= len(str(error.value).splitlines()) <= 3
    return str(error.value)


def listed(frame: Any, owner: Any, column: str = "session_id") -> list[str]:
    """The items listed for one owner, by rank."""
    rows = frame.filter(frame[column] == owner)
    assert rows["rank"].to_list() == list(range(1, len(rows) + 1))
    return rows["item_id"].to_list()
