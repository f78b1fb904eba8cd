"""The studies that are kept: each can be read, and the tiers hold what they are to hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from machine import ROOT
from seqward.bench.study import Study, read_study
from seqward.methods import METHODS

FOLDER = ROOT / "benchmarks" / "studies"


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_study_names_methods_and_settings_that_exist(file: Path) -> None:
    study = read_study(file)
    assert study.runs()


def sections(study: Study) -> dict[str, Any]:
    return {label: study.method_of(label)[1] for label in study.methods}


def test_tier_a_is_every_method_three_times_in_five_minutes() -> None:
    study = read_study(FOLDER / "tier-a.yaml")
    assert set(study.methods) == {name for name, entry in METHODS.items() if entry.family != "baseline"}
    seeds = {label: {key.seed for key in study.runs() if key.method == label} for label in study.methods}
    assert {label for label, of in seeds.items() if of != {0, 1, 2}} == {"vsknn", "stan", "item-knn"}
    assert study.max_minutes == 5
    for label, own in sections(study).items():
        if not METHODS[label].trained:
            continue
        assert (own["train"].batch_size, own["backbone"].session_max_len) == (64, 30), label
        warmup = getattr(own["objective"], "warmup_events", 0.4)
        assert warmup == (0 if label in ("gru4rec-ac", "caser-ac", "nextitnet-ac") else 0.4), label
        assert getattr(own["objective"], "pretrain_epochs", 0) < own["train"].epochs, label
        if label not in ("bert4rec", "gsasrec"):
            assert own["train"].lr == METHODS[label].sections["train"].lr, label


@pytest.mark.parametrize(
    ("name", "compared"),
    [
        ("tier-b-ml-1m", {"sasrec", "gsasrec", "esasrec", "bert4rec"}),
        ("tier-b-beauty", {"sasrec", "esasrec"}),
    ],
)
def test_tier_b_stands_beside_what_is_published(name: str, compared: set[str]) -> None:
    study = read_study(FOLDER / f"{name}.yaml")
    (data,) = study.data
    assert [str(key) for key in study.runs()] == [
        *(f"{data}/{method}/0" for method in ("sasrec", "gsasrec", "esasrec", "gru4rec", "bert4rec", "cl4srec")),
        f"{data}/sasrec/1",
        f"{data}/sasrec/2",
    ]
    assert study.max_minutes == 60 and study.evaluate == {"exclude_history": True}
    assert {entry["method"] for entry in study.published if entry["data"] == data} == compared
    for own in sections(study).values():
        assert own["train"].exclude_history and own["train"].metric == "all.ndcg@10"
        assert own["train"].draw == "tails"
