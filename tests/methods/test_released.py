"""The released forms: one weight a batch, views that hold shuffled padding, similarity by coordinate."""

from __future__ import annotations

import pytest
import torch

from jobs import job_of, loss_of, loud_step, shop
from seqward.augment import permutation_with_padding
from seqward.methods import METHODS
from seqward.objectives import contrastive

RELEASED = ("sasrec-ac-released", "sasrec-co-released", "sasrec-ccql-released")


@pytest.mark.parametrize("name", RELEASED)
def test_the_actor_is_weighted_by_the_mean_q_of_the_batch(name: str) -> None:
    """The mean of the term is the product of the means; SAC's is the mean of the products."""
    job = job_of(name, shop())
    step = loud_step(job)
    q, nll = step.logged("q").detach(), step.nll("policy")
    torch.testing.assert_close(loss_of(job, "mean Q L_CE", 1)(step).mean(), q.mean() * nll.mean())
    sac = loss_of(job_of("sasrec-ac", shop()), "Q L_CE", 1)(step).mean()
    torch.testing.assert_close(sac, (q * nll).mean())
    assert not torch.allclose(sac, q.mean() * nll.mean(), rtol=1e-2)


@pytest.mark.parametrize("name", RELEASED)
def test_all_terms_but_the_actors_are_in_both_phases(name: str) -> None:
    first, second = job_of(name, shop()).method.phases
    assert first.terms[0].symbol == "L_CE"
    assert [(t.symbol, t.weight) for t in first.terms[1:]] == [(t.symbol, t.weight) for t in second.terms[1:]]


@pytest.mark.parametrize("name", RELEASED[1:])
@pytest.mark.parametrize("contrast", ["cosine", "coordinate"])
def test_the_view_is_read_where_the_history_used_to_end(name: str, contrast: str) -> None:
    """Of 24 transitions most views have padding there, and that is one and the same state."""
    job = job_of(name, shop(), contrast=contrast)
    step = loud_step(job)
    loss = loss_of(job, "L_CO as released")(step)
    apart = loud_step(job)  # what the method asked for is not what this one is asked
    view = apart.view("augmented", permutation_with_padding(4), same_row=True)
    by_cosine = contrast == "cosine"
    expected = (
        contrastive.nt_xent(apart.state(), view, 0.07) if by_cosine else contrastive.by_coordinate(apart.state(), view)
    )
    torch.testing.assert_close(loss, expected)
    constant = (view == step.online.backbone.norm.bias).all(1)
    assert 0 < int(constant.sum()) < len(view)


def test_the_defaults_of_the_contrast() -> None:
    """By coordinate in SASRec-CO, by cosine in SASRec-CCQL for RC15; gradients are clamped in the latter only."""
    kinds = [METHODS[name].sections["objective"].contrast for name in RELEASED[1:]]
    clips = [METHODS[name].sections["train"].clip_value for name in RELEASED]
    draws = {METHODS[name].sections["train"].draw for name in RELEASED}
    assert (kinds, clips, draws) == (["coordinate", "cosine"], [None, None, 1.0], {"transitions"})


def test_released_backbones_are_that_of_the_released_code() -> None:
    backbones = {METHODS[name].sections["backbone"] for name in (*RELEASED, "sasrec-ccql", "sasrec-co")}
    (backbone,) = backbones
    assert (backbone.residual, backbone.scale_embedding, backbone.init) == ("double", True, "normal")
