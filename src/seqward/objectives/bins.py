"""Q as the mean of a distribution over bins, learned by cross-entropy (HL-Gauss: Farebrother et al., ICML 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

SPREAD = 0.75
"""Standard deviation of a target's histogram, in bins; the source's."""


def histogram(target: Tensor, low: float, high: float, bins: int) -> Tensor:
    """The share of N(target, (SPREAD bins)^2) in each of the bins that part [low, high], made to sum to 1.

    Its mean is the target, but within two bins of an end, where what would lie beyond is left out: .69 bins inside
    at the end itself.

    Args:
        target: [...] between low and high.

    Returns:
        [..., bins]
    """
    edges = torch.linspace(low, high, bins + 1, dtype=target.dtype, device=target.device)
    below = torch.special.ndtr((edges - target[..., None]) * (bins / (high - low) / SPREAD))
    mass = below.diff(dim=-1)
    return mass / mass.sum(-1, keepdim=True)


def centres(bins: int, like: Tensor) -> Tensor:
    """[bins] the middles of equal bins that part [-1, 1]."""
    return (torch.arange(bins, dtype=like.dtype, device=like.device) * 2 + 1) / bins - 1


def tilted(shape: Tensor, score: Tensor) -> Tensor:
    """Log-probabilities of bins: softmax of a shape, tilted towards high bins by a score.

    ``p_b ∝ exp(shape_b + score c_b)`` with c from ``centres``. Its mean rises with the score whatever the shape, since
    the derivative is the variance; so the best of several scores on one shape has the highest mean.

    Args:
        shape: [..., bins]
        score: [...]

    Returns:
        [..., bins]
    """
    return torch.log_softmax(shape + score[..., None] * centres(shape.shape[-1], shape), -1)


def mean(log_p: Tensor, low: float, high: float) -> Tensor:
    """[..., bins] -> [...] the mean of the distribution, where the bins part [low, high]."""
    at = (low + high) / 2 + (high - low) / 2 * centres(log_p.shape[-1], log_p)
    return (log_p.exp() * at).sum(-1)


def cross_entropy(log_p: Tensor, target: Tensor, low: float, high: float) -> Tensor:
    """Cross-entropy of the target's histogram.

    Of ``tilted`` bins the derivative by the score is the difference of the two means (in halves of the range), so at
    the minimum Q is the mean of the targets, whatever the shape; and no target pulls more than 2.

    Args:
        log_p: [..., bins]
        target: [...] taken as a constant; clipped to [low, high].

    Returns:
        [...]
    """
    aim = histogram(target.detach().clamp(low, high), low, high, log_p.shape[-1])
    return -(aim * log_p).sum(-1)
