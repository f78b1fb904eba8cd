"""What every method must do where its sums are sampled or its rows wait: choices of ``train`` that add machinery."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from jobs import (
    STEADY,
    TRAINED,
    after_steps,
    assert_same_bits,
    in_phase,
    job_of,
    recommender,
    shop,
    step_of,
    steps_of_learning,
    variants,
    weights,
)
from seqward import train as training
from seqward.checkpoint import Progress
from seqward.errors import SeqwardError
from seqward.job import Job, TrainSettings
from seqward.networks import Networks
from seqward.train import total_loss
from worlds import data_of

every_trained = pytest.mark.parametrize("name", TRAINED)
SUMLESS = {"gsasrec", "esasrec", "fpmc"}
"""Methods of which no loss sums over the catalogue."""
PROBABILITIES = {"sa2c-smooth", "reinforce-topk"}
"""Methods that weigh events by the probability of the logged item."""
ITEMS = shop().n_items
SAMPLED = [changes for changes in variants(TrainSettings) if "softmax" in changes]
CONFIGURED: dict[str, tuple[str, dict[str, Any]]] = {
    "sasrec, mixed, by rows": ("sasrec", {"softmax": "mixed", "optimiser": "row-adam"}),
    "sasrec, tied, popularity, by rows, clipped": (
        "sasrec",
        {"softmax": "popularity", "tied": True, "optimiser": "row-adam", "clip_norm": 0.05, "clip_value": 0.01},
    ),
    "gsasrec, shared, by rows": ("gsasrec", {"shared": True, "optimiser": "row-adam"}),
    "sasrec-ccql, uniform, by rows": (
        "sasrec-ccql",
        {"softmax": "uniform", "conservative": "sampled", "optimiser": "row-adam"},
    ),
    "s3-rec, in-batch, by rows": ("s3-rec", {"softmax": "in-batch", "optimiser": "row-adam"}),
    "sasrec, sce": ("sasrec", {"softmax": "sce", "candidates": 3}),
}
configured = pytest.mark.parametrize(("name", "changes"), CONFIGURED.values(), ids=CONFIGURED)


def test_every_way_to_sum_is_tried_here() -> None:
    assert [changes["softmax"] for changes in SAMPLED] == ["uniform", "popularity", "in-batch", "mixed", "sce"]
    tried = {changes.get("softmax") for _, changes in CONFIGURED.values()}
    assert tried >= {changes["softmax"] for changes in SAMPLED}


@every_trained
def test_each_way_to_sum_takes_a_step_in_each_phase(name: str) -> None:
    """All online parameters of a network that learned have moved, but for heads that pre-training does not ask.

    Or it is refused before any work, with the reason.
    """
    for changes in SAMPLED:
        job = job_of(name, shop(), **changes, candidates=5)
        if name in SUMLESS:
            with pytest.raises(SeqwardError, match="has no effect: no loss of this method sums over the catalogue"):
                training.rehearse(job)
            continue
        if name in PROBABILITIES and changes["softmax"] == "sce":
            with pytest.raises(SeqwardError, match="a weight of this method is a probability"):
                training.rehearse(job)
            continue
        training.rehearse(job)
        for number, phase in enumerate(job.method.phases):
            before = dict(Networks(job).evaluated.named_parameters())
            after = after_steps(job, steps_of_learning(job, 2), number).evaluated.named_parameters()
            for key, p in after:
                assert bool(torch.isfinite(p).all())
                waits = not phase.selects and key.startswith("heads.")
                assert waits or not torch.equal(p, before[key]), f"{changes}, phase {number + 1}: {key} never learns"


def losses_and_gradients(job: Job, phase: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    networks = Networks(job)
    loss, means = total_loss(job.method.phases[phase], step_of(job, networks))
    loss.backward()
    gradients = {k: p.grad for k, p in networks.evaluated.named_parameters() if p.grad is not None}
    return means, {k: g.to_dense() if g.is_sparse else g for k, g in gradients.items()}


def assert_near(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        torch.testing.assert_close(value, other[key], rtol=1e-4, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("name", [name for name in TRAINED if name not in SUMLESS])
def test_candidates_that_are_every_item_once_are_the_full_sum(name: str) -> None:
    """Losses and gradients, of every head that is asked for a sum. Half of the items are another sum."""
    full, all_items, half = (
        job_of(name, shop(), **changes)
        for changes in ({}, {"softmax": "uniform", "candidates": ITEMS}, {"softmax": "uniform", "candidates": 6})
    )
    for phase in range(len(full.method.phases)):
        expected = losses_and_gradients(full, phase)
        for found, wanted in zip(losses_and_gradients(all_items, phase), expected, strict=True):
            assert_near(found, wanted)
        means = losses_and_gradients(half, phase)[0]
        asked = {s for s, value in means.items() if not torch.allclose(value, expected[0][s], rtol=1e-4, atol=1e-5)}
        assert asked or phase + 1 < len(full.method.phases)


@every_trained
def test_rows_that_wait_are_adams_in_the_end(name: str) -> None:
    """Tables after some steps, and the losses on the way; by candidates of which few rows are read, where there are."""
    softmax = {} if name in SUMLESS else {"softmax": "uniform", "candidates": 2}
    dense, few = (
        job_of(name, shop(), **softmax, **STEADY, target="twin", optimiser=optimiser)
        for optimiser in ("adam", "row-adam")
    )
    for phase in range(len(dense.method.phases)):
        one, other = Networks(dense), Networks(few)
        progress = Progress(phase=phase), Progress(phase=phase)
        for _ in range(6):
            losses = [training.take_step(j, n, p) for j, n, p in zip((dense, few), (one, other), progress, strict=True)]
            for symbol, mean in losses[0].items():
                torch.testing.assert_close(losses[1][symbol], mean, rtol=1e-3, atol=1e-3)
        other.settle()
        for mine, theirs in zip(other.modules, one.modules, strict=True):
            for table, expected in zip(mine.tables, theirs.tables, strict=True):  # type: ignore[arg-type]
                assert float((table - expected).detach().abs().mean()) < 1e-5


def test_a_target_that_follows_lets_no_row_wait() -> None:
    with pytest.raises(SeqwardError, match="the target follows every row at every step"):
        Networks(job_of("sasrec-sqn", shop(), optimiser="row-adam", target="ema"))


@configured
def test_it_reads_rows_and_learns_by_rows(name: str, changes: dict[str, Any]) -> None:
    """So that what is configured here tests what it says: after some steps, rows are behind."""
    job = job_of(name, shop(), **changes)
    assert behind(after_steps(job, 4, len(job.method.phases) - 1)) == ("optimiser" in changes)


def behind(networks: Networks) -> bool:
    """Whether some row waits for steps."""
    states = [state for state in networks.optimiser.state.values() if "seen" in state]
    return any(bool((state["seen"] < state["step"]).any()) for state in states)


@configured
def test_stopped_and_resumed_it_has_the_bits_of_a_straight_run(
    name: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    """With rows behind, before and after a phase's end, and between a validation and the next step."""
    recommender(name, **changes).fit(shop(), tmp_path / "straight")
    for stop in (1, 5, 7, 8, 11):

        def interrupt(record: dict[str, Any], stop: int = stop) -> None:
            if record["kind"] == "step" and record["step"] == stop:
                signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            recommender(name, **changes).fit(shop(), tmp_path / "run", resume=True, observe=interrupt)
    recommender(name, **changes).fit(shop(), tmp_path / "run", resume=True)
    assert_same_bits(weights(tmp_path / "run"), weights(tmp_path / "straight"))


@configured
def test_what_is_kept_as_best_has_no_row_behind(
    name: str, changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, keep = [], training.keep_best

    def keep_best(job: Job, networks: Networks, progress: Progress) -> None:
        kept.append(behind(networks))
        keep(job, networks, progress)

    monkeypatch.setattr(training, "keep_best", keep_best)
    recommender(name, **changes).fit(shop(), tmp_path / "run")
    assert kept
    assert not any(kept)


@configured
def test_half_precision_stays_near(name: str, changes: dict[str, Any]) -> None:
    means = []
    for precision in ("fp32", "bf16"):
        job = job_of(name, shop(), precision=precision, **changes)
        means.append(training.take_step(job, Networks(job), Progress()))
    for symbol in means[0]:
        assert abs(float(means[0][symbol] - means[1][symbol])) < 0.01 * (1 + abs(float(means[0][symbol]))), symbol


@configured
def test_no_gradient_reaches_the_target(name: str, changes: dict[str, Any]) -> None:
    for engine in ("dense", "chunked"):
        job = job_of(name, shop(), catalogue=engine, **changes)
        networks = Networks(job)
        online, other = networks.modules[0], networks.modules[-1]
        if online is other:
            continue
        for term in [term for phase in job.method.phases for term in phase.terms]:
            term.loss(step_of(job, networks)).sum().backward()
            assert all(p.grad is None for p in other.parameters()), term.symbol


@configured
def test_a_weight_of_zero_is_a_term_left_out(name: str, changes: dict[str, Any]) -> None:
    job = job_of(name, shop(), **changes)
    for number, phase in enumerate(job.method.phases):
        for term in phase.terms if len(phase.terms) > 1 else ():
            zero = [replace(t, weight=0.0) if t is term else t for t in phase.terms]
            absent = [t for t in phase.terms if t is not term]
            one, other = (after_steps(in_phase(job, number, *p), 2).modules.state_dict() for p in (zero, absent))
            assert_same_bits(one, other)


def test_settings_of_training_are_checked() -> None:
    with pytest.raises(SeqwardError, match="in-batch has nothing to compare with in a batch of 1"):
        job_of("sasrec", shop(), softmax="in-batch", batch_size=1)


def test_one_session_has_no_others_to_be_compared_with() -> None:
    data = data_of([[0, 1, 2, 0, 1]], 3)
    with pytest.raises(SeqwardError, match="compares an event with those of other sessions, and one session"):
        training.rehearse(job_of("sasrec", data, softmax="in-batch"))
    training.rehearse(job_of("sasrec", data, softmax="mixed"))


def test_items_without_an_event_are_refused_before_any_work(tmp_path: Path) -> None:
    data = data_of([[0, 1, 2], [1, 2, 0], [2, 1]], 5)
    with pytest.raises(SeqwardError, match="softmax=popularity never draws 2 of 5 items"):
        recommender("sasrec", softmax="popularity").fit(data, tmp_path / "run")
    assert not (tmp_path / "run").exists()
