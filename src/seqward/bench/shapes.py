"""The shapes of what a study says. What has another one is told and left out, so that the rest is checked, too."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from annotated_types import Gt, Len, Predicate
from pydantic import TypeAdapter, ValidationError

from seqward.errors import did_you_mean
from seqward.metrics import GROUPS
from seqward.settings import Count, Whole

LONGEST = 60
"""Letters of a wrong value that are shown."""


def _distinct(values: list[Any]) -> bool:
    return len(set(map(str, values))) == len(values)


Named = dict[str, Any]
Some = Annotated[Named, Len(1)]
Labels = list[str]
Distinct = Annotated[list[Any], Len(1), Predicate(_distinct)]
Seeds = Annotated[list[Whole], Len(1), Predicate(_distinct)]
Pair = Annotated[list[float], Len(2, 2), Predicate(lambda pair: 0 <= pair[0] <= 1 and 0 <= pair[1] < float("inf"))]
Above0 = Annotated[float, Gt(0), Predicate(lambda number: number < float("inf"))]


class Shape(NamedTuple):
    """What a value is, and in words."""

    kind: Any
    expected: str

    def fits(self, value: Any) -> bool:
        """Whether the value is of this shape; nothing is turned into it."""
        try:
            TypeAdapter(self.kind).validate_python(value, strict=True)
        except ValidationError:
            return False
        return True


Shapes = Mapping[str, Shape]

SETTINGS = Shape(Named, "settings such as {train.epochs: 30}")
SEEDS = Shape(Seeds, "a list of different whole numbers from 0 on, such as [0, 1, 2]")
LABELS = Shape(Labels, "a list of labels of methods, such as [sasrec]")
NAME = Shape(str, "a name")
PATH = Shape(str, "a path")
FLAG = Shape(bool, "true or false")
COUNT = Shape(Count, "a whole number from 1 on")
WHOLE = Shape(Whole, "a whole number from 0 on")
NUMBER = Shape(float, "a number")
GROUP = Shape(Literal[GROUPS], f"one of {', '.join(GROUPS)}")

STUDY: Shapes = {
    "data": Shape(Some, "names of data sets, with a recipe below each"),
    "methods": Shape(Some, "labels of methods, such as {sasrec: {}}"),
    "seeds": SEEDS,
    "settings": SETTINGS,
    "max_minutes": Shape(Above0, "a number of minutes above 0"),
    "evaluate": Shape(Named, "options such as {exclude_history: true}"),
    "published": Shape(Named | list[Named], "a system's figures or a list of them"),
    "verdict": Shape(Named, "the keys supervised, rl and controls"),
}
METHOD: Shapes = {
    "method": Shape(str, "the name of a method"),
    "seeds": SEEDS,
    "sweep": Shape(
        Annotated[dict[str, Distinct | str | float | bool], Len(1)],
        "different values by setting, such as {objective.gamma: [0, 0.5]}",
    ),
}
"""What a method's entry may hold beside settings."""
EVALUATE: Shapes = {
    "ks": Shape(Annotated[list[Count], Len(1), Predicate(_distinct)], "a list of cut-offs, such as [5, 10, 20]"),
    "first_events": FLAG,
    "exclude_history": FLAG,
    "bootstrap": COUNT,
    "seed": WHOLE,
    "sample": COUNT,
}
VERDICT: Shapes = {"supervised": LABELS, "rl": LABELS, "controls": LABELS, "metric": Shape(str, "the name of a metric")}
PUBLISHED: Shapes = {
    "source": NAME,
    "system": NAME,
    "data": NAME,
    "method": Shape(str, "the label of a method"),
    "group": GROUP,
    "figures": Shape(
        dict[str, Pair], "a value and a tolerance by metric, shares of 1 such as {hr@10: [0.3152, 0.012]}"
    ),
}
PUBLISHED_TABLE: Shapes = {
    "table": PATH,
    "group": GROUP,
    "within": Shape(Above0, "a share of each figure, such as 0.05"),
}
RECIPE: Shapes = {
    "path": PATH,
    "simulate": Shape(Named, "sizes and settings of a shop, such as {items: 5000}"),
    "prepared": PATH,
    "source": Shape(str, "the name of a source"),
    "columns": Shape(dict[str, str | None], "names of columns, such as {session_id: s}"),
    "separator": Shape(str, "a character"),
    "session_gap_minutes": Shape(Above0, "a number of minutes above 0"),
    "time_unit": Shape(str, "a unit such as ms"),
    "rewards": Shape(dict[str, float], "a number by event type, such as {view: 0.2, buy: 1.0}"),
    "goal": Shape(str, "an event type, or a condition such as reward>=4"),
    "prepare": Shape(Named, "settings such as {split: random}"),
}


def hint(word: str, known: Collection[str]) -> str:
    """The known word that was probably meant, or all of them."""
    return did_you_mean(word, known) or f" Known: {', '.join(known)}."


def sound(said: Named, shapes: Shapes, where: str, wrong: list[str], needed: Sequence[str] = ()) -> Named:
    """What of ``said`` has its shape, without what is empty; what is wrong goes to ``wrong``, a line each.

    Args:
        where: before each line.
        needed: keys that have to be there.
    """
    wrong += [f"{where}unknown key {key!r}.{hint(str(key), shapes)}" for key in said if key not in shapes]
    given = {key: value for key, value in said.items() if key in shapes and value is not None}
    if missing := [key for key in needed if key not in given]:
        wrong.append(f"{where}{', '.join(missing)} is missing.")
    fitting = {key: value for key, value in given.items() if shapes[key].fits(value)}
    wrong += [where + not_of_shape(key, shapes[key], given[key]) for key in given if key not in fitting]
    return fitting


def sound_methods(methods: Named, wrong: list[str]) -> tuple[Named, set[str]]:
    """What of each method's entry has its shape, and the labels of those of which something has not."""
    sound_ones, unsound = {}, set()
    for label, own in methods.items():
        lines: list[str] = []
        sound_ones[label] = _sound_method(label, own, lines)
        wrong += lines
        unsound |= {label} if lines else set()
    return sound_ones, unsound


def _sound_method(label: str, own: Any, wrong: list[str]) -> Named:
    if own is None:
        return {}
    if not SETTINGS.fits(own):
        wrong.append(not_of_shape(f"methods {label}", SETTINGS, own))
        return {}
    special = {key: value for key, value in own.items() if key in METHOD}
    rest = {key: value for key, value in own.items() if key not in METHOD}
    return {**sound(special, METHOD, f"methods {label}: ", wrong), **rest}


def not_of_shape(name: str, shape: Shape, value: Any) -> str:
    """What is said of a value of another shape."""
    got = repr(value)
    return f"{name}: expected {shape.expected}, got {got if len(got) <= LONGEST else got[:LONGEST] + '...'}."
