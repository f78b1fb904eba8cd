"""Telling two views of one session apart from the views of other sessions."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

Similarity = Literal["cosine", "dot"]


def nt_xent(
    first: Tensor,
    second: Tensor,
    temperature: float,
    similarity: Similarity = "cosine",
    session: Tensor | None = None,
) -> Tensor:
    """InfoNCE over the 2B views (Eq. 3 of the paper; Chen et al. 2020, Eq. 1; CL4SRec: Xie et al. 2022).

    Each view is an anchor; its other view is the positive, the remaining 2B - 2 views are the negatives, but
    for those of the same session, where a session stands in more than one row.

    Args:
        first: [B, width] a state a session.
        second: [B, width] the same sessions' other view, row by row.
        temperature: divides the similarities.
        similarity: of two views; "dot" is CL4SRec's, where their lengths count.
        session: [B] numbers of the rows' sessions; None where no two rows are of one.

    Returns:
        [2B], anchors of ``first`` and then of ``second``. Zeros for a single session: nothing to tell apart.
    """
    views = torch.cat([first, second])
    if similarity == "cosine":
        views = normalize(views, dim=1)
    return _anchors((views @ views.T)[None] / temperature, session)[0]


def by_coordinate(first: Tensor, second: Tensor) -> Tensor:
    """The variant that the released code forces for RetailRocket: an InfoNCE a coordinate, averaged.

    In coordinate c the similarity of two views is the product of two numbers; no temperature, no normalisation.
    Args and return as ``nt_xent``. Memory is width * (2B)^2 floats.
    """
    views = torch.cat([first, second]).T
    return _anchors(views[:, :, None] * views[:, None, :]).mean(0)


def _anchors(similarity: Tensor, session: Tensor | None = None) -> Tensor:
    """Cross-entropy of each anchor's other view among it and other sessions': similarities [c, 2B, 2B] -> [c, 2B]."""
    anchor = torch.arange(similarity.shape[1], device=similarity.device)
    anchors, positive = len(anchor), anchor.roll(len(anchor) // 2)
    owner = anchor if session is None else session.repeat(2)
    hidden = (owner[:, None] == owner) & (anchor != positive[:, None])
    others = similarity.masked_fill(hidden, -torch.inf)
    loss = cross_entropy(others.flatten(0, 1), positive.repeat(len(similarity)), reduction="none")
    return loss.view(len(similarity), anchors)
