"""Loss terms: the mathematics of ``objectives`` bound to what a step provides. What two methods share is here once.

Each is a ``Loss``, a step to one value an example, or makes one from settings.
"""

from __future__ import annotations

from torch import Tensor

from seqward.augment import Augment
from seqward.method import Loss
from seqward.objectives import conservative, contrastive, supervised, td
from seqward.step import Step


def cross_entropy(s: Step) -> Tensor:
    """L_CE: the logged item under the policy head, over the whole catalogue."""
    return s.nll("policy")


def q_weighted(s: Step) -> Tensor:
    """L_CE in which each event counts by its own Q-value, held constant."""
    return supervised.weighted(s.logged("q"), s.nll("policy"))


def q_weighted_as_released(s: Step) -> Tensor:
    """L_CE times the batch's mean Q-value, held constant."""
    return supervised.batch_weighted(s.logged("q"), s.nll("policy"))


def td_loss(gamma: float) -> Loss:
    """L_Q: the online network chooses the next item, the target network values it."""

    def loss(s: Step) -> Tensor:
        greedy = s.greedy("q").items
        return td.double_q(s.logged("q"), s.reward, gamma * s.live, s.target_next("q").at(greedy))

    return loss


def contrast(augment: Augment, temperature: float, same_row: bool = False) -> Loss:
    """L_CO: a session's state and the state of its augmented history, against other sessions."""
    return lambda s: contrastive.nt_xent(s.state(), s.view("augmented", augment, same_row), temperature)


def contrast_by_coordinate(augment: Augment) -> Loss:
    """L_CO as released for RetailRocket."""
    return lambda s: contrastive.by_coordinate(s.state(), s.view("augmented", augment, same_row=True))


def conservative_on_negatives(k: int, temperature: float) -> Loss:
    """L_CQL on k items that the session does not hold, plus the logged one (section 3.2 of the paper)."""

    return lambda s: conservative.gap(s.logged("q"), s.now("q").at(s.negatives(k)), temperature)


def conservative_on_catalogue(temperature: float) -> Loss:
    """L_CQL over all items (Eq. 2): the same question to the Q head as cross-entropy is to the policy head."""
    return lambda s: s.nll("q", temperature)


def conservative_as_released(temperature: float) -> Loss:
    """What the released code computes in place of L_CQL: an item number among the Q-values."""

    def loss(s: Step) -> Tensor:
        greedy = s.greedy("q").items
        return conservative.gap_as_released(s.logged("q"), s.now("q").at(greedy), greedy, temperature)

    return loss
