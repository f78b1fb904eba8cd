"""Keeping Q low where the log says nothing (Kumar et al. 2020; Eq. 2 of the paper, second line)."""

from __future__ import annotations

import torch
from torch import Tensor


def gap(q_logged: Tensor, q_others: Tensor, temperature: float) -> Tensor:
    """``t * logsumexp(Q / t) - Q(logged)`` over the logged item and the given others. Never negative.

    Over *all* items it is the catalogue's question ``nll(item, temperature)``.

    Args:
        q_logged: [n]
        q_others: [n, k] Q of items that the user did not choose.
        temperature: towards 0 the log-sum-exp becomes the maximum.

    Returns:
        [n]
    """
    q = torch.cat([q_logged[:, None], q_others], dim=1)
    return temperature * torch.logsumexp(q / temperature, dim=1) - q_logged


def gap_as_released(q_logged: Tensor, q_greedy_next: Tensor, greedy_next: Tensor, temperature: float) -> Tensor:
    """What the code released with SASRec-CCQL computes in place of ``gap`` (see docs/paper-differences.md).

    The third entry of its log-sum-exp is the *number* of the greedy next item, not a Q-value. Item numbers dwarf Q,
    so for a number above about 20 the gradient is -1 on the logged Q and 0 elsewhere: a push up, on data only.

    Args:
        q_logged: [n] Q(s, a).
        q_greedy_next: [n] Q(s, a*), where a* is greedy at the next state.
        greedy_next: [n] the number of a*.
        temperature: as in ``gap``.

    Returns:
        [n]
    """
    entries = torch.stack([q_greedy_next, q_logged, greedy_next.to(q_logged.dtype)], dim=1)
    return temperature * torch.logsumexp(entries / temperature, dim=1) - q_logged
