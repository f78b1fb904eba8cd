"""Results of studies that nobody ran, as a page is drawn from."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from seqward.bench.events import figure_names


def big(sizes: tuple[int, int, int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A result of so many methods, seeds and validations, from the one that was run."""
    methods, seeds, points = sizes
    names = [f"{g}.{m}@{k}" for g in ("all", "goal", "click") for m in ("hr", "ndcg", "mrr") for k in (5, 10, 20)]
    names += [f"goal_{g}.{m}@{k}" for g in ("repeat", "novel") for m in ("hr", "ndcg", "mrr") for k in (5, 10, 20)]
    names += [f"{r}@{k}" for r in ("reward", "reward_per_event") for k in (5, 10, 20)]
    names += ["q.mean_q", "q.mean_return", "q.max_q", "q.gap"]
    random, labels = np.random.default_rng(0), [f"method-{i}" for i in range(methods)]
    value = random.random((methods, len(names), points))
    places = {axis: list(range(0, 50 * points, 50)) for axis in ("steps", "events", "seconds")}
    curves = {
        label: {
            "seeds": seeds,
            **places,
            "metrics": {
                name: {"mean": list(v), "low": list(v - 0.1), "high": list(v + 0.1)}
                for name, v in zip(names, value[i], strict=True)
            },
        }
        for i, label in enumerate(labels)
    }
    figure = {"seeds": seeds, "mean": 0.3, "iqm": 0.3, "low": 0.2, "high": 0.4, "interval": [0.2, 0.4]}
    shown = [n for n in figure_names([5, 10, 20]) if "ndcg" not in n]
    shown += [n for n in figure_names([5, 10, 20]) if "ndcg" in n]
    figures = {label: {n: figure | ({"mean": 0.29} if "ndcg" in n else {}) for n in shown} for label in labels}
    states = {"end": 1000, "states": [[0, "healthy", ""], [400, "warning", "|Q| grows"], [700, "diverged", "NaN"]]}
    test = {group: {"hr@20": 0.3, "ndcg@20": 0.29} for group in ("all", "goal", "click")} | {"reward@20": 0.3}
    runs = [
        {"data": "d", "method": label, "seed": s, "state": "finished", "test": test, "stopped": "all"}
        for label in labels
        for s in range(seeds)
    ]
    report = {"study": "big", "data": {"d": {"baselines": {}}}, "runs": runs}
    found = {
        "compared": {"d": {"figures": figures, "best": {}, "untested": []}},
        "across": {},
        "curves": {"d": curves},
        "guard": {"d": {f"{r['method']}, seed {r['seed']}": {**states} for r in runs}},
        "sweeps": {},
        "verdicts": {},
        "left_out": [],
    }
    return report, found


def renamed(what: Any, names: dict[str, str]) -> Any:
    """The same with other names of methods and data, wherever they stand."""
    text = json.dumps(what)
    for before, after in names.items():
        text = re.sub(rf'"{before}(?=[",])', lambda _, after=after: json.dumps(after)[:-1], text)
    return json.loads(text)
