"""The public object: what comes back for lists, mappings, frames and users, in which order, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from asking import IDS, N, listed, refusal
from jobs import recommender, ring, shop
from seqward.backbones.backbone import Histories
from seqward.catalogue import ENGINES, Pairs
from seqward.data.columns import Columns
from seqward.recommender import Recommender
from seqward.stability.settings import GuardSettings
from seqward.topk import topk_among
from worlds import data_of, random_sessions


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run with a critic."""
    place = tmp_path_factory.mktemp("runs") / "ac"
    recommender("sasrec-ac").fit(shop(), place)
    return place


@pytest.fixture(scope="module")
def model(folder: Path) -> Recommender:
    return Recommender.load(folder, "cpu")


def scores_of(model: Recommender, history: list[str], head: str = "policy") -> Tensor:
    """[N] scores of all items, computed in the open: the last four items behind a start token."""
    network = model.scorer.model
    numbers = [IDS.index(item) for item in history if item in IDS][-4:]
    with torch.no_grad():
        state = network.states(Histories(torch.tensor([numbers], dtype=torch.int64).view(1, -1)))[0, -1]
        linear = network.heads[head].linear
        return linear.weight @ state + linear.bias


# What comes back ----------------------------------------------------------------------------------------------------

HISTORIES = [["i1", "i2"], [], ["i3", "i4", "i3"], ["i0", "i1", "i2", "i3", "i4", "i5"]]


@pytest.mark.parametrize("filter_viewed", [False, True])
@pytest.mark.parametrize("among", [None, ["i7", "i2", "i9", "i4"]])
@pytest.mark.parametrize(
    ("how", "shares"),
    [
        ({}, {"policy": 1.0}),
        ({"rank_by": "policy"}, {"policy": 1.0}),
        ({"rank_by": "q"}, {"q": 1.0}),
        ({"rank_by": "mixture"}, {"policy": 1.0, "q": 1.0}),
        ({"rank_by": "mixture", "beta": 30.0}, {"policy": 1.0, "q": 30.0}),
    ],
)
def test_lists_are_the_best_of_scores_computed_in_the_open(
    model: Recommender, how: dict[str, Any], shares: dict[str, float], among: list[str] | None, filter_viewed: bool
) -> None:
    frame = model.recommend(histories=HISTORIES, k=5, items_to_recommend=among, filter_viewed=filter_viewed, **how)
    assert isinstance(frame, pl.DataFrame)
    assert frame.columns == ["session_id", "item_id", "score", "rank"]
    for row, history in enumerate(HISTORIES):
        scores = sum(share * scores_of(model, history, head) for head, share in shares.items())
        assert isinstance(scores, Tensor)
        gone = set(history) if filter_viewed else set()
        candidates = [item for item in among or IDS if item not in gone]
        best = sorted(candidates, key=lambda item: -float(scores[IDS.index(item)]))[:5]
        assert listed(frame, row) == best
        values = frame.filter(frame["session_id"] == row)["score"].to_list()
        torch.testing.assert_close(torch.tensor(values), scores[[IDS.index(item) for item in best]])


def test_the_three_ways_to_rank_differ(model: Recommender) -> None:
    lists = [
        tuple(model.recommend(histories=[["i1"]], k=N, rank_by=by)["item_id"]) for by in ("policy", "q", "mixture")
    ]
    assert len(set(lists)) == 3


def test_filtered_items_are_those_of_the_whole_history(model: Recommender) -> None:
    """Beyond the context of four, too."""
    history = ["i0", "i1", "i2", "i3", "i4", "i5", "i6"]
    frame = model.recommend(histories=[history], k=N, filter_viewed=True)
    assert set(listed(frame, 0)) == set(IDS) - set(history)


def test_more_than_the_catalogue_is_the_catalogue(model: Recommender) -> None:
    assert len(model.recommend(histories=[["i1"]], k=100)) == N
    few = model.recommend(histories=[["i1"], ["i2"]], k=100, items_to_recommend=["i1", "i2"], filter_viewed=True)
    assert few.select("session_id", "item_id", "rank").rows() == [(0, "i2", 1), (1, "i1", 1)]


def test_many_histories_are_answered_in_parts(model: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    histories = [[IDS[i] for i in session] for session in random_sessions(23, N, 9)]
    whole = model.recommend(histories=histories, k=4, filter_viewed=True)
    monkeypatch.setattr("seqward.topk.ROWS", 5)
    in_parts = model.recommend(histories=histories, k=4, filter_viewed=True)
    assert in_parts.drop("score").equals(whole.drop("score"))


@pytest.mark.parametrize("engine", ENGINES)
def test_candidates_of_a_large_catalogue(engine: str) -> None:
    """3,000 candidates of 4,000 items, as many as are scored in several parts."""
    generator = torch.Generator().manual_seed(0)
    states, weight = torch.randn(5, 8, generator=generator), torch.randn(4000, 8, generator=generator)
    scores = ENGINES[engine](states, weight, None)
    among = torch.randperm(4000, generator=generator)[:3000].sort().values
    exclude = Pairs(torch.arange(5).repeat_interleave(100), among[:500])
    best = topk_among(scores, among, 20, exclude)
    matrix = torch.full((5, 4000), -torch.inf)
    matrix[:, among] = (states @ weight.T)[:, among]
    matrix[exclude.rows, exclude.items] = -torch.inf
    assert torch.equal(best.items, matrix.topk(20).indices)


# What is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"histories": [["i1"]], "k": 0}, "k must be a whole number of at least 1; got 0."),
        ({"histories": [["i1"]], "k": 2.5}, "k must be a whole number of at least 1; got 2.5."),
        ({"histories": [["i1"]], "k": "2"}, "k must be a whole number of at least 1; got '2'."),
        ({"histories": [["i1"]], "k": True}, "k must be a whole number of at least 1; got True."),
        ({"users": 3, "dataset": shop()}, "users must be a list of ids, such as [3]; got 3."),
        ({"users": "s1", "dataset": shop()}, "users must be a list of ids, such as ['s1']; got 's1'."),
        ({"users": [["s1"]], "dataset": shop()}, "ids must be texts or whole numbers; got ['s1']."),
        ({"users": ["s1"], "histories": [["i1"]]}, "users=... are those of dataset=..."),
        ({"histories": [["i1"]], "items_to_recommend": "i1"}, "items_to_recommend must be a list of ids, such as"),
        ({"histories": [["i1"]], "items_to_recommend": 7}, "items_to_recommend must be a list of ids, such as [7]"),
        ({"histories": [["i1"]], "rank_by": "mixture", "beta": "x"}, "beta must be a finite number; got 'x'."),
        ({"histories": [["i1"]], "rank_by": "mixture", "beta": np.nan}, "beta must be a finite number; got nan."),
        ({"dataset": 7}, "expected a data set or its folder; got int."),
        ({}, "give either histories=... or dataset=... (with users=...), and not both."),
        ({"histories": [], "dataset": shop()}, "give either histories"),
        ({"histories": []}, "there is no history to recommend for: expected at least one."),
        ({"histories": {}}, "there is no history to recommend for: expected at least one."),
        (
            {"histories": ["i1", "i2"]},
            'histories must be lists of item ids, such as [["a", "b"]]; got a list of single',
        ),
        ({"histories": [1, 2]}, "got a list of single ids."),
        ({"histories": {"ann": "i1"}}, "got a list of single ids."),
        ({"histories": [{"i1", "i2"}]}, "a history is a list of item ids in order; got a set."),
        ({"histories": {"a": ["i1"], 2: ["i1"]}}, "the names of histories must be texts or whole numbers, all of one"),
        ({"histories": pl.DataFrame({"u": ["i1"]}), "columns": ["u"]}, "columns must be Columns(...), such"),
        (
            {"histories": pl.DataFrame({"u": ["i1"]}), "columns": {"user": "u"}},
            "no part of a log is called 'user'; they",
        ),
        ({"histories": [[["i1"]]]}, "ids must be texts or whole numbers; got ['i1']."),
        ({"histories": "i1"}, "got str."),
        ({"histories": 7}, "histories must be lists of item ids, a mapping of id to such a list, or a frame; got int."),
        (
            {"histories": pl.DataFrame({"visitor": [1], "item_id": ["i1"]})},
            "no column session_id or user_id. It has: visitor, item_id.\nSay which column is meant with --session-col",
        ),
        (
            {"histories": pl.DataFrame({"user_id": [1], "item": ["i1"]})},
            "no column item_id. It has: user_id, item. Did you mean 'item'?",
        ),
        (
            {"histories": pl.DataFrame({"user_id": [1, 1], "item_id": ["i1", None]})},
            "'item_id' (items) is missing in 1 row, first in row 2.",
        ),
        (
            {"histories": pl.DataFrame({"user_id": [1, None], "item_id": ["i1", "i1"]})},
            "'user_id' (whose history it is) is missing in 1 row, first in row 2.",
        ),
        (
            {"histories": pl.DataFrame({"user_id": [1], "item_id": ["i1"], "timestamp": ["noon"]})},
            "Time column 'timestamp': row 1 holds 'noon', which is no time that can be read.",
        ),
        ({"histories": pl.DataFrame({"user_id": [], "item_id": []})}, "The log has no rows."),
        ({"histories": [["i1"]], "columns": Columns(item_id="x")}, "columns=... renames the columns of a frame"),
        (
            {"dataset": shop(), "columns": Columns(item_id="x")},
            "columns=... names those of histories=...; a data set has",
        ),
        ({"users": ["nobody"], "dataset": shop()}, "none of the users is in the data set. Pass their histories as"),
        ({"histories": [["i1"]], "items_to_recommend": ["new"]}, "no item of items_to_recommend is in the catalogue"),
        ({"histories": [["i1"]], "items_to_recommend": []}, "no item of items_to_recommend is in the catalogue"),
        ({"histories": [["i1"]], "rank_by": "value"}, "rank_by must be policy, q or mixture; got 'value'."),
        (
            {"histories": [["i1"]], "on_unsupported_targets": "skip"},
            "on_unsupported_targets must be raise, warn or ignore; got 'skip'.",
        ),
        ({"dataset": Path("nowhere")}, "nowhere is no folder."),
    ],
)
def test_what_recommend_refuses(model: Recommender, asked: dict[str, Any], words: str) -> None:
    assert words in refusal(model.recommend, **asked)


@pytest.mark.parametrize("name", ["sasrec", "popularity"])
@pytest.mark.parametrize("by", ["q", "mixture"])
def test_ranking_by_q_needs_a_critic(name: str, by: Any) -> None:
    fitted = recommender(name, epochs=1).fit(shop())
    message = refusal(fitted.recommend, histories=[["i1"]], rank_by=by)
    assert message == f"{name} has no critic, so it cannot rank by {by}. Rank by policy."
    assert len(fitted.recommend(histories=[["i1"]], rank_by="policy"))


def test_another_catalogue_is_refused(model: Recommender) -> None:
    other = data_of([[0, 1, 2]] * 3, 3)
    for ask in (lambda: model.recommend(dataset=other), lambda: model.evaluate(other)):
        assert refusal(ask) == (
            "the model was trained on another catalogue than that of this data set (3 items there). "
            "Use the data set it was trained on, or train on this one."
        )


def test_nothing_works_before_fit(tmp_path: Path) -> None:
    new = Recommender("sasrec")
    for ask in (
        lambda: new.recommend(histories=[["i1"]]),
        lambda: new.evaluate(shop()),
        lambda: new.save(tmp_path / "x"),
    ):
        assert refusal(ask).startswith("the recommender is not fitted. Call fit(data)")
    assert not (tmp_path / "x").exists()


def test_no_training_events(tmp_path: Path) -> None:
    data = data_of([[0, 1]], 2, splits=[[1, 2]])
    assert refusal(Recommender("sasrec").fit, data, tmp_path / "run").startswith("the data set has no training events.")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"method": "sasrecc"}, "Did you mean 'sasrec', 'sasrec-co' or 'sasrec-ac'?"),
        ({"alpha": 0.1}, "Unknown setting 'alpha' (in keyword)."),
        ({"foo": 1, "lr": -1}, "train.lr should be greater than 0, got -1 (in keyword)."),
        ({"seed": "a"}, "seed must be a whole number of at least 0; got 'a'."),
        ({"method": "sasrec-ccql", "alpha": -1}, "objective.alpha should be greater than or equal to 0, got -1"),
        ({"device": "gpu"}, "device must be auto, cpu or cuda; got 'gpu'."),
    ],
)
def test_what_the_constructor_refuses(how: dict[str, Any], words: str) -> None:
    assert words in refusal(Recommender, **({"method": "sasrec"} | how))


@pytest.mark.parametrize(
    ("machine", "vendor", "has", "told"),
    [
        ("x86_64", "AMD", "", True),
        ("AMD64", "AMD", "avx512_bf16", False),
        ("x86_64", "Intel", "avx512_bf16", True),
        ("x86_64", "Intel", "avx512_bf16 amx", False),
        ("arm64", "Apple", "", False),
    ],
)
def test_slow_products_are_told(
    machine: str,
    vendor: str,
    has: str,
    told: bool,
    said: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("seqward.catalogue.scores.is_intel", lambda: vendor == "Intel")
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: "avx512_bf16" in has)
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: "amx" in has)
    recommender("sasrec", epochs=1, precision="bf16").fit(shop())
    assert any("products in bfloat16 take this processor longer" in message for message in said.messages) is told
    said.clear()
    recommender("sasrec", epochs=1).fit(shop())
    assert not any("bfloat16" in message for message in said.messages)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_cuda_where_there_is_none() -> None:
    assert "torch sees none here" in refusal(Recommender, "sasrec", device="cuda")


# What was looked at -------------------------------------------------------------------------------------------------


def looks(folder: Path) -> list[str]:
    return [look["split"] for look in json.loads((folder / "run.json").read_text())["evaluations"]]


def test_a_look_at_the_test_split_is_recorded_and_a_second_one_told(
    folder: Path, tmp_path: Path, said: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(folder, tmp_path / "run")
    model = Recommender.load(tmp_path / "run", "cpu")
    for split in ("validation", "test", "validation"):
        model.evaluate(shop(), split, bootstrap=10)
    assert said.messages == []
    Recommender.load(tmp_path / "run", "cpu").evaluate(shop(), bootstrap=10)
    assert said.messages == [
        "the test split of this run was evaluated once before; what is chosen by it is no test any more."
    ]
    model.evaluate(shop(), bootstrap=10)
    assert "evaluated 2 times before" in said.messages[-1]
    assert looks(tmp_path / "run") == ["validation", "test", "validation", "test", "test"]


def test_a_look_is_recorded_in_what_is_fitted_and_saved(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    fitted = recommender("popularity").fit(shop(), tmp_path / "run")
    fitted.evaluate(shop(), bootstrap=10)
    assert looks(tmp_path / "run") == ["test"]
    homeless = recommender("popularity").fit(shop())
    for _ in range(2):
        homeless.evaluate(shop(), bootstrap=10)
    assert "once before" in said.messages[-1]
    homeless.save(tmp_path / "saved")
    homeless.evaluate(shop(), bootstrap=10)
    assert looks(tmp_path / "saved") == ["test"] * 3


def test_what_was_found_is_not_lost_where_the_look_cannot_be_recorded(
    tmp_path: Path, said: pytest.LogCaptureFixture
) -> None:
    fitted = recommender("popularity").fit(shop(), tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    assert fitted.evaluate(shop(), bootstrap=10)["split"] == "test"
    assert said.messages[0].startswith(f"this look at the test split is not recorded: {tmp_path / 'run'} holds no run")


# The run folder -----------------------------------------------------------------------------------------------------


def test_a_run_folder_that_is_there_is_never_overwritten(folder: Path, tmp_path: Path) -> None:
    message = refusal(recommender("sasrec").fit, shop(), folder)
    assert message.startswith(f"{folder} already exists. Give another --out, --resume")
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to-mum.txt").write_text("dear")
    for how in ({}, {"force": True}, {"resume": True}):
        refusal(recommender("sasrec").fit, shop(), tmp_path / "letters", **how)
    refusal(recommender("sasrec").fit(shop()).save, folder)
    assert [file.name for file in (tmp_path / "letters").iterdir()] == ["to-mum.txt"]


def test_what_was_saved_is_not_saved_over(tmp_path: Path) -> None:
    fitted = recommender("popularity").fit(shop())
    fitted.save(tmp_path / "model")
    assert refusal(fitted.save, tmp_path / "model") == (
        f"{tmp_path / 'model'} already exists. Save to another folder, or remove it first."
    )
    assert repr(fitted) == f"Recommender('popularity', seed=0; {shop().n_items} items)"
    assert repr(recommender("sasrec")) == "Recommender('sasrec', seed=0; not fitted)"


def test_nothing_learned_is_told(said: pytest.LogCaptureFixture) -> None:
    """A rate that spoils the network at its first step, and one that does not."""
    recommender("sasrec", lr=50.0, epochs=1).fit(ring())
    (told,) = (message for message in said.messages if "untrained" in message)
    assert told.startswith("no validation of ") and "steps was better than that of the untrained network (" in told
    said.clear()
    recommender("sasrec", lr=0.02, epochs=5).fit(ring())
    assert not [message for message in said.messages if "untrained" in message]


def test_weights_of_the_warm_up_are_told(said: pytest.LogCaptureFixture) -> None:
    """A rate that spoils the policy in the second phase; and one phase, whose weights are all there are."""
    how: dict[str, Any] = {"epochs": 10, "lr": 0.02, "metric": "ndcg@5"}
    recommender("sasrec-ac", warmup_events=0.5, lr_phase_2=3.0, **how).fit(ring())
    (told,) = (message for message in said.messages if "the best weights are those of step" in message)
    assert "in phase 1 (ndcg@5 " in told and "no validation of phase 2 was better" in told
    said.clear()
    recommender("sasrec-ac", phases=1, **how).fit(ring())
    assert not [message for message in said.messages if "the best weights are those" in message]


def test_force_replaces_a_run(tmp_path: Path) -> None:
    recommender("popularity").fit(shop(), tmp_path / "run")
    recommender("sasrec", epochs=1).fit(shop(), tmp_path / "run", force=True)
    assert Recommender.load(tmp_path / "run").method == "sasrec"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lr": 0.5}, "was begun with train.lr=0.01, and cannot be resumed with 0.5."),
        ({"seed": 4}, "was begun with seed=0, and cannot be resumed with 4."),
        ({"n_factors": 16}, "was begun with backbone.n_factors=8, and cannot be resumed with 16."),
    ],
)
def test_a_run_is_resumed_as_it_was_begun(folder: Path, changes: dict[str, Any], words: str) -> None:
    assert words in refusal(recommender("sasrec-ac", **changes).fit, shop(), folder, resume=True)


def test_a_guard_that_only_watches_may_watch_otherwise(tmp_path: Path) -> None:
    recommender("sasrec", epochs=1).fit(shop(), tmp_path / "run")
    again = recommender("sasrec", epochs=2)
    again.guard = GuardSettings(probe_every=1)
    assert again.fit(shop(), tmp_path / "run", resume=True).description["state"] == "all 2 epochs done"
    again.guard = GuardSettings(actions="repair")
    words = "was begun with guard.actions=observe, and cannot be resumed with repair."
    assert words in refusal(again.fit, shop(), tmp_path / "run", resume=True)


def test_a_run_is_resumed_on_the_data_it_was_begun_on(folder: Path) -> None:
    """The same items but other rewards: another problem."""
    data = shop()
    data.reward[:] = 7.0
    message = refusal(recommender("sasrec-ac").fit, data, folder, resume=True)
    assert message.startswith(f"{folder} was begun on other events than those of this data set")


def test_what_a_run_is_stands_in_its_folder(folder: Path) -> None:
    about = json.loads((folder / "run.json").read_text())
    assert about["method"] == "sasrec-ac"
    assert about["settings"]["backbone"]["n_factors"] == 8
    assert (about["seed"], about["state"]) == (0, "all 3 epochs done")
    assert about["best"]["step"] >= 0
    assert json.loads((folder / "items.json").read_text()) == IDS


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("run.json", "", "was cut off or edited. Train again with --force."),
        ("run.json", "[1]", "was cut off or edited. Train again with --force."),
        ("run.json", '{"method": "sasrec"}', "was cut off or edited."),
        ("items.json", '["i0"', "cannot be read: the run was cut off or edited."),
        ("items.json", '["i1", "i0"]', "is not the catalogue that the run was trained on."),
        ("best/model.safetensors", "xx", "it was cut off or edited."),
    ],
)
def test_a_broken_run_is_refused(folder: Path, tmp_path: Path, file: str, text: str, words: str) -> None:
    saved = Recommender.load(folder, "cpu")
    saved.save(tmp_path / "run")
    (tmp_path / "run" / file).write_text(text)
    assert words in refusal(Recommender.load, tmp_path / "run")


def test_no_run_is_told(tmp_path: Path) -> None:
    assert refusal(Recommender.load, tmp_path / "none").endswith(
        "holds no run.json: expected a run folder that `seqward train` wrote."
    )
