"""What a processor's tests cannot see: that everything finds its device, in fp32 and in bf16.

Sums on a GPU have no fixed order, so figures are near those of the processor and of a straight run, not equal to them.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from jobs import TRAINED, recommender, shop, weights
from seqward.catalogue import ENGINES, Pairs, scores_of
from seqward.checkpoint import Progress
from seqward.data.batches import TrainingEvents
from seqward.data.dataset import Dataset
from seqward.job import Job
from seqward.method import Method
from seqward.networks import Networks
from seqward.recommender import Recommender
from seqward.runlog import read_log
from seqward.train import take_step

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
DEVICE = "cuda"

both_precisions = pytest.mark.parametrize("precision", ["fp32", "bf16"])
some_trained = pytest.mark.parametrize("name", ["sasrec", "sasrec-ac", "sasrec-ccql", "sasrec-ccql-released"])
every_trained = pytest.mark.parametrize("name", TRAINED)


def on(device: str, name: str, **changes: Any) -> Recommender:
    r = recommender(name, **changes)
    r.device = torch.device(device)
    return r


def job_on(device: str, name: str, data: Dataset, **changes: Any) -> Job:
    r = on(device, name, **changes)
    method, train = r.entry.build(**r.sections), r.sections["train"]
    assert isinstance(method, Method)
    events = TrainingEvents(data, r.sections["backbone"].session_max_len, train.draw, r.device)
    return Job(method, events, train, Path("unused"), None, 0)


@every_trained
@pytest.mark.parametrize(("precision", "engine"), [("fp32", "dense"), ("bf16", "chunked")])
def test_steps_of_every_phase(name: str, precision: str, engine: str) -> None:
    """Cross-entropy of the first step, without dropout, is the processor's: networks begin alike everywhere."""
    changes = {"precision": precision, "catalogue": engine, "dropout_rate": 0.0}
    near = take_step(job := job_on("cpu", name, shop(), **changes), Networks(job), Progress())
    job = job_on(DEVICE, name, shop(), **changes)
    for phase in range(len(job.method.phases)):
        networks, progress = Networks(job), Progress(phase=phase)
        found = [take_step(job, networks, progress) for _ in range(4)]
        assert all(p.device.type == DEVICE and bool(torch.isfinite(p).all()) for p in networks.modules.parameters())
        assert all(bool(torch.isfinite(mean)) for means in found for mean in means.values())
        if phase == 0 and "L_CE" in near:
            close = 1e-4 if precision == "fp32" else 0.02
            assert float(found[0]["L_CE"]) == pytest.approx(float(near["L_CE"]), rel=close)


@every_trained
def test_a_run_is_trained_evaluated_loaded_and_asked(tmp_path: Path, name: str) -> None:
    """The weights of a run on the GPU say the same on a processor."""
    data = shop()
    gpu = on(DEVICE, name, epochs=2).fit(data, tmp_path / "run")
    cpu = Recommender.load(tmp_path / "run", device="cpu")
    one, other = (r.evaluate(data, "test", bootstrap=10, exclude_history=True) for r in (gpu, cpu))
    assert one["model"]["all"]["ndcg@20"] == pytest.approx(other["model"]["all"]["ndcg@20"], abs=0.02)
    assert ("q" in one["model"]) == (gpu.scorer.critic is not None)
    histories = [["i1", "i2"], ["i3"], []]
    for how in ({}, {"filter_viewed": True}, {"items_to_recommend": ["i5", "i7", "i2"]}):
        lists = [r.recommend(histories=histories, k=3, **how)["score"].to_list() for r in (gpu, cpu)]
        np.testing.assert_allclose(*lists, rtol=1e-3, atol=1e-4)


@some_trained
@both_precisions
def test_a_resumed_run_is_near_a_straight_one(tmp_path: Path, name: str, precision: str) -> None:
    def interrupt(record: dict[str, Any]) -> None:
        if (record["kind"], record["step"]) == ("step", 7):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        on(DEVICE, name, precision=precision).fit(shop(), tmp_path / "run", observe=interrupt)
    on(DEVICE, name, precision=precision).fit(shop(), tmp_path / "run", resume=True)
    on(DEVICE, name, precision=precision).fit(shop(), tmp_path / "straight")
    resumed, straight = (list(losses(tmp_path / run)) for run in ("run", "straight"))
    assert [step for step, _ in resumed] == [step for step, _ in straight]
    for (_, one), (_, other) in zip(resumed, straight, strict=True):
        assert one.keys() == other.keys()
        assert list(one.values()) == pytest.approx(list(other.values()), rel=0.02, abs=0.02)
    assert weights(tmp_path / "run").keys() == weights(tmp_path / "straight").keys()


def losses(folder: Path) -> Iterator[tuple[int, dict[str, float]]]:
    for record in read_log(folder / "log.jsonl"):
        if record["kind"] == "step":
            yield record["step"], record["terms"]


def test_the_callers_stream_stays(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3, device=DEVICE)
    torch.manual_seed(5)
    on(DEVICE, "sasrec-ccql", epochs=1).fit(shop(), tmp_path / "run")
    assert torch.equal(torch.rand(3, device=DEVICE), expected)


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_engines_answer_as_on_a_processor(engine: str) -> None:
    """1,300 items: more than a chunk, and a short last one."""
    draw = torch.Generator().manual_seed(0)
    states, weight = (torch.randn(n, 8, generator=draw) for n in (20, 1300))
    bias, items = torch.randn(1300, generator=draw), torch.randint(1300, (20,), generator=draw)
    rows = torch.arange(20).repeat_interleave(3)
    exclude = Pairs(rows, (items.repeat_interleave(3) + torch.tensor([1, 2, 3]).repeat(20)) % 1300)

    def answers(device: str) -> dict[str, Tensor]:
        scores = scores_of(*(t.to(device) for t in (states, weight, bias)), engine)
        asked, gone = items.to(device), Pairs(*(t.to(device) for t in exclude))
        best = scores.topk(7, gone)
        return {
            "at": scores.at(asked),
            "nll": scores.nll(asked, 0.5),
            "logsumexp": scores.logsumexp(),
            "max": scores.max().values,
            "topk": best.values,
            "items": best.items,
            "rank": scores.rank_of(asked, gone),
        }

    here, there = answers("cpu"), answers(DEVICE)
    for name, expected in here.items():
        assert there[name].device.type == DEVICE
        torch.testing.assert_close(there[name].cpu(), expected, rtol=1e-4, atol=1e-4)
