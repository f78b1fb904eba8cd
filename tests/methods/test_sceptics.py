"""gSASRec, eSASRec, FPMC, SR-GNN and BERT4Rec: terms are equations on the drawn items, and what is asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from jobs import job_of, loss_of, loud_step, recommender, shop
from seqward.backbones.backbone import Histories
from seqward.backbones.sasrec import SASRecSettings
from seqward.errors import SeqwardError
from seqward.evaluate import evaluate, q_of_log, ranks_of
from seqward.methods import METHODS
from seqward.model import NetworkScorer
from seqward.objectives import sampled
from seqward.reading import targets
from seqward.recommender import Recommender

N = 12
SAMPLED = {"gsasrec": "L_gBCE", "esasrec": "L_SS"}


@pytest.mark.parametrize("name", SAMPLED)
@pytest.mark.parametrize("shared", [False, True])
def test_its_term_is_its_objective_on_the_drawn_items(name: str, shared: bool) -> None:
    """Row by row. Drawn for each event none is the logged item; of a shared draw those that are have no part."""
    job = job_of(name, shop(), shared=shared, negatives=20)
    step = loud_step(job)
    found = loss_of(job, SAMPLED[name])(step)
    matrix = step.now("policy").at(torch.arange(N).expand(len(step.action), N))
    drawn = step.shared_negatives(20).expand(len(matrix), 20) if shared else step.negatives(20, "action")
    hits = 0
    for row, (scores, action, items) in enumerate(zip(matrix, step.action.tolist(), drawn.tolist(), strict=True)):
        others = scores[[item for item in items if item != action]][None]
        hits += 20 - others.shape[1]
        if name == "esasrec":
            expected = sampled.sampled_softmax(scores[action][None], others)[0]
        else:
            none = others.new_full((1, 20 - others.shape[1]), -torch.inf)
            expected = sampled.gbce(scores[action][None], torch.cat([others, none], 1), N, 0.75)[0]
        torch.testing.assert_close(found[row], expected)
    assert (hits > 0) == shared


@pytest.mark.parametrize("shared", [False, True])
def test_a_corrected_softmax_over_many_draws_is_cross_entropy(shared: bool) -> None:
    """5,000 draws of 11 or 12 items stand for them; a wrong count of those drawn from would add log(12/11) = .09."""
    job = job_of("esasrec", shop(), shared=shared, negatives=5000, log_q=True)
    step = loud_step(job)
    found, full = loss_of(job, "L_SS")(step).detach(), step.nll("policy").detach()
    assert abs(float((found - full).mean())) < 0.02
    torch.testing.assert_close(found, full, atol=0.15, rtol=0)


@pytest.mark.parametrize("name", SAMPLED)
def test_shared_negatives_are_another_estimate_of_the_same_mean(name: str) -> None:
    job, other = (job_of(name, shop(), shared=shared, negatives=2000) for shared in (False, True))
    one, two = (loss_of(j, SAMPLED[name])(loud_step(j)).mean().detach() for j in (job, other))
    assert not torch.equal(one, two)
    # A shared draw has 11/12 of the negatives that are none of the logged item's.
    assert abs(float(one - two)) < 0.15 * float(one)


def test_fpmc_compares_pairs() -> None:
    job = job_of("fpmc", shop(), negatives=3)
    step = loud_step(job)
    scores = step.now("policy")
    expected = sampled.bpr(scores.at(step.action), scores.at(step.negatives(3, "action")))
    torch.testing.assert_close(loss_of(job, "L_BPR")(step), expected)


def test_sr_gnn_has_cross_entropy_on_the_items_own_embeddings() -> None:
    job = job_of("sr-gnn", shop())
    step = loud_step(job)
    torch.testing.assert_close(loss_of(job, "L_CE")(step), step.nll("policy"))
    backbone: Any = step.online.backbone
    rows = torch.arange(N).expand(len(step.action), N)
    states = step.online.states(Histories(step.batch.items))[step.batch.piece, step.batch.row]
    torch.testing.assert_close(step.now("policy").at(rows), states @ backbone.items.weight[:N].T)


def test_bert4rec_minimises_the_cloze_alone() -> None:
    job = job_of("bert4rec", shop())
    step = loud_step(job)
    cloze = step.cloze("policy", 0.2, METHODS["bert4rec"].sections["objective"].last)
    torch.testing.assert_close(loss_of(job, "L_cloze")(step), cloze.scores.nll(cloze.items))


# What BERT4Rec answers ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted() -> Recommender:
    return recommender("bert4rec", epochs=1).fit(shop())


def test_a_mask_behind_the_history_is_asked(fitted: Recommender) -> None:
    """Histories of several lengths in one batch, none among them; the mask is the last thing that is read."""
    scorer, mask = fitted.scorer, fitted.scorer.model.vocabulary.mask
    rows = [[1, 2, 3, 4], [5, N, N, N], [N, N, N, N]]
    found = scorer.score(Histories(torch.tensor(rows))).at(torch.arange(N).expand(3, N))
    for row, scores in zip(rows, found, strict=True):
        asked = [*(item for item in row if item != N), mask]
        with torch.no_grad():
            states = scorer.model.states(Histories(torch.tensor([asked])), causal=False)
            expected = scorer.model.scores("policy", states[:, -1]).at(torch.arange(N)[None])
        torch.testing.assert_close(scores, expected[0])
    assert not torch.allclose(found[1], found[2])


def test_it_is_read_a_window_an_event(fitted: Recommender) -> None:
    """Each rank is that of the history by itself; recommendations and Q at a sample are read likewise."""
    data, scorer = shop(), fitted.scorer
    assert not scorer.causal
    wanted = targets(data, "validation")
    found = ranks_of(scorer, wanted)
    read = []
    for target, rank in enumerate(found.tolist()):
        start = wanted.offsets[wanted.session[target]]
        stop = start + wanted.before[target]
        history, item = torch.from_numpy(wanted.items[max(start, stop - 4) : stop]), int(wanted.item[target])
        assert int(scorer.score(Histories(history[None])).rank_of(torch.tensor([item]))) == rank
        read.append((history, item))
    result = evaluate(scorer, data, "validation", bootstrap=10)
    assert np.isclose(result.figures["all"]["hr@5"], float((found <= 5).mean()))
    critic = NetworkScorer(scorer.model, {"policy": 1.0}, "policy", 0.5, scorer.query)
    q = q_of_log(critic, data, wanted)
    assert q is not None
    asked = [float(critic.values(Histories(h[None])).at(torch.tensor([item]))) for h, item in read]
    assert np.isclose(q["mean_q"], np.mean(asked))
    with pytest.raises(AssertionError, match="cannot answer for every item"):
        critic.values(Histories(torch.tensor([[1, 2]])), every=True)


# Settings -------------------------------------------------------------------------------------------------------------


def test_gsasrec_as_published() -> None:
    """literature 2.2: 256 negatives, t = .75; Adam with 0.001, 200 items. A table of their own scores the items."""
    backbone, objective, train = METHODS["gsasrec"].sections.values()
    assert (objective.negatives, objective.t, objective.shared, objective.tied) == (256, 0.75, False, False)
    assert (train.lr, train.batch_size, train.draw) == (0.001, 128, "tails")
    assert isinstance(backbone, SASRecSettings)
    assert (backbone.session_max_len, backbone.residual, backbone.scale_embedding) == (200, "single", False)


@pytest.mark.parametrize("tied", [False, True])
def test_gsasrec_scores_by_a_table_of_its_own_or_the_items(tied: bool) -> None:
    """Without biases, either way."""
    job = job_of("gsasrec", shop(), **({"tied": True} if tied else {}))
    model: Any = loud_step(job).online
    weight, bias = model.heads["policy"](model.backbone)
    assert bias is None and weight.shape == (N, 8)
    assert (weight.data_ptr() == model.backbone.items.weight.data_ptr()) == tied


@pytest.mark.parametrize("t", [-0.1, 1.5])
def test_calibration_is_between_none_and_full(t: float) -> None:
    with pytest.raises(SeqwardError, match=r"objective.t should be (greater|less) than or equal to"):
        Recommender("gsasrec", t=t)
    assert Recommender("gsasrec", t=1.0).settings["objective"]["t"] == 1.0
