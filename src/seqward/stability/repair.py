"""What the guard may do about a run that turns bad: a ladder, each rung harder than the one before.

Nothing here happens unless ``guard.actions`` is ``repair``. A run that was touched says so in ``run.json`` and in its
log, and is never set beside published figures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

from seqward.method import Method, Phase, Term
from seqward.step import Step
from seqward.terms import cross_entropy


class Control(NamedTuple):
    """How a step is taken."""

    phase: Phase
    clip_norm: float | None = None
    """The gradient is scaled down to this norm, after what the settings clip."""
    critic_lr: float = 1.0
    """Share of the learning rate that the critic's head takes."""


@dataclass
class Repairs:
    """What was done to a run so far, and what follows from it for the next step. Part of a checkpoint."""

    clip_norm: float | None = None
    """The gradient is scaled down to this norm, whatever the settings say."""
    critic_lr: float = 1.0
    """Share of the learning rate that the critic's head takes."""
    conservative: float = 1.0
    """Factor on the weight of the conservative term."""
    frozen: bool = False
    """Whether the critic learns no more."""
    rung: int = 0
    """The next one of the ladder."""
    taken: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def clip(self, usual_norm: float) -> str:
        """Clip to the usual norm, or to half of it where that was done."""
        self.clip_norm = usual_norm if self.clip_norm is None else self.clip_norm / 2
        return f"gradients are clipped to a norm of {self.clip_norm:.3g}"

    def calm_critic(self, conservative: bool) -> str:
        """Halve the critic's learning rate, and double the conservative term's weight where there is one."""
        self.critic_lr /= 2
        said = f"the critic's head learns at {self.critic_lr:g} of the rate"
        if not conservative:
            return said
        self.conservative *= 2
        return f"{said}, and the conservative term counts {self.conservative:g} times"

    def freeze(self) -> str:
        self.frozen = True
        return "the critic is frozen, and training goes on supervised"

    def phase(self, phase: Phase, supervised: tuple[Term, ...]) -> Phase:
        """The phase as it is to be minimised now."""
        if self.frozen:
            return replace(phase, terms=supervised)
        if self.conservative == 1.0:
            return phase
        stronger = (replace(t, weight=t.weight * self.conservative) if is_conservative(t) else t for t in phase.terms)
        return replace(phase, terms=tuple(stronger))


def is_conservative(term: Term) -> bool:
    """Whether it is a conservative term with a gradient that keeps Q low; the released one has none."""
    return term.symbol == "α L_CQL"


def has_conservative(phase: Phase) -> bool:
    return any(is_conservative(term) and term.weight for term in phase.terms)


def supervised_terms(method: Method, phase: Phase, fresh: Callable[[], Step]) -> tuple[Term, ...]:
    """The terms of a phase that ask nothing of the critic, and cross-entropy where none of them is one.

    Args:
        fresh: makes a step that nobody has asked; a term is known by what it asks.
    """
    found = []
    for term in (term for term in phase.terms if term.weight):
        step = fresh()
        term.loss(step)
        if method.critic not in step.heads_asked:
            found.append(term)
    if "policy" in method.heads and not any("CE" in term.symbol for term in found):
        found.append(Term("L_CE", 1.0, cross_entropy))
    return tuple(found)
