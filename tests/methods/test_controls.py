"""Controls: they are what they control but for one thing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from jobs import after_steps, assert_same_bits, job_of, shop
from seqward.errors import SeqwardError
from seqward.job import Job
from seqward.methods import METHODS
from seqward.networks import Networks
from seqward.objectives import supervised, value
from seqward.recommender import Recommender
from seqward.step import Step

MYOPIC = {"sasrec-sqn-gamma-0": "sasrec-sqn", "sasrec-ccql-gamma-0": "sasrec-ccql"}


def first_step(job: Job) -> Step:
    networks = Networks(job)
    return Step(networks.modules[0], networks.modules[-1], job.data.batch(0, 8, 0), 0, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "of"), MYOPIC.items())
def test_a_control_without_future_is_its_method_without_discount(name: str, of: str) -> None:
    """To the bit; and of its defaults nothing else differs."""
    found, expected = (after_steps(job_of(n, shop(), gamma=0.0), 5).modules.state_dict() for n in (name, of))
    assert_same_bits(found, expected)
    mine, others = METHODS[name].sections, METHODS[of].sections
    assert mine == {**others, "objective": replace(others["objective"], gamma=0.0)}
    assert others["objective"].gamma > 0


@pytest.mark.parametrize("name", ["sasrec", "sasrec-sqn-gamma-0", "sasrec-count-past", "sasrec-count-future"])
def test_what_is_compared_with_sqn_is_trained_as_it_is(name: str) -> None:
    """Its backbone, and the 30 epochs of the source (method-spec 3.1, 3.2)."""
    mine, sqn = METHODS[name].sections, METHODS["sasrec-sqn"].sections
    assert (mine["backbone"], mine["train"]) == (sqn["backbone"], sqn["train"])
    assert sqn["train"].epochs == 30


@pytest.mark.parametrize("name", MYOPIC)
def test_without_future_q_regresses_on_the_reward(name: str) -> None:
    job = job_of(name, shop())
    step = first_step(job)
    loss = next(t.loss for t in job.method.phases[0].terms if t.symbol == "ω L_Q")(step)
    torch.testing.assert_close(loss, value.regression(step.reward, step.logged("q")))


@pytest.mark.parametrize(("name", "of"), MYOPIC.items())
def test_a_control_with_a_discount_is_refused(name: str, of: str) -> None:
    with pytest.raises(SeqwardError) as refusal:
        Recommender(name, gamma=0.5, n_factors=8).fit(shop())
    assert str(refusal.value) == f"objective.gamma is 0.5, and this control is the method at 0. Train {of} instead."


@pytest.mark.parametrize(("name", "column"), [("sasrec-count-past", "before"), ("sasrec-count-future", "after")])
@pytest.mark.parametrize("scale", ["log", "raw"])
def test_the_count_is_of_the_whole_session(name: str, column: str, scale: Any) -> None:
    """Past and future add up to the session's training events but this one, and are told apart."""
    job = job_of(name, shop(), count_scale=scale)
    step = first_step(job)
    _, count = job.method.phases[0].terms
    events = step.column(column)
    counted = events.log1p() if scale == "log" else events
    torch.testing.assert_close(count.loss(step), 0.5 * (counted - step.value("n")).square())
    sizes = job.data.session[job.data.train].bincount()
    torch.testing.assert_close(
        step.column("before") + step.column("after"), (sizes[step.column("session")] - 1).float()
    )
    assert not torch.equal(step.column("before"), step.column("after"))


@pytest.mark.parametrize("name", ["sasrec-count-past", "sasrec-count-future"])
def test_without_its_count_it_is_sasrec(name: str) -> None:
    """To the bit; with it the states are others."""
    sasrec = after_steps(job_of("sasrec", shop()), 5).evaluated.state_dict()
    for weight in (0.0, 1.0):
        found = after_steps(job_of(name, shop(), count_weight=weight), 5).evaluated.state_dict()
        shared = {k: v for k, v in found.items() if k in sasrec}
        if weight:
            assert not all(torch.equal(v, sasrec[k]) for k, v in shared.items())
        else:
            assert_same_bits(shared, sasrec)


def test_supervision_is_untouched() -> None:
    """The cross-entropy of every control is the plain one."""
    for name in (*MYOPIC, "sasrec-count-past", "sasrec-count-future"):
        job = job_of(name, shop())
        step = first_step(job)
        loss = next(t.loss for t in job.method.phases[0].terms if t.symbol == "L_CE")(step)
        assert torch.equal(loss, supervised.weighted(torch.ones_like(loss), step.nll("policy")))
