"""A run answered without torch: the items, their order and the refusals of the recommender that has it."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asking import IDS, refusal
from jobs import recommender, shop
from seqward.backbones.backbone import Histories
from seqward.errors import SeqwardError
from seqward.inference import Inference
from seqward.recommender import Recommender

HISTORIES = [["i1", "i2"], [], ["i3", "i4", "i3"], ["i0", "i1", "i2", "i3", "i4", "i5"], ["i11"] * 9, ["nothing known"]]
CLOSE = 2e-5
"""How far a score of either may be from the other's, in sizes of the scores: both are computed in fp32."""

WORLDS: dict[str, tuple[str, dict[str, Any]]] = {
    "critic": ("sasrec-ac", {"n_factors": 16}),
    "plain": ("sasrec", {"n_factors": 16}),
    "tied": ("sasrec", {"n_factors": 16, "tied": True}),
    "deep": ("sasrec", {"n_factors": 32, "n_blocks": 3, "n_heads": 4, "residual": "double", "projection": True}),
    "unscaled": ("sasrec", {"n_factors": 16, "scale_embedding": False, "n_blocks": 2, "init": "xavier"}),
    "odd width": ("sasrec-ccql", {"n_factors": 12, "n_heads": 2}),
    "ranks by q": ("sasrec-ac", {"n_factors": 16, "rank_by": "q"}),
}


@pytest.fixture(scope="module", params=WORLDS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recommender, Inference]:
    """A run with loud random weights, read with torch and without."""
    name, changes = WORLDS[request.param]
    made = recommender(name, epochs=1, **changes).fit(shop())
    torch.manual_seed(3)
    for p in made.scorer.model.parameters():
        torch.nn.init.normal_(p, std=0.5)
    folder = tmp_path_factory.mktemp("runs") / "run"
    made.save(folder)
    return Recommender.load(folder, "cpu"), Inference.load(folder)


def test_states_are_those_of_torch(pair: tuple[Recommender, Inference]) -> None:
    model, ours = pair
    for history in ([], [1], [3, 4, 3], [0, 1, 2, 3, 4, 5, 6]):
        with torch.no_grad():
            theirs = model.scorer.model.last_state(Histories(torch.tensor([history[-4:]], dtype=torch.int64)))[0]
        np.testing.assert_allclose(ours.encoder.state(np.array(history, np.int64)), theirs, rtol=1e-4, atol=CLOSE)


@pytest.mark.parametrize("filter_viewed", [False, True])
@pytest.mark.parametrize("among", [None, ["i7", "i2", "i9", "nobody", "i4"]])
@pytest.mark.parametrize("how", [{}, {"rank_by": "policy"}, {"rank_by": "q"}, {"rank_by": "mixture", "beta": 0.5}])
@pytest.mark.parametrize("k", [1, 5, 100])
def test_lists_are_those_of_the_recommender_with_torch(
    pair: tuple[Recommender, Inference], k: int, how: dict[str, Any], among: list[str] | None, filter_viewed: bool
) -> None:
    """In order, but for neighbours that are closer than rounding."""
    model, ours = pair
    asked: dict[str, Any] = {
        "histories": HISTORIES,
        "k": k,
        "filter_viewed": filter_viewed,
        "items_to_recommend": among,
    }
    if model.scorer.critic is None and how.get("rank_by", "policy") != "policy":
        message = refusal(ours.recommend, **asked, **how)
        assert message == f"this run has no critic, so it cannot rank by {how['rank_by']}. Rank by policy."
        return
    theirs, found = model.recommend(**asked, **how).to_dict(as_series=False), ours.recommend(**asked, **how)
    assert list(found) == list(theirs)
    assert found["session_id"] == theirs["session_id"]
    assert found["rank"] == theirs["rank"]
    np.testing.assert_allclose(found["score"], theirs["score"], rtol=CLOSE, atol=CLOSE)
    scores = np.array(theirs["score"])
    for place in np.flatnonzero(np.array(found["item_id"]) != np.array(theirs["item_id"])):
        assert np.abs(np.delete(scores, place) - scores[place]).min() < 2 * CLOSE


def test_owners_and_unknown_items_are_as_in_the_recommender(
    pair: tuple[Recommender, Inference], caplog: pytest.LogCaptureFixture
) -> None:
    model, ours = pair
    asked: dict[str, Any] = {"histories": {"b": ["i1", "x"], "a": ["y"]}, "k": 2}
    caplog.set_level(logging.WARNING, "seqward")
    theirs = model.recommend(**asked)["session_id"].to_list()
    assert ours.recommend(**asked)["session_id"] == theirs == ["b", "b", "a", "a"]
    assert caplog.messages[0] == caplog.messages[1]
    assert caplog.messages[1].startswith("Items of the histories that are not in the catalogue were skipped: 2")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"histories": []}, "there is no history to recommend for"),
        ({"histories": "i1"}, "histories must be lists of item ids"),
        ({"histories": ["i1"]}, "histories must be lists of item ids"),
        ({"histories": [["i1"]], "k": 0}, "k must be a whole number of at least 1"),
        ({"histories": [["i1"]], "items_to_recommend": ["x"]}, "no item of items_to_recommend is in the catalogue"),
        ({"histories": [["i1"]], "rank_by": "both"}, "rank_by must be policy, q or mixture; got 'both'"),
        ({"histories": [["i1"]], "beta": float("nan")}, "beta must be a finite number; got nan."),
        ({"histories": [["i1"]], "beta": "x"}, "beta must be a finite number; got 'x'."),
    ],
)
def test_refusals(pair: tuple[Recommender, Inference], asked: dict[str, Any], words: str) -> None:
    assert words in refusal(pair[1].recommend, **asked)


@pytest.mark.parametrize("name", ["gru4rec", "bert4rec", "popularity"])
def test_other_backbones_are_named_with_what_can_answer(name: str, tmp_path: Path) -> None:
    recommender(name, epochs=1).fit(shop()).save(tmp_path / "run")
    message = refusal(Inference.load, tmp_path / "run")
    assert f"this one of {name} has another backbone or none" in message
    assert message.endswith("Recommender.load(folder) of seqward answers for every run, with torch.")


def test_broken_runs(tmp_path: Path) -> None:
    assert "holds no run.json" in refusal(Inference.load, tmp_path)
    recommender("sasrec", epochs=1).fit(shop()).save(tmp_path / "run")
    file = tmp_path / "run" / "best" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    assert "cannot be read" in refusal(Inference.load, tmp_path / "run")
    file.unlink()
    assert "is missing" in refusal(Inference.load, tmp_path / "run")


def test_nothing_of_torch_is_loaded_in_a_fresh_interpreter(pair: tuple[Recommender, Inference], tmp_path: Path) -> None:
    """Neither by the import nor by loading a run and asking it."""
    pair[0].save(tmp_path / "run")
    heavy = {"torch", "polars", "pydantic", "matplotlib", "pandas", "yaml", "narwhals", "scipy"}
    code = (
        f"import sys, seqward.inference as i; found = i.Inference.load({str(tmp_path / 'run')!r})"
        f".recommend([['i1', 'i2']], k=3); assert len(found['item_id']) == 3; print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert len(IDS) == 12


@pytest.mark.parametrize("changes", [{"critic": "bounded"}, {"critic_norm": True}])
def test_a_critic_that_is_no_plain_product_is_left_to_torch(changes: dict[str, Any], tmp_path: Path) -> None:
    recommender("sasrec-sqn", epochs=1, n_factors=16, **changes).fit(shop()).save(tmp_path / "run")
    ours = Inference.load(tmp_path / "run")
    assert ours.recommend(histories=HISTORIES)["item_id"]
    with pytest.raises(SeqwardError, match="this run's Q is no plain product of state and item"):
        ours.recommend(histories=HISTORIES, rank_by="q")


def test_a_critic_that_learned_nothing_does_not_rank(tmp_path: Path) -> None:
    """Neither here nor with torch."""
    model = recommender("sasrec-sqn", epochs=1, omega=0.0).fit(shop())
    model.save(tmp_path / "run")
    ours = Inference.load(tmp_path / "run")
    for by in ("q", "mixture"):
        for asked in (ours, model):
            assert "learned nothing (omega is 0). Rank by policy." in refusal(
                asked.recommend, histories=HISTORIES, rank_by=by
            )
