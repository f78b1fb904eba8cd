"""The conservative term on negatives, over the catalogue, and as the released code has it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from jobs import job_of, loss_of, loud_step, shop
from seqward import train as training
from seqward.backbones.backbone import Vocabulary
from seqward.catalogue import ENGINES
from seqward.data.batches import TrainingEvents
from seqward.job import Job
from seqward.method import Method, Term
from seqward.methods import METHODS
from seqward.model import Model
from seqward.objectives import conservative
from seqward.step import Step
from worlds import data_of, random_sessions

N = 60
"""Items of the released method's catalogue: more than its negatives, and numbers that dwarf Q."""


def ln(*numbers: float) -> list[float]:
    return [math.log(x) for x in numbers]


def test_worked_by_hand() -> None:
    """At temperature .5 with Q = .5 ln(1 | 2, 5): the sum of exp(Q / .5) is 8, logged one included.

    Row 1 (logged .5 ln 1): .5 ln 8 - 0. Row 2 (logged .5 ln 5, others .5 ln 1, .5 ln 2): .5 ln 8 - .5 ln 5.
    Without the logged one in the sum, row 1 would be .5 ln 7 and row 2 negative: .5 ln 3 - .5 ln 5.
    """
    logged, others = 0.5 * torch.tensor(ln(1, 5)), 0.5 * torch.tensor([ln(2, 5), ln(1, 2)])
    expected = torch.tensor([0.5 * math.log(8), 0.5 * math.log(8 / 5)])
    torch.testing.assert_close(conservative.gap(logged, others, 0.5), expected)


def test_gradient_is_the_softmax_less_one_at_the_logged_item() -> None:
    """Weights 1/8 (logged), 2/8 and 5/8, whatever the temperature's scale: the others go down, the logged one up."""
    logged = (0.5 * torch.tensor(ln(1))).requires_grad_()
    others = (0.5 * torch.tensor([ln(2, 5)])).requires_grad_()
    conservative.gap(logged, others, 0.5).sum().backward()
    torch.testing.assert_close(logged.grad, torch.tensor([1 / 8 - 1]))
    torch.testing.assert_close(others.grad, torch.tensor([[2 / 8, 5 / 8]]))


def test_no_others_no_gap() -> None:
    q = torch.tensor([3.0, -2.0, 0.0])
    assert conservative.gap(q, torch.empty(3, 0), 0.5).tolist() == [0.0, 0.0, 0.0]


def test_towards_temperature_zero_it_is_the_maximum() -> None:
    """max(1, 3, -2) - 1 = 2, and max(4, 3, -2) - 4 = 0."""
    others = torch.tensor([[3.0, -2.0]] * 2)
    found = conservative.gap(torch.tensor([1.0, 4.0]), others, 1e-4)
    torch.testing.assert_close(found, torch.tensor([2.0, 0.0]))


@given(
    st.integers(1, 6).flatmap(lambda k: st.lists(st.lists(st.floats(-20, 20), min_size=k, max_size=k), min_size=1)),
    st.sampled_from([0.1, 0.5, 1.0, 4.0]),
)
def test_against_a_loop_and_never_negative(rows: list[list[float]], temperature: float) -> None:
    q = torch.tensor(rows, dtype=torch.float64)
    found = conservative.gap(q[:, 0], q[:, 1:], temperature)
    expected = []
    for row in rows:
        top = max(row)
        expected.append(top + temperature * math.log(sum(math.exp((x - top) / temperature) for x in row)) - row[0])
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
    assert bool((found >= -1e-12).all())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_with_all_other_items_it_is_the_catalogues_nll(engine: str, temperature: float) -> None:
    generator = torch.Generator().manual_seed(0)
    states, weight = torch.randn(4, 3, generator=generator), torch.randn(7, 3, generator=generator)
    scores = ENGINES[engine](states, weight, None)
    items = torch.tensor([0, 3, 6, 3])
    others = torch.tensor([[i for i in range(7) if i != item] for item in items.tolist()])
    sampled = conservative.gap(scores.at(items), scores.at(others), temperature)
    torch.testing.assert_close(sampled, scores.nll(items, temperature))


def test_as_released_an_item_number_stands_among_the_q_values() -> None:
    """Q(s, a*) = .5 ln 2, Q(s, a) = .5 ln 5, and number 0, that is .5 ln 1: .5 ln 8 - .5 ln 5.

    With number 3: .5 ln(7 + e^6) - .5 ln 5.
    """
    logged, greedy = torch.full((2,), 0.5 * math.log(5)), torch.full((2,), 0.5 * math.log(2))
    expected = torch.tensor([0.5 * math.log(8 / 5), 0.5 * math.log((7 + math.exp(6)) / 5)])
    torch.testing.assert_close(conservative.gap_as_released(logged, greedy, torch.tensor([0, 3]), 0.5), expected)


@pytest.mark.parametrize("number", [25, 500, 26_701, 70_851])
def test_as_released_it_only_pushes_the_logged_q_up(number: int) -> None:
    """The number dwarfs Q, so the loss is number - Q(s, a): gradient -1 there and 0 at Q(s, a*)."""
    logged, greedy = torch.tensor([1.5], requires_grad=True), torch.tensor([2.5], requires_grad=True)
    loss = conservative.gap_as_released(logged, greedy, torch.tensor([number]), 0.5)
    loss.sum().backward()
    torch.testing.assert_close(loss.detach(), torch.tensor([number - 1.5]))
    assert logged.grad is not None
    assert greedy.grad is not None
    torch.testing.assert_close(logged.grad, torch.tensor([-1.0]))
    assert 0 <= float(greedy.grad) < 1e-18


def test_as_released_it_is_conservative_only_where_the_number_is_small() -> None:
    logged, greedy = torch.tensor([1.5], requires_grad=True), torch.tensor([2.5], requires_grad=True)
    conservative.gap_as_released(logged, greedy, torch.tensor([1]), 0.5).sum().backward()
    assert greedy.grad is not None
    assert float(greedy.grad) > 0.5


def released_step() -> tuple[Step, Term]:
    """A step of the released method whose greedy item is number 50 everywhere, and its term in place of L_CQL."""
    entry = METHODS["sasrec-ccql-released"]
    method = entry.build(**entry.sections)
    assert isinstance(method, Method)
    torch.manual_seed(0)
    model = Model(method.backbone, method.heads, Vocabulary(N))
    with torch.no_grad():
        model.heads["q"].linear.bias[50] = 2.0
    sessions = [[i for i in session if i != 50] or [0] for session in random_sessions(12, N, 8)]
    batch = TrainingEvents(data_of(sessions, N), 10, "transitions").batch(0, 256, 0)
    return Step(model, model, batch, 0, 0), method.phases[0].terms[3]


def test_released_method_pushes_q_up_by_alpha_over_n_and_nothing_down() -> None:
    step, term = released_step()
    assert (term.symbol, term.weight) == ("α L_CQL as released", 0.01)
    (term.weight * term.loss(step).mean()).backward()
    assert step.greedy("q").unique().tolist() == [50]
    head = step.online.heads["q"].linear
    n = len(step.action)
    expected = -0.01 / n * torch.bincount(step.action, minlength=N).float()
    torch.testing.assert_close(head.bias.grad, expected)
    unlogged = expected == 0
    assert bool(unlogged.any())
    assert bool((head.weight.grad[unlogged].abs() < 1e-30).all())
    policy: list[Tensor | None] = [p.grad for p in step.online.heads["policy"].parameters()]
    assert policy == [None, None]


def test_released_method_has_no_negatives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their number changes nothing as released, so it is no setting here, and no term draws any."""
    entry = METHODS["sasrec-ccql-released"]
    assert not hasattr(entry.sections["objective"], "negatives")
    assert hasattr(METHODS["sasrec-ccql"].sections["objective"], "negatives")
    monkeypatch.setattr(Step, "negatives", lambda *_: pytest.fail("negatives were drawn"))
    step, _ = released_step()
    for phase in entry.build(**entry.sections).phases:
        for term in phase.terms:
            assert bool(torch.isfinite(term.loss(step)).all())


DRAWS = 150


def error_of_the_mean_gradient(**changes: Any) -> float:
    """Of the conservative term over many draws, against that over the catalogue: in standard errors, root mean square.

    Of the gradient to all rows of the Q head, and through the states to the embeddings.
    """

    def gradient(job: Job, number: int) -> Tensor:
        loss = loss_of(job, "α L_CQL")(training.step_of(job, stage.online, stage.target, stage.batch, number))
        embeddings, _, q = stage.online.tables
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss.sum(), [embeddings, q])])

    exact, estimate = job_of("sasrec-ccql", shop(), conservative="catalogue"), job_of("sasrec-ccql", shop(), **changes)
    stage = loud_step(exact)
    draws = torch.stack([gradient(estimate, number) for number in range(DRAWS)])
    error = (draws.mean(0) - gradient(exact, 0)) / (draws.std(0) / DRAWS**0.5)
    return float(error[draws.std(0) > 1e-6].square().mean().sqrt())


def test_drawn_by_the_softmax_the_gradient_is_without_bias_for_any_number() -> None:
    """Both sides: negatives drawn uniformly, and a sum estimated from few candidates, fail where it passes."""
    assert error_of_the_mean_gradient(conservative="sampled", negatives=1) < 1.5
    assert error_of_the_mean_gradient(conservative="sampled", negatives=3) < 1.5
    assert error_of_the_mean_gradient(conservative="negatives", negatives=3) > 3
    assert error_of_the_mean_gradient(conservative="catalogue", softmax="uniform", candidates=3) > 3


def test_drawn_by_the_softmax_its_value_lacks_the_entropy() -> None:
    """Many draws: t * logsumexp(Q / t) - Q(logged) - t H, where H is the entropy of softmax(Q / t)."""
    job = job_of("sasrec-ccql", shop(), conservative="sampled", negatives=20_000)
    step = loud_step(job)
    t, q = 0.5, step.now("q").at(torch.arange(12).expand(len(step.action), 12))
    entropy = torch.distributions.Categorical(logits=q / t).entropy()
    torch.testing.assert_close(
        loss_of(job, "α L_CQL")(step), step.nll("q", t) - t * entropy, atol=0.03, rtol=0, check_dtype=False
    )
