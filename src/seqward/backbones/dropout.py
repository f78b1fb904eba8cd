"""Dropout, drawn cheaply on a processor."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

LEVELS = 1 << 16
"""Two bytes of chance decide on an element, so a rate is one of so many."""


def dropout(x: Tensor, rate: float, training: bool = True) -> Tensor:
    """x with a share ``rate`` of its elements 0 and the others scaled so that its mean stays (Srivastava et al. 2014).

    torch's own draws 64 bits for each element, one after the other, by a generator that takes its time. Here the global
    stream, from which torch's draws, gives the seed of a faster one.
    """
    level = round(rate * LEVELS)
    if not training or not level:
        return x
    if x.device.type != "cpu" or level == LEVELS:
        return torch.nn.functional.dropout(x, rate)
    seed = int(torch.randint(1 << 62, ()))
    drawn = np.random.SFC64(seed).random_raw(-(-x.numel() // 4)).view(np.uint16)[: x.numel()]
    factor = np.multiply(drawn >= level, LEVELS / (LEVELS - level), dtype=np.float32)
    return x * torch.from_numpy(factor).view(x.shape).to(x.dtype)
