"""What a method needs of its training events is told before any work, by name and with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs import recommender
from seqward.data.dataset import TRAIN, VALIDATION, Dataset
from seqward.errors import SeqwardError
from seqward.methods import METHODS
from seqward.methods.needs import refuse_unfit
from worlds import data_of

SESSIONS = [[0, 1, 2], [2, 1], [0, 2]]
REWARDED = [name for name, entry in METHODS.items() if "rewards" in entry.needs]


def shop_of(rewards: list[list[float]]) -> Dataset:
    """Events that earn 1 or more are the goal."""
    return data_of(SESSIONS, 3, rewards=rewards)


def refusal(name: str, data: Dataset, folder: Path) -> str:
    seen: list[object] = []
    with pytest.raises(SeqwardError) as refused:
        recommender(name).fit(data, folder, observe=seen.append)
    assert seen == []
    assert not folder.exists()
    assert 1 <= len(str(refused.value).splitlines()) <= 3
    return str(refused.value)


def test_every_method_with_a_critic_needs_goals_and_rewards_that_differ() -> None:
    assert {"sasrec-ac", "caser-sqn", "snqn", "sa2c", "sasrec-co", "sasrec-ccql-released"} <= set(REWARDED)
    for name, entry in METHODS.items():
        if entry.trained and getattr(entry.build(**entry.sections), "critic", None):
            assert "rewards" in entry.needs, name
        if entry.family == "value-based":
            assert {"goal", "rewards"} <= set(entry.needs), name


def test_no_goal(tmp_path: Path) -> None:
    data = shop_of([[0.2, 0.5, 0.2], [0.2, 0.2], [0.5, 0.2]])
    assert refusal("sasrec-ac", data, tmp_path / "run") == (
        "sasrec-ac learns what leads to a goal, and none of the 7 training events is one. Prepare the log with --goal "
        "and --reward (or --reward-col), or train a method that learns from no reward, such as sasrec."
    )


def test_a_single_reward(tmp_path: Path) -> None:
    data = shop_of([[2.5] * len(session) for session in SESSIONS])
    assert refusal("sa2c", data, tmp_path / "run") == (
        "sa2c learns from rewards that differ, and all 7 training events earn 2.5. Prepare the log with --reward "
        "TYPE=VALUE or --reward-col, or train a method that learns from no reward, such as sasrec."
    )


def test_only_training_events_count(tmp_path: Path) -> None:
    """The one goal, and the one other reward, is held out."""
    rewards = [[0.2, 0.2, 0.2], [0.2, 0.2], [0.2, 1.0]]
    splits = [[TRAIN] * 3, [TRAIN] * 2, [VALIDATION] * 2]
    data = data_of(SESSIONS, 3, rewards=rewards, splits=splits)
    assert "none of the 5 training events is one" in refusal("snqn", data, tmp_path / "run")


@pytest.mark.parametrize("name", METHODS)
def test_a_session_of_two(name: str, tmp_path: Path) -> None:
    """A method that learns from the log as it stands takes any that has two events in a session, and no other."""
    alone = data_of([[0], [1], [2]], 3, rewards=[[0.2], [1.0], [0.2]])
    if METHODS[name].family == "baseline":
        refuse_unfit(METHODS[name], alone)
        return
    with pytest.raises(SeqwardError) as refused:
        refuse_unfit(METHODS[name], alone)
    assert str(refused.value) == (
        f"{name} learns what comes after what, and no session has two training events (3 in all). Prepare the log with "
        "longer sessions (--user-col, --session-gap) or another split."
    )
    refuse_unfit(METHODS[name], data_of([[0, 1], [2]], 3, rewards=[[0.2, 1.0], [0.2]]))


def test_no_training_events(tmp_path: Path) -> None:
    data = data_of(SESSIONS, 3, splits=[[VALIDATION] * len(session) for session in SESSIONS])
    assert refusal("sasrec", data, tmp_path / "run") == (
        "the data set has no training events. Prepare it with more sessions or another split."
    )


@pytest.mark.parametrize("name", [name for name in METHODS if name not in REWARDED])
def test_without_a_critic_any_reward_will_do(name: str) -> None:
    """It is not refused where every event earns nothing, and no goal is reached."""
    assert METHODS[name].needs == ()
    assert refuse_unfit(METHODS[name], shop_of([[0.0] * len(session) for session in SESSIONS])) is None


# What the method is set to ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cl4srec", "cp4rec", "sasrec-co", "sasrec-ccql", "s3-rec", "cp4rec-cdarl"])
def test_sessions_are_told_apart_only_where_a_batch_holds_some(name: str, tmp_path: Path) -> None:
    """Of one session the contrastive loss is 0, and its pre-training would train nothing."""
    with pytest.raises(
        SeqwardError, match=r"tells sessions of a batch apart, and a batch holds one: set train.batch_s"
    ):
        recommender(name, batch_size=1).fit(rewarded(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_contrast_that_weighs_nothing_tells_nothing_apart() -> None:
    """It trains on the three sessions, one a step."""
    seen: list[dict[str, Any]] = []
    recommender("cl4srec", batch_size=1, contrast_weight=0.0, epochs=1).fit(rewarded(), observe=seen.append)
    assert max(record["step"] for record in seen) == 3


def rewarded(most: float = 1.0, least: float = 0.2) -> Dataset:
    return shop_of([[least, 1.0, most], [least, 1.0], [1.0, least]])


@pytest.mark.parametrize("critic", ["bounded", "hl-gauss"])
@pytest.mark.parametrize(("most", "least", "earned"), [(5.0, 0.2, "0.2 to 5"), (1.0, -0.5, "-0.5 to 1")])
def test_a_bounded_critic_does_not_clip_in_silence(critic: str, most: float, least: float, earned: str) -> None:
    data = rewarded(most, least)
    with pytest.raises(
        SeqwardError, match=rf"critic={critic} keeps Q between 0 and 2, and training events earn {earned}"
    ):
        recommender("sasrec-sqn", critic=critic, gamma=0.5).fit(data)
    recommender("sasrec-sqn", critic=critic, gamma=0.5, q_min=-2.0, q_max=10.0, epochs=1).fit(data)
    recommender("sasrec-sqn", critic=critic, gamma=0.5, epochs=1).fit(rewarded())


def test_a_critic_that_learned_nothing_ranks_nothing() -> None:
    fitted = recommender("snqn", omega=0.0, epochs=1).fit(rewarded())
    for rank_by in ("q", "mixture"):
        with pytest.raises(SeqwardError, match=r"learned nothing \(omega is 0\)"):
            fitted.recommend(histories=[[0]], k=1, rank_by=rank_by)
    assert len(fitted.recommend(histories=[[0]], k=1, rank_by="policy")) == 1
