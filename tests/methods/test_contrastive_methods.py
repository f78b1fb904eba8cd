"""CL4SRec, CP4Rec, S3-Rec and SASRec-CO: terms against their equations, and what is trained when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from jobs import after_steps, assert_same_bits, job_of, loss_of, loud_step, shop
from seqward.augment import Augment, crop, mask, one_of, permutation, reorder
from seqward.methods import METHODS
from seqward.methods.contrastive import CL4SRecSettings, crop_mask_reorder
from seqward.networks import Networks
from seqward.objectives import contrastive
from seqward.step import Step
from seqward.train import total_loss
from worlds import data_of

PRETRAINED = ("cp4rec", "s3-rec")


@pytest.mark.parametrize(("name", "symbol"), [("cl4srec", "λ L_CL"), ("cp4rec", "L_CL")])
def test_two_views_are_told_from_those_of_other_sessions(name: str, symbol: str) -> None:
    """Each cropped to .6, with .5 behind the mask token, or .6 of it shuffled."""
    job = job_of(name, shop(), mask_share=0.5, contrast_temperature=2.0)
    step, apart = loud_step(job), loud_step(job)
    loss = loss_of(job, symbol)(step)
    augment = one_of(crop(0.6), mask(0.5, token=True), reorder(0.6))
    views = [apart.view(view, augment) for view in ("one", "two")]
    torch.testing.assert_close(loss, contrastive.nt_xent(*views, 2.0, "dot", apart.batch.sessions))
    assert loss.shape == (2 * len(step.batch.items),)
    assert not torch.allclose(*views), "the views are drawn apart"
    defaults = loss_of(job_of(name, shop(), contrast_temperature=2.0), symbol)(loud_step(job))
    assert not torch.allclose(loss, defaults), "the share that is hidden tells"


def test_the_contrast_of_cl4srec_counts_a_tenth() -> None:
    job = job_of("cl4srec", shop())
    (phase,) = job.method.phases
    loss, means = total_loss(phase, loud_step(job))
    assert list(means) == ["L_CE", "λ L_CL"]
    torch.testing.assert_close(loss.detach(), means["L_CE"] + 0.1 * means["λ L_CL"])


def test_each_history_is_cropped_masked_or_reordered() -> None:
    """Ten items: six of them in a row, three hidden behind the mask token, or six in a row shuffled; a third each."""
    job = job_of("cl4srec", shop())
    vocabulary = job.data.vocabulary
    items = torch.arange(10).repeat(3000, 1)
    seen = {"crop": 0, "mask": 0, "reorder": 0}
    changed = crop_mask_reorder(CL4SRecSettings())(items, torch.Generator().manual_seed(0), vocabulary)
    for row in changed.tolist():
        left = [item for item in row if item < 10]
        if vocabulary.pad in row:
            assert left == list(range(left[0], left[0] + 6))
            seen["crop"] += 1
        elif vocabulary.mask in row:
            assert (row.count(vocabulary.mask), left) == (3, sorted(left))
            seen["mask"] += 1
        else:
            moved = [place for place, item in enumerate(row) if place != item]
            assert sorted(row) == list(range(10))
            assert not moved or max(moved) - min(moved) < 6
            seen["reorder"] += 1
    assert all(abs(count - 1000) < 150 for count in seen.values()), seen


@pytest.mark.parametrize("name", PRETRAINED)
def test_pre_training_shapes_what_fine_tuning_begins_with(name: str) -> None:
    """Phase 1 moves the backbone and selects nothing; phase 2 is SASRec."""
    job = job_of(name, shop())
    first, second = job.method.phases
    assert (first.selects, second.selects) == (False, True)
    assert job.phase_length(0) == round(1.3 * job.data.n_events)
    assert [term.symbol for term in second.terms] == ["L_CE"]
    before, after = Networks(job).evaluated, after_steps(job, 2).evaluated
    moved = [k for k, p in after.named_parameters() if not torch.equal(p, before.state_dict()[k])]
    assert {k for k in moved if k.startswith("backbone.")} == {
        f"backbone.{k}" for k, _ in after.backbone.named_parameters()
    }
    assert ("heads.policy.linear.weight" in moved) == (name == "s3-rec")


@pytest.mark.parametrize("name", PRETRAINED)
def test_pre_training_takes_the_rate_of_training(name: str) -> None:
    assert [phase.lr for phase in job_of(name, shop(), lr=0.125).method.phases] == [0.125, 0.125]


def test_hidden_items_are_asked_of_the_policy_head() -> None:
    """Against the softmax, slot by slot, of states that have read both sides."""
    job = job_of("s3-rec", shop(), masked_share=0.4)
    step = loud_step(job)
    loss = loss_of(job, "L_MIP")(step)
    scores, items = step.cloze("policy", 0.4)
    matrix = scores.at(torch.arange(12).expand(len(items), 12))
    torch.testing.assert_close(loss, -torch.log_softmax(matrix, 1).gather(1, items[:, None])[:, 0])
    assert len(loss) != len(step.action)


def test_a_segment_is_told_from_those_of_other_sessions_by_inner_product() -> None:
    job = job_of("s3-rec", shop())
    step = loud_step(job)
    context, segment = step.segments()
    logits = torch.cat([context, segment]) @ torch.cat([context, segment]).T
    logits = logits.fill_diagonal_(-torch.inf)
    right = torch.arange(len(logits)).roll(len(context))
    torch.testing.assert_close(
        loss_of(job, "β L_SP")(step), -torch.log_softmax(logits, 1).gather(1, right[:, None])[:, 0]
    )


def test_the_weights_of_s3_rec() -> None:
    terms = job_of("s3-rec", shop()).method.phases[0].terms
    assert [(term.symbol, term.weight) for term in terms] == [("L_MIP", 1.0), ("β L_SP", 0.5)]


def test_neither_task_of_s3_rec_reads_what_it_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another item in a hidden slot changes no state that is read to find it."""
    job = job_of("s3-rec", shop(), masked_share=0.3)
    step = loud_step(job)
    hidden = []
    encode = step._encode

    def record(name: str, model: Any, items: Tensor, causal: bool = True) -> Tensor:
        assert not causal
        hidden.append((name, items == model.vocabulary.mask))
        return encode(name, model, items, causal)

    monkeypatch.setattr(step, "_encode", record)
    step.cloze("policy", 0.3), step.segments()
    masked = dict(hidden)
    real = step.batch.items != step.online.vocabulary.pad
    assert bool((masked["cloze"].sum(1) >= 1).all())
    longest = masked["segments context"].shape[1]
    assert bool((masked["segments context"] & masked["segments segment"]).sum() == 0)
    both = masked["segments context"] | masked["segments segment"]
    several = real.sum(1) > 1
    assert torch.equal(both[several], real[several, :longest])


@pytest.mark.parametrize(
    ("name", "augment"),
    [("crop", crop(0.75)), ("mask", mask(0.75)), ("reorder", reorder(0.75)), ("permutation", permutation())],
)
def test_sasrec_co_contrasts_by_the_augmentation_that_is_set(name: str, augment: Augment) -> None:
    job = job_of("sasrec-co", shop(), augment=name, augment_share=0.75, contrast_temperature=0.5)
    apart = loud_step(job)
    expected = contrastive.nt_xent(apart.state(), apart.view("augmented", augment), 0.5, session=apart.batch.sessions)
    for phase in (0, 1):
        torch.testing.assert_close(loss_of(job, "L_CO", phase)(loud_step(job)), expected)


@pytest.mark.parametrize(
    ("name", "symbol"),
    [("sasrec-co", "L_CO"), ("sasrec-ccql", "L_CO"), ("cl4srec", "λ L_CL"), ("cp4rec", "L_CL"), ("s3-rec", "β L_SP")],
)
def test_pieces_of_one_long_session_are_not_told_apart(name: str, symbol: str) -> None:
    """Alone in a batch they have no negatives, so each loss is 0; beside another session it is not."""
    sessions = [list(range(12)), [12, 13, 14]]
    alone, beside = (
        loud_step(job_of(name, data_of(several, 15), session_max_len=3)) for several in (sessions[:1], sessions)
    )
    assert len(alone.batch.items) > 1
    term = loss_of(job_of(name, shop()), symbol)
    assert torch.equal(term(alone), torch.zeros(2 * len(alone.batch.items)))
    assert float(term(beside).detach().mean()) > 0.01


def test_sasrec_co_draws_no_negatives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Step, "negatives", lambda *_: pytest.fail("negatives were drawn"))
    job = job_of("sasrec-co", shop())
    for phase in job.method.phases:
        total_loss(phase, loud_step(job))
    assert not hasattr(METHODS["sasrec-co"].sections["objective"], "negatives")


def test_similarities_are_a_choice() -> None:
    dot, cosine = (job_of("cl4srec", shop(), similarity=kind) for kind in ("dot", "cosine"))
    losses: list[Callable[[Step], Tensor]] = [loss_of(job, "λ L_CL") for job in (dot, cosine)]
    assert not torch.allclose(*(loss(loud_step(dot)) for loss in losses))
    with pytest.raises(AssertionError):
        assert_same_bits(*(after_steps(job, 2).modules.state_dict() for job in (dot, cosine)))
