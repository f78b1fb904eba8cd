"""A study as one HTML file: pictures first, then tables, the verdict on top. Nothing is fetched from outside."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from seqward.bench import drawing
from seqward.bench.curves import AXES
from seqward.bench.summary import remark_of, runs_by_method
from seqward.bench.sweeps import sweep_lines
from seqward.bench.tables import evidence_table, refuse_bad_rows, results_table, seeds_table, title
from seqward.panels import GROUP_TITLES
from seqward.pictures import Dot, Line, dots, keys
from seqward.report import figure, head, section

MOST = 12
"""Methods whose curves share a picture: the best ones. The others' curves are in the JSON."""
Figures = Mapping[str, Any]


def write_page(report: Figures, found: Figures, out: Path) -> Path:
    """Draw a study's result.

    Args:
        found: what its runs say together, as ``conclusion.conclude`` has it.

    Raises:
        Finding: a row is impossible; the page that was there stays.
    """
    refuse_bad_rows(report)
    text = page(report, found)
    new = out.with_name(f"{out.name}.new")
    new.write_text(text, encoding="utf-8")
    return new.replace(out)


def page(report: Figures, found: Figures) -> str:
    """The page's text."""
    radios = "".join(
        f'<input type=radio name=axis id=by-{axis}{" checked" if axis == "steps" else ""} aria-label="over {axis}">'
        for axis in AXES
    )
    body = [f"<h1>{escape(report['study'])}</h1>", _lost(found["left_out"]), radios]
    for name in found["compared"]:
        body += _data(name, report, found)
    if not found["compared"]:
        body.append("<p>No run has finished.</p>")
    body.append(_runs(report))
    return head(report["study"], "study", drawing.STYLE + STYLE) + "\n".join(body) + "\n</main>\n</html>\n"


def _lost(lines: Sequence[str]) -> str:
    """What no figure of the page is of."""
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}" for line in lines)
    return (
        f"<div class=lost><b>Left out: {len(lines)} runs failed.</b> No figure below is of them.<ul>{items}</ul></div>"
    )


def _data(name: str, report: Figures, found: Figures) -> Iterable[str]:
    compared, data = found["compared"][name], report["data"][name]
    by_group = compared["figures"]
    group = "goal" if all("goal.hr@5" in of or _has(of, "goal") for of in by_group.values()) else "all"
    k = max(int(n.partition("@")[2]) for of in by_group.values() for n in of)
    deciding = f"{group}.ndcg@{k}"
    baselines = [label for label in data["baselines"] if label in by_group]
    methods = sorted((m for m in by_group if m not in baselines), key=lambda m: -by_group[m][deciding]["mean"])
    order = [*methods, *baselines]
    yield f"<h2 class=data>{escape(name)}</h2>"
    if verdict := found["verdicts"].get(name):
        yield _verdict(verdict)
    yield _against(name, compared, order, [f"{group}.hr@{k}", deciding])
    yield from _training(name, found["curves"].get(name, {}), methods, group, k)
    if guard := found["guard"].get(name):
        yield _stability(name, guard)
    yield from _sweeps(name, found["sweeps"].get(name, []))
    yield _split_figures(name, compared, order, k)
    yield _tables(compared, order, baselines, group, report, name)


def _has(of: Figures, group: str) -> bool:
    return any(name.startswith(f"{group}.") for name in of)


# ------------------------------------------------------------------------------------------------------------ pictures


def _against(name: str, compared: Figures, order: Sequence[str], names: Sequence[str]) -> str:
    """Every method and baseline, with the interval over seeds and sessions."""
    shown = order[: 2 * MOST]
    panels = []
    for metric in names:
        rows = [compared["figures"][method].get(metric) for method in shown]
        found = {
            "": [Dot(f["mean"], None if f["interval"] is None else tuple(f["interval"])) if f else None for f in rows]
        }
        picture = dots([_short(method) for method in shown], found, title(metric), f"{name}: {title(metric)} by method")
        panels.append(figure(title(metric), "", picture))
    note = "Lines are 95 % intervals over seeds and sessions." if not compared["untested"] else _untested(compared)
    return section("Results", f"<div class=panels>{''.join(panels)}</div><p class=note>{escape(note)}</p>")


def _short(method: str, most: int = 12) -> str:
    return method if len(method) <= most else f"{method[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def _untested(compared: Figures) -> str:
    return (
        f"No interval and no test for {', '.join(compared['untested'])}: of these runs only the figures are here, not "
        "what happened at each event. So nothing is marked as best."
    )


def _training(name: str, curves: Figures, methods: Sequence[str], group: str, k: int) -> Iterable[str]:
    """Every validation metric over steps, examples and seconds; the main ones first, the others folded by group."""
    shown = [method for method in methods if method in curves][:MOST]
    if not shown:
        return
    of = {method: curves[method] for method in shown}
    names = list(dict.fromkeys(metric for method in shown for metric in of[method]["metrics"] if metric[:2] != "q."))
    main = [metric for metric in (f"{group}.hr@{k}", f"{group}.ndcg@{k}", f"reward@{k}") if metric in names] or names[
        :1
    ]
    legend = keys(shown, dashed=True)
    axes = "".join(f"<label for=by-{axis} class=by-{axis}>{axis}</label>" for axis in AXES)
    rest: dict[str, list[str]] = {}
    for metric in names:
        if metric not in main:
            rest.setdefault(metric.rpartition(".")[0] or "reward", []).append(metric)
    left = [method for method in methods if method in curves and method not in shown]
    note = "Validation: mean over seeds, lowest to highest as a band." + (
        f" Not drawn: {', '.join(left)}." if left else ""
    )
    content = [
        f"<p class=axes>over {axes}</p><p>{legend}</p>",
        _panels(name, of, main),
        f"<p class=note>{escape(note)}</p>",
    ]
    for part, metrics in rest.items():
        panels = f"<p>{legend}</p>{_panels(name, of, metrics)}"
        content.append(f"<details><summary>Curves: {GROUP_TITLES.get(part, part)}</summary>{panels}</details>")
    yield section("Training", "".join(content))
    if critics := {method: one for method, one in of.items() if "q.mean_q" in one["metrics"]}:
        yield _q_and_return(name, critics)


def _panels(name: str, of: Figures, metrics: Sequence[str]) -> str:
    panels = []
    for metric in metrics:
        lines = {axis: [_line(method, one, axis, metric) for method, one in of.items()] for axis in AXES}
        panels.append(_over_axes(f"{name}: {title(metric)}", title(metric), lines))
    return f"<div class=panels>{''.join(panels)}</div>"


def _over_axes(label: str, heading: str, lines: Mapping[str, Sequence[Line]], legend: str = "") -> str:
    pictures = "".join(
        f"<div class={axis}>{drawing.curves(there, axis, f'{label} over {axis}', _end(there))}</div>"
        for axis, there in lines.items()
        if any(len(line.x) for line in there)
    )
    return figure(heading, legend, pictures)


def _end(lines: Sequence[Line]) -> float:
    return max(float(line.x[-1]) for line in lines if len(line.x))


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


def _stability(name: str, guard: Figures) -> str:
    """The states of every run that was guarded, and the reason of each that was not healthy."""
    runs = {run: [(float(step), state) for step, state, _ in of["states"]] for run, of in guard.items()}
    picture = drawing.timeline(
        runs, {run: float(of["end"]) for run, of in guard.items()}, f"{name}: states of every run"
    )
    legend = " ".join(
        f'<span class=key><svg viewBox="0 0 28 6" aria-hidden="true"><path d="M0 3H28" stroke="var(--{colour})"/></svg>'
        f"{state}</span>"
        for state, colour in drawing.STATES.items()
    )
    said = [
        f"<li>{escape(run)}, step {step:,.0f}: {escape(state)}. {escape(reason)}"
        for run, of in guard.items()
        for step, state, reason in of["states"]
        if state != "healthy"
    ]
    reasons = f"<details><summary>Reasons: {len(said)}</summary><ul>{''.join(said)}</ul></details>" if said else ""
    return section("Stability", f"<p>{legend}</p><figure class=narrow>{picture}</figure>{reasons}")


def _sweeps(name: str, sweeps: Sequence[Figures]) -> Iterable[str]:
    """A metric over what was swept, a line a method."""
    panels = []
    for sweep in sweeps:
        lines = sweep_lines(sweep)
        ticks = {float(i): str(value) for i, value in enumerate(sweep["values"])}
        short = sweep["setting"].rpartition(".")[2]
        label = f"{title(sweep['metric'])} over {short}"
        picture = drawing.curves(lines, short, f"{name}: {label}", len(ticks) - 1.0, ticks)
        panels.append(figure(label, keys([line.name for line in lines], dashed=True), picture))
    if panels:
        note = "<p class=note>Test split: mean over seeds, lowest to highest as a band.</p>"
        yield section("Sweeps", f"<div class=panels>{''.join(panels)}</div>{note}")


def _split_figures(name: str, compared: Figures, order: Sequence[str], k: int) -> str:
    """Repeat against novel and head against tail: where a method finds what it finds."""
    panels = []
    shown = order[:MOST]
    for pair in (("goal_repeat", "goal_novel"), ("head", "tail")):
        rows = {
            part.replace("goal_", ""): [_dot(compared["figures"][method].get(f"{part}.hr@{k}")) for method in shown]
            for part in pair
        }
        if any(dot for row in rows.values() for dot in row):
            what = " against ".join(rows)
            picture = dots([_short(m) for m in shown], rows, f"HR@{k}", f"{name}: HR@{k}, {what}")
            panels.append(figure(f"HR@{k}, {what}", keys(list(rows), dashed=False), picture))
    note = "<p class=note>Repeat: the item stands earlier in its session. Head: the fifth of items seen most often.</p>"
    return (
        section("Repeat and novel, head and tail", f"<div class=panels>{''.join(panels)}</div>{note}") if panels else ""
    )


def _dot(figure_: Figures | None) -> Dot | None:
    return (
        None
        if figure_ is None
        else Dot(figure_["mean"], None if not figure_["interval"] else tuple(figure_["interval"]))
    )


# -------------------------------------------------------------------------------------------------------------- tables


def _verdict(verdict: Figures) -> str:
    evidence = ""
    if verdict.get("rl"):
        evidence = evidence_table(verdict)
    return f"<section class=verdict><h3>Does RL help here?</h3><p>{escape(verdict['words'])}</p>{evidence}</section>"


def _tables(
    compared: Figures, order: Sequence[str], baselines: Sequence[str], group: str, report: Figures, name: str
) -> str:
    ks = sorted({int(n.partition("@")[2]) for of in compared["figures"].values() for n in of})
    main = [f"{group}.{metric}@{k}" for k in ks for metric in ("hr", "ndcg")]
    click = [f"click.{metric}@{k}" for k in ks for metric in ("hr", "ndcg")] if group == "goal" else []
    rewards = [f"reward@{ks[-1]}"]
    parts = [
        f"{part}.{metric}@{ks[-1]}"
        for part in ("goal_repeat", "goal_novel", "head", "tail")
        for metric in ("hr", "ndcg")
    ]
    marks = (
        _untested(compared)
        if compared["untested"]
        else "Bold: better than every other row by paired randomisation tests over sessions, Holm's correction, 5 %. "
        "Beneath: 95 % interval over seeds and sessions. Italics: baselines without a parameter."
    )
    tables = [results_table(compared, order, baselines, [*main, *rewards])]
    if click:
        tables.append(results_table(compared, order, baselines, click))
    tables.append(results_table(compared, order, baselines, parts))
    tables.append(seeds_table(compared, [m for m in order if m not in baselines], [main[-2], main[-1], *rewards]))
    runs = [run for run in report["runs"] if run["data"] == name]
    remarks = [(m, remark_of(of)) for m, of in runs_by_method(runs)]
    limited = "".join(f"<li>{escape(m)}: {said}" for m, said in remarks if said)
    failed = [f"{run['method']} seed {run['seed']}" for run in runs if run["state"] == "failed"]
    lost = f"<p class=lost>Left out of these tables: {escape(', '.join(failed))}.</p>" if failed else ""
    return section("Tables", f"{lost}<p class=note>{escape(marks)}</p>{''.join(tables)}<ul>{limited}</ul>")


def _runs(report: Figures) -> str:
    """What was run, in full."""
    shown = [
        {k: v for k, v in run.items() if k not in ("test", "validations", "best_validations")} for run in report["runs"]
    ]
    data = {name: {k: v for k, v in of.items() if k != "baselines"} for name, of in report["data"].items()}
    content = ""
    for what, of in (("Data sets and protocols", data), ("Runs and settings", _once(shown))):
        text = escape(json.dumps(of, indent=1, ensure_ascii=False))
        content += f"<details><summary>{what}</summary><pre>{text}</pre></details>"
    return section("Everything", content)


def _once(runs: Sequence[Figures]) -> list[Figures]:
    """The runs, with the settings of a method and the machine written out once."""
    seen: set[str] = set()
    told = []
    for run in runs:
        long = {key: run[key] for key in ("settings", "machine", "evaluation") if key in run}
        new = {key: of for key, of in long.items() if json.dumps([run["method"], key, of]) not in seen}
        seen |= {json.dumps([run["method"], key, of]) for key, of in new.items()}
        told.append({**{key: value for key, value in run.items() if key not in long}, **new})
    return told


STYLE = """
h2.data{border-bottom:2px solid var(--grid);font-size:1.35rem}section h2{margin-top:1rem}
.lost{border:2px solid var(--line-1);padding:.5rem 1rem}.verdict{border:2px solid var(--line-0);padding:0 1rem .5rem}
.verdict p{font-size:1.1rem}.narrow{max-width:40rem}summary{cursor:pointer;padding:.4rem 0}
input[name=axis]{position:absolute;opacity:0}
.axes label{border:1px solid var(--grid);border-radius:.4rem;padding:.3rem .7rem;margin:0 .2rem;cursor:pointer}
.examples,.seconds{display:none}
#by-examples:checked~section .steps,#by-seconds:checked~section .steps{display:none}
#by-examples:checked~section .examples,#by-seconds:checked~section .seconds{display:block}
#by-steps:checked~section label.by-steps,#by-examples:checked~section label.by-examples,
#by-seconds:checked~section label.by-seconds{background:var(--line-0);color:var(--paper)}
figure div>svg{width:100%;height:auto;display:block}pre{max-height:60vh}
"""
