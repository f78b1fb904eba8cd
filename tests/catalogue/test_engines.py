"""Every engine against slow definitions, a float64 matrix and the dense engine: answers, ties, gradients, refusals."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import torch
from hypothesis import assume, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import pad

from recipes import normal
from reference import slow_order, slow_rank
from seqward.catalogue import ENGINES, MISS, Pairs, Scores, chunked, engines, native, scores_of
from seqward.errors import Finding

every_engine = pytest.mark.parametrize("engine", ENGINES)
every_precision = pytest.mark.parametrize("low", [False, True], ids=["fp32", "bf16"])


@pytest.fixture(autouse=True, scope="module")
def multiplies_in_bfloat16() -> Iterator[None]:
    """Every engine sums in bfloat16 under autocast, whatever is fast here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seqward.catalogue.scores.slow_in_bfloat16", lambda: False)
        patch.setattr(native, "is_intel", lambda: False)
        yield


@contextmanager
def small_chunks(scratch: int = 1 << 20) -> Iterator[None]:
    """Row blocks of 3, chunks of 8 items, top-k blocks of 4, none of them few: small worlds then have several of each.

    The native kernels likewise: 6 rows and 6 items, in plain loops.
    """
    with pytest.MonkeyPatch.context() as patch, native.using("plain-small"):
        for name, value in (("ROWS", 3), ("CHUNK", 8), ("BLOCK", 4), ("WRITTEN", 0), ("SCRATCH", scratch)):
            patch.setattr(chunked, name, value)
        patch.setattr("seqward.catalogue.scores.EVEN", 4)
        yield


@dataclass(frozen=True)
class World:
    """Whole numbers throughout, so that sums are exact in any order and equal scores are equal to the bit."""

    states: Tensor
    weight: Tensor
    bias: Tensor | None
    pairs: list[tuple[int, int]]
    targets: Tensor

    @property
    def rows(self) -> list[list[float]]:
        scores = self.states.double() @ self.weight.double().T
        return (scores if self.bias is None else scores + self.bias.double()).tolist()

    @property
    def exclude(self) -> Pairs:
        return Pairs(*torch.tensor(self.pairs, dtype=torch.int64).view(-1, 2).T)

    def excluded(self, row: int) -> set[int]:
        return {item for r, item in self.pairs if r == row}


@st.composite
def worlds(draw: st.DrawFn, minus_infinity: bool = True) -> World:
    n, items, width = draw(st.integers(1, 7)), draw(st.integers(1, 30)), draw(st.integers(1, 2))
    number = st.integers(-1, 1).map(float)
    bias_of = st.sampled_from([0.0, 1.0, -math.inf]) if minus_infinity else number

    def matrix(rows: int, columns: int) -> Tensor:
        return torch.tensor(draw(st.lists(number, min_size=rows * columns, max_size=rows * columns))).view(rows, -1)

    bias = draw(st.none() | st.lists(bias_of, min_size=items, max_size=items))
    if bias is not None and minus_infinity:
        dead = draw(st.integers(0, items))  # whole chunks without a candidate
        bias[:dead] = [-math.inf] * dead
    # A width that the native kernels take, half of the time.
    wider = 16 - width if draw(st.booleans()) else 0
    return World(
        states=pad(matrix(n, width), (0, wider)),
        weight=pad(matrix(items, width), (0, wider)),
        bias=None if bias is None else torch.tensor(bias),
        pairs=draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, items - 1)), max_size=40)),
        targets=torch.tensor(draw(st.lists(st.integers(0, items - 1), min_size=n, max_size=n))),
    )


@every_engine
@examples(deadline=None)
@given(world=worlds(), k=st.integers(1, 34))
def test_order_is_that_of_the_slow_definition(engine: str, world: World, k: int) -> None:
    """at, max, topk and rank_of, with and without exclusions, ties and -inf among them; k beyond the catalogue too."""
    with small_chunks():
        scores = ENGINES[engine](world.states, world.weight, world.bias)
        n = len(world.states)
        assert (scores.n_rows, scores.n_items) == (n, len(world.weight))
        rows = world.rows
        both = torch.stack([world.targets, world.targets.flip(0)], 1)
        assert scores.at(world.targets).tolist() == [row[i] for row, i in zip(rows, world.targets, strict=True)]
        assert scores.at(both).tolist() == [[row[i] for i in pair] for row, pair in zip(rows, both, strict=True)]
        for exclude in (None, world.exclude):
            gone = [set() if exclude is None else world.excluded(row) for row in range(n)]
            expected = [slow_rank(row, int(i), g) for row, i, g in zip(rows, world.targets, gone, strict=True)]
            assert scores.rank_of(world.targets, exclude).tolist() == expected
            best = scores.topk(k, exclude)
            for row, g, values, items in zip(rows, gone, best.values.tolist(), best.items.tolist(), strict=True):
                order = slow_order(row, g)[:k]
                assert items == order + [-1] * (k - len(order))
                assert values == [row[i] for i in order] + [-math.inf] * (k - len(order))
        first = scores.topk(1)
        for found in (scores.max(), scores.nll_and_max(world.targets)[1], scores.nll_and_max(world.targets, 0.3)[1]):
            assert found.values.tolist() == first.values[:, 0].tolist()
            assert found.items.tolist() == first.items[:, 0].tolist()


@every_engine
@pytest.mark.parametrize("scratch", [0, 1 << 20], ids=["multiplied again", "kept"])
@examples(deadline=None, max_examples=60)
@given(world=worlds(minus_infinity=False), temperature=st.sampled_from([0.1, 0.5, 1.0, 3.0]), seed=st.integers(0, 99))
def test_values_and_gradients_are_those_of_a_double_matrix(
    engine: str, scratch: int, world: World, temperature: float, seed: int
) -> None:
    """nll, logsumexp and at, in one loss with other weights a row; gradients of states, weight and bias."""
    upstream = normal(3, len(world.states), seed=seed)
    # Not whole numbers here, and scores far from 0, so that a lost shift would overflow.
    leaves = [x + 0.3 * normal(*x.shape, seed=seed) for x in (world.states, world.weight)]
    leaves += [] if world.bias is None else [30 * world.bias]
    found = [x.clone().requires_grad_() for x in leaves]
    exact = [x.double().requires_grad_() for x in leaves]
    with small_chunks(scratch):
        scores = ENGINES[engine](found[0], found[1], found[2] if len(found) > 2 else None)
        answers = [scores.nll(world.targets, temperature), scores.logsumexp(temperature), scores.at(world.targets)]
        sum((u * a).sum() for u, a in zip(upstream, answers, strict=True)).backward()  # type: ignore[union-attr]
    matrix = torch.nn.functional.linear(exact[0], exact[1], exact[2] if len(exact) > 2 else None)
    own = matrix.gather(1, world.targets[:, None])[:, 0]
    total = temperature * torch.logsumexp(matrix / temperature, 1)
    expected = [total - own, total, own]
    sum((u * e).sum() for u, e in zip(upstream.double(), expected, strict=True)).backward()  # type: ignore[union-attr]
    for answer, value in zip(answers, expected, strict=True):
        torch.testing.assert_close(answer.double(), value, rtol=2e-5, atol=2e-4)
    for leaf, oracle in zip(found, exact, strict=True):
        assert leaf.grad is not None
        torch.testing.assert_close(leaf.grad.double(), oracle.grad, rtol=2e-4, atol=2e-4)


@every_engine
@examples(deadline=None, max_examples=60)
@given(world=worlds(), temperature=st.sampled_from([0.5, 1.0]))
def test_what_is_no_candidate_has_no_part_in_the_sum(engine: str, world: World, temperature: float) -> None:
    """-inf by the bias: whole chunks of it, the first ones or all; the gradient stays finite where a candidate is."""
    weight = world.weight.clone().requires_grad_()
    with small_chunks(0):
        scores = ENGINES[engine](world.states, weight, world.bias)
        total, nll = scores.logsumexp(temperature), scores.nll(world.targets, temperature)
        rows = torch.tensor(world.rows)
        expected = temperature * torch.logsumexp(rows / temperature, 1)
        torch.testing.assert_close(total.detach(), expected)
        own = rows[torch.arange(len(rows)), world.targets]
        listed = own > -math.inf
        torch.testing.assert_close(nll[listed].detach(), (expected - own)[listed])
        if bool((expected > -math.inf).all()):
            total.sum().backward()
            assert weight.grad is not None
            assert bool(torch.isfinite(weight.grad).all())


@every_engine
def test_ties_go_to_the_lower_number_across_chunks(engine: str) -> None:
    """600 twins score 1, item 550 alone 2: ranks 2, 3, ... in the order of numbers, past the chunk's border at 512."""
    weight = torch.ones(1200, 1)
    weight[550], weight[600:] = 2.0, 0.0
    scores = ENGINES[engine](torch.ones(6, 1), weight, None)
    ranks = scores.rank_of(torch.tensor([550, 0, 1, 511, 512, 599]))
    assert ranks.tolist() == [1, 2, 3, 513, 514, 600]
    assert scores.topk(4).items[0].tolist() == [550, 0, 1, 2]
    assert scores.max().items.tolist() == [550] * 6


@every_engine
@every_precision
@pytest.mark.parametrize("n_rows", [1, 2, 3, 40])
@pytest.mark.parametrize("n_items", [1537, 1100, 1024, 515, 333])
def test_twins_of_uneven_scores_keep_their_order_everywhere(engine: str, low: bool, n_items: int, n_rows: int) -> None:
    """The same random row at several places of the catalogue scores the same to the bit, wherever it stands.

    In products of few rows a processor sums the columns beyond the last full vector in another order.
    """
    weight, states = normal(n_items, 64), normal(n_rows, 64, seed=1)
    places = [3, 60, n_items // 2, n_items - 2, n_items - 1]
    weight[places] = 4 * weight[3]
    bias = normal(n_items, seed=2).index_fill(0, torch.tensor(places), 0.5)
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        scores = ENGINES[engine](states, weight, bias)
        ranks = torch.stack([scores.rank_of(torch.full((n_rows,), place)) for place in places], 1)
        best = scores.topk(n_items)
        assert bool((ranks.diff(dim=1) == 1).all())
        for place, rank in zip(places, ranks.T, strict=True):
            assert best.items.gather(1, rank[:, None] - 1)[:, 0].tolist() == [place] * n_rows
        for row in range(n_rows):
            weight[places] = states[row] + 0.1 * weight[3]
            best_of_all = ENGINES[engine](states, weight, bias).max()
            assert int(best_of_all.items[row]) == 3


@every_engine
def test_all_scores_equal(engine: str) -> None:
    """A scorer that says the same of all has the order of numbers, not a hit every time."""
    scores = ENGINES[engine](torch.zeros(3, 2), normal(1500, 2), None)
    assert scores.rank_of(torch.tensor([0, 700, 1499])).tolist() == [1, 701, 1500]
    assert scores.topk(3).items.tolist() == [[0, 1, 2]] * 3
    assert scores.max().items.tolist() == [0] * 3
    torch.testing.assert_close(scores.nll(torch.tensor([0, 1, 2])), torch.full((3,), math.log(1500)))


@every_engine
def test_signed_zeros_are_equal(engine: str) -> None:
    weight = torch.tensor([[0.0], [-0.0], [0.0], [-1.0]])
    with small_chunks():
        scores = ENGINES[engine](torch.ones(4, 1), weight, None)
        assert scores.rank_of(torch.arange(4)).tolist() == [1, 2, 3, 4]


@every_engine
def test_ranks_and_topk_are_one_order(engine: str) -> None:
    """What is recommended at place r has rank r: the k-th recommendation is what evaluation counts at k."""
    scores = ENGINES[engine](normal(9, 16), normal(1300, 16, seed=1), normal(1300, seed=2))
    exclude = Pairs(torch.arange(9).repeat(20), torch.arange(180) * 7 % 1300)
    best = scores.topk(25, exclude)
    for place in range(25):
        assert scores.rank_of(best.items[:, place], exclude).tolist() == [place + 1] * 9
    torch.testing.assert_close(scores.at(best.items), best.values)


@every_engine
def test_more_than_the_catalogue_is_filled_with_nothing(engine: str) -> None:
    weight = torch.tensor([[1.0], [3.0], [2.0]])
    scores = ENGINES[engine](torch.ones(2, 1), weight, None)
    best = scores.topk(5, Pairs(torch.tensor([1]), torch.tensor([1])))
    assert best.items.tolist() == [[1, 2, 0, -1, -1], [2, 0, -1, -1, -1]]
    assert best.values.tolist() == [[3, 2, 1, -math.inf, -math.inf], [2, 1, -math.inf, -math.inf, -math.inf]]


@every_engine
def test_an_item_that_is_no_candidate_is_a_miss(engine: str) -> None:
    bias = torch.tensor([0.0, -math.inf, 0.0])
    scores = ENGINES[engine](torch.zeros(3, 1), torch.zeros(3, 1), bias)
    exclude = Pairs(torch.tensor([0, 0]), torch.tensor([0, 0]))
    assert scores.rank_of(torch.tensor([0, 1, 2])).tolist() == [1, MISS, 2]
    assert scores.rank_of(torch.tensor([0, 1, 2]), exclude).tolist() == [MISS, MISS, 2]


@every_engine
@pytest.mark.parametrize("item", [20, -1, -100])  # the last is torch's number for no class
@pytest.mark.parametrize("question", ["at", "nll", "rank_of"])
def test_an_item_that_is_not_there_is_refused(engine: str, item: int, question: str) -> None:
    scores = ENGINES[engine](normal(3, 16), normal(20, 16, seed=1), None)
    with pytest.raises((IndexError, RuntimeError), match=r"out of (range|bounds)"):
        getattr(scores, question)(torch.tensor([0, item, 1]))


@every_engine
@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("where", [0, 1400])
def test_scores_that_are_not_finite_are_a_finding(engine: str, bad: float, where: int) -> None:
    bias = torch.zeros(1500)
    bias[where] = bad
    scores = ENGINES[engine](normal(5, 16), normal(1500, 16, seed=1), bias)
    target = torch.arange(5)
    asks = (scores.max, lambda: scores.topk(3), lambda: scores.rank_of(target), lambda: scores.nll_and_max(target))
    for ask in asks:
        with pytest.raises(Finding, match="not finite in 5 of 5 rows: the model has diverged") as refusal:
            ask()
        assert refusal.value.exit_status == 1


@every_engine
def test_one_bad_row_is_enough(engine: str) -> None:
    states = normal(5, 16)
    states[3] = math.nan
    with pytest.raises(Finding, match="1 of 5 rows"):
        ENGINES[engine](states, normal(20, 16), None).rank_of(torch.arange(5))


def trainable(engine: str) -> tuple[Scores, list[Tensor]]:
    leaves = [normal(5, 16).requires_grad_(), normal(20, 16, seed=1).requires_grad_(), torch.zeros(20).requires_grad_()]
    return ENGINES[engine](*leaves), leaves


@every_engine
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad])
def test_detached_scores_have_no_gradient_wherever_they_are_asked(engine: str, mode: type) -> None:
    """Born under no_grad or not, asked later with gradients on: a target must not train."""
    items = torch.arange(5)
    with mode():
        scores, _ = trainable(engine)
        detached = scores.detach()
    for answer in (detached.at(items), detached.nll(items), detached.logsumexp(0.5), detached.max().values):
        assert not answer.requires_grad
    assert torch.equal(detached.at(items), scores.at(items))
    assert torch.equal(detached.max().items, scores.max().items)


@every_engine
def test_a_first_question_without_gradient_spoils_no_later_one(engine: str) -> None:
    """The greedy item is asked under no_grad before the loss: the loss trains all the same."""
    items = torch.arange(5)
    expected = trainable(engine)
    expected[0].nll(items, 0.5).sum().backward()
    scores, leaves = trainable(engine)
    with torch.no_grad():
        scores.max(), scores.at(items), scores.rank_of(items), scores.logsumexp()
    scores.nll(items, 0.5).sum().backward()
    for leaf, other in zip(leaves, expected[1], strict=True):
        assert leaf.grad is not None
        assert other.grad is not None
        assert torch.equal(leaf.grad, other.grad)


@every_engine
@every_precision
@pytest.mark.parametrize("temperature", [0.05, 1.0, 20.0])
def test_two_answers_of_one_pass_are_the_bits_of_two(engine: str, low: bool, temperature: float) -> None:
    """The sum, its gradients and the best items; near twins among them, whose order a rounded scale would change."""
    target = torch.arange(40) * 7 % 1537
    found = []
    for together in (True, False):
        states, weight, bias = (x.requires_grad_() for x in (normal(40, 16), normal(1537, 16), normal(1537)))
        weight.data[700:1400] = weight.data[:700] + 1e-7 * normal(700, 16, seed=1)
        bias.data[700:1400] = bias.data[:700]
        scores = ENGINES[engine](states, weight, bias)
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            if together:
                nll, best = scores.nll_and_max(target, temperature)
            else:
                nll, best = scores.nll(target, temperature), scores.max()
        assert not best.values.requires_grad
        nll.sum().backward()
        found.append([nll.detach(), *best, states.grad, weight.grad, bias.grad])
    for one, two in zip(*found, strict=True):
        assert torch.equal(one, two)


@every_engine
def test_where_a_product_cannot_be_rounded_a_scale_may_be(engine: str) -> None:
    """States of 0: scores are biases, which a temperature makes equal and whose order is known all the same."""
    bias = torch.full((1000,), 1.0)
    bias[900] = torch.nextafter(bias[0], torch.tensor(2.0))
    scores, target = ENGINES[engine](torch.zeros(3, 16), normal(1000, 16), bias), torch.zeros(3, dtype=torch.int64)
    for temperature in (0.3, 0.7, 0.9, 1.1, 1.3, 3.0):
        assert scores.nll_and_max(target, temperature)[1].items.tolist() == [900] * 3


@every_engine
def test_orders_carry_no_gradient(engine: str) -> None:
    scores, _ = trainable(engine)
    assert not scores.max().values.requires_grad
    assert not scores.topk(3).values.requires_grad


@every_engine
@pytest.mark.parametrize("learns", [(0,), (1,), (2,), (0, 2), (1, 2)], ids=str)
@pytest.mark.parametrize("scratch", [0, 1 << 20])
def test_any_part_may_learn_alone(engine: str, learns: tuple[int, ...], scratch: int) -> None:
    """states, weight, bias: what is frozen changes nothing for the others."""
    with small_chunks(scratch):
        everything, leaves = trainable(engine)
        everything.nll(torch.arange(5), 0.5).sum().backward()
        parts = [leaf.detach().clone().requires_grad_(i in learns) for i, leaf in enumerate(leaves)]
        ENGINES[engine](*parts).nll(torch.arange(5), 0.5).sum().backward()
    for i, (part, leaf) in enumerate(zip(parts, leaves, strict=True)):
        assert (part.grad is not None) == (i in learns)
        if part.grad is not None:
            torch.testing.assert_close(part.grad, leaf.grad)


@every_engine
def test_two_losses_alive_at_once_do_not_mix(engine: str) -> None:
    """Cross-entropy and a conservative term of another head: both forward passes, then both backward, step by step."""
    parts = [normal(9, 16), normal(20, 16, seed=1), normal(7, 16, seed=2), 3 * normal(30, 16, seed=3)]
    items = torch.arange(9), torch.arange(7)
    found: list[list[Tensor]] = []
    for name in (engine, "dense"):
        for _ in range(3):
            leaves = [p.clone().requires_grad_() for p in parts]
            losses = [ENGINES[name](*leaves[i : i + 2], None).nll(items[i // 2], 0.5) for i in (0, 2)]
            (losses[0].sum() + losses[1].sum()).backward()
        found.append([leaf.grad for leaf in leaves if leaf.grad is not None])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@every_engine
def test_gradients_at_default_chunks_are_those_of_dense(engine: str) -> None:
    """1,100 items and 1,030 rows at the chunk sizes in use: two row blocks, three chunks, the last one short."""
    parts = [normal(1030, 16), normal(1100, 16, seed=1), normal(1100, seed=2)]
    items = torch.arange(1030)
    found: list[list[Tensor]] = []
    for name in (engine, "dense"):
        leaves = [p.clone().requires_grad_() for p in parts]
        ENGINES[name](*leaves).nll(items, 0.5).sum().backward()
        found.append([leaf.grad for leaf in leaves if leaf.grad is not None])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@every_engine
@pytest.mark.parametrize("gap", [20.0, 45.0, 85.0, 100.0])
@pytest.mark.parametrize("scratch", [0, 1 << 20], ids=["multiplied again", "kept"])
def test_a_best_item_far_above_the_first_chunk(engine: str, scratch: int, gap: float) -> None:
    """Gradients as small as a mean over thousands of events gives them, and the item that matters comes late."""
    weight, states, items = 0.1 * normal(40, 16), normal(5, 16, seed=1), torch.tensor([0, 39, 38, 7, 12])
    bias = torch.where(torch.arange(40) < 38, 0.0, gap)
    found = [x.clone().requires_grad_() for x in (states, weight, bias)]
    exact = [x.double().requires_grad_() for x in (states, weight, bias)]
    with small_chunks(scratch):
        value = ENGINES[engine](*found).nll(items)
        (1e-6 * value).sum().backward()
    matrix = torch.nn.functional.linear(*exact)
    oracle = torch.nn.functional.cross_entropy(matrix, items, reduction="none")
    (1e-6 * oracle).sum().backward()
    torch.testing.assert_close(value.double(), oracle, rtol=1e-6, atol=2e-5)
    for one, other in zip(found, exact, strict=True):
        assert one.grad is not None and other.grad is not None
        torch.testing.assert_close(one.grad.double() * 1e6, other.grad * 1e6, rtol=1e-4, atol=1e-4)


@every_engine
@pytest.mark.parametrize("scratch", [0, 512 << 20])
def test_bfloat16_products_stay_near(engine: str, scratch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked, "SCRATCH", scratch)
    parts = [normal(50, 16), normal(700, 16, seed=1) / 4, normal(700, seed=2)]
    items = torch.arange(50)
    answers: list[list[Tensor]] = []
    for low in (False, True):
        leaves = [p.clone().requires_grad_() for p in parts]
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            loss = ENGINES[engine](*leaves).nll(items)
        assert loss.dtype == torch.float32
        loss.mean().backward()
        answers.append([loss.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)])
    for exact, near in zip(*answers, strict=True):
        assert near.dtype == torch.float32
        assert float((near - exact).norm() / exact.norm()) < 0.02


@every_engine
@every_precision
@pytest.mark.parametrize("scratch", [0, 1 << 20], ids=["multiplied again", "kept"])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_nll_is_never_negative(engine: str, low: bool, scratch: int, temperature: float) -> None:
    """The item itself is in the sum, in the precision of the sum: where it is nearly all, nearly nothing is left."""
    states, weight, bias = normal(60, 16), normal(90, 16, seed=1), normal(90, seed=2)
    weight[:60] = 3 * states
    items = torch.arange(60)
    with small_chunks(scratch), torch.autocast("cpu", torch.bfloat16, enabled=low):
        nll = ENGINES[engine](states, weight, bias).nll(items, temperature)
    assert bool((nll >= 0).all())
    assert float(nll.min()) < 1e-6
    matrix = torch.nn.functional.linear(states, weight, bias).double() / temperature
    exact = temperature * torch.nn.functional.cross_entropy(matrix, items, reduction="none")
    assert float((nll - exact).abs().max()) < (2**-7 * 40 if low else 2e-5)  # scores are of the size of 40


@every_engine
@every_precision
def test_the_best_item_is_worth_what_at_says(engine: str, low: bool) -> None:
    """To the bit; and what is said to be best under autocast is the best: eight bits would not tell."""
    states, weight, bias = normal(50, 16), normal(1300, 16, seed=1), 40 + normal(1300, seed=2)
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        scores = ENGINES[engine](states, weight, bias)
        best, first, ranks = scores.max(), scores.topk(3), scores.rank_of(scores.max().items)
        assert torch.equal(scores.at(best.items), best.values)
    exact = torch.nn.functional.linear(states, weight, bias)
    assert torch.equal(best.items, exact.argmax(1))
    assert torch.equal(first.items, exact.topk(3).indices)
    assert bool((ranks == 1).all())
    torch.testing.assert_close(first.values, exact.topk(3).values)


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_engines_agree_under_autocast(temperature: float) -> None:
    """Sums in bfloat16: to within its rounding of the scores. Named scores and orders: as in fp32."""
    parts, items = [normal(50, 16), normal(1300, 16, seed=1), normal(1300, seed=2)], torch.arange(50)
    found: list[dict[str, Tensor]] = []
    for engine in ENGINES.values():
        leaves = [part.clone().requires_grad_() for part in parts]
        with torch.autocast("cpu", torch.bfloat16):
            scores = engine(*leaves)
            nll, total = scores.nll(items, temperature), scores.logsumexp(temperature)
            exact = {"at": scores.at(items), "best": scores.topk(5).values, "items": scores.topk(5).items}
        (nll + total).mean().backward()
        sums = {"nll": nll, "total": total} | {str(i): leaf.grad for i, leaf in enumerate(leaves)}
        found.append({**sums, **exact})
    for engine, others in zip(list(ENGINES)[1:], found[1:], strict=True):
        for name, one in found[0].items():
            if name in ("at", "best", "items"):
                torch.testing.assert_close(one, others[name])
            else:
                assert float((one - others[name]).detach().norm() / one.detach().norm()) < 0.03, (engine, name)


@every_engine
def test_no_engine_answers_for_a_second_derivative(engine: str) -> None:
    """Dense has one; the others say that they have none, where they gave a wrong one."""
    states, weight = normal(3, 16).requires_grad_(), normal(1300, 16, seed=1).requires_grad_()
    total = ENGINES[engine](states, weight).logsumexp()
    for upstream in (torch.ones(3), torch.ones(3, requires_grad=True)):
        (by_weight,) = torch.autograd.grad(total, weight, upstream, create_graph=True)
        if engine == "dense":
            (second,) = torch.autograd.grad(by_weight.square().sum(), states, retain_graph=True)
            assert float(second.norm()) > 0
        else:
            with pytest.raises(RuntimeError, match=r"differentiate twice|does not require grad|not have been used"):
                torch.autograd.grad(by_weight.square().sum(), states)


def test_nothing_is_kept_for_a_table_that_does_not_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    lent: list[int] = []
    monkeypatch.setattr(
        chunked, "borrowed", lambda size, device: lent.append(size) or torch.empty(size, dtype=torch.uint8)
    )
    states, weight = normal(3, 16).requires_grad_(), normal(1300, 16, seed=1)
    ENGINES["chunked"](states, weight).logsumexp().sum().backward()
    assert lent == [] and states.grad is not None
    ENGINES["chunked"](states, weight.requires_grad_()).logsumexp().sum().backward()
    assert lent == [3 * 1300 * 4]


@every_engine
@pytest.mark.parametrize("scratch", [0, 512 << 20])
def test_where_bfloat16_is_slow_sums_are_in_fp32(engine: str, scratch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit, gradients too."""
    monkeypatch.setattr(chunked, "SCRATCH", scratch)
    monkeypatch.setattr("seqward.catalogue.scores.slow_in_bfloat16", lambda: True)
    parts, items = [normal(50, 16), normal(1300, 16, seed=1), normal(1300, seed=2)], torch.arange(50)
    found: list[list[Tensor]] = []
    with native.using("plain"):
        for low in (False, True):
            leaves = [part.clone().requires_grad_() for part in parts]
            with torch.autocast("cpu", torch.bfloat16, enabled=low):
                nll = ENGINES[engine](*leaves).nll(items, 0.5)
            nll.mean().backward()
            found.append([nll, *(leaf.grad for leaf in leaves if leaf.grad is not None)])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_auto_writes_the_matrix_only_where_it_is_small() -> None:
    with native.using("off"):
        for items, kind in ((engines.DENSE_BELOW - 1, "dense"), (engines.DENSE_BELOW, "chunked")):
            assert type(scores_of(torch.zeros(1, 16), torch.zeros(items, 16))) is ENGINES[kind]
    assert type(scores_of(torch.zeros(1, 1), torch.zeros(5, 1), None, "chunked")) is ENGINES["chunked"]


# Sampling -----------------------------------------------------------------------------------------------------------


def slow_draws(row: list[float], numbers: list[float]) -> list[int]:
    """The first item whose cumulative share of the softmax is beyond each number."""
    top = max(row)
    shares = [math.exp(x - top) for x in row]
    found = []
    for number in numbers:
        reached = 0.0
        for item, share in enumerate(shares):
            reached += share / sum(shares)
            if number < reached:
                found.append(item)
                break
    return found


@every_engine
@examples(deadline=None, max_examples=60)
@given(world=worlds(), seed=st.integers(0, 99))
def test_samples_are_those_of_the_slow_definition(engine: str, world: World, seed: int) -> None:
    """From the same generator every engine draws the same items, and none that is no candidate."""
    kept = [row for row in range(len(world.states)) if max(world.rows[row]) > -math.inf]
    assume(kept)
    with small_chunks():
        scores = ENGINES[engine](world.states[kept], world.weight, world.bias)
        items = scores.sample(9, torch.Generator().manual_seed(seed))
    numbers = torch.rand(len(kept), 9, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).tolist()
    assert items.tolist() == [slow_draws(world.rows[row], u) for row, u in zip(kept, numbers, strict=True)]


@every_engine
def test_samples_are_as_frequent_as_the_softmax_says(engine: str) -> None:
    """Two rows of 1,200 items, 20,000 draws each: within five standard errors on three groups of items."""
    weight = torch.zeros(1200, 1)
    weight[700:900], weight[1199] = 1.0, 6.0
    items = ENGINES[engine](torch.tensor([[1.0], [-1.0]]), weight, None).sample(
        20_000, torch.Generator().manual_seed(1)
    )
    for row, sign in zip(items, (1.0, -1.0), strict=True):
        shares = torch.softmax(sign * weight[:, 0], 0)
        for group in (slice(0, 700), slice(700, 900), slice(1199, 1200)):
            share = float(shares[group].sum())
            count = float(((row >= group.start) & (row < group.stop)).sum())
            assert abs(count - 20_000 * share) <= 5 * (20_000 * share * (1 - share)) ** 0.5 + 1


@every_engine
def test_what_is_not_finite_is_not_sampled_from(engine: str) -> None:
    scores = ENGINES[engine](torch.tensor([[1.0], [math.nan]]), torch.ones(3, 1), None)
    with pytest.raises(Finding, match="not finite in 1 of 2 rows"):
        scores.sample(2, torch.Generator())
