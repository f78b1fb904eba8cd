"""How a run ends or goes on: divergence, phases and patience, what the log keeps across interruptions."""

from __future__ import annotations

import json
import logging
import math
import signal
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from jobs import after_steps, assert_same_bits, job_of, recommender, shop, weights
from seqward import train as training
from seqward.cli import main
from seqward.cli.progress import training_progress
from seqward.clock import Clock
from seqward.errors import Finding, SeqwardError
from seqward.job import Job
from seqward.method import Term
from seqward.recommender import Recommender
from seqward.step import Step
from seqward.train import train
from test_train import clock_of_steps, constant, records, validated, with_terms


def about(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "state.json").read_text())


def steps_of(job: Job, steps: int) -> dict[str, Tensor]:
    return dict(after_steps(job, steps).modules.state_dict())


def at(number: int, value: Callable[[Step], Tensor]) -> Callable[[Step], Tensor]:
    """A term that is 1, and at one step something else."""
    return lambda step: value(step) if step.number == number else constant(1.0)(step)


def numbered(step: Step) -> Tensor:
    """A term that is the number of the step."""
    return constant(step.number)(step)


def last_weights(folder: Path) -> dict[str, Tensor]:
    return {k.removeprefix("model.safetensors/"): v for k, v in weights(folder).items() if k.startswith("model.")}


# Divergence ---------------------------------------------------------------------------------------------------------


def test_a_divergence_is_logged_and_leaves_the_state_before_it(tmp_path: Path) -> None:
    """The fifth step goes wrong: ``last`` is what four steps made, and a resumed run meets the same end."""
    job = with_terms(job_of("sasrec", shop(), tmp_path, log_every=3), Term("L_X", 1.0, at(4, constant(math.nan))))
    for resume in (False, True):
        with pytest.raises(Finding, match="the loss term L_X is nan at step 4"):
            train(job, resume)
        event = records(tmp_path, "event")[-1]
        assert event["step"] == 4
        assert event["text"].startswith("diverged: the loss term L_X is nan at step 4")
        assert about(tmp_path / "last")["step"] == 4
        assert_same_bits(last_weights(tmp_path / "last"), steps_of(job, 4))
    assert [r["step"] for r in records(tmp_path, "step")] == [3, 4]


def poisoned(step: Step) -> Tensor:
    """A term of 1 whose gradient is NaN."""
    return 1.0 + (0.0 * step.logged("policy")).sqrt()


def test_a_gradient_that_is_not_finite_changes_no_weight(tmp_path: Path) -> None:
    """The loss of the fourth step is finite and its gradient is not: ``last`` is what three steps made."""
    job = with_terms(job_of("sasrec", shop(), tmp_path), Term("L_X", 1.0, at(3, poisoned)))
    with pytest.raises(Finding, match="the gradient's norm is nan at step 3: training has diverged"):
        train(job)
    assert about(tmp_path / "last")["step"] == 3
    assert_same_bits(last_weights(tmp_path / "last"), steps_of(job, 3))


def ruin(after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the update of so many steps leave weights that are not finite, as one that overflows would."""
    whole, taken = training.update, count(1)

    def update(network: nn.Module, *rest: Any) -> None:
        whole(network, *rest)
        if next(taken) == after:
            with torch.no_grad():
                next(network.parameters()).fill_(math.inf)

    monkeypatch.setattr("seqward.train.update", update)


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The update of the fourth step ruins them, the fifth sees it: the checkpoint in between is left out."""
    monkeypatch.setattr(Clock, "checkpoint_due", lambda self, minutes: True)
    ruin(4, monkeypatch)
    with pytest.raises(Finding, match="at step 4"):
        train(job_of("sasrec", shop(), tmp_path))
    assert about(tmp_path / "last")["step"] == 3
    assert all(bool(torch.isfinite(v).all()) for v in weights(tmp_path).values())


def test_the_last_step_may_ruin_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard sees it at its last probe; unwatched, the weights are looked at before they are kept."""
    ruin(6, monkeypatch)
    job = job_of("sasrec", shop(), tmp_path, epochs=1)
    with pytest.raises(Finding, match="the states of the guard's probe are not finite: training has diverged"):
        train(replace(job, folder=tmp_path / "watched"))
    ruin(6, monkeypatch)
    with pytest.raises(Finding, match="the weights are not finite after step 6: training has diverged"):
        train(replace(job, guard=replace(job.guard, watch=False)))
    assert not (tmp_path / "last").exists()
    assert not (tmp_path / "best").exists() or about(tmp_path / "best")["step"] == 0


def test_scores_that_are_not_finite_in_validation_name_the_step(tmp_path: Path) -> None:
    def validate(scorer: Any) -> dict[str, Any]:
        raise Finding("the model: scores that are not finite.")

    with pytest.raises(Finding, match="validation after step 0: the model: scores that are not finite"):
        train(replace(job_of("sasrec", shop(), tmp_path), validate=validate))


def test_what_a_run_that_diverged_keeps_is_told_and_can_be_used(tmp_path: Path) -> None:
    run, data = tmp_path / "run", shop()
    with pytest.raises(Finding) as finding:
        recommender("sasrec", lr=1e30, epochs=20, metric="hr@5").fit(data, run)
    first, second = str(finding.value).splitlines()
    assert "training has diverged and was stopped. Begin again with a lower train.lr" in first
    kept = about(run / "best")
    which = f"step {kept['step']}" if kept["step"] else "the untrained network"
    assert second.startswith(f"{run} keeps the best weights, of {which} (hr@5 ")
    assert f"`seqward evaluate {run}`" in second
    description = json.loads((run / "run.json").read_text())
    assert description["state"].startswith("diverged: ")
    assert description["best"] == kept
    metrics = Recommender.load(run).evaluate(data, "test")
    assert metrics["model"]["all"]["n"] > 0


def test_a_divergence_is_told_once(shop_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wild = "--set lr=1e30 --set n_factors=8 --epochs 9"
    assert main(f"train {shop_data} --method sasrec --out {tmp_path / 'run'} {wild}".split()) == 1
    told = capsys.readouterr().err.splitlines()
    assert [line for line in told if "diverged" in line] == told[-2:-1]
    assert told[-1].startswith(f"{tmp_path / 'run'} keeps the best weights")
    assert main(["evaluate", str(tmp_path / "run")]) == 0


def test_a_divergence_before_any_weights_were_kept_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def validate(*_: Any, **__: Any) -> None:
        raise Finding("the model: scores that are not finite.")

    monkeypatch.setattr("seqward.fitting.ranks_of", validate)
    monkeypatch.setattr("seqward.train.finite", lambda networks: False)
    with pytest.raises(Finding, match=r"run keeps no weights\.$"):
        recommender("sasrec").fit(shop(), tmp_path / "run")


# Phases and patience ------------------------------------------------------------------------------------------------


def test_patience_does_not_count_before_the_last_phase(tmp_path: Path) -> None:
    """Nothing rises from the first validation on; phase 2 begins at step 12, and two validations later it ends."""
    job = validated("sasrec-ac", tmp_path, [0.5, *[0.1] * 9], epochs=9, patience=2, warmup_events=290)
    progress = train(job)
    assert [(r["text"], r["step"]) for r in records(tmp_path, "event")] == [
        ("phase 2 begins", 12),
        ("ndcg@5 has not risen for 2 validations", 24),
    ]
    assert (progress.best_step, about(tmp_path / "best")["phase"]) == (0, 1)


def test_patience_counts_where_no_other_phase_can_be_reached_and_the_ending_says_so(tmp_path: Path) -> None:
    job = validated("sasrec-ac", tmp_path, [0.5, *[0.1] * 9], epochs=9, patience=2, warmup_events=9 * 145)
    assert train(job).stopped == "ndcg@5 has not risen for 2 validations; phase 2 of 2 never began"


@pytest.mark.parametrize(("length", "reached"), [(10**6, False), (3 * 145, False), (3 * 145 - 1, False), (400, True)])
def test_a_run_that_ends_in_phase_1_says_so(tmp_path: Path, length: int, reached: bool) -> None:
    """Also where the phase is as long as the run, or ends within its last batch."""
    recommender("sasrec-ac", warmup_events=length).fit(shop(), tmp_path / "run")
    description = json.loads((tmp_path / "run" / "run.json").read_text())
    assert description["state"] == "all 3 epochs done" + ("" if reached else "; phase 2 of 2 never began")
    assert description["phases"] == {"ran": 2 if reached else 1, "of": 2}


def test_one_phase_is_no_phase_missing(tmp_path: Path) -> None:
    recommender("sasrec-ac", phases=1).fit(shop(), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "all 3 epochs done"


@pytest.mark.parametrize("name", ["sasrec-ac", "sasrec-ccql", "sasrec-ccql-released"])
def test_a_phase_may_be_a_share_of_the_planned_events(tmp_path: Path, name: str) -> None:
    """.4 of 3 epochs of 145 events are 174: the first step that begins with so many is the first of phase 2."""
    recommender(name, warmup_events=0.4).fit(shop(), tmp_path / "run")
    steps = records(tmp_path / "run", "step")
    first = [r for r in steps if r["phase"] == 1]
    assert first[-1]["events"] >= 174 > first[-2]["events"]
    assert steps[-1]["phase"] == 2


@pytest.mark.parametrize("value", [1.0, 1.5, -0.1, -3, True, "0.4"])
def test_a_share_is_below_1(value: Any) -> None:
    with pytest.raises(SeqwardError, match=r"objective\.warmup_events should be"):
        Recommender("sasrec-ccql", warmup_events=value)


def test_a_share_of_other_epochs_would_be_another_run(tmp_path: Path) -> None:
    recommender("sasrec-ac", warmup_events=0.4, epochs=2).fit(shop(), tmp_path / "run")
    with pytest.raises(SeqwardError, match=r"begun with train\.epochs=2, and cannot be resumed with 3"):
        recommender("sasrec-ac", warmup_events=0.4, epochs=3).fit(shop(), tmp_path / "run", resume=True)


def test_a_phase_that_will_not_be_reached_is_told_with_what_to_set(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "seqward"):
        recommender("sasrec-ccql", warmup_events=3_840_000).fit(shop(), tmp_path / "one")
        recommender("sasrec-ccql", warmup_events=0.4).fit(shop(), tmp_path / "two")
        recommender("sasrec-ccql", warmup_events=3_840_000, phases=1).fit(shop(), tmp_path / "three")
    (record,) = (record for record in caplog.records if "phase" in record.getMessage())
    assert record.getMessage() == (
        "phase 2 of sasrec-ccql begins after 3,840,000 training events, and this run plans 435 (3 epochs of 145): it "
        "will end in phase 1.\nSet objective.warmup_events=0.4 to begin phase 2 after 40 % of them, or "
        "objective.phases=1 if one phase is what you want."
    )


# Interruptions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_the_handlers_come_back(tmp_path: Path, number: signal.Signals) -> None:
    """SIGTERM is what a machine sends that shuts down, or a batch system whose time is up."""
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]

    def stop(record: dict[str, Any]) -> None:
        if (record["kind"], record["step"]) == ("step", 7):
            signal.raise_signal(number)

    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        recommender("sasrec-ac").fit(shop(), run, observe=stop)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
    assert json.loads((run / "run.json").read_text())["state"] == "interrupted"
    assert about(run / "last")["step"] == 7
    recommender("sasrec-ac").fit(shop(), run, resume=True)
    recommender("sasrec-ac").fit(shop(), tmp_path / "straight")
    assert_same_bits(weights(run), weights(tmp_path / "straight"))


# What the log keeps -------------------------------------------------------------------------------------------------


def windows(folder: Path) -> list[tuple[int, float]]:
    return [(r["step"], r["terms"]["n"]) for r in records(folder, "step")]


def interrupting(number: int) -> Callable[[Step], Tensor]:
    def loss(step: Step) -> Tensor:
        if step.number == number:
            signal.raise_signal(signal.SIGINT)
        return numbered(step)

    return loss


def test_an_interruption_loses_no_average(tmp_path: Path) -> None:
    """Steps 0 to 3 before it, 4 to 9 after it: every step is in one line."""
    job = job_of("sasrec", shop(), tmp_path, log_every=10)
    with pytest.raises(KeyboardInterrupt):
        train(with_terms(job, Term("n", 1.0, interrupting(3))))
    assert windows(tmp_path) == [(4, 1.5)]
    train(with_terms(job, Term("n", 1.0, numbered)), resume=True)
    assert windows(tmp_path) == [(4, 1.5), (10, 6.5), (18, 13.5)]


def test_a_kill_loses_no_average_of_before_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def killing(step: Step) -> Tensor:
        if step.number == 7:
            raise Killed
        return numbered(step)

    due = iter([False, False, False, True] + [False] * 100)
    monkeypatch.setattr(Clock, "checkpoint_due", lambda self, minutes: next(due))
    job = job_of("sasrec", shop(), tmp_path, log_every=10)
    with pytest.raises(Killed):
        train(with_terms(job, Term("n", 1.0, killing)))
    train(with_terms(job, Term("n", 1.0, numbered)), resume=True)
    assert windows(tmp_path) == [(4, 1.5), (10, 6.5), (18, 13.5)]


def test_a_line_of_the_log_never_mixes_two_phases(tmp_path: Path) -> None:
    recommender("sasrec-ac", log_every=10).fit(shop(), tmp_path / "run")
    for record in records(tmp_path / "run", "step"):
        assert list(record["terms"]) == ["L_CE" if record["phase"] == 1 else "Q L_CE", "ω L_Q"]
    assert [r["step"] for r in records(tmp_path / "run", "step")] == [9, 10, 18]


def test_what_only_a_time_limit_measured_is_not_in_the_log_of_the_run_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        clock_of_steps(patch)
        job = validated("sasrec", tmp_path, [0.3, 0.9], checkpoint_minutes=1e6)
        stopped = train(replace(job, max_minutes=1.0))
    assert [(r["step"], r["best"]) for r in records(tmp_path, "validation")] == [(0, True), (stopped.step, True)]
    train(validated("sasrec", tmp_path, [0.4, 0.2, 0.1]), resume=True)
    assert [(r["step"], r["best"]) for r in records(tmp_path, "validation")] == [
        (0, True),
        (6, True),
        (12, False),
        (18, False),
    ]


def test_a_phase_begins_once_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint at the very step after which phase 2 begins knows nothing of it."""

    class Killed(BaseException):
        pass

    def kill(record: dict[str, Any]) -> None:
        if record.get("text") == "phase 2 begins":
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Clock, "checkpoint_due", lambda self, minutes: True)
        with pytest.raises(Killed):
            recommender("sasrec-ac").fit(shop(), tmp_path / "run", observe=kill)
    assert about(tmp_path / "run" / "last")["step"] == records(tmp_path / "run", "event")[-1]["step"]
    recommender("sasrec-ac").fit(shop(), tmp_path / "run", resume=True)
    texts = [r["text"] for r in records(tmp_path / "run", "event")]
    assert texts == ["phase 2 begins", "all 3 epochs done"]


# What may change, and what has no value -----------------------------------------------------------------------------


def test_resume_may_save_and_log_otherwise(tmp_path: Path) -> None:
    """To the bit, and ``run.json`` says how the run went on."""
    run = tmp_path / "run"
    recommender("sasrec-ac", log_every=3, epochs=1).fit(shop(), run)
    recommender("sasrec-ac", log_every=1, checkpoint_minutes=0.5, epochs=3, patience=7).fit(shop(), run, resume=True)
    recommender("sasrec-ac").fit(shop(), tmp_path / "straight")
    assert_same_bits(weights(run), weights(tmp_path / "straight"))
    settings = json.loads((run / "run.json").read_text())["settings"]["train"]
    assert (settings["log_every"], settings["checkpoint_minutes"], settings["epochs"]) == (1, 0.5, 3)


def test_a_resumed_run_is_in_training_again(tmp_path: Path) -> None:
    recommender("sasrec").fit(shop(), tmp_path / "run", max_minutes=0)
    states = []

    def look(record: dict[str, Any]) -> None:
        states.append(json.loads((tmp_path / "run" / "run.json").read_text())["state"])

    recommender("sasrec").fit(shop(), tmp_path / "run", resume=True, observe=look)
    assert set(states) == {"training"}


@pytest.mark.parametrize("none", [math.nan, math.inf, None])
def test_a_metric_without_a_value_is_never_the_best(
    tmp_path: Path, none: float | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """No value at first: those weights are kept for want of better, until a value comes."""
    script = iter([none, none, 0.2, none])
    job = validated("sasrec", tmp_path, [0.0])
    job = replace(
        job,
        settings=replace(job.settings, metric="q.rank_correlation"),
        validate=lambda scorer: {"all": {"hr@5": 0.5}, "q": {"rank_correlation": next(script)}},
    )
    with training_progress(435, None) as observe:
        progress = train(job, observe=observe)
    assert (progress.best, progress.best_step, progress.stale) == (0.2, 12, 1)
    found = [(r["step"], r["value"], r["best"]) for r in records(tmp_path, "validation")]
    assert found == [(0, None, False), (6, None, False), (12, 0.2, True), (18, None, False)]
    assert about(tmp_path / "best")["step"] == 12
    assert "validation has no value" in capsys.readouterr().err


def test_a_metric_that_never_has_a_value_leaves_the_latest_weights(tmp_path: Path) -> None:
    job = replace(validated("sasrec", tmp_path, [0.0]), validate=lambda scorer: {"all": {"ndcg@5": math.nan}})
    assert train(job).best is None
    assert (about(tmp_path / "best")["step"], about(tmp_path / "best")["value"]) == (18, None)
