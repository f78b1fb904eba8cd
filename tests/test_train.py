"""The loop: what stops it, what it keeps, what it writes down, and what it says when something is wrong."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from jobs import after_steps, assert_same_bits, job_of, recommender, shop, weights
from seqward import train as training
from seqward.checkpoint import Progress
from seqward.clock import Clock
from seqward.errors import Finding, SeqwardError
from seqward.job import Job
from seqward.method import Phase, Term
from seqward.networks import Networks
from seqward.runlog import read_log
from seqward.step import Step
from seqward.train import metric_named, take_step, total_loss, train
from worlds import data_of, split_by_session


def validated(name: str, folder: Path, values: Sequence[float], **changes: Any) -> Job:
    """A job whose validations measure ``values`` in turn, over and over."""
    script = iter(list(values) * 100)
    job = job_of(name, shop(), folder, **changes)
    return replace(job, validate=lambda scorer: {"ndcg@5": next(script), "all": {"hr@5": 0.5}, "goal": None})


def with_terms(job: Job, *terms: Term) -> Job:
    return replace(job, method=replace(job.method, phases=(Phase(terms, 0.01),)))


def records(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [record for record in read_log(folder / "log.jsonl") if record["kind"] == kind]


# The loss -----------------------------------------------------------------------------------------------------------


def constant(value: float) -> Callable[[Step], Tensor]:
    return lambda step: value + 0.0 * step.logged("policy")


def test_a_loss_is_the_weighted_sum_of_the_terms_means() -> None:
    """2 * 3 - .5 * 4 = 4; a term of weight 0 is neither called nor reported; terms are reported as they are listed."""
    job = job_of("sasrec", shop())
    model = Networks(job).evaluated
    step = Step(model, model, job.data.batch(0, 8, 0), 0, 0)
    terms = (
        Term("b", 2.0, constant(3.0)),
        Term("none", 0.0, lambda step: pytest.fail("called")),
        Term("a", -0.5, lambda step: torch.tensor([1.0, 7.0, 4.0])),
    )
    loss, means = total_loss(Phase(terms, 0.1), step)
    assert loss.item() == 4.0
    assert {name: mean.item() for name, mean in means.items()} == {"b": 3.0, "a": 4.0}
    assert list(means) == ["b", "a"]
    assert not means["b"].requires_grad


@pytest.mark.parametrize(
    ("changes", "largest", "norm"), [({"clip_value": 1e-4}, 1e-4, 1.0), ({"clip_norm": 1e-3}, 1.0, 1e-3)]
)
def test_gradients_are_clipped_before_the_update_and_measured_before_that(
    changes: dict[str, float], largest: float, norm: float
) -> None:
    seen: list[Tensor] = []

    def step_of(job: Job) -> dict[str, Tensor]:
        networks = Networks(job)

        def look(optimiser: torch.optim.Optimizer, *_: Any) -> None:
            seen.append(torch.cat([p.grad.flatten() for p in networks.modules.parameters() if p.grad is not None]))

        networks.optimiser.register_step_pre_hook(look)
        return take_step(job, networks, Progress())

    means, unclipped = step_of(job_of("sasrec", shop(), **changes)), step_of(job_of("sasrec", shop()))
    assert float(seen[0].abs().max()) <= largest
    assert float(seen[0].norm()) <= norm * 1.001
    assert float(seen[0].abs().max()) == pytest.approx(largest) or float(seen[0].norm()) == pytest.approx(norm)
    assert float(means["grad_norm"]) == float(unclipped["grad_norm"]) == pytest.approx(float(seen[1].norm()))


@pytest.mark.parametrize(
    ("changes", "shares"),
    [
        ({}, [1, 1, 1, 1, 1, 1]),
        ({"lr_warmup": 4}, [0.25, 0.5, 0.75, 1, 1, 1]),
        ({"lr_schedule": "linear"}, [1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        ({"lr_schedule": "linear", "lr_warmup": 2}, [1 / 2, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        ({"lr_schedule": "tenths", "lr_tenth_epochs": 1}, [1, 1, 0.1, 0.1, 0.01, 0.01]),
        ({"lr_schedule": "tenths", "lr_tenth_epochs": 2}, [1, 1, 1, 1, 0.1, 0.1]),
    ],
)
def test_the_learning_rate_of_each_step(changes: dict[str, Any], shares: list[float]) -> None:
    """Three epochs of two steps; what Adam was given at each."""
    job = job_of("sasrec", shop(), epochs=3, batch_size=1000, lr=0.02, **changes)
    job = replace(job, settings=replace(job.settings, batch_size=-(-job.data.n_pieces // 2)))
    assert job.last_step == 6
    networks, given = Networks(job), []
    step = networks.optimiser.step
    networks.optimiser.step = lambda: (given.append(networks.optimiser.param_groups[0]["lr"]), step())  # type: ignore[assignment]
    progress = Progress()
    for _ in range(6):
        take_step(job, networks, progress)
    assert given == pytest.approx([0.02 * share for share in shares])


def test_adam_is_told_its_moments_and_how_weights_decay() -> None:
    """One step from a weight w with the gradient g. Adam's first step is lr g / (|g| + eps) whatever beta2 is.

    Decoupled: w (1 - lr * .1) - lr sign(g). L2: w - lr sign(g + .1 w), so a weight whose gradient is 0 moves too, by a
    whole step against its own sign.
    """

    def values(networks: Networks) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in networks.evaluated.state_dict().items()}

    before = values(Networks(job_of("sasrec", shop())))

    def after(**changes: Any) -> tuple[dict[str, Tensor], Networks]:
        job = job_of("sasrec", shop(), lr=0.5, **changes)
        networks = Networks(job)
        take_step(job, networks, Progress())
        return values(networks), networks

    plain, _ = after()
    decoupled, _ = after(weight_decay=0.1, weight_decay_form="decoupled")
    l2, networks = after(weight_decay=0.1)
    assert networks.optimiser.param_groups[0]["betas"] == (0.9, 0.999)
    assert after(beta2=0.98)[1].optimiser.param_groups[0]["betas"] == (0.9, 0.98)
    assert after(beta2=0.98, optimiser="row-adam")[1].optimiser.param_groups[0]["betas"] == (0.9, 0.98)
    name = "backbone.items.weight"
    torch.testing.assert_close(decoupled[name], plain[name] - 0.5 * 0.1 * before[name])
    idle = (plain[name] == before[name]) & (before[name].abs() > 1e-4)
    assert idle.any()
    torch.testing.assert_close(l2[name][idle], before[name][idle] - 0.5 * before[name][idle].sign(), rtol=0, atol=1e-3)


@pytest.mark.parametrize("changes", [{"weight_decay": 0.1}, {"lr_warmup": 3}, {"lr_schedule": "linear"}])
def test_rows_that_wait_ask_for_one_learning_rate_and_no_decay(changes: dict[str, Any]) -> None:
    with pytest.raises(SeqwardError, match=r"set lr_schedule=constant, lr_warmup=0 and weight_decay=0, or take adam"):
        job_of("sasrec", shop(), optimiser="row-adam", **changes)


def test_rows_that_wait_cannot_be_dropped_out() -> None:
    with pytest.raises(SeqwardError, match=r"item_dropout touches every row .*: set item_dropout=0, or take adam"):
        job_of("sasrec", shop(), optimiser="row-adam", item_dropout=0.1)
    for beta2 in (0.0, 0.9):
        with pytest.raises(
            SeqwardError, match=r"has an end only where beta2 is above 0\.9: set beta2 higher, or take adam"
        ):
            job_of("sasrec", shop(), optimiser="row-adam", beta2=beta2)


def test_a_step_drops_items_where_it_is_told_to() -> None:
    def means(**changes: Any) -> dict[str, Tensor]:
        job = job_of("sasrec", shop(), tied=True, **changes)
        return take_step(job, Networks(job), Progress())

    plain = means()
    assert means(item_dropout=0.0) == plain
    assert all(value != plain[name] for name, value in means(item_dropout=0.5).items())


def test_gradients_do_not_pile_up() -> None:
    networks = after_steps(job_of("sasrec-ac", shop()), 2)
    assert all(p.grad is None for p in networks.modules.parameters())


# What is not finite -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_with_term_and_step(tmp_path: Path, bad: float) -> None:
    """The second of three terms goes wrong at the fifth step."""

    def fails(step: Step) -> Tensor:
        return constant(bad if step.number == 4 else 0.0)(step)

    ce = job_of("sasrec", shop()).method.phases[0].terms[0]
    job = with_terms(job_of("sasrec", shop(), tmp_path), ce, Term("L_X", 2.0, fails), Term("L_Z", 1.0, constant(1.0)))
    with pytest.raises(Finding) as finding:
        train(job)
    assert str(finding.value) == (
        f"the loss term L_X is {bad} at step 4: training has diverged and was stopped. "
        "Begin again with a lower train.lr, or with train.clip_norm."
    )
    assert finding.value.exit_status == 1
    assert [r["step"] for r in records(tmp_path, "step")] == [1, 2, 3, 4]


@pytest.mark.parametrize("name", ["sasrec", "sasrec-ac", "sasrec-ccql", "sasrec-ccql-released"])
def test_weights_that_blow_up_are_told_by_the_term_that_meets_them(tmp_path: Path, name: str) -> None:
    """A bad weight in the Q head, or in the states: cross-entropy or the greedy item sees it first."""
    job = job_of(name, shop(), tmp_path)
    networks = Networks(job)
    for model in networks.modules:
        with torch.no_grad():
            model.heads["q" if "q" in model.heads else "policy"].linear.bias[3] = math.nan  # type: ignore[index, union-attr, operator]
    with pytest.raises(Finding, match=r"(?s)the loss term (L_CE|ω L_Q|α L_CQL).*step 0") as finding:
        take_step(job, networks, Progress())
    assert len(str(finding.value).splitlines()) <= 3


def test_a_learning_rate_far_too_high_is_a_finding(tmp_path: Path) -> None:
    with pytest.raises(Finding, match=r"the loss term .* step \d+"):
        recommender("sasrec-ccql", lr=1e18, clip_value=None, epochs=20).fit(shop(), tmp_path / "run")


# What stops it ------------------------------------------------------------------------------------------------------


def test_early_stopping_keeps_the_best(tmp_path: Path) -> None:
    """Validations at steps 0, 6, 12, ...: .1, .3, .2, .3, .25; two after the best are no better (equal is none)."""
    job = validated("sasrec", tmp_path / "run", [0.1, 0.3, 0.2, 0.3, 0.25], epochs=50, patience=2)
    progress = train(job)
    assert progress.stopped == "ndcg@5 has not risen for 2 validations"
    assert (progress.step, progress.best, progress.best_step) == (18, 0.3, 6)
    assert [(r["step"], r["value"], r["best"]) for r in records(tmp_path / "run", "validation")] == [
        (0, 0.1, True),
        (6, 0.3, True),
        (12, 0.2, False),
        (18, 0.3, False),
    ]
    best = {k.removeprefix("model.safetensors/"): v for k, v in weights(tmp_path / "run" / "best").items()}
    assert_same_bits(best, dict(after_steps(job, 6).evaluated.state_dict()))
    about = json.loads((tmp_path / "run" / "best" / "state.json").read_text())
    assert (about["step"], about["value"], about["metric"]) == (6, 0.3, "ndcg@5")


def test_no_patience_is_for_ever(tmp_path: Path) -> None:
    progress = train(validated("sasrec", tmp_path, [0.5, 0.1], epochs=4, patience=0))
    assert (progress.stopped, progress.step, progress.best_step) == ("all 4 epochs done", 24, 0)


def test_patience_counts_anew_in_the_second_phase(tmp_path: Path) -> None:
    """Two bad validations before the switch and two after it are not four."""
    job = validated("sasrec-ac", tmp_path, [0.5, 0.1, 0.1, 0.1, 0.1], epochs=4, patience=3, warmup_events=290)
    progress = train(job)
    assert "phase 2 begins" in [r["text"] for r in records(tmp_path, "event")]
    assert progress.stopped == "all 4 epochs done"


@pytest.mark.parametrize(
    ("every", "steps"), [(1.0, [0, 6, 12, 18]), (0.5, [0, 3, 6, 9, 12, 15, 18]), (2.0, [0, 12, 18])]
)
def test_validations_come_every_so_many_epochs_and_at_the_end(tmp_path: Path, every: float, steps: list[int]) -> None:
    train(validated("sasrec", tmp_path, [0.1, 0.2], validate_every=every))
    assert [r["step"] for r in records(tmp_path, "validation")] == steps


def test_without_a_validation_split_the_last_weights_are_the_best(tmp_path: Path) -> None:
    job = job_of("sasrec", shop(), tmp_path)
    train(job)
    assert records(tmp_path, "validation") == []
    best = {k.removeprefix("model.safetensors/"): v for k, v in weights(tmp_path / "best").items()}
    assert_same_bits(best, dict(after_steps(job, 18).evaluated.state_dict()))


def clock_of_steps(patch: pytest.MonkeyPatch) -> None:
    """A clock on which each look takes six seconds, and nothing else takes any."""
    looks = count(1)
    patch.setattr(Clock, "seconds", lambda self: self.before + 6.0 * next(looks))


def test_the_time_limit_stops_and_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Amid an epoch: the weights of that moment are validated, and kept if they are the best so far."""
    clock_of_steps(monkeypatch)
    job = replace(validated("sasrec", tmp_path, [0.1, 0.4], checkpoint_minutes=1e6), max_minutes=1.0)
    progress = train(job)
    assert progress.stopped == "time limit of 1 minutes"
    assert 0 < progress.step < 6
    assert [(r["step"], r["best"]) for r in records(tmp_path, "validation")] == [(0, True), (progress.step, True)]
    assert json.loads((tmp_path / "best" / "state.json").read_text())["step"] == progress.step


@pytest.mark.parametrize("later", [0.2, 0.9])
def test_a_time_limit_leaves_no_trace_in_the_run_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: float
) -> None:
    """.4 was measured where the clock stopped it; the straight run never saw that, be the rest better or worse.

    Patience 3: had the extra measurement counted, the resumed run would stop earlier.
    """
    straight = train(validated("sasrec", tmp_path / "straight", [0.3, later, 0.1, 0.1, 0.1], epochs=9, patience=3))
    with monkeypatch.context() as patch:
        clock_of_steps(patch)
        job = validated("sasrec", tmp_path / "run", [0.3, 0.4], epochs=9, patience=3, checkpoint_minutes=1e6)
        stopped = train(replace(job, max_minutes=1.0))
    assert (stopped.best, 0 < stopped.step < 6) == (0.4, True)
    again = validated("sasrec", tmp_path / "run", [later, 0.1, 0.1, 0.1], epochs=9, patience=3)
    resumed = train(again, resume=True)
    assert (resumed.step, resumed.best, resumed.best_step) == (straight.step, straight.best, straight.best_step)
    assert_same_bits(weights(tmp_path / "run"), weights(tmp_path / "straight"))


def test_time_before_a_resume_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock_of_steps(monkeypatch)
    job = replace(validated("sasrec", tmp_path, [0.1], checkpoint_minutes=1e6), max_minutes=1.0)
    first = train(job)
    assert train(job, resume=True).step == first.step


# Ctrl-C and worse ---------------------------------------------------------------------------------------------------


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    def twice(record: dict[str, Any]) -> None:
        if record["step"] == 2:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(job_of("sasrec", shop(), tmp_path), observe=twice)
    assert not (tmp_path / "last").exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_before_the_first_step_keeps_the_first_validation(tmp_path: Path) -> None:
    def at_once(record: dict[str, Any]) -> None:
        if record["kind"] == "validation":
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(validated("sasrec", tmp_path, [0.1]), observe=at_once)
    train(validated("sasrec", tmp_path, [0.1]), resume=True)
    assert [r["step"] for r in records(tmp_path, "validation")] == [0, 6, 12, 18]


def test_training_in_a_thread_needs_no_signal(tmp_path: Path) -> None:
    done: list[Progress] = []
    thread = threading.Thread(target=lambda: done.append(train(job_of("sasrec", shop(), tmp_path))))
    thread.start()
    thread.join(60)
    assert done[0].stopped == "all 3 epochs done"


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from jobs import recommender, shop
from seqward.clock import Clock
Clock.checkpoint_due = lambda self, minutes: True
def kill(record):
    if record["kind"] == "step" and record["step"] == 10:
        os.kill(os.getpid(), signal.SIGKILL)
recommender("sasrec-ccql").fit(shop(), sys.argv[2], observe=kill)
"""


def test_kill_9_and_resume_give_the_bits_of_a_straight_run(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(tmp_path / "run")]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    done = subprocess.run(command, capture_output=True, timeout=120, env={**os.environ, **threads})
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert json.loads((tmp_path / "run" / "last" / "state.json").read_text())["step"] == 9
    recommender("sasrec-ccql").fit(shop(), tmp_path / "run", resume=True)
    recommender("sasrec-ccql").fit(shop(), tmp_path / "straight")
    assert_same_bits(weights(tmp_path / "run"), weights(tmp_path / "straight"))


def test_resume_without_a_checkpoint_begins(tmp_path: Path) -> None:
    assert train(job_of("sasrec", shop(), tmp_path), resume=True).step == 18


def test_resume_may_last_longer(tmp_path: Path) -> None:
    """Epochs may change: 2 and then 3 are 3, to the bit."""
    recommender("sasrec", epochs=2).fit(shop(), tmp_path / "run")
    recommender("sasrec", epochs=3).fit(shop(), tmp_path / "run", resume=True)
    recommender("sasrec", epochs=3).fit(shop(), tmp_path / "straight")
    assert_same_bits(weights(tmp_path / "run"), weights(tmp_path / "straight"))


def test_checkpoints_come_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    due = iter([False, False, True, False, True] + [False] * 100)
    monkeypatch.setattr(Clock, "checkpoint_due", lambda self, minutes: minutes == 7.0 and next(due))
    monkeypatch.setattr(training, "save_checkpoint", lambda *what: saved.append(what[-1].step))
    train(job_of("sasrec", shop(), tmp_path, checkpoint_minutes=7.0))
    assert saved == [3, 5, 18]


def test_the_clock() -> None:
    """Seconds of before count; a checkpoint is due once in so many minutes."""
    now = time.monotonic()
    clock = Clock(before=100.0, begin=now - 5.0, checkpoint=now - 61.0)
    assert 105.0 <= clock.seconds() < 110.0
    assert not clock.checkpoint_due(5.0)
    assert clock.checkpoint_due(1.0)
    assert not clock.checkpoint_due(1.0)


# What it writes down ------------------------------------------------------------------------------------------------


def test_the_log_tells_everything(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []
    recommender("sasrec-ccql", log_every=2).fit(shop(), tmp_path / "run", observe=seen.append)
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert lines == seen
    assert all({"kind", "step", "events", "seconds"} <= record.keys() for record in lines)
    steps = records(tmp_path / "run", "step")
    assert [(r["step"], r["phase"]) for r in steps if r["step"] % 2] == [(9, 1)], "a line ends where the phase does"
    assert [r["step"] for r in steps if r["step"] % 2 == 0] == list(range(2, 19, 2))
    assert list(steps[0]["terms"]) == ["L_CE", "ω L_Q", "L_CO", "α L_CQL"]
    assert list(steps[-1]["terms"]) == ["Q L_CE", "ω L_Q", "L_CO", "α L_CQL"]
    for record in steps:
        assert {"phase", "events_per_second"} <= record.keys()
        assert ({"grad_norm", "q_mean", "q_max", "q_greedy"} <= record.keys()) == (record["step"] % 2 == 0)
    metrics = records(tmp_path / "run", "validation")[0]["metrics"]
    assert "q" in metrics
    assert "ndcg@5" in metrics["all"]
    assert [r["text"] for r in records(tmp_path / "run", "event")] == ["phase 2 begins", "all 3 epochs done"]
    assert lines[-1]["events"] == 3 * 145
    assert all(r["phase"] == 1 + (r["step"] > 9 or "begins" in r.get("text", "")) for r in lines)


def test_logged_terms_are_means_since_the_line_before(tmp_path: Path) -> None:
    """The term is the number of the step: lines every three steps tell 1, 4, 7, ..."""
    job = with_terms(
        job_of("sasrec", shop(), tmp_path, log_every=3),
        Term("n", 1.0, lambda step: step.number + 0.0 * step.logged("policy")),
    )
    train(job)
    assert [r["terms"]["n"] for r in records(tmp_path, "step")] == [1.0, 4.0, 7.0, 10.0, 13.0, 16.0]


def test_a_log_that_was_cut_off_is_read_up_to_there(tmp_path: Path) -> None:
    whole = '{"step": 1}\n{"step": 2}\n{"ω L_Q": 3}\n'.encode()
    for size in range(24, 37):
        (tmp_path / "log.jsonl").write_bytes(whole[:size])
        assert read_log(tmp_path / "log.jsonl") == [{"step": 1}, {"step": 2}]
    (tmp_path / "log.jsonl").write_bytes(whole)
    assert read_log(tmp_path / "log.jsonl") == [{"step": 1}, {"step": 2}, {"ω L_Q": 3}]
    assert read_log(tmp_path / "none.jsonl") == []


# What it selects by -------------------------------------------------------------------------------------------------

METRICS = {"reward@20": 12.0, "all": {"n": 9, "hr@5": 0.5, "ci": {}}, "goal": None, "q": {"mean": 0.25}}


@pytest.mark.parametrize(
    ("name", "value"), [("reward@20", 12.0), ("hr@5", 0.5), ("all.hr@5", 0.5), ("q.mean", 0.25), ("all.n", 9.0)]
)
def test_a_metric_by_its_name(name: str, value: float) -> None:
    assert metric_named(METRICS, name) == value


def test_a_metric_of_an_empty_group() -> None:
    with pytest.raises(SeqwardError) as refusal:
        metric_named(METRICS, "goal.ndcg@20")
    assert str(refusal.value) == "train.metric=goal.ndcg@20: the validation split has no event of the group 'goal'."


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("hr@6", ""),
        ("al.hr@5", " Did you mean 'all.hr@5'?"),
        ("goals.hr@5", " Did you mean 'all.hr@5'?"),
        ("all", " Did you mean 'all.n'?"),
        ("", ""),
        ("all.ci", " Did you mean 'all.n'?"),
        ("reward@20.x", " Did you mean 'reward@20'?"),
    ],
)
def test_a_metric_that_is_not_measured(name: str, near: str) -> None:
    with pytest.raises(SeqwardError) as refusal:
        metric_named(METRICS, name)
    known = "Known, for k of 5, 20: reward@k, all.n, all.hr@k, q.mean."
    assert str(refusal.value) == f"train.metric={name} is not measured.{near} {known}"


@pytest.mark.parametrize("metric", ["hr@6", "goal.ndcg@20"])
def test_a_metric_that_is_not_measured_is_told_before_any_step(tmp_path: Path, metric: str) -> None:
    data = split_by_session(data_of([[0, 1, 2], [1, 2], [2, 0]], 3, rewards=[[0.2] * 3, [0.2] * 2, [0.2] * 2]), 1)
    seen: list[dict[str, Any]] = []
    with pytest.raises(SeqwardError, match=f"train.metric={metric}"):
        recommender("sasrec", metric=metric).fit(data, tmp_path / "run", observe=seen.append)
    assert seen == []


# Pre-training -------------------------------------------------------------------------------------------------------


def pretrained(folder: Path, values: Sequence[float], **changes: Any) -> Job:
    """13 steps of pre-training (2 passes and a bit, six steps each), then 23 that select."""
    return validated("cp4rec", folder, values, pretrain_epochs=2.1, epochs=6, **changes)


def test_a_phase_that_does_not_select_is_measured_once_before_it_begins(tmp_path: Path) -> None:
    """At step 0, which tells a metric that is not measured; then at 18, 24, ...; .9 is not asked for in phase 1."""
    progress = train(pretrained(tmp_path, [0.1, 0.3, 0.2, 0.4, 0.1]))
    assert [r["step"] for r in records(tmp_path, "event")] == [13, 36]
    assert [(r["step"], r["best"]) for r in records(tmp_path, "validation")] == [
        (0, True),
        (18, True),
        (24, False),
        (30, True),
        (36, False),
    ]
    assert (progress.best, progress.best_step) == (0.4, 30)


def test_patience_does_not_count_in_a_phase_that_does_not_select(tmp_path: Path) -> None:
    """Nothing is better than the first value. Two validations after it end the run, at 18 and 24."""
    progress = train(pretrained(tmp_path, [0.5, 0.4, 0.3], patience=2))
    assert progress.stopped == "ndcg@5 has not risen for 2 validations"
    assert (progress.step, progress.best_step) == (24, 0)


def test_a_run_that_ends_in_pre_training_is_measured_where_it_ends(tmp_path: Path) -> None:
    job = validated("cp4rec", tmp_path, [0.1, 0.3], pretrain_epochs=9.0, epochs=2)
    progress = train(job)
    assert [(r["step"], r["best"]) for r in records(tmp_path, "validation")] == [(0, True), (12, True)]
    assert progress.stopped == "all 2 epochs done; phase 2 of 2 never began"
    assert (progress.phase, progress.best_step) == (0, 12)


def test_a_time_limit_in_pre_training_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped within phase 1 and gone on with, it has the bits and the best of a straight run."""
    straight = train(pretrained(tmp_path / "straight", [0.1, 0.2, 0.3, 0.2]))
    with monkeypatch.context() as patch:
        clock_of_steps(patch)
        stopped = train(replace(pretrained(tmp_path / "run", [0.1, 0.9], checkpoint_minutes=1e6), max_minutes=1.0))
    assert (stopped.phase, stopped.best) == (0, 0.9)
    resumed = train(pretrained(tmp_path / "run", [0.2, 0.3, 0.2]), resume=True)
    assert (resumed.step, resumed.best, resumed.best_step) == (straight.step, straight.best, straight.best_step)
    assert_same_bits(weights(tmp_path / "run"), weights(tmp_path / "straight"))


def test_the_length_of_a_phase() -> None:
    terms = (Term("n", 1.0, constant(1.0)),)
    job = job_of("sasrec", shop(), epochs=2)
    assert job.data.n_events == 145
    lengths = {"events": [None, 190, 0.4], "epochs": [1.5, 0.0]}
    phases = [Phase(terms, 0.1, **{key: value}) for key, values in lengths.items() for value in values]
    job = replace(job, method=replace(job.method, phases=tuple(phases)))
    assert [job.phase_length(number) for number in range(5)] == [None, 190, 116, 218, 0]


@pytest.mark.parametrize(
    ("name", "changes", "begins", "mend"),
    [
        ("snqn", {}, None, ""),
        ("sa2c", {}, 435, "Set objective.warmup_events=0.4"),
    ],
)
def test_a_run_that_ends_before_its_last_phase_says_so(
    caplog: pytest.LogCaptureFixture, name: str, changes: dict[str, Any], begins: int | None, mend: str
) -> None:
    recommender(name, epochs=2, **({"warmup_events": 435} | changes)).fit(shop())
    told = [r.message for r in caplog.records if "begins after" in r.message]
    assert len(told) == (begins is not None)
    for message in told:
        assert f"phase 2 of {name} begins after {begins} training events, and this run plans 290" in message
        assert mend in message


@pytest.mark.parametrize(("name", "epochs"), [("cp4rec", 3.0), ("s3-rec", 300.0), ("cp4rec-cdarl", 2.0)])
def test_a_run_that_would_only_be_pre_trained_is_refused(tmp_path: Path, name: str, epochs: float) -> None:
    """Before anything is written; a little less pre-training, and it runs."""
    with pytest.raises(SeqwardError) as refusal:
        recommender(name, epochs=2, pretrain_epochs=epochs).fit(shop(), tmp_path / "run")
    assert str(refusal.value) == (
        f"{name} would only be pre-trained, and nothing that ranks selected: objective.pretrain_epochs={epochs:g}, and "
        f"train.epochs=2 counts those passes, too. Set train.epochs above {epochs:g}, or objective.pretrain_epochs "
        "below 2."
    )
    assert not (tmp_path / "run").exists()
    recommender(name, epochs=2, pretrain_epochs=1.5).fit(shop(), tmp_path / "run")
