"""Seqward from this checkout: its own training step, evaluation and recommending. Options: engine, precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from peers.contestants.plain_torch import world
from peers.contestants.protocol import Meter, Sessions, answer, asked
from seqward.catalogue import scores_of
from seqward.checkpoint import Progress
from seqward.config import from_keywords
from seqward.data.batches import Batch, TrainingEvents
from seqward.data.dataset import TEST, TRAIN, Dataset
from seqward.evaluate import outcomes, ranks_of
from seqward.inference import Inference
from seqward.job import Job
from seqward.method import Method, scorer_of
from seqward.methods import method_named
from seqward.methods.sceptics import SoftmaxSettings
from seqward.metrics import summarise
from seqward.model import Model, NetworkScorer
from seqward.networks import Networks
from seqward.reading import targets
from seqward.settings import to_dict
from seqward.train import take_step

BATCH, BEST = 256, 20


class Watched(TrainingEvents):
    """Keeps the last batch, so that its positions can be counted."""

    last: Batch

    def batch(self, step: int, batch_size: int, seed: int) -> Batch:
        self.last = super().batch(step, batch_size, seed)
        return self.last


def dataset_of(ask: Any, sessions: int | None = None) -> Dataset:
    """A prepared data set of all sessions or the first of them; the last event of each is held out."""
    data = Sessions(ask)
    n = min(sessions or len(data), len(data))
    events, rng = int(data.offsets[n]), np.random.default_rng(0)
    goal = rng.random(events) < 0.03
    return Dataset(
        item=data.items[:events].astype(np.int32),
        reward=np.where(goal, 1.0, 0.2).astype(np.float32),
        goal=goal,
        event_type=goal.astype(np.int16),
        split=np.where(data.is_last[:events], TEST, TRAIN).astype(np.uint8),
        offsets=data.offsets[: n + 1],
        item_ids=np.arange(ask.shape.items),
        n_items=ask.shape.items,
        session_ids=np.arange(n),
        user_ids=None,
        event_types=("view", "addtocart"),
        protocol={},
    )


def settings(ask: Any) -> dict[str, Any]:
    """SASRec's, at the shape's size; the rows of the embedding table score the items, as the peers have it."""
    return {
        "n_factors": ask.shape.width,
        "n_blocks": ask.shape.blocks,
        "session_max_len": ask.shape.context,
        "dropout_rate": 0.1,
        "tied": True,
        "lr": 0.001,
        "batch_size": BATCH,
        "draw": "tails",
        "catalogue": ask.options.engine,
        "precision": ask.options.precision,
        # The same steps; it pays where few rows of the table have a gradient.
        "optimiser": "row-adam" if ask.negatives else "adam",
    }


def method(ask: Any) -> Method:
    parts = from_keywords(method_named("sasrec").sections, settings(ask))
    if not ask.negatives:
        return method_named("sasrec").build(**parts)
    parts["objective"] = SoftmaxSettings(tied=True, negatives=ask.negatives, shared=True, log_q=True)
    return method_named("esasrec").build(**parts)  # the loss of eSASRec on the blocks of SASRec


def job_of(ask: Any, data: Dataset) -> tuple[Job, Watched]:
    """A run that neither validates nor writes."""
    parts = from_keywords(method_named("sasrec").sections, settings(ask))
    events = Watched(data, ask.shape.context, "tails")
    return Job(method(ask), events, parts["train"], Path(ask.work), None), events


def scorer(ask: Any) -> NetworkScorer:
    """Untrained: speed does not ask what was learned."""
    job, _ = job_of(ask, dataset_of(ask, sessions=1))
    return scorer_of(job.method, Networks(job).evaluated)


def engine(model: Model) -> str:
    """Which engine answers."""
    states = torch.zeros(1, model.backbone.width)  # type: ignore[arg-type]
    return f"engine {type(model.scores('policy', states)).__name__}"


def train(ask: Any, meter: Meter) -> str:
    job, events = job_of(ask, dataset_of(ask))
    networks, progress = Networks(job), Progress()

    def step() -> float:
        take_step(job, networks, progress)
        return float(len(events.last.event))

    meter.run(step)
    return engine(networks.evaluated)


def ccql(ask: Any, meter: Meter) -> str:
    from ccql_step import job_of, sections  # with it comes what simulates and reads logs, which training has no need of

    data, form = dataset_of(ask), ask.options.conservative
    events = TrainingEvents(data, context=sections(form)["backbone"].session_max_len)
    transitions = getattr(ask.options, "transitions", None)
    sessions = BATCH if transitions is None else max(2, round(transitions * events.n_pieces / events.n_events))
    run = {"batch_size": sessions, "catalogue": ask.options.engine, "precision": ask.options.precision}
    job, progress = job_of(events, sections(form, **run)), Progress()
    networks = Networks(job)

    def step() -> float:
        before = progress.events
        take_step(job, networks, progress)
        return float(progress.events - before)

    meter.run(step)
    return engine(networks.evaluated)


def rank(ask: Any, meter: Meter) -> str:
    data, of = dataset_of(ask, ask.sessions), scorer(ask)

    def all_of_them() -> float:
        wanted = targets(data, "test")
        summarise(outcomes(data, wanted, ranks_of(of, wanted)), (BEST,))
        return float(len(wanted))

    meter.run(all_of_them)
    return engine(of.model)


def head(ask: Any, meter: Meter) -> str:
    """Cross-entropy over the catalogue alone, with the gradients of states and table."""
    states, weight, wanted = world(ask)
    states.requires_grad_(), weight.requires_grad_()

    def one() -> float:
        states.grad = weight.grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=ask.options.precision == "bf16"):
            loss = scores_of(states, weight, None, ask.options.engine).nll(wanted).mean()
        loss.backward()
        return float(len(wanted))

    meter.run(one)
    return f"engine {type(scores_of(states, weight, None, ask.options.engine)).__name__}"


@torch.no_grad()
def ranks(ask: Any, meter: Meter) -> str:
    """Exact ranks alone."""
    states, weight, wanted = world(ask)
    if near := min(getattr(ask.options, "near", 0), len(weight)):
        best = (states @ weight.T).topk(near).indices
        wanted = best.gather(1, torch.randint(near, (len(best), 1)))[:, 0]

    def one() -> float:
        scores_of(states, weight, None, ask.options.engine).rank_of(wanted)
        return float(len(wanted))

    meter.run(one)
    return f"engine {type(scores_of(states, weight, None, ask.options.engine)).__name__}"


def serve(ask: Any, meter: Meter) -> str:
    """An untrained network behind ``seqward.inference``: item numbers to item numbers, or the public object."""
    inference, rng = inference_of(ask), np.random.default_rng(0)
    screen = inference.screen()

    def one() -> float:
        history = rng.integers(ask.shape.items, size=ask.shape.context)
        if getattr(ask.options, "call", "numbers") == "recommend":
            inference.recommend([history.tolist()], k=BEST)
        else:
            screen.topk(inference.encoder.state(history), BEST)
        return 1.0

    meter.run(one)
    return f"int8 screen, {screen.variant.name}" if screen.variant else "no native kernels"


def inference_of(ask: Any) -> Inference:
    weights = {name: value.numpy() for name, value in scorer(ask).model.state_dict().items()}
    sections = from_keywords(method_named("sasrec").sections, settings(ask))
    return Inference(weights, to_dict(sections), np.arange(ask.shape.items))


if __name__ == "__main__":
    ask = asked()
    meter = Meter(ask)
    note = {"train": train, "ccql": ccql, "rank": rank, "head": head, "ranks": ranks, "serve": serve}[ask.kind](
        ask, meter
    )
    answer(meter, "torch", "numpy", note=note)
