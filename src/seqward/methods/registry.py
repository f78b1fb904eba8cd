"""The table of methods: a name, its family, its default settings, where it is from, and the function that builds it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from seqward.errors import SeqwardError, did_you_mean, one_of
from seqward.stability.settings import GuardSettings

Family = Literal[
    "baseline", "neighbours", "supervised", "contrastive", "value-based", "policy-based", "control", "as released"
]
Need = Literal["goal", "rewards"]
"""What training events must have, see ``needs``: a goal among them; rewards that differ."""
ALIASES = {"sac": "ac"}
"""A word that papers have for one of a method's name."""


@dataclass(frozen=True)
class Entry:
    """A method as data. Its function's docstring says what it is, and then what differs from the source."""

    name: str
    family: Family
    build: Callable[..., Any]
    """The settings sections to a ``Method``; where it is not trained, n_items and they to a scorer with ``fit``."""
    sections: Mapping[str, Any]
    """Default settings by section: "backbone", "objective", "train" where it is trained; "neighbours" or none else."""
    source: str
    needs: tuple[Need, ...] = ()

    @property
    def trained(self) -> bool:
        """Whether it has phases of training, rather than one reading of the data."""
        return "train" in self.sections

    @property
    def all_sections(self) -> dict[str, Any]:
        """All that may be set: the method's own sections, and the guard's where it is trained."""
        return {**self.sections, **({"guard": GuardSettings()} if self.trained else {})}

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return (self.build.__doc__ or "").strip().splitlines()[0]

    @property
    def details(self) -> str:
        """The rest of it: what differs from the source, and what is from memory."""
        return (inspect.getdoc(self.build) or "").partition("\n")[2].strip()


METHODS: dict[str, Entry] = {}


def method(
    name: str, family: Family, source: str, needs: tuple[Need, ...] = (), **sections: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function of settings sections under the method's name, which no other has."""

    def register(build: Callable[..., Any]) -> Callable[..., Any]:
        assert name not in METHODS, f"two methods are called {name}"
        METHODS[name] = Entry(name, family, build, sections, source, needs)
        return build

    return register


def method_named(name: str) -> Entry:
    """The entry of a method.

    Raises:
        SeqwardError: no method has that name.
    """
    if name not in METHODS:
        raise SeqwardError(f"unknown method {name!r}.{_nearest(name)} See `seqward methods`.")
    return METHODS[name]


def _nearest(name: str) -> str:
    """The methods of the fewest words among those that hold every word of a name, or else those spelled alike."""
    words = {ALIASES.get(word, word) for word in name.lower().split("-")}
    holding = [known for known in METHODS if words <= set(known.split("-"))]
    fewest = min((len(known.split("-")) for known in holding), default=0)
    return one_of([k for k in holding if len(k.split("-")) == fewest]) or did_you_mean(name, METHODS, most=3)
