"""What may be set of the guard, in a section of its own beside a method's."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import MinLen

from seqward.settings import Count, Positive, settings

Action = Literal["clip", "critic", "rollback", "freeze", "stop"]
LADDER: tuple[Action, ...] = ("clip", "critic", "rollback", "freeze", "stop")


@settings
class GuardSettings:
    """What watches over a run."""

    watch: bool = True
    """Whether anything is measured beside the loss. It costs 1.9 % of training SASRec-CCQL with 256 sessions a step on
    70,852 items, 3.5 to 5.5 % with 64 sessions on 2,000 or 5,000, and changes no bit of it (with
    train.optimiser=row-adam, the last ones)."""
    actions: Literal["observe", "repair"] = "observe"
    """observe: tell what is seen, and stop where something is not finite. repair: act, rung by rung of the ladder; such
    a run is marked, and never set beside published figures."""
    ladder: Annotated[tuple[Action, ...], MinLen(1)] = LADDER
    """What is done, one rung at each alarm. clip: gradients to their usual norm. critic: half of the learning rate for
    its head, twice the conservative term. rollback: to the weights before the trouble began, and on with the next
    batch. freeze: the critic learns no more. stop: the best weights are kept. A batch that is not finite is passed over
    by the next rung that can be taken, and where rollback is a rung, from the weights before."""
    probe_every: Count = 25
    """Steps between two probes."""
    probe_sessions: Count = 64
    """Pieces of sessions that a probe reads, always the same."""
    tolerance: Positive = 1.0
    """Factor on the thresholds of all alarms: below 1 it alarms sooner and more often."""

    def __post_init__(self) -> None:
        if self.actions == "repair" and not self.watch:
            raise ValueError("actions=repair repairs what is seen, and watch=false sees nothing: set watch=true")
