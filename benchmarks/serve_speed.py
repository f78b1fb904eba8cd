"""Speed of one answer: a history of 10 items, the 20 best of 70,852 and of 1,000,000 items, width 64, one thread.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/serve_speed.py [--rounds 200] [--out FILE]

Ours is ``seqward.inference`` from item numbers to item numbers, exact. Beside it stand the same encoder with a product
and ``argpartition`` in NumPy, and SASRec in eager torch with its ``topk``, in turns. By the clock, in milliseconds. The
bytes that the screen reads in a second are set beside those of NumPy's copy of as much. Prints JSON.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from machine import RESULTS, commit, machine
from seqward.backbones.backbone import Histories, Vocabulary
from seqward.backbones.sasrec import SASRec, SASRecSettings
from seqward.data.world import RETAILROCKET_ITEMS
from seqward.heads import item_head
from seqward.inference.encoder import Encoder
from seqward.inference.screen import Screen
from seqward.model import Model
from seqward.settings import to_dict

WIDTH, CONTEXT, BEST = 64, 10, 20
SIZES = {"retailrocket": RETAILROCKET_ITEMS, "million": 1_000_000}


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Turns.")] = 200,
    out: Annotated[Path, typer.Option(help="JSON file to write.")] = RESULTS / "serve-speed.json",
) -> None:
    """Measure, print and keep the result."""
    torch.set_num_threads(1)
    result = {"commit": commit(), "machine": machine() | {"numpy": np.__version__}, "rounds": rounds}
    result |= {name: compare(n_items, rounds) for name, n_items in SIZES.items()}
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


@torch.no_grad()
def compare(n_items: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of each, and how many times ours they take."""
    torch.manual_seed(0)
    settings = SASRecSettings(n_factors=WIDTH, session_max_len=CONTEXT)
    heads = {"policy": item_head("normal", tied=True)}
    model = Model(lambda v: SASRec(settings, v), heads, Vocabulary(n_items), "dense").eval()
    model.backbone.items.weight.normal_()  # type: ignore[union-attr,operator]
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    encoder = Encoder(weights, to_dict({"backbone": settings})["backbone"])
    screen, rows = Screen(encoder.items[:n_items]), model.backbone.items.weight[:n_items]  # type: ignore[index,union-attr]
    table, copy = encoder.items[:n_items], np.empty_like(encoder.items[: n_items // 4])

    def product(history: Any) -> Any:
        scores = table @ encoder.state(history)
        best = np.argpartition(-scores, BEST)[:BEST]
        return best[np.argsort(-scores[best])]

    def eager(history: Any) -> Any:
        state = model.last_state(Histories(torch.from_numpy(history)[None]))
        return torch.nn.functional.linear(state, rows).topk(BEST).indices[0]

    contenders: dict[str, Callable[[Any], Any]] = {
        "ours": lambda history: screen.topk(encoder.state(history), BEST)[1],
        "numpy": product,
        "torch": eager,
        "encoder": encoder.state,
        "copy": lambda history: np.copyto(copy, table[: len(copy)]),
    }
    rng = np.random.default_rng(0)
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        history = rng.integers(n_items, size=CONTEXT)
        for name, run in contenders.items():
            begin = time.perf_counter()
            run(history)
            taken[name].append(1e3 * (time.perf_counter() - begin))
    median = {name: float(np.median(times)) for name, times in taken.items()}
    read = n_items * (WIDTH + 4)  # codes and scales
    return {
        "items": n_items,
        "variant": None if screen.variant is None else screen.variant.name,
        "ms": {n: {f"p{p}": round(float(np.percentile(t, p)), 4) for p in (0, 50, 99)} for n, t in taken.items()},
        "times_ours": {name: round(median[name] / median["ours"], 2) for name in ("numpy", "torch")},
        "gigabytes_per_second": round(read / (median["ours"] - median["encoder"]) / 1e6, 2),
        "share_of_copy": round(read / (median["ours"] - median["encoder"]) / (2 * copy.nbytes / median["copy"]), 3),
    }


if __name__ == "__main__":
    typer.run(main)
