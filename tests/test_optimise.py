"""RowAdam is Adam: the same weights and moments, whichever rows are read when; and what it leaves alone it leaves."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from seqward.optimise import RowAdam, tails_of

ROWS, WIDTH = 30, 8
Gradient = Callable[[Tensor, int], Tensor]


def table_of(seed: int = 0) -> nn.Parameter:
    return nn.Parameter(torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(seed)))


def adam(table: nn.Parameter) -> torch.optim.Adam:
    return torch.optim.Adam([table], lr=0.05, fused=True)


def by_rows(table: nn.Parameter) -> RowAdam:
    return RowAdam([table], [table], lr=0.05)


def sparse(rows: Tensor, values: Tensor) -> Tensor:
    return torch.sparse_coo_tensor(rows[None], values, (ROWS, WIDTH), check_invariants=True)


def steps(reads: list[Tensor], noise: float, scale: float = 1.0) -> tuple[nn.Parameter, nn.Parameter, RowAdam]:
    """The same training by Adam and by RowAdam: the gradient of what was read follows from what was read."""
    dense, few = table_of(), table_of()
    one, other = adam(dense), by_rows(few)
    for number, rows in enumerate(reads):
        push = noise * torch.randn(len(rows), WIDTH, generator=torch.Generator().manual_seed(number))
        dense.grad = torch.zeros_like(dense)
        dense.grad.index_add_(0, rows, scale * (dense.detach()[rows].sin() + push))
        one.step()
        other.read(few, rows)
        few.grad = sparse(rows, scale * (few.detach()[rows].sin() + push))
        other.step()
        assert few.grad is None
    return dense, few, other


def drawn(count: int, of: int = ROWS, least: int = 1, seed: int = 0) -> list[Tensor]:
    """The rows of each step, with repeats."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(least, 9, (count,), generator=generator).tolist()
    return [torch.randint(of, (size,), generator=generator) for size in sizes]


def moments(optimiser: torch.optim.Adam) -> list[Tensor]:
    (state,) = optimiser.state.values()
    return [state["exp_avg"], state["exp_avg_sq"], state["step"]]


def test_rows_read_at_every_step_are_adams_to_the_bit() -> None:
    rows = torch.randperm(ROWS, generator=torch.Generator().manual_seed(1))
    dense, few, _ = steps([rows] * 40, noise=0.3)
    assert torch.equal(dense, few)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 120), of=st.integers(1, ROWS))
def test_rows_read_now_and_then_are_adams(seed: int, count: int, of: int) -> None:
    """What is read, at every step, and all of it in the end; rows that are never read stay where they began."""
    dense, few, other = steps(drawn(count, of, seed=seed), noise=0.3)
    other.read_all()
    torch.testing.assert_close(few, dense, rtol=1e-5, atol=1e-5)
    assert torch.equal(few[of:], table_of()[of:])


def test_moments_are_adams_when_read() -> None:
    dense, few = table_of(), table_of()
    one, other = adam(dense), by_rows(few)
    for number in range(60):
        rows = torch.tensor([0] if number % 20 else [0, 1])
        grad = torch.full((len(rows), WIDTH), 0.5 + number)
        dense.grad = torch.zeros_like(dense).index_add_(0, rows, grad)
        few.grad = sparse(rows, grad)
        other.read(few, rows)
        one.step()
        other.step()
    other.read_all()
    for mine, theirs in zip(moments(other), moments(one), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=0)


def test_a_row_that_waits_goes_on_drifting_and_that_is_most_of_its_way() -> None:
    """One gradient of 1 and 300 steps without: Adam moves by the sum of lr m / sqrt(v), counted here in a loop.

    A lazy Adam, which forgets what it does not step, would stop after the first term: a sixth of the way.
    """
    few = table_of()
    other = by_rows(few)
    begin = few.detach().clone()
    few.grad = sparse(torch.tensor([3]), torch.ones(1, WIDTH))
    other.step()
    first = float((begin - few.detach())[3, 0])
    for _ in range(300):
        few.grad = sparse(torch.tensor([5]), torch.ones(1, WIDTH))
        other.read(few, torch.tensor([5]))
        other.step()
    assert float((begin - few.detach())[3, 0]) == first, "nobody has read it"
    other.read(few, torch.tensor([3]))
    m, v, moved = 0.1, 0.001, 0.0
    for j in range(1, 302):
        moved += 0.05 * (m / (1 - 0.9**j)) / ((v / (1 - 0.999**j)) ** 0.5 + 1e-8)
        m, v = 0.9 * m, 0.999 * v
    assert first == pytest.approx(0.05, rel=1e-5)
    assert float((begin - few.detach())[3, 0]) == pytest.approx(moved, rel=1e-5)
    assert moved > 5 * first


@pytest.mark.parametrize(("scale", "tolerance"), [(1.0, 1e-5), (1e-4, 1e-5), (1e-6, 1e-3), (1e-8, 1e-2)])
def test_epsilon_stands_at_its_mean(scale: float, tolerance: float) -> None:
    """The one place where a drift is not exact: gradients so small that epsilon is most of the denominator."""
    dense, few, other = steps(drawn(150), noise=0.3, scale=scale)
    other.read_all()
    way = (dense - table_of()).detach().abs().max()
    assert float((few - dense).detach().abs().max() / way) < tolerance


@pytest.mark.parametrize("sums", [False, True])
def test_a_table_read_whole_takes_adams_step_whole(sums: bool) -> None:
    """And so does one with a dense gradient: to the bit, after a step by rows that left some behind."""
    dense, few = table_of(), table_of()
    one, other = adam(dense), by_rows(few)
    for number in range(20):
        if number % 4 == 0:
            rows = torch.tensor([number, 3])
            dense.grad = torch.zeros_like(dense).index_add_(0, rows, torch.ones(2, WIDTH))
            few.grad = sparse(rows, torch.ones(2, WIDTH))
        else:
            dense.grad = torch.ones_like(dense)
            everything = torch.arange(ROWS)
            few.grad = sparse(everything, torch.ones(ROWS, WIDTH)) if sums else torch.ones_like(few)
        other.read(few)
        one.step()
        other.step()
        assert torch.equal(dense, few)


def test_what_has_no_gradient_waits_with_its_step() -> None:
    """As in Adam: of twins one learns at a time, and the other neither moves nor drifts."""
    dense, few = [table_of(0), table_of(1)], [table_of(0), table_of(1)]
    one, other = torch.optim.Adam(dense, lr=0.05, fused=True), RowAdam(few, few, lr=0.05)
    for number, rows in enumerate(drawn(50)):
        which = number * 7 % 3 % 2
        push = torch.randn(len(rows), WIDTH, generator=torch.Generator().manual_seed(number))
        dense[which].grad = torch.zeros(ROWS, WIDTH).index_add_(0, rows, push)
        other.read(few[which], rows)
        few[which].grad = sparse(rows, push)
        one.step()
        other.step()
        one.zero_grad()
        other.zero_grad()
    other.read_all()
    for mine, theirs in zip(few, dense, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


def test_saved_and_loaded_it_goes_on_to_the_bit() -> None:
    """With rows behind: what each waits for is in the state."""

    def go_on(table: nn.Parameter, optimiser: RowAdam, reads: list[Tensor]) -> None:
        for rows in reads:
            optimiser.read(table, rows)
            table.grad = sparse(rows, table.detach()[rows].cos())
            optimiser.step()

    straight, other = table_of(), table_of()
    one, two = by_rows(straight), by_rows(other)
    go_on(straight, one, drawn(40))
    go_on(other, two, drawn(40)[:25])
    resumed = nn.Parameter(other.detach().clone())
    three = by_rows(resumed)
    three.load_state_dict(two.state_dict())
    go_on(resumed, three, drawn(40)[25:])
    one.read_all()
    three.read_all()
    assert torch.equal(straight, resumed)
    assert all(torch.equal(a, b) for a, b in zip(moments(one), moments(three), strict=True))


@pytest.mark.parametrize("j", [0, 1, 7, 500, 19_000])
def test_tails_are_their_sums(j: int) -> None:
    slow = [0.0, 0.0]
    for i in range(1, 600):
        rises, falls = 1 - 0.999 ** (j + i), 1 - 0.9 ** (j + i)
        slow[0] += (0.9 / 0.999**0.5) ** i * rises**0.5 / falls
        slow[1] += (0.9 / 0.999) ** i * rises / falls
    for (tail, _), expected in zip(tails_of(0.9, 0.999), slow, strict=True):
        assert float(tail[j]) == pytest.approx(expected, rel=1e-8)
