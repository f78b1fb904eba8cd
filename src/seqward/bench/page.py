"""A study as one HTML file: pictures first, then tables, the verdict on top. Nothing is fetched from outside."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from seqward.atomic import write_text
from seqward.bench import drawing
from seqward.bench.compare import ENOUGH
from seqward.bench.curves import AXES
from seqward.bench.results import deciding
from seqward.bench.summary import published_table, remark_of, runs_by_method
from seqward.bench.sweeps import sweep_lines
from seqward.bench.tables import (
    across_table,
    best_table,
    evidence_table,
    q_table,
    refuse_bad_rows,
    results_table,
    seeds_table,
    title,
)
from seqward.bench.training import not_drawn, stability, training
from seqward.pictures import Dot, dots, keys
from seqward.report import details, figure, head, section, table

MOST = 12
"""Methods that share a picture: the best ones, and beside them the baselines."""
Figures = Mapping[str, Any]


def write_page(report: Figures, found: Figures, out: Path) -> Path:
    """Draw a study's result.

    Args:
        found: what its runs say together, as ``conclusion.conclude`` has it.

    Raises:
        Finding: a row is impossible; the page that was there stays.
    """
    refuse_bad_rows(report)
    write_text(out, page(report, found))
    return out


def page(report: Figures, found: Figures) -> str:
    """The page's text."""
    radios = "".join(
        f'<input type=radio name=axis id=by-{axis}{" checked" if axis == "steps" else ""} aria-label="over {axis}">'
        for axis in AXES
    )
    body = [f"<h1>{escape(report['study'])}</h1>", _lost(found["left_out"]), radios]
    for name in found["compared"]:
        body += _data(name, report, found)
    for name in [name for name in report["data"] if name not in found["compared"]]:
        body += [f"<h2 class=data>{escape(name)}</h2><p>No run has finished.</p>", *_how_it_went(name, found, [], [])]
    body += [_across(report, found["across"]), _published(report.get("published", {})), _runs(report)]
    return head(report["study"], "study", drawing.STYLE + STYLE) + "\n".join(body) + "\n</main>\n</html>\n"


def _lost(lines: Sequence[str]) -> str:
    """What no figure of the page is of."""
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}" for line in lines)
    return f"<div class=lost><b>Runs that failed: {len(lines)}.</b> No figure below is of them.<ul>{items}</ul></div>"


def _data(name: str, report: Figures, found: Figures) -> Iterable[str]:
    compared, data = found["compared"][name], report["data"][name]
    figures = compared["figures"]
    group, k = deciding(figures.values())
    best = f"{group}.ndcg@{k}"
    baselines = [label for label in data["baselines"] if label in figures]
    methods = sorted((m for m in figures if m not in baselines), key=lambda m: -figures[m][best]["mean"])
    order, shown, left = [*methods, *baselines], [*methods[:MOST], *baselines], methods[MOST:]
    yield f"<h2 class=data>{escape(name)}</h2>"
    if verdict := found["verdicts"].get(name):
        yield _verdict(verdict)
    yield _against(name, compared, shown, left, [f"{group}.hr@{k}", best])
    yield from _how_it_went(name, found, methods, [f"{group}.hr@{k}", best, f"reward@{k}"])
    yield from _sweeps(name, found["sweeps"].get(name, []))
    yield _split_figures(name, compared, shown, left, k)
    yield _tables(compared, order, baselines, group, report, name)


# ------------------------------------------------------------------------------------------------------------ pictures


def _against(name: str, compared: Figures, shown: Sequence[str], left: Sequence[str], names: Sequence[str]) -> str:
    """Every method and baseline, with the interval over seeds and sessions."""
    panels = []
    for metric in names:
        rows = {"": [_dot(compared["figures"][method].get(metric)) for method in shown]}
        picture = dots([_short(method) for method in shown], rows, title(metric), f"{name}: {title(metric)} by method")
        panels.append(figure(title(metric), "", picture))
    note = "Lines are 95 % intervals over seeds and sessions." if not compared["untested"] else _untested(compared)
    return _panels("Results", panels, note, not_drawn(left))


def _panels(heading: str, panels: Sequence[str], *notes: str) -> str:
    return section(heading, f"<div class=panels>{''.join(panels)}</div><p class=note>{escape(' '.join(notes))}</p>")


def _short(method: str, most: int = 22) -> str:
    """Its middle left out where it is long: variants differ at their ends."""
    end = most // 2
    return method if len(method) <= most else f"{method[: most - end - 1]}\N{HORIZONTAL ELLIPSIS}{method[-end:]}"


def _untested(compared: Figures) -> str:
    return (
        f"No interval and no test for {', '.join(compared['untested'])}: of these runs only the figures are here, not "
        "what happened at each event. So nothing is marked as best."
    )


def _how_it_went(name: str, found: Figures, methods: Sequence[str], names: Sequence[str]) -> Iterable[str]:
    """Curves of all methods, the best ones first, those without a finished run last; then what the guard saw."""
    curves = found["curves"].get(name, {})
    there = [m for m in methods if m in curves]
    there += [m for m in curves if m not in there and not curves[m]["seeds"]]
    best, *others = [{m: curves[m] for m in there[i : i + MOST]} for i in range(0, len(there), MOST)] or [{}]
    yield from training(name, best, names, others)
    if guard := found["guard"].get(name):
        yield stability(name, guard)


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
        yield _panels("Sweeps", panels, "Test split: mean over seeds, lowest to highest as a band.")


def _split_figures(name: str, compared: Figures, shown: Sequence[str], left: Sequence[str], k: int) -> str:
    """Repeat against novel and head against tail: where a method finds what it finds."""
    panels = []
    for pair in (("goal_repeat", "goal_novel"), ("head", "tail")):
        rows = {
            part.replace("goal_", ""): [_dot(compared["figures"][method].get(f"{part}.hr@{k}")) for method in shown]
            for part in pair
        }
        if any(dot for row in rows.values() for dot in row):
            what = " against ".join(rows)
            picture = dots([_short(m) for m in shown], rows, f"HR@{k}", f"{name}: HR@{k}, {what}")
            panels.append(figure(f"HR@{k}, {what}", keys(list(rows), dashed=False), picture))
    note = "Repeat: the item stands earlier in its session. Head: the fifth of items seen most often."
    return _panels("Repeat and novel, head and tail", panels, note, not_drawn(left)) if panels else ""


def _across(report: Figures, found: Figures) -> str:
    """Methods over all data sets."""
    if not found:
        return ""
    baselines = {name for of in report["data"].values() for name in of["baselines"]}
    panels = []
    for name, methods in found.items():
        order = sorted(methods, key=lambda method: (method in baselines, -methods[method]["iqm"]))
        rows = {"": [_dot(methods[method], "iqm") for method in order]}
        label = f"{title(name)}, times the best baseline"
        panels.append(figure(label, "", dots([_short(method) for method in order], rows, label, label)))
    note = (
        "Each run over the best baseline of its data set: interquartile mean of all runs. Lines, and beneath figures, "
        f"are 95 % intervals by a bootstrap over seeds with data sets as strata, where each has {ENOUGH} seeds."
    )
    return _panels("Over all data sets", panels, note) + across_table(found)


def _dot(figure_: Figures | None, value: str = "mean") -> Dot | None:
    return (
        None
        if figure_ is None
        else Dot(figure_[value], None if not figure_["interval"] else tuple(figure_["interval"]))
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
        else "Bold: better than every other row by paired randomisation tests over sessions (Holm's correction within "
        "each figure, 5 %), and over seeds too, of which a single one can say nothing. Beneath: 95 % interval over "
        "seeds and sessions. Italics: baselines without a parameter."
    )
    tables = [results_table(compared, order, baselines, [*main, *rewards])]
    if click:
        tables.append(results_table(compared, order, baselines, click))
    tables.append(results_table(compared, order, baselines, parts))
    runs = [run for run in report["runs"] if run["data"] == name]
    by_method = dict(runs_by_method(runs))
    trained = {method: by_method[method] for method in order if method not in baselines}
    if beside := compared.get("beside_best"):
        summary = f"How much better {escape(beside['method'])} is than the others that share a seed with it"
        tables.append(f"<details><summary>{summary}</summary>{best_table(beside)}</details>")
    tables += [seeds_table(trained, [main[-2], main[-1], *rewards]), q_table(trained)]
    remarks = [(m, remark_of(of)) for m, of in by_method.items()]
    limited = "".join(f"<li>{escape(m)}: {said}" for m, said in remarks if said)
    failed = [f"{run['method']} seed {run['seed']}" for run in runs if run["state"] == "failed"]
    lost = f"<p class=lost>Left out of these tables: {escape(', '.join(failed))}.</p>" if failed else ""
    return section("Tables", f"{lost}<p class=note>{escape(marks)}</p>{''.join(tables)}<ul>{limited}</ul>")


def _published(published: Figures) -> str:
    """Each run beside what was published for its method, and which are not set beside it, and why."""
    rows, left_out = published.get("comparisons", ()), published.get("left_out", ())
    if not rows and not left_out:
        return ""
    header, lines = published_table(rows)
    cells = ["".join(f"<td>{'' if cell is None else escape(str(cell))}</td>" for cell in line) for line in lines]
    content = table(header, [f"<tr><th></th>{line}</tr>" for line in cells]) if rows else ""
    if impossible := list(dict.fromkeys(said for row in rows for said in row.get("impossible", ()))):
        items = "".join(f"<li>{escape(line)}" for line in impossible)
        content += f"<div class=lost><b>Published figures that no ranking can have.</b><ul>{items}</ul></div>"
    if left_out:
        items = "".join(f"<li>{escape(line)}" for line in left_out)
        content += f"<div class=lost><b>Runs not set beside them: {len(left_out)}.</b><ul>{items}</ul></div>"
    return section("Beside published figures", content)


def _runs(report: Figures) -> str:
    """What was run, in full."""
    shown = [
        {k: v for k, v in run.items() if k not in ("test", "validations", "best_validations")} for run in report["runs"]
    ]
    data = {name: {k: v for k, v in of.items() if k != "baselines"} for name, of in report["data"].items()}
    return section("Everything", details("Data sets and protocols", data) + details("Runs and settings", _once(shown)))


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
.verdict p{font-size:1.1rem}.narrow{max-width:34rem}summary{cursor:pointer;padding:.4rem 0}
input[name=axis]{position:fixed;top:0;opacity:0}
.axes label{border:1px solid var(--grid);border-radius:.4rem;padding:.3rem .7rem;margin:0 .2rem;cursor:pointer}
.events,.seconds{display:none}
#by-events:checked~section .steps,#by-seconds:checked~section .steps{display:none}
#by-events:checked~section .events,#by-seconds:checked~section .seconds{display:block}
#by-steps:checked~section label.by-steps,#by-events:checked~section label.by-events,
#by-seconds:checked~section label.by-seconds{background:var(--line-0);color:var(--paper)}
#by-steps:focus-visible~section label.by-steps,#by-events:focus-visible~section label.by-events,
#by-seconds:focus-visible~section label.by-seconds{outline:3px solid var(--ink);outline-offset:2px}
figure div>svg{width:100%;height:auto;display:block}pre{max-height:60vh}
"""
