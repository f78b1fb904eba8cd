"""How the training of a study's methods went, drawn: curves, Q against the return, and the guard's timelines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from seqward.bench import drawing
from seqward.bench.curves import AXES
from seqward.bench.tables import title
from seqward.panels import GROUP_TITLES
from seqward.pictures import Line, keys
from seqward.report import figure, section

Figures = Mapping[str, Any]


def training(name: str, of: Figures, names: Sequence[str], others: Sequence[Figures]) -> Iterable[str]:
    """Every validation metric over steps, events and seconds; the main ones first, the others folded by group.

    Args:
        of: by method, as ``curves_of`` has it.
        names: of the main metrics, where they were measured.
        others: more methods, of which the main ones are drawn, folded; those that share a picture together.
    """
    measured = [metric for one in of.values() for metric in _measured(one) if not metric.startswith("q.")]
    found = list(dict.fromkeys(measured))
    if not found:
        return
    main = [metric for metric in names if metric in found] or found[:1]
    rest: dict[str, list[str]] = {}
    for metric in found:
        if metric not in main:
            rest.setdefault(metric.rpartition(".")[0] or "reward", []).append(metric)
    legend = keys(list(of), dashed=True)
    axes = "".join(f"<label for=by-{axis} class=by-{axis}>{axis}</label>" for axis in AXES)
    what = "Validation: mean over the seeds that got so far, half of them at least, lowest to highest as a band."
    note = " ".join([what, *_failed(of)])
    content = [
        f"<p class=axes>over {axes}</p><p>{legend}</p>",
        _panels(name, of, main),
        f"<p class=note>{escape(note)}</p>",
    ]
    for more in others:
        panels = f"<p>{keys(list(more), dashed=True)}</p>{_panels(name, more, main)}"
        said = f"<p class=note>{escape(' '.join(_failed(more)))}</p>"
        content.append(f"<details><summary>Curves: {escape(', '.join(more))}</summary>{panels}{said}</details>")
    for part, metrics in rest.items():
        panels = f"<p>{legend}</p>{_panels(name, of, metrics)}"
        content.append(f"<details><summary>Curves: {GROUP_TITLES.get(part, part)}</summary>{panels}</details>")
    yield section("Training", "".join(content))
    if critics := {method: one for method, one in of.items() if "q.mean_q" in one["metrics"]}:
        yield _q_and_return(name, critics)


def not_drawn(left: Sequence[str]) -> str:
    """What a picture leaves out."""
    return f"Not drawn: {', '.join(left)}." if left else ""


def _failed(of: Figures) -> Iterator[str]:
    runs = [f"{method} seed {run['seed']}" for method, one in of.items() for run in one.get("failed", ())]
    if runs:
        yield f"Thin and dashed, with a cross at the last validation, and in no mean: {', '.join(runs)}, which failed."


def _measured(of: Figures) -> list[str]:
    return [*of["metrics"], *(metric for run in of.get("failed", ()) for metric in run["metrics"])]


def _panels(name: str, of: Figures, metrics: Sequence[str]) -> str:
    panels = []
    for metric in metrics:
        lines = {axis: [_line(method, one, axis, metric) for method, one in of.items()] for axis in AXES}
        failed = {
            axis: [
                (number, _broken_line(f"{method} seed {run['seed']}", run, axis, metric))
                for number, (method, one) in enumerate(of.items())
                for run in one.get("failed", ())
            ]
            for axis in AXES
        }
        panels.append(_over_axes(f"{name}: {title(metric)}", title(metric), lines, failed))
    return f"<div class=panels>{''.join(panels)}</div>"


def _over_axes(
    label: str,
    heading: str,
    lines: Mapping[str, Sequence[Line]],
    failed: Mapping[str, Sequence[tuple[int, Line]]] | None = None,
) -> str:
    pictures = ""
    for axis, there in lines.items():
        broken = (failed or {}).get(axis, ())
        ends = [float(line.x[-1]) for line in (*there, *(line for _, line in broken)) if len(line.x)]
        if ends:
            picture = drawing.curves(there, axis, f"{label} over {axis}", max(ends), failed=broken)
            pictures += f"<div class={axis}>{picture}</div>"
    return figure(heading, "", pictures)


def _line(label: str, of: Figures, axis: str, metric: str) -> Line:
    """A metric's mean and spread; empty where it has no value."""
    values = of["metrics"].get(metric, {"mean": [], "low": [], "high": []})
    points = [
        (x, *one)
        for x, *one in zip(of[axis], values["mean"], values["low"], values["high"], strict=False)
        if None not in one
    ]
    x, y, low, high = np.array(points, dtype=float).reshape(-1, 4).T
    return Line(label, x, y, (low, high) if of["seeds"] > 1 else None)


def _broken_line(label: str, run: Figures, axis: str, metric: str) -> Line:
    points = [(x, y) for x, y in zip(run[axis], run["metrics"].get(metric, []), strict=False) if y is not None]
    x, y = np.array(points, dtype=float).reshape(-1, 2).T
    return Line(label, x, y)


def _q_and_return(name: str, critics: Figures) -> str:
    """Does the critic know what followed? Above the return it overestimates."""
    both = {"mean Q": "q.mean_q", "mean return": "q.mean_return"}
    panels = []
    for method, of in critics.items():
        lines = {axis: [_line(said, of, axis, metric) for said, metric in both.items()] for axis in AXES}
        panels.append(_over_axes(f"{name}: Q of {method}", method, lines))
    details = _panels(name, critics, [m for m in ("q.max_q", "q.gap", "q.rank_correlation") if _any(critics, m)])
    legend = f"<p>{keys(list(both), dashed=True)}</p>"
    more = f"<p>{keys(list(critics), dashed=True)}</p>{details}"
    more = f"<details><summary>Largest Q, gap and rank correlation</summary>{more}</details>"
    return section("Q against the return, validation", f"{legend}<div class=panels>{''.join(panels)}</div>{more}")


def _any(of: Figures, metric: str) -> bool:
    return any(metric in one["metrics"] for one in of.values())


def stability(name: str, guard: Figures) -> str:
    """The states of every run that was guarded, what was done to it, and the reason of each that was not healthy."""
    seen = {run: of for run, of in guard.items() if of["states"]}
    picture = drawing.timeline(
        {run: [(float(step), state) for step, state, _ in of["states"]] for run, of in seen.items()},
        {run: float(of["end"]) for run, of in seen.items()},
        f"{name}: states of every run",
        {run: [(float(step), said) for step, said in of.get("repairs", ())] for run, of in seen.items()},
    )
    legend = " ".join(
        f'<span class=key><svg viewBox="0 0 28 6" aria-hidden="true"><path d="M0 3H28" stroke="var(--{colour})"/></svg>'
        f"{state}</span>"
        for state, colour in drawing.STATES.items()
    )
    done = [f"{run}, step {step:,.0f}: {said}" for run, of in guard.items() for step, said in of.get("repairs", ())]
    said = [
        f"{run}, step {step:,.0f}: {state}. {reason}"
        for run, of in guard.items()
        for step, state, reason in of["states"]
        if state != "healthy"
    ]
    short = [run for run in guard if run not in seen]
    unseen = f"No strip, since they ended before the guard looked at them: {'; '.join(short)}." if short else ""
    parts = [
        f"<p>{legend}</p><figure class=narrow>{picture}</figure>" if seen else "",
        f"<p class=note>{escape(unseen)}</p>" if unseen else "",
        _told("Repairs, a tick each", done, " open"),
        _told("Reasons", said),
    ]
    return section("Stability", "".join(parts))


def _told(what: str, lines: Sequence[str], state: str = "") -> str:
    items = "".join(f"<li>{escape(line)}" for line in lines)
    return f"<details{state}><summary>{what}: {len(lines)}</summary><ul>{items}</ul></details>" if lines else ""
