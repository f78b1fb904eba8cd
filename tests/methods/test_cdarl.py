"""The reconstruction of CDARL: its reward, and what is left of it where a part is switched off."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from jobs import after_steps, assert_same_bits, job_of, loss_of, loud_step, shop
from seqward.job import Job
from seqward.objectives import td

ALIKE = {"lr": 0.01, "batch_size": 8, "target": "ema"}


def job(name: str, **changes: Any) -> Job:
    return job_of(name, shop(), **(ALIKE | changes))


@pytest.mark.parametrize("form", ["likeness", "imitation"])
def test_q_learns_from_both_rewards(form: str) -> None:
    """r + .3 D, or .3 min(-log(1 - D), 1): against the plain double-Q loss with that reward."""
    step = loud_step(job_ := job("cdarl", intrinsic_share=0.3, intrinsic=form))
    d = torch.sigmoid(step.pairs("judge", step.action)).detach()
    intrinsic = d if form == "likeness" else (-(1 - d).log()).clamp(max=1)
    assert float(intrinsic.std()) > 0.01
    following = step.target_next("q").at(step.greedy("q"))
    expected = td.double_q(step.logged("q"), step.reward + 0.3 * intrinsic, 0.5 * step.live, following)
    loss = loss_of(job_, "ω L_Q")(step)
    torch.testing.assert_close(loss, expected)
    loss.sum().backward()
    assert all(p.grad is None for p in step.online.heads["judge"].parameters()), "a judge does not learn to be generous"


def test_a_judge_that_cannot_tell_adds_the_same_to_every_event() -> None:
    step = loud_step(job_ := job("cdarl", intrinsic_share=0.3, gamma=0.0))
    for p in step.online.heads["judge"].parameters():
        torch.nn.init.zeros_(p)
    loss = loss_of(job_, "ω L_Q")(step)
    torch.testing.assert_close(loss, 0.5 * (step.reward + 0.15 - step.logged("q")).square())


@pytest.mark.parametrize("fakes", ["uniform", "policy"])
def test_the_judge_is_shown_what_was_not_logged(fakes: str) -> None:
    """Against its equation; uniform fakes are never the logged item."""
    step = loud_step(job_ := job("cdarl", fakes=fakes, n_fakes=3))
    loss = loss_of(job_, "L_D")(step)
    shown = step.negatives(3, "action") if fakes == "uniform" else step.samples("policy", 3)
    real, fake = (torch.sigmoid(step.pairs("judge", items)) for items in (step.action, shown))
    torch.testing.assert_close(loss, -real.log() - (1 - fake).log().mean(1))
    assert bool((shown != step.action[:, None]).all()) or fakes == "policy"
    loss.sum().backward()


def test_the_judge_shapes_the_embeddings_of_what_it_is_shown_and_no_state() -> None:
    """A decision: the embeddings are all it knows of items. Those of items that the encoder alone reads stay."""
    step = loud_step(job_ := job("cdarl", n_fakes=1))
    loss_of(job_, "L_D")(step).sum().backward()
    gradients = {name: p.grad for name, p in step.online.named_parameters() if p.grad is not None}
    assert gradients.keys() == {
        "backbone.items.weight",
        *(n for n, _ in step.online.named_parameters() if "judge" in n),
    }
    moved = set(gradients["backbone.items.weight"].abs().sum(1).nonzero()[:, 0].tolist())
    assert moved == set(step.action.tolist()) | set(step.negatives(1, "action").flatten().tolist())


def test_without_judge_and_contrast_it_is_sqn() -> None:
    """To the bit over five steps; with either it is not."""
    sqn = after_steps(job("sasrec-sqn"), 5).evaluated.state_dict()
    for changes in ({}, {"intrinsic_share": 0.3}, {"contrast_weight": 0.1}):
        off = {"intrinsic_share": 0.0, "contrast_weight": 0.0} | changes
        found = after_steps(job("cdarl", **off), 5).evaluated.state_dict()
        shared = {k: v for k, v in found.items() if k in sqn}
        if not changes:
            assert_same_bits(shared, sqn)
        else:
            assert not all(torch.equal(v, sqn[k]) for k, v in shared.items())


def test_pre_training_is_contrast_alone_and_selects_nothing() -> None:
    pretraining, then = job("cp4rec-cdarl", pretrain_epochs=2.0).method.phases
    assert [t.symbol for t in pretraining.terms] == ["L_CL"]
    assert not pretraining.selects
    assert pretraining.epochs == 2.0
    assert [t.symbol for t in then.terms] == [t.symbol for t in job("cdarl").method.phases[0].terms]
    bare = after_steps(job("cp4rec-cdarl", pretrain_epochs=0.0), 5)
    assert_same_bits(bare.modules.state_dict(), after_steps(job("cdarl"), 5).modules.state_dict())
