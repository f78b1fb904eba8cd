"""The k best items of one state, exactly: by a table of bytes and the native kernels, or by a product in NumPy.

Either way a score is what ``catalogue/order.py`` settles it to be, to the bit: what is multiplied otherwise only tells
which items are too far off to be among the k best, within margins that are proved (``native/screen.hpp``).
"""

from __future__ import annotations

from ctypes import byref
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqward.catalogue import native
from seqward.errors import Finding

Floats = NDArray[np.float32]
Items = NDArray[np.int64]
BLOCK = 32
"""``kScreen`` of native/questions.hpp."""
ROWS = 1 << 15
"""Rows coded, and items settled, at a time."""
UNIT, LOST = 2.0**-24, 2.0**-120
"""As in ``order.py``: a rounding in fp32, and what a term loses where it is too small to be kept whole."""
NONE = np.zeros(0, dtype=np.int64)


class Table(NamedTuple):
    """``Table`` of native/questions.hpp: rows in whole numbers, block by block."""

    codes: NDArray[np.int8]
    scale: Floats
    bias: Floats | None
    norm: Floats
    residual: Floats
    offset: Floats


class Screen:
    """A catalogue, made ready once, that any number of states are asked of."""

    def __init__(self, weight: Floats, bias: Floats | None = None) -> None:
        """Args: weight [items, width], bias [items]. Raises ValueError where they do not fit together."""
        self.weight = np.ascontiguousarray(weight, dtype=np.float32)
        self.bias = None if bias is None else np.ascontiguousarray(bias, dtype=np.float32)
        if self.bias is not None and self.bias.shape != self.weight.shape[:1]:
            raise ValueError(f"{len(self.weight)} rows and {list(self.bias.shape)} biases do not fit together")
        self.variant = None if self.width % 16 or not weight.size else native.screening_variant()
        if self.variant is None:
            why = f"a width of {self.width} is no multiple of 16" if self.width % 16 else native.why_none_runs()
            native.warn_once(f"inference: {why}. NumPy answers instead of the native kernels, exactly and more slowly.")
        self.table = None if self.variant is None else table_of(self.weight, self.bias)
        self._norm, self._offset = _largest(self.weight, self.bias)

    @property
    def width(self) -> int:
        return self.weight.shape[1]

    def topk(self, state: Floats, k: int, exclude: Items = NONE, among: Items | None = None) -> tuple[Floats, Items]:
        """(scores, items) of the best candidates in order, at most k; the lower number first among equals.

        Args:
            state: [width].
            exclude: items that are no candidates.
            among: the only candidates, ascending.

        Raises:
            Finding: a score may not be finite.
            ValueError: the state is of another width than the rows.
        """
        state, exclude = np.ascontiguousarray(state, dtype=np.float32), np.asarray(exclude, dtype=np.int64)
        if state.shape != (self.width,):
            raise ValueError(f"a state [{self.width}] is expected, as wide as the rows; got {list(state.shape)}")
        if among is not None:
            self._margin(state)
            return self._settled_best(state, np.setdiff1d(among, exclude), k)
        k = min(k, len(self.weight))
        if self.variant is None or not k:
            return self._by_product(state, k, exclude)
        return self._by_table(state, k, np.unique(exclude) if len(exclude) else NONE)

    def _by_table(self, state: Floats, k: int, exclude: Items) -> tuple[Floats, Items]:
        library, table = native.found().library, self.table
        assert library is not None and table is not None and self.variant is not None
        values, items = np.empty(k, dtype=np.float32), np.empty(k, dtype=np.int64)
        bias = None if self.bias is None else self.bias.ctypes.data
        scores = native.ScoresQuestion(
            state.ctypes.data, self.weight.ctypes.data, bias, 1, len(self.weight), self.width, 1.0
        )
        parts = native.TableQuestion(*(None if part is None else part.ctypes.data for part in table))
        question = native.TopkQuestion(
            scores, parts, exclude.ctypes.data, len(exclude), k, values.ctypes.data, items.ctypes.data
        )
        failed = library.call("topk")(self.variant.number, byref(question), 0, len(table.norm))
        if failed == 1:
            raise MemoryError("no memory for the native kernels' workspace (a hundred kilobytes)")
        if failed:
            raise _not_finite()
        count = int((items >= 0).sum())
        return values[:count], items[:count]

    def _by_product(self, state: Floats, k: int, exclude: Items) -> tuple[Floats, Items]:
        margin = self._margin(state)
        scores = self.weight @ state
        if self.bias is not None:
            scores += self.bias
        scores[exclude] = -np.inf
        floor = np.partition(scores, len(scores) - k)[len(scores) - k] if k else np.inf
        return self._settled_best(state, np.flatnonzero((scores >= floor - 2.1 * margin) & (scores > -np.inf)), k)

    def _settled_best(self, state: Floats, items: Items, k: int) -> tuple[Floats, Items]:
        """The k best of a few items, ascending."""
        scores = settled(state, self.weight, self.bias, items)
        order = np.argsort(-scores, kind="stable")[:k]
        order = order[scores[order] > -np.inf]
        return scores[order], items[order]

    def _margin(self, state: Floats) -> float:
        """How far a product in fp32 may be from the settled score, as ``order.margins`` derives it."""
        bound = float(np.linalg.norm(state.astype(np.float64))) * self._norm + self._offset
        if not bound < float(np.finfo(np.float32).max) / 2:
            raise _not_finite()
        return (self.width + 20) * UNIT * bound + LOST * self.width


def table_of(weight: Floats, bias: Floats | None) -> Table:
    """The rows in whole numbers: row = scale * codes + a rest, whose length is kept, as is the row's."""
    n, width = weight.shape
    blocks = -(-n // BLOCK)
    codes = np.zeros((blocks, width // 4, BLOCK, 4), dtype=np.int8)
    scale, norm, rest = (np.zeros(blocks * BLOCK, dtype=np.float32) for _ in range(3))
    for start in range(0, n, ROWS):
        rows = weight[start : start + ROWS]
        part = slice(start, start + len(rows))
        largest = np.abs(rows).max(1)
        # Too small or no numbers: all zeros, and everything is left over.
        usable = (largest >= 1e-30) & (largest < np.inf)
        scale[part] = np.where(usable, largest / np.float32(127), 0)
        step = np.where(usable, scale[part], 1)[:, None]
        whole = np.rint(np.where(usable[:, None], rows, 0) / step).clip(-127, 127)
        norm[part] = _above(np.linalg.norm(rows.astype(np.float64), axis=1))
        rest[part] = _above(np.linalg.norm(rows - whole.astype(np.float64) * scale[part][:, None], axis=1))
        padded = np.zeros((-(-len(rows) // BLOCK) * BLOCK, width), dtype=np.int8)
        padded[: len(rows)] = whole
        first, many = start // BLOCK, len(padded) // BLOCK
        codes[first : first + many] = padded.reshape(many, BLOCK, width // 4, 4).swapaxes(1, 2)
    biases = None if bias is None else np.concatenate([bias, np.zeros(len(scale) - n, dtype=np.float32)])
    offset = np.zeros(len(scale), dtype=np.float32) if biases is None else _sizes(biases)
    return Table(codes, scale, biases, *(x.reshape(-1, BLOCK).max(1) for x in (norm, rest, offset)))


def settled(state: Floats, weight: Floats, bias: Floats | None, items: Items) -> Floats:
    """[m] the scores of items as every engine compares them: ``order.settled`` to the bit."""
    found = np.empty(len(items), dtype=np.float32)
    for start in range(0, len(items), ROWS):
        some = items[start : start + ROWS]
        terms = state * weight[some]
        terms = np.pad(terms, ((0, 0), (0, (1 << (terms.shape[1] - 1).bit_length()) - terms.shape[1])))
        while terms.shape[1] > 1:
            half = terms.shape[1] // 2
            terms = terms[:, :half] + terms[:, half:]
        found[start : start + ROWS] = terms[:, 0] if bias is None else terms[:, 0] + bias[some]
    return found


def _above(x: NDArray[np.float64]) -> Floats:
    """In fp32, and certainly no smaller."""
    with np.errstate(over="ignore"):
        return (x * (1 + 1e-6) + 1e-44 * (x > 0)).astype(np.float32)


def _sizes(bias: Floats) -> Floats:
    """The size of each bias, 0 of -inf; inf where it is no number or +inf, so that it is refused."""
    return np.where(bias == -np.inf, 0, np.where(np.isnan(bias), np.inf, np.abs(bias))).astype(np.float32)


def _largest(weight: Floats, bias: Floats | None) -> tuple[float, float]:
    """The length of the longest row and the largest size of a bias; NaN carries on."""
    parts = (weight[start : start + ROWS].astype(np.float64) for start in range(0, len(weight), ROWS))
    longest = float(np.max([0.0, *(np.linalg.norm(part, axis=1).max() for part in parts)]))
    return longest, 0.0 if bias is None or not len(bias) else float(_sizes(bias).max())


def _not_finite() -> Finding:
    return Finding(
        "scores that are not finite: the model has diverged. Lower the learning rate, or take an earlier checkpoint."
    )
