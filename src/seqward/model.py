"""A backbone and its heads: from histories to states, and from states to scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn

from seqward.catalogue import Scores, scores_of


class Histories(NamedTuple):
    """What a scorer reads. Facts of the events beside the items get fields here, so that no signature grows."""

    items: Tensor
    """[B, S] int64 item numbers; ``n_items`` (the pad) where there is nothing."""


class Scorer(Protocol):
    """What evaluation and serving see, of a trained network and of a parameter-free method alike."""

    context: int | None
    """How many of the last items are read; None for all of them."""

    def score(self, histories: Histories, every: bool = False) -> Scores:
        """Scores for the next item.

        Args:
            histories: B histories of at most ``context`` items.
            every: False for one row a history, the state after its last item. True for [B * (S + 1)] rows, where row
                ``b * (S + 1) + j`` is the state after the first j items; histories are then padded on the right only.
        """
        ...


class Backbone(Protocol):
    """Histories to states. An nn.Module; knows no session and no loss."""

    @property
    def width(self) -> int: ...
    @property
    def context(self) -> int:
        """How many items it reads."""
        ...

    def __call__(self, items: Tensor, causal: bool = True) -> Tensor:
        """[B, S] tokens -> [B, S, width]; slot j has read slots 0 .. j; padding may stand anywhere, never attended."""
        ...


class Model(nn.Module):
    """A backbone behind a start token, and named heads.

    Tokens are the items 0 .. n_items - 1, the pad ``n_items`` and the start token ``n_items + 1``.
    """

    def __init__(
        self,
        backbone: Callable[[int, int], nn.Module],
        heads: Mapping[str, Callable[[nn.Module, int], nn.Module]],
        n_items: int,
        engine: str = "auto",
    ) -> None:
        """Build the parts.

        Args:
            backbone: (n_tokens, pad) -> module.
            heads: name -> ((backbone, n_items) -> module).
            engine: which engine answers for the catalogue, see ``scores_of``.
        """
        super().__init__()
        self.n_items, self.engine = n_items, engine
        self.pad, self.start = n_items, n_items + 1
        self.backbone = backbone(n_items + 2, self.pad)
        self.heads = nn.ModuleDict({name: head(self.backbone, n_items) for name, head in heads.items()})

    @property
    def context(self) -> int:
        return cast(Backbone, self.backbone).context

    def states(self, histories: Histories) -> Tensor:
        """[B, S] items -> [B, S + 1, width]: row t stands after the first t slots, row 0 after none."""
        start = histories.items.new_full((len(histories.items), 1), self.start)
        return self.backbone(torch.cat([start, histories.items], dim=1))

    def scores(self, head: str, states: Tensor) -> Scores:
        """Scores of a head for states [n, width]."""
        weight, bias = self.heads[head](self.backbone)
        return scores_of(states, weight, bias, self.engine)

    def mixed_scores(self, shares: Mapping[str, float], states: Tensor) -> Scores:
        """The sum of heads' scores, each times its share: heads are linear, so theirs is a head too."""
        rows = [(share, *self.heads[head](self.backbone)) for head, share in shares.items()]
        weight = torch.stack([share * weight for share, weight, _ in rows]).sum(0)
        biases = [share * bias for share, _, bias in rows if bias is not None]
        return scores_of(states, weight, torch.stack(biases).sum(0) if biases else None, self.engine)


class NetworkScorer:
    """A trained model as evaluation and serving see it: no gradient, no dropout."""

    def __init__(self, model: Model, ranks: Mapping[str, float], critic: str | None = None, gamma: float = 0.0) -> None:
        """Wrap a model.

        Args:
            ranks: the heads that rank, with the share of each.
            critic: the head of Q, if any.
            gamma: the critic's discount.
        """
        self.model = model.eval()
        self.ranks, self.critic, self.gamma = ranks, critic, gamma
        self.context: int | None = model.context

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
        states = self.model.states(histories)
        if every:
            return states.flatten(0, 1)
        return states[torch.arange(len(states), device=states.device), last_row(histories.items, self.model.pad)]


def last_row(items: Tensor, pad: int) -> Tensor:
    """[B] the row of ``Model.states`` after the last item of each history [B, S], padded anywhere; 0 for none."""
    slots = torch.arange(items.shape[1] + 1, device=items.device)
    # The start token in front counts as a slot that is always real.
    real = torch.nn.functional.pad(items != pad, (1, 0), value=True)
    return (real * slots).amax(1)
