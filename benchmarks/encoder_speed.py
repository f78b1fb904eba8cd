"""What reading histories costs in training, and what each economy of it saves, side by side.

    OMP_NUM_THREADS=1 python benchmarks/encoder_speed.py [--rounds 5] [--out FILE]

SASRec forwards and backwards on one batch, 64 wide, dropout .1: 256 sessions of RetailRocket's lengths, of which 10
items are read (1 block), and 128 users of MovieLens-1M's, 50 and 200 read (2 blocks), and 32. In turns, in processor
time:

    plain    torch's dropout, every history as wide as the longest
    dropout  dropout drawn cheaply
    packed   and what is done to each slot alone skips padding
    groups   and histories of like length together, where that pays: what training does
    flash    and no dropout on attention weights, which is a setting

Prints JSON.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Annotated, Any
from unittest.mock import patch

import numpy as np
import torch
import typer
from torch import Tensor

from machine import RESULTS, commit, machine
from seqward.backbones import backbone_of
from seqward.backbones.attention import Slots
from seqward.backbones.backbone import Histories, Vocabulary
from seqward.backbones.sasrec import SASRecSettings
from seqward.data.simulate import draw_lengths
from seqward.data.world import PRESETS
from seqward.model import Model

SHAPES = {
    "retailrocket": (256, 10, 1),
    "ml-1m, 50": (128, 50, 2),
    "ml-1m, 200": (128, 200, 2),
    "few of ml-1m, 200": (32, 200, 2),
}
"""Histories, items read and blocks."""
VARIANTS = ("plain", "dropout", "packed", "groups", "flash")
ITEMS = 3416
"""Whatever the shape: rows of the table that no history holds cost nothing here."""


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Turns.")] = 5,
    out: Annotated[Path, typer.Option(help="JSON file to write.")] = RESULTS / "encoder-speed.json",
) -> None:
    """Measure, print and keep the result."""
    result: dict[str, Any] = {"commit": commit(), "machine": machine(), "rounds": rounds, "shapes": []}
    result["shapes"] = [compare(shape, rounds) for shape in SHAPES]
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def compare(shape: str, rounds: int) -> dict[str, Any]:
    """Milliseconds of each variant, and how many times as fast as the plain one its neighbour is."""
    rows, context, blocks = SHAPES[shape]
    histories = histories_of(shape, rows, context)
    models = {name: model_of(context, blocks, 0.0 if name == "flash" else None) for name in VARIANTS}
    turns = [{name: seconds(model, histories, name) for name, model in models.items()} for _ in range(rounds + 1)]
    turns = turns[1:]  # the first one warms up
    return {
        "shape": shape,
        "padding": round(float((histories.items == ITEMS).float().mean()), 3),
        "milliseconds": {name: round(1000 * median(turn[name] for turn in turns), 1) for name in VARIANTS},
        "times_as_fast": {
            name: round(median(turn["plain"] / turn[name] for turn in turns), 2) for name in VARIANTS[1:]
        },
    }


def histories_of(shape: str, rows: int, context: int) -> Histories:
    """Histories of the shape's lengths, cut to what is read, of random items; padded on the right."""
    rng = np.random.default_rng(0)
    if shape == "retailrocket":
        lengths = draw_lengths(PRESETS["retailrocket"], rows, rng)
    else:  # users have 20 ratings or more, 165 on average, half of them 96
        lengths = np.maximum(20, rng.lognormal(np.log(96), 0.97, rows))
    length = torch.from_numpy(np.minimum(rng.permutation(lengths), context)).long()
    items = torch.from_numpy(rng.integers(ITEMS, size=(rows, int(length.max()))))
    return Histories(torch.where(torch.arange(items.shape[1]) < length[:, None], items, ITEMS))


def model_of(context: int, blocks: int, attention_dropout: float | None) -> Model:
    settings = SASRecSettings(session_max_len=context, n_blocks=blocks, attention_dropout=attention_dropout)
    return Model(backbone_of(settings), {}, Vocabulary(ITEMS)).train()


def seconds(model: Model, histories: Histories, variant: str) -> float:
    """Processor time of one pass forwards and backwards."""
    with economies_of(variant):
        begin = time.process_time()
        model.states(histories).sum().backward()
        taken = time.process_time() - begin
    model.zero_grad()
    return taken


@contextmanager
def economies_of(variant: str) -> Iterator[None]:
    """The package without the economies that the variant does not have."""
    with ExitStack() as stack:
        if variant == "plain":
            for module in ("sasrec", "attention"):
                stack.enter_context(patch(f"seqward.backbones.{module}.dropout", torch.nn.functional.dropout))
        if variant in ("plain", "dropout"):
            stack.enter_context(patch.object(Slots, "packs", False))
        if variant in ("plain", "dropout", "packed"):
            stack.enter_context(patch("seqward.model.groups_of_length", one_group))
        yield


def one_group(items: Tensor, pad: int, skips_padding: bool) -> list[tuple[Tensor, int]]:
    """All histories at once."""
    return [(torch.arange(len(items)), items.shape[1])]


if __name__ == "__main__":
    typer.run(main)
