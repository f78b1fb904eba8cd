"""Every method at a size at which a step takes milliseconds."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from seqward import train as training
from seqward.checkpoint import Progress
from seqward.data.batches import TrainingEvents
from seqward.data.dataset import Dataset
from seqward.job import Job
from seqward.method import Loss, Method, Term
from seqward.methods import METHODS, Entry
from seqward.networks import Networks
from seqward.recommender import Recommender
from seqward.step import Step
from seqward.train import take_step
from worlds import data_of, random_sessions, split_by_session

SMALL: dict[str, Any] = {
    "n_factors": 8,
    "session_max_len": 4,
    "batch_size": 8,
    "epochs": 3,
    "log_every": 1,
    "metric": "ndcg@5",
    "warmup_events": 190,
    "pretrain_epochs": 1.3,
    "dilations": (1, 2),
    "negatives": 3,
}
"""With ``shop()``: 5 or more steps an epoch, a validation after each, a second phase in the middle of the run."""
STEADY = {"lr_warmup": 0, "lr_schedule": "constant", "weight_decay": 0.0, "item_dropout": 0.0}
"""One learning rate, and weights that nothing but the loss moves, where it reads them: row-adam asks for it."""
TRAINED = [name for name, entry in METHODS.items() if entry.trained]


def shop() -> Dataset:
    """50 sessions of up to 6 of 12 items: 40 for training, 5 and 5 for validation and test."""
    sessions = random_sessions(50, 12, 6)
    rewards = [[1.0 if item % 3 == 0 else 0.2 for item in session] for session in sessions]
    return split_by_session(data_of(sessions, 12, rewards=rewards), 5, 5)


def ring() -> Dataset:
    """The shop's size, and what follows an item is known: the one with the next number."""
    sessions = [[(start + step) % 12 for step in range(6)] for start in range(50)]
    rewards = [[1.0 if item % 3 == 0 else 0.2 for item in session] for session in sessions]
    return split_by_session(data_of(sessions, 12, rewards=rewards), 5, 5)


def keys_of(entry: Entry) -> set[str]:
    """The settings of a method, whatever their section."""
    return {field.name for section in entry.sections.values() for field in dataclasses.fields(section)}


def recommender(name: str, seed: int = 0, **changes: Any) -> Recommender:
    """A recommender with those settings of SMALL and ``changes`` that the method has; some method has each."""
    entry = METHODS[name]
    single = entry.trained and entry.sections["train"].draw == "transitions"
    settings = SMALL | ({"batch_size": 24} if single else {}) | changes
    unknown = settings.keys() - set().union(*map(keys_of, METHODS.values()))
    assert not unknown, f"no method has {', '.join(sorted(unknown))}"
    settings = {key: value for key, value in settings.items() if key in keys_of(entry)}
    return Recommender(name, seed=seed, device="cpu", **settings)


def job_of(name: str, data: Dataset, folder: Path = Path("unused"), seed: int = 0, **changes: Any) -> Job:
    """What ``Recommender.fit`` trains, without validation."""
    r = recommender(name, seed, **changes)
    method = r.entry.build(**r.sections)
    assert isinstance(method, Method)
    train = r.sections["train"]
    events = TrainingEvents(data, r.sections["backbone"].session_max_len, train.draw)
    return Job(method, events, train, folder, None, seed)


def step_of(job: Job, networks: Networks) -> Step:
    """The first step of a job: network 0 learns, and the last one gives the targets."""
    online, target = networks.modules[0], networks.modules[-1]
    return training.step_of(job, online, target, job.data.batch(0, 8, 0), 0)


def loud_step(job: Job) -> Step:
    """The same without dropout, on networks whose heads have something to say."""
    networks = Networks(job)
    generator = torch.Generator().manual_seed(3)
    for module in networks.modules:
        for p in module.heads.parameters():  # type: ignore[union-attr]
            torch.nn.init.normal_(p, std=0.5, generator=generator)
    networks.modules.eval()
    return step_of(job, networks)


def loss_of(job: Job, symbol: str, phase: int = 0) -> Loss:
    """A term's loss."""
    return next(term.loss for term in job.method.phases[phase].terms if term.symbol == symbol)


def steps_of_learning(job: Job, times: int) -> int:
    """The number of steps in which network 0 learns so often."""
    learned = [step + 1 for step in range(50) if job.method.target.roles(job.seed, step).online == 0]
    return learned[times - 1]


def in_phase(job: Job, number: int, *terms: Term) -> Job:
    """The job in one of its phases only, of those terms if any are given."""
    phase = job.method.phases[number]
    only = replace(phase, terms=terms or phase.terms, events=None, epochs=None, selects=True)
    return replace(job, method=replace(job.method, phases=(only,)))


def after_steps(job: Job, steps: int, phase: int = 0) -> Networks:
    """The networks after so many steps of one phase; nothing is written."""
    networks, progress = Networks(job), Progress(phase=phase)
    for _ in range(steps):
        take_step(job, networks, progress)
    return networks


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Everything that a checkpoint or several hold in tensors, by file and name."""
    files = sorted(folder.rglob("*.safetensors"))
    return {f"{file.relative_to(folder)}/{k}": v for file in files for k, v in load_file(file).items()}


def assert_same_bits(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def variants(section: type) -> Iterator[dict[str, Any]]:
    """The defaults, and each other choice of each setting that is a switch or a word."""
    yield {}
    hints = typing.get_type_hints(section)
    for field in dataclasses.fields(section):
        hint = hints[field.name]
        choices = [False, True] if hint is bool else typing.get_args(hint)
        if typing.get_origin(hint) is typing.Literal or hint is bool:
            yield from ({field.name: choice} for choice in choices if choice != field.default)


def objectives(entry: Entry) -> list[dict[str, Any]]:
    """``variants`` of a method's objective, relative to its own defaults."""
    return list(variants(type(entry.sections["objective"])))
