"""What is raced: shapes of data, tasks, who takes part, what is to be reached, and the least work that a unit needs.

The shapes are RetailRocket's and MovieLens-1M's, the goals those of the table that the project set itself. A contestant
is a module of ``peers/contestants`` that is run in an environment of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["roofline", "train", "rank", "head", "ranks", "ccql", "serve", "import", "prepare"]
WIDTH = 64
NEGATIVES = 256
NEAR = 300
"""Targets are among so many best items of their row, as a trained model has most of them: a screen decides those far
from a target's score, and of random targets more lie near."""
OURS = "Seqward"
"""Whom the ratios are of."""
PORTABLE = "Seqward, plain torch"
"""Ours without the native kernels."""


@dataclass(frozen=True)
class Shape:
    """Synthetic data, and the network that reads them: width 64, one head, dropout 0.1, batches of 256 sessions."""

    name: str
    items: int
    sessions: int
    context: int
    """How many of the last items are read."""
    blocks: int
    lengths: Literal["retailrocket", "movielens"] = "retailrocket"

    def smaller(self, sessions: int, items: int | None = None) -> Shape:
        """The same with fewer sessions, and perhaps fewer items."""
        fewer = {"sessions": min(sessions, self.sessions), "items": min(items or self.items, self.items)}
        return Shape(**{**self.__dict__, **fewer})


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("rr", items=70_852, sessions=195_523, context=10, blocks=1),
        Shape("ml-50", items=3_416, sessions=6_040, context=50, blocks=2, lengths="movielens"),
        Shape("ml-200", items=3_416, sessions=6_040, context=200, blocks=2, lengths="movielens"),
        Shape("million", items=1_000_000, sessions=200_000, context=10, blocks=1),
    )
}


@dataclass(frozen=True)
class Contestant:
    """Who takes part in a task."""

    name: str
    module: str
    """Of ``peers/contestants``."""
    venv: str | None = None
    """The environment that ``install`` makes; None for the one that runs the benchmark."""
    options: Mapping[str, Any] = field(default_factory=dict)
    reach: float | None = None
    """How many times faster ours is to be, by processor time of one thread."""
    aim: float | None = None
    differs: str = ""
    """What it does otherwise than ours, in few words."""


@dataclass(frozen=True)
class Task:
    name: str
    title: str
    kind: Kind
    unit: str
    """What is counted, in the plural."""
    contestants: tuple[Contestant, ...]
    shape: str = "rr"
    options: Mapping[str, Any] = field(default_factory=dict)
    short: str = ""
    """The title in the picture and in the table of goals."""
    threads: tuple[int, ...] = (1, 2)
    """1 is timed by the processor's clock, more by that on the wall."""
    rounds: int | None = None
    """At most so many, where a turn is long and its time steady."""
    work: float | None = None
    """Times items x width: the multiplications and additions that a unit needs in the catalogue's product at least."""
    encoder: bool = False
    """Whether those of the encoder count, too (three times: forwards, and backwards for inputs and weights)."""
    bytes_per_item: int | None = None
    """Where memory is the limit and not the product: what has to be read of each item, for a unit."""

    def flops(self, shape: Shape) -> float | None:
        """Floating-point operations that a unit needs at least; None where the product is not its limit."""
        if self.work is None:
            return None
        block = (
            10 * WIDTH**2 + 2 * shape.context * WIDTH
        )  # query, key, value, two layers; half of a square of attention
        return self.work * shape.items * WIDTH + self.encoder * 3 * shape.blocks * block


def ours(name: str = OURS, **options: Any) -> Contestant:
    return Contestant(name, "ours", options=options)


WINDOWS = "encodes a window for each position; its blocks are BERT's; batches of 256 positions, not sessions"
SMALL_BATCH = "batches of 256 transitions, ours of 256 sessions"
SAME_BATCH = "Seqward, 256 transitions"
LEARNS_FIRST = "also learns the first item of a session, which is not counted"
PADS_SCORED = "scores padded positions, too"
GIVEN = "its own reading of data is left out: batches are collated beforehand"

ROOFLINE = Task(
    "roofline",
    "What the machine can do",
    "roofline",
    "operations",
    (Contestant("machine", "roofline"),),
)
TASKS = (
    Task(
        "train-rr",
        "SASRec training, full cross-entropy, RetailRocket's shape",
        "train",
        "positions",
        (
            ours(),
            ours(PORTABLE, engine="chunked"),
            Contestant("plain torch", "plain_torch", reach=6, aim=9),
            Contestant("RecBole", "recbole", "recbole", reach=9.5, aim=14, differs=WINDOWS),
            Contestant("RePlay", "replay", "replay", reach=12, aim=20, differs=f"{LEARNS_FIRST}; {PADS_SCORED}"),
            Contestant("RecTools", "rectools", "rectools", reach=27, aim=42, differs=PADS_SCORED),
        ),
        short="training, full cross-entropy, 70,852 items",
        work=6,
        encoder=True,
    ),
    Task(
        "train-ml-50",
        "SASRec training, full cross-entropy, MovieLens-1M's shape, context 50",
        "train",
        "positions",
        (
            ours(),
            Contestant("plain torch", "plain_torch"),
            Contestant("RecBole", "recbole", "recbole", differs=WINDOWS),
            Contestant("RePlay", "replay", "replay", reach=4, aim=10, differs=f"{LEARNS_FIRST}; {PADS_SCORED}"),
            Contestant("RecTools", "rectools", "rectools", reach=7.5, aim=25, differs=PADS_SCORED),
        ),
        short="training, 3,416 items, context 50",
        shape="ml-50",
        work=6,
        encoder=True,
    ),
    Task(
        "train-ml-200",
        "SASRec training, full cross-entropy, MovieLens-1M's shape, context 200",
        "train",
        "positions",
        (
            ours(),
            Contestant("plain torch", "plain_torch"),
            Contestant("RePlay", "replay", "replay", differs=f"{LEARNS_FIRST}; {PADS_SCORED}"),
            Contestant("RecTools", "rectools", "rectools", reach=6.5, aim=25, differs=PADS_SCORED),
        ),
        short="training, 3,416 items, context 200",
        shape="ml-200",
        work=6,
        encoder=True,
    ),
    Task(
        "train-sampled-rr",
        f"SASRec training, sampled cross-entropy, {NEGATIVES} negatives, RetailRocket's shape",
        "train",
        "positions",
        (
            ours(),
            Contestant("plain torch", "plain_torch", differs="negatives shared by the batch, as ours"),
            Contestant("RePlay", "replay", "replay", reach=2.7, aim=6, differs=f"shared negatives; {LEARNS_FIRST}"),
            Contestant("RecTools", "rectools", "rectools", reach=23, aim=50, differs="negatives for each position"),
        ),
        short="training, 256 negatives, 70,852 items",
        options={"negatives": NEGATIVES},
    ),
    Task(
        "ccql-rr",
        "SASRec-CCQL training, RetailRocket's shape",
        "ccql",
        "transitions",
        (
            ours(conservative="negatives"),
            ours(SAME_BATCH, conservative="negatives", transitions=256),
            Contestant(
                "straightforward",
                "naive_ccql",
                options={"conservative": "negatives"},
                reach=11.5,
                aim=20,
                differs=SMALL_BATCH,
            ),
        ),
        short="SASRec-CCQL training",
        work=8,
    ),
    Task(
        "ccql-catalogue-rr",
        "SASRec-CCQL training, conservative over the whole catalogue, RetailRocket's shape",
        "ccql",
        "transitions",
        (
            ours(conservative="catalogue"),
            ours(SAME_BATCH, conservative="catalogue", transitions=256),
            Contestant("straightforward", "naive_ccql", options={"conservative": "catalogue"}, differs=SMALL_BATCH),
        ),
        short="SASRec-CCQL, conservative over all items",
        work=14,
    ),
    Task(
        "rank-rr",
        "Full ranking of held-out items, end to end, RetailRocket's shape",
        "rank",
        "sessions",
        (
            ours(),
            Contestant("plain torch", "plain_torch", differs="all scores, then the 20 best"),
            Contestant("RecBole", "recbole", "recbole", reach=18, aim=25, differs="the 20 best, not ranks"),
            Contestant("RePlay", "replay", "replay", reach=7.5, aim=12, differs=f"the 20 best, not ranks; {GIVEN}"),
            Contestant("RecTools", "rectools", "rectools", reach=10, aim=14, differs="a frame of the 20 best"),
        ),
        short="full ranking, end to end",
        work=2,
    ),
    Task(
        "head-rr",
        "Cross-entropy over the catalogue alone, with its gradients, RetailRocket's shape",
        "head",
        "rows",
        (ours(), ours(PORTABLE, engine="chunked"), Contestant("plain torch", "plain_torch")),
        short="cross-entropy alone",
        work=6,
    ),
    Task(
        "ranks-rr",
        "Exact ranks alone, RetailRocket's shape",
        "ranks",
        "rows",
        (
            ours(near=NEAR),
            ours("Seqward, any targets"),
            Contestant("plain torch", "plain_torch", differs="items that score higher; ties are not looked at"),
        ),
        short="exact ranks alone",
        work=2,
    ),
    Task(
        "serve-rr",
        "One unseen history of 10 items, its best 20 of 70,852",
        "serve",
        "answers",
        (
            ours(),
            ours("Seqward, recommend()", call="recommend"),
            Contestant("onnxruntime", "onnx_graph", "onnxruntime", reach=8),
            Contestant("plain torch", "plain_torch"),
            Contestant("RePlay", "replay", "replay"),
            Contestant("RecTools", "rectools", "rectools", differs="recommend() for a user of the training data"),
        ),
        short="an answer, 70,852 items",
        threads=(1,),
        bytes_per_item=WIDTH,
    ),
    Task(
        "serve-million",
        "One unseen history of 10 items, its best 20 of 1,000,000",
        "serve",
        "answers",
        (
            ours(),
            Contestant("onnxruntime", "onnx_graph", "onnxruntime", reach=5),
            Contestant("plain torch", "plain_torch"),
        ),
        short="an answer, 1,000,000 items",
        shape="million",
        threads=(1,),
        bytes_per_item=WIDTH,
    ),
    Task(
        "import",
        "Importing what recommends",
        "import",
        "imports",
        (
            Contestant(OURS, "importing", options={"code": "from seqward.inference import Inference"}),
            Contestant("torch alone", "importing", options={"code": "import torch"}),
            Contestant("onnxruntime", "importing", "onnxruntime", options={"code": "import onnxruntime"}),
            Contestant(
                "RecBole",
                "importing",
                "recbole",
                options={"code": "from recbole.model.sequential_recommender import SASRec"},
            ),
            Contestant("RePlay", "importing", "replay", options={"code": "from replay.nn.sequential import SasRec"}),
            Contestant(
                "RecTools", "importing", "rectools", options={"code": "from rectools.models import SASRecModel"}
            ),
        ),
        short="importing what recommends",
        rounds=1,
        threads=(1,),
    ),
    Task(
        "prepare",
        "Preparing a log of RetailRocket's kind",
        "prepare",
        "events",
        (
            Contestant(OURS, "preparing", options={"how": "prepare"}),
            Contestant("pandas", "preparing", options={"how": "pandas"}, differs="vectorised; no checks, no split"),
            Contestant("reading alone", "preparing", options={"how": "read"}, differs="polars.read_csv"),
        ),
        short="preparing a log",
        rounds=1,
    ),
)


def task_named(name: str) -> Task:
    return next(task for task in (ROOFLINE, *TASKS) if task.name == name)
