"""What policies, their critics, a judge and counts must find in planted worlds, and what they must not.

Each claim is held from both sides: one dial of the world, or of what is asked, and the answer is another.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from jobs import after_steps, job_of
from seqward.backbones.backbone import Histories
from seqward.data.dataset import Dataset
from seqward.model import Model
from seqward.step import Step
from test_worlds import MDP, at_the_fork, behaviour_q, q_of
from worlds import Floats, Fork, Mdp, Ring, data_of

LATER = Mdp(np.array([[1.0, 1.0, 1.0], [0.1, 0.4, 0.2], [0.1, 0.4, 0.2], [0.1, 0.4, 0.2]]), survival=0.8)
"""Item 0 pays least and leads to where everything pays 1. Worth most is 1 now, and with what follows it 0."""
HISTORIES = [[0], [1], [2], []]


def trained(name: str, data: Dataset, **changes: Any) -> Model:
    size = {"n_factors": 16, "session_max_len": 3, "batch_size": 64, "lr": 0.005, "epochs": 14, "dropout_rate": 0.0}
    job = job_of(name, data, **(size | {"tau": 0.05} | changes))
    return after_steps(job, job.last_step).evaluated.eval()


def policy_of(model: Model) -> Floats:
    """[4, 3] probabilities after each of three items, and after none."""
    with torch.no_grad():
        rows = [model.states(Histories(torch.tensor([h], dtype=torch.int64).view(1, -1)))[0, -1] for h in HISTORIES]
        return model.scores("policy", torch.stack(rows)).at(torch.arange(3).expand(4, 3)).softmax(1).numpy()


# Now, or later ------------------------------------------------------------------------------------------------------


def test_worth_now_and_later_are_told_apart_by_the_discount() -> None:
    """Of the world itself: of who acted and of the best policy alike, in the states where items pay differently."""
    for gamma, best in ((0.0, 1), (0.9, 0)):
        logged = LATER.reward.copy()
        for _ in range(500):
            logged = LATER.reward + gamma * LATER.survival * logged[:3].mean(1)
        for q in (LATER.q_star(gamma), logged):
            assert (q[1:].argmax(1) == best).all()
            assert (np.sort(q[1:], 1)[:, -1] - np.sort(q[1:], 1)[:, -2] > 0.15).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("reinforce-topk", {"slate": 2}),
        ("crr", {"temperature": 0.1}),
        ("crr", {"advantage_weight": "binary"}),
        ("iql-awr", {"beta": 10.0}),
    ],
)
@pytest.mark.parametrize(("gamma", "best"), [(0.0, 1), (0.9, 0)])
def test_a_policy_finds_what_pays_over_its_discount(
    name: str, changes: dict[str, Any], gamma: float, best: int
) -> None:
    """What is logged is uniformly random, so cross-entropy finds nothing in it."""
    found = policy_of(trained(name, LATER.log(1500), gamma=gamma, **changes))
    assert (found[1:].argmax(1) == best).all()
    assert (found[1:, best] > 0.4).all()


@pytest.mark.slow
def test_cross_entropy_finds_nothing_in_what_was_done_at_random() -> None:
    assert np.abs(policy_of(trained("sasrec", LATER.log(1500))) - 1 / 3).max() < 0.1


# REINFORCE ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_longer_slate_spreads_and_a_slate_of_one_does_not() -> None:
    """K = 1 is sure of one item; K = 2 shows others, too; K = 16 of 3 items has nothing to leave out."""
    sure = [policy_of(trained("reinforce-topk", LATER.log(1500), slate=k, gamma=0.9))[1:].max(1) for k in (1, 2, 16)]
    assert (sure[0] > 0.95).all()
    assert (sure[1] < 0.8).all()
    assert (sure[2] < 0.45).all()


@pytest.mark.slow
def test_what_pays_nothing_by_itself_is_never_learned_whatever_follows() -> None:
    """The source trains the policy on events with a reward: at 0 in place of .1 item 0 is left out, though best."""
    reward = LATER.reward.copy()
    reward[1:, 0] = 0.0
    unpaid = Mdp(reward, LATER.survival)
    assert (unpaid.q_star(0.9)[1:].argmax(1) == 0).all()
    assert (policy_of(trained("reinforce-topk", unpaid.log(1500), slate=2, gamma=0.9))[1:, 0] < 0.1).all()


# Critics ------------------------------------------------------------------------------------------------------------


def expectile(q: Floats, tau: float) -> Floats:
    """[states] of each row's values: where tau times what is above equals 1 - tau times what is below."""
    low, high = q.min(1), q.max(1)
    for _ in range(60):
        middle = (low + high) / 2
        error = q - middle[:, None]
        above = (np.where(error > 0, tau, 1 - tau) * error).sum(1) > 0
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return low


def fixed_point(gamma: float, value: Any) -> Floats:
    """Q(s, a) = r(s, a) + gamma * survival * value(Q)(a)."""
    q = np.zeros_like(MDP.reward)
    for _ in range(300):
        q = MDP.reward + gamma * MDP.survival * value(q)[:3]
    return q


@pytest.mark.slow
@pytest.mark.parametrize("tau", [0.5, 0.9])
def test_iql_converges_to_the_expectile_of_what_was_done(tau: float) -> None:
    """At .5 that is Q of who acted; at .9 it is near the best Q, which .5 misses by .66."""
    expected = fixed_point(0.6, lambda q: expectile(q, tau))
    found = q_of(trained("iql-awr", MDP.log(1500), gamma=0.6, expectile=tau), HISTORIES)
    assert np.abs(found - expected).max() < 0.25
    if tau == 0.5:
        assert expected == pytest.approx(behaviour_q(0.6))
    else:
        assert np.abs(expected - MDP.q_star(0.6)).max() < 0.2
        assert np.abs(expected - behaviour_q(0.6)).max() > 0.35


@pytest.mark.slow
@pytest.mark.parametrize(("temperature", "is_best"), [(0.1, True), (100.0, False)])
def test_crr_converges_to_q_of_its_own_policy(temperature: float, is_best: bool) -> None:
    """That policy is nearly the best one where it is let, and who acted where every weight is 1."""
    model = trained("crr", MDP.log(1500), gamma=0.6, temperature=temperature)
    found, policy = q_of(model, HISTORIES), policy_of(model)
    own = fixed_point(0.6, lambda q: (policy * q).sum(1))
    assert np.abs(found - own).max() < 0.25
    assert np.abs(own - (MDP.q_star(0.6) if is_best else behaviour_q(0.6))).max() < 0.2


# PRL ----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_prl_recommends_follows_what_is_asked_for() -> None:
    """After 0 comes 1, or more rarely 2 with the prize: the same training, asked for much and for little."""
    asked = {"gamma": 0.9, "event_weight": "none"}
    assert at_the_fork("prl", Fork(), "policy", ask=2.0, **asked).argmax() == 2
    assert at_the_fork("prl", Fork(), "policy", ask=0.3, **asked).argmax() == 1


@pytest.mark.slow
def test_what_prl_is_asked_for_may_lie_ahead() -> None:
    """One network, asked for much, goes where everything pays, though the way pays least; asked for little, not."""
    model = trained("prl", LATER.log(1500), gamma=0.9, event_weight="none")
    backbone: Any = model.backbone
    found = {}
    for ask in (2.0, 0.3):
        backbone.settings = replace(backbone.settings, ask=ask)
        found[ask] = policy_of(model)
    assert (found[2.0][1:].argmax(1) == 0).all()
    assert (found[0.3][1:, 0] < 0.25).all()


# CDARL --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_the_judge_tells_what_can_be_told_and_its_reward_enters_q(noise: float) -> None:
    """On the ring it is nearly sure of what follows; in noise it says 1/2. Without discount Q is 1 + share * D."""
    data = data_of(Ring(12, noise).sessions(800, 6).tolist(), 12)
    size = {"n_factors": 16, "session_max_len": 5, "batch_size": 64, "lr": 0.01, "epochs": 12, "dropout_rate": 0.0}
    job = job_of("cdarl", data, **size, gamma=0.0, intrinsic_share=1.0, target="ema", tau=0.05)
    model = after_steps(job, job.last_step).evaluated.eval()
    with torch.no_grad():
        step = Step(model, model, job.data.batch(0, 300, 0), 0, 0)
        later = step.column("before") > 0
        told = torch.sigmoid(step.pairs("judge", step.action))[later]
        others = torch.sigmoid(step.pairs("judge", step.negatives(5, "action")))[later]
        q = step.logged("q")[later]
    if noise:
        assert abs(float(told.mean()) - 0.5) < 0.1
        assert abs(float(q.mean()) - 1.5) < 0.15
    else:
        assert float(told.mean()) > 0.85
        assert float(others.mean()) < 0.2
        assert float((q - 1 - told).abs().mean()) < 0.15


# Counts -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False])
def test_a_count_to_come_is_found_where_the_past_tells_it(known: bool) -> None:
    """Sessions of 6 events have 5 - t to come; those that may end at any event with probability 1/4 as many as ever."""
    draw = np.random.default_rng(0)
    lengths = [6] * 800 if known else draw.geometric(0.25, 1200).tolist()
    data = data_of([draw.integers(12, size=length).tolist() for length in lengths], 12)
    size = {"n_factors": 16, "session_max_len": 5, "batch_size": 64, "lr": 0.01, "epochs": 12, "dropout_rate": 0.0}
    job = job_of("sasrec-count-future", data, **size, count_weight=10.0)
    model = after_steps(job, job.last_step).evaluated.eval()
    with torch.no_grad():
        states = model.states(Histories(torch.randint(12, (400, 5), generator=torch.Generator().manual_seed(1))))
        said = model.value("n", states.flatten(0, 1)).view(400, 6).mean(0)
    mean = float(np.log1p(draw.geometric(0.25, 10_000) - 1).mean())
    expected = torch.arange(5, -1, -1).float().log1p() if known else torch.full((6,), mean)
    assert float((said - expected).abs().max()) < (0.1 if known else 0.25)
