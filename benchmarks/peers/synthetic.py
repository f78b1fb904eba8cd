"""The data that all contestants get: sessions of a shape's lengths, items by popularity, the same bits for all.

What follows what carries no meaning, which no measurement of speed needs. Every item occurs before the last event of a
session, so that all of them stand in every peer's catalogue although each holds the last one out.
"""

from __future__ import annotations

import numpy as np

from peers.tasks import Shape
from seqward.data.simulate import draw_lengths
from seqward.data.world import PRESETS

POPULARITY = 0.9
"""Exponent of Zipf's law."""
MOVIELENS = (20, 96.0, 1.04, 2314)
"""Events of a user: the fewest, the median, the spread of the logarithm, the most."""


def sessions_of(shape: Shape, seed: int = 0) -> dict[str, np.ndarray]:
    """``items`` [events] int64 from 0 on, ``offsets`` [sessions + 1] where each session starts.

    Raises:
        ValueError: too few events for every item to occur.
    """
    rng = np.random.default_rng(seed)
    lengths = rng.permutation(_lengths(shape, rng))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    learned = np.delete(np.arange(offsets[-1]), offsets[1:] - 1)
    if len(learned) < shape.items:
        raise ValueError(f"{len(learned)} events to learn from cannot hold {shape.items} items")
    chances = 1 / np.arange(1, shape.items + 1) ** POPULARITY
    items = rng.choice(shape.items, offsets[-1], p=chances / chances.sum())
    items[rng.choice(learned, shape.items, replace=False)] = np.arange(shape.items)
    return {"items": rng.permutation(shape.items)[items], "offsets": offsets}


def _lengths(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    if shape.lengths == "retailrocket":
        return draw_lengths(PRESETS["retailrocket"], shape.sessions, rng)
    least, median, spread, most = MOVIELENS
    return np.clip(np.exp(np.log(median) + spread * rng.standard_normal(shape.sessions)), least, most).astype(np.int64)
