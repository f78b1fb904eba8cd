"""What similar sessions and items hold: no training, and often ahead of what is trained (Ludewig & Jannach 2018)."""

from __future__ import annotations

from typing import Literal

import torch

from seqward.methods.registry import method
from seqward.neighbours import ItemNeighbours, Rule, SessionNeighbours
from seqward.settings import Count, NonNegative, Positive, settings


@settings
class VSKNNSettings:
    session_max_len: Count = 50
    """How many of the last items are read."""
    neighbours: Count = 100
    """Sessions that speak."""
    sample: Count = 1000
    """The latest sessions with an item that are looked at, for each item read."""
    idf: NonNegative = 0.0
    """How much more rare items count: the factor is 1 + idf * log(sessions / sessions with the item)."""


@settings
class STANSettings:
    session_max_len: Count = 50
    """How many of the last items are read."""
    neighbours: Count = 500
    """Sessions that speak."""
    sample: Count = 1000
    """The latest sessions with an item that are looked at, for each item read."""
    lambda_1: Positive = 1.02
    """Events back in the history after which an item counts 1 / e in the similarity."""
    lambda_2: Positive = 0.1
    """Age of a neighbour, as a share of the span of the training log, at which it counts 1 / e."""
    lambda_3: Positive = 2.05
    """Events from the latest item in common after which a neighbour's item counts 1 / e."""


@settings
class ItemKNNSettings:
    session_max_len: Count = 50
    """How many of the last items are read, where the whole history is."""
    neighbours: Count = 100
    """Similar items kept of each item."""
    shrink: NonNegative = 20.0
    """Added to the sessions of each item in the denominator: similarity from few sessions counts less."""
    read: Literal["last", "history"] = "last"
    """Items like the last one, or like all of the history."""


@method(
    "vsknn",
    "neighbours",
    source="V-SKNN: Ludewig & Jannach, Evaluation of Session-Based Recommendation Algorithms, UMUAI 2018",
    neighbours=VSKNNSettings(),
)
def vsknn(n_items: int, neighbours: VSKNNSettings) -> SessionNeighbours:
    """Items of the most similar sessions, in which recent items of the history weigh more.

    Similarity: the sum of position / length over the items in common. A neighbour's item counts 1 / steps, where the
    latest item in common stands ``steps`` from the end. Defaults are from memory. The sample is taken for each item of
    the history, not once for the session; a session's items are a set. In a leave-one-out split the part of a session
    that trained is among its own neighbours, and speaks for what was met before.
    """
    rule = Rule(
        neighbours.neighbours,
        neighbours.sample,
        near=lambda back, length: (length - back) / length,
        age=torch.ones_like,
        carry=lambda back, between: 1.0 / (back + 1.0),
        idf=neighbours.idf,
    )
    return SessionNeighbours("vsknn", n_items, neighbours.session_max_len, rule)


@method(
    "stan",
    "neighbours",
    source="Garg et al., Sequence and Time Aware Neighborhood for Session-based Recommendations, SIGIR 2019",
    neighbours=STANSettings(),
)
def stan(n_items: int, neighbours: STANSettings) -> SessionNeighbours:
    """Items of the most similar sessions by three decays: in the history, with the age of the session, and in it.

    The second decay is by the share of the log's time span, where the source has days; it is out of use where a log
    has an order and no times. Defaults are from memory, that of the second decay is ours.
    """
    rule = Rule(
        neighbours.neighbours,
        neighbours.sample,
        near=lambda back, length: torch.exp(-back / neighbours.lambda_1),
        age=lambda age: torch.exp(-age / neighbours.lambda_2),
        carry=lambda back, between: torch.exp(-between / neighbours.lambda_3),
        cosine=True,
    )
    return SessionNeighbours("stan", n_items, neighbours.session_max_len, rule)


@method(
    "item-knn",
    "neighbours",
    source="Item-KNN of Hidasi et al., ICLR 2016, with the damped cosine of its code",
    neighbours=ItemKNNSettings(),
)
def item_knn(n_items: int, neighbours: ItemKNNSettings) -> ItemNeighbours:
    """Items that stand in the same sessions as the last one (or as those of the history).

    Similarity: n_ij / sqrt((n_i + shrink) (n_j + shrink)). The source counts events, ours are sessions.
    """
    o = neighbours
    return ItemNeighbours("item-knn", n_items, o.neighbours, o.shrink, o.read, o.session_max_len)
