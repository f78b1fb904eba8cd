"""What a method is: a backbone, heads, and phases of weighted loss terms. ``methods`` lists the methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from seqward.backbones.backbone import Vocabulary
from seqward.heads import HeadFactory
from seqward.model import Model, NetworkScorer, Query
from seqward.step import Step
from seqward.target import Alone, Target

Loss = Callable[[Step], Tensor]
"""A step to one value an example, [n]."""


@dataclass(frozen=True)
class Term:
    """One summand of a method's loss; its mean over examples is weighted and added."""

    symbol: str
    weight: float
    loss: Loss


@dataclass(frozen=True)
class Phase:
    """What is minimised for a while."""

    terms: tuple[Term, ...]
    lr: float
    events: int | float | None = None
    """Length in training events; a float is a share of all that are planned; None until the end."""
    selects: bool = True
    """Whether validation may keep the weights and patience counts. No in pre-training, when nothing ranks yet."""
    epochs: float | None = None
    """Length in passes over the training events, for phases whose source counts them so."""


@dataclass(frozen=True)
class Method:
    """A trained method."""

    backbone: Callable[[Vocabulary], nn.Module]
    """vocabulary -> module"""
    heads: Mapping[str, HeadFactory]
    phases: tuple[Phase, ...]
    target: Target = field(default_factory=Alone)
    ranks: str = "policy"
    """The head that ranks."""
    critic: str | None = None
    """The head whose scores are Q-values, if any."""
    gamma: float = 0.0
    """Discount of the critic."""
    query: Query = "last"
    """Which state answers for a history."""
    wanted: float | None = None
    """Discount of the return that the backbone is told in training; None where it is told nothing."""


def scorer_of(method: Method, model: Model) -> NetworkScorer:
    """The model as evaluation sees it."""
    return NetworkScorer(model, {method.ranks: 1.0}, method.critic, method.gamma, method.query)
