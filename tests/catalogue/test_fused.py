"""The native kernels, each variant of them, against a float64 matrix; and what happens where they cannot answer.

The plain variants run everywhere. ``plain-bf16`` multiplies, rounds and lays out its operands as ``avx512-bf16`` does,
so the algorithm of that variant is held here on processors that lack its instructions; its instructions are not.
"""

from __future__ import annotations

import logging
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import Tensor

from recipes import Recipe, normal, recipes
from reference import slow_order, slow_rank
from seqward.catalogue import ENGINES, LinearScores, Pairs, chunked, native, scores_of
from seqward.catalogue.fused import FusedScores
from seqward.catalogue.order import settled
from seqward.topk import topk_among

if native.found().library is None:
    pytest.skip(native.found().why, allow_module_level=True)

LIBRARY = native.found().library
assert LIBRARY is not None
RUNNABLE = [v for v in LIBRARY.variants.values() if v.runs]
every_variant = pytest.mark.parametrize("variant", RUNNABLE, ids=lambda v: v.name)
exact_variants = pytest.mark.parametrize("variant", [v for v in RUNNABLE if v.bytes == 4], ids=lambda v: v.name)


def answers(
    parts: list[Tensor], upstream: Tensor, temperature: float, engine: Callable[..., LinearScores] = FusedScores
) -> list[Tensor]:
    """[n] log-sum-exp, and the gradients of a weighted sum of it."""
    leaves = [part.clone().requires_grad_() for part in parts]
    total = engine(*leaves).logsumexp(temperature)
    (upstream * total).sum().backward()
    return [total.detach().double(), *(leaf.grad.double() for leaf in leaves if leaf.grad is not None)]


def definition(parts: list[Tensor], upstream: Tensor, temperature: float) -> tuple[list[Tensor], list[Tensor]]:
    """The same in double precision, and the same again of absolute values: what errors are measured against."""
    states, weight, *bias = (part.double() for part in parts)
    scores = torch.nn.functional.linear(states, weight, *bias) / temperature
    share, g = scores.softmax(1), upstream.double()[:, None]
    found = []
    for h, w, u in ((states, weight, g), (states.abs(), weight.abs(), g.abs())):
        terms = torch.nn.functional.linear(h, w, *(b.abs() if u is not g else b for b in bias))
        grads = [u * (share @ w), share.T @ (u * h), (share.T @ u)[:, 0]][: len(parts)]
        found.append([temperature * scores.logsumexp(1) if u is g else terms.masked_fill(terms.isinf(), 0), *grads])
    return found[0], found[1]


def rounded(part: Tensor) -> Tensor:
    return part.bfloat16().double()


@pytest.mark.parametrize("engine", ["dense", "chunked"])
@pytest.mark.parametrize("scratch", [0, 1 << 24], ids=["multiplied again", "kept"])
@examples(deadline=None, max_examples=40)
@given(recipe=recipes, narrower=st.integers(0, 15))
def test_the_portable_engines_are_held_to_the_same(engine: str, scratch: int, recipe: Recipe, narrower: int) -> None:
    """At every width, in chunks of 64 items."""
    t, upstream = recipe.temperature, normal(recipe.rows, seed=5)
    parts = replace(recipe, width=recipe.width - narrower).parts()
    expected, sizes = definition(parts, upstream, t)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunked, "SCRATCH", scratch)
        patch.setattr(chunked, "CHUNK", 64)
        found = answers(parts, upstream, t, ENGINES[engine])
    slack = 4e-7 * float(sizes[0].max()) / t
    torch.testing.assert_close(found[0], expected[0], rtol=1e-6, atol=(1e-5 + slack) * t)
    for one, other, size in zip(found[1:], expected[1:], sizes[1:], strict=True):
        assert bool(one.isfinite().all())
        assert float((one - other).norm()) <= (1e-5 + slack) * float(size.norm()) + 1e-30


@every_variant
@pytest.mark.parametrize("scratch", [0, 1 << 24], ids=["multiplied again", "kept"])
@examples(deadline=None, max_examples=60)
@given(recipe=recipes)
def test_sums_and_gradients_are_those_of_a_double_matrix(variant: native.Variant, scratch: int, recipe: Recipe) -> None:
    """To 1e-5 in fp32; in bfloat16 to three roundings to eight bits, the scores being those of rounded operands.

    More is allowed where scores are so large that the last bits of their terms show.
    """
    low, t = variant.bytes == 2, recipe.temperature
    parts, upstream = recipe.parts(), normal(recipe.rows, seed=5)
    exact = [part.double() for part in parts]
    if low:
        exact[:2] = [rounded(parts[0] * (chunked.LOG2E / t)) * (t / chunked.LOG2E), rounded(parts[1])]
    expected, sizes = definition(exact, upstream, t)
    with native.using(variant.name), pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunked, "SCRATCH", scratch)
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            found = answers(parts, upstream, t)
    slack = 4e-7 * float(sizes[0].max()) / t
    torch.testing.assert_close(found[0], expected[0], rtol=1e-6, atol=(1e-5 + slack) * t)
    for one, other, size in zip(found[1:], expected[1:], sizes[1:], strict=True):
        assert bool(one.isfinite().all())
        assert float((one - other).norm()) <= ((6e-3 if low else 1e-5) + slack) * float(size.norm()) + 1e-30


@every_variant
@pytest.mark.parametrize(("size", "low_error"), [(0.1, 1e-3), (0.5, 4e-3)], ids=["flat", "peaked"])
def test_gradients_of_cross_entropy_at_training_sizes(variant: native.Variant, size: float, low_error: float) -> None:
    """To 1e-6 in fp32. In bfloat16 to 1e-3 where many items share in the sum; where few do, their rounding shows."""
    low, items = variant.bytes == 2, torch.arange(130)
    parts = [size * normal(130, 64), normal(900, 64, seed=1)]
    found, exact = [p.clone().requires_grad_() for p in parts], [p.double().requires_grad_() for p in parts]
    with native.using(variant.name), torch.autocast("cpu", torch.bfloat16, enabled=low):
        FusedScores(*found).nll(items).mean().backward()
    torch.nn.functional.cross_entropy(exact[0] @ exact[1].T, items).backward()
    for one, other in zip(found, exact, strict=True):
        assert one.grad is not None and other.grad is not None
        assert float((one.grad - other.grad).norm() / other.grad.norm()) < (low_error if low else 1e-6)


@pytest.mark.parametrize("variant", [v for v in RUNNABLE if v.bytes == 2], ids=lambda v: v.name)
@pytest.mark.parametrize("size", [0.1, 0.5, 1.0, 2.0])
def test_beside_the_rounding_of_scores_there_is_one_of_a_product(variant: native.Variant, size: float) -> None:
    """Gradients of cross-entropy with the scores of rounded operands, and all else in double precision.

    One rounding to eight bits is off by 2^-8 = 4e-3 at most and 1.6e-3 in the mean of squares, so that no kernel of
    such products keeps 1e-3 where few items have most of the sum; and the rounding of the scores, which any has, makes
    more than that by itself (3e-3 at 0.5).
    """
    items, parts = torch.arange(130), [size * normal(130, 64), normal(900, 64, seed=1)]
    share = (rounded(parts[0] * chunked.LOG2E) @ rounded(parts[1]).T / chunked.LOG2E).softmax(1)
    share[items, items] -= 1
    exact = [share @ parts[1].double() / 130, share.T @ parts[0].double() / 130]
    found = [part.clone().requires_grad_() for part in parts]
    with native.using(variant.name), torch.autocast("cpu", torch.bfloat16):
        FusedScores(*found).nll(items).mean().backward()
    for one, other in zip(found, exact, strict=True):
        assert one.grad is not None
        assert float((one.grad - other).norm() / other.norm()) < 1.6e-3


@exact_variants
@pytest.mark.parametrize("whose", ["torch's", "Python's"])
def test_answers_do_not_depend_on_the_threads(
    whose: str, variant: native.Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "SMALL", 0)
    if whose == "Python's":
        monkeypatch.setattr(native, "_fork", lambda process: None)
    elif native._fork(os.getpid()) is None:
        pytest.skip("torch's threads are not GNU's OpenMP here")
    parts, upstream = [normal(100, 16), normal(1500, 16, seed=1), normal(1500, seed=2)], normal(100, seed=3)
    found = []
    for threads in (1, 2, 3, 7):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        with native.using(variant.name):
            best = FusedScores(*parts).nll_and_max(torch.arange(100))[1]
            found.append([*answers(parts, upstream, 0.5), *best])
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


FORKED = """
import os, torch
from seqward.catalogue import native
from seqward.catalogue.fused import FusedScores

native.SMALL = 0
torch.set_num_threads(2)
states, weight, items = torch.randn(200, 64), torch.randn(300, 64), torch.arange(200)
found = FusedScores(states, weight).rank_of(items)
child = os.fork()
ranks = FusedScores(states, weight).rank_of(items)
if not child:
    os._exit(0 if torch.equal(ranks, found) else 3)
print("the child ended with", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no process is forked here")
def test_a_forked_process_has_threads_of_its_own() -> None:
    """torch's do not survive, and to wait for them is to wait for ever. torch itself has only small things to do."""
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "the child ended with 0\n")


@exact_variants
def test_a_part_that_fails_is_an_error(variant: native.Variant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any of the threads: here a width for which there is no workspace."""
    monkeypatch.setattr(native, "SMALL", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    state = torch.zeros(1, 16)
    scores = native.ScoresQuestion(native.address(state), native.address(state), None, 400, 1, 1 << 44, 1.0)
    with pytest.raises(MemoryError, match="workspace"):
        native.ask("rank", variant, native.RankQuestion(scores), 400, variant.panel, 1 << 30)


def test_what_is_not_contiguous_is_read_all_the_same() -> None:
    parts = [normal(16, 30).T, normal(16, 500, seed=1).T, normal(1000, seed=2)[::2]]
    items = torch.arange(30)
    assert not any(part.is_contiguous() for part in parts)
    expected = chunked.ChunkedScores(*parts).nll(items, 0.5)
    torch.testing.assert_close(FusedScores(*parts).nll(items, 0.5), expected)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What was warned of, as if for the first time."""
    caplog.set_level(logging.WARNING, "seqward")
    native.warn_once.cache_clear()
    native.found.cache_clear()
    yield caplog
    native.found.cache_clear()


def test_what_the_kernels_do_not_take_is_answered_in_chunks_and_said_once(said: pytest.LogCaptureFixture) -> None:
    states, weight, items = normal(9, 20), normal(40, 20, seed=1), torch.arange(9)
    found = [FusedScores(states, weight).nll(items) for _ in range(2)]
    assert torch.equal(found[0], chunked.ChunkedScores(states, weight).nll(items))
    assert said.messages == [
        "catalogue: the native kernels take widths that are multiples of 16, not 20. "
        "The chunked engine answers instead."
    ]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_rows_of_another_type_are_read_in_fp32(engine: str, dtype: torch.dtype) -> None:
    """All questions; the gradient comes back in the type of the rows."""
    items = torch.arange(9)
    parts = [part.to(dtype) for part in (normal(9, 16), normal(1100, 16, seed=1), normal(1100, seed=2))]
    found, plain = ENGINES[engine](*parts), ENGINES[engine](*(part.float() for part in parts))
    for ask in (lambda s: s.nll(items), lambda s: s.at(items), lambda s: s.rank_of(items), lambda s: s.topk(3).items):
        assert torch.equal(ask(found), ask(plain))
    leaves = [part.clone().requires_grad_() for part in parts]
    ENGINES[engine](*leaves).nll(items).sum().backward()
    assert [leaf.grad.dtype for leaf in leaves if leaf.grad is not None] == [dtype] * 3


@pytest.mark.parametrize("intel", [True, False])
def test_auto_sums_in_bfloat16_where_that_is_faster(intel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "is_intel", lambda: intel)
    runs = {variant.name for variant in RUNNABLE}
    fp32 = next((name for name in native.FP32 if name in runs), None)
    bf16 = next((name for name in native.BF16 if name in runs), fp32)
    for dtype, expected in ((torch.float32, fp32), (torch.bfloat16, fp32 if intel else bf16)):
        chosen = native.variant_for(dtype)
        assert (None if chosen is None else chosen.name) == expected


def test_who_made_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked of the system's file, or of Python where there is none, as on Windows."""
    for says, intel in (("Intel64 Family 6 Model 207, GenuineIntel", True), ("AMD64 Family 25, AuthenticAMD", False)):
        native.is_intel.cache_clear()
        monkeypatch.setattr(Path, "is_file", lambda file: False)
        monkeypatch.setattr("platform.processor", lambda says=says: says)
        assert native.is_intel() is intel
    native.is_intel.cache_clear()


def test_auto_takes_the_kernels_where_they_run(said: pytest.LogCaptureFixture) -> None:
    """And says once where they run but do not take what comes; not where there are none to be had."""
    with native.using("plain"):
        assert type(scores_of(torch.zeros(1, 16), torch.zeros(5000, 16))) is FusedScores
        assert type(scores_of(torch.zeros(1, 20), torch.zeros(5000, 20))) is chunked.ChunkedScores
        assert type(scores_of(torch.zeros(1, 20), torch.zeros(5000, 20))) is chunked.ChunkedScores
    with native.using("off"):
        assert type(scores_of(torch.zeros(1, 16), torch.zeros(5000, 16))) is chunked.ChunkedScores
    (message,) = said.messages
    assert message.startswith("catalogue: the native kernels take widths that are multiples of 16, not 20.")


@pytest.mark.parametrize("engine", ENGINES)
def test_what_does_not_fit_together_is_refused(engine: str) -> None:
    """Before a kernel reads what is not its own."""
    states, weight = normal(4, 16), normal(1100, 16)
    misfits = [(normal(4, 32), weight), (states, weight, torch.zeros(5)), (states, weight, torch.zeros(1))]
    misfits += [(normal(4, 16, 1), weight), (states[0], weight), (states, weight[:0]), (states[:, :0], weight[:, :0])]
    for parts in misfits:
        shapes = ", ".join(str(list(part.shape)) for part in parts)
        with pytest.raises(ValueError, match=re.escape(f"with one item and one column at least; got {shapes}")):
            ENGINES[engine](*parts, *[None] * (3 - len(parts)))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("item", [-1, 1100])
def test_numbers_of_no_item_are_refused(engine: str, item: int) -> None:
    """One below 0 is not counted from the end; and one with a fraction is not cut off."""
    scores = ENGINES[engine](normal(2, 16), normal(1100, 16, seed=1), None)
    for ask in (scores.nll, scores.rank_of, scores.at):
        with pytest.raises((IndexError, RuntimeError)):
            ask(torch.tensor([1, item]))
    with pytest.raises((IndexError, RuntimeError)):
        scores.rank_of(torch.tensor([1.0, 2.5]))


@pytest.mark.parametrize("engine", ENGINES)
def test_item_numbers_of_another_type_are_the_same_items(engine: str) -> None:
    scores, items = ENGINES[engine](normal(40, 16), normal(1500, 16, seed=1), None), torch.arange(40)
    assert torch.equal(scores.rank_of(items.int()), scores.rank_of(items))
    assert torch.equal(scores.nll(items.int()), scores.nll(items))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e38])
def test_sums_over_what_is_not_finite_are_not_finite(engine: str, bad: float) -> None:
    """So that training sees it; 1e38 times 16 ones is beyond fp32."""
    weight, bias = normal(1100, 16), torch.zeros(1100)
    if bad == 1e38:
        weight[700] = bad
    else:
        bias[700] = bad
    assert not bool(torch.isfinite(ENGINES[engine](torch.ones(3, 16), weight, bias).logsumexp()).any())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("scratch", [0, 1 << 20])
def test_a_second_backward_pass_is_the_first_again(engine: str, scratch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked, "SCRATCH", scratch)
    leaves = [normal(5, 16).requires_grad_(), normal(1100, 16, seed=1).requires_grad_()]
    loss = ENGINES[engine](*leaves, None).nll(torch.arange(5)).sum()
    first = torch.autograd.grad(loss, leaves, retain_graph=True)
    for one, other in zip(first, torch.autograd.grad(loss, leaves), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


# A library that is broken -------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: pytest.LogCaptureFixture) -> Path:
    """Where the library is looked for."""
    monkeypatch.setattr(native, "__file__", str(tmp_path / "native.py"))
    return tmp_path / "_native.abi3.so"


def test_without_a_library_the_portable_engine_answers(place: Path, said: pytest.LogCaptureFixture) -> None:
    assert not place.exists()
    assert type(scores_of(torch.zeros(2, 16), torch.zeros(5000, 16))) is chunked.ChunkedScores
    assert said.messages == []
    total = scores_of(torch.zeros(2, 16), torch.zeros(8, 16), None, "fused").logsumexp()
    assert total.tolist() == pytest.approx([2.0794415] * 2)
    assert said.messages == [
        "catalogue: no native kernels: none were built when Seqward was installed (that takes a C++ compiler). "
        "The chunked engine answers instead."
    ]


@pytest.mark.parametrize("damage", ["empty", "half", "other"])
def test_a_broken_library_is_told_once_and_never_a_crash(
    damage: str, place: Path, said: pytest.LogCaptureFixture
) -> None:
    assert LIBRARY is not None
    whole = LIBRARY.file.read_bytes()
    place.write_bytes({"empty": b"", "half": whole[: len(whole) // 2], "other": b"no library at all"}[damage])
    for _ in range(2):
        total = scores_of(torch.zeros(2, 16), torch.zeros(5000, 16)).logsumexp()
        assert total.tolist() == pytest.approx([8.5171932] * 2)
    (message,) = said.messages
    assert message.startswith(f"the native kernels in {place} do not work (")
    assert message.endswith("Install Seqward again to build them anew; until then torch answers, more slowly.")


@pytest.mark.parametrize("fault", ["version", "sums"])
def test_a_library_that_is_not_ours_is_not_asked(
    fault: str, place: Path, said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert LIBRARY is not None
    place.write_bytes(LIBRARY.file.read_bytes())
    version = native.VERSION
    if fault == "version":
        monkeypatch.setattr(native, "VERSION", 99)
    else:
        monkeypatch.setattr(native.math, "isclose", lambda *a, **k: False)
    assert native.variant_for(torch.float32) is None
    (message,) = said.messages
    expected = f"its interface is version {version}, not 99" if fault == "version" else "variant gives wrong sums"
    assert expected in message


def test_a_variant_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, said: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("SEQWARD_NATIVE", "fastest")
    assert native.variant_for(torch.float32) is None
    assert said.messages[0].startswith("SEQWARD_NATIVE=fastest is none of auto, off, ")


# Orders -------------------------------------------------------------------------------------------------------------


def settled_matrix(parts: list[Tensor]) -> Tensor:
    states, weight, *bias = parts
    rows = torch.arange(len(states)).repeat_interleave(len(weight))
    scores = settled(states, weight, bias[0] if bias else None, rows, torch.arange(len(weight)).repeat(len(states)))
    return scores.view(len(states), len(weight))


@every_variant
@examples(deadline=None, max_examples=40)
@given(recipe=recipes, step=st.sampled_from([0.0, 1e-8, 1e-7, 1e-6, 1e-3]), seed=st.integers(0, 99))
def test_orders_are_those_of_the_settled_scores_by_every_engine(
    variant: native.Variant, recipe: Recipe, step: float, seed: int
) -> None:
    """Rows that differ in their last bits or not at all: products part what is equal, and the order must not."""
    parts = recipe.parts()
    parts[1] += step * normal(*parts[1].shape, seed=seed)
    n, items = recipe.rows, recipe.items
    target = torch.randint(items, (n,), generator=torch.Generator().manual_seed(seed))
    exclude = Pairs(torch.arange(n).repeat(2), torch.arange(2 * n) * 7 % items)
    scores = settled_matrix(parts)
    hidden = scores.index_put((exclude.rows, exclude.items), torch.tensor(-torch.inf))
    with native.using(variant.name):
        for engine in ENGINES.values():
            asked = engine(*parts)
            for matrix, left in ((scores, None), (hidden, exclude)):
                expected = [slow_rank(row, int(i), set()) for row, i in zip(matrix.tolist(), target, strict=True)]
                assert asked.rank_of(target, left).tolist() == expected
                listed = asked.topk(5, left)
                for row, values, found in zip(
                    matrix.tolist(), listed.values.tolist(), listed.items.tolist(), strict=True
                ):
                    order = slow_order(row, set())[:5]
                    assert found == order + [-1] * (5 - len(order))
                    assert values == [row[i] for i in order] + [-math.inf] * (5 - len(order))
                if items > 1:
                    few = topk_among(asked, torch.arange(1, items), items - 1, left).items.tolist()
                    orders = [slow_order(row, {0}) for row in matrix.tolist()]
                    assert few == [order + [-1] * (items - 1 - len(order)) for order in orders]
            best = [-1 if max(row) == -torch.inf else row.index(max(row)) for row in scores.tolist()]
            assert asked.max().items.tolist() == best
            for temperature in (0.3, 7.0, 1e6):
                with torch.autocast("cpu", torch.bfloat16, enabled=variant.bytes == 2):
                    assert asked.nll_and_max(target, temperature)[1].items.tolist() == best


@every_variant
def test_margins_hold_what_products_do(variant: native.Variant) -> None:
    """Every target of a catalogue with large and small rows, at its rank in double precision where no other is near."""
    weight = normal(700, 64) * torch.logspace(-2, 1, 700)[:, None]
    states, target = normal(60, 64, seed=1), torch.arange(60) * 11
    exact = states.double() @ weight.double().T
    own = exact.gather(1, target[:, None])
    gap = (exact - own).abs().scatter(1, target[:, None], torch.inf).amin(1)
    clear = gap > 1e-5 * states.norm(dim=1) * weight.norm(dim=1).amax()
    assert int(clear.sum()) > 20
    with native.using(variant.name):
        ranks = FusedScores(states, weight).rank_of(target)
    assert torch.equal(ranks[clear], (1 + (exact > own).sum(1))[clear])


@pytest.mark.parametrize("low", [v for v in RUNNABLE if v.bytes == 2], ids=lambda v: v.name)
@pytest.mark.parametrize(
    ("state", "target", "other"),
    # An operand of 1 + 2^-8 becomes 1, and one of 1e-39 becomes 0: the target's score is the lower one all the same.
    [(1 + 2**-8, 1.002, 1 + 2**-8), (1e-39, 1e30, 2e30)],
    ids=["all rounded down", "denormal"],
)
def test_margins_hold_the_worst_rounding_of_operands(
    low: native.Variant, state: float, target: float, other: float
) -> None:
    """64 operands all rounded the same way are off by |state| |row| 2^-7: what a random catalogue never shows."""
    weight = torch.zeros(5, 64)
    weight[0], weight[1] = target, other
    with native.using(low.name):
        scores = FusedScores(torch.full((1, 64), state), weight)
        assert scores.rank_of(torch.tensor([0])).tolist() == [2]
        assert scores.rank_of(torch.tensor([1])).tolist() == [1]
        assert scores.max().items.tolist() == [1]


@pytest.mark.parametrize("engine", ENGINES)
def test_empty_batches_have_empty_answers(engine: str) -> None:
    states, none = torch.zeros(0, 16, requires_grad=True), torch.zeros(0, dtype=torch.int64)
    scores = ENGINES[engine](states, normal(1100, 16), None)
    assert scores.nll(none).shape == scores.logsumexp().shape == scores.at(none).shape == (0,)
    assert scores.rank_of(none).shape == scores.max().items.shape == scores.nll_and_max(none)[1].items.shape == (0,)
    assert scores.topk(3).items.shape == (0, 3)
    scores.nll(none).sum().backward()
