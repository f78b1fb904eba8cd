"""Full-catalogue evaluation of any scorer on the events of a split, in batches of bounded size.

What a scorer reads is in ``reading.py``. No [events, items] matrix exists: a rank is counted by the scores themselves.
A target outside the vocabulary is a miss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqward.backbones.backbone import Histories
from seqward.baselines import BASELINES, training_counts
from seqward.catalogue.scores import MISS, Pairs
from seqward.data.dataset import Dataset
from seqward.data.returns import discounted_returns
from seqward.errors import Finding, SeqwardError, check_whole
from seqward.metrics import CUTOFFS, Outcomes, q_against_returns, summarise_with_intervals
from seqward.model import Scorer
from seqward.reading import Batch, Ints, Targets, already_seen, batches, events_of_sessions, targets

SAMPLE = 10_000
"""Events whose recommendations and Q are looked at."""

TESTED_ON_TRAINING = ", which are ranked here, too: its figures are flattered"

Progress = Callable[[int, int], None]
"""Called with the events done and the events in all."""


def _on(device: torch.device, batch: Batch, targets: Targets, exclude_history: bool) -> tuple[Histories, Pairs | None]:
    histories = batch.histories.to(device)
    if not exclude_history:
        return histories, None
    return histories, Pairs(*(field.to(device) for field in already_seen(targets, batch)))


def ranks_of(
    scorer: Scorer, targets: Targets, *, exclude_history: bool = False, progress: Progress | None = None
) -> Ints:
    """[targets] rank of each target among the whole catalogue; MISS where it is unknown or no candidate.

    Args:
        exclude_history: the items of the whole earlier session are no candidates (so repeats are always missed).

    Raises:
        Finding: a score is not a number.
    """
    rank = np.full(len(targets), MISS, dtype=np.int64)
    done = 0
    for batch in batches(targets, scorer.context, causal=scorer.causal):
        with _named(scorer):
            histories, exclude = _on(_device(scorer), batch, targets, exclude_history)
            scores = scorer.score(histories, batch.every)
            row = batch.row.to(histories.items.device)
            asked = torch.zeros(scores.n_rows, dtype=torch.int64, device=row.device)
            asked[row] = torch.from_numpy(targets.item[batch.target]).to(row.device)
            rank[batch.target] = scores.rank_of(asked, exclude)[row].cpu().numpy()
        done += len(batch.target)
        if progress:
            progress(done, int(targets.known.sum()))
    return rank


def outcomes(data: Dataset, targets: Targets, rank: Ints) -> Outcomes:
    """The ranks with what the metrics need to know of each event."""
    event = targets.event
    return Outcomes(
        rank=rank,
        goal=data.goal[event],
        repeat=targets.repeat,
        known=targets.known,
        reward=data.reward[event],
        session=np.searchsorted(data.offsets, event, side="right") - 1,
    )


def recommended(
    scorer: Scorer, data: Dataset, targets: Targets, ks: Sequence[int], *, exclude_history: bool, sample: int, seed: int
) -> dict[str, Any]:
    """What is recommended at a seeded sample of events with a known target.

    Returns:
        ``coverage@k``, the share of the vocabulary that is recommended at least once, and ``popularity@k``, the mean
        number of training events of what is recommended (None where nothing is), beside that of the targets.
    """
    chosen = _sample(targets, sample, seed)
    counts = training_counts(data)
    times = {k: np.zeros(targets.n_items, dtype=np.int64) for k in ks}
    for batch in batches(targets, scorer.context, chosen):
        with _named(scorer):
            histories, exclude = _on(_device(scorer), batch, targets, exclude_history)
            best = scorer.score(histories).topk(max(ks), exclude).items.cpu().numpy()
        for k in ks:
            listed = best[:, :k]
            times[k] += np.bincount(listed[listed >= 0], minlength=targets.n_items)
    figures: dict[str, Any] = {"events": len(chosen)}
    for k in ks:
        figures[f"coverage@{k}"] = float((times[k] > 0).mean())
        figures[f"popularity@{k}"] = float(times[k] @ counts / times[k].sum()) if times[k].any() else None
    figures["popularity_of_targets"] = float(counts[targets.item[chosen]].mean()) if len(chosen) else None
    return figures


def q_of_log(
    scorer: Any, data: Dataset, targets: Targets, *, sample: int = SAMPLE, seed: int = 0
) -> dict[str, Any] | None:
    """Q of the logged items against the discounted return that followed, at a seeded sample of known targets.

    Args:
        scorer: has ``values(histories)`` and the discount ``gamma`` beside ``score``.

    Returns:
        As ``metrics.q_against_returns``; None where no target is known.

    Raises:
        Finding: a value is not finite.
    """
    chosen = _sample(targets, sample, seed)
    q = np.empty(len(targets))
    for batch in batches(targets, scorer.context, chosen):
        with _named(scorer):
            histories, _ = _on(_device(scorer), batch, targets, exclude_history=False)
            items = torch.from_numpy(targets.item[batch.target])
            q[batch.target] = scorer.values(histories).at(items.to(histories.items.device)).detach().cpu().numpy()
    if not len(chosen):
        return None
    if not np.isfinite(q[chosen]).all():
        raise Finding(f"{_name(scorer)}: Q is not finite at {(~np.isfinite(q[chosen])).sum()} of {len(chosen)} events.")
    return q_against_returns(q[chosen], _returns(data, targets.event[chosen], scorer.gamma))


def _sample(targets: Targets, sample: int, seed: int) -> Ints:
    known = np.flatnonzero(targets.known)
    return np.sort(np.random.default_rng(seed).choice(known, min(sample, len(known)), replace=False))


def _returns(data: Dataset, event: Ints, gamma: float) -> NDArray[np.float64]:
    """[events] discounted return of each event, to the end of its whole session."""
    read, session = np.unique(np.searchsorted(data.offsets, event, side="right") - 1, return_inverse=True)
    flat, starts = events_of_sessions(data.offsets, read)
    return discounted_returns(data.reward[flat], starts, gamma)[starts[session] + event - data.offsets[read[session]]]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One scorer on one split."""

    split: str
    protocol: dict[str, Any]
    outcomes: Outcomes
    figures: dict[str, Any]
    """Groups with their metrics and intervals, Reward@k, ``recommended``, and ``q`` where there is a critic."""


def evaluate(
    scorer: Scorer,
    data: Dataset,
    split: str,
    *,
    ks: Sequence[int] = CUTOFFS,
    first_events: bool = True,
    exclude_history: bool = False,
    bootstrap: int = 1000,
    seed: int = 0,
    sample: int = SAMPLE,
    progress: Progress | None = None,
) -> Evaluation:
    """Rank every event of a split among the whole catalogue and say how sure the figures are.

    Args:
        split: "validation" or "test"; "all" for scorers without parameters only, which learn from no event.
        ks: cut-offs.
        first_events: whether events without a history count.
        exclude_history: whether items of the earlier session are no candidates.
        bootstrap: resamples of the intervals.
        seed: of the intervals and the sample.
        sample: events whose recommendations and Q are looked at.

    Raises:
        SeqwardError: no such split, no event in it, a cut-off below 1, or "all" for a trained model.
        Finding: a score is not a number.
    """
    if not isinstance(ks, Sequence) or not ks or not all(isinstance(k, Integral) and k >= 1 for k in ks):
        raise SeqwardError(f"cut-offs are whole numbers from 1 on, such as (5, 10); got {ks!r}.")
    check_whole("bootstrap", bootstrap, 1)
    check_whole("sample", sample, 0)
    check_whole("seed", seed, 0)
    if split in ("all", "train") and type(scorer) not in BASELINES.values():
        raise SeqwardError(f"the split {split!r} holds the events that the model was trained on. Evaluate it on test.")
    wanted = targets(data, split, first_events=first_events)
    found = outcomes(data, wanted, ranks_of(scorer, wanted, exclude_history=exclude_history, progress=progress))
    figures = summarise_with_intervals(found, ks, resamples=bootstrap, seed=seed)
    figures["recommended"] = recommended(
        scorer, data, wanted, ks, exclude_history=exclude_history, sample=sample, seed=seed
    )
    if getattr(scorer, "critic", None) is not None:
        figures["q"] = q_of_log(scorer, data, wanted, sample=sample, seed=seed)
    protocol = {
        **_rules(wanted),
        "cutoffs": list(ks),
        "first_events": first_events,
        "exclude_history": exclude_history,
        "resamples": bootstrap,
        "sample": sample,
        "seed": seed,
        "popularity": "training events" + TESTED_ON_TRAINING * (split in ("all", "train")),
        "data": data.protocol,
    }
    return Evaluation(split, protocol, found, figures)


def _rules(targets: Targets) -> dict[str, Any]:
    return {
        "events": len(targets),
        "sessions": len(targets.offsets) - 1,
        "candidates": targets.n_items,
        "unknown_targets": int((~targets.known).sum()),
        "unknown_items": "skipped in histories, counted as misses where they are targets",
        "ties": "equally scored items rank in the order of the vocabulary, which the seed of `prepare` shuffled",
        "intervals": "95 % by a percentile bootstrap over sessions",
    }


def compare(
    model: Scorer,
    baselines: Mapping[str, Scorer],
    data: Dataset,
    split: str,
    *,
    progress: Progress | None = None,
    **options: Any,
) -> dict[str, Any]:
    """The content of ``metrics.json``: a model beside the baselines, on the same events by the same rules.

    Args:
        progress: of the model's ranks.
        options: as in ``evaluate``.
    """
    of_model = evaluate(model, data, split, progress=progress, **options)
    of_baselines = {name: evaluate(scorer, data, split, **options) for name, scorer in baselines.items()}
    return {
        "protocol": of_model.protocol,
        "split": split,
        "model": of_model.figures,
        "baselines": {name: evaluation.figures for name, evaluation in of_baselines.items()},
    }


def _device(scorer: Any) -> torch.device:
    return getattr(scorer, "device", torch.device("cpu"))


def _name(scorer: Any) -> str:
    return getattr(scorer, "name", "the model")


@contextmanager
def _named(scorer: Any) -> Iterator[None]:
    """A finding in here says whose scores it is about."""
    try:
        with torch.no_grad():
            yield
    except Finding as finding:
        raise Finding(f"{_name(scorer)}: {finding}") from None
