"""PRL's backbone: its equations slot by slot, the returns it remembers, and what it asks for by itself."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from encoders import CONTEXT, PAD, START, VOCABULARY, build, tokens
from jobs import after_steps, assert_same_bits, job_of, shop
from seqward.backbones import backbone_of
from seqward.backbones.backbone import Histories
from seqward.backbones.prl import PRL, PRLSettings
from seqward.checkpoint import Progress, load_checkpoint, save_checkpoint
from seqward.critic import Critic
from seqward.heads import item_head
from seqward.job import Job
from seqward.method import Phase, Term
from seqward.networks import Networks
from seqward.target import Ema, Twin
from seqward.terms import td_loss
from seqward.train import take_step

ROWS = [[1, 2, 3, 4, 5], [PAD, 6, PAD, 7, PAD]]


def prl(**changes: Any) -> PRL:
    backbone = build(PRLSettings, changes)
    assert isinstance(backbone, PRL)
    return backbone


def told(rows: list[list[int]], wanted: list[list[float]]) -> Histories:
    return tokens(*rows)._replace(wanted=torch.tensor(wanted))


def slow_prompt(b: PRL, state: Tensor, step: int, wanted: float) -> Tensor:
    """One row by the released code's equations: three vectors, attention with a residual, one weight a vector."""
    vectors = [state, b.steps.weight[step], wanted * b.wanted.weight[:, 0]]
    read = []
    for x in vectors:
        query = b.query(x)
        share = torch.softmax(torch.stack([b.key(other) @ query for other in vectors]) / 8**0.5, 0)
        read.append(x + sum(w * b.value(other) for w, other in zip(share, vectors, strict=True)))
    mixed = sum(w * x for w, x in zip(b.mix.weight[0], read, strict=True)) + b.mix.bias
    return torch.relu(mixed) if b.settings.prompt_activation == "relu" else mixed  # type: ignore[arg-type]


@pytest.mark.parametrize("activation", ["relu", "none"])
def test_against_its_equations(activation: str) -> None:
    """Told at some rows and not at others; a step is how many items were read, padding left out."""
    backbone, nan = prl(prompt_activation=activation), float("nan")
    backbone.mean.copy_(torch.arange(1.0, 7.0))
    wanted = [[0.5, nan, 2.0, nan, -1.0, 3.0], [nan, 1.0, 1.5, nan, nan, 0.0]]
    steps = [[0, 1, 2, 3, 4, 5], [0, 0, 1, 1, 2, 2]]
    backbone.eval()
    found = backbone(told(ROWS, wanted))
    states = backbone.sasrec(tokens(*ROWS))
    for b, items in enumerate([[START, *row] for row in ROWS]):
        for slot in range(6):
            if items[slot] == PAD:
                continue
            step = steps[b][slot]
            asked = wanted[b][slot] if wanted[b][slot] == wanted[b][slot] else 2.0 * (step + 1)
            torch.testing.assert_close(found[b, slot], slow_prompt(backbone, states[b, slot], step, asked))


def test_an_item_beyond_the_context_stands_at_the_last_step() -> None:
    backbone = prl().eval()
    states = backbone.sasrec(tokens([1, 2, 3, 4, 5, 6]))[0]
    found = backbone(tokens([1, 2, 3, 4, 5, 6]))[0]
    torch.testing.assert_close(found[6], slow_prompt(backbone, states[6], CONTEXT, 2.0))


def test_a_row_reads_its_own_return_and_no_other() -> None:
    """Else the difference of two returns would tell the reward between them, which is not known in serving."""
    backbone = prl().eval()
    one = backbone(told(ROWS[:1], [[1.0, 1.0, 1.0, 1.0, 1.0, 1.0]]))
    two = backbone(told(ROWS[:1], [[1.0, 1.0, 5.0, 1.0, 1.0, 1.0]]))
    assert [bool(torch.equal(a, b)) for a, b in zip(one[0], two[0], strict=True)] == [True, True, False] + [True] * 3


def test_it_asks_for_so_many_times_the_mean_of_the_step() -> None:
    backbone = prl(ask=3.0).eval()
    backbone.mean.copy_(torch.tensor([1.0, 0.5, 2.0, 1.0, 1.0, 1.0]))
    own = backbone(tokens([1, 2]))
    torch.testing.assert_close(own, backbone(told([[1, 2]], [[3.0, 1.5, 6.0]])))
    assert not torch.allclose(own, backbone(told([[1, 2]], [[1.0, 0.5, 2.0]])))


def test_means_are_those_of_what_was_told() -> None:
    """In training only; what is not known does not count, and a step of which nothing is known keeps 1."""
    backbone, nan = prl(), float("nan")
    backbone.eval()
    backbone(told([[1, 2]], [[9.0, 9.0, 9.0]]))
    assert backbone.seen.tolist() == [0.0] * 6
    backbone.train()
    backbone(tokens([1, 2]))
    backbone(told([[1, 2], [3, PAD]], [[2.0, 4.0, nan], [1.0, nan, nan]]))
    backbone(told([[PAD, 1, 2]], [[6.0, nan, 0.0, 8.0]]))
    assert backbone.seen.tolist() == [3.0, 2.0, 1.0, 0.0, 0.0, 0.0]
    torch.testing.assert_close(backbone.mean, torch.tensor([3.0, 2.0, 8.0, 1.0, 1.0, 1.0], dtype=torch.float64))


def means_of(job: Job, steps: int, gamma: float) -> dict[int, list[float]]:
    """Returns of the counted events of so many batches, by how many items were read before them."""
    returns: dict[int, list[float]] = defaultdict(list)
    for number in range(steps):
        batch = job.data.batch(number, job.settings.batch_size, job.seed)
        for row, value in zip(batch.row.tolist(), job.data.returns(gamma)[batch.event].tolist(), strict=True):
            returns[min(row, 4)].append(value)
    return returns


def test_after_one_pass_the_means_are_exact() -> None:
    """Of all training events, each once."""
    job = job_of("prl", shop(), gamma=0.8)
    backbone: Any = after_steps(job, job.steps_per_epoch).evaluated.backbone
    returns = means_of(job, job.steps_per_epoch, 0.8)
    assert sum(map(len, returns.values())) == job.data.n_events
    for step, values in returns.items():
        assert backbone.seen[step] == len(values)
        assert float(backbone.mean[step]) == pytest.approx(sum(values) / len(values), rel=1e-6)


def critical(target: Any) -> Job:
    """A method of this backbone whose target network is asked, which no published one is."""
    job = job_of("prl", shop())
    terms = (*job.method.phases[0].terms, Term("L_Q", 1.0, td_loss(Critic(0.5))))
    heads = {**job.method.heads, "q": item_head("normal")}
    return replace(job, method=replace(job.method, heads=heads, phases=(Phase(terms, 0.01),), target=target))


@pytest.mark.parametrize("target", [Twin(), Ema(0.1)], ids=["twin", "ema"])
def test_each_of_two_networks_remembers_all_that_it_read(target: Any) -> None:
    """Online or target, both read every batch; a copy is not made of the other's memory."""
    job = critical(target)
    returns = means_of(job, 4, 1.0)
    for network in after_steps(job, 4).modules:
        backbone: Any = network.backbone
        for step, values in returns.items():
            assert backbone.seen[step] == len(values)
            assert float(backbone.mean[step]) == pytest.approx(sum(values) / len(values), rel=1e-6)


@pytest.mark.parametrize("target", [Twin(), Ema(0.1)], ids=["twin", "ema"])
def test_what_is_remembered_is_in_the_checkpoint(target: Any, tmp_path: Path) -> None:
    job = critical(target)
    straight, interrupted, resumed = Networks(job), Networks(job), Networks(job)
    first, second = Progress(), Progress()
    for _ in range(6):
        take_step(job, straight, first)
    for _ in range(3):
        take_step(job, interrupted, second)
    save_checkpoint(tmp_path / "last", interrupted.modules, interrupted.optimiser, second)
    progress = load_checkpoint(tmp_path / "last", resumed.modules, resumed.optimiser)
    assert float(resumed.evaluated.backbone.seen.sum()) > 0  # type: ignore[union-attr]
    for _ in range(3):
        take_step(job, resumed, progress)
    assert_same_bits(resumed.modules.state_dict(), straight.modules.state_dict())


def test_embeddings_of_the_prompt_begin_small() -> None:
    """N(0, .01) for steps and return, Glorot for the layers: +- sqrt(6 / 4) over three vectors."""
    torch.manual_seed(0)
    backbone: Any = backbone_of(PRLSettings(init="xavier", session_max_len=50))(VOCABULARY).requires_grad_(False)
    for weight in (backbone.steps.weight, backbone.wanted.weight):
        assert abs(float(weight.std()) - 0.01) < 0.003
    assert float(backbone.query.weight.abs().max()) == pytest.approx((6 / 128) ** 0.5, rel=0.02)
    assert float(backbone.mix.weight.abs().max()) <= (6 / 4) ** 0.5
