"""What every option of a critic must do, in every method that has one; and every clipping, in a run that goes on.

Methods with a critic are found in the registry, and options that are a word or a switch among their settings.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from jobs import (
    TRAINED,
    after_steps,
    assert_same_bits,
    job_of,
    loud_step,
    recommender,
    shop,
    step_of,
    variants,
    weights,
)
from seqward import train as training
from seqward.checkpoint import Progress, read_progress
from seqward.critic import CriticSettings
from seqward.methods import METHODS
from seqward.networks import Networks
from seqward.train import total_loss

CRITICS = [name for name in TRAINED if job_of(name, shop()).method.critic]
OPTIONS: dict[str, dict[str, Any]] = {
    **{"-".join(map(str, *c.items())): c for c in variants(CriticSettings) if c and "rank_by" not in c},
    "n-step": {"n_step": 3},
    "all": {
        "n_step": 2,
        "critic": "hl-gauss",
        "critic_norm": True,
        "target_min": True,
        "target": "ema",
    },
}
CLIPPINGS: dict[str, dict[str, Any]] = {
    "zscore": {"clip_zscore": 0.01, "batch_size": 2, "lr": 0.00001},
    "update": {"clip_update": 0.5, "clip_update_least": 0.001},
}
NO_TRANSITIONS = [name for name in CRITICS if METHODS[name].sections["train"].draw != "transitions"]

every_option = pytest.mark.parametrize("option", OPTIONS)
every_critic = pytest.mark.parametrize("name", CRITICS)


def options_of(name: str, option: str) -> dict[str, Any]:
    """As released methods draw transitions, which have no later steps, they draw sessions here."""
    return OPTIONS[option] | ({} if name in NO_TRANSITIONS else {"draw": "sessions"})


@every_critic
@every_option
def test_no_gradient_reaches_the_target_and_engines_agree(name: str, option: str) -> None:
    found: list[list[torch.Tensor]] = []
    for engine in ("dense", "chunked"):
        job = job_of(name, shop(), catalogue=engine, **options_of(name, option))
        networks = Networks(job)
        online, other = networks.modules[0], networks.modules[-1]
        other.requires_grad_(True)
        loss, _ = total_loss(job.method.phases[-1], step_of(job, networks))
        loss.backward()
        assert all(p.grad is None for p in other.parameters())
        found.append([loss.detach(), *(p.grad for p in online.parameters() if p.grad is not None)])
    for one, other in zip(*found, strict=True):
        # A sum that nearly cancels is as far off as its largest terms are.
        largest = float(other.abs().max())
        torch.testing.assert_close(one, other, rtol=1e-3, atol=max(1e-5, 1e-4 * largest))


@every_critic
@every_option
def test_every_option_has_an_effect_on_the_critic(name: str, option: str) -> None:
    """On a loud network: some term has another value, but for what decides who gives the target."""
    if "target" in options_of(name, option) and option != "all":
        pytest.skip("who learns is not seen in one step")
    if name.endswith("-gamma-0") and option in ("target_min-True", "returns-monte-carlo", "n-step"):
        pytest.skip("without a discount nothing follows")
    changes = {"huber_delta": 0.01, **options_of(name, option)}
    drawn = {"draw": "sessions"} if "draw" in changes else {}
    plain, other = (job_of(name, shop(), **c) for c in (drawn, changes))
    values = []
    for job in (plain, other):
        step = loud_step(job)
        with torch.no_grad():
            step.target.heads["q"].linear.bias[::2] += 4.0  # type: ignore[union-attr]
        values.append([term.loss(step).sum() for phase in job.method.phases for term in phase.terms if term.weight])
    assert any(float((a - b).detach()) != 0 for a, b in zip(*values, strict=True))


@pytest.mark.parametrize("option", [*OPTIONS, *CLIPPINGS])
@pytest.mark.parametrize("name", ["sasrec-sqn", "sa2c"])
def test_stopped_and_resumed_it_has_the_bits_of_a_straight_run(name: str, option: str, tmp_path: Path) -> None:
    """With phases and without; what is remembered of norms is part of a checkpoint."""
    changes = OPTIONS.get(option) or CLIPPINGS[option]
    changes = {"epochs": 6, **changes}  # more than the 25 steps in which norms settle

    def interrupt(record: dict[str, Any]) -> None:
        if record["kind"] == "step" and record["step"] == 28:
            signal.raise_signal(signal.SIGINT)

    recommender(name, **changes).fit(shop(), tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        recommender(name, **changes).fit(shop(), tmp_path / "run", observe=interrupt)
    recommender(name, **changes).fit(shop(), tmp_path / "run", resume=True)
    assert_same_bits(weights(tmp_path / "run"), weights(tmp_path / "straight"))
    one, other = (read_progress(tmp_path / folder / "last") for folder in ("run", "straight"))
    remembered = [(p.norm_count, p.norm_mean, p.norm_variance) for p in (one, other)]
    assert remembered[0] == remembered[1]
    assert (one.norm_count > 0) == (option == "zscore")


@pytest.mark.parametrize("option", CLIPPINGS)
@pytest.mark.parametrize("name", ["sasrec", "sasrec-sqn"])
def test_clipping_changes_what_is_learned(name: str, option: str) -> None:
    off = {key: value for key, value in CLIPPINGS[option].items() if "clip" not in key}
    one, other = (after_steps(job_of(name, shop(), **c), 60).modules.state_dict() for c in (off, CLIPPINGS[option]))
    assert not all(torch.equal(one[key], other[key]) for key in one)


@every_option
def test_rows_may_wait_and_sums_be_sampled(option: str) -> None:
    """With rows kept apart, weights after several steps stay near those of Adam; a target that follows reads all."""
    changes = {**OPTIONS[option], "target": "twin", "softmax": "uniform", "candidates": 6, "lr": 0.001}
    rows, adam = (
        job_of("sasrec-sqn", shop(), **changes, optimiser=optimiser, dropout_rate=0.0)
        for optimiser in ("row-adam", "adam")
    )
    found = []
    for job in (rows, adam):
        networks, progress = Networks(job), Progress()
        for _ in range(6):
            training.take_step(job, networks, progress)
        networks.settle()
        found.append(networks.modules.state_dict())
    for key, value in found[1].items():
        torch.testing.assert_close(found[0][key], value, rtol=1e-2, atol=3e-4)


@every_option
def test_it_is_served_as_it_was_learned(option: str, tmp_path: Path) -> None:
    """Evaluated and loaded again, by policy and by Q."""
    fitted = recommender("sasrec-sqn", **OPTIONS[option], epochs=1).fit(shop(), tmp_path / "run")
    loaded = type(fitted).load(tmp_path / "run", "cpu")
    for by in ("policy", "q"):
        one, other = (r.recommend(histories=[["i1", "i2"], []], k=5, rank_by=by) for r in (fitted, loaded))
        assert one.equals(other)


def test_the_options_are_all() -> None:
    assert len(CRITICS) > 15
    assert {key for changes in OPTIONS.values() for key in changes} >= {
        "returns",
        "n_step",
        "critic",
        "critic_loss",
        "critic_norm",
        "target",
        "target_min",
    }
