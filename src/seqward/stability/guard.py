"""The guard of a run: measures at every step and on a probe now and then, judges, tells, and repairs where it may.

It reads weights and changes none: with ``actions=observe`` a run has the bits that it would have without. (But for the
optimiser row-adam, which it has bring its rows up to date at every probe, as a validation does: sums in another order.)
What it needs to go on after an interruption is in the checkpoint and in the log.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqward.checkpoint import Progress, finite, load_checkpoint, save_checkpoint
from seqward.errors import STOPPED, Finding
from seqward.job import Job
from seqward.method import Term, scorer_of
from seqward.networks import Networks
from seqward.runlog import RunLog, read_log
from seqward.stability.repair import Control, Repairs, has_conservative, supervised_terms
from seqward.stability.rules import RULES, History, State, Verdict, judge, onset
from seqward.stability.settings import Action
from seqward.stability.signals import (
    largest_return,
    lists_of,
    of_critic,
    of_lists,
    of_states,
    probe_of,
    signals_in,
)
from seqward.step import Step

SNAPSHOTS = "guard"
"""Folder of a run's snapshots, the states that it may be rolled back to."""
KEPT = 4
"""Snapshots that are kept: the oldest, the newest, and between them the further apart the older."""
APART = 4
"""Probes between two of them."""
REST = 4
"""Probes between two actions: what an action does takes a while to be seen."""
ENDED = "the guard stopped it"


class Guard:
    """See the module's head."""

    def __init__(self, job: Job, networks: Networks, progress: Progress, log: RunLog) -> None:
        """Take up where ``progress`` and the run's log stand."""
        self.job, self.networks, self.progress, self.log = job, networks, progress, log
        self.settings, method = job.guard, job.method
        self.history = History()
        self.state: State = "healthy"
        self.told: set[str] = set()
        """Rules whose alarms were told since all was well."""
        for record in read_log(log.file):
            self.history.add(record)
            if record["kind"] == "guard":
                self._seen(record["state"], record["rules"])
            elif "back_to" in record:
                self._seen("healthy", ())
        kept = progress.guard or {}
        self.steps = signals_in(kept)
        self.lists: list[list[int]] | None = kept.get("lists")
        """What the last probe saw recommended."""
        self.repairs = Repairs(**kept.get("repairs", {}))
        self.phase = progress.phase
        self.bound = largest_return(job.data, method.gamma) if method.critic else 0.0
        self._batch = probe_of(job.data, job.guard.probe_sessions, job.seed) if job.guard.watch else None
        self._supervised: dict[int, tuple[Term, ...]] = {}
        if self.repairs.taken and self.repairs.taken[-1]["action"] == "stop":
            progress.stopped = ENDED
        self._keep()

    # ------------------------------------------------------------------------------------------------- what it sees

    def step(self, means: dict[str, Tensor]) -> None:
        """See a step that was taken."""
        if not self.settings.watch:
            return
        weights = {term.symbol: term.weight for term in self.control().phase.terms}
        values = torch.stack([*means.values()]).tolist()
        named = dict(zip(means, values, strict=True))
        loss = sum(weights[s] * v for s, v in named.items() if s in weights)
        news = self.steps.add(self.progress.step, loss, named["grad_norm"])
        if self.progress.step % self.settings.probe_every == 0 or self.progress.step == self.job.last_step:
            self.probe()
        elif alarming := self._alarming(news):
            self._see({"of_step": alarming})
        self._keep()

    def _alarming(self, news: dict[str, float]) -> dict[str, float]:
        """Of the signals of a step those that alarm by themselves and were not told yet."""
        untold = [r for r in RULES if r.of_step in news and r.alone and r.name not in self.told]
        loud = [r.of_step for r in untold if news[r.of_step] > r.limit(self.settings.tolerance)]
        return {name: news[name] for name in loud} if self.state != "diverged" else {}

    def probe(self) -> None:
        """Measure everything on the probe, and judge."""
        highs = self.steps.highs
        signals = self.steps.take() | self._measured()
        self._see({"signals": signals, **({"highs": highs} if highs else {})})
        if self.may_repair and self.state == "healthy" and self._snapshot_due and finite(self.networks.modules):
            self._snapshot()

    def _see(self, measured: dict[str, Any]) -> None:
        """Judge what was measured at a probe, or at a step that alarms by itself."""
        where = {"step": self.progress.step, "phase": self.progress.phase + 1, "kind": "guard"}
        self.history.add({**where, **measured})
        self._tell(measured)

    def validated(self, value: float | None) -> None:
        """See a validation of the declared metric."""
        if not self.settings.watch or value is None:
            return
        self.history.add({"step": self.progress.step, "kind": "validation", "value": value})
        self._tell({})

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
        before = None if self.lists is None else torch.tensor(self.lists)
        signals |= of_lists(lists, before, self.job.data.n_items)
        self.lists = lists.tolist()
        return signals

    def diverged(self, finding: Finding) -> None:
        """See the end of a run in which something is not finite."""
        if self.settings.watch:
            self.log.guard({"state": "diverged", "reason": cause_of(finding), "rules": []}, self.progress, "")

    def _tell(self, measured: dict[str, Any]) -> None:
        verdict = judge(self.history, self.settings.tolerance)
        rules = [alarm.rule.name for alarm in verdict.alarms]
        news = verdict.state != self.state or not self.told.issuperset(rules)
        self._seen(verdict.state, rules)
        if measured or news:
            said = {"state": verdict.state, "reason": verdict.reason, "rules": rules}
            text = "healthy again" if verdict.state == "healthy" else f"{verdict.state}: {verdict.reason}"
            self.log.guard({**said, **measured}, self.progress, news * text)
        if self.may_repair and verdict.state != "healthy":
            self.act(verdict)

    def _seen(self, state: State, rules: Iterable[str]) -> None:
        self.state = state
        self.told = set() if state == "healthy" else self.told.union(rules)

    # ------------------------------------------------------------------------------------------------- what it does

    @property
    def may_repair(self) -> bool:
        return self.settings.watch and self.settings.actions == "repair"

    def control(self) -> Control:
        """How the next step is to be taken."""
        if self.progress.phase != self.phase:
            self._enter_phase()
        phase = self.job.method.phases[self.progress.phase]
        phase = self.repairs.phase(phase, self.supervised if self.repairs.frozen else ())
        return Control(phase, self.repairs.clip_norm, self.repairs.critic_lr)

    @property
    def supervised(self) -> tuple[Term, ...]:
        """The terms of this phase that are left where the critic is frozen."""
        number, method = self.progress.phase, self.job.method
        if number not in self._supervised:
            online, target = self.networks.modules[0], self.networks.modules[-1]
            batch = self.job.data.batch(0, 2, self.job.seed)

            def fresh() -> Step:
                return Step(online, target, batch, self.job.seed, 0, method.wanted)  # type: ignore[arg-type]

            with torch.no_grad():
                self._supervised[number] = supervised_terms(method, method.phases[number], fresh)
        return self._supervised[number]

    def _enter_phase(self) -> None:
        """What was usual and what was kept is of another loss."""
        self.phase = self.progress.phase
        self.steps.new_phase()
        for place in self._snapshots():
            shutil.rmtree(place)

    def act(self, verdict: Verdict) -> None:
        """Take the next rung of the ladder that can be taken, unless the last one was taken a moment ago.

        Nothing is done to a run that ends here.
        """
        rest = REST * self.settings.probe_every
        soon = self.repairs.taken and self.progress.step < self.repairs.taken[-1]["step"] + rest
        if soon or self.progress.stopped or self.progress.step >= self.job.last_step:
            return
        if self.repairs.rung < len(self.settings.ladder):
            begun = onset(self.history, verdict, self.settings.tolerance)
            self._climb(begun, verdict.state, verdict.reason)

    def rescue(self, finding: Finding, step: int) -> None:
        """Go past the batch of a step that is not finite, by the next rung that can be taken.

        Raises:
            Finding: it may not, no rung is left, or there are no finite weights to go on from.
        """
        way_back = "rollback" in self.settings.ladder and bool(self._snapshots())
        if not self.may_repair or not (way_back or finite(self.networks.modules)):
            raise finding
        if not finite(self.networks.modules):
            self._roll_back(step)  # first, since rungs may ask the networks
        before, self.progress.step = self.progress.step, step + 1
        if not self._climb(step, "diverged", cause_of(finding), way_back):
            self.progress.step = before
            raise finding

    def _climb(self, begun: int, state: State, reason: str, back: bool = False) -> bool:
        """Take the next rung that can be taken, and say so; False where there is none.

        Args:
            begun: the last step before the trouble.
            back: whether to roll back as well, whichever rung it is.
        """
        while self.repairs.rung < len(self.settings.ladder):
            rung = self.settings.ladder[self.repairs.rung]
            self.repairs.rung += 1
            done = self._rungs[rung](begun)
            if done is not None:
                if back and rung != "rollback":
                    done = f"{self._roll_back(begun)}, and {done}"
                self.steps.begin_anew()
                self._note(rung, done, state, reason, rolled_back=back or rung == "rollback")
                return True
        return False

    def _note(self, rung: Action, done: str, state: State, reason: str, rolled_back: bool) -> None:
        self.repairs.taken.append({"step": self.progress.step, "action": rung, "done": done, "reason": reason})
        self._keep()
        back = {"back_to": self.history.last_step} if rolled_back else {}
        said = {"action": rung, "state": state, "reason": reason, **back}
        self.log.repair(said, self.progress, f"repaired: {done}, because {reason}")

    @property
    def _rungs(self) -> dict[Action, Callable[[int], str | None]]:
        """What each rung does, given the last step before the trouble; None where it cannot be done."""
        return {
            "clip": self._clip,
            "critic": self._calm_critic,
            "rollback": self._roll_back,
            "freeze": self._freeze,
            "stop": self._stop,
        }

    def _clip(self, begun: int) -> str | None:
        return self.repairs.clip(self.steps.norm_mean) if self.steps.norm_count else None

    def _calm_critic(self, begun: int) -> str | None:
        if self.job.method.critic is None or self.networks.rows or self.repairs.frozen:
            return None
        conservative = has_conservative(self.job.method.phases[self.progress.phase])
        if conservative:
            self.steps.new_phase()  # it is another sum from here on
        return self.repairs.calm_critic(conservative)

    def _freeze(self, begun: int) -> str | None:
        method = self.job.method
        if method.critic is None or method.ranks == method.critic or not self.supervised or self.repairs.frozen:
            return None
        self.steps.new_phase()
        return self.repairs.freeze()

    def _stop(self, begun: int) -> str:
        self.progress.stopped = ENDED
        return "training is stopped, and the best weights are kept"

    def _roll_back(self, begun: int) -> str | None:
        """Weights and moments of before the trouble; the place in the data and what was done so far stay."""
        there = self._snapshots()
        if not there:
            return None
        sound = [place for place in there if int(place.name) <= begun] or there[:1]
        before = load_checkpoint(sound[-1], self.networks.modules, self.networks.optimiser)
        for place in there[len(sound) :]:
            shutil.rmtree(place)  # of the stretch that is given up
        kept = before.guard or {}
        self.steps = signals_in(kept)
        self.lists = kept.get("lists")
        self.history.cut(before.step)
        self._seen("healthy", ())
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
        there = self._snapshots()
        if len(there) > KEPT:
            shutil.rmtree(there[superfluous([int(place.name) for place in there])])

    def _snapshots(self) -> list[Path]:
        """Those of steps that were taken, the oldest first: what a lost stretch left is not among them."""
        there = sorted((self.job.folder / SNAPSHOTS).glob("[0-9]" * 9))
        return [place for place in there if int(place.name) <= self.progress.step]

    def _keep(self) -> None:
        """Leave in the progress, and so in the next checkpoint, what a resumed run needs.

        At every step, so nothing is copied that is replaced where it changes: the losses and the lists.
        """
        self.progress.guard = {"steps": {**vars(self.steps)}, "lists": self.lists, "repairs": self.repairs.to_json()}


def superfluous(steps: Sequence[int]) -> int:
    """Which of the snapshots between the oldest and the newest can be spared: ages are to grow in proportion."""
    age = [1 + steps[-1] - step for step in steps]
    return min(range(1, len(steps) - 1), key=lambda i: age[i - 1] / age[i + 1])


def cause_of(finding: Finding) -> str:
    """What it says, without the advice to those whose run ends."""
    return str(finding).removesuffix(f": {STOPPED}")
