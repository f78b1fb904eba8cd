"""Controls: what any claim for reinforcement learning has to beat.

Epochs, learning rate and backbone are those of the method that is controlled. Twin networks share a run's steps, so
that each takes half of them; a control of one network, such as a count, takes them all. With objective.target=ema the
method has one network that learns, too, and the numbers of updates are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from seqward.backbones import backbone_of
from seqward.backbones.sasrec import SASRecSettings
from seqward.critic import CriticSettings
from seqward.errors import SeqwardError
from seqward.heads import item_head, value_head
from seqward.job import TrainSettings
from seqward.method import Method, Phase, Term
from seqward.methods.ccql import CCQLSettings, sasrec_ccql
from seqward.methods.registry import METHODS, method
from seqward.methods.value_based import Build, sqn
from seqward.settings import NonNegative, settings
from seqward.terms import count, cross_entropy

# No future -----------------------------------------------------------------------------------------------------------


def without_future(of: str) -> Callable[[Build], Build]:
    """Register a function of settings sections as the control of a method: its defaults, but for the discount."""
    entry = METHODS[of]
    sections = {**entry.sections, "objective": replace(entry.sections["objective"], gamma=0.0)}
    return method(f"{of}-gamma-0", "control", needs=entry.needs, source=f"this project; a control for {of}", **sections)


@without_future("sasrec-sqn")
def sqn_without_future(backbone: SASRecSettings, objective: CriticSettings, train: TrainSettings) -> Method:
    """SQN without a future: Q regresses on the event's own reward.

    What it gains over SASRec is no long-term value. All else is as in sasrec-sqn.
    """
    refuse_future(objective, "sasrec-sqn")
    return sqn(backbone, objective, train)


@without_future("sasrec-ccql")
def ccql_without_future(backbone: SASRecSettings, objective: CCQLSettings, train: TrainSettings) -> Method:
    """SASRec-CCQL without a future: Q regresses on the event's own reward.

    What it gains over SASRec is no long-term value. All else is as in sasrec-ccql.
    """
    refuse_future(objective, "sasrec-ccql")
    return sasrec_ccql(backbone, objective, train)


def refuse_future(o: CriticSettings, without: str) -> None:
    """Raise where there is a discount: the name would then say what is not so."""
    if o.gamma:
        raise SeqwardError(
            f"objective.gamma is {o.gamma}, and this control is the method at 0. Train {without} instead."
        )


# Counts in place of Q -------------------------------------------------------------------------------------------------


@settings
class CountSettings:
    count_weight: NonNegative = 1.0
    """Weight of the count's loss."""
    count_scale: Literal["log", "raw"] = "log"
    """What is predicted: log(1 + count), or the count itself."""


COUNT = {
    **METHODS["sasrec-sqn"].sections,
    "family": "control",
    "source": "Labarca, Parra & Toro Icarte, On the Unexpected Effectiveness of RL for Sequential Recommendation, "
    "ICML 2024",
    "objective": CountSettings(),
}


@method("sasrec-count-past", **COUNT)
def count_past(backbone: SASRecSettings, objective: CountSettings, train: TrainSettings) -> Method:
    """SASRec that also says how many events the session has had, in place of SQN's Q.

    The source replaces the Q-loss by a prediction of how many items the user has met, and gains as much. Its text was
    not to be had, beyond the abstract and an erratum of October 2024 by which its counts were of a wrong column, were
    run again, and upheld it. Ours are the scale of the count (log(1 + n), or count_scale=raw), half its squared error,
    the weight, and that all events of the session count, repeats included, those beyond the context too. Epochs and
    learning rate are those of sasrec-sqn, whose twins take half of the updates each, where this one network takes all:
    with as many, it is to be compared with objective.target=ema there, or with half of train.epochs here.
    """
    return counting(backbone, objective, train, "before")


@method("sasrec-count-future", **COUNT)
def count_future(backbone: SASRecSettings, objective: CountSettings, train: TrainSettings) -> Method:
    """SASRec that also says how many events of the session are to come, in place of SQN's Q.

    The source's other count, by its erratum as good as the first or better; what is said of sasrec-count-past holds
    here. Events behind the one to be predicted are counted, as far as they are training events.
    """
    return counting(backbone, objective, train, "after")


def counting(
    backbone: SASRecSettings, o: CountSettings, train: TrainSettings, column: Literal["before", "after"]
) -> Method:
    """Cross-entropy and a count that a value head says."""
    terms = (Term("L_CE", 1.0, cross_entropy), Term("ν L_count", o.count_weight, count(column, o.count_scale)))
    heads = {"policy": item_head(backbone.init), "n": value_head(backbone.init)}
    return Method(backbone_of(backbone), heads, (Phase(terms, train.lr),))
