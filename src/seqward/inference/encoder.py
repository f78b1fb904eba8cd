"""SASRec's state after the last item of one history, in NumPy.

The equations are those of ``backbones/sasrec.py``. There is no padding, since there is one history; and in the last
block only the last slot is asked for, so that attention has one query.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
EPS = 1e-8
"""Of the norms, as in ``backbones/sasrec.py``."""
PARTS = ("norm_attention", "norm_feed", "query", "key", "value", "feed_1", "feed_2")
SETTINGS = ("n_factors", "n_blocks", "n_heads", "session_max_len", "residual", "scale_embedding", "projection")


class Encoder:
    """Weights of SASRec as a run holds them, ready to read one history after the other."""

    def __init__(self, weights: Mapping[str, Array], settings: Mapping[str, Any]) -> None:
        """Args: weights by their names in the run, settings of its section "backbone"."""
        self.weights, self.heads = weights, settings["n_heads"]
        self.items, self.positions = weights["backbone.items.weight"], weights["backbone.positions.weight"]
        self.context, self.width = settings["session_max_len"], settings["n_factors"]
        self.n_blocks, self.projection = settings["n_blocks"], settings["projection"]
        self.own = np.float32(2.0 if settings["residual"] == "double" else 1.0)
        self.size = np.float32(self.width**0.5 if settings["scale_embedding"] else 1.0)
        self.start = len(self.items) - 2  # see ``Vocabulary``

    def state(self, history: NDArray[np.int64]) -> Array:
        """[width] of item numbers, of which the last ``context`` are read."""
        slots = np.concatenate(([self.start], history[-self.context :]))
        x = self.items[slots] * self.size + self.positions[: len(slots)]
        for block in range(self.n_blocks - 1):
            x = self._block(block, x, x)
        x = self._block(self.n_blocks - 1, x, x[-1:])
        return self._norm("norm", x)[0]

    def _block(self, block: int, x: Array, asked: Array) -> Array:
        """[Q, width] what a block makes of all of x [S, width] or of its last slot: ``Block.forward``."""
        name = f"blocks.{block}."
        q = self._norm(name + "norm_attention", asked)
        attended = self._attended(
            self._linear(name + "query", q), *(self._linear(name + n, x) for n in ("key", "value"))
        )
        if self.projection:
            attended = self._linear(name + "projection", attended)
        x = self._norm(name + "norm_feed", self.own * q + attended)
        return x + self._linear(name + "feed_2", np.maximum(self._linear(name + "feed_1", x), 0))

    def _attended(self, queries: Array, keys: Array, values: Array) -> Array:
        """[Q, width] softmax(Q K' / sqrt(width of a head)) V, head by head; the last Q slots ask."""
        width = self.width // self.heads
        queries, keys, values = (x.reshape(len(x), self.heads, width).swapaxes(0, 1) for x in (queries, keys, values))
        fits = queries @ keys.swapaxes(1, 2) * np.float32(width**-0.5)
        if fits.shape[1] > 1:
            fits = np.where(np.tri(fits.shape[1], dtype=bool), fits, np.float32(-np.inf))
        shares = np.exp(fits - fits.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        return (shares @ values).swapaxes(0, 1).reshape(-1, self.width)

    def _linear(self, name: str, x: Array) -> Array:
        return x @ self.weights[f"backbone.{name}.weight"].T + self.weights[f"backbone.{name}.bias"]

    def _norm(self, name: str, x: Array) -> Array:
        x = x - x.mean(-1, keepdims=True)
        x /= np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(EPS))
        return x * self.weights[f"backbone.{name}.weight"] + self.weights[f"backbone.{name}.bias"]


def names_of(settings: Mapping[str, Any]) -> set[str]:
    """The weights of SASRec with these settings, without ``backbone.`` in front."""
    parts = (*PARTS, *(("projection",) if settings["projection"] else ()))
    layers = ["norm", *(f"blocks.{block}.{part}" for block in range(settings["n_blocks"]) for part in parts)]
    return {"items.weight", "positions.weight", *(f"{layer}.{n}" for layer in layers for n in ("weight", "bias"))}
