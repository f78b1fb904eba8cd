"""What a GPU makes of catalogues from ten thousand to ten million items: one command, less than ten minutes.

    python benchmarks/gpu.py [--minutes 9] [--out FILE]
    python benchmarks/gpu.py --device cpu --quick        that the script itself works, where there is no GPU

First the kernels are held to a matrix in double precision. Then, for each size of the catalogue and each way of asking
it (dense, chunked, fused, and a softmax over 256 sampled items): sessions a second and peak memory of whole training
steps of SASRec in bf16, and the forward and backward pass of cross-entropy alone, of 4,096 states, as a share of the
measured matrix product (6 operations a state, item and column; none for the sampled one). Last, the minutes of a whole
run of SASRec-CCQL at RetailRocket's shape, 60 epochs with an evaluation every 2,000 steps, from measured steps of both
phases and a measured evaluation. Sessions are simulated, 64 wide, 256 a step. What does not fit the memory or the time
says so in its place. Prints JSON, and keeps it where there is a GPU.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir
from typing import Annotated, Any

import numpy as np
import torch
import typer

from machine import RESULTS, commit, machine
from seqward.catalogue import scores_of
from seqward.catalogue.gpu import fault
from seqward.checkpoint import Progress
from seqward.config import from_keywords
from seqward.data.batches import TrainingEvents
from seqward.data.dataset import TRAIN, VALIDATION, Dataset
from seqward.data.world import RETAILROCKET_ITEMS, RETAILROCKET_SESSIONS
from seqward.errors import SeqwardError
from seqward.evaluate import ranks_of
from seqward.job import Job
from seqward.method import Method, scorer_of
from seqward.methods import method_named
from seqward.networks import Networks
from seqward.reading import targets
from seqward.train import take_step
from shape import retailrocket_shape

WIDTH, GOAL = 64, 0.5
ITEMS, QUICK_ITEMS = (10_000, RETAILROCKET_ITEMS, 1_000_000, 10_000_000), (2_000, 20_000)
ARMS: dict[str, dict[str, Any]] = {
    "dense": {"catalogue": "dense"},
    "chunked": {"catalogue": "chunked"},
    "fused": {"catalogue": "fused"},
    "sampled": {"softmax": "mixed"},
}
EPOCHS, EVALUATE_EVERY, TRAINED_SHARE = 60, 2_000, 0.8
EVALUATED_SHARE = 0.1


class Bench:
    """A device, how long one thing may be measured on it, and when everything has to be over."""

    def __init__(self, device: str, quick: bool, minutes: float) -> None:
        self.device, self.quick = torch.device(device), quick
        self.patience = 0.2 if quick else 4.0
        self.end = time.monotonic() + 60 * minutes
        self.sessions = 600 if quick else 20_000
        self.states = 128 if quick else 4096

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"

    def seconds(self, run: Callable[[], Any]) -> float:
        """Of one of as many as patience allows, after two that warm up: the clock's on a GPU, else processor time."""
        clock = time.perf_counter if self.cuda else time.process_time
        for _ in range(2):
            run()
        self.wait()
        begin, count = clock(), 0
        while count < 3 or (clock() - begin < self.patience and count < 1000):
            run()
            count += 1
            self.wait()
        return (clock() - begin) / count

    def wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()

    def cell(self, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What is measured, with peak memory; or why it is not."""
        if time.monotonic() > self.end:
            return {"not measured": "the time is over"}
        self.forget()
        try:
            found = measure()
        except torch.OutOfMemoryError:
            return {"not measured": "does not fit the GPU's memory"}
        except SeqwardError as refused:  # before anything was taken
            return {"not measured": str(refused)}
        peak = torch.cuda.max_memory_allocated() / 2**20 if self.cuda else None
        return found | {"peak_memory_mb": "not measured on a processor" if peak is None else round(peak)}

    def forget(self) -> None:
        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def main(
    device: Annotated[str, typer.Option(help="cuda, or cpu to try the script.")] = "cuda",
    quick: Annotated[bool, typer.Option("--quick", help="Small catalogues, few turns: no figures to keep.")] = False,
    minutes: Annotated[float, typer.Option(help="Nothing new is begun after so many.")] = 9.0,
    out: Annotated[Path | None, typer.Option(help="JSON file to write; on a GPU gpu.json of the results.")] = None,
) -> None:
    """Measure, print and keep the result."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit("there is no CUDA device here. --device cpu --quick tries the script.")
    bench = Bench(device, quick, minutes)
    result: dict[str, Any] = {
        "commit": commit(),
        "machine": machine(),
        "device": torch.cuda.get_device_name() if bench.cuda else "a processor: nothing here is a GPU's figure",
        "kernels": (fault(bench.device) or "Triton's") if bench.cuda else "native, or none",
        "agreement": agreement(bench),
        "product_tflops": round(product_rate(bench) / 1e12, 3),
        "paper_run": bench.cell(lambda: paper_run(bench)),
    }
    result["catalogues"] = [row(bench, n, 1e12 * result["product_tflops"]) for n in (QUICK_ITEMS if quick else ITEMS)]
    shares = [r["fused"].get("share_of_product") for r in result["catalogues"] if r["items"] == RETAILROCKET_ITEMS]
    result["goal"] = {"share_of_product": GOAL, "reached": [share is not None and share >= GOAL for share in shares]}
    text = json.dumps(result, indent=1)
    if out is None and bench.cuda and not quick:
        out = RESULTS / "gpu.json"
    if out is not None:
        out.write_text(text + "\n")
    print(text)


def agreement(bench: Bench) -> dict[str, Any]:
    """How far the fused answers are from a matrix in double precision; and how many ranks and best items differ."""
    draw = torch.Generator().manual_seed(0)
    states, weight = (torch.randn(n, WIDTH, generator=draw).to(bench.device) for n in (300, 3000))
    items = torch.randint(3000, (300,), generator=draw).to(bench.device)
    leaves = [part.double().requires_grad_() for part in (states, weight)]
    scores = leaves[0] @ leaves[1].T
    torch.nn.functional.cross_entropy(scores, items).backward()
    order = scores.argsort(1, descending=True)
    found: dict[str, Any] = {}
    for name in ("fp32", "bf16"):
        parts = [part.clone().requires_grad_() for part in (states, weight)]
        with torch.autocast(bench.device.type, torch.bfloat16, enabled=name == "bf16"):
            scores_of(*parts, None, "fused").nll(items).mean().backward()
        errors = [float((p.grad - e.grad).norm() / e.grad.norm()) for p, e in zip(parts, leaves, strict=True)]  # type: ignore[operator,union-attr]
        found[f"relative error of gradients, {name}"] = max(errors)
    asked = scores_of(states, weight, None, "fused")
    ranks = (order == items[:, None]).int().argmax(1) + 1
    return found | {
        "ranks that differ from double precision": int((asked.rank_of(items) != ranks).sum()),
        "lists of 20 that differ from double precision": int((asked.topk(20).items != order[:, :20]).any(1).sum()),
    }


def product_rate(bench: Bench) -> float:
    """Operations a second of a square product: in bf16 on a GPU, in fp32 on a processor."""
    side = 8192 if bench.cuda else 512
    square = torch.randn(side, side, device=bench.device, dtype=torch.bfloat16 if bench.cuda else torch.float32)
    return 2 * side**3 / bench.seconds(lambda: square @ square)


def row(bench: Bench, n_items: int, rate: float) -> dict[str, Any]:
    """Every way of asking one catalogue."""
    data = retailrocket_shape(bench.sessions, n_items)
    found: dict[str, Any] = {"items": n_items}
    for name, changes in ARMS.items():
        found[name] = bench.cell(lambda changes=changes: training(bench, data, "sasrec", changes))
        if name != "sampled":
            alone = bench.cell(lambda name=name: head(bench, n_items, name, rate))
            found[name] |= {key if key[:5] == "share" else f"head: {key}": value for key, value in alone.items()}
    return found


def training(bench: Bench, data: Dataset, method: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Sessions a second of whole steps."""
    job = job_of(bench, data, method, changes)
    networks, progress = Networks(job), Progress()
    each = bench.seconds(lambda: take_step(job, networks, progress))
    return {"sessions_per_second": round(job.settings.batch_size / each), "ms_a_step": round(1000 * each, 3)}


def head(bench: Bench, n_items: int, engine: str, rate: float) -> dict[str, Any]:
    """Forward and backward of cross-entropy, both states and rows learning, as a share of the product."""
    states, weight = (0.5 * torch.randn(n, WIDTH, device=bench.device) for n in (bench.states, n_items))
    items = torch.randint(n_items, (bench.states,), device=bench.device)
    leaves = states.requires_grad_(), weight.requires_grad_()

    def learn() -> None:
        with torch.autocast("cuda", torch.bfloat16, enabled=bench.cuda):
            scores_of(*leaves, None, engine).nll(items).mean().backward()
        for leaf in leaves:
            leaf.grad = None

    each = bench.seconds(learn)
    share = 6 * bench.states * n_items * WIDTH / each / rate
    return {"ms": round(1000 * each, 3), "share_of_product": round(share, 3)}


def paper_run(bench: Bench) -> dict[str, Any]:
    """Minutes of a whole run of SASRec-CCQL: its steps by phase, and its evaluations, each by what was measured."""
    data = retailrocket_shape(bench.sessions, QUICK_ITEMS[0] if bench.quick else RETAILROCKET_ITEMS)
    split = np.where(np.arange(len(data.item)) < (1 - EVALUATED_SHARE) * len(data.item), TRAIN, VALIDATION)
    data = replace(data, split=split.astype(np.uint8))
    job = job_of(bench, data, "sasrec-ccql", {"catalogue": "auto"})
    seconds = []
    for phase in (0, 1):
        networks, progress = Networks(job), Progress(phase=phase)
        seconds.append(bench.seconds(lambda n=networks, p=progress: take_step(job, n, p)))
    wanted, scorer = targets(data, "validation"), scorer_of(job.method, networks.evaluated)
    sessions = len(np.unique(np.searchsorted(data.offsets, wanted.event, side="right")))
    evaluation = bench.seconds(lambda: ranks_of(scorer, wanted)) / sessions * EVALUATED_SHARE * RETAILROCKET_SESSIONS
    steps = EPOCHS * round(TRAINED_SHARE * RETAILROCKET_SESSIONS / job.settings.batch_size)
    first = min(
        1.0,
        (job.method.phases[0].events or 0) * job.data.n_pieces / job.data.n_events / job.settings.batch_size / steps,
    )
    each = first * seconds[0] + (1 - first) * seconds[1]
    evaluations = steps // EVALUATE_EVERY
    return {
        "minutes": round((steps * each + evaluations * evaluation) / 60, 2),
        "steps": steps,
        "share_in_phase_1": round(first, 3),
        "ms_a_step_by_phase": [round(1000 * s, 3) for s in seconds],
        "evaluations": evaluations,
        "seconds_an_evaluation": round(evaluation, 3),
        "extrapolated": "from measured steps and one evaluation of fewer sessions",
    }


def job_of(bench: Bench, data: Dataset, name: str, changes: dict[str, Any]) -> Job:
    """A run that neither validates nor writes."""
    entry = method_named(name)
    train = {"batch_size": 256, "log_every": 10**6, "n_factors": WIDTH, "precision": "bf16" if bench.cuda else "fp32"}
    sections = from_keywords(entry.sections, train | changes)
    method = entry.build(**sections)
    assert isinstance(method, Method)
    events = TrainingEvents(data, sections["backbone"].session_max_len, sections["train"].draw, bench.device)
    return Job(method, events, sections["train"], Path(gettempdir()), None)


if __name__ == "__main__":
    typer.run(main)
