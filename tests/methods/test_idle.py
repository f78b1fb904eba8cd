"""Settings that do nothing are told, where they were changed."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch

from jobs import in_phase, job_of, loss_of, loud_step, recommender, shop
from seqward.fitting import warn_of_idle
from seqward.methods import METHODS
from seqward.methods.idle import IDLE, without_effect
from seqward.stability.settings import GuardSettings

CHANGED = [
    ("snqn", {"tau": 0.1}, ["objective.tau=0.1 has no effect: objective.target is twin."]),
    ("snqn", {"tau": 0.1, "target": "ema"}, []),
    ("snqn", {}, []),
    (
        "sasrec-ac",
        {"phases": 1, "lr_phase_2": 0.5, "warmup_events": 7},
        [
            "objective.warmup_events=7 has no effect: objective.phases is 1.",
            "objective.lr_phase_2=0.5 has no effect: objective.phases is 1.",
        ],
    ),
    ("sasrec-ac", {"lr_phase_2": 0.5, "warmup_events": 7}, []),
    (
        "sasrec-ccql",
        {"conservative": "catalogue", "negatives": 20, "warmup_events": 0.4},
        ["objective.negatives=20 has no effect: objective.conservative is catalogue."],
    ),
    (
        "sasrec-ccql",
        {"augment_share": 0.9, "negatives": 10, "warmup_events": 0.4},
        ["objective.augment_share=0.9 has no effect: objective.augment is permutation."],
    ),
    (
        "sasrec-co-released",
        {"contrast_temperature": 0.5, "warmup_events": 0.4},
        ["objective.contrast_temperature=0.5 has no effect: objective.contrast is coordinate."],
    ),
    (
        "crr",
        {"advantage_weight": "binary", "temperature": 2.0},
        ["objective.temperature=2.0 has no effect: objective.advantage_weight is binary."],
    ),
    ("snqn", {"returns": "monte-carlo", "target_min": True}, []),
    ("sasrec-ccql", {"omega": 0.0, "phases": 1, "negatives": 20, "warmup_events": 3_840_000}, []),
    ("sasrec-sqn", {"q_max": 3.0}, ["objective.q_max=3.0 has no effect: objective.critic is linear."]),
    ("sasrec-sqn", {"q_max": 3.0, "q_min": -1.0, "critic": "bounded"}, []),
    (
        "cp4rec-cdarl",
        {"contrast_weight": 0.0, "similarity": "cosine", "pretrain_epochs": 0.0},
        ["objective.similarity=cosine has no effect: objective.contrast_weight is 0.0."],
    ),
    ("cp4rec-cdarl", {"contrast_weight": 0.0, "similarity": "cosine", "pretrain_epochs": 1.0}, []),
    (
        "sasrec-sqn",
        {"huber_delta": 2.0},
        ["objective.huber_delta=2.0 has no effect: objective.critic_loss is squared."],
    ),
    (
        "sasrec-sqn",
        {"critic": "hl-gauss", "critic_loss": "huber", "huber_delta": 2.0},
        [
            "objective.critic_loss=huber has no effect: objective.critic is hl-gauss.",
            "objective.huber_delta=2.0 has no effect: objective.critic is hl-gauss.",
        ],
    ),
    (
        "sasrec-sqn",
        {"returns": "monte-carlo", "n_step": 3},
        ["objective.n_step=3 has no effect: objective.returns is monte-carlo."],
    ),
    (
        "sa2c",
        {"propensity_max": 5.0, "warmup_events": 0.4, "negatives": 10},
        ["objective.propensity_max=5.0 has no effect: objective.propensity_power is 0.0."],
    ),
]


@pytest.mark.parametrize(("name", "changes", "expected"), CHANGED)
def test_what_was_changed_in_vain_is_told(name: str, changes: dict[str, Any], expected: list[str]) -> None:
    changes = ({"negatives": 10} if name == "snqn" else {}) | changes
    objective = recommender(name, **changes).sections["objective"]
    assert without_effect(objective, METHODS[name].sections["objective"]) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"clip_update_least": 0.1}, ["train.clip_update_least=0.1 has no effect: train.clip_update is None."]),
        ({"clip_update_least": 0.1, "clip_update": 0.5}, []),
        ({"candidates": 9}, ["train.candidates=9 has no effect: train.softmax is full."]),
        ({"softmax": "in-batch", "candidates": 9}, ["train.candidates=9 has no effect: train.softmax is in-batch."]),
        ({"softmax": "popularity", "candidates": 9, "popularity_power": 0.5}, []),
        (
            {"softmax": "mixed", "candidates": 9, "popularity_power": 0.5},
            ["train.popularity_power=0.5 has no effect: train.softmax is mixed."],
        ),
        ({"lr_tenth_epochs": 7}, ["train.lr_tenth_epochs=7 has no effect: train.lr_schedule is constant."]),
        ({"weight_decay_form": "decoupled", "weight_decay": 0.1}, []),
        (
            {"weight_decay_form": "decoupled"},
            ["train.weight_decay_form=decoupled has no effect: train.weight_decay is 0.0."],
        ),
    ],
)
def test_settings_of_training_are_told_likewise(
    changes: dict[str, Any], expected: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "seqward"):
        recommender("sasrec", epochs=1, **changes).fit(shop())
    assert in_vain(caplog) == expected


@pytest.mark.parametrize(
    ("guard", "expected"),
    [
        (GuardSettings(ladder=("stop",)), ["guard.ladder=('stop',) has no effect: guard.actions is observe."]),
        (GuardSettings(ladder=("stop",), actions="repair"), []),
        (GuardSettings(watch=False, probe_every=3), ["guard.probe_every=3 has no effect: guard.watch is False."]),
    ],
)
def test_settings_of_the_guard_are_told_likewise(
    guard: GuardSettings, expected: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    sections = METHODS["sasrec"].all_sections
    with caplog.at_level(logging.WARNING, "seqward"):
        warn_of_idle({**sections, "guard": guard}, sections)
    assert in_vain(caplog) == expected


def in_vain(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if "has no effect" in r.getMessage()]


def test_training_warns_of_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "seqward"):
        recommender("sasrec-sqn", tau=0.1, epochs=1).fit(shop())
        recommender("sasrec-sqn", tau=0.1, epochs=1, target="ema").fit(shop())
    assert in_vain(caplog) == ["objective.tau=0.1 has no effect: objective.target is twin."]


@pytest.mark.parametrize(
    ("changes", "told"), [({"lr": 0.5}, True), ({"lr": 0.5, "lr_phase_2": None}, False), ({}, False)]
)
def test_a_rate_of_a_phase_that_is_left_out_is_told(
    changes: dict[str, Any], told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "seqward"):
        recommender("sasrec-ccql", warmup_events=0, epochs=1, **changes).fit(shop())
    said = "train.lr=0.5 has no effect: objective.warmup_events is 0, and objective.lr_phase_2=0.001 is the rate of "
    assert in_vain(caplog) == [said + "the second phase."] * told


def test_no_method_has_a_default_that_is_told() -> None:
    for entry in METHODS.values():
        if entry.trained:
            for of in ("objective", "train", "guard"):
                assert without_effect(entry.all_sections[of], entry.all_sections[of], of) == []


def test_every_row_is_of_settings_that_some_method_has() -> None:
    """Else a renamed setting would fall silent."""
    parts, entries = ("objective", "train", "guard"), [entry for entry in METHODS.values() if entry.trained]
    sections = [entry.all_sections[of] for entry in entries for of in parts]
    for cause, value, idle in IDLE:
        for name in idle:
            assert any(hasattr(s, cause) and hasattr(s, name) for s in sections), (cause, value, name)


OTHER: dict[str, Any] = {
    "negatives": 5,
    "contrast_temperature": 0.9,
    "augment_share": 0.9,
    "temperature": 3.0,
    "weight_cap": 7.0,
    "propensity_min": 0.5,
    "propensity_max": 2.0,
    "candidates": 7,
    "popularity_power": 0.5,
    "n_step": 3,
    "q_min": -1.0,
    "q_max": 0.5,
    "critic_loss": "huber",
    "huber_delta": 0.01,
    "conservative": "catalogue",
    "negative_reward": -1.0,
    "negative_leads_to": "next",
    "outside": "session",
    "returns": "monte-carlo",
    "target_min": True,
    "next_samples": 3,
    "similarity": "cosine",
    "crop_share": 0.9,
    "mask_share": 0.9,
    "reorder_share": 0.9,
    "intrinsic": "imitation",
    "fakes": "policy",
    "n_fakes": 3,
    "masked_share": 0.9,
    "masked_weight": 0.7,
    "segment_weight": 0.7,
    "count_scale": "raw",
    "intrinsic_share": 0.9,
    "contrast": "coordinate",
}


@pytest.mark.parametrize(
    ("name", "cause", "value", "idle"),
    [
        ("sasrec-ccql", "conservative", "catalogue", "negatives"),
        ("sasrec-co-released", "contrast", "coordinate", "contrast_temperature"),
        ("sasrec-co", "augment", "permutation", "augment_share"),
        ("crr", "advantage_weight", "binary", "temperature"),
        ("crr", "advantage_weight", "binary", "weight_cap"),
        ("sa2c-smooth", "propensity_power", 0.0, "propensity_min"),
        ("sa2c-smooth", "propensity_power", 0.0, "propensity_max"),
        ("snqn", "returns", "monte-carlo", "n_step"),
        ("sasrec-sqn", "critic", "linear", "q_min"),
        ("sasrec-sqn", "critic", "linear", "q_max"),
        ("snqn", "critic", "hl-gauss", "critic_loss"),
        ("snqn", "critic_loss", "squared", "huber_delta"),
        ("sasrec-ccql", "alpha", 0.0, "conservative"),
        ("sasrec-ccql", "alpha", 0.0, "temperature"),
        ("sasrec-ccql", "alpha", 0.0, "negatives"),
        ("sasrec-ccql", "contrast_weight", 0.0, "contrast_temperature"),
        ("snqn", "omega", 0.0, "negative_reward"),
        ("snqn", "omega", 0.0, "negative_leads_to"),
        ("snqn", "omega", 0.0, "outside"),
        ("sasrec-sqn", "omega", 0.0, "n_step"),
        ("sasrec-sqn", "omega", 0.0, "returns"),
        ("sasrec-sqn", "omega", 0.0, "target_min"),
        ("sasrec-sqn", "omega", 0.0, "critic_loss"),
        ("s3-rec", "pretrain_epochs", 0.0, "masked_weight"),
        ("s3-rec", "pretrain_epochs", 0.0, "masked_share"),
        ("s3-rec", "pretrain_epochs", 0.0, "segment_weight"),
        ("snqn", "negatives", 0, "negative_reward"),
        ("snqn", "negatives", 0, "negative_leads_to"),
        ("snqn", "negatives", 0, "outside"),
        ("sasrec-sqn", "gamma", 0.0, "n_step"),
        ("sasrec-sqn", "gamma", 0.0, "returns"),
        ("sasrec-sqn", "gamma", 0.0, "target_min"),
        ("snqn", "gamma", 0.0, "negative_leads_to"),
        ("crr", "gamma", 0.0, "next_samples"),
        ("snqn", "omega", 0.0, "negatives"),
        ("cdarl", "omega", 0.0, "intrinsic_share"),
        ("cdarl", "omega", 0.0, "intrinsic"),
        ("cdarl", "omega", 0.0, "fakes"),
        ("cdarl", "omega", 0.0, "n_fakes"),
        ("sasrec-co-released", "contrast_weight", 0.0, "contrast"),
        ("sasrec-sqn", "returns", "monte-carlo", "target_min"),
        ("crr", "returns", "monte-carlo", "next_samples"),
        ("cl4srec", "contrast_weight", 0.0, "similarity"),
        ("cl4srec", "contrast_weight", 0.0, "crop_share"),
        ("cdarl", "contrast_weight", 0.0, "mask_share"),
        ("cdarl", "contrast_weight", 0.0, "reorder_share"),
        ("cdarl", "intrinsic_share", 0.0, "intrinsic"),
        ("cdarl", "intrinsic_share", 0.0, "fakes"),
        ("cdarl", "intrinsic_share", 0.0, "n_fakes"),
        ("s3-rec", "masked_weight", 0.0, "masked_share"),
        ("sasrec-count-past", "count_weight", 0.0, "count_scale"),
        ("sasrec-ccql", "softmax", "full", "candidates"),
        ("sasrec-ccql", "softmax", "in-batch", "candidates"),
        ("sasrec-ccql", "softmax", "mixed", "popularity_power"),
    ],
)
def test_it_has_no_effect_in_truth(name: str, cause: str, value: Any, idle: str) -> None:
    """Each term of each phase that weighs anything is to the bit what it was."""
    one, other = (job_of(name, shop(), **{cause: value}, **changes) for changes in ({}, {idle: OTHER[idle]}))
    for number, phase in enumerate(one.method.phases):
        steps = [loud_step(in_phase(job, number)) for job in (one, other)]
        for term in (term for term in phase.terms if term.weight):
            found = [loss_of(j, term.symbol, number)(s) for j, s in zip((one, other), steps, strict=True)]
            assert torch.equal(*found), term.symbol
