"""The best items of each history by any scorer, in batches of bounded size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from seqward.backbones.backbone import Histories
from seqward.catalogue import Best, Pairs, Scores
from seqward.catalogue.scores import places_among
from seqward.model import Scorer

ROWS = 512
"""Histories scored at a time."""


def best_items(
    scorer: Scorer,
    histories: Sequence[np.ndarray],
    n_items: int,
    k: int,
    filter_viewed: bool,
    among: Tensor | None,
    users: np.ndarray | None = None,
) -> Best:
    """The k best items of each history of item numbers, [histories, k].

    Args:
        among: [m] item numbers, ascending: the only candidates.
        users: [histories] the number of each one's user, where the scorer was trained on them.
    """
    parts = []
    for start in range(0, len(histories), ROWS):
        rows = histories[start : start + ROWS]
        device = getattr(scorer, "device", torch.device("cpu"))
        known = None if users is None else torch.from_numpy(users[start : start + ROWS])
        read = Histories(padded(rows, scorer.context, n_items), known).to(device)
        exclude = pairs_of(rows, device) if filter_viewed else None
        with torch.no_grad():
            scores = scorer.score(read)
            best = scores.topk(k, exclude) if among is None else topk_among(scores, among.to(device), k, exclude)
        parts.append(Best(best.values.cpu(), best.items.cpu()))
    return Best(torch.cat([p.values for p in parts]), torch.cat([p.items for p in parts]))


def topk_among(scores: Scores, among: Tensor, k: int, exclude: Pairs | None) -> Best:
    """As ``Scores.topk`` with ``among`` [m], ascending, as the only candidates."""
    if exclude is not None:
        places = places_among(among, scores.n_items)[exclude.items]
        listed = places < len(among)
        exclude = Pairs(exclude.rows[listed], places[listed])
    best = scores.among(among).topk(k, exclude)
    return Best(best.values, among[best.items.clamp(min=0)].masked_fill(best.items < 0, -1))


def padded(rows: Sequence[np.ndarray], context: int | None, pad: int) -> Tensor:
    """[histories, longest] the last ``context`` items of each history, padded on the right."""
    kept = [row if context is None else row[-context:] for row in rows]
    items = np.full((len(kept), max(map(len, kept), default=0)), pad, dtype=np.int64)
    for line, row in zip(items, kept, strict=True):
        line[: len(row)] = row
    return torch.from_numpy(items)


def pairs_of(rows: Sequence[np.ndarray], device: torch.device) -> Pairs:
    """Every (history, item of it)."""
    owner = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    items = np.concatenate([*rows, np.zeros(0, dtype=np.int64)]).astype(np.int64)
    return Pairs(torch.from_numpy(owner).to(device), torch.from_numpy(items).to(device))
