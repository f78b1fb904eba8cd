"""Sampled sums: worked by hand, against loops, exact where every item is drawn once, without bias where they say."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seqward.catalogue.dense import DenseScores
from seqward.catalogue.sampled import (
    Buckets,
    BucketScores,
    Candidates,
    Events,
    Proposal,
    Rows,
    SampledScores,
    Sampling,
    buckets_of,
    candidates,
)
from seqward.errors import SeqwardError

LOG2, LOG3 = math.log(2), math.log(3)
WORLD = Events(items=torch.tensor([0, 1, 1, 4, 2]), session=torch.tensor([7, 7, 8, 9, 9]))
SHARE = torch.tensor([0.1, 0.4, 0.2, 0.25, 0.05])
"""Of five items; no event of WORLD holds item 3."""


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def head(n: int = 5, items: int = 5, width: int = 3, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """States, weight and bias, in double precision."""
    draw = torch.randn(n + items + 1, max(width, items), generator=generator(seed), dtype=torch.float64)
    return draw[:n, :width], draw[n : n + items, :width], draw[-1, :items]


def rows_of(weight: Tensor, bias: Tensor | None) -> Rows:
    return lambda items: (weight[items], None if bias is None else bias[items])


def scored(scores: list[list[float]]) -> tuple[Tensor, Rows]:
    """A head that scores as the matrix [n, items] says."""
    matrix = torch.tensor(scores)
    return torch.eye(len(matrix)), rows_of(matrix.T.contiguous(), None)


# Worked by hand -----------------------------------------------------------------------------------------------------


def test_nll_worked_by_hand() -> None:
    """Scores log 1, log 2, log 3 of three items; candidates 1, 2, 2, each to be expected half a time.

    Row 0 has chosen item 0: 1 + 2 (2 + 3 + 3) = 17, over 1. Row 1 chose item 2, which is no candidate of its own:
    3 + 2 * 2 = 7, over 3. Row 2 is barred from item 1: 1 + 2 (3 + 3) = 13. Without the correction it would be 9.
    """
    states, rows = scored([[0.0, LOG2, LOG3]] * 3)
    barred = torch.tensor([[False] * 3, [False] * 3, [True, False, False]])
    drawn = Candidates(torch.tensor([1, 2, 2]), torch.full((3,), -LOG2), barred)
    found = SampledScores(states, rows, drawn).nll(torch.tensor([0, 2, 0]))
    torch.testing.assert_close(found, torch.tensor([math.log(17), math.log(7 / 3), math.log(13)]))


def test_nll_at_a_temperature_worked_by_hand() -> None:
    """t = 1/2 squares them: 1 + 2 (4 + 9) = 27 over 1, and half its logarithm."""
    states, rows = scored([[0.0, LOG2, LOG3]])
    drawn = Candidates(torch.tensor([1, 2]), torch.full((2,), -LOG2))
    found = SampledScores(states, rows, drawn).nll(torch.tensor([0]), 0.5)
    torch.testing.assert_close(found, torch.tensor([0.5 * math.log(27)]))


def test_expectations_worked_by_hand() -> None:
    """In-batch: each event has those of the other sessions for candidates, as often as their share would have it.

    The first event has three others (items 1, 4 and 2 with shares .4, .05 and .2): 1.2, .15 and .6 to be expected. In
    the mixture 2 of 5 items more: .4 each. Popularity to the power of 1/2 and 3 draws: 3 sqrt(q) / (sum of sqrt(q)).
    """
    batch = candidates(Sampling("in-batch", 2), WORLD, SHARE, generator())
    assert batch.items.tolist() == [0, 1, 1, 4, 2]
    assert batch.barred is not None
    assert batch.barred.int().tolist() == [
        [1, 1, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 1, 1],
        [0, 0, 0, 1, 1],
    ]
    torch.testing.assert_close(batch.log_expected[0, 2:].exp(), torch.tensor([1.2, 0.15, 0.6]))
    torch.testing.assert_close(batch.log_expected[2].exp(), 4 * SHARE[batch.items])
    mixed = candidates(Sampling("mixed", 2), WORLD, SHARE, generator())
    assert mixed.items[:5].tolist() == [0, 1, 1, 4, 2]
    assert len(mixed.items) == 7
    assert mixed.barred is not None
    assert not mixed.barred[:, 5:].any()
    torch.testing.assert_close(mixed.log_expected[0, 2:5].exp(), torch.tensor([1.6, 0.55, 1.0]))
    torch.testing.assert_close(mixed.log_expected[0, 5:].exp(), 0.4 + 3 * SHARE[mixed.items[5:]])
    popular = candidates(Sampling("popularity", 3, 0.5), WORLD, SHARE, generator())
    torch.testing.assert_close(popular.log_expected.exp(), (3 * SHARE.sqrt() / SHARE.sqrt().sum())[popular.items])
    uniform = candidates(Sampling("uniform", 3), WORLD, SHARE, generator())
    torch.testing.assert_close(uniform.log_expected.exp(), torch.full((3,), 0.6))


def test_buckets_worked_by_hand() -> None:
    """Two buckets; row 0 is in both and counts by its larger loss, row 1 in the second, row 2 in none.

    Scores log 1, log 2, log 3 of items 0, 1, 2. Row 0 chose item 0: log(1 + 2) in the first bucket, log(1 + 3) in the
    second. Row 1 chose item 2, which is in its bucket: it is in the sum once, so there is nothing but it. Two rows of
    three are reached: the mean is over them.
    """
    states, rows = scored([[0.0, LOG2, LOG3]] * 3)
    buckets = Buckets(torch.tensor([[0, 0], [0, 1]]), torch.tensor([[1], [2]]))
    found = BucketScores(states, rows, buckets).nll(torch.tensor([0, 2, 1]))
    torch.testing.assert_close(found, 1.5 * torch.tensor([math.log(4), 0.0, 0.0]))


def test_buckets_hold_what_lies_in_their_direction() -> None:
    """With states that all point one way, each bucket has the items at one end or the other of it."""
    weight = torch.tensor([[-2.0, 0.0], [2.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    states = torch.tensor([[1.0, 0.0], [3.0, 0.0], [2.0, 0.0]])
    found = buckets_of(states, weight, 2, generator())
    assert found.items.shape == (4, 2), "2 sqrt(3) buckets"
    assert {tuple(sorted(bucket)) for bucket in found.items.tolist()} <= {(0, 2), (1, 3)}
    assert buckets_of(states, weight, 9, generator()).items.shape == (4, 4)
    assert found.rows.shape == (4, 3)


# Against loops and the full sum -----------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    proposal=st.sampled_from(["uniform", "popularity", "in-batch", "mixed"]),
    n=st.integers(1, 6),
    items=st.integers(1, 7),
    k=st.integers(1, 20),
    power=st.sampled_from([0.0, 0.5, 1.0]),
    temperature=st.sampled_from([0.05, 1.0, 20.0]),
    scale=st.sampled_from([0.0, 1.0, 30.0]),
    biased=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_nll_against_a_loop(
    proposal: Proposal,
    n: int,
    items: int,
    k: int,
    power: float,
    temperature: float,
    scale: float,
    biased: bool,
    seed: int,
) -> None:
    states, weight, bias = head(n, items, seed=seed % 1000)
    states = scale * states
    draw = generator(seed)
    events = Events(torch.randint(items, (n,), generator=draw), torch.randint(3, (n,), generator=draw))
    share = torch.rand(items, generator=draw) + 0.01
    share = share / share.sum()
    found = candidates(Sampling(proposal, k, power), events, share, draw)
    few = SampledScores(states, rows_of(weight, bias if biased else None), found)
    values = few.nll(events.items, temperature)
    scores = states @ weight.T + (bias if biased else 0.0)
    q = share.double() ** power / (share.double() ** power).sum()
    for row in range(n):
        own, others = int(events.items[row]), int((events.session != events.session[row]).sum())
        terms = [math.exp(0.0)]
        for place, item in enumerate(found.items.tolist()):
            if item == own or (place < n and events.session[place] == events.session[row] and proposal in BATCH):
                continue
            expected = {
                "uniform": k / items,
                "popularity": float(k * q[item]),
                "in-batch": others * float(share[item]),
                "mixed": others * float(share[item]) + k / items,
            }[proposal]
            if proposal == "mixed" and not others:
                expected += float(share[item])  # never fewer than one: there is nobody to be expected from
            terms.append(math.exp(min(700.0, float(scores[row, item] - scores[row, own]) / temperature)) / expected)
        slow = temperature * math.log(sum(terms))
        assert float(values[row]) == pytest.approx(slow, rel=1e-4, abs=1e-4 * temperature) or slow > 600 * temperature
    assert bool((values >= 0).all())


BATCH = ("in-batch", "mixed")


@pytest.mark.parametrize("items", [1, 12, 700])
@pytest.mark.parametrize("times", [1, 3])
def test_every_item_once_is_the_full_sum(items: int, times: int) -> None:
    """Values and gradients; and every item three times, at a third of the weight, too. Not so with one fewer."""
    n = 9
    leaves = [leaf.requires_grad_() for leaf in head(n, items)]
    states, weight, bias = leaves
    events = Events(torch.randint(items, (n,), generator=generator(1)), torch.arange(n))
    share = torch.full((items,), 1 / items)

    def both(k: int) -> tuple[Tensor, Tensor]:
        drawn = candidates(Sampling("uniform", k), events, share, generator(2))
        return (
            SampledScores(states, rows_of(weight, bias), drawn).nll(events.items, 0.7),
            0.7 * torch.nn.functional.cross_entropy((states @ weight.T + bias) / 0.7, events.items, reduction="none"),
        )

    few, full = both(times * items)
    torch.testing.assert_close(few, full, rtol=1e-6, atol=1e-6)
    for mine, theirs in zip(
        torch.autograd.grad(few.sum(), leaves), torch.autograd.grad(full.sum(), leaves), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)
    if items > 1:
        assert not torch.allclose(*both(times * items - 1))


def test_one_bucket_of_everything_is_the_full_sum() -> None:
    """Values and gradients."""
    leaves = [leaf.requires_grad_() for leaf in head(6, 8)]
    states, weight, bias = leaves
    items = torch.randint(8, (6,), generator=generator())
    one = BucketScores(states, rows_of(weight, bias), Buckets(torch.arange(6)[None], torch.arange(8)[None]))
    few = one.nll(items, 0.3)
    full = 0.3 * torch.nn.functional.cross_entropy((states @ weight.T + bias) / 0.3, items, reduction="none")
    torch.testing.assert_close(few, full, rtol=1e-6, atol=1e-6)
    for mine, theirs in zip(
        torch.autograd.grad(few.sum(), leaves), torch.autograd.grad(full.sum(), leaves), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)


def test_buckets_bound_the_full_sum_from_below() -> None:
    states, weight, bias = (part.float() for part in head(20, 40))
    items = torch.randint(40, (20,), generator=generator())
    buckets = buckets_of(states, weight, 10, generator())
    found = BucketScores(states, rows_of(weight, bias), buckets).nll(items)
    reached = len(buckets.rows.unique())
    full = torch.nn.functional.cross_entropy(states @ weight.T + bias, items, reduction="none")
    assert bool((found * reached / 20 <= full + 1e-5).all())


# Bias -----------------------------------------------------------------------------------------------------------------

DRAWS = 800


@pytest.mark.parametrize(
    ("proposal", "power"),
    [("uniform", 1.0), ("popularity", 1.0), ("popularity", 0.5), ("in-batch", 1.0), ("mixed", 1.0)],
)
def test_the_sum_is_without_bias_and_its_logarithm_is_too_small(proposal: Proposal, power: float) -> None:
    """The mean over many batches, against the full sum in standard errors. What forgets how items were drawn fails.

    A batch is a row that chose item 1 and four events of other sessions, by the share of the items.
    """
    states, weight, bias = head(1, 5)
    scores = (states @ weight.T + bias)[0]
    draw, rows, nll, forgetful = generator(3), rows_of(weight, bias), [], []
    batches = torch.multinomial(SHARE, 4 * DRAWS, replacement=True, generator=draw).view(DRAWS, 4)
    own = torch.tensor([1])
    for others in batches:
        found = candidates(Sampling(proposal, 3, power), Events(torch.cat([own, others]), torch.arange(5)), SHARE, draw)
        log_expected = found.log_expected if found.log_expected.dim() == 1 else found.log_expected[:1]
        found = Candidates(found.items, log_expected, None if found.barred is None else found.barred[:1])
        nll.append(SampledScores(states, rows, found).nll(own))
        forgetful.append(SampledScores(states, rows, found._replace(log_expected=0 * log_expected)).nll(own))

    def error(estimates: Tensor, of: Tensor) -> float:
        return float((estimates.mean() - of) / (estimates.std() / DRAWS**0.5))

    full = scores.exp().sum()
    assert abs(error((torch.cat(nll) + scores[1]).exp(), full)) < 4
    assert error(torch.cat(nll), full.log() - scores[1]) < -4
    assert abs(error((torch.cat(forgetful) + scores[1]).exp(), full)) > 8


def test_draws_are_from_equal_parts() -> None:
    """Of 12 draws, each quarter of the distribution gives 3; by independent draws that would be a rare chance."""
    share = torch.tensor([0.25, 0.125, 0.125, 0.5])
    for seed in range(20):
        popular = candidates(Sampling("popularity", 12), WORLD, share, generator(seed)).items
        assert popular.bincount(minlength=4)[[0, 3]].tolist() == [3, 6]
        uniform = candidates(Sampling("uniform", 8), WORLD, share, generator(seed)).items
        assert uniform.bincount().tolist() == [2, 2, 2, 2]
    draws = [tuple(candidates(Sampling("uniform", 2), WORLD, share, generator(s)).items.tolist()) for s in range(40)]
    assert set(draws) == {(0, 2), (0, 3), (1, 2), (1, 3)}


# What cannot be ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("proposal", ["popularity", "in-batch"])
def test_items_that_are_never_drawn_are_refused(proposal: Proposal) -> None:
    """Nothing would push them down, so they would be recommended. A mixture draws them, and popularity^0 is uniform."""
    share = torch.tensor([0.5, 0.5, 0.0, 0.0, 0.0])
    events = Events(torch.tensor([0, 1]), torch.tensor([0, 1]))
    with pytest.raises(SeqwardError, match=f"train.softmax={proposal} never draws 3 of 5 items") as error:
        candidates(Sampling(proposal, 2), events, share, generator())
    assert str(error.value).endswith("Take mixed or uniform.")
    for other in (Sampling("mixed", 2), Sampling("uniform", 2), Sampling("popularity", 2, 0.0)):
        assert bool(torch.isfinite(candidates(other, events, share, generator()).log_expected).all())


def test_a_batch_of_one_session_has_nothing_to_tell_apart() -> None:
    """Loss and gradient 0, and no NaN: the last batch of an epoch may be so small."""
    states, weight, bias = head(2, 5)
    states.requires_grad_()
    events = Events(torch.tensor([0, 1]), torch.tensor([3, 3]))
    found = candidates(Sampling("in-batch", 2), events, SHARE, generator())
    values = SampledScores(states, rows_of(weight, bias), found).nll(events.items)
    assert values.tolist() == [0.0, 0.0]
    (grad,) = torch.autograd.grad(values.sum(), states)
    assert grad.abs().max() == 0


@pytest.mark.parametrize("far", [1e4, -1e4])
def test_it_stays_finite_far_from_zero(far: float) -> None:
    states, rows = scored([[far, -far, 0.0]] * 2)
    drawn = Candidates(torch.tensor([1, 2]), torch.zeros(2))
    for few in (
        SampledScores(states, rows, drawn),
        BucketScores(states, rows, Buckets(torch.arange(2)[None], drawn.items[None])),
    ):
        assert bool(torch.isfinite(few.nll(torch.tensor([0, 1]), 0.05)).all())


def test_named_scores_are_those_of_every_engine() -> None:
    states, weight, bias = (part.float() for part in head(6, 9))
    few = SampledScores(states, rows_of(weight, bias), Candidates(torch.tensor([0]), torch.zeros(1)))
    for shape in ((6,), (6, 4)):
        items = torch.randint(9, shape, generator=generator())
        torch.testing.assert_close(few.at(items), DenseScores(states, weight, bias).at(items))
