"""Triton kernels for the catalogue: tiles of scores that live in registers. Imported where a GPU asks, never before.

``gpu.py`` asks them. A program answers for ROWS states and a part of the catalogue, or for a tile of items and every
state; it multiplies a tile at a time, reads it and forgets it. States come multiplied by log2(e) / t, so that
exponentials are powers of 2, and so does the bias; WIDTH is the width filled up to a power of 2.

``TRITON_INTERPRET=1``, set before this is imported, runs them on a processor, in NumPy and slowly: for tests.
"""

# Triton reads annotations as they stand, so they are not postponed here. It is optional.
# pyright: reportMissingImports=false
import os

import triton
import triton.language as tl

INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")
"""The interpreter has no products in bfloat16: there the same rounded numbers are multiplied in fp32."""


@triton.jit
def _tile(table, number, inside, width, WIDTH: tl.constexpr):
    """[numbers, WIDTH] rows of a table [., width]; 0 outside."""
    column = tl.arange(0, WIDTH)
    places = table + number[:, None].to(tl.int64) * width + column[None, :]
    rows = tl.load(places, mask=inside[:, None] & (column[None, :] < width), other=0.0)
    if INTERPRETED:
        rows = rows.to(tl.float32)
    return rows


@triton.jit
def _scores(h, w, bias, item, items, BIAS: tl.constexpr):
    """[ROWS, ITEMS] of states h and rows w; -inf behind the catalogue's end. Products of fp32 are in fp32."""
    s = tl.dot(h, tl.trans(w), input_precision="ieee")
    if BIAS:
        s += tl.load(bias + item, mask=item < items, other=0.0)[None, :]
    return tl.where((item < items)[None, :], s, float("-inf"))


@triton.jit
def sums(
    states, weight, bias, largest, total, mean, rows, items, each, width,
    WIDTH: tl.constexpr, ROWS: tl.constexpr, ITEMS: tl.constexpr, BIAS: tl.constexpr, MEAN: tl.constexpr,
):  # fmt: skip
    """Of one part of the catalogue: the largest score, the sum of 2^(score - largest), and of that times the rows.

    largest and total are [parts, rows], mean [parts, rows, width]: attention, with the items as keys and values.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    part = tl.program_id(1)
    h = _tile(states, row, row < rows, width, WIDTH)
    best = tl.full([ROWS], float("-inf"), tl.float32)
    sum_ = tl.zeros([ROWS], tl.float32)
    rows_of = tl.zeros([ROWS, WIDTH], tl.float32)
    for start in range(part * each, tl.minimum((part + 1) * each, items), ITEMS):
        item = start + tl.arange(0, ITEMS)
        w = _tile(weight, item, item < items, width, WIDTH)
        s = _scores(h, w, bias, item, items, BIAS)
        higher = tl.maximum(best, tl.max(s, 1))
        # Finite where no item is a candidate: -inf less -inf would be NaN.
        shift = tl.where(higher == float("-inf"), 0.0, higher)
        p = tl.exp2(s - shift[:, None])
        fade = tl.exp2(best - shift)
        sum_ = sum_ * fade + tl.sum(p, 1)
        if MEAN:
            rows_of = tl.dot(p.to(w.dtype), w, rows_of * fade[:, None], input_precision="ieee")
        best = higher
    place = part.to(tl.int64) * rows + row
    tl.store(largest + place, best, mask=row < rows)
    tl.store(total + place, sum_, mask=row < rows)
    if MEAN:
        column = tl.arange(0, WIDTH)
        places = mean + place[:, None] * width + column[None, :]
        tl.store(places, rows_of, mask=(row < rows)[:, None] & (column < width)[None, :])


@triton.jit
def spread(
    states, weight, bias, total, weighted, grad, grad_weight, grad_bias, rows, items, width,
    WIDTH: tl.constexpr, ROWS: tl.constexpr, ITEMS: tl.constexpr, BIAS: tl.constexpr,
):  # fmt: skip
    """The gradients of a tile of items: softmax.T @ weighted, and softmax.T @ grad.

    total [rows] is the logarithm of the whole sum, weighted [rows, width] the states times grad [rows].
    """
    item = tl.program_id(0) * ITEMS + tl.arange(0, ITEMS)
    w = _tile(weight, item, item < items, width, WIDTH)
    into_rows = tl.zeros([ITEMS, WIDTH], tl.float32)
    into_bias = tl.zeros([ITEMS], tl.float32)
    for start in range(0, rows, ROWS):
        row = start + tl.arange(0, ROWS)
        inside = row < rows
        h = _tile(states, row, inside, width, WIDTH)
        s = _scores(h, w, bias, item, items, BIAS)
        whole = tl.load(total + row, mask=inside, other=float("inf"))  # what is no row has no share
        whole = tl.where(whole == float("-inf"), 0.0, whole)
        p = tl.exp2(s - whole[:, None])
        g = _tile(weighted, row, inside, width, WIDTH)
        into_rows = tl.dot(tl.trans(p).to(g.dtype), g, into_rows, input_precision="ieee")
        if BIAS:
            into_bias += tl.sum(p * tl.load(grad + row, mask=inside, other=0.0)[:, None], 0)
    column = tl.arange(0, WIDTH)
    places = grad_weight + item[:, None].to(tl.int64) * width + column[None, :]
    tl.store(places, into_rows, mask=(item < items)[:, None] & (column < width)[None, :])
    if BIAS:
        tl.store(grad_bias + item, into_bias, mask=item < items)


@triton.jit
def maxima(
    states, weight, bias, best, rows, items, each, width, blocks,
    WIDTH: tl.constexpr, ROWS: tl.constexpr, ITEMS: tl.constexpr, BIAS: tl.constexpr,
):  # fmt: skip
    """[rows, blocks] the largest score of each block of ITEMS items."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    part = tl.program_id(1)
    h = _tile(states, row, row < rows, width, WIDTH)
    for start in range(part * each, tl.minimum((part + 1) * each, items), ITEMS):
        item = start + tl.arange(0, ITEMS)
        w = _tile(weight, item, item < items, width, WIDTH)
        s = _scores(h, w, bias, item, items, BIAS)
        tl.store(best + row.to(tl.int64) * blocks + start // ITEMS, tl.max(s, 1), mask=row < rows)


@triton.jit
def compare(
    states, weight, bias, target, low, high, better, found, close_rows, close_items, rows, items, each, width, room,
    WIDTH: tl.constexpr, ROWS: tl.constexpr, ITEMS: tl.constexpr, BIAS: tl.constexpr,
):  # fmt: skip
    """[parts, rows] how many items beat the target for certain; those for which the product does not say go on a list.

    Certain is what is above ``high``; open is what is above ``low`` and not above ``high``. Where the two are equal the
    products are exact, and equal scores are decided by number. ``found`` counts on where the list's room ends.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    part = tl.program_id(1)
    inside = row < rows
    h = _tile(states, row, inside, width, WIDTH)
    least = tl.load(low + row, mask=inside, other=float("inf"))
    most = tl.load(high + row, mask=inside, other=float("inf"))
    own = tl.load(target + row, mask=inside, other=0)
    count = tl.zeros([ROWS], tl.int32)
    for start in range(part * each, tl.minimum((part + 1) * each, items), ITEMS):
        item = start + tl.arange(0, ITEMS)
        w = _tile(weight, item, item < items, width, WIDTH)
        s = _scores(h, w, bias, item, items, BIAS)
        exact = (least == most)[:, None]
        equal = exact & (s == most[:, None]) & (item[None, :] < own[:, None])
        count += tl.sum(((s > most[:, None]) | equal).to(tl.int32), 1)
        near = (s > least[:, None]) & (s <= most[:, None]) & (item[None, :] != own[:, None])
        if tl.max(tl.max(near.to(tl.int32), 1), 0) > 0:
            nothing = tl.zeros([ROWS, ITEMS], tl.int32)
            place = tl.atomic_add(found + nothing, nothing + 1, mask=near)
            keep = near & (place < room)
            tl.store(close_rows + place, nothing + row[:, None], mask=keep)
            tl.store(close_items + place, nothing + item[None, :], mask=keep)
    tl.store(better + part.to(tl.int64) * rows + row, count, mask=inside)
