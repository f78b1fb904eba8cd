"""The page of a race: a picture of bars beside the machine's limits, tables, and in words what is compared.

One content in three forms: HTML for reading, Markdown for the repository, rows for a terminal; and the picture alone.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from peers import goals
from peers.figures import Spread, Standing, failures, machine_limits, scaling, standings
from peers.tasks import OURS, Shape, Task
from seqward.pictures import COLOURS, GRID, INK, LOOK, PAPER

HEADER = ("contestant", "a second", "spread", "ours is faster", "spread", "of the limit", "peak MB", "a lap, ms", "")
TITLE = "Seqward beside its peers"
SHOWN = ("train", "rank", "head", "ranks", "ccql", "serve")
"""Kinds of tasks in the picture."""
ROW, WIDTH, HEAD, FOOT, LEFT, RIGHT = 17, 440, 46, 40, 150, 8
"""Of the picture, in its own units, which on a phone are about the page's pixels."""
OTHERS = "#8b929c"
WORDS = (
    "Every contestant runs in a process and a virtual environment of its own, on the same synthetic sessions: items by "
    "popularity (Zipf, 0.9), the lengths of RetailRocket's and MovieLens-1M's sessions. Contestants of a task take "
    "turns, so that each ratio is of neighbours in one round; figures are medians over the rounds, with the lowest and "
    "the highest.",
    "With one thread the clock is the processor's, which says the same on a busy machine; with two it is the one on "
    "the wall, which does not. The first lap warms up. Peak memory is that of the process from then on.",
    "A position is an item of a session to learn from that has an item before it, within the context; what else a "
    "contestant computes (pads, the first item) is not counted, ours included. Width 64, feed-forward 64, one head, "
    "dropout 0.1, Adam (ours, with sampled negatives: one whose steps are Adam's and that leaves rows alone which no "
    "step reads), fp32 weights, batches of 256 sessions (RecBole: 256 positions), item embeddings score.",
    "Models are not the same to the bit: RecBole's blocks are BERT's, RecTools' and the plain one's the original's, "
    "RePlay's its own. RecTools knows only the items of the last events that it keeps of each session. RePlay's own "
    "reading of data is left out, which flatters it. Nothing here is about quality: no model is trained to an end.",
    "A share of the limit is what the least arithmetic of the task takes at the machine's faster matrix product (2048 "
    "cubed, fp32 or bf16), or for one answer what reading the table once in 8 bits takes from memory; a table that "
    "stays in cache may beat that. The limits are measured in the same rounds.",
)

REACHED = "What was to be reached"
ABOUT_GOALS = (
    "By processor time of one thread, at the full shapes. The ratios were set on a processor that multiplies in bf16, "
    "where the catalogue's product runs at more than twice the rate of fp32."
)

Result = Mapping[str, Any]


def rows_of(found: Sequence[Standing]) -> list[list[Any]]:
    """The cells under HEADER."""
    return [
        [
            one.contestant,
            rounded(one.rate.middle),
            between(one.rate),
            "" if one.ratio is None else f"{times(one.ratio.middle)}{goal(one)}",
            "" if one.ratio is None else between(one.ratio),
            "" if one.share is None else f"{one.share.middle:.0%}",
            f"{one.peak_mb:,.0f}",
            rounded(one.lap_ms),
            one.note,
        ]
        for one in found
    ]


def goal(one: Standing) -> str:
    return f" ({one.verdict} {one.reach:g})" if one.verdict else ""


def times(ratio: float) -> str:
    return f"{rounded(ratio)} x"


def between(spread: Spread) -> str:
    return f"{rounded(spread.low)} to {rounded(spread.high)}"


def rounded(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def tables(result: Result) -> Iterator[tuple[Task, int, list[Standing]]]:
    """Standings by task and number of threads."""
    for (_, threads), group in groupby(standings(result), key=lambda one: (one.task.name, one.threads)):
        found = list(group)
        yield found[0].task, threads, found


def caption(task: Task, threads: int, found: Sequence[Standing], result: Result) -> str:
    """What is counted in a table, by which clock."""
    shape = Shape(**result["shapes"][task.shape])
    clock = "one thread, processor time" if threads == 1 else f"{threads} threads, time on the wall"
    size = "" if task.kind in ("import", "prepare") else f"; {shape.items:,} items"
    if task.kind == "prepare":
        size = f"; {result['extent']['events']:,} events"
    return f"{task.unit.capitalize()} a second, {clock}{size}; {rounds_of(found)}."


def rounds_of(found: Sequence[Standing]) -> str:
    """How many rounds the figures are of."""
    most, least = (choose(one.rounds for one in found) for choose in (max, min))
    return f"{most} round{'s' * (most > 1)}" if most == least else f"{least} to {most} rounds"


def about(result: Result) -> list[str]:
    """Machine, limits and versions, a line each."""
    machine, loads = result["machine"], result["load_average"] or [0]
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores; load {min(loads):.1f} to {max(loads):.1f}; "
        f"Python {machine['python']}, torch {machine['torch']}; commit {result['commit']}."
    ]
    for threads, limits in machine_limits(result).items():
        if limits:
            said = (f"{NAMES[name]} {rounded(spread.middle)} ({between(spread)})" for name, spread in limits.items())
            lines.append(f"Limits with {threads} thread{'s' * (threads > 1)}: {', '.join(said)}.")
    if faster := scaling(standings(result)):
        said = (f"{task} {rounded(ratio)}" for task, ratio in faster.items())
        lines.append(f"Two threads of ours on the wall against one by the processor's clock: {', '.join(said)}.")
    lines.append(f"Versions: {', '.join(f'{name} {version}' for name, version in versions(result).items())}.")
    if result["extent"]["shrink"]:
        lines.append("A quick look at data that were made small: its ratios say nothing of the full shapes.")
    return lines


NAMES = {"fp32_gflops": "fp32 GF/s", "bf16_gflops": "bf16 GF/s", "copy_gb_s": "copying GB/s"}


def versions(result: Result) -> dict[str, str]:
    """Of every package that a contestant named; several where environments differ."""
    found: dict[str, set[str]] = {}
    for record in result["records"]:
        for name, version in record.get("versions", {}).items():
            found.setdefault(name, set()).add(version)
    return {name: " / ".join(sorted(all_)) for name, all_ in sorted(found.items())}


def missing(result: Result) -> list[str]:
    absent = [f"{name}: not installed here." for name in result["absent"]]
    return absent + [f"Failed: {failure}" for failure in failures(result)]


def markdown(result: Result, picture: str = "peers.svg") -> str:
    """The page for the repository; ``picture`` is the link to the SVG."""
    lines = [f"# {TITLE}", "", f"![Rates of Seqward and its peers]({picture})", ""]
    lines += [
        "Made by `make bench-peers` from `benchmarks/results/peers.json`.",
        "",
        *(f"{word}\n" for word in WORDS),
    ]
    lines += [*(f"- {line}" for line in [*about(result), *missing(result)]), ""]
    lines += [f"## {REACHED}", "", ABOUT_GOALS, "", *table(goals.HEADER, goals.rows(result)), ""]
    for task, threads, found in tables(result):
        lines += [
            f"## {task.title}" if threads == task.threads[0] else "",
            "",
            caption(task, threads, found, result),
            "",
        ]
        lines += [*table(HEADER, rows_of(found)), ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """The lines of a table in Markdown."""
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |"


def html(result: Result) -> str:
    """The page as one file; nothing is fetched from outside."""
    parts = [OPENING, f"<h1>{TITLE}</h1>", f"<figure>{picture(result)}</figure>", *(f"<p>{escape(w)}" for w in WORDS)]
    parts += ["<ul>", *(f"<li>{escape(line)}" for line in [*about(result), *missing(result)]), "</ul>"]
    parts += [f"<h2>{REACHED}</h2><p>{escape(ABOUT_GOALS)}", "<div class=scroll><table>"]
    parts.append("<tr>" + "".join(f"<th>{name}" for name in goals.HEADER))
    parts += ["<tr>" + "".join(f"<td>{escape(cell)}" for cell in row) for row in goals.rows(result)]
    parts.append("</table></div>")
    for task, threads, found in tables(result):
        if threads == task.threads[0]:
            parts.append(f"<h2>{escape(task.title)}</h2>")
        parts += [f"<p>{escape(caption(task, threads, found, result))}", "<div class=scroll><table>"]
        parts.append("<tr>" + "".join(f"<th>{escape(name)}" for name in HEADER))
        for one, row in zip(found, rows_of(found), strict=True):
            kind = " class=ours" if one.contestant.startswith(OURS) else ""
            parts.append(f"<tr{kind}>" + "".join(f"<td>{escape(str(cell))}" for cell in row))
        parts.append("</table></div>")
    return "\n".join(parts) + "\n</main>\n</html>\n"


OPENING = f"""<!doctype html>
<html lang=en>
<meta charset=utf-8>
<meta name=viewport content="width=device-width">
<title>{TITLE}</title>
<style>
:root{{color-scheme:light dark}}body{{margin:0;font:16px/1.45 system-ui,sans-serif}}
main{{max-width:64rem;margin:auto;padding:.5rem 1rem 3rem}}h2{{font-size:1.1rem;margin-top:2rem}}
figure{{margin:0;background:{PAPER}}}figure svg{{width:100%;max-width:34rem;height:auto}}.scroll{{overflow-x:auto}}
table{{border-collapse:collapse;font-size:.85rem}}td,th{{padding:.2rem .6rem;text-align:right;white-space:nowrap}}
td{{font-variant-numeric:tabular-nums;border-top:1px solid #8884}}td:first-child,th:first-child{{text-align:left}}
td:last-child{{text-align:left;white-space:normal;min-width:14rem}}.ours{{font-weight:600}}
</style>
<main>"""


# ------------------------------------------------------------------------------------------------------- the picture


def picture(result: Result) -> str:
    """SVG: how many times faster ours is, and below how much of the machine's limit each contestant uses."""
    groups = [(task, found) for task, threads, found in tables(result) if threads == 1 and task.kind in SHOWN]
    ratios = [(task, [one for one in found if one.ratio]) for task, found in groups if any(one.ratio for one in found)]
    shares = [(task, [one for one in found if one.share]) for task, found in groups if any(one.share for one in found)]
    heights = [HEAD + FOOT + ROW * sum(len(found) + 1 for _, found in part) for part in (ratios, shares)]
    height = sum(heights) + ROW
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**LOOK, "svg.hashsalt": TITLE, "font.size": 11, "figure.facecolor": PAPER})
        figure = Figure(figsize=(WIDTH / 72, height / 72))
        _ratios(_axes(figure, ratios, heights[1] + ROW, height), ratios)
        _shares(_axes(figure, shares, ROW, height), shares, machine_limits(result)[1])
        for top, title in ((height, "How many times as fast is Seqward"), (ROW + heights[1], "Share of the limit")):
            figure.text(8 / WIDTH, (top - 22) / height, title, fontsize=13, fontweight="bold")
        cpu = result["machine"]["cpu"].split(" (")[0]
        figure.text(
            8 / WIDTH, 6 / height, f"{cpu}, one thread{_smaller(result)}; medians; thin lines: range", fontsize=10
        )
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = re.sub(r'(width|height)="([\d.]+)pt"', r'\1="\2"', file.getvalue(), count=2)
    return svg[svg.index("<svg") :].replace(f"'{LOOK['font.family']}'", "system-ui, sans-serif")


def _smaller(result: Result) -> str:
    return ", SMALL DATA" if result["extent"]["shrink"] else ""


Groups = Sequence[tuple[Task, list[Standing]]]


def _axes(figure: Figure, groups: Groups, bottom: int, height: int) -> Axes:
    """Room for a row for each title and contestant, so far above the picture's foot."""
    rows = sum(len(found) + 1 for _, found in groups)
    place = (LEFT / WIDTH, (bottom + FOOT) / height, (WIDTH - LEFT - RIGHT) / WIDTH, max(ROW * rows, 1) / height)
    axes = figure.add_axes(place)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_yticks([])
    axes.grid(axis="y", visible=False)
    axes.set_xscale("log")
    axes.set_axisbelow(True)
    return axes


def _lines(axes: Axes, groups: Groups) -> Iterator[tuple[int, Standing]]:
    """Write the titles of tasks and the names of contestants, and tell the row of each contestant."""
    row, left = 0, -LEFT / (WIDTH - LEFT - RIGHT)
    for task, found in groups:
        title = {"x": left + 0.03, "y": row, "s": task.short, "fontweight": "bold"}
        axes.text(**title, transform=axes.get_yaxis_transform(), va="center", fontsize=10, color=INK)
        for place, one in enumerate(found, row + 1):
            where = {"transform": axes.get_yaxis_transform(), "va": "center", "ha": "right", "fontsize": 10}
            axes.text(-0.02, place, one.contestant, **where)
            yield place, one
        row += len(found) + 1


def _ratios(axes: Axes, groups: Groups) -> None:
    for place, one in _lines(axes, groups):
        assert one.ratio is not None
        _bar(axes, place, 1.0, one.ratio, one.contestant, times(one.ratio.middle), beyond=one.reach or 0)
        if one.reach:
            axes.plot([one.reach] * 2, [place - 0.42, place + 0.42], color=INK, linewidth=1.6)
    low, high = axes.get_xlim()
    axes.set_xlim(min(0.5, low), max(high * 4, 10))
    axes.xaxis.set_major_locator(LogLocator(numticks=8))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.axvline(1.0, color=GRID, linewidth=1)
    axes.set_xlabel("times; upright line: to reach", fontsize=10)


def _shares(axes: Axes, groups: Groups, limits: Mapping[str, Spread]) -> None:
    floor = min([0.01, *(one.share.low / 2 for _, found in groups for one in found if one.share)])
    for place, one in _lines(axes, groups):
        assert one.share is not None
        _bar(axes, place, floor, one.share, one.contestant, f"{one.share.middle:.1%}")
    axes.axvline(1.0, color=COLOURS[1], linewidth=1.6)
    axes.set_xlim(floor, 8)
    axes.xaxis.set_major_locator(LogLocator(numticks=6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %" if value <= 1 else ""))
    axes.xaxis.set_minor_formatter(NullFormatter())
    if limits:
        roof = max(limits["fp32_gflops"].middle, limits["bf16_gflops"].middle)
        said = f"of the limit: {rounded(roof)} GF/s; serving: {rounded(limits['copy_gb_s'].middle)} GB/s"
        axes.set_xlabel(said, fontsize=10)


def _bar(axes: Axes, place: int, floor: float, spread: Spread, name: str, said: str, beyond: float = 0) -> None:
    """A bar to the median from ``floor``, the line of its range, and the figure to the right of all."""
    colour = COLOURS[0] if name.startswith(OURS) else OTHERS
    axes.barh(place, spread.middle - floor, left=floor, height=0.72, color=colour)
    axes.plot([spread.low, spread.high], [place] * 2, color=INK, linewidth=0.8)
    paper = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.5}
    where = (max(spread.high, floor, beyond), place)
    axes.annotate(said, where, (4, 0), textcoords="offset points", va="center", fontsize=10, bbox=paper)
