"""Clipped gradients and updates: worked by hand, and without any effect where they are not asked for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from jobs import after_steps, assert_same_bits, job_of, shop
from seqward import clipping, train
from seqward.checkpoint import Progress
from seqward.errors import SeqwardError
from seqward.job import TrainSettings
from seqward.networks import Networks


def seen(norms: list[float], z: float = 2.5) -> tuple[list[float], Progress]:
    """What is left of each norm, and what is remembered."""
    progress = Progress()
    return [clipping.usual(norm, z, progress) for norm in norms], progress


# The norm by its own history ------------------------------------------------------------------------------------------

FIRST = [1.0, 3.0] * 12 + [2.0]
"""25 norms of mean 2 and variance 24 / 25."""


def test_the_first_norms_are_left_alone_and_counted() -> None:
    left, progress = seen(FIRST)
    assert left == FIRST
    assert progress.norm_count == 25
    assert progress.norm_mean == pytest.approx(2.0)
    assert progress.norm_variance == pytest.approx(0.96)


def test_a_spike_is_brought_down_to_the_threshold_and_remembered_as_that() -> None:
    """2 + 2.5 sqrt(.96) = 4.449; the mean moves by .03 * 2.449, the variance to .97 (.96 + .03 * 2.449^2)."""
    left, progress = seen([*FIRST, 1000.0])
    assert left[-1] == pytest.approx(2 + 2.5 * math.sqrt(0.96))
    assert progress.norm_mean == pytest.approx(2 + 0.03 * 2.5 * math.sqrt(0.96))
    assert progress.norm_variance == pytest.approx(0.97 * (0.96 + 0.03 * 6.25 * 0.96))


@pytest.mark.parametrize("norm", [0.0, 2.0, 4.4])
def test_what_is_usual_or_small_is_left_alone(norm: float) -> None:
    assert seen([*FIRST, norm])[0][-1] == norm


def test_a_norm_that_is_not_finite_is_left_and_forgotten() -> None:
    left, progress = seen([*FIRST, math.inf, math.nan])
    assert left[-2] == math.inf
    assert math.isnan(left[-1])
    assert progress == seen(FIRST)[1]


def test_against_a_slow_mean_and_variance() -> None:
    """Weights of what was seen: those of 25 equal ones and, from there, .03 of each, with .97 of all before."""
    norms = np.random.default_rng(0).gamma(3.0, size=200)
    left, progress = seen(norms.tolist(), z=2.0)
    weights = np.full(25, 1 / 25)
    for _ in norms[25:]:
        weights = np.append(0.97 * weights, 0.03)
    mean = float(weights @ left)
    assert progress.norm_mean == pytest.approx(mean)
    assert progress.norm_variance == pytest.approx(float(weights @ (np.array(left) - mean) ** 2))
    assert 0 < sum(a < b for a, b in zip(left, norms, strict=True)) < 30


def test_gradients_keep_their_direction() -> None:
    progress = seen([1.0] * 24 + [1.0001])[1]
    gradients = [torch.tensor([3.0, 0.0]), torch.tensor([[-4.0]])]
    clipping.clip(gradients, TrainSettings(clip_zscore=2.5), progress)
    assert float(gradients[0].norm() ** 2 + gradients[1].norm() ** 2) == pytest.approx(1.0, abs=0.01)
    assert float(gradients[0][0] / gradients[1][0, 0]) == pytest.approx(-0.75)


def test_it_comes_after_the_clip_by_value_and_before_that_by_norm() -> None:
    """By value (3, 4) becomes (1, 1), which is remembered; the norm of .5 is what is left."""
    progress, gradients = Progress(), [torch.tensor([3.0, 4.0])]
    clipping.clip(gradients, TrainSettings(clip_value=1.0, clip_zscore=2.5, clip_norm=0.5), progress)
    assert progress.norm_mean == pytest.approx(math.sqrt(2))
    assert float(gradients[0].norm()) == pytest.approx(0.5, abs=1e-5)


def test_another_phase_begins_to_count_anew() -> None:
    job = job_of("sasrec-ac", shop(), clip_zscore=2.5)
    networks, progress = Networks(job), Progress()
    for _ in range(3):
        train.take_step(job, networks, progress)
    assert progress.norm_count == 3
    clipping.forget(progress)
    assert (progress.norm_count, progress.norm_mean, progress.norm_variance) == (0, 0.0, 0.0)


# The update -----------------------------------------------------------------------------------------------------------


class Moves(nn.Module):
    """Weights, and a step that moves them by so much."""

    def __init__(self, *weights: list[float]) -> None:
        super().__init__()
        self.weights = nn.ParameterList(nn.Parameter(torch.tensor(w)) for w in weights)
        for p in self.weights:
            p.grad = torch.zeros_like(p)

    def after(self, *moves: list[float], **changes: Any) -> list[list[float]]:
        def step() -> None:
            for p, move in zip(self.weights, moves, strict=True):
                p.data += torch.tensor(move)

        clipping.update(self, step, TrainSettings(**changes))
        return [p.tolist() for p in self.weights]


def test_an_update_worked_by_hand() -> None:
    """Weights 2, 0 and -1 may move by 1.01, .01 and .51. Of (2, .04, -.1) the shares are .505, .25 and 5.1, so all of
    it is taken by .25: to 2.5, .01 and -1.025. The other tensor's update of .01 is allowed as it is."""
    found = Moves([2.0, 0.0, -1.0], [0.0]).after([2.0, 0.04, -0.1], [0.01], clip_update=0.5)
    assert found[0] == pytest.approx([2.5, 0.01, -1.025])
    assert found[1] == pytest.approx([0.01])


def test_what_every_weight_may_move_is_a_setting() -> None:
    assert Moves([0.0, 1.0]).after([4.0, 0.0], clip_update=0.0, clip_update_least=1.0)[0] == pytest.approx([1.0, 1.0])


def test_no_update_and_a_network_without_gradients_are_left() -> None:
    moves = Moves([1.0, -3.0], [2.0])
    moves.weights[1].grad = None
    assert moves.after([0.0, 0.0], [9.0], clip_update=0.5) == [[1.0, -3.0], [11.0]]


def test_an_update_that_is_allowed_keeps_its_bits() -> None:
    one, other = (
        after_steps(job_of("sasrec-sqn", shop(), lr=0.01, **c), 5).modules.state_dict()
        for c in ({}, {"clip_update": 0.5, "clip_update_least": 10.0})
    )
    assert_same_bits(one, other)


def test_no_weight_of_a_network_moves_further_than_it_may() -> None:
    job = job_of("sasrec-sqn", shop(), lr=3.0, target="ema", clip_update=0.5)
    networks, progress = Networks(job), Progress()
    for _ in range(4):
        before: list[Tensor] = [p.detach().clone() for p in networks.evaluated.parameters()]
        train.take_step(job, networks, progress)
        shares = [
            float(((p.detach() - old).abs() / (0.5 * old.abs() + 0.01)).max())
            for p, old in zip(networks.evaluated.parameters(), before, strict=True)
        ]
        assert max(shares) < 1.001
        assert max(shares) > 0.99


def test_rows_that_wait_have_no_whole_update() -> None:
    with pytest.raises(SeqwardError, match="clip_update looks at the update of a whole table"):
        job_of("sasrec", shop(), optimiser="row-adam", clip_update=0.5)
