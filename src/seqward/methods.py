"""Every method as data: a backbone, heads, and phases of weighted loss terms.

Eq. 4 of the paper, L = L_CE + w L_Q + L_CO + a L_CQL, is the list in ``sasrec_ccql``, in that order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Gt, Lt
from torch import Tensor, nn

from seqward.augment import AUGMENTATIONS, Augment, permutation_with_padding
from seqward.backbones.sasrec import SASRec, SASRecSettings
from seqward.baselines import LastItems, Popularity
from seqward.errors import SeqwardError, did_you_mean
from seqward.heads import item_head
from seqward.method import Loss, Method, Phase, Term
from seqward.objectives import conservative, contrastive, supervised, td
from seqward.settings import NonNegative, Positive, Rate, Share, Whole, settings
from seqward.step import Step
from seqward.target import Ema, Twin
from seqward.train import TrainSettings


@dataclass(frozen=True)
class Entry:
    """A method's name, default settings and source, and the function that builds it from settings."""

    name: str
    build: Callable[..., Method | LastItems | Popularity]
    sections: Mapping[str, Any]
    """Default settings by section: "backbone", "objective", "train". Empty for methods without parameters, which are
    built from the number of items."""
    source: str

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return (self.build.__doc__ or "").strip().splitlines()[0]


METHODS: dict[str, Entry] = {}


def method(name: str, source: str, **sections: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function of settings sections under the method's name."""

    def register(build: Callable[..., Any]) -> Callable[..., Any]:
        METHODS[name] = Entry(name, build, sections, source)
        return build

    return register


def method_named(name: str) -> Entry:
    """The entry of a method.

    Raises:
        SeqwardError: no method has that name.
    """
    if name not in METHODS:
        known = ", ".join(METHODS)
        raise SeqwardError(f"unknown method {name!r}.{did_you_mean(name, METHODS)} Known methods: {known}.")
    return METHODS[name]


# ---------------------------------------------------------------------------------------------------------- loss terms


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


# ------------------------------------------------------------------------------------------------------------- settings


Warmup = Whole | Annotated[float, Gt(0), Lt(1)]
"""A number of training events, or below 1 the share of those planned (epochs times the events of an epoch)."""


@settings
class SupervisedSettings:
    tied: bool = False
    """Score items by the backbone's item embeddings instead of a head of their own."""


@settings
class ActorCriticSettings:
    gamma: Share = 0.5
    """Discount of the return."""
    omega: NonNegative = 1.0
    """Weight of the temporal-difference loss."""
    warmup_events: Warmup = 7_680_000
    """Training events before cross-entropy is weighted by Q (30,000 steps of 256 transitions). Below 1, a share of
    the planned ones: 0.4 suits a small log."""
    phases: Literal[1, 2] = 2
    """1: never weight cross-entropy by Q (this is SQN)."""
    target: Literal["twin", "ema"] = "twin"
    """twin: two networks swap roles by a coin. ema: one network and a target that follows it."""
    tau: Rate = 0.005
    """Rate at which an ema target follows."""


@settings
class CCQLSettings(ActorCriticSettings):
    alpha: NonNegative = 0.01
    """Weight of the conservative term."""
    conservative: Literal["negatives", "catalogue"] = "negatives"
    """Its log-sum-exp runs over the logged item and sampled negatives, or over all items (Eq. 2)."""
    negatives: Whole = 10
    """Items outside the session, drawn for each event."""
    temperature: Positive = 0.5
    """Temperature of its log-sum-exp."""
    contrast_weight: NonNegative = 1.0
    """Weight of the contrastive term."""
    contrast_temperature: Positive = 0.07
    """Temperature of its cosine similarities."""
    augment: Literal["crop", "mask", "reorder", "permutation"] = "permutation"
    """How the second view's history is changed."""
    augment_share: Share = 0.5
    """Share of the history that crop keeps, mask hides, reorder shuffles; permutation shuffles all of it."""
    warmup_events: Warmup = 3_840_000
    """Training events before cross-entropy is weighted by Q (15,000 steps of 256 transitions, as for RC15). Below
    1, a share of the planned ones: 0.4 suits a small log."""
    lr_phase_2: Positive = 0.001
    """Learning rate after the warm-up."""


@settings
class CCQLReleasedSettings(ActorCriticSettings):
    alpha: NonNegative = 0.01
    """Weight of the term in place of the conservative one."""
    temperature: Positive = 0.5
    """Temperature of its log-sum-exp."""
    contrast: Literal["cosine", "coordinate"] = "cosine"
    """cosine as for RC15; coordinate as the released code forces for RetailRocket."""
    contrast_weight: NonNegative = 1.0
    """Weight of the contrastive term."""
    contrast_temperature: Positive = 0.07
    """Temperature of cosine similarities."""
    warmup_events: Warmup = 3_840_000
    """Training events before cross-entropy is multiplied by the batch's mean Q (15,000 steps of 256, as for RC15).
    Below 1, a share of the planned ones: 0.4 suits a small log."""
    lr_phase_2: Positive = 0.001
    """Learning rate after the warm-up."""


SNQN_SASREC = SASRecSettings(scale_embedding=False, init="xavier")
"""SASRec of the SQN, SNQN and SA2C code."""
CCQL_SASREC = SASRecSettings(residual="double")
"""SASRec of the code released with SASRec-CCQL."""


# -------------------------------------------------------------------------------------------------------------- methods


@method("last-items", source="the zero-parameter baseline of session data with repeats")
def last_items(n_items: int) -> LastItems:
    """The distinct items of the history, most recent first; nothing else is a candidate."""
    return LastItems(n_items)


@method("popularity", source="the zero-parameter baseline")
def popularity(n_items: int) -> Popularity:
    """Items by their number of training events, the same for everybody."""
    return Popularity(n_items)


@method(
    "sasrec",
    source="Kang & McAuley, ICDM 2018, with full cross-entropy as in Xin et al., SIGIR 2020",
    backbone=SNQN_SASREC,
    objective=SupervisedSettings(),
    train=TrainSettings(lr=0.01),
)
def sasrec(backbone: SASRecSettings, objective: SupervisedSettings, train: TrainSettings) -> Method:
    """Self-attention with cross-entropy over the whole catalogue."""
    return Method(
        backbone=sasrec_backbone(backbone),
        heads={"policy": item_head(backbone.init, objective.tied)},
        phases=(Phase((Term("L_CE", 1.0, cross_entropy),), train.lr),),
    )


@method(
    "sasrec-ac",
    source="SAC: Xin et al., Self-Supervised Reinforcement Learning for Recommender Systems, SIGIR 2020",
    backbone=SNQN_SASREC,
    objective=ActorCriticSettings(),
    train=TrainSettings(lr=0.01),
)
def sasrec_ac(backbone: SASRecSettings, objective: ActorCriticSettings, train: TrainSettings) -> Method:
    """Self-supervised actor-critic: SQN, then cross-entropy weighted by Q."""
    critic = Term("ω L_Q", objective.omega, td_loss(objective.gamma))
    return actor_critic(
        backbone,
        objective,
        Phase((Term("L_CE", 1.0, cross_entropy), critic), train.lr, objective.warmup_events),
        Phase((Term("Q L_CE", 1.0, q_weighted), critic), train.lr),
    )


@method(
    "sasrec-ccql",
    source="the paper, Eq. 4, with the phases and hyper-parameters of its RC15 runs",
    backbone=CCQL_SASREC,
    objective=CCQLSettings(),
    train=TrainSettings(lr=0.005, clip_value=1.0),
)
def sasrec_ccql(backbone: SASRecSettings, objective: CCQLSettings, train: TrainSettings) -> Method:
    """Contrastive learning and conservative Q-learning: the formulas of the paper.

    Two phases: Eq. 4, then the same with the cross-entropy of each event weighted by its Q. ``warmup_events`` is the
    length of the first. The default is the paper's and belongs to its data (7 % of its 60 epochs of RC15); a log too
    small to reach it wants a share.
    """
    o = objective
    augment = AUGMENTATIONS[o.augment](o.augment_share)
    over_catalogue = o.conservative == "catalogue"
    cql = (
        conservative_on_catalogue(o.temperature)
        if over_catalogue
        else conservative_on_negatives(o.negatives, o.temperature)
    )
    eq_4 = (
        Term("L_CE", 1.0, cross_entropy),
        Term("ω L_Q", o.omega, td_loss(o.gamma)),
        Term("L_CO", o.contrast_weight, contrast(augment, o.contrast_temperature)),
        Term("α L_CQL", o.alpha, cql),
    )
    return actor_critic(
        backbone,
        o,
        Phase(eq_4, train.lr, o.warmup_events),
        Phase((Term("Q L_CE", 1.0, q_weighted), *eq_4[1:]), o.lr_phase_2),
    )


@method(
    "sasrec-ccql-released",
    source="the paper's released code (what differs from the paper: docs/paper-differences.md)",
    backbone=CCQL_SASREC,
    objective=CCQLReleasedSettings(),
    train=TrainSettings(lr=0.005, clip_value=1.0, draw="transitions"),
)
def sasrec_ccql_released(backbone: SASRecSettings, objective: CCQLReleasedSettings, train: TrainSettings) -> Method:
    """What the released code of SASRec-CCQL computes, term by term."""
    o = objective
    augment = permutation_with_padding(backbone.session_max_len)
    by_coordinate = o.contrast == "coordinate"
    co = contrast_by_coordinate(augment) if by_coordinate else contrast(augment, o.contrast_temperature, same_row=True)
    released = (
        Term("L_CE", 1.0, cross_entropy),
        Term("ω L_Q", o.omega, td_loss(o.gamma)),
        Term("L_CO as released", o.contrast_weight, co),
        Term("α L_CQL as released", o.alpha, conservative_as_released(o.temperature)),
    )
    return actor_critic(
        backbone,
        o,
        Phase(released, train.lr, o.warmup_events),
        Phase((Term("mean Q L_CE", 1.0, q_weighted_as_released), *released[1:]), o.lr_phase_2),
    )


def sasrec_backbone(s: SASRecSettings) -> Callable[[int, int], nn.Module]:
    """(n_tokens, pad) -> SASRec."""
    return lambda n_tokens, pad: SASRec(s, n_tokens, pad)


def actor_critic(backbone: SASRecSettings, o: ActorCriticSettings, first: Phase, second: Phase) -> Method:
    """Policy and Q heads over SASRec, one phase or two, and a target network."""
    phases = (Phase(first.terms, first.lr),) if o.phases == 1 else tuple(p for p in (first, second) if p.events != 0)
    return Method(
        backbone=sasrec_backbone(backbone),
        heads={"policy": item_head(backbone.init), "q": item_head(backbone.init)},
        phases=phases,
        target=Twin() if o.target == "twin" else Ema(o.tau),
        critic="q",
        gamma=o.gamma,
    )
