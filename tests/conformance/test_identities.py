"""What ties methods to their neighbours: with one thing taken away they are each other, to the bit.

Held in each phase for the losses and gradients of one step, and for the weights of several with a target that follows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from jobs import after_steps, assert_same_bits, job_of, shop, step_of
from seqward.errors import SeqwardError
from seqward.job import Job
from seqward.methods import METHODS
from seqward.networks import Networks
from seqward.objectives import policy, supervised
from seqward.train import total_loss

ONE_PHASE = {"phases": 1}
WEIGHTED = {"phases": 2, "warmup_events": 0}
"""The second phase only."""
BASES = ("gru4rec", "caser", "nextitnet", "sasrec")

IDENTITIES = [
    *[pytest.param(f"{base}-sqn", {"omega": 0.0}, base, {}, id=f"{base}-sqn without Q") for base in BASES],
    *[pytest.param(f"{base}-ac", ONE_PHASE, f"{base}-sqn", {}, id=f"{base}-ac in one phase") for base in BASES],
    pytest.param("snqn", {"negatives": 0}, "sasrec-sqn", {}, id="snqn without negatives"),
    pytest.param("sa2c", ONE_PHASE, "snqn", {}, id="sa2c in one phase"),
    pytest.param("sa2c-smooth", {"propensity_power": 0.0}, "sa2c", {}, id="sa2c-smooth without power"),
    pytest.param("cl4srec", {"contrast_weight": 0.0}, "sasrec", {}, id="cl4srec without contrast"),
    pytest.param("cp4rec", {"pretrain_epochs": 0.0}, "sasrec", {}, id="cp4rec without pre-training"),
    pytest.param("s3-rec", {"pretrain_epochs": 0.0}, "sasrec", {}, id="s3-rec without pre-training"),
    pytest.param("sasrec-co", {"contrast_weight": 0.0}, "sasrec-ac", {}, id="co without contrast"),
    pytest.param("sasrec-ccql", {"alpha": 0.0}, "sasrec-co", {}, id="ccql without conservation"),
    pytest.param(
        "sasrec-ccql", {"alpha": 0.0, "contrast_weight": 0.0} | ONE_PHASE, "sasrec-sqn", {}, id="ccql's phase 1, of L_Q"
    ),
    pytest.param(
        "sasrec-ccql",
        {"omega": 0.0, "alpha": 0.0, "contrast_weight": 0.0} | ONE_PHASE,
        "sasrec",
        {},
        id="ccql's phase 1, of nothing else",
    ),
    pytest.param("sasrec-co-released", {"contrast_weight": 0.0}, "sasrec-ac-released", {}, id="co as released"),
    pytest.param(
        "sasrec-ccql-released", {"alpha": 0.0}, "sasrec-co-released", {"contrast": "cosine"}, id="ccql as released"
    ),
]


def equal_job(name: str, **changes: Any) -> Job:
    """A job of a method with everything equal but its objective."""
    backbone = {"residual": "single", "init": "normal", "scale_embedding": True}
    equal = {"lr": 0.01, "lr_phase_2": 0.01, "clip_value": None, "draw": "sessions", "batch_size": 8}
    return job_of(name, shop(), **(backbone | {"dropout_rate": 0.1} | equal | {"target": "ema", "tau": 0.1} | changes))


def step_results(job: Job, phase: int) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of one step and its gradients."""
    networks = Networks(job)
    loss, _ = total_loss(job.method.phases[phase], step_of(job, networks))
    loss.backward()
    return loss.detach(), {k: p.grad for k, p in networks.evaluated.named_parameters() if p.grad is not None}


def assert_same(one: Job, other: Job) -> None:
    """In each phase: losses and gradients of a step, and all weights that both have after several, targets' too."""
    assert len(one.method.phases) == len(other.method.phases)
    for phase in range(len(one.method.phases)):
        (loss, gradients), (other_loss, other_gradients) = step_results(one, phase), step_results(other, phase)
        assert torch.equal(loss, other_loss)
        assert_same_bits(gradients, other_gradients)
        found, expected = (after_steps(job, 5, phase).modules.state_dict() for job in (one, other))
        shared = found.keys() & expected.keys()
        assert shared >= {k for k in expected if k.startswith("0.")}
        assert_same_bits({k: found[k] for k in shared}, {k: expected[k] for k in shared})


@pytest.mark.parametrize(("name", "changes", "other", "its_changes"), IDENTITIES)
def test_with_one_thing_taken_away(name: str, changes: dict[str, Any], other: str, its_changes: dict[str, Any]) -> None:
    assert_same(equal_job(name, **changes), equal_job(other, **its_changes))


def test_a_setting_that_no_method_has_is_no_silent_nothing() -> None:
    with pytest.raises(AssertionError, match="no method has feed_forward"):
        equal_job("sasrec", feed_forward="relu-dropout")


def ones(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda *arguments: torch.ones_like(function(*arguments))


@pytest.mark.parametrize("base", BASES)
def test_sac_with_the_weight_1_is_sqn(monkeypatch: pytest.MonkeyPatch, base: str) -> None:
    weighted = supervised.weighted
    monkeypatch.setattr(supervised, "weighted", lambda weight, nll: weighted(torch.ones_like(weight), nll))
    assert_same(equal_job(f"{base}-ac", **WEIGHTED), equal_job(f"{base}-sqn"))


def test_phase_2_of_sa2c_with_its_advantage_1_is_snqn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "advantage_over_negatives", ones(policy.advantage_over_negatives))
    assert_same(equal_job("sa2c", **WEIGHTED), equal_job("snqn"))


def test_phase_2_of_smoothed_sa2c_with_its_correction_1_is_that_of_sa2c(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "propensity_weight", ones(policy.propensity_weight))
    assert_same(equal_job("sa2c-smooth", **WEIGHTED), equal_job("sa2c", **WEIGHTED))


@pytest.mark.parametrize(
    ("name", "other", "changes"),
    [
        ("sasrec-ac", "sasrec-sqn", WEIGHTED),
        ("sa2c", "snqn", WEIGHTED),
        ("sa2c-smooth", "sa2c", WEIGHTED),
        ("snqn", "sasrec-sqn", {}),
        ("cl4srec", "sasrec", {}),
        ("sasrec-co", "sasrec-ac", {}),
        ("sasrec-ac", "sasrec-ac-released", WEIGHTED),
    ],
)
def test_with_nothing_taken_away_they_differ(name: str, other: str, changes: dict[str, Any]) -> None:
    """So that the identities above compare what they say."""
    with pytest.raises(AssertionError):
        assert_same(equal_job(name, **changes), equal_job(other, **changes))


@pytest.mark.parametrize("changes", [{}, {"negative_leads_to": "next"}, {"outside": "session"}, {"rank_by": "q"}])
def test_snqn_as_it_may_be_set_trains_apart(changes: dict[str, Any]) -> None:
    """Each choice about negatives counts; the head that ranks is none of training's business."""
    one, other = (step_results(equal_job("snqn", **c), 0)[0] for c in (changes, {}))
    assert torch.equal(one, other) == (changes in ({}, {"rank_by": "q"}))


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("snqn", {"rank_by": "q", "omega": 0.0}, "rank_by q asks a critic that learns nothing: omega is 0"),
        ("sasrec-ac", {"omega": 0.0}, "phases 2 weights cross-entropy by a critic that learns nothing: omega is 0"),
        (
            "sa2c",
            {"negatives": 0},
            "negatives is 0, and an advantage is over the mean of the item and negatives",
        ),
        ("sa2c", {"advantage_min": 3.0, "advantage_max": 1.0}, "advantage_min 3.0 is more than advantage_max 1.0"),
        ("sa2c-smooth", {"propensity_min": 11.0}, "propensity_min 11.0 is more than propensity_max 10.0"),
        ("sasrec-ccql", {"negatives": 0}, "a conservative term of 0: to do without it set alpha 0"),
        ("sasrec-ccql", {"negatives": 0, "conservative": "sampled"}, "conservative sampled is a mean over them"),
        ("snqn", {"critic": "bounded", "q_min": 2.0}, "q_min 2 is not below q_max 2, and Q lies between them"),
        ("sasrec-ccql", {"critic": "bounded", "conservative": "sampled"}, "with critic bounded they are not Q"),
        ("s3-rec", {"masked_weight": 0.0, "segment_weight": 0.0}, "so nothing is pre-trained: set pretrain_epochs 0"),
    ],
)
def test_what_is_not_meaningful_is_refused_with_the_reason(name: str, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(SeqwardError, match=reason):
        job_of(name, shop(), **changes)


@pytest.mark.parametrize("changes", [{"alpha": 0.0}, {"conservative": "catalogue"}])
def test_ccql_needs_negatives_only_to_be_conservative_on_them(changes: dict[str, Any]) -> None:
    assert_same(equal_job("sasrec-ccql", negatives=0, **changes), equal_job("sasrec-ccql", **changes))


def test_every_base_is_a_method() -> None:
    assert {f"{base}{suffix}" for base in BASES for suffix in ("", "-sqn", "-ac")} <= METHODS.keys()
