"""What every method must do. Methods are found in the registry; a new one is held to all of this by its entry."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jobs import (
    STEADY,
    TRAINED,
    after_steps,
    assert_same_bits,
    in_phase,
    job_of,
    objectives,
    recommender,
    shop,
    step_of,
    steps_of_learning,
    weights,
)
from seqward import train as training
from seqward.backbones.nextitnet import NextItNetSettings
from seqward.checkpoint import Progress
from seqward.clock import Clock
from seqward.data.dataset import TEST, TRAIN, Dataset
from seqward.methods import METHODS
from seqward.networks import Networks
from seqward.recommender import Recommender
from seqward.runlog import read_log
from seqward.target import Ema, Twin
from seqward.train import total_loss
from worlds import data_of, ranks

every_method = pytest.mark.parametrize("name", METHODS)
every_trained = pytest.mark.parametrize("name", TRAINED)
BUILT = {name: job_of(name, shop()).method for name in TRAINED}
with_phases = [name for name, method in BUILT.items() if len(method.phases) > 1]
with_terms = [name for name, method in BUILT.items() if any(len(phase.terms) > 1 for phase in method.phases)]
with_critic = [name for name, method in BUILT.items() if method.critic]
with_target = [name for name in TRAINED if hasattr(METHODS[name].sections["objective"], "target")]


class Killed(BaseException):
    """As if the process had ended there: nothing is saved, nothing is cleaned up."""


FITTED: dict[Path, Recommender] = {}
"""The recommenders of the runs that were never stopped, as training left them."""


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """name -> folder of a run that was never stopped."""
    folders: dict[str, Path] = {}

    def folder_of(name: str) -> Path:
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp("straight") / name
            FITTED[folders[name]] = recommender(name).fit(shop(), folders[name])
        return folders[name]

    return folder_of


def phase_switch(folder: Path) -> int | None:
    """The step after which a run went on to its second phase."""
    events = [r for r in read_log(folder / "log.jsonl") if r["kind"] == "event"]
    return next((r["step"] for r in events if r["text"] == "phase 2 begins"), None)


def stops(folder: Path) -> list[int]:
    """Steps worth stopping at: the first, one with a validation, and those around a phase's end."""
    switch = phase_switch(folder)
    around = [] if switch is None else [switch - 1, switch, switch + 1]
    validated = next(r["step"] for r in read_log(folder / "log.jsonl") if r["kind"] == "validation" and r["step"])
    return sorted({1, validated, *around})


# Every method -------------------------------------------------------------------------------------------------------


@every_method
def test_it_is_described(name: str) -> None:
    entry = METHODS[name]
    assert entry.summary.endswith(".")
    assert entry.source
    assert entry.details or entry.family == "baseline", "what differs from the source is not said"
    trained = {"backbone", "objective", "train"}
    assert set(entry.sections) == trained if entry.trained else not trained & set(entry.sections)


@every_method
def test_saved_and_loaded_it_recommends_the_same(name: str, straight: Any, tmp_path: Path) -> None:
    """From the folder of a run, and from what was saved of the recommender that was loaded from there."""
    histories = [["i1", "i2"], [], ["i3"] * 9, ["i0", "i5", "i7", "i1", "i2", "i4"]]
    fitted = FITTED[straight(name)]
    expected = fitted.recommend(histories=histories, k=5)
    assert len(expected)
    loaded = Recommender.load(straight(name), "cpu")
    loaded.save(tmp_path / "saved")
    for other in (loaded, Recommender.load(tmp_path / "saved", "cpu")):
        assert other.recommend(histories=histories, k=5).equals(expected)
        assert other.settings == fitted.settings


@every_method
def test_what_it_recommends_at_place_k_is_what_evaluation_ranks_k(name: str, straight: Any) -> None:
    """Of people who were not trained on, as both see them where all events are held out."""
    data = Dataset(**{**shop().__dict__, "split": np.full(shop().n_events, TEST, dtype=np.uint8)})
    fitted = Recommender.load(straight(name), "cpu")
    found = ranks(fitted.scorer, data, "test")
    events = data.events_of("test")
    starts = data.offsets[np.searchsorted(data.offsets, events, side="right") - 1]
    histories = [data.item_ids[data.item[start:event]].tolist() for start, event in zip(starts, events, strict=True)]
    frame = fitted.recommend(histories=histories, k=6)
    assert (found.rank <= 6).any()
    for row, (event, rank) in enumerate(zip(events, found.rank, strict=True)):
        listed = frame.filter(frame["session_id"] == row)["item_id"].to_list()
        target = data.item_ids[data.item[event]]
        assert (listed.index(target) + 1 if target in listed else rank) == rank
        assert (target in listed) == (rank <= 6)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in TRAINED])
def test_what_is_not_trained_is_the_same_again(name: str, straight: Any, tmp_path: Path) -> None:
    recommender(name, seed=1).fit(shop(), tmp_path / "again")
    assert_same_bits(weights(tmp_path / "again"), weights(straight(name)))


@every_trained
def test_the_same_seed_gives_the_same_bits(name: str) -> None:
    """(That a run as a whole does so, too, is part of the tests of resuming.)"""
    one, again, other = (after_steps(job_of(name, shop(), seed=seed), 2).modules.state_dict() for seed in (0, 0, 1))
    assert_same_bits(one, again)
    assert not all(torch.equal(one[key], other[key]) for key in one)


def digests() -> list[str]:
    """A line a method: its weights after two steps."""
    lines = []
    for name in TRAINED:
        digest = hashlib.sha256()
        for p in after_steps(job_of(name, shop()), 2).modules.parameters():
            digest.update(p.detach().numpy().tobytes())
        lines.append(f"{name} {digest.hexdigest()}")
    return lines


def test_another_process_gives_the_same_bits() -> None:
    """With another PYTHONHASHSEED: ``hash`` must have no part in any seed."""
    code = "import sys; sys.path[:0] = sys.argv[1:]; import test_methods; print(*test_methods.digests(), sep='\\n')"
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    environment = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    done = subprocess.run(
        [sys.executable, "-c", code, *folders], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.splitlines() == digests()


# Methods that are trained -------------------------------------------------------------------------------------------


@every_trained
def test_ctrl_c_and_resume_give_the_bits_of_a_straight_run(name: str, straight: Any, tmp_path: Path) -> None:
    """One run, stopped at each of its critical steps and gone on with each time."""
    expected, log = weights(straight(name)), read_log(straight(name) / "log.jsonl")
    interrupted = "interrupted: resume with --resume"
    for stop in stops(straight(name)):

        def interrupt(record: dict[str, Any], stop: int = stop) -> None:
            if record["kind"] == "step" and record["step"] == stop:
                signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            recommender(name).fit(shop(), tmp_path / "run", resume=True, observe=interrupt)
        last = read_log(tmp_path / "run" / "log.jsonl")[-1]
        assert (last["step"], last["text"]) == (stop, interrupted)
    recommender(name).fit(shop(), tmp_path / "run", resume=True)
    assert_same_bits(weights(tmp_path / "run"), expected)
    resumed = [r for r in read_log(tmp_path / "run" / "log.jsonl") if r.get("text") != interrupted]
    assert [timeless(r) for r in resumed] == [timeless(r) for r in log]


def timeless(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in ("seconds", "events_per_second")}


@every_trained
def test_killed_and_resumed_from_an_older_checkpoint(
    name: str, straight: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checkpoints after every fourth step; the process ends at step 11, and steps 9 to 11 are done again."""
    expected, log = weights(straight(name)), read_log(straight(name) / "log.jsonl")
    calls = iter(range(1, 1000))

    def every_fourth(self: Clock, minutes: float) -> bool:
        return next(calls) % 4 == 0

    def kill(record: dict[str, Any]) -> None:
        if record["kind"] == "step" and record["step"] == 11:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Clock, "checkpoint_due", every_fourth)
        with pytest.raises(Killed):
            recommender(name).fit(shop(), tmp_path / "run", observe=kill)
    seen: list[dict[str, Any]] = []
    recommender(name).fit(shop(), tmp_path / "run", resume=True, observe=seen.append)
    assert next(r["step"] for r in seen if r["kind"] == "step") == 9
    assert_same_bits(weights(tmp_path / "run"), expected)
    assert [timeless(r) for r in read_log(tmp_path / "run" / "log.jsonl")] == [timeless(r) for r in log]


@every_trained
def test_a_finished_run_resumed_is_left_as_it_is(name: str, straight: Any, tmp_path: Path) -> None:
    shutil.copytree(straight(name), tmp_path / "run")
    recommender(name).fit(shop(), tmp_path / "run", resume=True)
    assert_same_bits(weights(tmp_path / "run"), weights(straight(name)))


FASTER: dict[str, dict[str, Any]] = {"bert4rec": {"draw": "transitions", "last": 0.5, "init": "xavier", "lr": 0.005}}
"""What is slow by design at its defaults: BERT4Rec rarely sees how the next item is asked for, above all of a part of a
session, and begins near zero."""


@every_trained
def test_it_learns_one_batch_by_heart(name: str) -> None:
    """Four sessions in which an item says what comes next: within 300 steps of a phase that ranks it says so."""
    data = data_of([[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11, 12], [13, 14, 15, 16]], 17)
    size = {"n_factors": 16, "session_max_len": 6, "dropout_rate": 0.0, "lr": 0.02, "warmup_events": 10**6}
    job = job_of(name, data, **size | STEADY | FASTER.get(name, {}), ask=1.0)  # a return as those that it was told
    phase = next(number for number, phase in enumerate(job.method.phases) if phase.selects)
    networks, progress, share = Networks(job), Progress(phase=phase), 0.0
    while share < 0.9 and progress.step < 300:
        for _ in range(30):
            training.take_step(job, networks, progress)
        found = ranks(training.scorer_of(job.method, networks.evaluated), data, "train", first_events=False)
        share = (found.rank == 1).mean()
    assert share >= 0.9


@every_trained
def test_each_objective_takes_a_step_in_each_phase(name: str) -> None:
    """Every choice among the named settings; all online parameters of a network that learned have moved.

    But for heads that a phase of pre-training does not ask.
    """
    for changes in objectives(METHODS[name]):
        job = job_of(name, shop(), **changes)
        for number, phase in enumerate(job.method.phases):
            before = dict(Networks(job).evaluated.named_parameters())
            after = after_steps(job, steps_of_learning(job, 2), number).evaluated.named_parameters()
            for key, p in after:
                assert bool(torch.isfinite(p).all())
                waits = not phase.selects and key.startswith("heads.")
                assert waits or not torch.equal(p, before[key]), f"{changes}, phase {number + 1}: {key} never learns"


@pytest.mark.parametrize("name", with_terms)
def test_a_weight_of_zero_is_a_term_left_out(name: str) -> None:
    """To the bit, in each phase; and its loss is not even computed."""
    job = job_of(name, shop())
    for number, phase in enumerate(job.method.phases):
        for term in phase.terms if len(phase.terms) > 1 else ():
            uncalled = replace(term, weight=0.0, loss=lambda step: pytest.fail("a term of weight 0 was called"))
            zero = [uncalled if t is term else t for t in phase.terms]
            absent = [t for t in phase.terms if t is not term]
            one, other = (after_steps(in_phase(job, number, *p), 2).modules.state_dict() for p in (zero, absent))
            assert_same_bits(one, other)


@pytest.mark.parametrize("name", with_terms)
def test_the_order_of_terms_changes_no_bit(name: str) -> None:
    job = job_of(name, shop())
    for number, phase in enumerate(job.method.phases):
        orders = phase.terms, phase.terms[::-1]
        one, other = (after_steps(in_phase(job, number, *terms), 2).modules.state_dict() for terms in orders)
        assert_same_bits(one, other)


def targets_of(name: str) -> list[str]:
    """The kinds of target network that a method may have."""
    return ["twin", "ema"] if hasattr(METHODS[name].sections["objective"], "target") else ["alone"]


@pytest.mark.parametrize("name", with_target)
def test_no_gradient_reaches_the_target(name: str) -> None:
    """Term by term, with every engine: the network that gives the targets stays without a gradient."""
    for target in targets_of(name):
        for engine in ("dense", "chunked"):
            job = job_of(name, shop(), target=target, catalogue=engine)
            networks = Networks(job)
            online, other = networks.modules[0], networks.modules[-1]
            assert online is not other
            other.requires_grad_(True)
            for phase in job.method.phases:
                for term in phase.terms:
                    term.loss(step_of(job, networks)).sum().backward()
                    assert [p.grad for p in other.parameters()] == [None] * len(list(other.parameters())), term.symbol
                    assert any(p.grad is not None for p in online.parameters())


@every_trained
def test_the_target_moves_by_its_rule_only(name: str) -> None:
    """A twin that does not learn is not touched; a follower goes tau of the way after each step."""
    for target in targets_of(name):
        job = job_of(name, shop(), target=target, tau=0.25)
        kind, networks, progress = job.method.target, Networks(job), Progress()
        for count in range(3):
            before = [[p.clone() for p in m.parameters()] for m in networks.modules]
            training.take_step(job, networks, progress)
            after = [[p.clone() for p in m.parameters()] for m in networks.modules]
            roles = kind.roles(job.seed, count)
            if isinstance(kind, Twin):
                assert all(torch.equal(p, q) for p, q in zip(before[roles.target], after[roles.target], strict=True))
            if isinstance(kind, Ema):
                for old, online, new in zip(before[1], after[0], after[1], strict=True):
                    torch.testing.assert_close(new, old + 0.25 * (online - old))
            assert not all(torch.equal(p, q) for p, q in zip(before[roles.online], after[roles.online], strict=True))


@every_trained
def test_engines_give_the_same_losses_and_gradients(name: str) -> None:
    """Of one step, not of a trajectory: Adam amplifies rounding where the true gradient is 0."""
    found = []
    for engine in ("dense", "chunked"):
        job = job_of(name, shop(), catalogue=engine)
        for phase in job.method.phases:
            networks = Networks(job)
            loss, means = total_loss(phase, step_of(job, networks))
            loss.backward()
            found.append((engine, means, [p.grad for p in networks.evaluated.parameters() if p.grad is not None]))
    half = len(found) // 2
    for (_, means, gradients), (_, others, other_gradients) in zip(found[:half], found[half:], strict=True):
        assert means.keys() == others.keys()
        for symbol, mean in means.items():
            torch.testing.assert_close(mean, others[symbol], rtol=1e-4, atol=1e-5)
        for gradient, other in zip(gradients, other_gradients, strict=True):
            torch.testing.assert_close(gradient, other, rtol=1e-3, atol=1e-5)


GATHERING = ("fpmc",)
"""Methods whose step gathers rows and multiplies no matrices."""


@every_trained
def test_half_precision_stays_near(name: str) -> None:
    """The losses of one step; weights and moments stay in fp32. (Trajectories part: Adam amplifies rounding.)

    NextItNet takes its published width and has its gradient within a fifth: its first norm divides activations of 0.001
    by their own deviation, and the gradient with them, and rounding decides which ReLU is open. IQL's weight exp(βA)
    of a loss has the rounding of A times β.
    """
    delicate = isinstance(METHODS[name].sections["backbone"], NextItNetSettings)
    rough, width = ({"grad_norm": 0.2}, {"n_factors": 64}) if delicate else ({}, {})
    means = []
    for precision in ("fp32", "bf16"):
        job = job_of(name, shop(), precision=precision, **width)
        networks = Networks(job)
        means.append(training.take_step(job, networks, Progress()))
        assert all(p.dtype == torch.float32 and bool(torch.isfinite(p).all()) for p in networks.modules.parameters())
    if name == "iql-awr":
        rough = {"exp(βA) L_CE": 0.03, "grad_norm": 0.05}
    exact, near = means
    assert exact.keys() == near.keys()
    for symbol in exact:
        bound = rough.get(symbol, 0.01) * (1 + abs(float(exact[symbol])))
        assert abs(float(near[symbol] - exact[symbol])) < bound, symbol
    halved = any(near[symbol] != exact[symbol] for symbol in exact)
    assert halved == (name not in GATHERING), "products of matrices are in half precision, and nothing else is"


@pytest.mark.parametrize("name", with_phases)
def test_the_second_phase_begins_after_its_events_with_a_fresh_optimiser(name: str, straight: Any) -> None:
    """The first step that begins with as many events counted as phase 1 is long is the first of phase 2."""
    job = job_of(name, shop())
    length = job.phase_length(0)
    records = [r for r in read_log(straight(name) / "log.jsonl") if r["kind"] == "step"]
    first = [r for r in records if r["phase"] == 1]
    assert first[-1]["events"] >= length > first[-2]["events"]
    assert [r["phase"] for r in records] == [1] * len(first) + [2] * (len(records) - len(first))
    assert phase_switch(straight(name)) == first[-1]["step"]
    assert first[0]["terms"].keys() != records[-1]["terms"].keys()
    moments = {k: v for k, v in weights(straight(name) / "last").items() if k.endswith("/step")}
    assert max(float(v) for v in moments.values()) <= len(records) - len(first)


@pytest.mark.parametrize("name", with_critic)
def test_what_teaches_the_policy_teaches_the_critic_nothing(name: str) -> None:
    """A weight on cross-entropy is a constant: no term moves both heads."""
    job = job_of(name, shop())
    for term in [term for phase in job.method.phases for term in phase.terms]:
        networks = Networks(job)
        term.loss(step_of(job, networks)).sum().backward()
        policy, critic = (
            [p.grad is not None for p in networks.evaluated.heads[head].parameters()]
            for head in ("policy", str(job.method.critic))
        )
        assert not (any(policy) and any(critic)), term.symbol


def test_settings_of_a_method_are_told_apart_by_name() -> None:
    """A flat keyword finds its section only where no two sections of a method share a key."""
    for entry in METHODS.values():
        keys = [field.name for section in entry.sections.values() for field in dataclasses.fields(section)]
        assert len(keys) == len(set(keys)), entry.name


def test_the_shop_is_as_these_tests_need_it() -> None:
    data = shop()
    assert int((data.split == TRAIN).sum()) > 100
    for name in with_phases:
        job = job_of(name, data)
        assert job.steps_per_epoch >= 5
        assert 20 < (job.phase_length(0) or 0) < 3 * job.data.n_events - 20
