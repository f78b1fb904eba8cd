"""A backbone and its heads: from histories to states, and from states to scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Literal, Protocol, cast

import torch
from torch import Tensor, nn

from seqward.backbones.backbone import Backbone, Histories, OneState, Vocabulary
from seqward.backbones.dropout import dropout
from seqward.catalogue import LinearScores, Scores, scores_of
from seqward.catalogue.named import named
from seqward.catalogue.rows import RowScores
from seqward.catalogue.sampled import BucketScores, Candidates, SampledScores, buckets_of
from seqward.catalogue.valued import Reading, ValuedScores
from seqward.errors import SeqwardError

Read = Callable[[Tensor, Tensor | None], None]
"""Told that these rows of a table, or all of them (None), are about to be read."""
Query = Literal["last", "mask"]
"""Which state answers for a history: the one after its last item, or that of a mask token behind it (BERT4Rec)."""


class Scorer(Protocol):
    """What evaluation and serving see, of a trained network and of a parameter-free method alike."""

    context: int | None
    """How many of the last items are read; None for all of them."""
    causal: bool
    """Whether one pass can answer after every item of a history (``every``)."""

    def score(self, histories: Histories, every: bool = False) -> Scores:
        """Scores for the next item.

        Args:
            histories: B histories of at most ``context`` items.
            every: False for one row a history, the state after its last item. True for [B * (S + 1)] rows, where row
                ``b * (S + 1) + j`` is the state after the first j items; histories are then padded on the right only.
        """
        ...


class Model(nn.Module):
    """A backbone behind a start token, and named heads."""

    def __init__(
        self,
        backbone: Callable[[Vocabulary], nn.Module],
        heads: Mapping[str, Callable[[nn.Module, int], nn.Module]],
        vocabulary: Vocabulary,
        engine: str = "auto",
    ) -> None:
        """Build the parts.

        Args:
            backbone: vocabulary -> module.
            heads: name -> ((backbone, n_items) -> module).
            engine: which engine answers for the catalogue, see ``scores_of``.
        """
        super().__init__()
        self.vocabulary, self.engine = vocabulary, engine
        self.backbone = backbone(vocabulary)
        self.heads = nn.ModuleDict({name: head(self.backbone, vocabulary.n_items) for name, head in heads.items()})

    read: Read | None = None

    def by_rows(self, read: Read) -> None:
        """Have gradients of tables hold the rows that were read by name, and ``read`` told of every row beforehand."""
        items = cast(Backbone, self.backbone).items
        self.read, items.sparse = read, True
        items.register_forward_pre_hook(lambda module, args: read(module.weight, args[0]))  # type: ignore[arg-type]

    @contextmanager
    def items_dropped(self, rate: float) -> Iterator[None]:
        """Have all that reads item embeddings in here find the same share ``rate`` of their elements dropped.

        Draws from the global stream, at the beginning. Gradients are those of the embeddings themselves.
        """
        table = cast(Backbone, self.backbone).items
        weight = table.weight
        del table.weight  # a module refuses a tensor in the place of a parameter
        table.weight = dropout(weight, rate)  # type: ignore[assignment]
        try:
            yield
        finally:
            del table.weight
            table.weight = weight

    @property
    def tables(self) -> list[Tensor]:
        """Parameters with a row an item: embeddings, and those of item heads that are not tied to them."""
        heads = [head.table(self.backbone) for head in self.heads.values() if hasattr(head, "table")]  # type: ignore[operator]
        return list(dict.fromkeys([cast(Backbone, self.backbone).items.weight, *heads]))

    @property
    def context(self) -> int:
        return cast(Backbone, self.backbone).context

    def states(self, histories: Histories, causal: bool = True, padding: bool = False) -> Tensor:
        """[B, S] items -> [B, S + 1, width]: row t stands after the first t slots, row 0 after none.

        Where not ``causal``, every row has read all slots. Rows behind a history's last item are what the backbone
        says of padding if ``padding``, else nothing of use.

        Raises:
            SeqwardError: that is asked of a backbone which reads forwards only.
        """
        if not causal and not cast(Backbone, self.backbone).bidirectional:
            raise SeqwardError(
                f"{type(self.backbone).__name__} reads a history forwards only, and this term or query reads all of it "
                "at once. Take a backbone that is bidirectional, such as SASRec or BERT4Rec."
            )
        groups = [] if padding else self._groups(histories)
        if len(groups) <= 1:
            return self.backbone(self._started(histories), causal)
        with self._read_once(histories):
            parts = [self.backbone(self._started(histories.part(rows, width)), causal) for rows, width in groups]
        states = parts[0].new_zeros(len(histories.items), histories.items.shape[1] + 1, parts[0].shape[-1])
        for (rows, width), part in zip(groups, parts, strict=True):
            states[rows, : width + 1] = part
        return states

    def last_state(self, histories: Histories, causal: bool = True) -> Tensor:
        """[B, width] the row of ``states`` after the last item of each history."""
        row, backbone = last_row(histories.items, self.vocabulary.pad), self.backbone
        if not isinstance(backbone, OneState) or not (causal or backbone.bidirectional):
            return self.states(histories, causal)[torch.arange(len(row), device=row.device), row]
        groups = self._groups(histories)
        with self._read_once(histories):
            parts = [
                backbone.state(self._started(histories.part(rows, width)), row[rows], causal) for rows, width in groups
            ]
        return torch.cat(parts)[torch.cat([rows for rows, _ in groups]).argsort()]

    def _groups(self, histories: Histories) -> list[tuple[Tensor, int]]:
        return groups_of_length(histories.items, self.vocabulary.pad, cast(Backbone, self.backbone).skips_padding)

    @contextmanager
    def _read_once(self, histories: Histories) -> Iterator[None]:
        """Have every group of these histories look its items up among the rows of theirs alone.

        The gradient of a look-up is as large as what it looks into, unless it is of the rows alone as it is.
        """
        table = cast(Backbone, self.backbone).items
        if table.sparse or not torch.is_grad_enabled():
            yield
            return
        tokens = self._started(histories).items.unique()
        rows = table(tokens)

        def among_rows(module: nn.Module, args: tuple[Tensor], whole: Tensor) -> Tensor:
            return torch.nn.functional.embedding(torch.searchsorted(tokens, args[0]), rows)

        hook = table.register_forward_hook(among_rows)
        try:
            yield
        finally:
            hook.remove()

    def _started(self, histories: Histories) -> Histories:
        """The histories behind a start token."""
        start = histories.items.new_full((len(histories.items), 1), self.vocabulary.start)
        return histories._replace(items=torch.cat([start, histories.items], dim=1))

    def scores(self, head: str, states: Tensor, temperature: float = 1.0) -> LinearScores:
        """Scores of an item head for states [n, width], divided by a temperature.

        A head whose values are not its scores says its values, but at another temperature than 1.
        """
        states = self._seen(head, states)
        reading = self._reading(head, states) if temperature == 1.0 else None
        scores = self._linear(head, states, temperature)
        return scores if reading is None else ValuedScores(scores, reading)

    def _linear(self, head: str, states: Tensor, temperature: float) -> LinearScores:

        def whole() -> LinearScores:
            weight, bias = self._whole(head)
            if temperature == 1.0:
                return scores_of(states, weight, bias, self.engine)
            return scores_of(states / temperature, weight, None if bias is None else bias / temperature, self.engine)

        if self.read is None:
            return whole()
        return RowScores(states, partial(self._named, head, temperature), whole, self.vocabulary.n_items)

    def sampled(self, head: str, states: Tensor, candidates: Candidates) -> SampledScores:
        """The same, of which the sums run over candidates."""
        return SampledScores(self._seen(head, states), partial(self._rows, head), candidates)

    def bucketed(self, head: str, states: Tensor, y: int, generator: torch.Generator) -> BucketScores:
        """The same, of which the sums run over the y items that lie in a row's direction."""
        states = self._seen(head, states)
        weight, _ = self._whole(head)
        return BucketScores(states, partial(self._rows, head), buckets_of(states, weight, y, generator))

    def columns(self, head: str, states: Tensor, items: Tensor) -> Tensor:
        """Scores of an item head for the same few items in every row: states [n, width], items [k] -> [n, k]."""
        return torch.nn.functional.linear(self._seen(head, states), *self._rows(head, items)).float()

    def _whole(self, head: str) -> tuple[Tensor, Tensor | None]:
        """An item head's (weight [items, width], bias [items])."""
        if self.read is not None:
            self.read(self.heads[head].table(self.backbone), None)  # type: ignore[operator]
        return self.heads[head](self.backbone)

    def _rows(self, head: str, items: Tensor) -> tuple[Tensor, Tensor | None]:
        """The same of items [...]: (weight [..., width], bias [...])."""
        table, (_, bias) = self.heads[head].table(self.backbone), self.heads[head](self.backbone)  # type: ignore[operator]
        if self.read is not None:
            self.read(table, items)
        weight = torch.nn.functional.embedding(items, table, sparse=self.read is not None)
        return weight, None if bias is None else bias[items]

    def _named(self, head: str, temperature: float, states: Tensor, items: Tensor) -> Tensor:
        """Scores of the named items [n] or [n, k], divided by a temperature, of a table that is kept row by row."""
        table, (_, bias) = self.heads[head].table(self.backbone), self.heads[head](self.backbone)  # type: ignore[operator]
        assert self.read is not None
        self.read(table, items)
        return named(states, table, bias, items, sparse=True) / temperature

    def _seen(self, head: str, states: Tensor) -> Tensor:
        """The states as an item head reads them: without gradient where it is detached, and normalised by its norm."""
        states = states.detach() if getattr(self.heads[head], "detached", False) else states
        return states if self._norm(head) is None else self._norm(head)(states)  # type: ignore[misc]

    def _norm(self, head: str) -> nn.Module | None:
        return getattr(self.heads[head], "norm", None)

    def _reading(self, head: str, states: Tensor) -> Reading | None:
        """How an item head's values are read from its scores; None where they are these."""
        reading = getattr(self.heads[head], "reading", None)
        return None if reading is None else reading(states)

    def value(self, head: str, states: Tensor) -> Tensor:
        """What a value head gives, [n]."""
        return self.heads[head](states)

    def pairs(self, head: str, states: Tensor, items: Tensor) -> Tensor:
        """What a pair head gives for states [n, width] and items [n] or [n, k], in the shape of the items."""
        return self.heads[head](states, cast(Backbone, self.backbone).items(items))

    def mixed_scores(self, shares: Mapping[str, float], states: Tensor) -> LinearScores:
        """The sum of heads' scores, each times its share: heads are linear, so theirs is a head too.

        Raises:
            SeqwardError: the values of one are not its scores.
        """
        seen = {head: self._seen(head, states) for head in shares}
        for head in shares:
            if self._reading(head, seen[head]) is not None:
                raise SeqwardError(
                    f"a mixture sums the scores of linear heads, and with objective.critic other than linear the "
                    f"values of {head} are not its scores. Rank by policy or by {head}."
                )
        rows = [(share, *self._whole(head)) for head, share in shares.items()]
        if any(self._norm(head) is not None for head in shares):  # the heads do not see the same states
            states = torch.cat(list(seen.values()), 1)
            weight = torch.cat([share * weight for share, weight, _ in rows], 1)
        else:
            weight = torch.stack([share * weight for share, weight, _ in rows]).sum(0)
        biases = [share * bias for share, _, bias in rows if bias is not None]
        return scores_of(states, weight, torch.stack(biases).sum(0) if biases else None, self.engine)


MOST_GROUPS = 8
SLOTS_A_PASS = 256
"""Slots that could be read in the time that one more pass over the layers takes by itself, on a processor."""
PAIRS_A_PASS = 100_000
"""Pairs of slots between which attention could be paid in that time, where padding costs nothing else."""


def groups_of_length(items: Tensor, pad: int, skips_padding: bool) -> list[tuple[Tensor, int]]:
    """Rows of items [B, S] to be read together, and how many slots reach to the last item of each group.

    A batch is as wide as its longest history, and what is read of the others is mostly padding. So histories are read
    in groups of like length, as many as pay; one group where none does, and on a GPU, which has room for padding.
    """
    rows, slots = items.shape
    everything = [(torch.arange(rows), slots)]
    power, cost = (2, PAIRS_A_PASS) if skips_padding else (1, SLOTS_A_PASS)
    if items.device.type != "cpu" or rows * slots**power < cost:
        return everything
    lengths, order = last_row(items, pad).sort()
    plans = [everything]
    for count in (2, 4, MOST_GROUPS):
        parts = zip(order.chunk(count), lengths.chunk(count), strict=True)
        plans.append([(part, int(longest[-1])) for part, longest in parts])
    return min(plans, key=lambda plan: sum(len(part) * (width + 1) ** power + cost for part, width in plan))


class NetworkScorer:
    """A trained model as evaluation and serving see it: no gradient, no dropout."""

    def __init__(
        self,
        model: Model,
        ranks: Mapping[str, float],
        critic: str | None = None,
        gamma: float = 0.0,
        query: Query = "last",
    ) -> None:
        """Wrap a model.

        Args:
            ranks: the heads that rank, with the share of each.
            critic: the head of Q, if any.
            gamma: the critic's discount.
            query: which state answers.
        """
        self.model = model.eval()
        self.ranks, self.critic, self.gamma = ranks, critic, gamma
        self.query: Query = query
        self.context: int | None = model.context
        self.causal = query == "last"

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @torch.no_grad()
    def score(self, histories: Histories, every: bool = False) -> Scores:
        states = self._states(histories, every)
        if list(self.ranks.values()) == [1.0]:
            return self.model.scores(next(iter(self.ranks)), states).detach()
        return self.model.mixed_scores(self.ranks, states).detach()

    @torch.no_grad()
    def values(self, histories: Histories, every: bool = False) -> Scores:
        """Q of every item, rows as in ``score``."""
        assert self.critic is not None, "this model has no critic"
        return self.model.scores(self.critic, self._states(histories, every)).detach()

    def _states(self, histories: Histories, every: bool) -> Tensor:
        assert self.causal or not every, "a state that reads what follows it cannot answer for every item"
        if self.query == "mask":
            histories = asked(histories, self.model.vocabulary)
        if every:
            return self.model.states(histories, padding=True).flatten(0, 1)
        return self.model.last_state(histories, self.causal)


def asked(histories: Histories, vocabulary: Vocabulary) -> Histories:
    """The histories [B, S] with a mask token right behind the last item of each, [B, S + 1]."""
    items = torch.nn.functional.pad(histories.items, (0, 1), value=vocabulary.pad)
    behind = last_row(histories.items, vocabulary.pad)
    return histories._replace(items=items.scatter(1, behind[:, None], vocabulary.mask))


def last_row(items: Tensor, pad: int) -> Tensor:
    """[B] the row of ``Model.states`` after the last item of each history [B, S], padded anywhere; 0 for none."""
    slots = torch.arange(items.shape[1] + 1, device=items.device)
    # The start token in front counts as a slot that is always real.
    real = torch.nn.functional.pad(items != pad, (1, 0), value=True)
    return (real * slots).amax(1)
