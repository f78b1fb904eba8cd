"""All randomness follows from (seed, step, name): what is drawn does not depend on what else was drawn before.

So a resumed run needs no generator state, and leaving a loss term out changes no other draw.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from zlib import crc32

import torch


def seed_of(seed: int, step: int, name: str) -> int:
    """A 32-bit seed, the same in every process (``hash`` is not)."""
    return crc32(f"{seed}/{step}/{name}".encode())


def generator_of(seed: int, step: int, name: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator for one named draw of one step."""
    return torch.Generator(device).manual_seed(seed_of(seed, step, name))


@contextmanager
def seeded(seed: int, step: int, name: str, device: torch.device | str = "cpu") -> Iterator[None]:
    """The global streams of the processor and of ``device``, seeded for one named draw; then the caller's come back.

    For what takes no generator: dropout and the initialisation of layers.
    """
    device, number = torch.device(device), seed_of(seed, step, name)
    cuda = device.type == "cuda"
    # Not torch.manual_seed: it seeds every accelerator, also one that is not in use yet.
    with torch.random.fork_rng([device] if cuda else []):
        torch.default_generator.manual_seed(number)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(number)
        yield
