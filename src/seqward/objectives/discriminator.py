"""A judge of states and items, and the reward that it gives: what users do is told from what they do not."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus


def judged(real: Tensor, fake: Tensor) -> Tensor:
    """-log D(real) - mean of log(1 - D(fake)): binary cross-entropy (Goodfellow et al. 2014; Ho & Ermon 2016).

    Both sides weigh the same, so a judge that cannot tell says D = 1/2.

    Args:
        real: [n] logits of what was logged.
        fake: [n, k] logits of what was not.

    Returns:
        [n]
    """
    return softplus(-real) + softplus(fake).mean(1)


def likeness(logit: Tensor) -> Tensor:
    """D itself as the reward, in [0, 1]; 1/2 from a judge that cannot tell. A constant.

    Args:
        logit: [n]

    Returns:
        [n]
    """
    return torch.sigmoid(logit).detach()


def imitation(logit: Tensor) -> Tensor:
    """min(-log(1 - D), 1) as the reward, in [0, 1]: that of GAIL (Ho & Ermon 2016), cut off where D is above 1 - 1/e.

    log 2 from a judge that cannot tell. A constant.

    Args:
        logit: [n]

    Returns:
        [n]
    """
    return softplus(logit).clamp(max=1.0).detach()
