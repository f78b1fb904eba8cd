"""Next-item prediction against a few items that were not chosen, in place of the whole catalogue.

A negative of score -inf is no candidate and adds nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus


def gbce(positive: Tensor, negatives: Tensor, n_items: int, t: float) -> Tensor:
    """Generalised binary cross-entropy (Petrov & Macdonald, gSASRec, RecSys 2023).

    -1 / (k + 1) [log sigma(s+)^beta + sum log(1 - sigma(s-))], with beta = alpha (t (1 - 1 / alpha) + 1 / alpha) and
    the sampling rate alpha = k / (n_items - 1). Few negatives make binary cross-entropy overconfident, and beta below
    1 takes that back.

    Args:
        positive: [n] score of the logged item.
        negatives: [n, k] scores of others, drawn uniformly.
        n_items: of the catalogue.
        t: 0 is binary cross-entropy; 1 calibrates the scores to the probabilities of the whole catalogue.

    Returns:
        [n]
    """
    k = negatives.shape[1]
    alpha = min(1.0, k / max(n_items - 1, 1))  # drawn with replacement, more than there are still miss some
    beta = 1 - t * (1 - alpha)
    return (beta * softplus(-positive) + softplus(negatives).sum(1)) / (k + 1)


def sampled_softmax(positive: Tensor, negatives: Tensor, log_expected: Tensor | float = 0.0) -> Tensor:
    """Cross-entropy of the logged item among itself and the negatives.

    Args:
        positive: [n] score of the logged item.
        negatives: [n, k] scores of others.
        log_expected: how often each negative was to be expected among the k draws, as a logarithm, [n, k] or for all.
            With it exp(s-) stands for all items that might have been drawn in its place, and the loss tends to the
            cross-entropy over the whole catalogue as k grows (importance sampling, Bengio & Senecal 2008). 0 for the
            plain loss, as eSASRec has it.

    Returns:
        [n]
    """
    return torch.cat([positive[:, None], negatives - log_expected], 1).logsumexp(1) - positive


def bpr(positive: Tensor, negatives: Tensor) -> Tensor:
    """-log sigma(s+ - s-), the mean over the negatives (Rendle et al. 2009; S-BPR of FPMC, 2010).

    Args:
        positive: [n] score of the logged item.
        negatives: [n, k] scores of others.

    Returns:
        [n]
    """
    return softplus(negatives - positive[:, None]).mean(1)
