"""Whatever can be wrong with settings and data is told before anything on disk changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs import recommender, shop
from seqward.errors import Finding, SeqwardError
from seqward.recommender import Recommender
from worlds import data_of, split_by_session

Refused = Callable[..., str]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (
            "rewrad@20",
            "train.metric=rewrad@20 is not measured. Did you mean 'reward@20'? Known, for k of 5, 10, 20: reward@k",
        ),
        ("all.hr@7", "is not measured"),
        ("q.means", "q.mean_return"),
        ("goals.hr@5", "is not measured"),
    ],
)
def test_a_wrong_metric_leaves_what_is_there(
    shop_data: Path, refused: Refused, tmp_path: Path, metric: str, words: str
) -> None:
    run = tmp_path / "run"
    wrong = ["train", shop_data, "--method", "sasrec-ccql", "--out", run, "--set", f"train.metric={metric}"]
    assert words in refused(*wrong)
    assert not run.exists()
    recommender("popularity").fit(shop(), run)
    before = contents(run)
    assert words in refused(*wrong, "--force")
    assert contents(run) == before


def test_a_metric_of_a_group_without_events_leaves_what_is_there(tmp_path: Path) -> None:
    data = split_by_session(data_of([[0, 1, 2], [1, 2], [2, 0]], 3, rewards=[[0.2] * 3, [0.2] * 2, [0.2] * 2]), 1)
    with pytest.raises(SeqwardError, match="the validation split has no event of the group 'goal'"):
        recommender("sasrec", metric="goal.ndcg@20").fit(data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("metric", ["reward_per_event@5", "mrr@10", "goal_novel.hr@5", "q.rank_correlation", "q.gap"])
def test_what_is_measured_is_accepted(tmp_path: Path, metric: str) -> None:
    recommender("sasrec-ccql", metric=metric, epochs=1).fit(shop(), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["best"]["metric"] == metric


def test_a_term_that_cannot_be_computed_on_the_data_leaves_what_is_there(tmp_path: Path) -> None:
    """One item has no negatives."""
    run = tmp_path / "run"
    recommender("popularity").fit(shop(), run)
    before = contents(run)
    rewards = [[0.2, 1.0], [0.2, 0.2, 1.0], [0.2, 0.2]]
    one_item = split_by_session(data_of([[0, 0], [0, 0, 0], [0, 0]], 1, rewards=rewards), 1)
    with pytest.raises(SeqwardError, match="the catalogue has one item"):
        recommender("sasrec-ccql").fit(one_item, run, force=True)
    assert contents(run) == before


def test_a_term_of_the_second_phase_is_tried_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise Finding("of phase 2")

    monkeypatch.setattr("seqward.objectives.supervised.weighted", fails)
    with pytest.raises(Finding, match="of phase 2"):
        recommender("sasrec-ccql").fit(shop(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("minutes", [float("nan"), -1, -float("inf")])
def test_a_time_limit_is_a_number_from_0_on(tmp_path: Path, minutes: float) -> None:
    with pytest.raises(SeqwardError, match="max_minutes must be a finite number of at least 0; got"):
        recommender("sasrec").fit(shop(), tmp_path / "run", max_minutes=minutes)
    assert not (tmp_path / "run").exists()


def test_a_seed_is_a_number_from_0_on(shop_data: Path, refused: Refused, tmp_path: Path) -> None:
    with pytest.raises(SeqwardError, match="seed must be a whole number of at least 0; got -1"):
        Recommender("sasrec", seed=-1)
    assert "seed must be a whole number of at least 0" in refused(
        "train", shop_data, "--method", "sasrec-ccql", "--out", tmp_path / "run", "--seed", "-1"
    )
    assert not (tmp_path / "run").exists()


def test_a_run_that_was_killed_as_it_began_is_resumed(tmp_path: Path) -> None:
    """Between ``run.json`` and ``items.json``; what is left of a file that was being written is in nobody's way."""
    run = tmp_path / "run"
    recommender("sasrec", epochs=1).fit(shop(), run)
    expected = contents(run)["items.json"]
    (run / "items.json").unlink()
    (run / "run.json.part").write_text("{")
    recommender("sasrec", epochs=1).fit(shop(), run, resume=True)
    assert contents(run)["items.json"] == expected
    Recommender.load(run)
