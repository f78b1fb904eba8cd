"""Metrics against hand-worked figures, slow definitions and a published table that contradicts itself."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference import slow_figures, slow_return
from seqward.catalogue.scores import MISS
from seqward.data.returns import discounted_returns
from seqward.metrics import (
    GROUPS,
    Outcomes,
    impossible_pairs,
    q_against_returns,
    summarise,
    summarise_with_intervals,
)

RANKS = st.lists(st.one_of(st.integers(1, 30), st.just(MISS)), min_size=1, max_size=40)


def outcomes(
    ranks: list[int],
    goal: list[bool] | None = None,
    repeat: list[bool] | None = None,
    reward: list[float] | None = None,
    session: list[int] | None = None,
) -> Outcomes:
    n = len(ranks)
    return Outcomes(
        rank=np.array(ranks, dtype=np.int64),
        goal=np.array(goal or [False] * n, dtype=bool),
        repeat=np.array(repeat or [False] * n, dtype=bool),
        known=np.array(ranks) != MISS,
        reward=np.array(reward or [0.2] * n, dtype=np.float32),
        session=np.array(session or range(n), dtype=np.int64),
    )


def test_four_events_by_hand() -> None:
    """Ranks 1, 3, 7 and a miss: at 5 two hits, gains 1 and 1/2; at 10 three hits, 1/log2(8) more."""
    summary = summarise(outcomes([1, 3, 7, MISS], goal=[True, False, False, True], reward=[1, 0.2, 0.2, 1]))
    assert summary["all"]["n"] == 4
    assert summary["all"]["hr@5"] == 2 / 4
    assert summary["all"]["ndcg@5"] == pytest.approx(1.5 / 4)
    assert summary["all"]["ndcg@10"] == pytest.approx((1.5 + 1 / 3) / 4)
    assert summary["all"]["mrr@10"] == pytest.approx((1 + 1 / 3 + 1 / 7) / 4)
    assert summary["goal"]["hr@20"] == 1 / 2
    assert summary["click"]["hr@5"] == 1 / 2
    assert summary["reward@5"] == pytest.approx(1.2)
    assert summary["reward@20"] == pytest.approx(1.4)
    assert summary["reward_per_event@20"] == pytest.approx(0.35)


def test_goals_divide_into_repeat_and_novel() -> None:
    summary = summarise(
        outcomes([1, 2, 50, 1], goal=[True, True, True, False], repeat=[True, False, False, True]), ks=(5,)
    )
    assert {name: summary[name]["n"] for name in GROUPS} == {
        "all": 4,
        "goal": 3,
        "click": 1,
        "goal_repeat": 1,
        "goal_novel": 2,
    }
    assert summary["goal_repeat"]["hr@5"] == 1
    assert summary["goal_novel"]["hr@5"] == 0.5


def test_an_empty_group_is_null() -> None:
    summary = summarise_with_intervals(outcomes([1, 2]), resamples=10)
    assert summary["goal"] is None and summary["goal_novel"] is None
    assert json.loads(json.dumps(summary, allow_nan=False))["goal"] is None


def test_no_event_at_all_is_null_throughout() -> None:
    assert set(summarise(outcomes([])).values()) == {None}


def test_a_miss_is_no_hit_at_any_cut_off() -> None:
    assert summarise(outcomes([MISS]), ks=(5, 10**6))["all"]["hr@1000000"] == 0


@given(RANKS, st.integers(1, 40))
def test_figures_are_the_slow_definitions(ranks: list[int], k: int) -> None:
    figures = summarise(outcomes(ranks), ks=(k,))["all"]
    for name, expected in slow_figures(ranks, k).items():
        assert figures[name] == pytest.approx(expected)


@given(RANKS)
def test_figures_never_fall_with_k_and_never_contradict(ranks: list[int]) -> None:
    figures = summarise(outcomes(ranks), ks=(1, 2, 5, 10, 20))["all"]
    for metric in ("hr", "ndcg", "mrr"):
        values = [figures[f"{metric}@{k}"] for k in (1, 2, 5, 10, 20)]
        assert values == sorted(values)
    assert impossible_pairs(figures) == impossible_pairs(figures, metric="mrr") == []


@given(RANKS, st.integers(1, 4))
def test_rounding_a_true_row_never_accuses_it(ranks: list[int], decimals: int) -> None:
    figures = summarise(outcomes(ranks))["all"]
    rounded = {name: round(x, decimals) for name, x in figures.items()}
    assert impossible_pairs(rounded, decimals) == impossible_pairs(rounded, decimals, "mrr") == []


def test_mrr_lies_between_what_the_best_and_the_worst_ranks_give() -> None:
    """Of HR@5 .3, all at rank 1, .3, and all at rank 5, .06; .1 more at ranks 6 to 10 are .01 to .01667."""
    for value in (0.06, 0.3):
        assert impossible_pairs({"hr@5": 0.3, "mrr@5": value}, metric="mrr") == []
    for value in (0.059, 0.301):
        (pair,) = impossible_pairs({"hr@5": 0.3, "mrr@5": value}, metric="mrr")
        assert str(pair).startswith(f"from 0 to 5: MRR rises by {value:.4f}, but with HR rising by 0.3000 one ranking")
    for more, found in ((0.0099, 1), (0.01, 0), (0.0166, 0), (0.0168, 1)):
        row = {"hr@5": 0.3, "mrr@5": 0.2, "hr@10": 0.4, "mrr@10": 0.2 + more}
        assert len(impossible_pairs(row, metric="mrr")) == found, more


def test_a_figure_out_of_bounds_is_accused_with_its_bounds() -> None:
    (pair,) = impossible_pairs({"hr@10": 0.5, "ndcg@10": 0.40, "hr@20": 0.5, "ndcg@20": 0.41})
    assert (pair.a, pair.b) == (10, 20)
    assert str(pair) == (
        "from 10 to 20: NDCG rises by 0.0100, but with HR rising by 0.0000 one ranking allows -0.0000 to 0.0000"
    )


@pytest.mark.parametrize("row", [{"hr@5": 0.3, "ndcg@5": 0.31}, {"hr@5": 0.3, "ndcg@5": 0.11}])
def test_one_cut_off_is_bounded_by_its_own_hr(row: dict[str, float]) -> None:
    """All hits at rank 1 give NDCG = HR, all at rank 5 give HR / log2(6) = .116."""
    assert [(pair.a, pair.b) for pair in impossible_pairs(row)] == [(0, 5)]


def test_hr_that_falls_is_accused() -> None:
    row = {"hr@5": 0.3, "ndcg@5": 0.2, "hr@10": 0.29, "ndcg@10": 0.2}
    assert impossible_pairs(row) and impossible_pairs(row, decimals=3)
    assert impossible_pairs({**row, "hr@10": 0.2999}, decimals=3) == []


def test_published_rows_are_accused_and_cleared() -> None:
    """RetailRocket, purchases, as printed with three decimals (SASRec-CCQL paper, Table 3)."""
    ccql = {"hr@5": 0.613, "ndcg@5": 0.517, "hr@10": 0.676, "ndcg@10": 0.533, "hr@20": 0.720, "ndcg@20": 0.569}
    sasrec = {"hr@5": 0.586, "ndcg@5": 0.493, "hr@10": 0.642, "ndcg@10": 0.512, "hr@20": 0.681, "ndcg@20": 0.521}
    assert [(pair.a, pair.b) for pair in impossible_pairs(ccql, decimals=3)] == [(5, 10), (5, 20), (10, 20)]
    assert impossible_pairs(sasrec, decimals=3) == []


def test_intervals_hold_the_figure_and_shrink_with_sessions() -> None:
    random = np.random.default_rng(0)

    def width(sessions: int) -> float:
        ranks = random.geometric(0.05, 4 * sessions).tolist()
        figures = summarise_with_intervals(outcomes(ranks, session=[i // 4 for i in range(4 * sessions)]), seed=1)[
            "all"
        ]
        low, high = figures["ci"]["hr@20"]
        assert low < figures["hr@20"] < high
        return high - low

    assert width(1600) == pytest.approx(width(100) / 4, rel=0.25)


def test_intervals_are_the_same_for_the_same_seed() -> None:
    data = outcomes([1, 9, 30, 4, 2, MISS], session=[0, 0, 1, 1, 2, 2], goal=[True, False] * 3)
    assert summarise_with_intervals(data, seed=5) == summarise_with_intervals(data, seed=5)


def test_order_of_events_does_not_matter() -> None:
    data = outcomes([1, 9, 30, 4], session=[0, 0, 1, 1])
    shuffled = outcomes([30, 1, 4, 9], session=[1, 0, 1, 0])
    assert summarise_with_intervals(data, resamples=20) == summarise_with_intervals(shuffled, resamples=20)


def test_one_session_has_no_interval() -> None:
    summary = summarise_with_intervals(outcomes([1, 2, 3], session=[4, 4, 4]))
    assert summary["all"]["ci"] is None and summary["ci"] is None


def test_arrays_of_different_lengths_are_refused() -> None:
    good = outcomes([1, 2])
    with pytest.raises(ValueError, match="one entry an event is expected"):
        Outcomes(**{**good.__dict__, "goal": np.array([True])})


@given(
    st.lists(st.lists(st.floats(-5, 5), max_size=9), max_size=6),
    st.sampled_from([0.0, 0.5, 0.9, 1.0]),
)
def test_discounted_returns_stop_where_the_session_does(sessions: list[list[float]], gamma: float) -> None:
    offsets = np.cumsum([0, *map(len, sessions)])
    found = discounted_returns(np.array([r for s in sessions for r in s]), offsets, gamma)
    expected = [slow_return(s[i:], gamma) for s in sessions for i in range(len(s))]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_q_against_returns_by_hand() -> None:
    figures = q_against_returns(np.array([2.0, 1.0, 3.0]), np.array([0.5, 0.0, 1.0]))
    assert figures == {"n": 3, "mean_q": 2.0, "max_q": 3.0, "mean_return": 0.5, "gap": 1.5, "rank_correlation": 1.0}
