"""What ``Recommender.fit`` needs around the loop: what is measured, what is warned of, and what an ending leaves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from seqward.catalogue import MISS
from seqward.catalogue.scores import slow_in_bfloat16
from seqward.checkpoint import newest_checkpoint, read_progress
from seqward.data.dataset import TRAIN, Dataset
from seqward.errors import Finding, SeqwardError
from seqward.evaluate import outcomes, q_of_log, ranks_of
from seqward.job import Job, TrainSettings
from seqward.methods.idle import without_effect
from seqward.metrics import q_against_returns, summarise
from seqward.model import NetworkScorer
from seqward.reading import targets
from seqward.run import Run
from seqward.runlog import read_log
from seqward.stability.told import stability_of
from seqward.train import metric_named

VALIDATION_Q = 2000
"""Events whose Q is compared with the return at each validation."""

logger = logging.getLogger("seqward")


def validator(
    data: Dataset, settings: TrainSettings, critic: str | None, seed: int
) -> Callable[[NetworkScorer], dict[str, Any]]:
    """What training measures on the validation split: ranking metrics, and Q against the return where there is Q.

    Raises:
        SeqwardError: ``train.metric`` is not measured there.
    """
    wanted = targets(data, "validation", sessions=settings.validation_sessions, seed=seed)

    def measured(rank: np.ndarray, q: dict[str, Any] | None) -> dict[str, Any]:
        return summarise(outcomes(data, wanted, rank)) | ({} if critic is None else {"q": q})

    def validate(scorer: NetworkScorer) -> dict[str, Any]:
        rank = ranks_of(scorer, wanted, exclude_history=settings.exclude_history)
        return measured(
            rank, None if critic is None else q_of_log(scorer, data, wanted, sample=VALIDATION_Q, seed=seed)
        )

    # A model that finds nothing has figures of the same names.
    no_q = q_against_returns(np.zeros(1), np.zeros(1)) if wanted.known.any() else None
    metric_named(measured(np.full(len(wanted), MISS), no_q), settings.metric)
    return validate


def check_length(job: Job) -> None:
    """Refuse to resume a run that has gone further than it may now.

    Raises:
        SeqwardError: it has.
    """
    last = newest_checkpoint(job.folder)
    if last is not None and (step := read_progress(last).step) > job.last_step:
        raise SeqwardError(
            f"{job.folder} has taken {step:,} steps already, and train.epochs={job.settings.epochs} ends at "
            f"{job.last_step:,}. Resume with more epochs, or begin anew in another --out."
        )


@contextmanager
def named_state(run: Run, kept: bool) -> Iterator[None]:
    """Have ``run.json`` say how a training that is cut short in here ended, what the guard saw, and what is left.

    Args:
        kept: whether to tell of what it left.
    """
    try:
        yield
    except KeyboardInterrupt:
        run.update(state="interrupted", best=run.best, stability=stability_of(read_log(run.folder / "log.jsonl")))
        raise
    except Finding as finding:
        stability = stability_of(read_log(run.folder / "log.jsonl"))
        run.update(state=f"diverged: {finding}", best=run.best, stability=stability)
        raise Finding(f"{finding}\n{what_is_left(run)}" if kept else str(finding)) from None


def warn_of_untrained(run: Run, steps: int) -> None:
    """Say so where no validation was better than that of the untrained network, which is then what is kept."""
    best = run.best
    if best is not None and steps and not best["step"]:
        logger.warning(
            f"no validation of {steps:,} steps was better than that of the untrained network{_valued(best)}, so its "
            "weights are the best and nothing was learned.\nTrain longer, or with more steps an epoch: a smaller "
            "train.batch_size."
        )


def warn_of_earlier_phase(run: Run, phase: int) -> None:
    """Say so where no validation of the phase that was reached was better than one before, whose weights are kept."""
    best = run.best
    if best is not None and best["step"] and best["phase"] < phase:
        logger.warning(
            f"the best weights are those of step {best['step']:,}, in phase {best['phase']}{_valued(best)}: no "
            f"validation of phase {phase} was better, so what is kept has learned nothing in it.\nTrain longer, begin "
            "it at another time (objective.warmup_events), or take what one phase makes (objective.phases=1)."
        )


def _valued(best: Mapping[str, Any]) -> str:
    """The metric in brackets, where it had a value."""
    return "" if best["value"] is None else f" ({best['metric']} {best['value']:.4g})"


def what_is_left(run: Run) -> str:
    """In words: what a run that diverged has kept, and what it is good for."""
    best, last = run.best, newest_checkpoint(run.folder)
    if best is None:
        return f"{run.folder} keeps no weights."
    which = (f"step {best['step']}" if best["step"] else "the untrained network") + _valued(best)
    finite = "" if last is None else f" last/ holds the last finite state, of step {read_progress(last).step}."
    return (
        f"{run.folder} keeps the best weights, of {which}: `seqward evaluate {run.folder}` and "
        f"`seqward recommend {run.folder}` use them.{finite}"
    )


def warn_of_phases(name: str, job: Job, objective: Any) -> None:
    """Say so where the epochs end before the last phase begins, and how to mend it by a setting of the objective.

    Raises:
        SeqwardError: they end in pre-training, which selects nothing.
    """
    reached, phases = job.last_phase + 1, len(job.method.phases)
    if not any(phase.selects for phase in job.method.phases[:reached]):
        before, epochs = f"objective.pretrain_epochs={objective.pretrain_epochs:g}", job.settings.epochs
        raise SeqwardError(
            f"{name} would only be pre-trained, and nothing that ranks selected: {before}, and train.epochs={epochs} "
            f"counts those passes, too. Set train.epochs above {objective.pretrain_epochs:g}, or "
            f"objective.pretrain_epochs below {epochs}."
        )
    if reached < phases:
        begins = sum(job.phase_length(phase) or 0 for phase in range(reached))
        logger.warning(
            f"phase {reached + 1} of {name} begins after {begins:,} training events, and this run plans "
            f"{job.planned_events:,} ({job.settings.epochs} epochs of {job.data.n_events:,}): it will end in phase "
            f"{reached}.\nSet objective.warmup_events=0.4 to begin phase {reached + 1} after 40 % of them, or "
            "objective.phases=1 if one phase is what you want."
        )


def refuse_unbounded(objective: Any, data: Dataset) -> None:
    """Refuse rewards that a bounded critic could not hold, since it would clip them.

    Raises:
        SeqwardError: a reward of a training event is beyond the bounds, or beyond what their default is made for.
    """
    span, rewards = getattr(objective, "span", None), data.reward[data.split == TRAIN]
    if span is None:
        return
    most = span.high if objective.q_max is not None else 1.0
    if rewards.min() < span.low or rewards.max() > most:
        raise SeqwardError(
            f"objective.critic={objective.critic} keeps Q between {span.low:g} and {span.high:g}, and training events "
            f"earn {rewards.min():g} to {rewards.max():g}, so it would be clipped.\nSet objective.q_min and "
            "objective.q_max to the least and the largest return, or scale the rewards to 1."
        )


def warn_of_slow_products(job: Job) -> None:
    """Say so where bfloat16 is asked for and the processor is faster in fp32."""
    if job.settings.precision == "bf16" and job.data.device.type == "cpu" and slow_in_bfloat16():
        logger.warning(
            "train.precision=bf16: products in bfloat16 take this processor longer than in fp32, the default."
        )


def warn_of_idle(sections: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Say which settings were changed from the method's defaults and have no effect."""
    for of in ("objective", "train", "guard"):
        for line in without_effect(sections[of], defaults[of], of):
            logger.warning(line)
    objective, lr = sections["objective"], sections["train"].lr
    weighted_at_once = getattr(objective, "phases", 1) == 2 and not objective.warmup_events
    if weighted_at_once and objective.lr_phase_2 and lr != defaults["train"].lr:
        logger.warning(
            f"train.lr={lr:g} has no effect: objective.warmup_events is 0, and objective.lr_phase_2="
            f"{objective.lr_phase_2:g} is the rate of the second phase."
        )
