"""RecBole's SASRec by its own data sets and Trainer. (``recbole.quick_start`` needs a ray that does not load here.)"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.dataloader.general_dataloader import FullSortEvalDataLoader
from recbole.model.sequential_recommender import SASRec
from recbole.trainer import Trainer

from peers.contestants.protocol import Meter, Sessions, answer, asked

BATCH, RANKED = 256, 256


def config_of(ask: Any, folder: Path) -> Config:
    shape = ask.shape
    sys.argv = sys.argv[:1]  # it would read its settings from there
    return Config(
        model=SASRec,
        dataset=folder.name,
        config_dict={
            "data_path": str(folder.parent),
            "checkpoint_dir": str(folder.parent / "saved"),
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "MAX_ITEM_LIST_LENGTH": shape.context,
            "eval_args": {"split": {"LS": "test_only"}, "order": "TO", "group_by": "user", "mode": "full"},
            "n_layers": shape.blocks,
            "n_heads": 1,
            "hidden_size": shape.width,
            "inner_size": shape.width,
            "hidden_dropout_prob": 0.1,
            "attn_dropout_prob": 0.1,
            "loss_type": "CE",
            "train_neg_sample_args": None,
            "train_batch_size": BATCH,
            "eval_batch_size": RANKED,
            "metrics": ["Hit", "NDCG"],
            "topk": [20],
            "valid_metric": "NDCG@20",
            "use_gpu": False,
            "show_progress": False,
            "state": "ERROR",
            # What it prepared it keeps and finds again, by its own means: no clock runs by then.
            "save_dataset": True,
            "save_dataloaders": True,
        },
    )


def write_log(data: Sessions, folder: Path) -> None:
    """The events as RecBole's text file, once."""
    file = folder / f"{folder.name}.inter"
    if file.is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    columns = {"user_id:token": data.owner, "item_id:token": data.items, "timestamp:float": np.arange(len(data.items))}
    unfinished = file.with_suffix(".part")
    pd.DataFrame(columns).to_csv(unfinished, sep="\t", index=False)
    unfinished.rename(file)


class Until:
    """Batches for its epoch, until the meter has seen enough."""

    def __init__(self, batches: Any, meter: Meter) -> None:
        self.batches, self.meter = batches, meter

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        return self.meter.through(lambda: self.batches, len)


def main(ask: Any, meter: Meter) -> str:
    data = Sessions(ask)
    folder = Path(ask.work) / f"recbole-{Path(ask.data).stem}"
    write_log(data, folder)
    config = config_of(ask, folder)
    dataset = create_dataset(config)
    learned, _, held_out = data_preparation(config, dataset)
    model = SASRec(config, learned.dataset)
    trainer = Trainer(config, model)
    if ask.kind == "train":
        trainer._train_epoch(Until(learned, meter), 0)
    else:
        rank(ask, meter, config, trainer, held_out)
    return f"{dataset.item_num - 1:,} items"


def rank(ask: Any, meter: Meter, config: Config, trainer: Trainer, held_out: Any) -> None:
    """Its evaluation over so many sessions; more would take minutes."""
    few = held_out._dataset.copy(held_out._dataset.inter_feat[: ask.sessions])
    loader = FullSortEvalDataLoader(config, few, held_out._sampler, shuffle=False)
    trainer.eval_collector.data_collect(loader)

    def all_of_them() -> float:
        trainer.evaluate(loader, load_best_model=False)
        return float(len(few))

    meter.run(all_of_them)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    ask = asked()
    meter = Meter(ask)
    note = main(ask, meter)
    answer(meter, "recbole", "torch", "numpy", "pandas", note=note)
