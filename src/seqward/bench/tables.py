"""The tables of a study's page; each row passes through the linter before it is shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from seqward.bench.study import Key
from seqward.lint import refuse_impossible, refuse_impossible_figures, refuse_mixed
from seqward.report import table

Figures = Mapping[str, Any]


def refuse_bad_rows(report: Figures) -> None:
    """Refuse to show a study of which a run or a baseline is impossible, or runs are of different protocols.

    Raises:
        Finding: names the rows and the bounds they break.
    """
    for name, data in report["data"].items():
        runs = [run for run in report["runs"] if run["data"] == name and run["state"] == "finished"]
        refuse_mixed({str(Key(name, r["method"], r["seed"])): r.get("evaluation", {}) for r in runs}, f"data {name}")
        rows = [(f"{run['method']} seed {run['seed']}", run["test"]) for run in runs]
        rows += [
            (f"{run['method']} seed {run['seed']}, best validations", run["best_validations"])
            for run in runs
            if "best_validations" in run
        ]
        refuse_impossible_figures([*rows, *data["baselines"].items()], data.get("protocol", {}))


def columns(figures: Mapping[str, Figures], names: Sequence[str]) -> list[str]:
    """Those of the names that every method has."""
    return [name for name in names if all(name in of for of in figures.values())]


def results_table(compared: Figures, order: Sequence[str], baselines: Iterable[str], names: Sequence[str]) -> str:
    """Methods by figures: mean over seeds, beneath it the 95 % interval; best in bold where significant.

    Raises:
        Finding: a row is impossible.
    """
    figures, best = compared["figures"], compared["best"]
    shown = columns(figures, names)
    for method in order:
        for group in dict.fromkeys(name.rpartition(".")[0] for name in shown if "." in name):
            means = {n.rpartition(".")[2]: figures[method][n]["mean"] for n in shown if n.startswith(f"{group}.")}
            refuse_impossible([(method, group, means)])
    rows = []
    for method in order:
        cells = [_cell(figures[method][name], _is_best(best, name, method)) for name in shown]
        seeds = max(figures[method][name]["seeds"] for name in shown) if shown else 0
        label = f"<i>{escape(method)}</i>" if method in baselines else escape(method)
        rows.append(f"<tr><th>{label}</th><td>{'' if method in baselines else seeds}</td>{''.join(cells)}</tr>")
    return table(["seeds", *map(title, shown)], rows)


def _is_best(best: Figures, name: str, method: str) -> bool:
    return name in best and best[name]["method"] == method and best[name]["significant"]


def _cell(figure: Figures, best: bool) -> str:
    text = number(figure["mean"])
    interval = " to ".join(number(end) for end in figure["interval"] or ())
    bold = f"<b class=best>{text}</b>" if best else text
    return f"<td>{bold}{f'<small>{interval}</small>' if interval else ''}</td>"


def seeds_table(compared: Figures, order: Sequence[str], names: Sequence[str]) -> str:
    """Over seeds alone: interquartile mean, lowest and highest."""
    figures = compared["figures"]
    shown, rows = columns(figures, names), []
    for method in order:
        cells = "".join(
            f"<td>{number(f['iqm'])}<small>{number(f['low'])} to {number(f['high'])}</small></td>"
            for f in (figures[method][name] for name in shown)
        )
        rows.append(f"<tr><th>{escape(method)}</th>{cells}</tr>")
    return table([f"{title(name)}, IQM" for name in shown], rows)


def evidence_table(verdict: Figures) -> str:
    """Every difference that a verdict rests on."""
    rows = []
    for part, of in (("rl", verdict["supervised"]), ("controls", verdict.get("winner", ""))):
        for label, row in verdict[part].items():
            pair = (label, of) if part == "rl" else (of, label)
            interval = "{:+.4f} to {:+.4f}".format(*row["interval"]) if row["interval"] else "one seed"
            cells = [f"{row['difference']:+.4f}<small>{interval}</small>", f"{row['p_adjusted']:.3g}"]
            cells.append("" if row["effect"] is None else f"{row['effect']:+.3f}")
            said = f"{escape(pair[0])} less {escape(pair[1])}"
            rows.append(f"<tr><th>{said}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return table([f"{title(verdict['metric'])}, 95 % interval", "p (Holm)", "effect size"], rows)


def title(name: str) -> str:
    """goal_repeat.ndcg@20 -> goal repeat NDCG@20"""
    group, dot, metric = name.rpartition(".")
    return f"{group.replace('_', ' ')} {metric.upper()}" if dot else name.capitalize()


def number(value: float) -> str:
    """A share with four decimals, a sum with one."""
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.4f}"
