"""The training step against the step as it is usually written (benchmarks/naive_ccql.py): same losses and gradients."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from naive_ccql import Losses, NaiveCCQL, transitions_of
from seqward import augment
from seqward.backbones.backbone import Vocabulary
from seqward.config import from_keywords
from seqward.data.batches import TrainingEvents
from seqward.data.dataset import Dataset
from seqward.job import Job
from seqward.method import Method
from seqward.methods import method_named
from seqward.networks import Networks
from seqward.step import Step
from seqward.train import total_loss
from shape import retailrocket_shape

CONTEXT = 8


def reverse(items: Tensor, generator: torch.Generator, vocabulary: Vocabulary) -> Tensor:
    """An augmentation without chance: each history, padded on the right, from back to front."""
    length = (items != vocabulary.pad).sum(1, keepdim=True)
    slot = torch.arange(items.shape[1])
    return torch.where(slot < length, items.gather(1, (length - 1 - slot).clamp(min=0)), vocabulary.pad)


def short_sessions(n_items: int) -> Dataset:
    """Sessions of at most CONTEXT events: of longer ones only windows see all, which is where the two may differ."""
    data = retailrocket_shape(60, n_items)
    lengths = (data.offsets[1:] - data.offsets[:-1]).clip(max=CONTEXT)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), torch.as_tensor(lengths).cumsum(0)]).numpy()
    columns = ("item", "reward", "goal", "event_type", "split")
    return replace(data, offsets=offsets, **{name: getattr(data, name)[: offsets[-1]] for name in columns})


def job_of(data: Dataset, folder: Path, **keywords: Any) -> tuple[Job, Any]:
    """A run of sasrec-ccql without dropout, and its objective settings."""
    entry = method_named("sasrec-ccql")
    keywords = {"dropout_rate": 0.0, "session_max_len": CONTEXT, "n_factors": 16, "init": "xavier", **keywords}
    sections = from_keywords(entry.sections, keywords)
    method = entry.build(**sections)
    assert isinstance(method, Method)
    events = TrainingEvents(data, CONTEXT)
    return Job(method, events, sections["train"], folder, None), sections["objective"]


@pytest.mark.parametrize("engine", ["dense", "chunked"])
@pytest.mark.parametrize("phase", [1, 2])
@pytest.mark.parametrize("conservative", ["negatives", "catalogue"])
def test_losses_and_gradients(
    conservative: str, phase: int, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One step on the same sessions, negatives and views; 1,300 items are several chunks of the chunked engine."""
    monkeypatch.setitem(augment.AUGMENTATIONS, "permutation", lambda share: reverse)
    keywords = {"conservative": conservative, "catalogue": engine, "alpha": 0.5, "omega": 0.7}
    job, objective = job_of(short_sessions(1300), tmp_path, **keywords)
    networks = Networks(job)
    online, target = networks.modules[1], networks.modules[0]
    batch = job.data.batch(0, 24, seed=3)
    step = Step(online, target, batch, 3, 0)  # type: ignore[arg-type]
    loss, means = total_loss(job.method.phases[phase - 1], step)
    loss.backward()
    ours = {name: p.grad.clone() for name, p in online.named_parameters() if p.grad is not None}
    assert all(p.grad is None for p in target.parameters())

    online.zero_grad(set_to_none=True)
    naive = NaiveCCQL(online, target, objective, phase)  # type: ignore[arg-type]
    transitions = transitions_of(batch, CONTEXT)
    view = reverse(transitions.next_state[transitions.last], torch.Generator(), job.data.vocabulary)
    theirs = naive.losses(transitions, step.negatives(objective.negatives), view)
    naive.total(theirs).backward()

    torch.testing.assert_close(torch.stack(list(means.values())), torch.stack([*theirs]).detach(), rtol=1e-5, atol=1e-6)
    assert len(means) == len(Losses._fields)
    expected = {name: p.grad for name, p in online.named_parameters() if p.grad is not None}
    assert ours.keys() == expected.keys() == dict(online.named_parameters()).keys()
    for name, gradient in expected.items():
        scale = gradient.abs().max()
        torch.testing.assert_close(ours[name], gradient, rtol=1e-4, atol=float(1e-5 * scale + 1e-8), msg=name)
