"""The guard at work: it changes no bit where it observes, survives an interruption, and repairs where it may."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from jobs import TRAINED, assert_same_bits, job_of, recommender, shop, weights
from seqward.cli import main
from seqward.errors import Finding, SeqwardError
from seqward.job import Job
from seqward.method import Term
from seqward.recommender import Recommender
from seqward.run import Run
from seqward.runlog import read_log
from seqward.stability.guard import GuardSettings, stability_of
from seqward.stability.rules import Alarm, History, Verdict
from seqward.train import train
from test_train import constant, records, with_terms
from test_train_endings import at

OFTEN = GuardSettings(probe_every=2, probe_sessions=8)
REPAIR = replace(OFTEN, actions="repair")


def alarms_from(step: int, monkeypatch: pytest.MonkeyPatch, onset: int = 0) -> None:
    """Every judgement from a step on is a warning."""

    def judge(history: History, tolerance: float) -> Verdict:
        late = history.last_step >= step
        return Verdict("warning", (Alarm("value bound", 2.0, "Q is large", onset),)) if late else Verdict("healthy")

    monkeypatch.setattr("seqward.stability.guard.judge", judge)


def actions(folder: Path) -> list[str]:
    return [record["action"] for record in records(folder, "repair")]


@pytest.mark.parametrize("name", TRAINED)
def test_watching_changes_no_bit(name: str, tmp_path: Path) -> None:
    """Weights, moments and metrics are those of a run that nobody watches, for every method."""
    for place, watch in ((tmp_path / "seen", True), (tmp_path / "unseen", False)):
        job = job_of(name, shop(), place, epochs=1, session_max_len=4)
        train(replace(job, guard=replace(OFTEN, watch=watch)))
    assert_same_bits(weights(tmp_path / "seen" / "last"), weights(tmp_path / "unseen" / "last"))
    seen = records(tmp_path / "seen", "guard")
    assert seen and not records(tmp_path / "unseen", "guard")
    assert all(math.isfinite(value) for record in seen for value in record["signals"].values())
    assert ("q_over_bound" in seen[0]["signals"]) == (job.method.critic is not None)


def test_what_is_seen_after_a_resume_is_what_would_have_been_seen(tmp_path: Path) -> None:
    """Cut at a step between two probes: running means, lists and history go on where they stood."""
    straight = replace(job_of("snqn", shop(), tmp_path / "straight", epochs=4), guard=OFTEN)
    train(straight)
    cut = replace(straight, folder=tmp_path / "cut")
    with pytest.raises(KeyboardInterrupt):
        train(replace(cut, method=interrupted(cut, 7)))
    train(cut, resume=True)
    for kind in ("guard", "step"):
        mine, theirs = ([told(r) for r in records(folder, kind)] for folder in (cut.folder, straight.folder))
        assert mine[-len(theirs) // 2 :] == theirs[-len(theirs) // 2 :]
    assert [told(r) for r in records(cut.folder, "guard")] == [told(r) for r in records(straight.folder, "guard")]
    assert_same_bits(weights(cut.folder / "last"), weights(straight.folder / "last"))


def told(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in ("seconds", "events_per_second")}


def interrupted(job: Job, step: int) -> Any:
    """The method, whose first term presses Ctrl-C at a step."""
    import signal

    def press(s: Any, loss: Any) -> Tensor:
        if s.number == step and s.grad:
            signal.raise_signal(signal.SIGINT)
        return loss(s)

    phase = job.method.phases[0]
    first = replace(phase.terms[0], loss=lambda s, loss=phase.terms[0].loss: press(s, loss))
    return replace(job.method, phases=(replace(phase, terms=(first, *phase.terms[1:])), *job.method.phases[1:]))


def test_an_alarm_is_told_once_and_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alarms_from(6, monkeypatch)
    job = job_of("snqn", shop(), tmp_path, epochs=2)
    train(replace(job, guard=OFTEN))
    texts = [record["text"] for record in records(tmp_path, "guard") if "text" in record]
    assert texts == ["warning: Q is large"] and actions(tmp_path) == []
    assert not (tmp_path / "guard").exists()
    found = stability_of(read_log(tmp_path / "log.jsonl"))
    assert found == {"state": "warning", "worst": "warning", "step": 6, "reason": "Q is large", "repairs": []}


def test_the_ladder_is_climbed_rung_by_rung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An alarm at every probe from step 6 on; between two rungs four probes pass, and the last one ends the run."""
    alarms_from(6, monkeypatch, onset=4)
    job = job_of("sasrec-ccql", shop(), tmp_path, epochs=20, warmup_events=10_000)
    progress = train(replace(job, guard=REPAIR))
    done = records(tmp_path, "repair")
    assert [record["action"] for record in done] == ["clip", "critic", "rollback", "freeze", "stop"]
    gaps = [b["step"] - a["step"] for a, b in pairwise(done)]
    assert all(gap >= 8 for gap in gaps)
    assert progress.stopped == "the guard stopped it" and progress.step == done[-1]["step"]
    assert progress.guard is not None
    repairs = progress.guard["repairs"]
    assert repairs["critic_lr"] == 0.5 and repairs["conservative"] == 2.0 and repairs["frozen"]
    assert repairs["clip_norm"] > 0
    assert "the weights are again those of step 2" in done[2]["text"]


def test_a_roll_back_has_the_weights_of_before_and_goes_on_past_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rolled back at step 10 to the snapshot of step 8: the next batch is that of step 10, on the weights of step 8."""
    alarms_from(10, monkeypatch, onset=8)
    job = job_of("snqn", shop(), tmp_path, epochs=20, dropout_rate=0.0)
    seen: list[tuple[int, Tensor]] = []

    def watch(s: Any) -> Tensor:
        if s.grad:
            seen.append((s.number, s.online.heads["q"].linear.weight.detach().clone()))
        return job.method.phases[0].terms[0].loss(s)

    phase = job.method.phases[0]
    method = replace(job.method, phases=(replace(phase, terms=(Term("L_CE", 1.0, watch), *phase.terms[1:])),))
    method = replace(method, target=replace_target(method))
    train(replace(job, method=method, guard=replace(REPAIR, ladder=("rollback", "stop"))))
    numbers = [number for number, _ in seen]
    assert numbers == list(range(len(numbers)))  # no batch is read twice
    by_step = dict(seen)
    assert torch.equal(by_step[10], by_step[8]) and not torch.equal(by_step[10], by_step[9])


def replace_target(method: Any) -> Any:
    """One network that learns at every step, so that its weights can be told apart by step."""
    from seqward.target import Ema

    return Ema(0.1)


def test_a_frozen_critic_learns_no_more_and_the_policy_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alarms_from(6, monkeypatch)
    job = replace(
        job_of("sasrec-ccql", shop(), tmp_path, epochs=3, target="ema"), guard=replace(REPAIR, ladder=("freeze",))
    )
    train(replace(job, settings=replace(job.settings, epochs=2)))
    before = weights(tmp_path / "last")
    train(job, resume=True)
    after = weights(tmp_path / "last")
    q = [name for name in before if name.startswith("model.safetensors/0.heads.q")]
    policy = [name for name in before if name.startswith("model.safetensors/0.heads.policy")]
    assert q and all(torch.equal(before[name], after[name]) for name in q)
    assert policy and not any(torch.equal(before[name], after[name]) for name in policy)
    last = records(tmp_path, "step")[-1]["terms"]
    assert set(last) == {"L_CE", "L_CO"}  # what asks nothing of the critic, of both phases
    assert "q_over_bound" not in records(tmp_path, "guard")[-1]["signals"]


def test_a_method_without_a_critic_has_two_rungs_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alarms_from(6, monkeypatch)
    train(replace(job_of("sasrec", shop(), tmp_path, epochs=20), guard=REPAIR))
    assert actions(tmp_path) == ["clip", "rollback", "stop"]


def test_a_critic_that_ranks_is_not_frozen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alarms_from(6, monkeypatch)
    train(replace(job_of("snqn", shop(), tmp_path, epochs=20, rank_by="q"), guard=REPAIR))
    assert actions(tmp_path) == ["clip", "critic", "rollback", "stop"]


def test_a_batch_that_is_not_finite_is_passed_over(tmp_path: Path) -> None:
    """Step 9 is NaN: observed, that ends the run; repaired, the weights go back and training ends by itself."""
    job = with_terms(
        job_of("sasrec", shop(), tmp_path / "observed", epochs=4), Term("L_X", 1.0, at(9, constant(math.nan)))
    )
    with pytest.raises(Finding, match="L_X is nan at step 9"):
        train(replace(job, guard=OFTEN))
    repaired = replace(job, folder=tmp_path / "repaired", guard=REPAIR)
    progress = train(repaired)
    assert progress.stopped == "all 4 epochs done" and actions(repaired.folder) == ["rollback"]
    assert records(repaired.folder, "repair")[0]["step"] == 10
    with pytest.raises(Finding, match="L_X is nan at step 9"):
        train(replace(job, folder=tmp_path / "no", guard=replace(REPAIR, ladder=("clip", "stop"))))


def test_a_lower_rate_for_the_critic_is_one_for_its_head_alone(tmp_path: Path) -> None:
    """The same step at a quarter of the critic's rate: its head moves a quarter as far, and all else as before."""
    from seqward.checkpoint import Progress
    from seqward.networks import Networks
    from seqward.stability.repair import Control
    from seqward.train import take_step

    moved = []
    for share in (1.0, 0.25):
        job = job_of("snqn", shop(), target="ema")
        networks = Networks(job)
        before = {name: p.detach().clone() for name, p in networks.evaluated.named_parameters()}
        take_step(job, networks, Progress(), Control(job.method.phases[0], critic_lr=share))
        moved.append({name: p.detach() - before[name] for name, p in networks.evaluated.named_parameters()})
    whole, quarter = moved
    for name in whole:
        factor = 0.25 if name.startswith("heads.q") else 1.0
        torch.testing.assert_close(quarter[name], factor * whole[name], rtol=1e-4, atol=1e-7)


def test_only_the_newest_snapshots_are_kept(tmp_path: Path) -> None:
    job = job_of("sasrec", shop(), tmp_path, epochs=12)
    train(replace(job, guard=REPAIR))
    kept = sorted(int(place.name) for place in (tmp_path / "guard").iterdir())
    assert len(kept) == 4 and kept == [step for step in kept if step % 8 == 0]


# From the command line and from Python -------------------------------------------------------------------------------


def test_a_run_says_what_became_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alarms_from(6, monkeypatch)
    data = shop()
    r = recommender("snqn")
    r.guard = replace(REPAIR, ladder=("clip",))
    r.fit(data, tmp_path / "run")
    stability = Run(tmp_path / "run").description["stability"]
    assert stability["worst"] == "warning" and [repair["action"] for repair in stability["repairs"]] == ["clip"]
    assert Recommender.load(tmp_path / "run").settings["guard"]["ladder"] == ["clip"]
    assert r.evaluate(data)["protocol"]["repairs"] == ["clip"]


def test_settings_of_the_guard_are_checked() -> None:
    for changes, message in (
        ({"actions": "repar"}, "guard.actions should be 'observe' or 'repair', got 'repar'"),
        ({"probe_every": 0}, "guard.probe_every should be greater than or equal to 1, got 0"),
        ({"ladder": []}, "guard.ladder should have at least 1 item"),
        ({"ladder": ["pray"]}, "guard.ladder should be 'clip', 'critic', 'rollback', 'freeze' or 'stop'"),
        ({"tolerance": 0.0}, "guard.tolerance should be greater than 0, got 0.0"),
    ):
        with pytest.raises(SeqwardError, match=message):
            Recommender("snqn", **changes)


def test_a_parameter_free_method_has_no_guard(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "popularity"]) == 0
    assert "guard" not in capsys.readouterr().out
    assert main(["config", "snqn"]) == 0
    assert "actions: observe" in capsys.readouterr().out


def test_what_a_checkpoint_keeps_for_the_guard_is_plain_json(tmp_path: Path) -> None:
    train(replace(job_of("snqn", shop(), tmp_path, epochs=1), guard=OFTEN))
    kept = json.loads((tmp_path / "last" / "state.json").read_text())["guard"]
    assert kept.keys() == {"steps", "lists", "repairs"}
