"""Curves and timelines as small inline SVG, in the look of ``pictures``.

A page of a study has some 200 of them. By matplotlib's renderer each took 50 ms and 13 KB (5 lines of 30 points); of
it only the choice of ticks is used here, which leaves about 1 ms and 4 KB.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np
from matplotlib.ticker import EngFormatter, MaxNLocator

from seqward.pictures import COLOURS, DASHES, HEIGHT, LEFT, RIGHT, WIDTH, Floats, Line, thinned

TOP, BOTTOM = 8, 36
ENGINEERING = EngFormatter(sep="")
STATES = {"healthy": "line-3", "warning": "line-1", "diverged": "line-4"}
ROW, STRIP = 34, 12
"""Height of a run in a timeline, and of its strip below its name."""


def curves(
    lines: Sequence[Line],
    x_name: str,
    label: str,
    until: float,
    ticks: Mapping[float, str] | None = None,
    failed: Sequence[tuple[int, Line]] = (),
) -> str:
    """Curves over an axis from 0, each with its spread as a band.

    Args:
        lines: one without a point keeps its colour for itself; at least one here or of ``failed`` has some.
        label: what a screen reader says.
        until: where the axis ends.
        ticks: names of places on the axis, instead of numbers.
        failed: each with the number of the line whose colour it has; thin and dashed, a cross where it ends.
    """
    lines = [thinned(line) for line in lines]
    drawn = {number: line for number, line in enumerate(lines) if len(line.x)}
    broken = [(number, thinned(line)) for number, line in failed if len(line.x)]
    ends = [end for line in drawn.values() for end in (line.y, *(line.band or ()))] + [line.y for _, line in broken]
    low, high = _range(np.concatenate(ends))
    start, until = (0.0, until or 1.0) if ticks is None else (-0.3, until + 0.3)

    def x(values: Floats) -> Floats:
        return LEFT + (values - start) / (until - start) * (WIDTH - LEFT - RIGHT)

    def y(values: Floats) -> Floats:
        return TOP + HEIGHT * (high - values) / (high - low)

    named = ticks or {v: ENGINEERING(v) for v in _ticks(0.0, until, whole=True)}
    parts = [*_axes({float(x(np.array(v))): name for v, name in named.items()}, _levels(low, high, y), x_name)]
    for number, line in drawn.items():
        parts += _curve(x(line.x), y(line.y), None if line.band is None else (y(line.band[0]), y(line.band[1])), number)
    for number, line in broken:
        parts.append(_broken_off(x(line.x), y(line.y), number))
    return _svg(parts, label, TOP + HEIGHT + BOTTOM)


def _broken_off(x: Floats, y: Floats, number: int) -> str:
    end, cross = f"{x[-1]:.1f} {y[-1]:.1f}", "m-3 -3l6 6m0 -6l-6 6"
    return (
        f'<path class="line broken" stroke="var(--line-{number % len(COLOURS)})" '
        f'd="M{_points(zip(x, y, strict=True))}"/><path class=line stroke="var(--ink)" d="M{end}{cross}"/>'
    )


def _range(values: Floats) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    room = 0.05 * (high - low) or 0.05 * abs(high) or 0.5
    return low - room, high + room


def _ticks(low: float, high: float, whole: bool = False) -> list[float]:
    found = MaxNLocator(5, integer=whole, steps=[1, 2, 5, 10]).tick_values(low, high)
    return [float(value) for value in found if low <= value <= high]


def _levels(low: float, high: float, y: object) -> dict[float, str]:
    values = _ticks(low, high)
    largest = max((abs(value) for value in values), default=0.0)
    return {float(y(np.array(v))): ENGINEERING(v) if largest >= 1000 else f"{v:.6g}" for v in values}  # type: ignore[operator]


def _axes(x_ticks: Mapping[float, str], y_ticks: Mapping[float, str], x_name: str) -> Iterable[str]:
    bottom = TOP + HEIGHT
    grid = [f"M{x:.1f} {TOP}V{bottom}" for x in x_ticks] + [f"M{LEFT} {y:.1f}H{WIDTH - RIGHT}" for y in y_ticks]
    yield f'<path class=grid d="{"".join(grid)}"/>'
    yield from (f'<text x="{x:.1f}" y="{bottom + 15}" class=mid>{escape(name)}</text>' for x, name in x_ticks.items())
    yield from (f'<text x="{LEFT - 5}" y="{y + 4:.1f}" class=end>{escape(name)}</text>' for y, name in y_ticks.items())
    yield f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{bottom + 31}" class=mid>{escape(x_name)}</text>'


def _curve(x: Floats, y: Floats, band: tuple[Floats, Floats] | None, number: int) -> Iterable[str]:
    colour = f"var(--line-{number % len(COLOURS)})"
    if band is not None and len(x) > 1:
        around = [*zip(x, band[0], strict=True), *zip(x[::-1], band[1][::-1], strict=True)]
        yield f'<path class=band fill="{colour}" d="M{_points(around)}Z"/>'
    elif band is not None:
        yield f'<path class=line stroke="{colour}" d="M{_points([(x[0], band[0][0]), (x[0], band[1][0])])}"/>'
    dashes = " ".join(map(str, DASHES[number % len(DASHES)]))
    if len(x) == 1:
        yield f'<circle fill="{colour}" cx="{x[0]:.1f}" cy="{y[0]:.1f}" r="3"/>'
    else:
        yield (
            f'<path class=line stroke="{colour}"{f" stroke-dasharray={chr(34)}{dashes}{chr(34)}" if dashes else ""} '
            f'd="M{_points(zip(x, y, strict=True))}"/>'
        )


def _points(of: Iterable[tuple[float, float]]) -> str:
    return "L".join(f"{x:.1f} {y:.1f}" for x, y in of)


def timeline(
    runs: Mapping[str, Sequence[tuple[float, str]]],
    ends: Mapping[str, float],
    label: str,
    ticks: Mapping[str, Sequence[tuple[float, str]]] | None = None,
) -> str:
    """A strip a run: from each place on, the state it was in; places in steps.

    Args:
        ticks: by run, places across its strip and what happened there.
    """
    until = max(ends.values(), default=0.0) or 1.0

    def x(value: float) -> float:
        return 8 + value / until * (WIDTH - 16)

    parts = []
    for number, (name, states) in enumerate(runs.items()):
        top = TOP + number * ROW
        parts.append(f'<text x="8" y="{top + 12}">{escape(name)}</text>')
        places = [*(place for place, _ in states), ends[name]]
        for (place, state), after in zip(states, places[1:], strict=True):
            colour = STATES.get(state, "ink")
            width = max(x(after) - x(place), 2.0)
            parts.append(
                f'<rect x="{x(place):.1f}" y="{top + 16}" width="{width:.1f}" height="{STRIP}" '
                f'fill="var(--{colour})"><title>{escape(name)}: {escape(state)} from step {place:,.0f}</title></rect>'
            )
        for place, said in (ticks or {}).get(name, ()):
            parts.append(
                f'<path class=tick d="M{x(place):.1f} {top + 14}v{STRIP + 4}">'
                f"<title>{escape(name)}, step {place:,.0f}: {escape(said)}</title></path>"
            )
    height = TOP + len(runs) * ROW + BOTTOM
    for value in _ticks(0.0, until, whole=True):
        where = "mid" if 0.1 < value / until < 0.9 else "end" if value else ""
        parts.append(f'<text x="{x(value):.1f}" y="{height - 20}" class="{where}">{ENGINEERING(value)}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{height - 4}" class=mid>steps</text>')
    return _svg(parts, label, height)


def _svg(parts: Iterable[str], label: str, height: float) -> str:
    body = "".join(parts)
    return f'<svg role="img" class=plot viewBox="0 0 {WIDTH} {height}"><title>{escape(label)}</title>{body}</svg>'


STYLE = """
.plot text{font:11px system-ui,sans-serif;fill:var(--ink)}.plot .mid{text-anchor:middle}.plot .end{text-anchor:end}
.plot .grid{stroke:var(--grid);fill:none}.plot .line{fill:none;stroke-width:1.7}.plot .band{opacity:.2}
.plot .broken{stroke-width:1;stroke-dasharray:4 3}.plot .tick{stroke:var(--ink);stroke-width:2.5}
"""
"""What they need of the page's style sheet beside that of ``pictures``."""
