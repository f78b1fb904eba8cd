"""A library leaves the caller's random state as it found it."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch

from jobs import recommender, shop
from seqward.randomness import generator_of, seeded
from seqward.recommender import Recommender


def draws() -> tuple[list[float], list[float], float]:
    """What each global stream gives next."""
    return torch.rand(4).tolist(), np.random.rand(4).tolist(), random.random()  # noqa: NPY002 - the caller's own


def begin() -> None:
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)


def test_fitting_loading_and_recommending_leave_the_callers_streams(tmp_path: Path) -> None:
    begin()
    expected = draws()
    data = shop()
    begin()
    recommender("sasrec-ccql", epochs=1).fit(data, tmp_path / "run")
    assert draws() == expected
    begin()
    loaded = Recommender.load(tmp_path / "run", device="cpu")
    loaded.evaluate(data, "test")
    loaded.recommend(dataset=data, k=3)
    assert draws() == expected


def test_a_seeded_stretch_gives_the_stream_back_also_after_an_error() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    drawn = []
    for _ in range(2):
        try:
            with seeded(1, 2, "dropout"):
                drawn.append(torch.rand(3))
                raise ValueError
        except ValueError:
            pass
    assert torch.equal(*drawn)
    assert not torch.equal(drawn[0], expected)
    assert torch.equal(drawn[0], torch.rand(3, generator=generator_of(1, 2, "dropout")))
    assert torch.equal(torch.rand(3), expected)
