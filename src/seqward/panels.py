"""What a training log shows: every loss term, validation metric and scale of Q, as curves that share a picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqward.metrics import GROUPS, METRICS
from seqward.pictures import Line

Record = Mapping[str, Any]
GROUP_TITLES = {name: name.replace("_", " ") for name in GROUPS}
OF_STEPS = {
    "Q in training": {"logged items": "q_mean", "largest of those": "q_max", "greedy items": "q_greedy"},
    "Norm of the gradient": {"norm": "grad_norm"},
    "Training events a second": {"events a second": "events_per_second"},
}
OF_PROBES = {
    "Largest |Q| over the largest possible return": {"on the probe": "q_over_bound"},
    "TD error on the probe": {"mean": "td_mean", "root mean square": "td_rms"},
    "Q above the return, in standard deviations": {"on the probe": "overestimation"},
    "Conservative gap, less log(items)": {"on the probe": "conservative_gap"},
    "Loss over its median": {"largest since the last probe": "loss_ratio"},
    "Unusual gradients": {"largest z since the last probe": "grad_z"},
    "Cumulative sum of unusual gradients": {"largest since the last probe": "grad_surge"},
    "Rank of the states": {"on the probe": "feature_rank"},
    "Dormant units": {"share": "dormant"},
    "Recommended lists": {"coverage": "coverage", "churn": "churn"},
}
OF_VALIDATIONS = {
    "Q and the return, validation": {"mean Q": "mean_q", "mean return": "mean_return"},
    "Largest Q, validation": {"largest Q": "max_q"},
    "Rank correlation of Q and return": {"Spearman": "rank_correlation"},
}


class Panel(NamedTuple):
    """Curves over steps that share a picture."""

    title: str
    lines: list[Line]


def metric_title(key: str) -> str:
    """ndcg@20 -> NDCG@20"""
    return key.upper()


def training_panels(records: Sequence[Record]) -> dict[str, list[Panel]]:
    """The panels of a log by section; those without a value are left out."""
    steps = [record for record in records if record["kind"] == "step"]
    validations = [record for record in records if record["kind"] == "validation"]
    probes = [record for record in records if record["kind"] == "guard" and "signals" in record]
    terms = _distinct(symbol for record in steps for symbol in record["terms"])
    panels = {
        "Loss terms": [_panel(symbol, steps, {symbol: ("terms", symbol)}) for symbol in terms],
        "Validation": _ranking_panels(validations),
        "Q, gradient and speed": [
            *(_panel(title, steps, {name: (key,) for name, key in keys.items()}) for title, keys in OF_STEPS.items()),
            *(
                _panel(title, validations, {name: ("metrics", "q", key) for name, key in keys.items()})
                for title, keys in OF_VALIDATIONS.items()
            ),
        ],
        "Stability": [
            _panel(title, probes, {name: ("signals", key) for name, key in keys.items()})
            for title, keys in OF_PROBES.items()
        ],
    }
    drawn = {section: [panel for panel in found if panel.lines] for section, found in panels.items()}
    return {section: found for section, found in drawn.items() if found}


def _ranking_panels(validations: Sequence[Record]) -> list[Panel]:
    """One for each metric and cut-off with a line for each group, then Reward@k."""
    keys = _distinct(key for record in validations for group in GROUPS for key in record["metrics"].get(group) or {})
    panels = [
        _panel(metric_title(key), validations, {GROUP_TITLES[group]: ("metrics", group, key) for group in GROUPS})
        for metric in METRICS
        for key in keys
        if key.startswith(f"{metric}@")
    ]
    totals = _distinct(key for record in validations for key in record["metrics"])
    for prefix, title in (("reward@", "Reward, sum over hits"), ("reward_per_event@", "Reward an event")):
        at = {f"at {key.removeprefix(prefix)}": ("metrics", key) for key in totals if key.startswith(prefix)}
        panels.append(_panel(title, validations, at))
    return panels


def _panel(title: str, records: Sequence[Record], paths: Mapping[str, tuple[str, ...]]) -> Panel:
    """The curves whose values stand at ``paths`` of the records; what is missing or not finite is left out."""
    lines = []
    for name, path in paths.items():
        points = [(float(r["step"]), value) for r in records if (value := _value(r, path)) is not None]
        if points:
            x, y = np.array(points).T
            lines.append(Line(name, x, y))
    return Panel(title, lines)


def _value(record: Any, path: Iterable[str]) -> float | None:
    for key in path:
        record = record.get(key) if isinstance(record, Mapping) else None
    return float(record) if isinstance(record, int | float) and np.isfinite(record) else None


def _distinct(keys: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(keys))


def marks(records: Sequence[Record]) -> dict[str, float]:
    """Steps where a phase begins, and that of the last best validation, whose state is kept."""
    begins = {r["text"].removesuffix(" begins"): r for r in records if r["kind"] == "event" and "begins" in r["text"]}
    best = [r for r in records if r["kind"] == "validation" and r["best"]][-1:]
    return {name: float(r["step"]) for name, r in (*begins.items(), *(("best", r) for r in best))}
