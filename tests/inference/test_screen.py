"""The best items of one state by each variant of the native screen and by NumPy.

Held to the settled scores of all items to the bit, and to float64 where no two scores are closer than fp32 tells.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from seqward.catalogue import native, order
from seqward.errors import Finding
from seqward.inference import screen
from seqward.inference.screen import BLOCK, Screen, settled, table_of

LIBRARY = native.found().library
VARIANTS = ["off", *([] if LIBRARY is None else [name for name, v in LIBRARY.variants.items() if v.runs])]
every_variant = pytest.mark.parametrize("variant", VARIANTS)


@dataclass(frozen=True)
class Recipe:
    """Of a catalogue and a state; in scalars, so that a failure is told in a line."""

    items: int
    width: int
    seed: int
    size: float
    row_size: float
    twins: float | None
    bias: float | None
    dead: int
    excluded: int

    def parts(self) -> tuple[Any, Any, Any, Any]:
        """state, weight, bias, excluded items; rows are twins but for ``twins`` where that is given."""
        rng = np.random.default_rng(self.seed)
        state = (self.size * rng.standard_normal(self.width)).astype(np.float32)
        weight = rng.standard_normal((self.items, self.width))
        if self.twins is not None:
            weight = weight[:1] + self.twins * weight
        weight *= self.row_size * np.exp(rng.standard_normal((self.items, 1)) * (self.twins is None))
        bias = None
        if self.bias is not None:
            bias = (self.bias * rng.standard_normal(self.items)).astype(np.float32)
            bias[rng.integers(self.items, size=self.dead)] = -np.inf
        return state, weight.astype(np.float32), bias, rng.integers(self.items, size=self.excluded)


recipes = st.builds(
    Recipe,
    # Around the sizes of blocks.
    items=st.sampled_from([1, 2, 31, 32, 33, 200, 1000]),
    width=st.sampled_from([16, 32, 48, 64, 80]),
    seed=st.integers(0, 999),
    size=st.sampled_from([0.0, 1e-40, 1e-25, 1e-3, 1.0, 1e10]),
    row_size=st.sampled_from([0.0, 1e-42, 1e-31, 0.01, 1.0]),
    twins=st.sampled_from([None, None, 0.0, 1e-8, 1e-7, 1e-3]),
    bias=st.sampled_from([None, 0.0, 1e-3, 1.0, 3000.0]),
    dead=st.sampled_from([0, 3, 2000]),
    excluded=st.sampled_from([0, 1, 12, 3000]),
)


def expected(scores: Any, excluded: Any, k: int) -> Any:
    """The k best numbers by a stable sort of all scores."""
    scores = scores.copy()
    scores[excluded] = -np.inf
    best = np.argsort(-scores, kind="stable")[:k]
    return best[scores[best] > -np.inf]


@every_variant
@examples(deadline=None, max_examples=80)
@given(recipe=recipes, k=st.sampled_from([1, 3, 20, 500, 2000]))
def test_the_best_are_those_of_the_settled_scores_to_the_bit(variant: str, recipe: Recipe, k: int) -> None:
    state, weight, bias, excluded = recipe.parts()
    scores = settled(state, weight, bias, np.arange(len(weight)))
    with native.using(variant):
        values, items = Screen(weight, bias).topk(state, k, excluded)
    best = expected(scores, excluded, k)
    assert items.tolist() == best.tolist()
    assert values.tobytes() == scores[best].tobytes()


@every_variant
@pytest.mark.parametrize("seed", range(5))
def test_the_best_are_those_of_double_precision_where_gaps_are_clear(variant: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    state, weight = rng.standard_normal(64).astype(np.float32), rng.standard_normal((3000, 64)).astype(np.float32)
    exact = weight.astype(np.float64) @ state
    best = np.argsort(-exact)[:21]
    assert (-np.diff(exact[best]) > 1e-5).all() or seed, "the first seed must be clear"
    with native.using(variant):
        _, items = Screen(weight).topk(state, 20)
    if (-np.diff(exact[best]) > 1e-5).all():
        assert items.tolist() == best[:20].tolist()


@every_variant
@pytest.mark.parametrize("where", [1, 40], ids=["same block", "later block"])
@pytest.mark.parametrize("rounded", ["state", "row"])
def test_the_margin_holds_the_worst_rounding_to_whole_numbers(variant: str, rounded: str, where: int) -> None:
    """The code of (127, .49, ..., .49) is (127, 0, ..., 0): its product with (0, 1, ..., 1) comes out as 0, not 7.35.

    That product is the best item's, and another's, without any rounding, is 6.35: what a random catalogue never shows.
    """
    lost, other = np.full(16, 0.49, dtype=np.float32), np.ones(16, dtype=np.float32)
    lost[0], other[0] = 127, 0
    state, row = (lost, other) if rounded == "state" else (other, lost)
    weight = np.zeros((64, 16), dtype=np.float32)
    weight[0, 0 if rounded == "state" else slice(1, None)] = 0.05 if rounded == "state" else 6.35 / 15
    weight[where] = row
    with native.using(variant):
        values, items = Screen(weight).topk(state, 1)
    assert items.tolist() == [where]
    assert values.tolist() == pytest.approx([7.35])


@every_variant
def test_more_equal_items_than_are_noted_at_a_time(variant: str) -> None:
    """9,000 equal rows: the lowest numbers, though all are candidates to the end; one better one stands last."""
    weight = np.ones((9001, 16), dtype=np.float32)
    weight[9000] += np.float32(2**-20)
    with native.using(variant):
        assert Screen(weight).topk(np.ones(16, dtype=np.float32), 3, np.array([1]))[1].tolist() == [9000, 0, 2]
        assert Screen(weight).topk(np.zeros(16, dtype=np.float32), 3)[1].tolist() == [0, 1, 2]


@every_variant
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("where", ["state", "weight", "bias"])
def test_what_may_not_be_finite_is_refused(variant: str, where: str, bad: float) -> None:
    parts = {"state": np.ones(16), "weight": np.ones((100, 16)), "bias": np.zeros(100)}
    parts[where].reshape(-1)[3 if where == "state" else 35] = bad
    state, weight, bias = (parts[name].astype(np.float32) for name in ("state", "weight", "bias"))
    with native.using(variant):
        asked = Screen(weight, bias)
        if where == "bias" and bad == -np.inf:
            assert asked.topk(state, 100)[1].tolist() == [i for i in range(100) if i != 35]
            return
        with pytest.raises(Finding, match="not finite"):
            asked.topk(state, 5)
        with pytest.raises(Finding, match="not finite"):
            asked.topk(state, 5, among=np.array([1, 2]))


@every_variant
def test_named_candidates_less_the_excluded(variant: str) -> None:
    weight = np.arange(50 * 16, dtype=np.float32).reshape(50, 16)
    with native.using(variant):
        found = Screen(weight).topk(np.ones(16, dtype=np.float32), 3, np.array([7]), np.array([2, 7, 11]))
    assert found[1].tolist() == [11, 2]


@every_variant
def test_the_largest_codes_do_not_overflow(variant: str) -> None:
    """All codes are 127 or -127: sums of four products are 64,516, beyond what two bytes hold."""
    sign = np.where(np.arange(64) % 3 == 0, -1, 1).astype(np.float32)
    weight = np.stack([sign, -sign, np.ones(64, dtype=np.float32)])
    with native.using(variant):
        values, items = Screen(weight).topk(sign, 3)
    assert items.tolist() == [0, 2, 1]
    assert values.tolist() == [64.0, 20.0, -64.0]  # 42 of 64 signs agree with ones


def test_settled_is_that_of_torch_to_the_bit() -> None:
    rng = np.random.default_rng(0)
    for width in (1, 16, 20, 48):
        state, weight = (rng.standard_normal(s).astype(np.float32) for s in (width, (300, width)))
        bias = rng.standard_normal(300).astype(np.float32)
        rows, items = torch.zeros(300, dtype=torch.int64), torch.arange(300)
        theirs = order.settled(*map(torch.from_numpy, (state[None], weight, bias)), rows, items)
        assert settled(state, weight, bias, np.arange(300)).tobytes() == theirs.numpy().tobytes()


def test_the_table_holds_what_its_margins_promise() -> None:
    """Rows again from codes and scales: each is off by no more than the rest of its block says."""
    rng = np.random.default_rng(1)
    weight = (rng.standard_normal((100, 32)) * np.logspace(-40, 3, 100)[:, None]).astype(np.float32)
    table = table_of(weight, None)
    codes = table.codes.swapaxes(1, 2).reshape(-1, 32)[:100].astype(np.float64)
    off = np.linalg.norm(weight - codes * table.scale[:100, None].astype(np.float64), axis=1)
    block = np.arange(100) // BLOCK
    assert (off <= table.residual[block]).all()
    assert (np.linalg.norm(weight.astype(np.float64), axis=1) <= table.norm[block]).all()
    assert (off[90:] < 0.01 * np.linalg.norm(weight[90:], axis=1)).all()


def test_blocks_are_coded_in_parts_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = np.random.default_rng(2).standard_normal((300, 16)).astype(np.float32)
    whole = table_of(weight, None)
    monkeypatch.setattr(screen, "ROWS", 64)
    for one, other in zip(whole, table_of(weight, None), strict=True):
        assert one is other is None or np.array_equal(one, other)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.WARNING, "seqward")
    native.warn_once.cache_clear()
    native.found.cache_clear()
    yield caplog
    native.found.cache_clear()


def test_another_width_is_answered_by_numpy_and_said_once(said: pytest.LogCaptureFixture) -> None:
    weight = np.eye(20, dtype=np.float32)
    for _ in range(2):
        assert Screen(weight).topk(weight[4], 2)[1].tolist() == [4, 0]
    assert said.messages == [
        "inference: a width of 20 is no multiple of 16. NumPy answers instead of the native kernels, exactly and more "
        "slowly."
    ]


@pytest.mark.parametrize("fault", ["none", "empty", "old"])
def test_without_a_library_that_works_numpy_answers(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(native, "__file__", str(tmp_path / "native.py"))
    if fault != "none":
        if LIBRARY is None:
            pytest.skip("no library was built here")
        whole = LIBRARY.file.read_bytes()
        (tmp_path / "_native.abi3.so").write_bytes(whole if fault == "old" else b"")
        monkeypatch.setattr(native, "VERSION", 99)
    weight = np.eye(16, dtype=np.float32)
    for _ in range(2):
        assert Screen(weight).topk(weight[4], 2)[1].tolist() == [4, 0]
    assert sum("NumPy answers instead" in message for message in said.messages) == 1
    assert len(said.messages) == (1 if fault == "none" else 2)


@every_variant
def test_what_does_not_fit_together_is_refused(variant: str) -> None:
    """Before a kernel reads what is not its own."""
    weight = np.ones((50, 16), dtype=np.float32)
    with native.using(variant):
        with pytest.raises(ValueError, match=r"a state \[16\] is expected, as wide as the rows; got \[32\]"):
            Screen(weight).topk(np.ones(32, dtype=np.float32), 3)
        with pytest.raises(ValueError, match=r"50 rows and \[3\] biases do not fit together"):
            Screen(weight, np.zeros(3, dtype=np.float32))


@every_variant
def test_excluded_numbers_of_another_type_are_the_same_items(variant: str) -> None:
    with native.using(variant):
        best = Screen(np.ones((50, 16), np.float32)).topk(np.ones(16, np.float32), 3, np.array([0, 2], np.int32))
    assert best[1].tolist() == [1, 3, 4]
