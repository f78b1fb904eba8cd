"""Defaults as the sources have them, of methods whose own tests hold other values. What is ours is not here."""

from __future__ import annotations

import math
from typing import Any

import pytest

from seqward.methods import METHODS

DEFAULTS: dict[str, dict[str, Any]] = {
    # method: section.setting -> what its source (named in docs/methods.md) has
    "crr": {
        "objective.samples": 4,
        "objective.temperature": 1.0,
        "objective.weight_cap": 20.0,
        "objective.advantage_weight": "exponential",
        "objective.target": "ema",
        "objective.tau": 0.005,
        "objective.gamma": 0.5,
        "train.lr": 0.005,
    },
    "iql-awr": {"objective.expectile": 0.7, "objective.beta": 3.0, "objective.weight_cap": 100.0},
    "reinforce-topk": {"objective.slate": 16, "objective.ratio_cap": math.exp(3)},
    "prl": {"backbone.ask": 2.0, "backbone.dropout_rate": 0.3, "train.lr": 0.005, "train.epochs": 30},
    "cl4srec": {
        "objective.contrast_temperature": 1.0,
        "objective.similarity": "dot",
        "objective.contrast_weight": 0.1,
        "objective.crop_share": 0.6,
        "objective.mask_share": 0.3,
        "objective.reorder_share": 0.6,
        "train.lr": 0.001,
    },
    "s3-rec": {"objective.masked_share": 0.2, "objective.masked_weight": 1.0, "objective.segment_weight": 0.5},
    "sasrec-ccql": {
        "objective.alpha": 0.01,
        "objective.temperature": 0.5,
        "objective.negatives": 10,
        "objective.conservative": "negatives",
        "objective.contrast_temperature": 0.07,
        "objective.contrast_weight": 1.0,
        "train.clip_value": 1.0,
    },
    "gsasrec": {"objective.negatives": 256, "objective.t": 0.75, "backbone.dropout_rate": 0.5},
    "esasrec": {"objective.negatives": 256, "backbone.n_blocks": 2, "train.beta2": 0.98},
    "vsknn": {"neighbours.neighbours": 100, "neighbours.sample": 1000},
    "stan": {"neighbours.neighbours": 500, "neighbours.lambda_1": 1.02, "neighbours.lambda_3": 2.05},
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults_are_those_of_the_source(name: str) -> None:
    sections = METHODS[name].all_sections
    found = {key: getattr(sections[key.partition(".")[0]], key.partition(".")[2]) for key in DEFAULTS[name]}
    assert found == DEFAULTS[name]
