"""The bootstrap against closed forms and a coverage simulation; rank correlation against worked examples."""

from __future__ import annotations

import numpy as np
import pytest

from seqward import statistics
from seqward.statistics import bootstrap_sums, percentile_interval, spearman


def test_spread_of_a_mean_is_the_closed_form() -> None:
    x = np.random.default_rng(1).exponential(size=(400, 1))
    means = bootstrap_sums(x, 4000, seed=2)[:, 0] / len(x)
    assert means.mean() == pytest.approx(x.mean(), abs=4 * x.std() / np.sqrt(400 * 4000))
    assert means.std() == pytest.approx(x.std() / np.sqrt(400), rel=0.05)


def test_every_sample_has_as_many_sessions_as_the_data() -> None:
    sums = bootstrap_sums(np.ones((37, 1)), 50, seed=0)
    assert (sums == 37).all()


def test_the_seed_and_nothing_else_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = np.random.default_rng(0).random((50, 3))
    whole = bootstrap_sums(columns, 40, seed=7)
    monkeypatch.setattr(statistics, "AT_ONCE", 110)
    np.testing.assert_allclose(bootstrap_sums(columns, 40, seed=7), whole, rtol=1e-12)
    assert not np.allclose(bootstrap_sums(columns, 40, seed=8), whole)


def test_interval_covers_the_truth_of_clustered_events() -> None:
    """300 worlds of 120 sessions whose events share a hit rate: 95 % intervals hold the truth in about 95 %.

    Treating events as independent, which is the usual mistake, covers far less.
    """
    random = np.random.default_rng(3)
    covered = naive = 0
    worlds, sessions = 300, 120
    for world in range(worlds):
        rate = random.beta(0.5, 0.5, sessions)
        events = random.integers(1, 12, sessions)
        hits = random.binomial(events, rate)
        sums = bootstrap_sums(np.stack([hits, events], axis=1).astype(float), 300, seed=world)
        low, high = percentile_interval(sums[:, 0] / sums[:, 1])
        covered += low <= 0.5 <= high
        mean, n = hits.sum() / events.sum(), events.sum()
        naive += abs(mean - 0.5) <= 1.96 * np.sqrt(mean * (1 - mean) / n)
    assert 0.91 <= covered / worlds <= 0.98
    assert naive / worlds < 0.75


def test_percentiles_leave_out_samples_without_a_denominator() -> None:
    samples = np.array([np.nan, *range(101)])
    assert percentile_interval(samples, 0.9) == pytest.approx((5.0, 95.0))


def test_spearman_by_hand() -> None:
    assert spearman(np.array([1, 2, 3]), np.array([10, 20, 15])) == pytest.approx(0.5)
    # ranks with ties: [1, 2.5, 2.5, 4] and [1, 2, 3, 4]
    assert spearman(np.array([0, 1, 1, 9]), np.array([1, 2, 3, 4])) == pytest.approx(np.sqrt(0.9))


def test_spearman_sees_only_order() -> None:
    x = np.random.default_rng(0).normal(size=50)
    assert spearman(x, np.exp(3 * x)) == pytest.approx(1.0)
    assert spearman(x, -(x**3)) == pytest.approx(-1.0)


def test_spearman_of_a_constant_is_unknown() -> None:
    assert spearman(np.full(7, 0.1), np.arange(7)) is None
