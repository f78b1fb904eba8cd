"""How much an event counts in the policy's cross-entropy: by what followed it, or by how far it beat the policy.

Weights are constants to the loss; ``supervised.weighted`` sees to that.
"""

from __future__ import annotations

import torch
from torch import Tensor


def capped_ratio(nll: Tensor, nll_behaviour: Tensor, cap: float) -> Tensor:
    """min(pi / beta, cap) of the logged item (Chen et al., WSDM 2019, section 4.4, weight capping).

    Args:
        nll: [n] its negative log-likelihood under the policy.
        nll_behaviour: [n] and under the policy that acted.

    Returns:
        [n]
    """
    return torch.exp(nll_behaviour - nll).clamp(max=cap)


def top_k(nll: Tensor, k: int) -> Tensor:
    """lambda_K = K (1 - pi)^(K - 1): what one more draw of the item adds to a slate of K (Chen et al., section 4.3).

    1 for K = 1. For larger K it is about K where the policy hardly shows the item, and 0 where it is sure of it.

    Args:
        nll: [n] negative log-likelihood of the logged item under the policy.

    Returns:
        [n]
    """
    return k * (-torch.expm1(-nll)) ** (k - 1)


def advantage(q_logged: Tensor, q_sampled: Tensor) -> Tensor:
    """Q of the logged item less the mean Q of items drawn from the policy (CRR: Wang et al., NeurIPS 2020, "mean").

    Args:
        q_logged: [n]
        q_sampled: [n, m]

    Returns:
        [n]
    """
    return q_logged - q_sampled.mean(1)


def exponential(advantage: Tensor, cap: float) -> Tensor:
    """min(exp(advantage), cap), the advantage in units of the temperature: the weight of CRR, AWR and IQL.

    Args:
        advantage: [n]

    Returns:
        [n]
    """
    return torch.exp(advantage).clamp(max=cap)


def positive(advantage: Tensor) -> Tensor:
    """1 where the advantage is above 0, else 0: CRR's other weight.

    Args:
        advantage: [n]

    Returns:
        [n]
    """
    return (advantage > 0).to(advantage.dtype)


def advantage_over_negatives(q_logged: Tensor, q_others: Tensor, low: float | None, high: float | None) -> Tensor:
    """Q of the logged item less the mean Q of it and the others: SA2C (Xin et al., WSDM 2022).

    Args:
        q_logged: [n]
        q_others: [n, k] Q of items that the user did not choose.
        low: the least that comes back; None for no limit.
        high: the most.

    Returns:
        [n]
    """
    difference = advantage(q_logged, torch.cat([q_logged[:, None], q_others], dim=1))
    return difference.clamp(-torch.inf if low is None else low, torch.inf if high is None else high)


def propensity_weight(nll: Tensor, popularity: Tensor, power: float, low: float, high: float) -> Tensor:
    """clip(pi / popularity, low, high) ^ power of the logged item: SA2C's smoothed correction (Xin et al., WSDM 2022).

    Args:
        nll: [n] its negative log-likelihood under the policy.
        popularity: [n] its share of the log, taken for the policy that acted.
        power: 1 for the ratio itself; towards 0 every weight is 1.

    Returns:
        [n]
    """
    return capped_ratio(nll, -popularity.log(), high).clamp(min=low) ** power
