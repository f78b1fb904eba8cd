"""What makes a frozen dataclass a settings section: strict, keyword-only, and closed to unknown keys.

The constraints stand in the annotations (``annotated_types``), so the core needs no validation library; ``config.py``
lets pydantic read the same annotations.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, TypeVar, dataclass_transform

from annotated_types import Ge, Gt, Le, Lt

T = TypeVar("T")

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Lt(1)]
"""A probability that may be 0 but not 1: a dropout rate, a discount."""
Rate = Annotated[float, Gt(0), Le(1)]
Count = Annotated[int, Ge(1)]
Whole = Annotated[int, Ge(0)]


@dataclass_transform(frozen_default=True, kw_only_default=True)
def settings(section: type[T]) -> type[T]:
    """Frozen, keyword-only dataclass whose unknown keys and loose types ``config.py`` refuses."""
    section.__pydantic_config__ = {"extra": "forbid", "strict": True, "allow_inf_nan": False}  # type: ignore[attr-defined]
    return dataclass(frozen=True, kw_only=True)(section)


RETIRED = frozenset({"backbone.feed_forward"})
"""Settings that no longer exist because they changed no result; what was written down before still names them."""


def to_dict(sections: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings as plain data, as they come back from JSON: a tuple is a list."""
    return json.loads(json.dumps({name: asdict(section) for name, section in sections.items()}))
