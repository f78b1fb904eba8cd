"""Settings that do nothing while another of their section stands as it does."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

IDLE: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
    ("target", "twin", ("tau",)),
    ("returns", "monte-carlo", ("n_step", "next_samples", "target_min")),
    ("gamma", 0.0, ("n_step", "returns", "target_min", "next_samples", "negative_leads_to")),
    (
        "omega",
        0.0,
        (
            "n_step",
            "returns",
            "target_min",
            "critic_loss",
            "huber_delta",
            "outside",
            "negative_reward",
            "negative_leads_to",
            "negatives",
            "intrinsic_share",
            "intrinsic",
            "fakes",
            "n_fakes",
        ),
    ),
    ("alpha", 0.0, ("conservative", "temperature", "negatives")),
    ("negatives", 0, ("outside", "negative_reward", "negative_leads_to")),
    (
        "contrast_weight",
        0.0,
        (
            "contrast_temperature",
            "augment",
            "augment_share",
            "similarity",
            "crop_share",
            "mask_share",
            "reorder_share",
            "contrast",
        ),
    ),
    ("intrinsic_share", 0.0, ("intrinsic", "fakes", "n_fakes")),
    ("masked_weight", 0.0, ("masked_share",)),
    ("pretrain_epochs", 0.0, ("masked_weight", "masked_share", "segment_weight")),
    ("count_weight", 0.0, ("count_scale",)),
    ("critic", "linear", ("q_min", "q_max")),
    ("critic", "hl-gauss", ("critic_loss", "huber_delta")),
    ("critic_loss", "squared", ("huber_delta",)),
    (
        "phases",
        1,
        (
            "warmup_events",
            "lr_phase_2",
            "advantage_min",
            "advantage_max",
            "propensity_power",
            "propensity_min",
            "propensity_max",
        ),
    ),
    ("propensity_power", 0.0, ("propensity_min", "propensity_max")),
    ("conservative", "catalogue", ("negatives",)),
    ("contrast", "coordinate", ("contrast_temperature",)),
    ("augment", "permutation", ("augment_share",)),
    ("advantage_weight", "binary", ("temperature", "weight_cap")),
    ("lr_schedule", "constant", ("lr_tenth_epochs",)),
    ("weight_decay", 0.0, ("weight_decay_form",)),
    ("watch", False, ("probe_every", "probe_sessions", "tolerance")),
    ("actions", "observe", ("ladder",)),
    ("clip_update", None, ("clip_update_least",)),
    ("softmax", "full", ("candidates", "popularity_power")),
    ("softmax", "in-batch", ("candidates", "popularity_power")),
    *(("softmax", proposal, ("popularity_power",)) for proposal in ("uniform", "mixed", "sce")),
)
"""A setting, its value, and which settings then have no effect, in every method that has them."""
ELSEWHERE = {("omega", "negatives"): "alpha", ("returns", "target_min"): "outside"}
"""Of a cause and a setting, what a section has where another term reads that setting: a conservative term of negatives,
and a temporal difference of negatives, whose targets are bootstrapped always."""
PRETRAINED = ("contrast_weight",)
"""Weights of terms that pre-training minimises as well, where there is any, whatever they weigh behind it."""


def without_effect(section: Any, default: Any, of: str = "objective") -> list[str]:
    """What is set other than its default and has no effect, each with the reason.

    Args:
        of: the section's name.
    """
    names = {field.name for field in fields(section)}
    asked = PRETRAINED if getattr(section, "pretrain_epochs", 0) else ()
    return [
        f"{of}.{name}={getattr(section, name)} has no effect: {of}.{cause} is {value}."
        for cause, value, idle in IDLE
        if cause in names and cause not in asked and getattr(section, cause) == value
        for name in idle
        if name in names and getattr(section, name) != getattr(default, name)
        if ELSEWHERE.get((cause, name)) not in names
    ]
