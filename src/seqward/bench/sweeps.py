"""A metric over the values of a setting that a study sweeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from seqward.bench.results import deciding
from seqward.bench.study import Study, in_words
from seqward.pictures import Line

Figures = Mapping[str, Any]


def sweeps_of(study: Study, compared: Figures) -> dict[str, list[dict[str, Any]]]:
    """Data set -> a sweep for each swept setting and metric: ``setting``, ``metric``, ``values`` and ``lines``.

    A line is a method with its other swept settings held: its points are ``[number of the value, mean, low, high]``.
    """
    settings = list(dict.fromkeys(key for of in study.swept.values() for key in of["values"]))
    found: dict[str, list[dict[str, Any]]] = {}
    for name, of in compared.items():
        figures = of["figures"]
        labels = [label for label in study.swept if label in figures]
        group, k = deciding(figures.values())
        for setting in settings:
            for metric in (f"{group}.hr@{k}", f"{group}.ndcg@{k}", f"reward@{k}"):
                sweep = _sweep(study, figures, [la for la in labels if setting in _values(study, la)], setting, metric)
                if sweep["lines"]:
                    found.setdefault(name, []).append(sweep)
    return found


def _values(study: Study, label: str) -> dict[str, Any]:
    return study.swept[label]["values"]


def _sweep(study: Study, figures: Figures, labels: list[str], setting: str, metric: str) -> dict[str, Any]:
    given = [_values(study, label)[setting] for label in labels]
    values = [value for i, value in enumerate(given) if value not in given[:i]]
    if all(isinstance(value, int | float) for value in values):
        values.sort()
    lines: dict[str, list[list[float]]] = {}
    for label in labels:
        held = {key: value for key, value in _values(study, label).items() if key != setting}
        line = " ".join([study.swept[label]["of"], *(f"{k.rpartition('.')[2]}={in_words(v)}" for k, v in held.items())])
        if metric in figures[label]:
            at = [figures[label][metric][way] for way in ("mean", "low", "high")]
            lines.setdefault(line, []).append([values.index(_values(study, label)[setting]), *at])
    return {"setting": setting, "metric": metric, "values": values, "lines": {k: sorted(v) for k, v in lines.items()}}


def sweep_lines(sweep: Figures) -> list[Line]:
    """As curves over the number of the value."""
    lines = []
    for label, points in sweep["lines"].items():
        x, y, low, high = np.array(points, dtype=float).T
        lines.append(Line(label, x, y, (low, high)))
    return lines
