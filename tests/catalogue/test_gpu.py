"""The Triton kernels under Triton's interpreter, on a processor: the same programs, run in NumPy, a tile at a time.

It is slow, so the worlds are of a few tiles, and tiles of 16 by 16. What a GPU makes of the kernels, ``test_cuda.py``
asks where there is one.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import Tensor

from recipes import Recipe, normal, recipes
from reference import slow_order, slow_rank
from seqward.catalogue import ENGINES, Pairs, chunked, gpu, native
from seqward.catalogue.chunked import LOG2E
from seqward.catalogue.gpu import GpuScores, Tile
from seqward.catalogue.order import settled
from seqward.errors import Finding

if torch.cuda.is_available():
    pytest.skip("there is a GPU, which test_cuda.py asks itself", allow_module_level=True)
if find_spec("triton") is None:
    pytest.skip("Triton is not installed: pip install triton (Linux; it is large)", allow_module_level=True)


@pytest.fixture(autouse=True, scope="module")
def interpreted() -> Iterator[None]:
    """Tiles of 16 by 16, 13 rows of a top-k at a time, and parts of two tiles."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        patch.setattr(gpu, "tile_of", lambda dtype, width: Tile(16, 16, 1))
        for name, value in (("ORDERS", Tile(16, 16, 1)), ("TILES", 2), ("SLICE", 13), ("ROOM", 64)):
            patch.setattr(gpu, name, value)
        gpu.fault.cache_clear()
        assert gpu.fault(torch.device("cpu")) is None
        yield
        gpu.fault.cache_clear()


def parts_of(rows: int, items: int, width: int, biased: bool = True) -> list[Tensor]:
    parts = [normal(rows, width), normal(items, width, seed=1)]
    return [*parts, normal(items, seed=2)] if biased else parts


@pytest.mark.parametrize("low", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize(
    ("rows", "items", "width", "biased", "t"),
    [(18, 70, 24, True, 0.5), (1, 1, 16, False, 1.0), (16, 33, 5, False, 0.05), (3, 40, 32, True, 20.0)],
)
def test_sums_and_gradients_are_those_of_a_double_matrix(
    rows: int, items: int, width: int, biased: bool, t: float, low: bool
) -> None:
    """To 1e-5 in fp32, and in bfloat16 to the rounding of exponentials and weighted states."""
    parts, upstream, target = parts_of(rows, items, width, biased), normal(rows, seed=5), torch.arange(rows) % items
    found = [part.clone().requires_grad_() for part in parts]
    exact = [part.double() for part in parts]
    if low:
        exact[:2] = [(exact[0] * (LOG2E / t)).bfloat16().double() * (t / LOG2E), exact[1].bfloat16().double()]
    exact = [part.requires_grad_() for part in exact]
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        asked = GpuScores(*found)
        sums = [asked.nll(target, t), asked.logsumexp(t)]
    scores = torch.nn.functional.linear(*exact) / t
    logsumexp = t * scores.logsumexp(1)
    expected = [logsumexp - t * scores.gather(1, target[:, None])[:, 0], logsumexp]
    for one, other in zip(sums, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=2e-6, atol=2e-5 * t + 1e-5)
    for both in (sums, expected):
        (upstream * both[0] + 2 * both[1]).sum().backward()
    for one, other in zip(found, exact, strict=True):
        assert one.grad is not None and other.grad is not None
        assert float((one.grad - other.grad).norm()) <= (8e-3 if low else 1e-5) * float(other.grad.norm()) + 1e-6


@pytest.mark.slow
@examples(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(recipe=recipes.filter(lambda recipe: recipe.rows * recipe.items < 4000))
def test_sums_and_gradients_of_any_small_world(recipe: Recipe) -> None:
    """Ties, rows that vanish or are huge, items that are no candidates, sharp and flat: as of a double matrix."""
    parts, t = recipe.parts(), recipe.temperature
    found, exact = (
        [part.to(kind, copy=True).requires_grad_() for part in parts] for kind in (torch.float, torch.double)
    )
    total = GpuScores(*found).logsumexp(t)
    expected = t * (torch.nn.functional.linear(*exact) / t).logsumexp(1)
    torch.testing.assert_close(total.double(), expected, rtol=2e-6, atol=2e-5 * t + 1e-5)
    total.sum().backward()
    expected.sum().backward()
    for one, other in zip(found, exact, strict=True):
        assert one.grad is not None and other.grad is not None
        # A sharp softmax makes of a rounded score a rounded share, as dense in fp32 does.
        near = (1e-5 + 1e-6 * float(expected.detach().abs().max()) / t) * float(other.grad.norm())
        assert float((one.grad - other.grad).norm()) <= near + 1e-6


@pytest.mark.parametrize("at_once", [1, 100, 10**9])
def test_ranks_are_the_same_however_many_pairs_a_kernel_counts(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All scores equal: every pair is open, and the order of the items decides."""
    monkeypatch.setattr(gpu, "COUNTED", at_once)
    scores = GpuScores(torch.ones(5, 16), torch.ones(40, 16))
    assert scores.rank_of(torch.tensor([0, 7, 39, 1, 20])).tolist() == [1, 8, 40, 2, 21]


def test_masked_items_huge_scores_and_rows_without_a_candidate() -> None:
    states, weight, bias = parts_of(4, 40, 16)
    states[1] *= 1e4
    bias[:33] = -torch.inf
    leaves = [part.clone().requires_grad_() for part in (states, weight, bias)]
    total = GpuScores(*leaves).logsumexp()
    exact = torch.nn.functional.linear(states.double(), weight.double(), bias.double()).logsumexp(1)
    torch.testing.assert_close(total.detach().double(), exact, rtol=1e-6, atol=1e-5)
    total.sum().backward()
    assert all(leaf.grad is not None and bool(leaf.grad.isfinite().all()) for leaf in leaves)
    assert GpuScores(states, weight, torch.full_like(bias, -torch.inf)).logsumexp().tolist() == [-torch.inf] * 4
    weight[3, 2] = torch.nan
    assert bool(GpuScores(states, weight).logsumexp().isnan().all())
    with pytest.raises(Finding, match="scores that are not finite in 4 of 4 rows: the model has diverged"):
        GpuScores(states, weight).max()


def settled_matrix(parts: list[Tensor]) -> Tensor:
    states, weight, *bias = parts
    rows = torch.arange(len(states)).repeat_interleave(len(weight))
    scores = settled(states, weight, bias[0] if bias else None, rows, torch.arange(len(weight)).repeat(len(states)))
    return scores.view(len(states), len(weight))


@pytest.mark.slow
@examples(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.sampled_from([1, 5, 18]),
    items=st.sampled_from([1, 15, 16, 17, 50]),
    width=st.sampled_from([3, 16, 20]),
    biased=st.booleans(),
    size=st.sampled_from([0.0, 1e-20, 1.0, 300.0]),
    step=st.sampled_from([0.0, 1e-8, 1e-7, 1e-3, 1.0]),
    dead=st.booleans(),
    k=st.sampled_from([1, 4, 60]),
    seed=st.integers(0, 99),
)
def test_orders_are_those_of_the_settled_scores(
    rows: int, items: int, width: int, biased: bool, size: float, step: float, dead: bool, k: int, seed: int
) -> None:
    """Rows that differ in their last bits or not at all: products part what is equal, and the order must not."""
    parts = parts_of(rows, items, width, biased)
    parts[0] *= size
    parts[1] = parts[1][:1] + step * normal(items, width, seed=seed)
    if biased:
        parts[2] *= 0
        parts[2][0] = -torch.inf if dead else 0
    check_orders(parts, seed, k)


@pytest.mark.parametrize(("step", "biased"), [(0.0, False), (1e-7, True), (1.0, True)])
def test_orders_of_twins_of_near_twins_and_of_strangers(step: float, biased: bool) -> None:
    parts = parts_of(18, 50, 16, biased)
    parts[1] = parts[1][:1] + step * normal(50, 16, seed=7)
    if biased:
        parts[2][::7] = -torch.inf
        parts[2][1::7] = 0
    parts[0][3] = 0  # a state whose products are exact, and all equal
    check_orders(parts, 3, 4)


def check_orders(parts: list[Tensor], seed: int, k: int) -> None:
    n, items = len(parts[0]), len(parts[1])
    target = torch.randint(items, (n,), generator=torch.Generator().manual_seed(seed))
    exclude = Pairs(torch.arange(n).repeat(2), torch.arange(2 * n) * 7 % items)
    scores, asked = settled_matrix(parts), GpuScores(*parts)
    hidden = scores.index_put((exclude.rows, exclude.items), torch.tensor(-torch.inf))
    for matrix, left in ((scores, None), (hidden, exclude)):
        lists = matrix.tolist()
        expected = [slow_rank(row, int(i), set()) for row, i in zip(lists, target, strict=True)]
        assert asked.rank_of(target, left).tolist() == expected
        best = asked.topk(k, left)
        for row, values, numbers in zip(lists, best.values.tolist(), best.items.tolist(), strict=True):
            order = slow_order(row, set())[:k]
            assert numbers == order + [-1] * (k - len(order))
            assert values == [row[i] for i in order] + [-torch.inf] * (k - len(order))
    first = [row.index(max(row)) if max(row) > -torch.inf else -1 for row in scores.tolist()]
    best = asked.max()
    assert best.items.tolist() == first
    assert torch.equal(best.values, asked.at(best.items.clamp(min=0)).where(best.items >= 0, -torch.inf))


def test_ranks_and_best_items_are_those_of_every_other_engine() -> None:
    parts, target = parts_of(7, 60, 16), torch.arange(7) * 8
    asked = GpuScores(*parts)
    for engine in ENGINES.values():
        other = engine(*parts)
        assert torch.equal(asked.rank_of(target), other.rank_of(target))
        assert torch.equal(asked.max().items, other.max().items)
        assert torch.equal(asked.topk(5).items, other.topk(5).items)


def test_what_is_not_contiguous_is_read_all_the_same() -> None:
    parts = [normal(16, 5).T, normal(16, 40, seed=1).T, normal(80, seed=2)[::2]]
    assert not any(part.is_contiguous() for part in parts)
    found, expected = ([p.clone(memory_format=torch.preserve_format).requires_grad_() for p in parts] for _ in range(2))
    for leaves, engine in ((found, GpuScores), (expected, chunked.ChunkedScores)):
        engine(*leaves).nll(torch.arange(5), 0.5).sum().backward()
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    assert torch.equal(
        GpuScores(*parts).rank_of(torch.arange(5)), chunked.ChunkedScores(*parts).rank_of(torch.arange(5))
    )


def test_detached_and_unasked_gradients() -> None:
    states, weight = (part.requires_grad_() for part in parts_of(2, 20, 16, False))
    assert not GpuScores(states, weight).detach().logsumexp().requires_grad
    with torch.no_grad():
        assert not GpuScores(states, weight).nll(torch.zeros(2, dtype=torch.int64)).requires_grad
    GpuScores(states, weight.detach()).logsumexp().sum().backward()
    assert states.grad is not None and weight.grad is None


def test_empty_batches_have_empty_answers() -> None:
    states, none = torch.zeros(0, 16, requires_grad=True), torch.zeros(0, dtype=torch.int64)
    scores = GpuScores(states, normal(40, 16))
    assert scores.nll(none).shape == scores.rank_of(none).shape == scores.max().items.shape == (0,)
    assert scores.topk(3).items.shape == (0, 3)
    assert GpuScores(normal(2, 16), normal(40, 16)).topk(0).items.shape == (2, 0)


@pytest.mark.slow
def test_the_kernels_compile_for_gpus_that_are_not_here() -> None:
    """In a process of its own, since here they were made for the interpreter."""
    script = Path(__file__).parent.parent / "compile_gpu.py"
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert {line[0] for line in lines} == {"sums", "spread", "maxima", "compare"}
    # Tensor cores multiply wherever the operands are bfloat16.
    assert all(int(products) > 0 for _, _, dtype, _, products in lines if dtype == "bfloat16")


# What the kernels do not take ---------------------------------------------------------------------------------------


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What was warned of, as if for the first time."""
    caplog.set_level(logging.WARNING, "seqward")
    native.warn_once.cache_clear()
    return caplog


def test_what_the_kernels_do_not_take_is_answered_in_chunks_and_said_once(said: pytest.LogCaptureFixture) -> None:
    states, weight, items = normal(9, 257), normal(40, 257, seed=1), torch.arange(9)
    found = [GpuScores(states, weight).nll(items) for _ in range(2)]
    assert torch.equal(found[0], chunked.ChunkedScores(states, weight).nll(items))
    why = "the GPU's kernels take widths up to 256, not 257"
    assert said.messages == [f"catalogue: {why}. The chunked engine answers instead."]


@pytest.mark.parametrize("fault", ["missing", "broken", "wrong"])
def test_a_triton_that_is_missing_or_broken_is_told_once(
    fault: str, monkeypatch: pytest.MonkeyPatch, said: pytest.LogCaptureFixture
) -> None:
    why = "Triton is not installed (torch's CUDA builds bring it along)"
    if fault == "missing":
        monkeypatch.setattr(gpu, "find_spec", lambda name: None)
    elif fault == "broken":
        monkeypatch.setattr(gpu, "_kernels", lambda: 1 / 0)
        why = "the GPU's kernels do not work here (ZeroDivisionError: division by zero)"
    else:
        monkeypatch.setattr(gpu, "_sums", lambda *a: (torch.zeros(1), torch.zeros(1, 16)))
        why = "the GPU's kernels do not work here (ValueError: wrong sums in torch.float32)"
    gpu.fault.cache_clear()
    try:
        for _ in range(2):
            assert GpuScores(torch.zeros(2, 16), torch.zeros(8, 16)).logsumexp().tolist() == pytest.approx(
                [2.07944] * 2
            )
        assert said.messages == [f"catalogue: {why}. The chunked engine answers instead."]
    finally:
        gpu.fault.cache_clear()
