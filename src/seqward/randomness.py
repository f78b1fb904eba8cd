"""All randomness follows from (seed, step, name): what is drawn does not depend on what else was drawn before.

So a resumed run needs no generator state, and leaving a loss term out changes no other draw.
"""

from __future__ import annotations

from zlib import crc32

import torch


def seed_of(seed: int, step: int, name: str) -> int:
    """A 32-bit seed, the same in every process (``hash`` is not)."""
    return crc32(f"{seed}/{step}/{name}".encode())


def generator_of(seed: int, step: int, name: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator for one named draw of one step."""
    return torch.Generator(device).manual_seed(seed_of(seed, step, name))
