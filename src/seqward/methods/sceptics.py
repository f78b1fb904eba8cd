"""What a sceptic wants to see beside the systems of the paper: strong, simple and early recommenders of sequences."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from annotated_types import Ge, Le

from seqward.backbones import backbone_of
from seqward.backbones.bert4rec import BERT4RecSettings
from seqward.backbones.esasrec import ESASRecSettings
from seqward.backbones.fpmc import FPMCSettings
from seqward.backbones.narm import NARMSettings
from seqward.backbones.sasrec import SASRecSettings
from seqward.backbones.srgnn import SRGNNSettings
from seqward.heads import item_head
from seqward.job import TrainSettings
from seqward.method import Method, Phase, Term
from seqward.methods.registry import method
from seqward.methods.supervised import SupervisedSettings, next_item
from seqward.settings import Count, Share, settings
from seqward.terms import binary_cross_entropy, masked_items, pairwise, sampled_softmax


@settings
class SampledSettings(SupervisedSettings):
    tied: bool = True
    """Score items by the backbone's item embeddings instead of a head of their own."""
    negatives: Count = 256
    """Items other than the logged one, drawn uniformly for each event."""
    shared: bool = False
    """Draw the negatives once for the whole batch instead: another estimate, and far cheaper where items are many."""


@settings
class GBCESettings(SampledSettings):
    tied: bool = False
    """Score items by the backbone's item embeddings instead of rows of their own."""
    t: Annotated[float, Ge(0), Le(1)] = 0.75
    """Calibration: 0 is binary cross-entropy, 1 corrects fully for how few negatives there are."""


@settings
class SoftmaxSettings(SampledSettings):
    log_q: bool = False
    """Weigh the negatives up to the items they stand for, which makes it an estimate of full cross-entropy."""


@method(
    "gsasrec",
    "supervised",
    source="Petrov & Macdonald, gSASRec, RecSys 2023",
    backbone=SASRecSettings(
        n_factors=128, n_blocks=2, session_max_len=200, dropout_rate=0.5, scale_embedding=False, init="xavier"
    ),
    objective=GBCESettings(),
    train=TrainSettings(lr=0.001, batch_size=128, epochs=10_000, patience=200, draw="tails"),
)
def gsasrec(backbone: SASRecSettings, objective: GBCESettings, train: TrainSettings) -> Method:
    """Self-attention with generalised binary cross-entropy against 256 negatives.

    Of the authors' torch code: there a negative may be the logged item and counts in the sampling rate, embeddings
    begin as N(0, 1), the feed-forward layer of the version that was read has no ReLU, and an epoch has at most 100
    batches. As there a separate embedding table, without biases, scores the items (objective.tied=true for one table).
    Width, blocks, dropout, negatives and t are those of the README's example for MovieLens-1M, batches and patience the
    defaults of its code, none of them from memory; its configuration file has had other dropout rates (0, and 0.1 with
    width 256 and 3 blocks), and its table of results says 128 negatives where its checkpoint's name says 256. The
    first item of a session is read and never asked for, as published: an empty history is ranked by a state that
    nothing taught (train.draw=sessions teaches it). On a processor, at the size of MovieLens-1M, a step took twice as
    long as with objective.shared. It begins late: the first steps push 256 negatives at once, and with the source's
    train.beta2 of 0.999 Adam remembers them for long. On Amazon Beauty it had learned little beyond popularity after
    1,750 steps, and with 0.98 much by then.
    """
    o = objective
    term = Term("L_gBCE", 1.0, binary_cross_entropy(o.negatives, o.t, o.shared))
    heads = {"policy": item_head(backbone.init, o.tied, bias=False)}
    return replace(next_item(backbone, o, train, term), heads=heads)


@method(
    "esasrec",
    "supervised",
    source="Tikhonovich et al., eSASRec, RecSys 2025; the block is LiGR (Borisyuk et al., 2025)",
    backbone=ESASRecSettings(),
    objective=SoftmaxSettings(),
    train=TrainSettings(lr=0.001, beta2=0.98, item_dropout=0.1, batch_size=128, epochs=100, patience=50, draw="tails"),
)
def esasrec(backbone: ESASRecSettings, objective: SoftmaxSettings, train: TrainSettings) -> Method:
    """Gated self-attention (LiGR) with a softmax over 256 sampled negatives.

    The settings are the authors' for MovieLens-1M. Their code builds on RecTools 0.13: a negative may be the logged
    item, places are counted from the end, weights begin as Glorot-normal, embeddings too, and what is dropped of item
    embeddings is dropped wherever they are read (train.item_dropout), which later versions leave out. The block was
    read in version 0.19. The first item of a session is read and never asked for, as
    published: an empty history is ranked by a state that nothing taught (train.draw=sessions teaches it). On a
    processor, at the size of MovieLens-1M, a step took twice as long as with objective.shared.
    """
    o = objective
    return next_item(backbone, o, train, Term("L_SS", 1.0, sampled_softmax(o.negatives, o.shared, o.log_q)))


@settings
class ClozeSettings:
    share: Share = 0.2
    """Share of a history's items that are hidden; at least one is."""
    last: Share = 0.0909
    """Share of the histories of which the last item is hidden and no other, as when the next item is asked for."""
    tied: bool = True
    """Score items by the backbone's item embeddings, with a bias, instead of a head of their own."""


@method(
    "bert4rec",
    "supervised",
    source="Sun et al., CIKM 2019",
    backbone=BERT4RecSettings(),
    objective=ClozeSettings(),
    train=TrainSettings(
        lr=0.0001,
        lr_warmup=100,
        lr_schedule="linear",
        weight_decay=0.01,
        weight_decay_form="decoupled",
        batch_size=256,
        epochs=10_000,
        patience=200,
        clip_norm=5.0,
    ),
)
def bert4rec(backbone: BERT4RecSettings, objective: ClozeSettings, train: TrainSettings) -> Method:
    """A transformer over both sides of a history, trained to restore hidden items.

    Of the authors' code: its learning rate falls to 0 over 400,000 steps, here over the planned ``epochs``, which
    patience may end before; and its decay spares biases and normalisation. There round(share * length) items are
    hidden, at most 40, in 10 ways fixed in advance; here each is hidden by a draw of its own, anew in every epoch. The
    mask that asks for the next item stands behind a full context, not in it, and a start token in front. Each event
    that is ranked is a pass of its own. The source needs long training, and histories much shorter than the sessions
    it saw are strange to it: train.draw=transitions shows it every part of a session.
    """
    o = objective
    return Method(
        backbone=backbone_of(backbone),
        heads={"policy": item_head(backbone.init, o.tied, bias=True)},
        phases=(Phase((Term("L_cloze", 1.0, masked_items(o.share, o.last)),), train.lr),),
        query="mask",
    )


@settings
class PairwiseSettings:
    negatives: Count = 1
    """Items other than the logged one, drawn uniformly for each event."""


@method(
    "fpmc",
    "supervised",
    source="Rendle et al., WWW 2010",
    backbone=FPMCSettings(),
    objective=PairwiseSettings(),
    train=TrainSettings(lr=0.001),
)
def fpmc(backbone: FPMCSettings, objective: PairwiseSettings, train: TrainSettings) -> Method:
    """A factorised Markov chain of the last item plus the user's taste, trained by pairs.

    A basket is one item here. The original learns by stochastic gradient descent with L2 regularisation; here it is
    Adam without. Widths and the learning rate are from memory. Users without training events have the item part only;
    where the log names no users each session is one, so what is learned of them serves nobody later.
    """
    return Method(
        backbone=backbone_of(backbone),
        heads={"policy": item_head(backbone.init, bias=False)},
        phases=(Phase((Term("L_BPR", 1.0, pairwise(objective.negatives)),), train.lr),),
    )


@method(
    "sr-gnn",
    "supervised",
    source="Wu et al., AAAI 2019",
    backbone=SRGNNSettings(),
    objective=SupervisedSettings(tied=True),
    train=TrainSettings(lr=0.001, lr_schedule="tenths", weight_decay=0.00001, batch_size=100, epochs=30),
)
def sr_gnn(backbone: SRGNNSettings, objective: SupervisedSettings, train: TrainSettings) -> Method:
    """A gated graph network over the items of a session, with cross-entropy over the whole catalogue.

    In the authors' code a batch is 100 prefixes of sessions, here 100 sessions with all their prefixes. As in that code
    an edge counts once, however often it is walked (the paper counts it). Biases begin at 0, a start token is a node,
    and longer sessions are read from their last 50 items.
    """
    return next_item(backbone, objective, train)


@method(
    "narm",
    "supervised",
    source="Li et al., Neural Attentive Session-based Recommendation, CIKM 2017",
    backbone=NARMSettings(),
    objective=SupervisedSettings(tied=True),
    train=TrainSettings(lr=0.001, batch_size=512, epochs=30),
)
def narm(backbone: NARMSettings, objective: SupervisedSettings, train: TrainSettings) -> Method:
    """A gated recurrent unit with an attention over its states, with cross-entropy over the whole catalogue.

    The source has embeddings of half the width of its states, drops out half of what its bilinear decoder reads, reads
    the last 19 items, and lowers its learning rate (all from memory); here embeddings are as wide as states, one rate
    of dropout serves both, and the learning rate stays. Its batches hold the prefixes of sessions; here they hold
    whole sessions, every event of which counts.
    """
    return next_item(backbone, objective, train)
