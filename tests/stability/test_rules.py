"""How the guard judges: every rule by a worked example, on both sides of its threshold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqward.stability import rules
from seqward.stability.rules import RULES, History, judge, law_of_growth, onset


def history(**signals: list[float]) -> History:
    """Probes at steps 10, 20, ..., with those values of each signal."""
    found = History()
    for i, values in enumerate(zip(*signals.values(), strict=True)):
        found.add({"kind": "guard", "step": 10 * (i + 1), "signals": dict(zip(signals, values, strict=True))})
    return found


def bounded(q: list[float], gamma: float = 0.5) -> History:
    """The largest |Q| over the largest possible return."""
    return history(q_over_bound=q, q_over_reward=[x / (1 - gamma) for x in q])


def validated(*values: float) -> History:
    found = History()
    for i, value in enumerate(values):
        found.add({"kind": "validation", "step": 10 * (i + 1), "value": value})
    return found


def trusted(*names: str, threshold: float = 1.0) -> list[rules.Rule]:
    """The rules with one threshold, of which these are trusted alone."""
    return [replace(rule, threshold=threshold, alone=rule.name in names) for rule in RULES]


def test_nothing_seen_is_healthy() -> None:
    assert judge(History()) == ("healthy", ())
    assert [rule.score(History()) for rule in RULES] == [0.0] * len(RULES)


def test_q_beyond_the_largest_return_is_a_warning_and_beyond_ten_times_a_divergence() -> None:
    alone = trusted("value bound", threshold=4.0)
    assert judge(bounded([3.9]), rules=alone).state == "healthy"
    warned = judge(bounded([1.9, 4.1]), rules=alone)
    assert warned.state == "warning"
    assert warned.reason == "Q reaches 4.1 times the largest possible return (or two rewards, if that is more)"
    assert onset(bounded([1.9, 4.1]), warned) == 10  # the last probe below half of the threshold
    assert onset(bounded([2.1, 4.1]), warned) == 0
    assert judge(bounded([10.1])).state == "diverged"
    far = judge(bounded([10.1]), tolerance=100)
    assert far.state == "diverged" and far.reason.startswith("Q reaches 10 times")
    assert judge(bounded([4.1]), 2.0, alone).state == "healthy"


def test_q_far_beyond_the_largest_return_is_a_warning_as_shipped() -> None:
    assert judge(bounded([9.9])).state == "warning"
    assert judge(bounded([0.9])).state == "healthy"


@pytest.mark.parametrize(
    ("law", "values", "foretold"),
    [
        ("linearly", [0.1 * i for i in range(1, 9)], 1.6),  # .1 a probe: .8 after eight, 1.6 after as many more
        ("exponentially", [0.01 * 2**i for i in range(8)], 0.01 * 2**15),
        ("ever faster, to a crash", [1 / (9 - i) for i in range(8)], 1e3),  # 1 / Q is 0 at the tenth probe
    ],
)
def test_the_law_that_q_grows_by(law: str, values: list[float], foretold: float) -> None:
    assert law_of_growth(values) == (law, pytest.approx(foretold))


def test_q_that_falls_or_jumps_about_follows_no_law() -> None:
    assert law_of_growth([0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]) == ("", 0.0)
    assert law_of_growth([0.1, 0.9, 0.1, 0.9, 0.1, 0.9, 0.1, 0.2]) == ("", 0.0)
    assert law_of_growth([0.1] * 7) == ("", 0.0)


def test_the_mean_td_error_that_wanders_off() -> None:
    """Reference .1, -.1, ... with spread .1; then .3, or 3 of them: a probe adds 3 - .5; so do falls."""
    usual = [0.1, -0.1] * 4
    assert rules.td_drift(history(td_mean=[*usual, 0.3])) == pytest.approx(2.5)
    assert rules.td_drift(history(td_mean=[*usual, 0.3, 0.3])) == pytest.approx(5.0)
    assert rules.td_drift(history(td_mean=[*usual, -0.3, -0.3])) == pytest.approx(5.0)
    assert rules.td_drift(history(td_mean=[*usual, 0.04, -0.04])) == 0.0
    assert rules.td_drift(history(td_mean=usual)) == 0.0


def test_a_near_horizon_has_two_rewards_of_room() -> None:
    """Without a future the largest return is one reward: Q of 5 is 5 of them, and 2.5 times two of them."""
    assert rules.value_bound(bounded([5.0], gamma=0.0)) == 2.5
    assert rules.value_bound(bounded([2.5], gamma=0.5)) == 2.5
    assert rules.value_bound(bounded([0.5], gamma=0.9)) == 0.5
    diverged = bounded([11.0], gamma=0.0)
    assert rules.value_bound(diverged) == 11.0
    assert judge(diverged).state == "diverged" and judge(diverged, tolerance=100).reason.startswith(
        "Q reaches 11 times"
    )


def test_overestimation_is_that_of_the_last_probe() -> None:
    assert rules.overestimation(history(overestimation=[0.1, 0.9, 0.8])) == 0.8
    assert rules.overestimation(history(overestimation=[-4.0, -1.0])) == 0.0


def test_what_is_usual_is_so_in_its_phase() -> None:
    """Nine probes of phase 2 after nine of phase 1: what is usual is the median of the first eight of phase 2."""
    found = history(conservative_gap=[-0.9] * 9)
    for i in range(9):
        found.add({"kind": "guard", "step": 100 + i, "phase": 2, "signals": {"conservative_gap": 0.1 * (i == 8)}})
    assert rules.conservative_gap(found) == pytest.approx(0.1)
    found.add({"kind": "guard", "step": 200, "phase": 3, "signals": {"conservative_gap": 5.0, "feature_rank": 1.0}})
    assert rules.conservative_gap(found) == 0.0


def test_a_rank_is_lost_over_all_phases() -> None:
    found = history(feature_rank=[40.0])
    found.add({"kind": "guard", "step": 20, "phase": 2, "signals": {"feature_rank": 10.0}})
    assert rules.feature_rank(found) == 0.75


def test_the_conservative_gap_is_held_against_its_beginning() -> None:
    assert rules.conservative_gap(history(conservative_gap=[-0.2] * 8 + [0.5])) == pytest.approx(0.7)
    assert rules.conservative_gap(history(conservative_gap=[-0.2] * 8 + [-0.9])) == pytest.approx(-0.7)
    assert rules.conservative_gap(history(conservative_gap=[0.9] * 8)) == 0.0


def test_what_is_lost_is_a_share_of_the_most_there_was() -> None:
    assert rules.feature_rank(history(feature_rank=[40.0, 60.0, 15.0])) == 0.75
    assert rules.coverage(history(coverage=[0.1, 0.4, 0.5])) == 0.0
    assert rules.coverage(history(coverage=[0.5, 0.4, 0.1])) == pytest.approx(0.8)


def test_churn_is_held_against_what_is_usual() -> None:
    assert rules.churn(history(churn=[0.2] * 8 + [0.7])) == pytest.approx(0.5)
    assert rules.churn(history(churn=[0.7] * 8 + [0.7])) == 0.0
    assert rules.churn(history(churn=[0.7] * 8)) == 0.0


def test_a_metric_below_its_best_adds_up_and_a_new_best_forgives() -> None:
    """Means of three: .5, .48, .45 and .42. The last three lie 4, 10 and 16 % below the best; 3 % each are forgiven."""
    falling = (0.5, 0.5, 0.5, 0.44, 0.41, 0.41)
    assert rules.metric_fall(validated(*falling[:4])) == pytest.approx(0.01)
    assert rules.metric_fall(validated(*falling)) == pytest.approx(0.01 + 0.07 + 0.13)
    assert rules.metric_fall(validated(*falling, 0.9)) == 0.0
    assert rules.metric_fall(validated(0.1, 0.9, 0.1, 0.2, 0.9)) == 0.0  # one that is high by luck is no best
    assert rules.metric_fall(validated(*[0.5] * 3, *[0.49] * 500)) == 0.0  # however long it stays there
    assert rules.metric_fall(validated(0.5, 0.1)) == 0.0
    assert rules.metric_fall(validated(0.0, 0.0, 0.0, 0.0)) == 0.0


def test_what_is_not_trusted_alone_takes_two() -> None:
    nobody = trusted(threshold=0.5)
    assert judge(history(dormant=[0.6], loss_ratio=[0.4]), rules=nobody).state == "healthy"
    verdict = judge(history(dormant=[0.6], loss_ratio=[3.0]), rules=nobody)
    assert verdict.state == "warning" and [alarm.rule.name for alarm in verdict.alarms] == [
        "loss",
        "dormant units",
    ]
    assert verdict.reason == "the loss was 3 times its median over the last steps; 60% of the units are dormant"
    assert judge(history(dormant=[0.6], loss_ratio=[0.4]), rules=trusted("dormant units", threshold=0.5)).state == (
        "warning"
    )


def test_a_critic_that_is_frozen_is_judged_no_more() -> None:
    found = bounded([0.5, 9.0])
    assert judge(found).state == "warning"
    found.add({"kind": "guard", "step": 30, "signals": {"dormant": 0.0}})
    assert judge(found).state == "healthy"


def test_after_a_roll_back_what_came_between_is_forgotten() -> None:
    found = bounded([0.1, 0.2, 9.0])
    found.add({"kind": "repair", "step": 30, "back_to": 20})
    assert found.of("q_over_bound") == [0.1, 0.2] and found.last_step == 20
    found.add({"kind": "repair", "step": 30})  # any other repair leaves the history
    found.add({"kind": "event", "step": 30, "text": "phase 2 begins"})
    assert judge(found).state == "healthy"


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(
                SIGNALS := (
                    "q_over_bound",
                    "td_mean",
                    "overestimation",
                    "conservative_gap",
                    "q_over_reward",
                    "grad_surge",
                    "loss_ratio",
                    "feature_rank",
                    "dormant",
                    "coverage",
                    "churn",
                )
            ),
            st.floats(-1e3, 1e3),
        ),
        max_size=24,
    ),
    st.floats(0.1, 10),
)
def test_any_history_has_a_verdict_in_words(probes: list[dict[str, Any]], tolerance: float) -> None:
    found = History()
    for i, signals in enumerate(probes):
        found.add({"kind": "guard", "step": i + 1, "signals": signals})
    verdict = judge(found, tolerance)
    assert (verdict.state == "healthy") == (not verdict.reason)
    assert 0 <= onset(found, verdict, tolerance) <= len(probes)
    assert verdict == judge(found, tolerance)


USUAL = [0.1, -0.1] * 4


@pytest.mark.parametrize(
    ("name", "signals", "validations", "begun"),
    [
        # The mean of three is 2 % below the best at the fifth, which is forgiven, and at the sixth has .3 in it.
        ("metric", {"loss_ratio": [1.0] * 15}, [0.1, 0.5, 0.5, 0.5, 0.47, *[0.3] * 10], 30),
        ("value bound", {"q_over_bound": [0.5, 2.5, 3.0, 4.0]}, [], 10),
        # Where all is well the largest loss is about its median: half of the way from there is 1.5.
        ("loss", {"loss_ratio": [1.1, 1.2, 1.3, 9.0]}, [], 30),
    ],
)
def test_trouble_begins_where_it_was_first_to_be_seen(
    name: str, signals: dict[str, list[float]], validations: list[float], begun: int
) -> None:
    """Not where a sum has come to half of its threshold, nor at a step that told of something else."""
    found = history(**signals)
    found.add({"kind": "guard", "step": 35, "of_step": {"grad_surge": 1.0}})
    found.validations = validated(*validations).validations
    verdict = judge(found, rules=[replace(rule, alone=rule.name == name) for rule in RULES])
    assert [alarm.rule.name for alarm in verdict.alarms] == [name]
    assert onset(found, verdict) == begun


def test_trouble_of_several_begins_where_none_was_to_be_seen() -> None:
    """The metric was below its best before, too, when the gradient was usual: its sum was 0 at its last best."""
    found = history(grad_surge=[1.0] * 7 + [49.0] * 8)
    found.validations = validated(0.5, 0.5, 0.4, 0.7, *[0.4] * 11).validations
    verdict = judge(found)
    assert {alarm.rule.name for alarm in verdict.alarms} == {"gradient", "metric"}
    assert onset(found, verdict) == 20


def test_a_step_alarms_beside_what_the_last_probe_saw() -> None:
    """What it tells stands until the next probe, whose signals are the highest since the one before."""
    found = history(dormant=[0.6], loss_ratio=[1.0])
    nobody = trusted(threshold=0.5)
    found.add({"kind": "guard", "step": 15, "of_step": {"loss_ratio": 3.0}})
    assert [alarm.rule.name for alarm in judge(found, rules=nobody).alarms] == ["loss", "dormant units"]
    assert onset(found, judge(found, rules=trusted("loss", threshold=2.0))) == 10
    assert rules.loss_spike(found) == 3.0 and found.last_step == 10
    found.add({"kind": "guard", "step": 20, "signals": {"dormant": 0.0, "loss_ratio": 2.0}})
    assert rules.loss_spike(found) == 2.0
    found.add({"kind": "guard", "step": 25, "of_step": {"loss_ratio": 9.0}})
    found.cut(20)
    assert rules.loss_spike(found) == 2.0


LOUD = {
    "value bound": bounded([9.0]),
    "growth of Q": bounded([0.01 * 5**i for i in range(8)]),
    "TD error": history(td_mean=[*USUAL, *[1.0] * 10]),
    "overestimation": history(overestimation=[7.0]),
    "conservative gap": history(conservative_gap=[-0.2] * 8 + [0.5]),
    "gradient": history(grad_surge=[50.0]),
    "loss": history(loss_ratio=[3.0]),
    "feature rank": history(feature_rank=[60.0, 5.0]),
    "dormant units": history(dormant=[0.1]),
    "coverage": history(coverage=[0.5, 0.01]),
    "churn": history(churn=[0.2] * 8 + [0.7]),
    "metric": validated(*[0.5] * 3, *[0.1] * 3),
}
"""For each rule a course, of values that its signal can have, at which it alarms."""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_rule_can_alarm(rule: rules.Rule) -> None:
    """No threshold lies beyond what its rule makes of a bad course, and none at any tolerance beyond its most."""
    assert rule.score(LOUD[rule.name]) > rule.limit(1.0)
    assert rule.score(LOUD[rule.name]) <= rule.most and rule.limit(100.0) < rule.most
    assert LOUD.keys() == {one.name for one in RULES}
