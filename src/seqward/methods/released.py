"""What released code computes where it departs from its paper, term by term (docs/paper-differences.md).

SNQN and SA2C need no method of their own: their docstrings say which settings make them theirs.
"""

from __future__ import annotations

from typing import Literal

from seqward.augment import permutation_with_padding
from seqward.backbones.sasrec import SASRecSettings
from seqward.job import TrainSettings
from seqward.method import Method, Term
from seqward.methods.registry import method
from seqward.methods.supervised import CCQL_SASREC
from seqward.methods.value_based import ActorCriticSettings, actor_critic, sqn_terms
from seqward.settings import NonNegative, Positive, settings
from seqward.terms import conservative_as_released, contrast, contrast_by_coordinate, q_weighted_as_released

SOURCE = "the paper's released code (what differs from the paper: docs/paper-differences.md)"


@settings
class ContrastReleasedSettings(ActorCriticSettings):
    contrast: Literal["cosine", "coordinate"] = "coordinate"
    """cosine as SASRec-CCQL for RC15; coordinate as it is forced for RetailRocket, and the default of SASRec-CO."""
    contrast_weight: NonNegative = 1.0
    """Weight of the contrastive term."""
    contrast_temperature: Positive = 0.07
    """Temperature of cosine similarities."""


@settings
class CCQLReleasedSettings(ContrastReleasedSettings):
    alpha: NonNegative = 0.01
    """Weight of the term in place of the conservative one."""
    temperature: Positive = 0.5
    """Temperature of its log-sum-exp."""


def as_released(backbone: SASRecSettings, o: ActorCriticSettings, train: TrainSettings, *others: Term) -> Method:
    """SASRec-AC as released, with other terms in both phases: cross-entropy is multiplied by the batch's mean Q."""
    actor = Term("mean Q L_CE", 1.0, q_weighted_as_released)
    return actor_critic(backbone, o, train, (*sqn_terms(o), *others), actor)


def contrast_as_released(backbone: SASRecSettings, o: ContrastReleasedSettings) -> Term:
    """L_CO of a history whose padding is permuted, too, read where the history used to end."""
    augment = permutation_with_padding(backbone.session_max_len)
    by_coordinate = o.contrast == "coordinate"
    co = contrast_by_coordinate(augment) if by_coordinate else contrast(augment, o.contrast_temperature, same_row=True)
    return Term("L_CO as released", o.contrast_weight, co)


@method(
    "sasrec-ac-released",
    "as released",
    needs=("goal", "rewards"),
    source=SOURCE,
    backbone=CCQL_SASREC,
    objective=ActorCriticSettings(),
    train=TrainSettings(lr=0.01, draw="transitions", patience=0),
)
def sasrec_ac_released(backbone: SASRecSettings, objective: ActorCriticSettings, train: TrainSettings) -> Method:
    """The actor-critic of the code released with SASRec-CCQL: cross-entropy times the batch's mean Q.

    Which events carry the value makes no difference there; SAC (sasrec-ac) weights each event by its own Q.
    """
    return as_released(backbone, objective, train)


@method(
    "sasrec-co-released",
    "as released",
    needs=("goal", "rewards"),
    source=SOURCE,
    backbone=CCQL_SASREC,
    objective=ContrastReleasedSettings(),
    train=TrainSettings(lr=0.01, draw="transitions", patience=0),
)
def sasrec_co_released(backbone: SASRecSettings, objective: ContrastReleasedSettings, train: TrainSettings) -> Method:
    """What the released code of SASRec-CO computes, term by term.

    Its second view permutes the padding, too, and is read where the history used to end, so that most positive pairs
    hold a constant; each coordinate of the state is a similarity of its own.
    """
    return as_released(backbone, objective, train, contrast_as_released(backbone, objective))


@method(
    "sasrec-ccql-released",
    "as released",
    needs=("goal", "rewards"),
    source=SOURCE,
    backbone=CCQL_SASREC,
    objective=CCQLReleasedSettings(contrast="cosine", warmup_events=3_840_000, lr_phase_2=0.001),
    train=TrainSettings(lr=0.005, clip_value=1.0, draw="transitions", patience=0),
)
def sasrec_ccql_released(backbone: SASRecSettings, objective: CCQLReleasedSettings, train: TrainSettings) -> Method:
    """What the released code of SASRec-CCQL computes, term by term.

    Of the paper it lacks the conservative term, in whose place stands an item's number among the Q-values; its second
    view is that of sasrec-co-released. Settings are those of its RC15 runs; of its RetailRocket run they are
    train.batch_size=512, train.lr=0.01, objective.lr_phase_2=0.01, objective.warmup_events=25600000 and
    objective.contrast=coordinate. An empty history is read as a start token, the next state is a row of the same pass
    (with its dropout), and items are numbered in an order shuffled by the seed, which that term can see.
    """
    o = objective
    conservative = Term("α L_CQL as released", o.alpha, conservative_as_released(o.temperature))
    return as_released(backbone, o, train, contrast_as_released(backbone, o), conservative)
