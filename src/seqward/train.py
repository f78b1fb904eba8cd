"""Training: one visible loop. It knows weights, phases, clipping, logging and stopping; it knows no loss by name."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from seqward.checkpoint import (
    Progress,
    copy_checkpoint,
    finite,
    load_checkpoint,
    newest_checkpoint,
    replace_folder,
    save_checkpoint,
    save_weights,
)
from seqward.clipping import clip, clip_norm, forget, gradients_of, update
from seqward.clock import Clock, interruptible
from seqward.data.batches import Batch
from seqward.errors import STOPPED, Finding, SeqwardError, did_you_mean
from seqward.job import Job
from seqward.memory import give_back_freed_memory
from seqward.method import Phase, scorer_of
from seqward.networks import Networks
from seqward.runlog import Observe, RunLog
from seqward.stability.guard import Guard
from seqward.stability.repair import Control
from seqward.stability.signals import signals_in
from seqward.step import Step

BEST_BEFORE = "best.before"
"""The best weights of the validations on schedule, while ``best/`` holds those of a run that the time limit stopped."""


def train(job: Job, resume: bool = False, observe: Observe = lambda record: None) -> Progress:
    """Train until the last epoch, the time limit, early stopping, Ctrl-C or SIGTERM; a resume then goes on to the bit.

    Raises:
        Finding: a loss term is not finite; names the term and the step. What was kept before stays.
        KeyboardInterrupt: after the state was saved.
    """
    networks = Networks(job)
    progress = restore(job, networks) if resume else Progress()
    progress.stopped = None
    log = RunLog(job.folder, progress, observe)
    guard = Guard(job, networks, progress, log)
    clock = Clock(progress.seconds)
    try:
        with interruptible() as interrupted:
            while not (progress.stopped or interrupted.is_set()):
                step = progress.step
                try:
                    if validation_due(job, progress):
                        validation(job, networks, progress, log, guard)
                    progress.stopped = progress.stopped or reason_to_stop(job, progress, clock)
                    if progress.stopped:
                        break
                    enter_phase(job, networks, progress, log)
                    means = take_step(job, networks, progress, guard.control())
                    log.add(means)
                    progress.seconds = clock.seconds()
                    if progress.step % job.settings.log_every == 0:
                        log.flush(progress)
                    guard.step(means)
                except Finding as finding:
                    guard.rescue(finding, step)
                progress.seconds = clock.seconds()
                if clock.checkpoint_due(job.settings.checkpoint_minutes) and finite(networks.modules):
                    log.flush(progress)  # what a resumed run continues from is in its log
                    save_checkpoint(job.folder / "last", networks.modules, networks.optimiser, progress)
            progress.seconds = clock.seconds()
            close(job, networks, progress, log, guard)
            log.event(progress.stopped or "interrupted: resume with --resume", progress)
    except Finding as finding:
        diverged(job, networks, progress, log, finding)
        guard.diverged(finding)
        raise
    finally:
        log.close()
        give_back_freed_memory()
    if interrupted.is_set():
        raise KeyboardInterrupt
    return progress


def rehearse(job: Job) -> None:
    """Ask every term of every phase about the first batch, and forget it: what cannot be trained is told beforehand.

    Raises:
        SeqwardError: a term cannot be computed on these data; sums are to be sampled, and no term asks for any; or
            sessions of a batch are to be told apart, and it holds one.
    """
    networks, batch = Networks(job).modules, job.data.batch(0, job.settings.batch_size, job.seed)
    summed = False
    for phase in job.method.phases:
        step = step_of(job, networks[0], networks[-1], batch, 0)
        with torch.no_grad(), job.precision:
            total_loss(phase, step)
        summed |= step.has_summed
        if step.has_contrasted and len(batch.sessions.unique()) < 2:
            raise SeqwardError(
                "a contrastive loss of this method tells sessions of a batch apart, and a batch holds one: set "
                f"train.batch_size above {job.settings.batch_size}, or the weight of that loss to 0."
            )
    if job.settings.sampling is not None and not summed:
        raise SeqwardError(
            f"train.softmax={job.settings.softmax} has no effect: no loss of this method sums over the catalogue. "
            "Leave it at full."
        )


def step_of(job: Job, online: nn.Module, target: nn.Module, batch: Batch, number: int) -> Step:
    """What the terms are asked about: a batch, as the job would have it seen."""
    return Step(online, target, batch, job.seed, number, job.method.wanted, job.settings.sampling)  # type: ignore[arg-type]


def restore(job: Job, networks: Networks) -> Progress:
    """Load the newest checkpoint of the run, if it has one, with the optimiser of the phase it was in.

    Raises:
        SeqwardError: it cannot be read, or is of another version.
    """
    folder = newest_checkpoint(job.folder)
    if folder is None:
        return Progress()
    progress = load_checkpoint(folder, networks.modules, networks.optimiser)
    signals_in(progress.guard)
    if (job.folder / BEST_BEFORE).is_dir():
        replace_folder(job.folder / "best", job.folder / BEST_BEFORE)
    return progress


def close(job: Job, networks: Networks, progress: Progress, log: RunLog, guard: Guard) -> None:
    """Save, and measure a run that stopped between two validations, as its weights may be the best so far.

    Short of the last step that measurement is not saved: the run may go on, and is then to select as if it had never
    stopped. ``restore`` brings the best weights of before back.

    Raises:
        Finding: the weights are not finite.
    """
    log.flush(progress)
    if not finite(networks.modules):
        raise Finding(f"the weights are not finite after step {progress.step}: {STOPPED}")
    finished = progress.step >= job.last_step
    if not finished:
        save_checkpoint(job.folder / "last", networks.modules, networks.optimiser, progress)
    if progress.stopped and progress.validated_step < progress.step:
        if not finished and (job.folder / "best").is_dir():
            copy_checkpoint(job.folder / "best", job.folder / BEST_BEFORE)
        validation(job, networks, progress, log, guard)
    if finished:
        save_checkpoint(job.folder / "last", networks.modules, networks.optimiser, progress)


def diverged(job: Job, networks: Networks, progress: Progress, log: RunLog, finding: Finding) -> None:
    """Write down why training ends here, and save the state before the step that went wrong, where it is still good."""
    log.flush(progress)
    log.event(f"diverged: {finding}", progress)
    if finite(networks.modules):
        save_checkpoint(job.folder / "last", networks.modules, networks.optimiser, progress)


def take_step(job: Job, networks: Networks, progress: Progress, control: Control | None = None) -> dict[str, Tensor]:
    """One batch, one backward pass, one update; the mean of every term, the gradient's norm and the scale of Q.

    Args:
        control: what is minimised and how, where the guard has a say; by default what method and settings tell.
    """
    control = control or Control(job.method.phases[progress.phase])
    roles = networks.target.roles(job.seed, progress.step)
    online, target = networks.modules[roles.online].train(), networks.modules[roles.target].train()
    batch = job.data.batch(progress.step, job.settings.batch_size, job.seed)
    step = step_of(job, online, target, batch, progress.step)
    with job.precision, step.items_dropped(job.settings.item_dropout):
        loss, means = total_loss(control.phase, step)
    loss.backward()
    gradients = gradients_of(online)
    means["grad_norm"] = nn.utils.get_total_norm(gradients)  # before clipping, which hides what is to be seen
    try:
        refuse_non_finite(means, progress.step)
    except Finding:
        networks.optimiser.zero_grad(set_to_none=True)
        raise
    if job.method.critic is not None and (progress.step + 1) % job.settings.log_every == 0:
        means |= scale_of_q(step, job.method.critic)
    clip(gradients, job.settings, progress)
    clip_norm(gradients, control.clip_norm)
    networks.set_lr(control.phase.lr * share_of_lr(job, progress.step), control.critic_lr)
    update(online, networks.optimiser.step, job.settings)
    networks.optimiser.zero_grad(set_to_none=True)
    networks.target.after(list(networks.modules))
    progress.step += 1
    progress.events += len(batch.event)
    progress.phase_events += len(batch.event)
    return means


def share_of_lr(job: Job, step: int) -> float:
    """The share of the phase's learning rate that a step, counted from 0 over all phases, takes."""
    s = job.settings
    warm = min(1.0, (step + 1) / s.lr_warmup) if s.lr_warmup else 1.0
    if s.lr_schedule == "linear":
        return warm * (1 - step / job.last_step)
    if s.lr_schedule == "tenths":
        return warm * 0.1 ** (step // (s.lr_tenth_epochs * job.steps_per_epoch))
    return warm


def total_loss(phase: Phase, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of the terms' means, and each mean by its symbol. A term of weight 0 is not called.

    Terms are asked in the order of their symbols, so that the order in which a method lists them changes no bit.

    Raises:
        Finding: scores that a term asks for are not finite.
    """
    total = torch.zeros((), device=step.batch.items.device)
    means: dict[str, Tensor] = {}
    for term in sorted((t for t in phase.terms if t.weight != 0), key=lambda t: t.symbol):
        try:
            values = term.loss(step)
        except Finding as finding:
            refuse_non_finite(means, step.number)
            raise Finding(f"the loss term {term.symbol} met {finding} This was step {step.number}.") from None
        mean = values.sum() / values.numel()
        total = total + term.weight * mean
        means[term.symbol] = mean.detach()
    return total, {term.symbol: means[term.symbol] for term in phase.terms if term.symbol in means}


def refuse_non_finite(means: dict[str, Tensor], step: int) -> None:
    """Raise naming the first term whose mean is not finite, or else the gradient; one look at the device for all."""
    sound = torch.isfinite(torch.stack(list(means.values()))).tolist()
    if not all(sound):
        name = list(means)[sound.index(False)]
        what = "the gradient's norm" if name == "grad_norm" else f"the loss term {name}"
        raise Finding(f"{what} is {means[name].item()} at step {step}: {STOPPED}")


def scale_of_q(step: Step, critic: str) -> dict[str, Tensor]:
    """The critic's values at logged and at greedy items."""
    with torch.no_grad():
        logged, greedy = step.logged(critic).detach(), step.next(critic).at(step.greedy(critic))
        return {"q_mean": logged.mean(), "q_max": logged.max(), "q_greedy": greedy.mean()}


def enter_phase(job: Job, networks: Networks, progress: Progress, log: RunLog) -> None:
    """Go on to the next phase when this one has seen its events: a fresh optimiser, and patience counts anew."""
    length = job.phase_length(progress.phase)
    if length is None or progress.phase_events < length:
        return
    log.flush(progress)
    progress.phase, progress.phase_events, progress.stale = progress.phase + 1, 0, 0
    networks.renew_optimiser(job.method.phases[progress.phase].lr)
    forget(progress)
    log.event(f"phase {progress.phase + 1} begins", progress)


def reason_to_stop(job: Job, progress: Progress, clock: Clock) -> str | None:
    """Why training ends here, or None; says so where it ends before the method's last phase.

    Patience counts in the last phase that the run can reach: a policy that no longer rises in the first is what the
    second is for.
    """
    s, phases = job.settings, len(job.method.phases)
    if progress.step >= job.last_step:
        reason = f"all {s.epochs} epochs done"
    elif s.patience and progress.stale >= s.patience and progress.phase == job.last_phase:
        reason = f"{s.metric} has not risen for {s.patience} validations"
    elif job.max_minutes is not None and clock.seconds() >= 60 * job.max_minutes:
        reason = f"time limit of {job.max_minutes:g} minutes"
    else:
        return None
    return reason if progress.phase + 1 == phases else f"{reason}; phase {progress.phase + 2} of {phases} never began"


def validation_due(job: Job, progress: Progress) -> bool:
    """Whether to measure at this step, in a phase that selects; before the first step always.

    So a metric that is not measured is told before any work, and there are weights to keep from the beginning.
    """
    selects = progress.step == 0 or job.method.phases[progress.phase].selects
    return selects and progress.validated_step < progress.step and progress.step % job.validation_interval == 0


def validation(job: Job, networks: Networks, progress: Progress, log: RunLog, guard: Guard) -> None:
    """Measure, and keep the weights if the declared metric is better than ever, or while it never had a value.

    Raises:
        Finding: scores are not finite.
    """
    progress.validated_step = progress.step
    networks.settle()
    if job.validate is None:
        if finite(networks.evaluated):
            keep_best(job, networks, progress)
        return
    try:
        metrics = job.validate(scorer_of(job.method, networks.evaluated))
    except Finding as finding:
        raise Finding(f"validation after step {progress.step}: {finding}") from None
    value = metric_named(metrics, job.settings.metric)
    better = value is not None and (progress.best is None or value > progress.best)
    progress.stale = 0 if better else progress.stale + 1
    if better:
        progress.best, progress.best_step = value, progress.step
    if better or progress.best is None:
        keep_best(job, networks, progress)
    log.validation(metrics, value, better, progress)
    guard.validated(value)


def keep_best(job: Job, networks: Networks, progress: Progress) -> None:
    """Write the evaluated network's weights to ``best/``."""
    about = {"step": progress.step, "events": progress.events, "phase": progress.phase + 1}
    about |= {"metric": job.settings.metric, "value": progress.best}
    save_weights(networks.evaluated, job.folder / "best", about)


def metric_named(metrics: dict[str, Any], name: str) -> float | None:
    """The value of NAME or GROUP.NAME; None where it is measured and has no value, such as a correlation of constants.

    Raises:
        SeqwardError: there is no such metric, or its group is empty.
    """
    flat = {key: value for key, value in metrics.items() if isinstance(value, int | float)}
    groups = {group: values for group, values in metrics.items() if isinstance(values, dict)}
    flat |= {f"{g}.{k}": value for g, values in groups.items() for k, value in values.items() if k != "ci"}
    group = name.rpartition(".")[0]
    if group in metrics and metrics[group] is None:
        raise SeqwardError(f"train.metric={name}: the validation split has no event of the group {group!r}.")
    key = name if name in flat else f"all.{name}"
    if key not in flat:
        raise SeqwardError(f"train.metric={name} is not measured.{did_you_mean(name, flat)}{_known(flat)}")
    value = flat[key]
    return None if value is None or not math.isfinite(value) else float(value)


def _known(metrics: Collection[str]) -> str:
    """The names of metrics for a message, each once for all cut-offs."""
    names = dict.fromkeys(re.sub(r"@\d+", "@k", name) for name in metrics)
    cutoffs = sorted({int(k) for name in metrics for k in re.findall(r"@(\d+)", name)})
    return f" Known, for k of {', '.join(map(str, cutoffs))}: {', '.join(names)}."
