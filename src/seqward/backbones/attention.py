"""Attention, as every transformer here has it: who may read whom, and what is read."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from seqward.backbones.dropout import dropout


def attend(queries: Tensor, keys: Tensor, values: Tensor, n_heads: int, visible: Tensor | None, rate: float) -> Tensor:
    """softmax(Q K' / sqrt(width of a head)) V, head by head (Vaswani et al. 2017, Eq. 1).

    Args:
        queries: [B, Q, width], the heads side by side: of all slots, or of some.
        keys, values: [B, S, width].
        visible: [B, 1, Q, S] which slots each query may read; None for plain causal attention of all slots.
        rate: dropout on the attention's weights.

    Returns:
        [B, Q, width]
    """
    queries, keys, values = (x.unflatten(-1, (n_heads, -1)).transpose(1, 2) for x in (queries, keys, values))
    if rate and queries.device.type == "cpu":
        attended = dropout(_weights(queries, keys, visible), rate) @ values
    else:
        attended = scaled_dot_product_attention(
            queries, keys, values, attn_mask=visible, dropout_p=rate, is_causal=visible is None
        )
    return attended.transpose(1, 2).flatten(2)


FULL = 0.9
"""Share of slots that hold something from which on to skip the others costs more than it saves."""


class Slots:
    """Which slots of histories [B, S] hold something; the n that do, side by side, are all that is read slot by slot.

    On a GPU every slot counts, padding or not: it has room for that, and would have to wait until n is known.
    """

    packs = True
    """Off to count every slot on a processor, too."""

    def __init__(self, real: Tensor) -> None:
        """``real`` [B, S] where there is no padding."""
        self.real, on_cpu = real, real.device.type == "cpu"
        held = int(real.sum()) / max(real.numel(), 1) if on_cpu else 0.0
        self.whole = held == 1.0
        self.places = real.flatten().nonzero()[:, 0] if on_cpu and self.packs and held < FULL else None

    def packed(self, x: Tensor) -> Tensor:
        """[B, S, ...] -> [n, ...]"""
        x = x.flatten(0, 1)
        return x if self.places is None else x.index_select(0, self.places)

    def positions(self, last: int) -> Tensor:
        """[n] the place of each in its history; ``last`` is the last there is."""
        slots = torch.arange(self.real.shape[1], device=self.real.device)
        return self.packed(slots.clamp(max=last).expand(self.real.shape))

    def spread(self, x: Tensor, padding: Tensor | float | None = None) -> Tensor:
        """[n, width] -> [B, S, width], with ``padding``, a number or [width], where there is nothing; else anything."""
        if self.places is not None:
            empty = torch.as_tensor(0.0 if padding is None else padding, dtype=x.dtype)
            every = empty.expand(self.real.numel(), x.shape[-1]).index_copy(0, self.places, x)
            return every.unflatten(0, self.real.shape)
        x = x.unflatten(0, self.real.shape)
        return x if padding is None or self.whole else torch.where(self.real[:, :, None], x, padding)


def _weights(queries: Tensor, keys: Tensor, visible: Tensor | None) -> Tensor:
    """[B, heads, Q, S] softmax(Q K' / sqrt(width of a head)), what torch writes, too, where it is to drop some."""
    if visible is None:
        slots = queries.shape[-2]
        visible = torch.ones(slots, slots, dtype=torch.bool, device=queries.device).tril()
    scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
    # Added, since to fill would copy the scores, and their gradient once more.
    hidden = scores.new_zeros(visible.shape).masked_fill_(~visible, -torch.inf)
    return (scores + hidden).softmax(-1)


class SelfAttention(nn.Module):
    """Queries, keys and values of the same states, and a layer over the heads' answers."""

    def __init__(self, width: int, n_heads: int, dropout_rate: float) -> None:
        super().__init__()
        self.n_heads, self.rate = n_heads, dropout_rate
        self.query, self.key, self.value, self.projection = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor, slots: Slots, visible: Tensor | None) -> Tensor:
        """x [n, width]; visible as in ``attend``."""
        rate = self.rate if self.training else 0.0
        queries, keys, values = (slots.spread(layer(x)) for layer in (self.query, self.key, self.value))
        return self.projection(slots.packed(attend(queries, keys, values, self.n_heads, visible, rate)))


def refuse_heads(n_factors: int, n_heads: int) -> None:
    """Raises ValueError where the heads do not divide the width."""
    if n_factors % n_heads:
        raise ValueError(f"n_factors {n_factors} is not a multiple of n_heads {n_heads}")


def attention_mask(items: Tensor, pad: int, causal: bool) -> Tensor | None:
    """Which slots each slot may read, [B, 1, S, S]; None where the causal order alone says it.

    With padding only on the right no real slot can see any, so no mask is needed and the fast path is taken.
    """
    padding = items == pad
    if causal and not bool((padding[:, :-1] & ~padding[:, 1:]).any()):
        return None
    slots = items.shape[1]
    itself = torch.eye(slots, dtype=torch.bool, device=items.device)
    order = torch.ones_like(itself).tril() if causal else torch.ones_like(itself)
    # A slot always reads itself: a row that reads nothing would be NaN.
    return ((order & ~padding[:, None, :]) | itself)[:, None]
