"""SASRec's state after the last item of one history, in NumPy.

The equations are those of ``backbones/sasrec.py``. There is no padding, since there is one history; and in the last
block only the last slot is asked for, so that attention has one query. So small a network takes as long as it has calls
to NumPy, whatever they compute: hence weights that are turned over and joined once, and sums by ``reduce``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
EPS = np.float32(1e-8)
"""Of the norms, as in ``backbones/sasrec.py``."""
PARTS = ("norm_attention", "norm_feed", "query", "key", "value", "feed_1", "feed_2")
SETTINGS = ("n_factors", "n_blocks", "n_heads", "session_max_len", "residual", "scale_embedding", "projection")


class Encoder:
    """Weights of SASRec as a run holds them, ready to read one history after the other."""

    def __init__(self, weights: Mapping[str, Array], settings: Mapping[str, Any]) -> None:
        """Args: weights by their names in the run, settings of its section "backbone"."""
        self.items, self.positions = weights["backbone.items.weight"], weights["backbone.positions.weight"]
        self.context = settings["session_max_len"]
        self.size = np.float32(settings["n_factors"] ** 0.5 if settings["scale_embedding"] else 1.0)
        self.start = np.array([len(self.items) - 2])  # see ``Vocabulary``
        self.blocks = [Block(weights, f"backbone.blocks.{n}.", settings) for n in range(settings["n_blocks"])]
        self.norm = Norm(weights, "backbone.norm")

    def state(self, history: NDArray[np.int64]) -> Array:
        """[width] of item numbers, of which the last ``context`` are read."""
        x = self.items[np.concatenate((self.start, history[-self.context :]))]
        x *= self.size
        x += self.positions[: len(x)]
        for block in self.blocks[:-1]:
            x = block(x, x)
        return self.norm(self.blocks[-1](x, x[-1:]))[0]


class Block:
    """Attention and feed-forward with their residuals."""

    def __init__(self, weights: Mapping[str, Array], name: str, settings: Mapping[str, Any]) -> None:
        self.heads, self.width = settings["n_heads"], settings["n_factors"]
        self.own = np.float32(2.0 if settings["residual"] == "double" else 1.0)
        self.scale = np.float32((self.width // self.heads) ** -0.5)
        self.norm_attention, self.norm_feed = (Norm(weights, name + part) for part in ("norm_attention", "norm_feed"))
        self.query, self.key_value = Linear(weights, name + "query"), Linear(weights, name + "key", name + "value")
        self.projection = Linear(weights, name + "projection") if settings["projection"] else None
        self.feed_1, self.feed_2 = (Linear(weights, name + part) for part in ("feed_1", "feed_2"))

    def __call__(self, x: Array, asked: Array) -> Array:
        """[Q, width] what the block makes of all of x [S, width] or of its last slot: ``Block.forward``."""
        q = self.norm_attention(asked)
        attended = self._attended(self.query(q), self.key_value(x))
        if self.projection:
            attended = self.projection(attended)
        x = self.norm_feed(self.own * q + attended)
        hidden = self.feed_1(x)
        return x + self.feed_2(np.maximum(hidden, 0, out=hidden))

    def _attended(self, queries: Array, keys_values: Array) -> Array:
        """[Q, width] softmax(Q K' / sqrt(width of a head)) V, head by head; the last Q slots ask."""
        slots = len(keys_values)
        both = keys_values.reshape(slots, 2, self.heads, -1).transpose(1, 2, 0, 3)
        fits = queries.reshape(len(queries), self.heads, -1).swapaxes(0, 1) @ both[0].swapaxes(1, 2)
        fits *= self.scale
        if len(queries) > 1:
            fits[:, ~np.tri(slots, dtype=bool)] = -np.inf
        fits -= np.maximum.reduce(fits, -1, keepdims=True)
        shares = np.exp(fits, out=fits)
        shares /= np.add.reduce(shares, -1, keepdims=True)
        return (shares @ both[1]).swapaxes(0, 1).reshape(-1, self.width)


class Linear:
    """x W' + b; of several layers that read the same x, side by side."""

    def __init__(self, weights: Mapping[str, Array], *names: str) -> None:
        self.weight = np.ascontiguousarray(np.concatenate([weights[f"{name}.weight"] for name in names]).T)
        self.bias = np.concatenate([weights[f"{name}.bias"] for name in names])

    def __call__(self, x: Array) -> Array:
        out = x @ self.weight
        out += self.bias
        return out


class Norm:
    """Layer norm over the last axis."""

    def __init__(self, weights: Mapping[str, Array], name: str) -> None:
        self.weight, self.bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        self.share = np.float32(1 / len(self.weight))

    def __call__(self, x: Array) -> Array:
        x = x - np.add.reduce(x, -1, keepdims=True) * self.share
        x /= np.sqrt(np.add.reduce(x * x, -1, keepdims=True) * self.share + EPS)
        x *= self.weight
        x += self.bias
        return x


def names_of(settings: Mapping[str, Any]) -> set[str]:
    """The weights of SASRec with these settings, without ``backbone.`` in front."""
    parts = (*PARTS, *(("projection",) if settings["projection"] else ()))
    layers = ["norm", *(f"blocks.{block}.{part}" for block in range(settings["n_blocks"]) for part in parts)]
    return {"items.weight", "positions.weight", *(f"{layer}.{n}" for layer in layers for n in ("weight", "bias"))}
