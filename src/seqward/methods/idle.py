"""Settings of an objective that do nothing while another stands as it does."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

IDLE: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
    ("target", "twin", ("tau",)),
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
)
"""A setting, its value, and which settings then have no effect, in every method that has them."""


def without_effect(objective: Any, default: Any) -> list[str]:
    """What is set other than its default and has no effect, each with the reason."""
    names = {field.name for field in fields(objective)}
    return [
        f"objective.{name}={getattr(objective, name)} has no effect: objective.{cause} is {value}."
        for cause, value, idle in IDLE
        if cause in names and getattr(objective, cause) == value
        for name in idle
        if name in names and getattr(objective, name) != getattr(default, name)
    ]
