"""The guard at work: it changes no bit where it observes, survives an interruption, and repairs where it may."""

from __future__ import annotations

import json
import math
import signal
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from jobs import TRAINED, assert_same_bits, job_of, recommender, shop, weights
from seqward.checkpoint import Progress
from seqward.cli import main
from seqward.errors import Finding, SeqwardError
from seqward.job import Job
from seqward.method import Term
from seqward.networks import Networks
from seqward.recommender import Recommender
from seqward.run import Run
from seqward.runlog import read_log
from seqward.stability.guard import superfluous
from seqward.stability.repair import Control
from seqward.stability.rules import RULES, Alarm, History, Verdict
from seqward.stability.settings import GuardSettings
from seqward.stability.told import repairs_of, stability_of
from seqward.target import Ema
from seqward.train import take_step, train
from test_train import constant, records, with_terms
from test_train_endings import at, ruin

OFTEN = GuardSettings(probe_every=2, probe_sessions=8)
REPAIR = replace(OFTEN, actions="repair")


def alarms_from(step: int, monkeypatch: pytest.MonkeyPatch, onset: int = 0) -> None:
    """Every judgement from a step on is a warning, of trouble that began after the step ``onset``."""

    def judge(history: History, tolerance: float) -> Verdict:
        late = history.last_step >= step
        return Verdict("warning", (Alarm(RULES[0], 2.0, "Q is large"),)) if late else Verdict("healthy")

    monkeypatch.setattr("seqward.stability.guard.judge", judge)
    monkeypatch.setattr("seqward.stability.guard.onset", lambda *_: onset)


def poisoned(job: Job, step: int) -> Job:
    """The job, of which the loss is finite and its gradient is not at a step."""

    def loss(s: Any) -> Tensor:
        x = s.nll("policy") * 0.0
        # The slope of a root is infinite at 0, and that times 0 is no number.
        return torch.sqrt(x * x) if s.grad and s.number == step else x

    return with_more_terms(job, Term("L_X", 1.0, loss))


def with_more_terms(job: Job, *terms: Term) -> Job:
    phase = job.method.phases[0]
    return replace(
        job, method=replace(job.method, phases=(replace(phase, terms=(*phase.terms, *terms)), *job.method.phases[1:]))
    )


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
    method = replace(method, target=Ema(0.1))  # one network that learns at every step, to tell its weights by step
    train(replace(job, method=method, guard=replace(REPAIR, ladder=("rollback", "stop"))))
    numbers = [number for number, _ in seen]
    assert numbers == list(range(len(numbers)))  # no batch is read twice
    by_step = dict(seen)
    assert torch.equal(by_step[10], by_step[8]) and not torch.equal(by_step[10], by_step[9])


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
    assert set(last) == {"L_CE", "L_CO"}  # what asks nothing of the critic
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
    """Step 9 is NaN: observed, that ends the run, as diverged; repaired, training goes on from before, to its end."""
    job = with_terms(
        job_of("sasrec", shop(), tmp_path / "observed", epochs=4), Term("L_X", 1.0, at(9, constant(math.nan)))
    )
    with pytest.raises(Finding, match="L_X is nan at step 9: training has diverged and was stopped"):
        train(replace(job, guard=OFTEN))
    seen = stability_of(read_log(job.folder / "log.jsonl"))
    assert seen and (seen["state"], seen["step"], seen["repairs"]) == ("diverged", 9, [])
    repaired = replace(job, folder=tmp_path / "repaired", guard=replace(REPAIR, ladder=("rollback",)))
    assert train(repaired).stopped == "all 4 epochs done"
    (done,) = records(repaired.folder, "repair")
    assert (done["action"], done["step"], done["back_to"]) == ("rollback", 10, 8)
    assert done["text"] == (
        "repaired: the weights are again those of step 8, because the loss term L_X is nan at step 9"
    )  # no word of an end
    seen = stability_of(read_log(repaired.folder / "log.jsonl"))
    assert seen and (seen["worst"], seen["state"]) == ("diverged", "healthy")


def test_a_validation_that_is_not_finite_is_passed_over_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The update of the step before a validation ruins the weights."""
    job = job_of("sasrec", shop(), tmp_path, epochs=3)
    assert job.validation_interval == 6
    ruin(12, monkeypatch)
    assert train(replace(job, guard=REPAIR)).stopped == "all 3 epochs done"
    assert "the weights are again those of step 8" in records(tmp_path, "repair")[0]["text"]


def test_a_rescue_without_a_rung_changes_nothing(tmp_path: Path) -> None:
    """Freezing has no critic to freeze: the run ends where it stood, and ``last`` is the state before the step."""
    job = job_of("sasrec", shop(), tmp_path, epochs=4)
    job = with_terms(job, Term("L_X", 1.0, at(9, constant(math.nan))))
    with pytest.raises(Finding, match="at step 9"):
        train(replace(job, guard=replace(REPAIR, ladder=("freeze", "critic"))))
    assert json.loads((tmp_path / "last" / "state.json").read_text())["step"] == 9 and actions(tmp_path) == []


def test_what_is_not_finite_again_and_again_climbs_the_ladder_to_its_end(tmp_path: Path) -> None:
    """Every step from 9 on is NaN: back and clip, back and back again, stop; the best weights are kept."""
    job = job_of("sasrec", shop(), tmp_path, epochs=9)
    always = Term("L_X", 1.0, lambda s: s.nll("policy") * (math.nan if s.number >= 9 and s.grad else 0.0))
    job = replace(with_terms(job, always), guard=REPAIR)
    progress = train(job)
    assert progress.stopped == "the guard stopped it" and progress.step == 12
    done = records(tmp_path, "repair")
    assert [record["action"] for record in done] == ["clip", "rollback", "stop"]
    seen = stability_of(read_log(tmp_path / "log.jsonl"))
    assert seen and seen["state"] == "diverged"  # to its end
    assert "the weights are again those of step 8, and gradients are clipped to a norm of" in done[0]["text"]
    assert all(torch.isfinite(weight).all() for weight in weights(tmp_path / "last").values())
    with pytest.raises(Finding, match="L_X is nan at step 10"):
        train(replace(job, folder=tmp_path / "short", guard=replace(REPAIR, ladder=("clip",))))


@pytest.mark.parametrize("how", [OFTEN, REPAIR])
def test_a_gradient_that_is_not_finite_never_reaches_the_weights(how: GuardSettings, tmp_path: Path) -> None:
    """Its loss is finite, and the step before a probe is the one."""
    job = replace(poisoned(job_of("snqn", shop(), tmp_path, epochs=4), 9), guard=how)
    if how.actions == "observe":
        with pytest.raises(Finding, match="the gradient's norm is nan at step 9"):
            train(job)
    else:
        assert train(job).stopped == "all 4 epochs done"
        assert records(tmp_path, "repair")[0]["step"] == 10
    assert all(torch.isfinite(weight).all() for weight in weights(tmp_path / "last").values())


def test_weights_that_are_not_finite_are_no_snapshot(tmp_path: Path) -> None:
    """The other network's policy, which no probe reads, is spoilt at step 5: nothing of it is kept, all is mended."""
    job = job_of("snqn", shop(), tmp_path, epochs=4)

    def spoil(s: Any) -> Tensor:
        if s.number == 5 and s.grad:
            with torch.no_grad():
                s.target.heads["policy"].linear.bias.fill_(math.nan)
        return s.nll("policy") * 0.0

    train(replace(with_more_terms(job, Term("L_X", 1.0, spoil)), guard=REPAIR))
    assert "the weights are again those of step 2" in records(tmp_path, "repair")[0]["text"]
    there = list((tmp_path / "guard").iterdir())
    assert there and all(torch.isfinite(weight).all() for place in there for weight in weights(place).values())


def test_a_lower_rate_for_the_critic_is_one_for_its_head_alone(tmp_path: Path) -> None:
    """The same step at a quarter of the critic's rate: its head moves a quarter as far, and all else as before."""
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


def test_few_snapshots_are_kept_and_the_oldest_and_newest_of_them(tmp_path: Path) -> None:
    job = job_of("sasrec", shop(), tmp_path, epochs=12)
    train(replace(job, guard=REPAIR))
    kept = sorted(int(place.name) for place in (tmp_path / "guard").iterdir())
    assert len(kept) == 4 and kept[0] == 2 and kept[-1] == job.last_step // 8 * 8


def test_snapshots_grow_apart_with_their_age() -> None:
    """Of 8, 16, ..., 800, one is spared each time there are five; each that is left is twice as old as the next."""
    kept: list[int] = []
    for step in range(8, 801, 8):
        kept.append(step)
        if len(kept) > 4:
            del kept[superfluous(kept)]
    ages = [800 - step for step in kept]
    assert ages[0] == 792 and ages[-1] == 0 and all(2 * b <= a for a, b in pairwise(ages))


def test_trouble_older_than_any_snapshot_goes_back_to_the_oldest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alarms_from(40, monkeypatch, onset=1)
    job = job_of("sasrec", shop(), tmp_path, epochs=20)
    train(replace(job, guard=replace(REPAIR, ladder=("rollback",))))
    assert "the weights are again those of step 2" in records(tmp_path, "repair")[0]["text"]


def test_what_comes_after_a_roll_back_is_not_gone_back_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Back from 24 to 2: the snapshots of 8 and 16 are of the stretch that was given up."""
    alarms_from(24, monkeypatch)
    onsets = iter([3, 20])
    monkeypatch.setattr("seqward.stability.guard.onset", lambda *_: next(onsets))
    job = job_of("sasrec", shop(), tmp_path, epochs=20)
    train(replace(job, guard=replace(REPAIR, ladder=("rollback", "rollback"))))
    assert [record["back_to"] for record in records(tmp_path, "repair")] == [2, 2]


def test_a_new_phase_has_snapshots_and_norms_of_its_own(tmp_path: Path) -> None:
    job = job_of("sasrec-ccql", shop(), tmp_path, epochs=6, warmup_events=200)
    progress = train(replace(job, guard=REPAIR))
    begun = next(r["step"] for r in records(tmp_path, "event") if "phase 2" in r["text"])
    assert min(int(place.name) for place in (tmp_path / "guard").iterdir()) > begun
    assert progress.guard is not None
    assert progress.guard["steps"]["norm_count"] == progress.step - begun


def test_nothing_is_done_to_a_run_that_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first alarm is that of the last step."""
    job = job_of("sasrec", shop(), tmp_path, epochs=2, validate_every=0.5)
    alarms_from(job.last_step, monkeypatch)
    train(replace(job, guard=replace(REPAIR, probe_every=1)))
    assert records(tmp_path, "guard")[-1]["state"] == "warning" and actions(tmp_path) == []


def test_what_the_guard_stopped_stays_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alarms_from(6, monkeypatch)
    job = replace(job_of("sasrec", shop(), tmp_path, epochs=20), guard=replace(REPAIR, ladder=("stop",)))
    assert train(job).step == 6
    again = train(job, resume=True)
    assert (again.step, again.stopped) == (6, "the guard stopped it")


def test_an_alarm_of_a_single_step_does_not_wait_for_the_next_probe(tmp_path: Path) -> None:
    """Probes are at steps 20, 40, ...; the losses of the 31st and, higher still, of the 32nd are told once.

    They are told again by no resume. (They are constants: the gradient is as usual.)
    """
    job = job_of("sasrec", shop(), tmp_path, epochs=8)
    job = with_more_terms(job, Term("L_X", 1.0, at(30, constant(100.0))), Term("L_Y", 1.0, at(31, constant(200.0))))
    job = replace(job, guard=replace(OFTEN, probe_every=20))
    with pytest.raises(KeyboardInterrupt):
        train(replace(job, method=interrupted(job, 34)))
    train(job, resume=True)
    seen = records(tmp_path, "guard")
    assert [(r["step"], r["state"]) for r in seen[:3]] == [(20, "healthy"), (31, "warning"), (40, "warning")]
    assert seen[1]["rules"] == ["loss"] and seen[1]["of_step"].keys() == {"loss_ratio"} and "signals" not in seen[1]
    assert [step for step, name, _ in seen[2]["highs"] if name == "loss_ratio"][-2:] == [31, 32]
    assert ["text" in record for record in seen[:3]] == [False, True, False]


def test_an_alarm_of_a_single_step_is_acted_on_at_once(tmp_path: Path) -> None:
    """And the next probe speaks of what came after the repair."""
    job = job_of("sasrec", shop(), tmp_path, epochs=8)
    job = with_more_terms(job, Term("L_X", 1.0, at(30, constant(100.0))))
    train(replace(job, guard=replace(REPAIR, probe_every=20)))
    (done,) = records(tmp_path, "repair")
    assert (done["action"], done["step"]) == ("clip", 31)
    after = next(record for record in records(tmp_path, "guard") if record["step"] == 40)
    assert after["state"] == "healthy" and 0.0 < after["signals"]["loss_ratio"] < 2.0


def test_a_checkpoint_of_another_version_is_refused(tmp_path: Path) -> None:
    job = replace(job_of("sasrec", shop(), tmp_path, epochs=1), guard=OFTEN)
    train(job)
    file = tmp_path / "last" / "state.json"
    state = json.loads(file.read_text())
    state["guard"]["steps"]["spikes"] = 3
    file.write_text(json.dumps(state))
    with pytest.raises(SeqwardError, match="the checkpoint was written by another version of Seqward"):
        train(replace(job, settings=replace(job.settings, epochs=2)), resume=True)


def test_another_alarm_is_told_while_the_first_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def judge(history: History, tolerance: float) -> Verdict:
        loud = [rule for rule, step in ((RULES[0], 4), (RULES[6], 8)) if history.last_step >= step]
        return Verdict("warning" if loud else "healthy", tuple(Alarm(rule, 2.0, rule.name) for rule in loud))

    monkeypatch.setattr("seqward.stability.guard.judge", judge)
    train(replace(job_of("snqn", shop(), tmp_path, epochs=3), guard=OFTEN))
    texts = [record["text"] for record in records(tmp_path, "guard") if "text" in record]
    assert texts == ["warning: value bound", "warning: value bound; loss"]


def test_a_run_that_was_cut_short_says_what_was_done_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alarms_from(6, monkeypatch)
    r = recommender("snqn", epochs=20)
    r.guard = replace(REPAIR, ladder=("clip",))

    def press(record: dict[str, Any]) -> None:
        if record["kind"] == "repair":
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        r.fit(shop(), tmp_path / "run", observe=press)
    description = Run(tmp_path / "run").description
    assert description["state"] == "interrupted" and repairs_of(description) == ["clip"]


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
        ({"watch": False, "actions": "repair"}, "watch=false sees nothing"),
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
