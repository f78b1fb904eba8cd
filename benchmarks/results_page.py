"""Writes docs/results.md from the studies in benchmarks/results: python benchmarks/results_page.py"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median_low
from typing import Any

from machine import RESULTS, ROOT
from seqward.bench.shipped import shipped_studies, study_file
from seqward.bench.study import Key, read_study
from seqward.bench.summary import finished_on, published_table, remark_of, runs_by_method
from seqward.bench.tables import refuse_bad_rows

PAGE = ROOT / "docs" / "results.md"
GROUPS = ("goal", "goal_repeat", "goal_novel", "all")
"""Shown where the data have them; where nothing is a goal, ``all`` alone."""
Q = {"mean_q": "mean Q", "max_q": "largest Q", "mean_return": "mean return", "rank_correlation": "rank correlation"}
HEAD = """# Results

Made from `benchmarks/results/` by `python benchmarks/results_page.py`, and tested to be. Every figure is HR@20 on the
test split, ranked among the whole catalogue, unless its column says otherwise: the mean over the seeds, the lowest and
the highest of them, and in brackets the 95 % interval by a bootstrap over the sessions of the seed in the middle, moved
to the mean: it knows of no other seeds. The weights were chosen on validation by one metric, and the test split was
ranked once a run. A method that is not in a table has not been run yet. Marked "weights of phase 1" are runs of two
phases whose second brought no better validation: their figures are of the warm-up. Q of the item that was chosen is
held against the discounted return that followed in the log. What the figures say is told in [log.md](log.md).
"""

Figures = Mapping[str, Any]


def page(studies: Sequence[Figures]) -> str:
    """The page of the studies' results."""
    run = {study["study"] for study in studies}
    left = [name for name, _ in shipped_studies() if name not in run]
    lines = [f"Studies that come with the program and were not run yet: {', '.join(left)}.", ""] if left else []
    return "\n".join([HEAD, *lines, *(line for study in studies for line in _study(study))])


def _study(study: Figures) -> Iterator[str]:
    refuse_bad_rows(study)
    file = f"benchmarks/studies/{study['study']}.yaml"
    command = f"python benchmarks/run.py {file}" if (ROOT / file).is_file() else f"seqward bench {study['study']}"
    yield from (f"## {study['study']}", "", f"One command: `{command}`.{_missing(study)}")
    for name, data in study["data"].items():
        runs = finished_on(study, name)
        if runs:
            yield from ("", *_data(name, data, study["evaluate"], runs))
    if study.get("published", {}).get("comparisons"):
        header, rows = published_table(study["published"]["comparisons"])
        yield from ("", "Beside published figures:", "", *_table(header, rows))
    if lost := study.get("published", {}).get("left_out"):
        yield from ("", "Not set beside published figures:", "", *(f"- {line}" for line in lost))
    yield ""


def _missing(study: Figures) -> str:
    """How many runs of a study that comes with the program are not finished, by data set."""
    if study["study"] not in dict(shipped_studies()):
        return ""
    done = {Key(run["data"], run["method"], run["seed"]) for run in study["runs"] if run["state"] == "finished"}
    planned = read_study(study_file(study["study"])).runs()
    left = Counter(key.data for key in planned if key not in done)
    of = Counter(key.data for key in planned)
    return "".join(f" Not finished: {left[name]} of {of[name]} runs on {name}." for name in left)


def _data(name: str, data: Figures, rules: Figures, runs: Sequence[Figures]) -> Iterator[str]:
    tests = [run["test"] for run in runs]
    groups = [group for group in GROUPS if all(test[group] for test in tests)]
    groups = groups if "goal" in groups else ["all"]
    counts = ", ".join(f"{tests[0][group]['n']:,} of {group}" for group in groups)
    said = ", ".join(f"{key.replace('_', ' ')} {str(value).lower()}" for key, value in rules.items())
    prepared = ", ".join(f"{key} {value}" for key, value in data["recipe"].get("prepare", {}).items())
    yield f"*{name}*: {prepared or 'prepared by default'}{'; ' + said if said else ''}; test events: {counts}."
    yield ""
    first = groups[0]
    methods = sorted(runs_by_method(runs), key=lambda found: -_mean(found[1], first, "hr@20"))
    rows = [
        [
            method,
            len(of),
            *(_figure(of, group, "hr@20") for group in groups),
            _figure(of, first, "ndcg@20"),
            remark_of(of),
        ]
        for method, of in methods
    ]
    for baseline, figures in data["baselines"].items():
        shown = [_one(figures[group], "hr@20") for group in groups]
        rows.append([f"*{baseline}*", "", *shown, _one(figures[first], "ndcg@20"), ""])
    yield from _table(["method", "seeds", *groups, f"NDCG@20 of {first}", "remark"], rows)
    critics = [
        (method, [run["test"]["q"] for run in of]) for method, of in methods if all(run["test"].get("q") for run in of)
    ]
    if critics:
        shown = [[method, *(_range([q[name] for q in of]) for name in Q)] for method, of in critics]
        yield from ("", *_table(["method", *Q.values()], shown))


def _range(values: Sequence[float | None]) -> str:
    """Mean, least and largest; None is what has no value, such as a correlation with a constant."""
    known = [value for value in values if value is not None]
    return f"{fmean(known):.3f} ({min(known):.3f} to {max(known):.3f})" if known else ""


def _mean(runs: Sequence[Figures], group: str, metric: str) -> float:
    return fmean(run["test"][group][metric] for run in runs)


def _figure(runs: Sequence[Figures], group: str, metric: str) -> str:
    values = [run["test"][group][metric] for run in runs]
    mean, middle = fmean(values), runs[values.index(median_low(values))]["test"][group]
    spread = "" if len(values) == 1 else f" ({min(values):.4f} to {max(values):.4f})"
    return f"{mean:.4f}{spread}{_interval(middle, metric, mean - middle[metric])}"


def _one(figures: Figures | None, metric: str) -> str:
    return "" if not figures else f"{figures[metric]:.4f}{_interval(figures, metric)}"


def _interval(figures: Figures, metric: str, moved: float = 0.0) -> str:
    if not figures.get("ci"):
        return ""
    return " [{:.4f}, {:.4f}]".format(*(min(max(end + moved, 0.0), 1.0) for end in figures["ci"][metric]))


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join('' if cell is None else str(cell) for cell in line)} |" for line in lines]


def studies(folder: Path = RESULTS) -> list[Figures]:
    """The results that are of studies, by name."""
    found = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    return [result for result in found if "study" in result]


if __name__ == "__main__":
    PAGE.write_text(page(studies()))
    print(PAGE)
