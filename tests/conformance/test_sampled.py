"""What every method must do where its sums are sampled, or its rows wait: the choices of ``train`` that add machinery."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from jobs import (
    TRAINED,
    after_steps,
    assert_same_bits,
    in_phase,
    job_of,
    recommender,
    shop,
    step_of,
    steps_of_learning,
    variants,
    weights,
)
from seqward import train as training
from seqward.checkpoint import Progress
from seqward.errors import SeqwardError
from seqward.methods import METHODS
from seqward.train import Job, Networks, TrainSettings, total_loss

every_trained = pytest.mark.parametrize("name", TRAINED)
SUMLESS = {"gsasrec", "esasrec", "fpmc"}
"""Methods of which no loss sums over the catalogue."""
NO_WAITING = {"target": "twin"}
"""With a target that follows, no row may wait."""
PROBABILITIES = {"reinforce", "reinforce-topk"}
SAMPLED = [changes for changes in variants(TrainSettings) if "softmax" in changes]
CONFIGURED: dict[str, tuple[str, dict[str, Any]]] = {
    "sasrec, mixed, by rows": ("sasrec", {"softmax": "mixed", "optimiser": "row-adam"}),
    "sasrec, tied, popularity, by rows, clipped": (
        "sasrec",
        {"softmax": "popularity", "tied": True, "optimiser": "row-adam", "clip_norm": 0.05, "clip_value": 0.01},
    ),
    "gsasrec, shared, by rows": ("gsasrec", {"shared": True, "optimiser": "row-adam"}),
    "sasrec-ccql, uniform, by rows": (
        "sasrec-ccql",
        {"softmax": "uniform", "conservative": "sampled", "optimiser": "row-adam"},
    ),
    "s3-rec, in-batch, by rows": ("s3-rec", {"softmax": "in-batch", "optimiser": "row-adam"}),
    "sasrec, sce": ("sasrec", {"softmax": "sce", "candidates": 3}),
}
configured = pytest.mark.parametrize(("name", "changes"), CONFIGURED.values(), ids=CONFIGURED)


def test_every_way_to_sum_is_tried_here() -> None:
    assert [changes["softmax"] for changes in SAMPLED] == ["uniform", "popularity", "in-batch", "mixed", "sce"]
    tried = {changes.get("softmax") for _, changes in CONFIGURED.values()}
    assert tried >= {changes["softmax"] for changes in SAMPLED}
