"""RePlay's SasRec under its own Lightning module. Its reading of data is left out: batches are collated beforehand."""

from __future__ import annotations

import logging
import warnings
from itertools import cycle
from typing import Any

import numpy as np
import torch
from lightning import Callback, Trainer
from replay.data import FeatureHint, FeatureSource, FeatureType
from replay.data.nn import TensorFeatureInfo, TensorFeatureSource, TensorSchema
from replay.nn.lightning import LightningModule
from replay.nn.loss import CESampled
from replay.nn.sequential import SasRec
from replay.nn.transform import UniformNegativeSamplingTransform
from torch import Tensor

from peers.contestants.protocol import Meter, Sessions, answer, asked

BATCH, RANKED, BEST, READY = 256, 256, 20, 64
"""READY: batches collated beforehand; they come again where more are needed."""


def model_of(ask: Any) -> SasRec:
    shape = ask.shape
    item = TensorFeatureInfo(
        "item_id",
        is_seq=True,
        feature_type=FeatureType.CATEGORICAL,
        embedding_dim=shape.width,
        padding_value=shape.items,
        cardinality=shape.items,
        feature_hint=FeatureHint.ITEM_ID,
        feature_sources=[TensorFeatureSource(FeatureSource.INTERACTIONS, "item_id")],
    )
    sizes = {"embedding_dim": shape.width, "num_heads": 1, "num_blocks": shape.blocks}
    model = SasRec.from_params(
        schema=TensorSchema([item]), max_sequence_length=shape.context, dropout=0.1, hidden_dim=shape.width, **sizes
    )
    if ask.negatives:
        model.loss = CESampled(ignore_index=shape.items)
        model.loss.logits_callback = model.get_logits
    return model


def read(tails: np.ndarray, pad: int) -> tuple[Tensor, Tensor]:
    """Item numbers padded in front by ``pad``, and where they are real."""
    items = torch.from_numpy(np.where(tails < 0, pad, tails))
    return items, items != pad


def batch_of(data: Sessions, drawn: np.ndarray, pad: int) -> dict[str, Any]:
    """As its own transforms for SASRec make it: every real item is a target, the first of a session too."""
    items, real = read(data.tails(drawn, data.context + 1), pad)
    return {
        "feature_tensors": {"item_id": items[:, :-1].contiguous()},
        "padding_mask": real[:, :-1].contiguous(),
        "positive_labels": items[:, 1:, None].contiguous(),
        "target_padding_mask": real[:, 1:, None].contiguous(),
    }


class Watch(Callback):
    """Tells the meter of each batch and stops the trainer."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, number: int) -> None:
        both = batch["padding_mask"] & batch["target_padding_mask"][..., 0]
        if self.meter.lap(float(both.sum())):
            trainer.should_stop = True


class Batches:
    """Without end; negatives are drawn anew for each batch, by RePlay's own transform."""

    def __init__(self, ask: Any, data: Sessions) -> None:
        rng = np.random.default_rng(0)
        drawn = (rng.integers(len(data), size=BATCH) for _ in range(READY))
        self.ready = [batch_of(data, sessions, ask.shape.items) for sessions in drawn]
        k = ask.negatives
        self.negatives = UniformNegativeSamplingTransform(ask.shape.items, k) if k else lambda batch: dict(batch)

    def __iter__(self) -> Any:
        return map(self.negatives, cycle(self.ready))


def train(ask: Any, meter: Meter) -> None:
    torch.manual_seed(0)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, enable_model_summary=False, callbacks=[Watch(meter)], min_epochs=0, **quiet
    )
    trainer.fit(LightningModule(model_of(ask)), Batches(ask, Sessions(ask)))


@torch.no_grad()
def rank(ask: Any, meter: Meter) -> None:
    """HR and NDCG at 20 by the best 20 of its logits."""
    data, model = Sessions(ask), model_of(ask).eval()
    chosen = np.arange(min(ask.sessions, len(data)))
    parts = np.split(chosen, range(RANKED, len(chosen), RANKED))
    ready = [
        (*read(data.tails(part, data.context), ask.shape.items), data.items[data.offsets[part + 1] - 1])
        for part in parts
    ]

    def all_of_them() -> float:
        hits, gains = 0.0, 0.0
        for items, real, held_out in ready:
            best = model({"item_id": items}, real)["logits"].topk(BEST).indices
            hit = best == torch.from_numpy(held_out)[:, None]
            hits += hit.sum().item()
            gains += (hit / torch.log2(torch.arange(BEST) + 2.0)).sum().item()
        return float(len(chosen))

    meter.run(all_of_them)


@torch.no_grad()
def serve(ask: Any, meter: Meter) -> None:
    model, rng = model_of(ask).eval(), np.random.default_rng(0)
    real = torch.ones(1, ask.shape.context, dtype=torch.bool)

    def one() -> float:
        items = torch.from_numpy(rng.integers(ask.shape.items, size=(1, ask.shape.context)))
        model({"item_id": items}, real)["logits"].topk(BEST)
        return 1.0

    meter.run(one)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    ask = asked()
    meter = Meter(ask)
    {"train": train, "rank": rank, "serve": serve}[ask.kind](ask, meter)
    answer(meter, "replay-rec", "torch", "lightning", "numpy")
