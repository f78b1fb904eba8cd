"""One run as one HTML file: pictures, tables, the protocol in words. Nothing is fetched from outside."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from seqward.atomic import write_text
from seqward.errors import SeqwardError
from seqward.lint import refuse_impossible_figures
from seqward.metrics import GROUPS, METRICS
from seqward.panels import GROUP_TITLES, Record, marks, metric_title, training_panels
from seqward.pictures import STYLE as PICTURES
from seqward.pictures import Dot, curves, dots, keys
from seqward.run import Run
from seqward.runlog import read_log
from seqward.stability.told import marked


def write_report(run: Path | str, out: Path | str, metrics: Path | str | None = None) -> Path:
    """Write the report of a run folder; a run that was not evaluated yet has its curves only.

    Args:
        metrics: the evaluation to tell of; ``metrics.json`` of the run by default.

    Raises:
        SeqwardError: ``run`` is no run folder, ``metrics`` is missing or broken, or ``out`` cannot be written.
        Finding: a row is impossible; the report that was there stays.
    """
    folder, out = Path(run), Path(out)
    if not out.parent.is_dir() or (out.exists() and not out.is_file()):
        raise SeqwardError(
            f"{out} cannot be written: expected a file name in a folder that exists. Give another --out."
        )
    if metrics is not None and not Path(metrics).is_file():
        raise SeqwardError(f"{metrics} does not exist: expected metrics that `seqward evaluate` wrote.")
    found = _metrics(Path(metrics) if metrics else folder / "metrics.json")
    page = _page(Run(folder).description, found, read_log(folder / "log.jsonl"))
    try:
        write_text(out, page)
    except OSError as error:
        raise SeqwardError(f"{out} cannot be written: {error.strerror or error}.") from error
    return out


def _metrics(file: Path) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    try:
        metrics = json.loads(file.read_text(encoding="utf-8"))
        complete = {"protocol", "split", "model", "baselines"} <= metrics.keys()
    except (ValueError, AttributeError):
        complete, metrics = False, None
    if not complete:
        raise SeqwardError(f"{file} cannot be read: it was cut off or edited. Run `seqward evaluate` again.")
    return metrics


def _page(description: Record, metrics: dict[str, Any] | None, records: Sequence[Record]) -> str:
    name = description["method"]
    training = [_training(records)] if records else []
    about = {key: description[key] for key in ("settings", "seed", "versions", "state") if key in description}
    if metrics is None:
        body = [
            "<p>Not evaluated yet: <code>seqward evaluate</code> adds the comparison and the tables.</p>",
            *training,
        ]
    else:
        baselines = {key: value for key, value in metrics["baselines"].items() if key != name}
        scorers = {marked(name, metrics["protocol"].get("repairs", ())): metrics["model"], **baselines}
        refuse_impossible_figures(scorers.items(), metrics["protocol"]["data"])
        ks = metrics["protocol"]["cutoffs"]
        words = "".join(f"<li>{escape(sentence)}" for sentence in protocol_in_words(metrics))
        p = metrics["protocol"]
        size = f"{p['events']:,} events of {p['sessions']:,} sessions, ranked among {p['candidates']:,} items"
        body = [
            f"<p>{escape(metrics['split'])} split: {size}.</p>",
            _comparison(scorers, ks),
            *training,
            section("Figures", _group_table(scorers, ks) + _whole_table(scorers, ks) + _critic(metrics["model"])),
            section("Protocol", f"<ul>{words}</ul>" + details("Every entry", metrics["protocol"])),
        ]
    body.append(section("Run", details("Settings, versions and state", about)))
    return f"{head(name)}<h1>{escape(name)}</h1>\n" + "\n".join(body) + "\n</main>\n</html>\n"


# ------------------------------------------------------------------------------------------------------------ pictures


def _comparison(scorers: Mapping[str, Record], ks: Sequence[int]) -> str:
    """The model beside the baselines in each group that has events, with intervals, at the largest cut-off."""
    shown = [group for group in GROUPS if any(figures[group] for figures in scorers.values())]
    panels = []
    for key in (f"hr@{max(ks)}", f"ndcg@{max(ks)}"):
        title = metric_title(key)
        rows = {name: [_dot(figures[group], key) for group in shown] for name, figures in scorers.items()}
        picture = dots([GROUP_TITLES[group] for group in shown], rows, title, f"{title} by group and method")
        panels.append(figure(title, keys(list(rows), dashed=False), picture))
    note = "<p class=note>Lines are 95 % intervals over sessions; methods from top to bottom as they are listed.</p>"
    return section("Against the baselines", f"<div class=panels>{''.join(panels)}</div>{note}")


def _dot(figures: Record | None, key: str) -> Dot | None:
    if figures is None:
        return None
    ci = figures["ci"]
    return Dot(figures[key], tuple(ci[key]) if ci else None)


def _training(records: Sequence[Record]) -> str:
    """Every panel over steps, with what these come to in events and time."""
    last, at = records[-1], marks(records)
    sections = []
    for heading, panels in training_panels(records).items():
        pictures = [
            figure(
                panel.title,
                keys([line.name for line in panel.lines], dashed=True) if len(panel.lines) > 1 else "",
                curves(panel.lines, "steps", f"{panel.title} over steps", at, until=last["step"]),
            )
            for panel in panels
        ]
        said = _states(records) if heading == "Stability" else ""
        sections.append(f"<h3>{heading}</h3>{said}<div class=panels>{''.join(pictures)}</div>")
    note = f"{last['step']:,} steps: {last['events']:,} training events in {last['seconds']:,.0f} seconds."
    if "best" in at:
        note += " The flag &ldquo;best&rdquo; is the validation whose state is kept."
    return section("Training", f"<p class=note>{note}</p>{''.join(sections)}")


def _states(records: Sequence[Record]) -> str:
    """What the guard said and did, in order."""
    told = [record for record in records if record["kind"] in ("guard", "repair") and "text" in record]
    if not told:
        return "<p>The guard saw nothing unusual.</p>"
    lines = "".join(f"<li>Step {record['step']:,}: {escape(record['text'])}" for record in told)
    return f"<ul>{lines}</ul>"


def figure(title: str, legend: str, picture: str) -> str:
    return f"<figure><figcaption><b>{escape(title)}</b> {legend}</figcaption>{picture}</figure>"


# -------------------------------------------------------------------------------------------------------------- tables


def _group_table(scorers: Mapping[str, Record], ks: Sequence[int]) -> str:
    """Every metric of every group, each with its interval beneath."""
    keys = [f"{metric}@{k}" for metric in METRICS for k in ks]
    rows = []
    for group in GROUPS:
        first = next(iter(scorers.values()))[group]  # all are of the same events
        counted = f"{first['n']:,} events" if first else "no event"
        rows.append(f"<tr class=group><th colspan={1 + len(keys)}>{GROUP_TITLES[group]}: {counted}</th></tr>")
        rows += [
            _row(name, [cell(figures[group][key], (figures[group]["ci"] or {}).get(key)) for key in keys])
            for name, figures in scorers.items()
            if figures[group]
        ]
    return table([metric_title(key) for key in keys], rows)


def _whole_table(scorers: Mapping[str, Record], ks: Sequence[int]) -> str:
    """What is not split by group: the reward collected and what is recommended."""
    k = max(ks)
    titles = [f"reward@{k}", "an event", f"coverage@{k}", f"popularity@{k}", "popularity of what came next"]
    rows = []
    for name, figures in scorers.items():
        ci, listed = figures["ci"] or {}, figures["recommended"]
        rewards = [cell(figures[key], ci.get(key)) for key in (f"reward@{k}", f"reward_per_event@{k}")]
        others = (f"coverage@{k}", f"popularity@{k}", "popularity_of_targets")
        rows.append(_row(name, [*rewards, *(cell(listed[key]) for key in others)]))
    note = "Coverage: share of the vocabulary recommended at least once. Popularity: mean training events."
    return f"{table(titles, rows)}<p class=note>{note}</p>"


def _critic(model: Record) -> str:
    q = model.get("q")
    if not q:
        return ""
    correlation = q["rank_correlation"]
    over = "above" if q["gap"] > 0 else "below"
    return (
        f"<p>At {q['n']:,} logged items Q is {q['mean_q']:.4f} on average (at most {q['max_q']:.4f}), "
        f"{abs(q['gap']):.4f} {over} the discounted return of {q['mean_return']:.4f} that followed; rank correlation "
        f"{'unknown (constant)' if correlation is None else format(correlation, '.3f')}.</p>"
    )


def table(titles: Iterable[str], rows: Iterable[str]) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    return f"<div class=scroll><table><tr><th></th>{head}</tr>{''.join(rows)}</table></div>"


def _row(name: str, cells: Iterable[str]) -> str:
    return f"<tr><th>{escape(name)}</th>{''.join(cells)}</tr>"


def cell(value: float | None, interval: Sequence[float] | None = None, best: bool = False) -> str:
    """A share with four decimals, a sum with one, and as many at both ends of its interval."""
    if value is None:
        return "<td></td>"
    decimals = 1 if abs(value) >= 10 else 4
    low_high = " to ".join(f"{end:,.{decimals}f}" for end in interval or ())
    text = f"{value:,.{decimals}f}"
    bold = f"<b class=best>{text}</b>" if best else text
    return f"<td>{bold}{f'<small>{low_high}</small>' * bool(low_high)}</td>"


# ------------------------------------------------------------------------------------------------------------ protocol


def protocol_in_words(metrics: Record) -> list[str]:
    """How the figures came about, a sentence each; what a data set's protocol does not tell is left out."""
    p = metrics["protocol"]
    first = "the first event of a session included" if p["first_events"] else "the first event of a session left out"
    history = "are no candidates" if p["exclude_history"] else "stay candidates"
    return [
        f"Ranked were {p['events']:,} events of {p['sessions']:,} sessions, the {metrics['split']} split, {first}.",
        f"Each target stood among all {p['candidates']:,} items of the vocabulary; items of its history {history}.",
        f"Items outside the vocabulary are {p['unknown_items']}; {p['unknown_targets']:,} targets are such.",
        f"Ties: {p['ties']}. An item scored minus infinity is no candidate and never a hit.",
        f"Intervals: {p['intervals']}, {p['resamples']:,} resamples. What is recommended and Q: at most "
        f"{p['sample']:,} events, drawn by seed {p['seed']}.",
        *([f"Popularity counts {p['popularity']}."] if "popularity" in p else []),
        *_data_in_words(p["data"]),
    ]


def _data_in_words(data: Record) -> list[str]:
    sentences = []
    counts = data.get("counts", {})
    if {"events", "sessions", "items"} <= counts.keys():
        size = [f"{counts[key]:,} {key}" for key in ("events", "sessions", "items")]
        sentences.append(f"The data set has {', '.join(size)}.")
    for key, name in (("split", "Split"), ("vocabulary", "Vocabulary")):
        if key in data:
            sentences.append(f"{name}: {data[key]['name']}, {data[key]['rule']}.")
    sentences += [
        f"Removed before: {step['filter']} ({step['events']:,} events)."
        for step in data.get("filters", ())
        if step["events"]
    ]
    sentences += [f"Warning of prepare: {warning}" for warning in data.get("warnings", ())]
    return sentences


# ---------------------------------------------------------------------------------------------------------------- page


def section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{content}</section>"


def details(title: str, content: Any) -> str:
    text = escape(json.dumps(content, indent=2, ensure_ascii=False))
    return f"<details><summary>{title}</summary><pre>{text}</pre></details>"


def head(title: str, what: str = "report", style: str = "") -> str:
    return (
        '<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n<meta name=viewport content="width=device-width">\n'
        f"<title>{escape(title)}: {what}</title>\n<style>{STYLE}{PICTURES}{style}</style>\n<main>\n"
    )


STYLE = """
:root{color-scheme:light dark;--soft:#666}@media (prefers-color-scheme:dark){:root{--soft:#9a9a9a}}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.45 system-ui,sans-serif}
main{max-width:75rem;margin:auto;padding:.5rem 1rem 3rem}
h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2rem}h3{font-size:1rem}
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,20rem),1fr));gap:1rem}
.note,small{color:var(--soft);font-size:.8rem}small{display:block;white-space:nowrap}
.scroll{overflow-x:auto}table{border-collapse:collapse;margin:.5rem 0}
th,td{padding:.25rem .6rem;text-align:right;vertical-align:top;border-bottom:1px solid var(--grid)}
td{font-variant-numeric:tabular-nums}
th:first-child{text-align:left;white-space:nowrap;position:sticky;left:0;background:var(--paper)}
.group th{padding-top:1rem;color:var(--soft);font-weight:normal}
pre{overflow-x:auto;font-size:.8rem}
"""
