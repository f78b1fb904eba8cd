"""Next-item prediction. The cross-entropy itself is the catalogue's question ``nll(item)`` at temperature 1."""

from __future__ import annotations

from torch import Tensor


def weighted(weight: Tensor, nll: Tensor) -> Tensor:
    """Cross-entropy in which each event counts ``weight`` times: the actor of SAC (Xin et al. 2020, Eq. 7).

    Args:
        weight: [n], taken as a constant. It may be negative, and then pushes the item's probability down.
        nll: [n] negative log-likelihood of the logged item.

    Returns:
        [n]
    """
    return weight.detach() * nll


def batch_weighted(weight: Tensor, nll: Tensor) -> Tensor:
    """Cross-entropy times the *mean* weight of the batch: what the code released with SASRec-CCQL computes.

    Its mean is mean(weight) * mean(nll), so which events carry the value makes no difference. Args as ``weighted``.
    """
    return weight.detach().mean() * nll
