"""Policy-based methods: each term against its equation, and where a method is another one."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from jobs import after_steps, assert_same_bits, in_phase, job_of, loss_of, loud_step, shop
from seqward.data.dataset import Dataset
from seqward.job import Job
from seqward.methods import METHODS
from seqward.networks import Networks
from seqward.step import Step
from worlds import data_of

ALIKE = {"lr": 0.01, "batch_size": 8, "target": "ema", "phases": 1, "dropout_rate": 0.2}


def job(name: str, data: Dataset | None = None, **changes: Any) -> Job:
    return job_of(name, data or shop(), **(ALIKE | changes))


def matrix(step: Step, scores: Any) -> Tensor:
    """[n, items]"""
    return scores.at(torch.arange(12).expand(len(step.action), 12)).detach()


def in_common(networks: Networks, other: Networks) -> list[dict[str, Tensor]]:
    """The parameters of each that the other has, too."""
    one, two = (n.evaluated.state_dict() for n in (networks, other))
    return [{k: v for k, v in state.items() if k in one and k in two} for state in (one, two)]


def without_critic(job: Job) -> Job:
    """The job of its policy's term alone."""
    return in_phase(job, 0, job.method.phases[0].terms[0])


@pytest.mark.parametrize(("name", "changes"), [("crr", {"temperature": 1e30}), ("iql-awr", {"beta": 0.0})])
def test_without_a_critic_and_with_equal_weights_a_policy_is_sasrecs(name: str, changes: dict[str, Any]) -> None:
    """To the bit over five steps, dropout and all; with a weight of its own it is not."""
    sasrec = after_steps(job("sasrec"), 5)
    assert_same_bits(*in_common(after_steps(without_critic(job(name, **changes)), 5), sasrec))
    with pytest.raises(AssertionError):
        assert_same_bits(*in_common(after_steps(without_critic(job(name)), 5), sasrec))


def test_iql_without_weights_may_do_without_a_critic() -> None:
    """To the bit SASRec, and it may be asked for by its settings."""
    sasrec = after_steps(job("sasrec"), 5)
    assert_same_bits(*in_common(after_steps(job("iql-awr", omega=0.0, beta=0.0), 5), sasrec))


@pytest.mark.parametrize("name", ["crr", "iql-awr"])
def test_the_policys_weight_teaches_no_critic(name: str) -> None:
    step = loud_step(job_ := job(name))
    symbol = next(t.symbol for t in job_.method.phases[0].terms if "L_CE" in t.symbol)
    loss_of(job_, symbol)(step).sum().backward()
    for head, module in step.online.heads.items():
        assert all((p.grad is not None) == (head == "policy") for p in module.parameters()), head


# REINFORCE ----------------------------------------------------------------------------------------------------------


def test_reinforce_against_its_equation() -> None:
    step = loud_step(job_ := job("reinforce-topk", gamma=0.8, slate=3, ratio_cap=1.5))
    pi, beta = (matrix(step, step.now(head)).softmax(1) for head in ("policy", "behaviour"))
    expected = []
    for row, item in enumerate(step.action.tolist()):
        p, b = float(pi[row, item]), float(beta[row, item])
        weight = min(p / b, 1.5) * 3 * (1 - p) ** 2 * float(step.returns(0.8)[row])
        expected.append(-weight * math.log(p))
    torch.testing.assert_close(loss_of(job_, "w λ_K R L_CE")(step).detach(), torch.tensor(expected))
    torch.testing.assert_close(
        loss_of(job_, "L_β")(step).detach(), -beta.gather(1, step.action[:, None])[:, 0].log(), rtol=1e-4, atol=1e-5
    )


def test_a_slate_of_one_shown_by_the_policy_itself_for_a_return_of_one_is_sasrec() -> None:
    """Loss and gradient: rewards of 1, no discount of what follows left, and beta with the policy's rows."""
    data = data_of([[0, 1, 2], [3, 4, 5, 6], [7, 8], [9, 10, 11]] * 4, 12)
    step = loud_step(job_ := job("reinforce-topk", data, gamma=0.0, slate=1))
    step.online.heads["behaviour"].load_state_dict(step.online.heads["policy"].state_dict())
    loss = loss_of(job_, "w λ_K R L_CE")(step)
    torch.testing.assert_close(loss, step.nll("policy"))
    parameters = list(step.online.backbone.parameters())
    found, expected = (torch.autograd.grad(x.sum(), parameters, retain_graph=True) for x in (loss, step.nll("policy")))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_an_event_without_reward_teaches_who_acted_and_not_the_policy() -> None:
    """Though much follows it."""
    data = data_of([[0, 1, 2], [3, 4, 5]], 12, rewards=[[0.0, 0.0, 1.0], [0.0, 0.5, 0.0]])
    step = loud_step(job_ := job("reinforce-topk", data))
    assert ((loss_of(job_, "w λ_K R L_CE")(step) != 0) == (step.reward != 0)).all()
    assert (step.returns(0.5) != 0).sum() == 5
    assert bool((loss_of(job_, "L_β")(step) != 0).all())


def test_who_acted_is_learned_beside_the_state_and_shapes_it_not() -> None:
    step = loud_step(job_ := job("reinforce-topk"))
    loss_of(job_, "L_β")(step).sum().backward()
    learned = {name for name, p in step.online.named_parameters() if p.grad is not None}
    assert learned == {"heads.behaviour.linear.weight", "heads.behaviour.linear.bias"}


# CRR ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", ["exponential", "binary"])
def test_crr_against_its_equations(weight: str) -> None:
    settings = {"temperature": 0.5, "weight_cap": 2.0, "samples": 3, "next_samples": 2, "gamma": 0.7}
    step = loud_step(job_ := job("crr", advantage_weight=weight, **settings))
    q, nll = matrix(step, step.now("q")), step.nll("policy").detach()
    target = matrix(step, step.target_next("q"))
    drawn, following = step.samples("policy", 3), step.next_samples("policy", 2)
    losses, errors, weights = [], [], []
    for row, item in enumerate(step.action.tolist()):
        advantage = float(q[row, item]) - sum(float(q[row, i]) for i in drawn[row].tolist()) / 3
        weights.append(min(math.exp(advantage / 0.5), 2.0) if weight == "exponential" else float(advantage > 0))
        losses.append(weights[-1] * float(nll[row]))
        bootstrap = sum(float(target[row, i]) for i in following[row].tolist()) / 2
        y = float(step.reward[row]) + 0.7 * float(step.live[row]) * bootstrap
        errors.append(0.5 * (y - float(q[row, item])) ** 2)
    assert len(set(weights)) > (5 if weight == "exponential" else 1)
    torch.testing.assert_close(loss_of(job_, "f(A) L_CE")(step).detach(), torch.tensor(losses))
    torch.testing.assert_close(loss_of(job_, "ω L_Q")(step).detach(), torch.tensor(errors))


# IQL ----------------------------------------------------------------------------------------------------------------


def test_iql_against_its_equations() -> None:
    step = loud_step(job_ := job("iql-awr", expectile=0.8, beta=2.0, weight_cap=3.0, gamma=0.7))
    q, target = matrix(step, step.now("q")), matrix(step, step.target_now("q"))
    v, v_next, nll = step.value("v").detach(), step.next_value("v"), step.nll("policy").detach()
    policy, critic, value, weights = [], [], [], []
    for row, item in enumerate(step.action.tolist()):
        u = float(target[row, item] - v[row])
        weights.append(min(math.exp(2.0 * u), 3.0))
        policy.append(weights[-1] * float(nll[row]))
        value.append((0.8 if u > 0 else 0.2) * u * u)
        y = float(step.reward[row] + 0.7 * step.live[row] * v_next[row])
        critic.append(0.5 * (y - float(q[row, item])) ** 2)
    assert len(set(weights)) > 5
    for symbol, expected in (("exp(βA) L_CE", policy), ("ω L_Q", critic), ("ω L_V", value)):
        torch.testing.assert_close(loss_of(job_, symbol)(step).detach(), torch.tensor(expected))


def test_iql_asks_for_no_item_that_was_not_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """No maximum, no sample, no negative: the critic is read at logged items only."""
    step = loud_step(job_ := job("iql-awr"))
    asked: list[str] = []
    for question in ("greedy", "next", "samples", "next_samples", "negatives", "target_next"):
        answer = getattr(Step, question)
        monkeypatch.setattr(Step, question, lambda *of, q=question, a=answer: (asked.append(q), a(*of))[1])
    sum(t.loss(step).sum() for t in job_.method.phases[0].terms).backward()  # type: ignore[union-attr]
    assert asked == []


# PRL ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", ["reward", "return", "none"])
def test_prl_is_weighted_cross_entropy(weight: str) -> None:
    step = loud_step(job_ := job("prl", event_weight=weight, gamma=0.8))
    (only,) = job_.method.phases[0].terms
    expected = {"reward": step.reward, "return": step.returns(0.8), "none": torch.ones(len(step.action))}[weight]
    torch.testing.assert_close(only.loss(step), expected * step.nll("policy"))
    assert job_.method.wanted == 0.8


def test_with_its_prompt_switched_off_prl_is_sasrec() -> None:
    """Loss and gradient of one step, with dropout 0: no step, no return, and the state alone in the mix."""
    size = {"dropout_rate": 0.0, "event_weight": "none", "prompt_activation": "none", "init": "normal"}
    prl, sasrec = (job(name, **size, scale_embedding=True) for name in ("prl", "sasrec"))
    prompted, plain = Networks(prl).evaluated, Networks(sasrec).evaluated
    backbone: Any = prompted.backbone
    with torch.no_grad():
        for p in (backbone.steps.weight, backbone.wanted.weight, backbone.value.weight, backbone.mix.weight):
            p.zero_()
        backbone.mix.weight[0, 0] = 1.0
    backbone.sasrec.load_state_dict(plain.backbone.state_dict())
    prompted.heads["policy"].load_state_dict(plain.heads["policy"].state_dict())
    found = []
    for j, model in ((prl, prompted), (sasrec, plain)):
        step = Step(model.train(), model, j.data.batch(0, 8, 0), 0, 0, j.method.wanted)
        loss = j.method.phases[0].terms[0].loss(step)
        loss.sum().backward()
        own = {name.replace("backbone.sasrec", "backbone"): p.grad for name, p in model.named_parameters()}
        found.append((loss, own))
    (one, gradients), (other, expected) = found
    torch.testing.assert_close(one, other)
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient)


def test_settings_that_mean_nothing_are_refused() -> None:
    from seqward.errors import SeqwardError
    from seqward.recommender import Recommender

    refused: list[tuple[str, dict[str, Any], str]] = [
        ("iql-awr", {"expectile": 1.0}, "expectile should be less than 1"),
        ("crr", {"temperature": 0.0}, "temperature should be greater than 0"),
        ("crr", {"samples": 0}, "samples should be greater than or equal to 1"),
        ("reinforce-topk", {"slate": 0}, "slate should be greater than or equal to 1"),
        ("prl", {"gamma": 0.0}, "gamma should be greater than 0"),
        ("crr", {"omega": 0.0}, "events are weighted by a critic that learns nothing: omega is 0"),
        ("crr", {"omega": 0.0, "advantage_weight": "binary"}, "critic that learns nothing: omega is 0"),
        ("iql-awr", {"omega": 0.0}, "weighted by a critic that learns nothing: omega is 0 and beta is not"),
        ("iql-awr", {"omega": 0.0, "beta": 0.0, "rank_by": "q"}, "rank_by q asks a critic that learns nothing"),
    ]
    for name, changes, message in refused:
        with pytest.raises(SeqwardError, match=message):
            Recommender(name, **changes)
    assert METHODS["crr"].needs == METHODS["iql-awr"].needs == ("rewards",)
