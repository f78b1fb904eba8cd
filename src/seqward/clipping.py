"""What keeps one step from going too far: clipped gradients, and clipped updates."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

SETTLING = 25
"""Steps from which the first mean and variance of the gradient's norm are taken, unclipped (ZClip)."""
KEPT = 0.97
"""How much of that mean and variance a step keeps."""


class Clipping(Protocol):
    """The settings of training that are read here."""

    @property
    def clip_value(self) -> float | None: ...
    @property
    def clip_norm(self) -> float | None: ...
    @property
    def clip_zscore(self) -> float | None: ...
    @property
    def clip_update(self) -> float | None: ...
    @property
    def clip_update_least(self) -> float: ...


class Norms(Protocol):
    """What is remembered of gradients' norms; part of a run's progress."""

    norm_count: int
    norm_mean: float
    norm_variance: float


def gradients_of(network: nn.Module) -> list[Tensor]:
    """The gradient of each parameter that has one, to be changed in place; of a sparse one the rows that it holds."""
    found = []
    for p in network.parameters():
        if p.grad is not None and p.grad.is_sparse:
            p.grad = p.grad.coalesce()
            found.append(p.grad.values())
        elif p.grad is not None:
            found.append(p.grad)
    return found


@torch.no_grad()
def clip(gradients: list[Tensor], s: Clipping, norms: Norms) -> None:
    """Clip by value, then the norm of all of them by its own history, and then by a bound."""
    if s.clip_value is not None:
        for gradient in gradients:
            gradient.clamp_(-s.clip_value, s.clip_value)
    if s.clip_zscore is not None:
        norm = float(nn.utils.get_total_norm(gradients))
        allowed = usual(norm, s.clip_zscore, norms)
        for gradient in gradients if allowed < norm else ():
            gradient.mul_(allowed / norm)
    clip_norm(gradients, s.clip_norm)


@torch.no_grad()
def clip_norm(gradients: list[Tensor], norm: float | None) -> None:
    """Scale them down to a norm; None for none."""
    if norm is not None:
        share = (norm / (nn.utils.get_total_norm(gradients) + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(share)


def usual(norm: float, z: float, seen: Norms) -> float:
    """The norm, or where it is more than z deviations above the mean of those seen, as much as that; and remember it.

    ZClip (Kumar et al., 2025), with its 25 first steps, .97 and z of 2.5. Its own default scales a norm down to
    z^2 / its deviation, further than to z (from memory). Mean and variance move by the norm that is left. A norm that
    is not finite is neither clipped nor remembered.
    """
    if not math.isfinite(norm):
        return norm
    seen.norm_count += 1
    if seen.norm_count <= SETTLING:
        kept = 1 - 1 / seen.norm_count  # so these are the mean and the variance of all up to now
    else:
        norm, kept = min(norm, seen.norm_mean + z * math.sqrt(seen.norm_variance)), KEPT
    away = norm - seen.norm_mean
    seen.norm_mean += (1 - kept) * away
    seen.norm_variance = kept * (seen.norm_variance + (1 - kept) * away**2)
    return norm


def forget(norms: Norms) -> None:
    """Norms of another loss say nothing of this one's."""
    norms.norm_count, norms.norm_mean, norms.norm_variance = 0, 0.0, 0.0


@torch.no_grad()
def update(network: nn.Module, step: Callable[[], None], s: Clipping) -> None:
    """Have the optimiser step, and scale each parameter's update down to what its weights allow.

    Clippy (Tang et al., KDD 2023): no weight w moves by more than ``clip_update * |w| + clip_update_least``, and one
    factor for all of a tensor sees to it, so that its direction stays. As there, the optimiser's moments know nothing
    of it. It costs a copy of the weights.
    """
    if s.clip_update is None:
        step()
        return
    before = [(p, p.clone()) for p in network.parameters() if p.grad is not None]
    step()
    for p, old in before:
        change = p - old
        allowed = s.clip_update * old.abs() + s.clip_update_least
        share = (allowed / change.abs()).amin()
        p.copy_(torch.where(share < 1, old + share * change, p))
