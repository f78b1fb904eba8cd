"""Slow oracles: definitions written out in plain Python, for the tests to hold the fast code against."""

from __future__ import annotations

from collections.abc import Sequence, Set
from math import inf, isnan, log2

from seqward.catalogue.scores import MISS


def slow_order(row: Sequence[float], excluded: Set[int] = frozenset()) -> list[int]:
    """Candidates of a row of scores, best first: higher score, then smaller item number; -inf is no candidate."""
    candidates = [item for item, score in enumerate(row) if score != -inf and item not in excluded]
    return sorted(candidates, key=lambda item: (-row[item], item))


def slow_rank(row: Sequence[float], target: int, excluded: Set[int] = frozenset()) -> int:
    """Rank of one target by counting: 1 + items scored higher + equally scored items with a smaller number."""
    assert not any(isnan(score) for score in row)
    if target in excluded or row[target] == -inf:
        return MISS
    better = 0
    for item, score in enumerate(row):
        if item not in excluded and (score > row[target] or (score == row[target] and item < target)):
            better += 1
    return 1 + better


def slow_figures(ranks: Sequence[int], k: int) -> dict[str, float]:
    """HR, NDCG and MRR at k of events with one relevant item each."""
    hits = [rank for rank in ranks if rank <= k]
    n = len(ranks)
    return {
        f"hr@{k}": len(hits) / n,
        f"ndcg@{k}": sum(1 / log2(rank + 1) for rank in hits) / n,
        f"mrr@{k}": sum(1 / rank for rank in hits) / n,
    }


def slow_return(rewards: Sequence[float], gamma: float) -> float:
    """Discounted return of the first event of ``rewards``, by recursion."""
    return rewards[0] + gamma * slow_return(rewards[1:], gamma) if rewards else 0.0
