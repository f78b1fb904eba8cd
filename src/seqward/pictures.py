"""Pictures for a page: inline SVG by matplotlib in the page's own colours, so that light and dark are one picture."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray

POINTS = 120
"""Points of a line; longer ones are drawn as means of stretches, with the range of each as a band."""
WIDTH, RIGHT = 340, 18
"""Of a picture, and of the margin at its right; on a phone its units are about the page's pixels."""
LEFT, HEIGHT, FLAG = 62, 124, 15
"""Room for the figures beside curves, height of their axes, and of each of two rows above for the names of marks."""
PALETTE = {
    "paper": ("#ffffff", "#16181b"),
    "ink": ("#222222", "#dddddd"),
    "grid": ("#e4e4e4", "#33373c"),
    "line-0": ("#0072b2", "#56b4e9"),
    "line-1": ("#fc4a0e", "#e6904e"),
    "line-2": ("#1b1b3a", "#bfffff"),
    "line-3": ("#00a382", "#1c8a6c"),
    "line-4": ("#9f3262", "#b455d6"),
    "line-5": ("#5e3108", "#ffd74a"),
}
"""The page's variables on light and on dark. Lines have a contrast of 3 to 1 and are told apart by the colour-blind."""
PAPER, INK, GRID, *COLOURS = (light for light, _ in PALETTE.values())
DASHES = ((), (7, 2), (2, 2), (9, 2, 2, 2))
"""They go along with the colours, so that a curve is seen that lies on another."""
LOOK: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "text.parse_math": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    "grid.color": GRID,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    **dict.fromkeys(("axes.spines.left", "axes.spines.right", "axes.spines.top", "xtick.bottom", "ytick.left"), False),
    **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 0),
    **dict.fromkeys(("xtick.major.pad", "ytick.major.pad"), 5),
    "ytick.labelsize": 11,
    "axes.grid": True,
    "axes.xmargin": 0,
    "axes.formatter.limits": (-4, 6),
    "lines.linewidth": 1.7,
    "lines.scale_dashes": False,
}

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Line:
    """One curve, at least one point, and the lower and upper ends of its spread."""

    name: str
    x: Floats
    y: Floats
    band: tuple[Floats, Floats] | None = None


@dataclass(frozen=True)
class Dot:
    """A figure and its interval."""

    value: float
    interval: tuple[float, float] | None


def curves(lines: Sequence[Line], x_name: str, label: str, marks: Mapping[str, float], until: float) -> str:
    """Curves over an axis of whole numbers.

    Args:
        label: what a screen reader says; no two pictures of a page have the same.
        marks: places by name, shown as flags.
        until: where the axis ends; it begins at 0.
    """

    def draw(axes: Axes) -> None:
        for number, line in enumerate(map(thinned, lines)):
            colour = COLOURS[number % len(COLOURS)]
            alone = len(line.x) == 1
            if line.band is not None and alone:
                axes.vlines(line.x, *line.band, color=colour)
            elif line.band is not None:
                axes.fill_between(line.x, *line.band, color=colour, alpha=0.2, linewidth=1)
            axes.plot(line.x, line.y, color=colour, dashes=_dashes(number), marker="o" if alone else "", clip_on=False)
        for number, (name, place) in enumerate(marks.items()):
            _flag(axes, name, place, number % 2, "right" if place > until / 2 else "left")
        axes.set_xlim(0, until or 1)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.yaxis.get_offset_text().set_x(-LEFT / (WIDTH - LEFT - RIGHT))  # a power of ten, clear of the marks

    return _picture(draw, x_name, label, left=LEFT, top=8 + FLAG * (2 if len(marks) > 1 else 1), height=HEIGHT)


def _dashes(number: int) -> tuple[int, ...]:
    return DASHES[number % len(DASHES)]


def _flag(axes: Axes, name: str, place: float, row: int, side: Any) -> None:
    """A vertical line up to a row above the axes, with its name there, which hides the line of another mark."""
    end, gap = 1 + FLAG * (row + 1) / HEIGHT, 4 if side == "left" else -4
    over_axes = axes.get_xaxis_transform()
    axes.plot([place] * 2, [0, end], color=INK, linewidth=0.9, dashes=(3, 2), transform=over_axes, clip_on=False)
    box = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.5}
    axes.annotate(name, (place, end), (gap, -2), over_axes, "offset points", ha=side, va="top", fontsize=11, bbox=box)


def dots(groups: Sequence[str], rows: Mapping[str, Sequence[Dot | None]], x_name: str, label: str) -> str:
    """Figures with their intervals: a line of the picture for each of ``groups``, a colour for each of ``rows``."""

    def draw(axes: Axes) -> None:
        for number, values in enumerate(rows.values()):
            colour, shift = COLOURS[number % len(COLOURS)], 0.8 * ((number + 0.5) / len(rows) - 0.5)
            there = [(place + shift, dot) for place, dot in enumerate(values) if dot is not None]
            axes.plot([dot.value for _, dot in there], [y for y, _ in there], "o", color=colour, clip_on=False)
            for y, dot in there:
                if dot.interval is not None:
                    axes.plot(dot.interval, [y, y], color=colour)
        axes.set_yticks(range(len(groups)), groups)
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.set_xlim(min(0.0, axes.get_xlim()[0]))
        axes.grid(visible=False, axis="y")

    left = max(84, 7 * max(map(len, groups), default=0))
    return _picture(draw, x_name, label, left=left, top=8, height=(14 * len(rows) + 12) * len(groups))


def keys(names: Sequence[str], dashed: bool) -> str:
    """The legend as a part of the text, which wraps where the screen ends."""
    return "".join(
        f'<span class=key><svg viewBox="0 0 28 6" aria-hidden="true"><path d="M0 3H28" stroke="var(--line-'
        f'{number % len(COLOURS)})" stroke-dasharray="{" ".join(map(str, _dashes(number))) * dashed}"/></svg>'
        f"{escape(name)}</span> "
        for number, name in enumerate(names)
    )


def thinned(line: Line) -> Line:
    """The line with at most POINTS points: means of stretches of equal length, with the range of each as its band."""
    if len(line.x) <= POINTS:
        return line
    starts = np.linspace(0, len(line.x), POINTS, endpoint=False).astype(int)
    counts = np.diff([*starts, len(line.x)])
    low, high = line.band or (line.y, line.y)
    return Line(
        line.name,
        np.add.reduceat(line.x, starts) / counts,
        np.add.reduceat(line.y, starts) / counts,
        (np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)),
    )


def _picture(draw: Callable[[Axes], None], x_name: str, label: str, left: float, top: float, height: float) -> str:
    """One pair of axes of that height; what a user's own ``matplotlibrc`` says of looks is left aside."""
    whole = top + height + 36
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**LOOK, "svg.hashsalt": label})
        figure = Figure(figsize=(WIDTH / 72, whole / 72))
        axes = figure.add_axes((left / WIDTH, 36 / whole, (WIDTH - left - RIGHT) / WIDTH, height / whole))
        draw(axes)
        axes.set_xlabel(x_name)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return _inline(file.getvalue(), label)


def _inline(svg: str, label: str) -> str:
    """The file as a part of a page: named, in its colours and letters, and without what would reach beyond it."""
    svg = svg[svg.index("<svg") :].replace("<svg", '<svg role="img"', 1)
    svg = svg.replace(">", f"><title>{escape(label)}</title>", 1)
    svg = re.sub(r"<defs>\s*<style.*?</defs>", "", svg, count=1, flags=re.DOTALL)  # it would style the whole page
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # the same in every picture
    svg = re.sub(r'(?<= d=")[^"]+', lambda path: re.sub(r"(\.\d)\d+", r"\1", path[0]), svg)
    for name, (light, _) in PALETTE.items():
        svg = svg.replace(light, f"var(--{name})")
    return svg.replace(f"'{LOOK['font.family']}'", "system-ui, sans-serif")


def _variables(scheme: int) -> str:
    return ":root{" + ";".join(f"--{name}:{colours[scheme]}" for name, colours in PALETTE.items()) + "}"


STYLE = f"""
{_variables(0)}
@media (prefers-color-scheme:dark){{{_variables(1)}}}
figure{{margin:0;display:flex;flex-direction:column}}figcaption{{margin-bottom:auto}}
figure>svg{{width:100%;height:auto}}
svg *{{stroke-linejoin:round}}
.key{{white-space:nowrap;margin-right:.5em;font-size:.85rem}}
.key svg{{width:1.8em;height:.5em;margin-right:.3em;vertical-align:middle;fill:none;stroke-width:3}}
"""
"""What the pictures need of the page's style sheet."""
