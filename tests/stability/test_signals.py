"""What the guard measures, worked by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from jobs import job_of, loud_step, shop
from seqward.errors import Finding
from seqward.stability.rules import SURGE
from seqward.stability.signals import StepSignals, largest_return, of_critic, of_lists, of_states, probe_of


def settled(norms: list[float], loss: float = 1.0) -> StepSignals:
    """After steps 1, 2, ... with those norms, none of which is news any more."""
    steps = StepSignals()
    for i, norm in enumerate(norms):
        steps.add(i + 1, loss, norm)
    steps.take()
    return steps


def test_a_norm_is_unusual_beside_those_before_it() -> None:
    """25 norms of 1 and 3 in turn: mean near 2, spread near 1; then 12."""
    steps = settled([1.0, 3.0] * 13)
    mean, spread = steps.norm_mean, math.sqrt(steps.norm_variance)
    steps.add(27, 1.0, 12.0)
    assert steps.take()["grad_z"] == pytest.approx((12.0 - mean) / spread)
    assert steps.norm_mean == pytest.approx(mean + 0.03 * 2.5 * spread)  # it counts as one of 2.5 spreads only
    assert steps.take()["grad_z"] == 0.0


def test_no_norm_is_unusual_among_the_first() -> None:
    steps = settled([])
    for norm in (1.0, 1.1, 100.0):
        steps.add(1, 1.0, norm)
    assert steps.take()["grad_z"] == 0.0


def test_unusual_norms_add_up_and_usual_ones_take_them_back() -> None:
    """A spike counts as three deviations, less the one that is forgiven at every step: 2, then 4, then 3."""
    steps = settled([1.0, 3.0] * 13 + [2.0])
    assert steps.surge == 0.0
    assert steps.add(28, 1.0, 50.0)["grad_surge"] == 2.0
    assert steps.add(29, 1.0, 50.0)["grad_surge"] == 4.0
    assert "grad_surge" not in steps.add(30, 1.0, steps.norm_mean) and steps.surge == 3.0
    assert steps.highs == [(28, "grad_surge", 2.0), (29, "grad_surge", 4.0)]
    assert steps.take()["grad_surge"] == 4.0 and steps.highs == []
    assert steps.add(31, 1.0, steps.norm_mean)["grad_surge"] == 2.0  # the highest since the probe
    for i in range(9):
        steps.add(32 + i, 1.0, 0.0)
    assert steps.surge == 0.0  # it never owes anything
    steps = settled([1.0, 3.0] * 13)
    for i in range(99):
        steps.add(27 + i, 1.0, 2.0 * steps.norm_mean + 9.0 * math.sqrt(steps.norm_variance))
    assert steps.surge == SURGE


def test_a_loss_is_held_against_its_trailing_median() -> None:
    steps = settled([1.0] * 24, loss=2.0)
    assert steps.add(25, 9.0, 1.0) == {}  # of 25 losses none had 25 before it
    assert steps.add(26, 5.0, 1.0) == {"loss_ratio": 2.5}
    assert steps.add(27, 2.0, 1.0) == {}
    assert steps.take()["loss_ratio"] == 2.5
    steps.add(28, 5.0, 1.0)
    steps.new_phase()
    assert steps.add(29, 50.0, 1.0) == {}
    assert steps.highs == [(28, "loss_ratio", 2.5)]  # of the phase before, for the next probe to tell
    assert steps.take()["loss_ratio"] == 0.0
    for step in range(300):
        steps.add(30 + step, 1.0, 1.0)
    assert len(steps.losses) == 100


class _Heads:
    """A step whose answers are given: two events and three items."""

    logged_q = torch.tensor([0.5, -3.0])
    greedy_q = torch.tensor([1.0, 2.0])
    reward, live = torch.tensor([1.0, 0.2]), torch.tensor([1.0, 0.0])
    online = SimpleNamespace(vocabulary=SimpleNamespace(n_items=3), columns=None)

    def logged(self, head: str) -> Tensor:
        return self.logged_q

    def greedy(self, head: str) -> Tensor:
        return torch.tensor([2, 0])

    def next(self, head: str) -> Any:
        return SimpleNamespace(at=lambda items: self.greedy_q)

    def target_next(self, head: str) -> Any:
        return SimpleNamespace(at=lambda items: torch.tensor([4.0, 100.0]))

    def returns(self, gamma: float) -> Tensor:
        return torch.tensor([1.0, 0.0])

    def columns(self, head: str, items: Tensor) -> Tensor:
        return torch.zeros(2, len(items))

    def shared_negatives(self, k: int) -> Tensor:
        return torch.zeros(k, dtype=torch.int64)

    def nll(self, head: str) -> Tensor:
        return torch.tensor([math.log(3) + 1.0, math.log(3) + 3.0])


def test_what_a_critic_says_is_worked_by_hand() -> None:
    """Bound 2, gamma .5: the largest reward is 1. TD errors: 1 + .5 * 4 - .5 = 2.5, and .2 + 3 = 3.2, where it ends.

    Mean Q is -1.25 and mean return .5, whose standard deviation is .5: (-1.25 - .5) / .5 = -3.5. The largest |Q| is 3,
    of a logged item; the gap is the mean of 1 and 3. Greedy items are worth 1.5 on average: 2.75 above -1.25.
    """
    found = of_critic(cast(Any, _Heads()), "q", 0.5, 2.0)
    assert found == pytest.approx(
        {
            "q_over_bound": 1.5,
            "q_over_reward": 3.0,
            "td_mean": (2.5 + 3.2) / 2,
            "td_rms": math.sqrt((2.5**2 + 3.2**2) / 2),
            "overestimation": -3.5,
            "conservative_gap": 2.0,
            "q_rise": 2.75 / 2,
        }
    )


@pytest.mark.parametrize(
    "settings",
    [{}, {"critic": "bounded"}, {"critic": "hl-gauss"}, {"critic_norm": True}, {"target": "ema"}],
    ids=str,
)
def test_every_kind_of_critic_answers(settings: dict[str, Any]) -> None:
    job = job_of("snqn", shop(), **settings)
    step = loud_step(job)
    with torch.no_grad():
        found = of_critic(step, "q", job.method.gamma, 2.0)
    assert found["q_over_bound"] >= float(step.logged("q").detach().abs().max()) / 2.0 - 1e-6
    with torch.no_grad(), pytest.raises(Finding, match="q_over_bound of the guard's probe is nan"):
        of_critic(step, "q", job.method.gamma, math.nan)


def test_the_largest_return_is_that_of_the_best_reward_for_ever() -> None:
    assert largest_return(job_of("snqn", shop()).data, 0.5) == 2.0
    assert largest_return(job_of("snqn", shop()).data, 0.0) == 1.0


def test_rank_and_dormant_units() -> None:
    """Two directions of equal mass and a third of next to none; of five units three are hardly ever active."""
    states = torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.001, 0.0, 0.0]])
    assert of_states(states) == {"feature_rank": 2.0, "dormant": pytest.approx(0.6)}
    assert of_states(states[:, :4])["dormant"] == 0.0  # two may be by chance
    assert of_states(torch.eye(4))["feature_rank"] == 4.0
    with pytest.raises(Finding, match="the states of the guard's probe are not finite"):
        of_states(states * torch.nan)


def test_lists_that_hold_less_and_change_more() -> None:
    one = torch.tensor([[0, 1], [2, 3]])
    assert of_lists(one, None, n_items=10) == {"coverage": 1.0}
    assert of_lists(torch.tensor([[0, 1], [0, 1]]), one, n_items=10) == {"coverage": 0.5, "churn": 0.5}
    assert of_lists(torch.tensor([[1, 0], [3, 2]]), one, n_items=10)["churn"] == 0.0  # the order does not count
    assert of_lists(torch.tensor([[0, 1], [1, 0]]), None, n_items=2)["coverage"] == 1.0


def test_a_probe_is_drawn_once_by_the_seed() -> None:
    data = job_of("snqn", shop()).data
    one, other, again = probe_of(data, 6, 0), probe_of(data, 6, 1), probe_of(data, 6, 0)
    assert torch.equal(one.items, again.items) and not torch.equal(one.slots, other.slots)
    assert len(one.items) == 6 and len(probe_of(data, 10_000, 0).items) == data.n_pieces
