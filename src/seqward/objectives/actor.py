"""What a critic, or how an item came to be logged, says about the weight of an event in the actor's cross-entropy."""

from __future__ import annotations

import torch
from torch import Tensor


def advantage(q_logged: Tensor, q_others: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    """Q of the logged item less the mean Q of it and the others: SA2C (Xin et al., WSDM 2022).

    Args:
        q_logged: [n]
        q_others: [n, k] Q of items that the user did not choose.
        low: the least that comes back; None for no limit.
        high: the most.

    Returns:
        [n]
    """
    difference = q_logged - (q_logged + q_others.sum(1)) / (1 + q_others.shape[1])
    return difference.clamp(-torch.inf if low is None else low, torch.inf if high is None else high)


def propensity_weight(nll: Tensor, popularity: Tensor, power: float, low: float, high: float) -> Tensor:
    """Importance weight of an event that was logged by popularity, smoothed: SA2C (Xin et al., WSDM 2022).

    It is clip(pi(a) / popularity(a), low, high) ^ power, where pi(a) = exp(-nll).

    Args:
        nll: [n] negative log-likelihood of the logged item under the policy.
        popularity: [n] its share of the log.
        power: 1 for the ratio itself; towards 0 every weight is 1.
        low: of the ratio.
        high: of the ratio.

    Returns:
        [n]
    """
    return (torch.exp(-nll) / popularity).clamp(low, high) ** power
