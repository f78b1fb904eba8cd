"""Pictures for a page: small inline SVG in the page's own colours, so that light and dark are one picture.

A library of pictures would write each in a tenth of a second and 15 kB; a report has a hundred of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

POINTS = 120
"""Points of a line; longer ones are drawn as means of stretches, with the range of each as a band."""
COLOURS = 6
"""The page has variables ``--line-0`` and on, ``--ink`` and ``--grid``."""
STYLE = """
svg{width:100%;height:auto;font:10.5px system-ui,sans-serif}svg path{fill:none}svg text{fill:var(--ink)}
svg .grid{stroke:var(--grid);stroke-width:.8}svg .axis{stroke:var(--ink)}svg .mark{stroke:var(--ink);stroke-width:.9}
svg .line{stroke:var(--own);stroke-width:1.7;stroke-linejoin:round}
svg .band{fill:var(--own);opacity:.2}svg circle{fill:var(--own)}
svg .middle{text-anchor:middle}svg .end{text-anchor:end}
"""
"""What the pictures need of the page's style sheet."""
DASHES = {"--": "6 3", ":": "1.5 3"}

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Line:
    """One curve, at least one point."""

    name: str
    x: Floats
    y: Floats


@dataclass(frozen=True)
class Dot:
    """A figure and its interval."""

    value: float
    interval: tuple[float, float] | None


class Scale(NamedTuple):
    """From data between ``low`` and ``high`` to pixels between ``start`` and ``stop``."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.stop - self.start), 1)


def colour(number: int) -> str:
    """The colour of the line of that number."""
    return f"var(--line-{number % COLOURS})"


def curves(lines: Sequence[Line], x_name: str, label: str, marks: Mapping[float, str]) -> str:
    """Curves over a common axis that begins at 0.

    Args:
        label: what a screen reader says.
        marks: vertical lines by place, "--" dashed or ":" dotted.
    """
    width, height = 340, 200
    thin = [thinned(line) for line in lines]
    x = Scale(*_range([0.0, *(line.x.max() for line in lines), *marks]), 46, width - 12)
    y = Scale(*_whole(*_range([end for line in lines for end in (line.y.min(), line.y.max())])), height - 34, 8)
    parts = [_x_axis(x, x_name, 8, height - 34)]
    for value in ticks(y.low, y.high):
        parts.append(f'<path class="grid" d="M{x.start} {y(value)}H{x.stop}"/>')
        parts.append(_text(x.start - 5, y(value) + 3.5, short(value), "end"))
    for place, style in marks.items():
        parts.append(f'<path class="mark" stroke-dasharray="{DASHES[style]}" d="M{x(place)} {y.start}V{y.stop}"/>')
    for number, (at, mean, low, high) in enumerate(thin):
        there = [x(value) for value in at]
        drawn = [f'<path class="line" d="{_path(there, [y(value) for value in mean])}"/>']
        if (low < high).any():
            around = _path(there + there[::-1], [y(value) for value in (*low, *high[::-1])])
            drawn.insert(0, f'<path class="band" d="{around}Z"/>')
        if len(at) == 1:
            drawn.append(f'<circle cx="{there[0]}" cy="{y(mean[0])}" r="3"/>')
        parts.append(_coloured(number, drawn))
    return _svg(width, height, label, parts)


def dots(groups: Sequence[str], rows: Mapping[str, Sequence[Dot | None]], x_name: str, label: str) -> str:
    """Figures with their intervals: a line of the picture for each of ``groups``, a colour for each of ``rows``."""
    width, step = 340, 14 * len(rows) + 12
    height = 8 + step * len(groups) + 34
    found = [dot for values in rows.values() for dot in values if dot is not None]
    ends = [end for dot in found for end in (dot.value, *(dot.interval or ()))]
    x = Scale(*_range([0.0, *ends]), 82, width - 12)
    parts = [_x_axis(x, x_name, 8, height - 34)]
    for place, group in enumerate(groups):
        parts.append(_text(x.start - 8, 8 + step * (place + 0.5) + 3.5, group, "end"))
    for number, values in enumerate(rows.values()):
        drawn = []
        for place, dot in enumerate(values):
            if dot is None:
                continue
            height_of = 8 + step * place + 6 + 14 * (number + 0.5)
            if dot.interval is not None:
                drawn.append(f'<path class="line" d="M{x(dot.interval[0])} {height_of}H{x(dot.interval[1])}"/>')
            drawn.append(f'<circle cx="{x(dot.value)}" cy="{height_of}" r="3.5"/>')
        parts.append(_coloured(number, drawn))
    return _svg(width, height, label, parts)


def ticks(low: float, high: float) -> list[float]:
    """Round numbers between low and high, three to seven of them."""
    step = _step(low, high)
    first, last = int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9))
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def _step(low: float, high: float) -> float:
    rough = (high - low) / 5
    size = 10.0 ** np.floor(np.log10(rough))
    return float(size * next(factor for factor in (1, 2, 5, 10) if factor * size >= rough * (1 - 1e-9)))


def _whole(low: float, high: float) -> tuple[float, float]:
    """The range widened to whole steps."""
    step = _step(low, high)
    return float(np.floor(low / step + 1e-9) * step), float(np.ceil(high / step - 1e-9) * step)


def short(value: float) -> str:
    """1500000 -> 1.5M"""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def thinned(line: Line) -> tuple[Floats, Floats, Floats, Floats]:
    """x, mean, lowest and highest y of at most POINTS stretches of equal length."""
    starts = np.unique(np.linspace(0, len(line.x), POINTS, endpoint=False).astype(int))
    counts = np.diff([*starts, len(line.x)])
    x, mean = np.add.reduceat(line.x, starts) / counts, np.add.reduceat(line.y, starts) / counts
    return x, mean, np.minimum.reduceat(line.y, starts), np.maximum.reduceat(line.y, starts)


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = float(min(values)), float(max(values))
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9):
        room = 0.05 * abs(low) or 1.0
        return low - room, high + room
    return low, high


def _x_axis(x: Scale, name: str, top: float, bottom: float) -> str:
    parts = [f'<path class="axis" d="M{x.start} {bottom}H{x.stop}"/>', _text((x.start + x.stop) / 2, bottom + 29, name)]
    for value in ticks(x.low, x.high):
        parts.append(f'<path class="grid" d="M{x(value)} {top}V{bottom}"/>')
        parts.append(_text(x(value), bottom + 14, short(value)))
    return "".join(parts)


def _text(x: float, y: float, content: str, anchor: str = "middle") -> str:
    return f'<text class="{anchor}" x="{x:g}" y="{y:g}">{escape(content)}</text>'


def _path(x: Sequence[float], y: Sequence[float]) -> str:
    return "M" + "L".join(f"{a:g} {b:g}" for a, b in zip(x, y, strict=True))


def _coloured(number: int, parts: Sequence[str]) -> str:
    return f'<g style="--own:{colour(number)}">{"".join(parts)}</g>'


def _svg(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
