"""RecTools' SASRecModel by its own fit() and recommend(), its Lightning trainer stopped after long enough."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np
import pandas as pd
from pytorch_lightning import Callback, Trainer
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

from peers.contestants.protocol import Meter, Sessions, answer, asked

BEST = 20


class Watch(Callback):
    """Tells the meter of each batch and stops the trainer."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def __deepcopy__(self, memo: Any) -> Watch:
        return self  # the model trains by a copy of its trainer

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, number: int) -> None:
        if self.meter.lap(float((batch["y"] != 0).sum())):
            trainer.should_stop = True


def trainer(**arguments: Any) -> Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return Trainer(accelerator="cpu", enable_model_summary=False, min_epochs=0, **quiet, **arguments)


def model_of(ask: Any, **arguments: Any) -> SASRecModel:
    shape, negatives = ask.shape, ask.negatives
    return SASRecModel(
        session_max_len=shape.context,
        n_blocks=shape.blocks,
        n_heads=1,
        n_factors=shape.width,
        dropout_rate=0.1,
        loss="sampled_softmax" if negatives else "softmax",
        n_negatives=negatives or 1,
        batch_size=256,
        get_trainer_func=lambda: trainer(**arguments),
    )


def dataset_of(data: Sessions) -> Dataset:
    learned = ~data.is_last
    when = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(len(data.items)), unit="s")
    columns = {Columns.User: data.owner, Columns.Item: data.items, Columns.Datetime: when, Columns.Weight: 1}
    return Dataset.construct(pd.DataFrame(columns)[learned])


def train(ask: Any, meter: Meter) -> str:
    model = model_of(ask, max_epochs=100_000, callbacks=[Watch(meter)])
    model.fit(dataset_of(Sessions(ask)))
    return known(model)


def fitted(ask: Any, dataset: Dataset) -> SASRecModel:
    return model_of(ask, max_epochs=1, limit_train_batches=1).fit(dataset)


def rank(ask: Any, meter: Meter) -> str:
    data = Sessions(ask)
    dataset = dataset_of(data)
    model, users = fitted(ask, dataset), np.arange(min(ask.sessions, len(data)))
    held_out = pd.Series(data.items[data.offsets[users + 1] - 1], index=users)

    def all_of_them() -> float:
        best = model.recommend(users, dataset, k=BEST, filter_viewed=False)
        hit = best[Columns.Item].to_numpy() == best[Columns.User].map(held_out).to_numpy()
        (hit.sum() / len(users), (hit / np.log2(best[Columns.Rank] + 1)).sum() / len(users))
        return float(len(users))

    meter.run(all_of_them)
    return known(model)


def serve(ask: Any, meter: Meter) -> str:
    data = Sessions(ask)
    dataset = dataset_of(data)
    model, users = fitted(ask, dataset), iter(np.random.default_rng(0).permutation(len(data)))

    def one() -> float:
        model.recommend([next(users)], dataset, k=BEST, filter_viewed=False)
        return 1.0

    meter.run(one)
    return known(model)


def known(model: SASRecModel) -> str:
    """It knows the items in the last events that it keeps of each session, and no others."""
    return f"{len(model.data_preparator.get_known_item_ids()):,} items"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    ask = asked()
    meter = Meter(ask)
    note = {"train": train, "rank": rank, "serve": serve}[ask.kind](ask, meter)
    answer(meter, "rectools", "torch", "pytorch-lightning", "numpy", "pandas", note=note)
