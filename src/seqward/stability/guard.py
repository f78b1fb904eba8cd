"""The guard of a run: measures at every step and on a probe now and then, judges, tells, and repairs where it may.

It reads weights and changes none: with ``actions=observe`` a run has the bits that it would have without. What it needs
to go on after an interruption is in the checkpoint and in the log.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from annotated_types import MinLen
from torch import Tensor

from seqward.checkpoint import Progress, load_checkpoint, save_checkpoint
from seqward.errors import Finding
from seqward.method import Term, scorer_of
from seqward.runlog import RunLog, read_log
from seqward.settings import Count, Positive, settings
from seqward.stability.repair import LADDER, Action, Control, Repairs, has_conservative, supervised_terms
from seqward.stability.rules import STATES, History, State, Verdict, judge, onset
from seqward.stability.signals import StepSignals, largest_return, lists_of, of_critic, of_lists, of_states, probe_of
from seqward.step import Step

if TYPE_CHECKING:
    from seqward.job import Job
    from seqward.networks import Networks

SNAPSHOTS = "guard"
"""Folder of a run's snapshots, the states that it may be rolled back to."""
KEPT = 4
"""Snapshots that are kept, the newest."""
APART = 4
"""Probes between two of them."""
REST = 4
"""Probes between two actions: what an action does takes a while to be seen."""


@settings
class GuardSettings:
    """What watches over a run."""

    watch: bool = True
    """Whether anything is measured beside the loss. It costs less than 3 % of training and changes no bit of it."""
    actions: Literal["observe", "repair"] = "observe"
    """observe: tell what is seen, and stop where something is not finite. repair: act, rung by rung of the ladder; such
    a run is marked, and never set beside published figures."""
    ladder: Annotated[tuple[Action, ...], MinLen(1)] = LADDER
    """What is done, one rung at each alarm. clip: gradients to their usual norm. critic: half of the learning rate for
    its head, twice the conservative term. rollback: to the weights before the trouble began, and on with the next
    batch. freeze: the critic learns no more. stop: the best weights are kept."""
    probe_every: Count = 50
    """Steps between two probes."""
    probe_sessions: Count = 64
    """Pieces of sessions that a probe reads, always the same."""
    tolerance: Positive = 1.0
    """Factor on the thresholds of all alarms: below 1 it alarms sooner and more often."""


class Guard:
    """See the module's head."""

    def __init__(self, job: Job, networks: Networks, progress: Progress, log: RunLog) -> None:
        """Take up where ``progress`` and the run's log stand."""
        self.job, self.networks, self.progress, self.log = job, networks, progress, log
        self.settings, method = job.guard, job.method
        self.history = History()
        self.state: State = "healthy"
        for record in read_log(log.file):
            self.history.add(record)
            self.state = record["state"] if record["kind"] == "guard" else self.state
        kept = progress.guard or {}
        self.steps = StepSignals(**kept.get("steps", {}))
        self.lists = torch.tensor(kept["lists"]) if kept.get("lists") else None
        self.repairs = Repairs(**kept.get("repairs", {}))
        self.phase = progress.phase
        self.bound = largest_return(job.data, method.gamma) if method.critic else 0.0
        self._batch = probe_of(job.data, job.guard.probe_sessions, job.seed) if job.guard.watch else None
        self._supervised: tuple[Term, ...] | None = None
        self._keep()

    # ------------------------------------------------------------------------------------------------- what it sees

    def step(self, means: dict[str, Tensor]) -> None:
        """See a step that was taken."""
        if not self.settings.watch:
            return
        if self.progress.phase != self.phase:
            self.steps.new_phase()
            self.phase = self.progress.phase
        weights = {term.symbol: term.weight for term in self.control().phase.terms}
        values = torch.stack([*means.values()]).tolist()
        named = dict(zip(means, values, strict=True))
        self.steps.add(sum(weights[s] * v for s, v in named.items() if s in weights), named["grad_norm"])
        if self.progress.step % self.settings.probe_every == 0:
            self.probe()
        self._keep()

    def probe(self) -> None:
        """Measure everything on the probe, and judge."""
        signals = self.steps.take() | self._measured()
        where = {"step": self.progress.step, "kind": "guard"}
        self.history.add({**where, "signals": signals})
        self._tell(signals)
        if self.may_repair and self.state == "healthy" and self._snapshot_due:
            self._snapshot()

    def validated(self, value: float | None) -> None:
        """See a validation of the declared metric."""
        if not self.settings.watch or value is None:
            return
        self.history.add({"step": self.progress.step, "kind": "validation", "value": value})
        self._tell(None)

    def _measured(self) -> dict[str, float]:
        method, batch = self.job.method, self._batch
        assert batch is not None
        online, target = self.networks.modules[0].eval(), self.networks.modules[-1].eval()
        self.networks.settle()
        with torch.no_grad(), self.job.precision:
            step = Step(online, target, batch, self.job.seed, 0, method.wanted)  # type: ignore[arg-type]
            signals = of_states(step.states())
            if method.critic is not None and not self.repairs.frozen:
                signals |= of_critic(step, method.critic, method.gamma, self.bound)
            lists = lists_of(scorer_of(method, self.networks.evaluated), batch).cpu()
        signals |= of_lists(lists, self.lists, self.job.data.n_items)
        self.lists = lists
        return signals

    def _tell(self, signals: dict[str, float] | None) -> None:
        verdict = judge(self.history, self.settings.tolerance)
        changed = verdict.state != self.state
        self.state = verdict.state
        if signals is not None or changed:
            said = {"state": verdict.state, "reason": verdict.reason, "rules": [a.rule.name for a in verdict.alarms]}
            text = f"{verdict.state}: {verdict.reason}" if verdict.alarms else "healthy again"
            self.log.guard({**said, **({"signals": signals} if signals else {})}, self.progress, changed * text)
        if self.may_repair and verdict.state != "healthy":
            self.act(verdict)

    # ------------------------------------------------------------------------------------------------- what it does

    @property
    def may_repair(self) -> bool:
        return self.settings.watch and self.settings.actions == "repair"

    def control(self) -> Control:
        """How the next step is to be taken."""
        phase = self.job.method.phases[self.progress.phase]
        phase = self.repairs.phase(phase, self.supervised if self.repairs.frozen else ())
        return Control(phase, self.repairs.clip_norm, self.repairs.critic_lr)

    @property
    def supervised(self) -> tuple[Term, ...]:
        """The terms that are left where the critic is frozen."""
        if self._supervised is None:
            online, target = self.networks.modules[0], self.networks.modules[-1]
            batch, method = self.job.data.batch(0, 2, self.job.seed), self.job.method
            with torch.no_grad():
                steps = [
                    Step(online, target, batch, self.job.seed, 0, method.wanted)  # type: ignore[arg-type]
                    for phase in method.phases
                    for term in phase.terms
                    if term.weight
                ]
                self._supervised = supervised_terms(method, steps)
        return self._supervised

    def act(self, verdict: Verdict) -> None:
        """Take the next rung of the ladder that can be taken, unless the last one was taken a moment ago."""
        rest = REST * self.settings.probe_every
        if self.repairs.taken and self.progress.step < self.repairs.taken[-1]["step"] + rest:
            return
        while self.repairs.rung < len(self.settings.ladder):
            rung = self.settings.ladder[self.repairs.rung]
            self.repairs.rung += 1
            done = self._rungs[rung](onset(self.history, verdict, self.settings.tolerance))
            if done is not None:
                self._note(rung, done, verdict.reason)
                return

    def rescue(self, finding: Finding) -> None:
        """Go back to the last snapshot and past the batch that is not finite.

        Raises:
            Finding: it may not, or there is no snapshot, or that was tried as often as there are rungs.
        """
        rungs = self.settings.ladder[self.repairs.rung :]
        if not self.may_repair or "rollback" not in rungs or self._newest(self.progress.step) is None:
            raise finding
        step = self.progress.step
        done = self._roll_back(step)
        self.progress.step = step + 1
        self.repairs.rung += 1
        self._note("rollback", str(done), str(finding))

    def _note(self, rung: Action, done: str, reason: str) -> None:
        taken = {"step": self.progress.step, "action": rung, "done": done, "reason": reason}
        self.repairs.taken.append(taken)
        self._keep()
        back = {"back_to": self.history.probes[-1].step if self.history.probes else 0} if rung == "rollback" else {}
        self.log.repair(
            {"action": rung, "reason": reason, **back}, self.progress, f"repaired: {done}, because {reason}"
        )

    @property
    def _rungs(self) -> dict[Action, Callable[[int], str | None]]:
        """What each rung does, given the onset of the trouble; None where it cannot be done."""
        return {
            "clip": lambda onset: self.repairs.clip(self.steps.norm_mean),
            "critic": self._calm_critic,
            "rollback": self._roll_back,
            "freeze": self._freeze,
            "stop": self._stop,
        }

    def _calm_critic(self, onset: int) -> str | None:
        if self.job.method.critic is None or self.networks.rows or self.repairs.frozen:
            return None
        return self.repairs.calm_critic(has_conservative(self.job.method.phases[self.progress.phase]))

    def _freeze(self, onset: int) -> str | None:
        method = self.job.method
        if method.critic is None or method.ranks == method.critic or not self.supervised or self.repairs.frozen:
            return None
        return self.repairs.freeze()

    def _stop(self, onset: int) -> str:
        self.progress.stopped = "the guard stopped it"
        return "training is stopped, and the best weights are kept"

    def _roll_back(self, onset: int) -> str | None:
        """Weights and moments of before the onset; the place in the data and what was done so far stay."""
        folder = self._newest(onset) or self._newest(self.progress.step)
        if folder is None:
            return None
        before = load_checkpoint(folder, self.networks.modules, self.networks.optimiser)
        kept = before.guard or {}
        self.steps = StepSignals(**kept["steps"])
        self.lists = torch.tensor(kept["lists"]) if kept.get("lists") else None
        self.history.cut(before.step)
        self.state = "healthy"
        return f"the weights are again those of step {before.step}"

    # ------------------------------------------------------------------------------------------------- what it keeps

    @property
    def _snapshot_due(self) -> bool:
        return self.progress.step % (APART * self.settings.probe_every) == 0 or not self._snapshots()

    def _snapshot(self) -> None:
        self._keep()
        folder = self.job.folder / SNAPSHOTS
        folder.mkdir(exist_ok=True)
        save_checkpoint(
            folder / f"{self.progress.step:09d}", self.networks.modules, self.networks.optimiser, self.progress
        )
        for old in sorted(self._snapshots())[:-KEPT]:
            shutil.rmtree(old)

    def _snapshots(self) -> list[Path]:
        """Those of steps that were taken: what a lost stretch left is not among them."""
        there = sorted((self.job.folder / SNAPSHOTS).glob("[0-9]" * 9))
        return [place for place in there if int(place.name) <= self.progress.step]

    def _newest(self, before: int) -> Path | None:
        return next((place for place in reversed(self._snapshots()) if int(place.name) <= before), None)

    def _keep(self) -> None:
        """Leave in the progress, and so in the next checkpoint, what a resumed run needs."""
        lists = None if self.lists is None else self.lists.tolist()
        self.progress.guard = {"steps": asdict(self.steps), "lists": lists, "repairs": self.repairs.to_json()}


def stability_of(records: list[dict[str, Any]]) -> dict[str, Any] | None:
    """What a log tells of a run's stability: None where nobody watched.

    ``state`` at the end; ``worst`` with the ``step`` at which it was first seen and its ``reason``; and ``repairs``,
    what was done about it.
    """
    seen = [record for record in records if record["kind"] == "guard"]
    if not seen:
        return None
    worst = max(seen, key=lambda record: STATES.index(record["state"]))
    repairs = [{key: r[key] for key in ("step", "action", "text")} for r in records if r["kind"] == "repair"]
    figures = {"worst": worst["state"], "step": worst["step"], "reason": worst["reason"], "repairs": repairs}
    return {"state": seen[-1]["state"], **figures}


def repairs_of(description: Mapping[str, Any]) -> list[str]:
    """What the guard did to a run, by its ``run.json`` or its result in a study: names of actions, in order."""
    return [repair["action"] for repair in (description.get("stability") or {}).get("repairs", [])]
