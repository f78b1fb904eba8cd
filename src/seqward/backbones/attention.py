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

    def forward(self, x: Tensor, visible: Tensor | None) -> Tensor:
        """x [B, S, width]; visible as in ``attend``."""
        rate = self.rate if self.training else 0.0
        return self.projection(attend(self.query(x), self.key(x), self.value(x), self.n_heads, visible, rate))


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
