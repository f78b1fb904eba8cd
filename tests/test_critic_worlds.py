"""Every critic in a decision process that can be solved: it learns what its own theory says, and overestimates only
where that says so.

A method with a critic is found by itself, and must state what is expected of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pytest

from jobs import TRAINED, after_steps, job_of, shop
from seqward.data.dataset import Dataset
from seqward.job import Job
from test_policy_worlds import HISTORIES, expectile
from test_worlds import MDP, behaviour_q, five_items_of_thirty, liking, q_of
from worlds import Floats, data_of

GAMMA = 0.6
SURE = 10**9
"""Training events that are never reached: no second phase."""
CRITICS = [name for name in TRAINED if job_of(name, shop()).method.critic]


class Theory(NamedTuple):
    """Where a critic ends on uniformly random actions.

    With y(s, a) = r(s, a) + bonus + gamma * survival * follows(Q)(a), an action is logged in a third of the events and
    one of the k negatives of the other two thirds, so the losses' derivative by Q(s, a) is 0 where
    ``(Q - y) + k (Q - gamma max Q(s)) + alpha (3 softmax(Q(s))(a) - 1) = 0``.
    """

    settings: Mapping[str, Any] = {}
    gamma: float = GAMMA
    follows: Callable[[Floats], Floats] = lambda q: q.max(1)
    bonus: float = 0.0
    k: int = 0
    alpha: float = 0.0

    def q(self) -> Floats:
        """[4, 3] by going half of the way to the fixed point again and again."""
        q = np.zeros_like(MDP.reward)
        for _ in range(2000):
            y = MDP.reward + self.bonus + self.gamma * MDP.survival * self.follows(q)[:3]
            softmax = np.exp(q) / np.exp(q).sum(1, keepdims=True)
            pulled = y + self.k * self.gamma * q.max(1, keepdims=True) + self.alpha * (1 - 3 * softmax)
            q = (q + pulled / (1 + self.k)) / 2
        return q


def theory_of(name: str) -> Theory:
    """What is expected of a method; Q of the best policy where nothing else is said."""
    plain = {"phases": 1, "pretrain_epochs": 0.0, "contrast_weight": 0.1, "alpha": 0.0}
    if name.endswith("-gamma-0"):
        return Theory(plain, gamma=0.0)
    if name.endswith("-released"):  # its contrast takes long
        return Theory({**plain, "contrast_weight": 0.0})
    if name in ("snqn", "sa2c", "sa2c-smooth"):  # an item that was not chosen earns 0 and leads to where it was shown
        return Theory({"negatives": 2, "outside": "action", "warmup_events": SURE}, k=2)
    if name in ("sasrec-cql", "sasrec-ccql"):
        return Theory({**plain, "conservative": "catalogue", "alpha": 0.5, "temperature": 1.0}, alpha=0.5)
    if name == "crr":  # every weight is 1, so the policy is that of who acted
        return Theory({"temperature": 100.0}, follows=lambda q: q.mean(1))
    if name == "iql-awr":
        return Theory({"expectile": 0.9}, follows=lambda q: expectile(q, 0.9))
    if name in ("cdarl", "cp4rec-cdarl"):  # what is random cannot be told from random: the judge says 1/2
        return Theory({**plain, "intrinsic_share": 1.0}, bonus=0.5)
    return Theory(plain)


def critic_of(name: str, data: Dataset, **changes: Any) -> Job:
    gamma = {} if name.endswith("-gamma-0") else {"gamma": GAMMA}
    size = {"n_factors": 16, "session_max_len": 3, "dropout_rate": 0.0, "heights": (1, 2, 3), "clip_value": None}
    return job_of(name, data, **(size | gamma | {"target": "ema", "tau": 0.05} | changes))


@pytest.mark.slow
@pytest.mark.parametrize("name", CRITICS)
def test_a_critic_learns_what_its_theory_says(name: str) -> None:
    theory = theory_of(name)
    job = critic_of(name, MDP.log(1500), **{"batch_size": 256, "lr": 0.005, "epochs": 30, **theory.settings})
    found = q_of(after_steps(job, job.last_step).evaluated, HISTORIES)
    assert np.abs(found - theory.q()).max() < 0.25


@pytest.mark.parametrize(
    ("a", "b"),
    [
        *combinations(["sasrec-sqn", "sasrec-sqn-gamma-0", "snqn", "sasrec-cql", "crr", "cdarl"], 2),
        ("iql-awr", "crr"),  # an expectile from a mean; from the best action it is .15 away
    ],
)
def test_the_world_tells_the_theories_apart(a: str, b: str) -> None:
    assert np.abs(theory_of(a).q() - theory_of(b).q()).max() > 0.35


RANGE = {"q_min": -0.5}
"""Rewards are down to -.2, and none exceeds 1.2; of gamma .6 the most is then 2.5 by default, and Q* 1.92."""
VARIANTS: dict[str, tuple[dict[str, Any], Callable[[], Floats]]] = {
    "bounded": ({"critic": "bounded", **RANGE}, lambda: MDP.q_star(GAMMA)),
    "hl-gauss": ({"critic": "hl-gauss", **RANGE}, lambda: MDP.q_star(GAMMA)),
    "huber": ({"critic_loss": "huber"}, lambda: MDP.q_star(GAMMA)),
    "norm": ({"critic_norm": True}, lambda: MDP.q_star(GAMMA)),
    "least": ({"target_min": True}, lambda: MDP.q_star(GAMMA)),
    "least of twins": ({"target_min": True, "target": "twin"}, lambda: MDP.q_star(GAMMA)),
    "monte-carlo": ({"returns": "monte-carlo"}, lambda: behaviour_q(GAMMA)),
    "two steps": ({"n_step": 2, "session_max_len": 15}, lambda: q_of_two_steps(GAMMA)),
}


def q_of_two_steps(gamma: float) -> Floats:
    """One step of whoever acted, and then the best item: Q = r + c E_b[r + c max Q], c = gamma * survival."""
    q, carried = np.zeros_like(MDP.reward), gamma * MDP.survival
    for _ in range(500):
        q = MDP.reward + carried * (MDP.reward[:3] + carried * q[:3].max(1)).mean(1)
    return q


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_each_form_of_critic_learns_the_q_of_its_target(variant: str) -> None:
    """Monte-Carlo returns are those of random actions, and two steps lie between these and the best policy."""
    changes, theory = VARIANTS[variant]
    job = critic_of("sasrec-sqn", MDP.log(1500), **{"batch_size": 256, "lr": 0.005, "epochs": 30, **changes})
    found = q_of(after_steps(job, job.last_step).evaluated, HISTORIES)
    assert np.abs(found - theory()).max() < 0.25


def test_the_world_tells_the_targets_apart() -> None:
    best, acted, between = MDP.q_star(GAMMA), behaviour_q(GAMMA), q_of_two_steps(GAMMA)
    assert np.abs(best - between).max() > 0.35
    assert np.abs(best - acted).max() > 0.5
    assert np.abs(between - acted).min() > 0.15


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "low", "high"), [("linear", 60.0, np.inf), ("bounded", 5.0, 20.0), ("hl-gauss", 5.0, 20.0)]
)
def test_bounds_hold_a_critic_that_diverges(form: str, low: float, high: float) -> None:
    """No target network (tau 1), gamma .99, a high learning rate, and an item that nobody took and Q begins by liking.

    A session pays 40 times .5, so no Q is above 20.
    """
    sessions = np.random.default_rng(0).integers(5, size=(60, 40)).tolist()
    data = data_of(sessions, 30, rewards=[[0.5] * 40] * 60)
    settings = {"batch_size": 64, "lr": 0.05, "epochs": 400, "tau": 1.0, "gamma": 0.99, "critic": form, "q_max": 20.0}
    job = critic_of("sasrec-sqn", data, **settings)
    heads = {**job.method.heads, "q": liking(job.method.heads["q"])}
    learned = after_steps(replace(job, method=replace(job.method, heads=heads)), 100).evaluated
    assert low < float(q_of(learned, [[i] for i in range(5)]).max()) <= high


WARY = {"sasrec-cql", "sasrec-ccql", "snqn", "sa2c", "sa2c-smooth", "crr", "iql-awr"}
"""Those that are kept low where nobody went, or that are told what follows by what was done or the policy does."""


@pytest.mark.slow
@pytest.mark.parametrize("name", CRITICS)
def test_a_critic_overestimates_where_its_theory_says_so_and_nowhere_else(name: str) -> None:
    """Every event pays .5, so no Q is above .5 / (1 - .6) = 1.25; an item that nobody ever took begins at 3."""
    settings = {"batch_size": 64, "lr": 0.01, "epochs": 40, **theory_of(name).settings, "intrinsic_share": 0.0}
    job = critic_of(name, five_items_of_thirty(), **settings)
    heads = {**job.method.heads, "q": liking(job.method.heads["q"])}
    learned = after_steps(replace(job, method=replace(job.method, heads=heads)), 150).evaluated
    logged = float(q_of(learned, [[i] for i in range(5)])[:, :5].mean())
    if name in WARY or name.endswith("-gamma-0"):
        assert 0.4 < logged < 1.25
    else:
        assert logged > 1.5
