"""The networks of a training run and their optimiser."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from seqward.errors import SeqwardError
from seqward.job import Job
from seqward.memory import free_memory, keep_freed_memory
from seqward.model import Model
from seqward.optimise import RowAdam
from seqward.randomness import seeded
from seqward.target import Ema

BETA1 = 0.9
"""How much of Adam's first moment a step keeps; no source has another."""


class Networks:
    """The networks of a run and the optimiser over all of them."""

    def __init__(self, job: Job) -> None:
        """Raises SeqwardError where the optimiser is to leave rows alone that the target network would read, or where
        there is no room for the networks."""
        self.target = job.method.target
        self.settings = job.settings
        self.rows = job.settings.optimiser == "row-adam"
        self.critic = job.method.critic
        if self.rows and isinstance(self.target, Ema):
            raise SeqwardError(
                "train.optimiser=row-adam leaves rows alone that are not read, and with objective.target=ema the "
                "target follows every row at every step. Take adam, or objective.target=twin."
            )
        refuse_too_large(job)
        if job.data.device.type == "cpu":
            keep_freed_memory()
        self.modules = nn.ModuleList(self.target.networks(build_model(job, 0), lambda: build_model(job, 1)))
        self.modules.to(job.data.device)
        self.optimiser = self._fresh_optimiser(job.method.phases[0].lr)
        for module in self.modules if self.rows else ():
            module.by_rows(lambda table, rows: self.optimiser.read(table, rows))  # type: ignore[operator,union-attr]

    def renew_optimiser(self, lr: float) -> None:
        """Adam from nothing, as at the start of every phase."""
        self.settle()
        self.optimiser = self._fresh_optimiser(lr)

    def _fresh_optimiser(self, lr: float) -> torch.optim.Adam:
        if not self.rows:
            return torch.optim.Adam(
                self._groups(),
                lr=lr,
                betas=(BETA1, self.settings.beta2),
                weight_decay=self.settings.weight_decay,
                decoupled_weight_decay=self.settings.weight_decay_form == "decoupled",
                fused=True,
            )
        tables = [table for module in self.modules for table in module.tables]  # type: ignore[union-attr]
        return RowAdam(self.modules.parameters(), tables, lr, (BETA1, self.settings.beta2))

    def _groups(self) -> list[dict[str, Any]]:
        """The parameters of the critic's head, whose learning rate may be another, and all others."""
        mine = {p for m in self.modules for p in (m.heads[self.critic].parameters() if self.critic else ())}  # type: ignore[index,union-attr]
        rest = [p for p in self.modules.parameters() if p not in mine]
        critics = [p for p in self.modules.parameters() if p in mine]
        return [{"params": rest}, *([{"params": critics, "critic": True}] if critics else [])]

    def set_lr(self, lr: float, critic_share: float = 1.0) -> None:
        """The learning rate of the next step, and the share of it that the critic's head takes."""
        for group in self.optimiser.param_groups:
            group["lr"] = lr * (critic_share if group.get("critic") else 1.0)

    def settle(self) -> None:
        """Bring all weights to where Adam has them, if rows were left alone."""
        if isinstance(self.optimiser, RowAdam):
            self.optimiser.read_all()

    @property
    def evaluated(self) -> Model:
        return self.modules[0]  # type: ignore[return-value]


def build_model(job: Job, number: int) -> Model:
    """A freshly initialised network; number 1 is the twin of number 0."""
    with seeded(job.seed, number, "init"):
        return Model(job.method.backbone, job.method.heads, job.data.vocabulary, job.settings.catalogue)


def refuse_too_large(job: Job) -> None:
    """Refuse what does not fit the memory that is free, before any of it is taken. Weights are counted, and for those
    that learn a gradient and Adam's two moments; what a batch takes is not, but for a matrix of scores.

    Raises:
        SeqwardError: says how much is needed, and what would need less.
    """
    free = free_memory(job.data.device)
    if free is None:
        return
    with torch.device("meta"):
        networks = nn.ModuleList(job.method.target.networks(build_model(job, 0), lambda: build_model(job, 1)))
    tables = [table for network in networks for table in network.tables]  # type: ignore[union-attr]
    learning = sum(p.numel() for p in networks.parameters() if p.requires_grad)
    by_rows = job.settings.optimiser == "row-adam" and job.settings.sampling is not None  # a gradient of few rows
    whole_gradients = learning - by_rows * sum(table.numel() for table in tables if table.requires_grad)
    need = 4 * (2 * learning + whole_gradients + sum(p.numel() for p in networks.parameters()))
    items, width = job.data.n_items, networks[0].backbone.width  # type: ignore[union-attr]
    if need > free:
        sampled = "" if by_rows else ", train.softmax=uniform with train.optimiser=row-adam (no gradient of a table)"
        raise SeqwardError(
            f"{len(tables)} tables of {items:,} items x {width}, with the other weights, gradients and Adam's moments, "
            f"need {need / 1e9:.3g} GB, and {free / 1e9:.3g} GB are free. A smaller backbone.n_factors{sampled}, a "
            "tied head (objective.tied=true, where the method has it) or prepare --min-item-count would need less."
        )
    events = job.data.n_events / max(1, job.steps_per_epoch)
    whole = job.settings.catalogue == "dense" and job.settings.sampling is None
    if whole and (matrix := 4 * 2 * events * items) + need > free:
        raise SeqwardError(
            f"train.catalogue=dense writes {events:,.0f} x {items:,} scores a step and their gradients, "
            f"{matrix / 1e9:.3g} GB, and {free / 1e9:.3g} GB are free. With train.catalogue=auto no matrix is written."
        )
