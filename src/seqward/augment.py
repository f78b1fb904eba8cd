"""Temporal augmentations of histories (CL4SRec, Xie et al. 2022, section 3.3). They touch valid positions only.

Each is (items [B, S], generator, vocabulary) -> items [B, S] of the same shape; what was cut away becomes pad.
Histories may be padded anywhere; a history of fewer than two items stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from seqward.backbones.backbone import Vocabulary

Augment = Callable[[Tensor, torch.Generator, Vocabulary], Tensor]
"""(items [B, S], generator, vocabulary) -> [B, S]"""


def crop(share: float) -> Augment:
    """Keep a contiguous piece of floor(share * n) items (at least one), its start uniform, at the front of the history.

    So the piece stands where a history of its own would, and its positions do not tell where it was cut from.
    """

    def augment(items: Tensor, generator: torch.Generator, vocabulary: Vocabulary) -> Tensor:
        pad = vocabulary.pad
        kept, start, position = _window(items, pad, share, generator, least=1)
        valid = items != pad
        front = valid.int().argsort(dim=1, descending=True, stable=True)
        in_order = items.gather(1, front)
        moved = in_order.gather(1, (position + start.long()).clamp(0, items.shape[1] - 1))
        piece = torch.where(valid & (position < kept), moved, pad)
        return torch.where(_short(items, pad), items, piece)

    return augment


def mask(share: float, token: bool = False) -> Augment:
    """Hide floor(share * n) items chosen without replacement; never all of them.

    Args:
        token: put the mask token in place of a hidden item, as CL4SRec does; else it is read as padding.
    """

    def augment(items: Tensor, generator: torch.Generator, vocabulary: Vocabulary) -> Tensor:
        pad = vocabulary.pad
        valid = items != pad
        hidden = (valid.sum(1, keepdim=True) * share).floor()
        draw = _draw(items, generator).masked_fill(~valid, torch.inf)
        order = draw.argsort(1).argsort(1)
        return torch.where(valid & (order < hidden) & ~_short(items, pad), vocabulary.mask if token else pad, items)

    return augment


def reorder(share: float) -> Augment:
    """Shuffle a contiguous piece of floor(share * n) items, its start uniform."""

    def augment(items: Tensor, generator: torch.Generator, vocabulary: Vocabulary) -> Tensor:
        pad = vocabulary.pad
        length, start, position = _window(items, pad, share, generator, least=0)
        inside = (position >= start) & (position < start + length) & (items != pad)
        return _shuffle(items, inside, generator)

    return augment


def permutation() -> Augment:
    """Shuffle all items of the history: the paper's temporal augmentation, without the padding."""
    return lambda items, generator, vocabulary: _shuffle(items, items != vocabulary.pad, generator)


def permutation_with_padding(slots: int) -> Augment:
    """Pad the history to ``slots`` and shuffle them all: as released. The slot that is read is then often a pad."""

    def augment(items: Tensor, generator: torch.Generator, vocabulary: Vocabulary) -> Tensor:
        items = torch.nn.functional.pad(items, (0, max(0, slots - items.shape[1])), value=vocabulary.pad)
        return _shuffle(items, torch.ones_like(items, dtype=torch.bool), generator)

    return augment


def one_of(*choices: Augment) -> Augment:
    """One of the augmentations for each history, drawn uniformly (CL4SRec, section 3.2)."""

    def augment(items: Tensor, generator: torch.Generator, vocabulary: Vocabulary) -> Tensor:
        choice = torch.randint(len(choices), (len(items), 1), generator=generator, device=items.device)
        for number, change in enumerate(choices):
            items = torch.where(choice == number, change(items, generator, vocabulary), items)
        return items

    return augment


def segment(items: Tensor, generator: torch.Generator, vocabulary: Vocabulary) -> Tensor:
    """[B, S] which slots are in a piece of each history, its length uniform from 1 to half, its start uniform.

    A single item is its own piece; an empty history has none.
    """
    valid = items != vocabulary.pad
    count = valid.sum(1, keepdim=True)
    lengths, starts = torch.rand(2, len(items), 1, generator=generator, device=items.device)
    length = 1 + (lengths * (count // 2)).floor()
    start = (starts * (count - length + 1)).floor()
    position = valid.cumsum(1) - 1
    return valid & (position >= start) & (position < start + length)


AUGMENTATIONS: dict[str, Callable[[float], Augment]] = {
    "crop": crop,
    "mask": mask,
    "reorder": reorder,
    "permutation": lambda _: permutation(),
}


def _window(
    items: Tensor, pad: int, share: float, generator: torch.Generator, least: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Length [B, 1] and start [B, 1] of a random piece, and each slot's position among the valid ones [B, S]."""
    valid = items != pad
    count = valid.sum(1, keepdim=True)
    length = (count * share).floor().clamp(min=least)
    draw = torch.rand(len(items), 1, generator=generator, device=items.device)
    start = (draw * (count - length + 1)).floor()
    return length, start, valid.cumsum(1) - 1


def _shuffle(items: Tensor, movable: Tensor, generator: torch.Generator) -> Tensor:
    """Permute the items of the movable slots of each row among themselves."""
    slots = torch.arange(items.shape[1], device=items.device).expand_as(items)
    # Both orders list the movable slots first: the i-th of them receives what the i-th in random order held.
    natural = slots.masked_fill(~movable, items.shape[1]).argsort(dim=1, stable=True)
    random = _draw(items, generator).masked_fill(~movable, torch.inf).argsort(dim=1, stable=True)
    shuffled = torch.empty_like(items).scatter_(1, natural, items.gather(1, random))
    return torch.where(movable, shuffled, items)


def _draw(items: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(items.shape, generator=generator, device=items.device)


def _short(items: Tensor, pad: int) -> Tensor:
    return (items != pad).sum(1, keepdim=True) < 2
