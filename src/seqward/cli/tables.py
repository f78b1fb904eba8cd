"""What evaluation found, as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seqward.stability.told import marked

Figures = Mapping[str, Any]


def refuse_impossible_rows(metrics: Figures, model: str) -> None:
    """Refuse to show an evaluation that no ranking can have, be it by a defect of this program.

    Raises:
        Finding: names the rows and the bounds they break.
    """
    from seqward.lint import refuse_impossible_figures

    refuse_impossible_figures(_rankers(metrics, model), metrics["protocol"]["data"])


def by_group(metrics: Figures, model: str) -> tuple[list[str], list[list[Any]]]:
    """Header and rows of the groups' metrics: for each group the model, then the baselines.

    The last column is the 95 % interval of NDCG at the largest cut-off.
    """
    ks = metrics["protocol"]["cutoffs"]
    names = [f"{metric}@{k}" for metric in ("hr", "ndcg") for k in ks]
    last = f"ndcg@{max(ks)}"
    groups = [group for group, figures in metrics["model"].items() if isinstance(figures, dict) and last in figures]
    rows = [
        [group, name, figures["n"], *(figures[metric] for metric in names), _interval(figures, last)]
        for group in groups
        for name, one in _rankers(metrics, model)
        for figures in [one[group]]
    ]
    return ["group", "method", "events", *names, f"{last} 95%"], rows


def under_groups(header: list[str], rows: list[list[Any]]) -> tuple[list[str], list[list[Any]]]:
    """``by_group`` with a line for each group instead of two columns: what fits 80 columns."""
    narrow: list[list[Any]] = []
    for group, name, events, *figures in rows:
        title = [f"{group}: {events} events", *[None] * len(figures)]
        narrow += [[name, *figures]] if title in narrow else [title, [name, *figures]]
    return header[1:2] + header[3:], narrow


def by_ranker(metrics: Figures, model: str) -> tuple[list[str], list[list[Any]]]:
    """Header and rows of what is not split by group: the reward collected and what is recommended."""
    k = max(metrics["protocol"]["cutoffs"])
    rows = [
        [
            name,
            one[f"reward@{k}"],
            one[f"reward_per_event@{k}"],
            one["recommended"][f"coverage@{k}"],
            one["recommended"][f"popularity@{k}"],
        ]
        for name, one in _rankers(metrics, model)
    ]
    return ["method", f"reward@{k}", f"reward per event@{k}", f"coverage@{k}", f"popularity@{k}"], rows


def _rankers(metrics: Figures, model: str) -> list[tuple[str, Figures]]:
    """The model and the baselines, once each where the model is a baseline."""
    name = marked(model, metrics["protocol"].get("repairs", ()))
    return list({name: metrics["model"], **metrics["baselines"]}.items())


def _interval(figures: Figures, metric: str) -> str | None:
    return None if figures["ci"] is None else "{:.3f}-{:.3f}".format(*figures["ci"][metric])
