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


class NetworkScorer:
    """A trained model as evaluation and serving see it: no gradient, no dropout."""

    def __init__(self, model: Model, ranks: str = "policy", values: str | None = None, gamma: float = 0.0) -> None:
        """Args: ranks: the head that ranks; values: the head of the critic, if any; gamma: the critic's discount."""
        self.model = model.eval()
        self.ranks, self.critic, self.gamma = ranks, values, gamma

    @property
    def context(self) -> int:
        return self.model.context

    @property
    def n_items(self) -> int:
        return self.model.n_items

    def score(self, histories: Histories, every: bool = False) -> Scores:
        return self.scores_of_head(self.ranks, histories, every)

    def values(self, histories: Histories, every: bool = False) -> Scores:
        """Q of every item, rows as in ``score``."""
        assert self.critic is not None, "this model has no critic"
        return self.scores_of_head(self.critic, histories, every)

    def scores_of_head(self, head: str, histories: Histories, every: bool = False) -> Scores:
        """Scores of any head, rows as in ``score``."""
        with torch.no_grad():
            states = self.model.states(histories)
            if every:
                states = states.flatten(0, 1)
            else:
                slots = torch.arange(1, histories.items.shape[1] + 1, device=states.device)
                last = (
                    ((histories.items != self.model.pad) * slots).amax(1)
                    if len(slots)
                    else slots.new_zeros(len(states))
                )
                states = states[torch.arange(len(states), device=states.device), last]
            return self.model.scores(head, states).detach()
