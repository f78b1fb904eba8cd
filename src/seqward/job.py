"""What a training run is told: its settings, and the method, data, seed and folder they belong to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import torch

from seqward.catalogue.sampled import Sampling
from seqward.data.batches import Draw, TrainingEvents
from seqward.method import Method
from seqward.model import NetworkScorer
from seqward.settings import Count, NonNegative, Positive, Share, Whole, settings
from seqward.stability.settings import GuardSettings


@settings
class TrainSettings:
    epochs: Count = 60
    """Passes over the training events, at most."""
    batch_size: Count = 256
    """Sessions (or transitions) a step."""
    draw: Draw = "sessions"
    """What a batch is made of: whole sessions, every event of which counts; transitions, single events as in the paper;
    or tails, the last events of each session that fit the context, the first of them only read, as SASRec was
    published."""
    lr: Positive = 0.001
    """Learning rate of Adam (of the first phase, where there are two)."""
    lr_warmup: Whole = 0
    """Steps over which the learning rate rises from 0 to its full height."""
    lr_schedule: Literal["constant", "linear", "tenths"] = "constant"
    """How it goes on: as it is; down to 0 in a line, at the last step of the planned epochs; or to a tenth of itself
    every lr_tenth_epochs."""
    lr_tenth_epochs: Count = 3
    """Epochs from one tenth to the next where lr_schedule is tenths."""
    beta2: Share = 0.999
    """How much of Adam's second moment a step keeps."""
    item_dropout: Share = 0.0
    """Drop this share of the elements of all item embeddings, drawn once a step: histories are read, and a tied head
    scores, by the same rest."""
    weight_decay: NonNegative = 0.0
    """Pulls weights to 0 by this share of each."""
    weight_decay_form: Literal["l2", "decoupled"] = "l2"
    """l2: the share is added to the gradient. decoupled: it is taken from the weight, times the learning rate, beside
    Adam's step."""
    clip_value: Positive | None = None
    """Clamp each entry of the gradient to [-clip_value, clip_value]."""
    clip_norm: Positive | None = None
    """Scale the gradient down to this norm."""
    clip_zscore: Positive | None = None
    """Scale a gradient down whose norm is more than so many deviations above the running mean of norms (ZClip: 2.5)."""
    clip_update: NonNegative | None = None
    """Scale a tensor's update down to where no weight moves by more than this share of itself and clip_update_least
    (Clippy: 0.5)."""
    clip_update_least: Positive = 0.01
    """How far any weight may move."""
    metric: str = "reward@20"
    """What validation selects by: NAME, or GROUP.NAME such as goal.ndcg@20."""
    validate_every: Positive = 1.0
    """Epochs between validations."""
    validation_sessions: Whole = 0
    """Validate on this many sessions, drawn once by the seed; 0 for all."""
    exclude_history: bool = False
    """Validate with items of the earlier session left out of the candidates."""
    patience: Whole = 10
    """Stop after this many validations without a better value; 0 for never."""
    log_every: Count = 10
    """Steps between two lines of the log."""
    checkpoint_minutes: Positive = 5.0
    """Minutes between two checkpoints."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: products in bfloat16, sums and weights in fp32."""
    catalogue: Literal["auto", "dense", "chunked", "fused"] = "auto"
    """Which engine scores the catalogue; the results are the same."""
    softmax: Literal["full", "uniform", "popularity", "in-batch", "mixed", "sce"] = "full"
    """What sums over the catalogue in a loss run over: all items, or, as an estimate for catalogues that are too large
    for it, candidates drawn once a batch, corrected for how they were drawn: uniform, by popularity, the logged items
    of the batch's other sessions, or these and uniform ones (mixed). sce: the items in a state's random direction."""
    candidates: Count = 256
    """Items drawn for a batch where the softmax is uniform, popularity or mixed; in a bucket where it is sce."""
    popularity_power: NonNegative = 1.0
    """Power of popularity that candidates are drawn by; 0 is uniform."""
    optimiser: Literal["adam", "row-adam"] = "adam"
    """row-adam: the same steps, but rows of items that a step does not read wait until one does. It pays with a sampled
    softmax, or where few rows of the embeddings are read; a table that is read whole takes Adam's step whole."""

    def __post_init__(self) -> None:
        if self.optimiser == "row-adam" and (self.weight_decay or self.lr_warmup or self.lr_schedule != "constant"):
            raise ValueError(
                "optimiser row-adam catches up with the steps that a row waited as if the learning rate had been the "
                "same in all of them, without weight_decay: set lr_schedule=constant, lr_warmup=0 and weight_decay=0, "
                "or take adam"
            )
        if self.optimiser == "row-adam" and self.beta2 <= 0.9:
            raise ValueError(
                "optimiser row-adam sums up the steps that a row waited, which has an end only where beta2 is above "
                "0.9: set beta2 higher, or take adam"
            )
        if self.optimiser == "row-adam" and self.clip_update is not None:
            raise ValueError(
                "clip_update looks at the update of a whole table, and optimiser row-adam has rows wait for theirs: "
                "take adam"
            )
        if self.optimiser == "row-adam" and self.item_dropout:
            raise ValueError(
                "item_dropout touches every row in every step, and optimiser row-adam has rows wait that are not read: "
                "set item_dropout=0, or take adam"
            )
        if self.softmax == "in-batch" and self.batch_size == 1:
            raise ValueError("softmax in-batch has nothing to compare with in a batch of 1: set batch_size")

    @property
    def sampling(self) -> Sampling | None:
        """How sums over the catalogue are estimated; None where they are not."""
        return None if self.softmax == "full" else Sampling(self.softmax, self.candidates, self.popularity_power)


@dataclass(frozen=True)
class Job:
    """What to train, on what, and where to keep it."""

    method: Method
    data: TrainingEvents
    settings: TrainSettings
    folder: Path
    validate: Callable[[NetworkScorer], dict[str, Any]] | None
    """Metrics on the validation split; None where it is empty."""
    seed: int = 0
    max_minutes: float | None = None
    guard: GuardSettings = field(default_factory=GuardSettings)

    @property
    def precision(self) -> torch.autocast:
        """Products in bfloat16 in here, where the settings say so."""
        return torch.autocast(self.data.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16")

    @property
    def steps_per_epoch(self) -> int:
        return self.data.steps_per_epoch(self.settings.batch_size)

    @property
    def last_step(self) -> int:
        return self.settings.epochs * self.steps_per_epoch

    @property
    def planned_events(self) -> int:
        """Training events of all epochs."""
        return self.settings.epochs * self.data.n_events

    def phase_length(self, phase: int) -> int | None:
        """Training events of a phase, counted from 0; None for one that lasts until the end."""
        events, epochs = self.method.phases[phase].events, self.method.phases[phase].epochs
        if epochs is not None:
            return round(epochs * self.data.n_events)
        return round(events * self.planned_events) if isinstance(events, float) else events

    @property
    def last_phase(self) -> int:
        """The last phase that the planned events reach, counted from 0."""
        lengths = [self.phase_length(phase) or 0 for phase in range(len(self.method.phases) - 1)]
        return sum(end < self.planned_events for end in accumulate(lengths))

    @property
    def validation_interval(self) -> int:
        """Steps between validations."""
        return max(1, round(self.settings.validate_every * self.steps_per_epoch))
