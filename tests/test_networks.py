"""What does not fit memory is refused before any of it is taken."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from asking import refusal
from jobs import TRAINED, job_of, shop
from seqward import networks
from seqward.networks import Networks, refuse_too_large


def test_tables_that_do_not_fit_are_refused_with_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two networks of the twin, in each a weight, a gradient and two moments of 4 bytes."""
    job = job_of("snqn", shop())
    weights = sum(p.numel() for p in Networks(job).modules.parameters())
    monkeypatch.setattr(networks, "free_memory", lambda device: 16 * weights - 1)
    message = refusal(Networks, job)
    assert f"need {16 * weights / 1e9:.3g} GB, and {(16 * weights - 1) / 1e9:.3g} GB are free" in message
    assert message.startswith(f"6 tables of {job.data.n_items} items x ")  # embeddings and two heads, twice
    monkeypatch.setattr(networks, "free_memory", lambda device: 16 * weights)
    Networks(job)


def test_a_target_that_does_not_learn_has_no_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_of("snqn", shop(), target="ema")
    weights = sum(p.numel() for p in Networks(job).modules[0].parameters())
    monkeypatch.setattr(networks, "free_memory", lambda device: 20 * weights)
    Networks(job)
    monkeypatch.setattr(networks, "free_memory", lambda device: 20 * weights - 1)
    assert "are free" in refusal(Networks, job)


def test_tables_whose_gradients_have_few_rows_need_no_room_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight and two moments for what a table holds, a gradient beside them for the rest; what is told says so."""
    job = job_of("sasrec", shop())
    model = Networks(job).modules[0]
    weights, tables = sum(p.numel() for p in model.parameters()), sum(table.numel() for table in model.tables)
    need = 16 * weights - 4 * tables
    monkeypatch.setattr(networks, "free_memory", lambda device: need)
    assert "train.softmax=uniform with train.optimiser=row-adam (no gradient of a table)" in refusal(Networks, job)
    sampled = replace(job, settings=replace(job.settings, softmax="uniform", optimiser="row-adam"))
    Networks(sampled)
    monkeypatch.setattr(networks, "free_memory", lambda device: need - 1)
    assert f"need {need / 1e9:.3g} GB" in (message := refusal(Networks, sampled)) and "row-adam" not in message


def test_a_matrix_of_scores_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_of("sasrec", shop())
    need = 16 * sum(p.numel() for p in Networks(job).modules.parameters())
    monkeypatch.setattr(networks, "free_memory", lambda device: need)
    dense = replace(job, settings=replace(job.settings, catalogue="dense"))
    assert "With train.catalogue=auto no matrix is written." in refusal(Networks, dense)
    Networks(replace(job, settings=replace(job.settings, catalogue="chunked")))


@pytest.mark.parametrize("name", TRAINED)
def test_networks_are_counted_without_being_made(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And leave the caller's stream of random numbers where it was."""
    before = torch.get_rng_state()
    refuse_too_large(job_of(name, shop()))
    assert torch.equal(torch.get_rng_state(), before)
    monkeypatch.setattr(networks, "free_memory", lambda device: 1)
    assert "are free" in refusal(refuse_too_large, job_of(name, shop()))
