"""Synthetic events of RetailRocket's shape: its catalogue, its lengths of sessions, items by popularity."""

from __future__ import annotations

import numpy as np

from seqward import Dataset
from seqward.data.dataset import TRAIN
from seqward.data.simulate import draw_lengths
from seqward.data.world import PRESETS, RETAILROCKET_ITEMS


def retailrocket_shape(sessions: int, n_items: int = RETAILROCKET_ITEMS, seed: int = 0) -> Dataset:
    """Sessions for training; what follows what carries no meaning, which no measurement of speed needs."""
    rng = np.random.default_rng(seed)
    settings = PRESETS["retailrocket"]
    lengths = rng.permutation(draw_lengths(settings, sessions, rng))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    chances = 1 / np.arange(1, n_items + 1) ** settings.zipf
    item = rng.choice(n_items, offsets[-1], p=chances / chances.sum()).astype(np.int32)
    cart = rng.random(len(item)) < settings.carts
    return Dataset(
        item=item,
        reward=np.where(cart, 1.0, 0.2).astype(np.float32),
        goal=cart,
        event_type=cart.astype(np.int16),
        split=np.full(len(item), TRAIN, dtype=np.uint8),
        offsets=offsets,
        item_ids=np.arange(n_items),
        n_items=n_items,
        session_ids=np.arange(sessions),
        user_ids=None,
        event_types=("view", "addtocart"),
        protocol={},
    )
