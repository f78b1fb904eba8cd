"""One training step as loss terms see it: they ask, and each thing is computed once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from seqward.augment import Augment
from seqward.catalogue import Best, Scores
from seqward.data.batches import Batch
from seqward.errors import SeqwardError
from seqward.model import Histories, Model, last_row
from seqward.randomness import generator_of, seeded

T = TypeVar("T")
REDRAWS = 30


class Step:
    """What a loss term may ask about one batch, packed to its n counted events. Serves one backward pass.

    Everything is computed at most once and in the gradient mode the Step was made in, whoever asks first. Gradient
    flows through ``now``, ``logged``, ``nll``, ``state`` and ``view``; ``next`` and ``target_*`` give detached scores.
    """

    def __init__(self, online: Model, target: Model, batch: Batch, seed: int, number: int) -> None:
        """Args: number: the step's number, which with ``seed`` fixes dropout, augmentation and negatives."""
        self.online, self.target, self.batch = online, target, batch
        self.seed, self.number = seed, number
        self.grad = torch.is_grad_enabled()
        self._cache: dict[tuple, object] = {}

    @property
    def action(self) -> Tensor:
        """[n] the logged item."""
        return self.column("item")

    @property
    def reward(self) -> Tensor:
        """[n] its reward."""
        return self.column("reward")

    @property
    def live(self) -> Tensor:
        """[n] 1, and 0 where the session ends with the event."""
        return self.column("live")

    def column(self, name: str) -> Tensor:
        """[n] a column of the data set at the counted events."""
        return self._once(("column", name), lambda: self.batch.column(name))

    def now(self, head: str) -> Scores:
        """Online scores of the states before the events."""
        return self._once(("now", head), lambda: self.online.scores(head, self._packed(0)))

    def logged(self, head: str) -> Tensor:
        """[n] online scores of the logged items: what several terms ask, and one backward pass answers."""
        return self._once(("logged", head), lambda: self.now(head).at(self.action))

    def next(self, head: str) -> Scores:
        """Online scores of the states after the events, detached."""
        return self._once(("next", head), lambda: self.online.scores(head, self._packed(1)).detach())

    def greedy(self, head: str) -> Best:
        """The online network's best item at the states after the events, [n]."""
        return self._once(("greedy", head), lambda: self.next(head).max())

    def target_now(self, head: str) -> Scores:
        """The target network's scores of the states before the events, detached."""
        return self._once(("target_now", head), lambda: self.target.scores(head, self._target_packed(0)).detach())

    def target_next(self, head: str) -> Scores:
        """The target network's scores of the states after the events, detached."""
        return self._once(("target_next", head), lambda: self.target.scores(head, self._target_packed(1)).detach())

    def nll(self, head: str, temperature: float = 1.0) -> Tensor:
        """[n] negative log-likelihood of the logged item under a head's softmax over the whole catalogue."""
        return self._once(("nll", head, temperature), lambda: self.now(head).nll(self.action, temperature))

    def state(self) -> Tensor:
        """[B, width] one online state a piece: after its last event (before it, where transitions are drawn)."""
        pieces = torch.arange(len(self.batch.end), device=self.batch.end.device)
        return self._once(("state",), lambda: self._states()[pieces, self.batch.end])

    def view(self, name: str, augment: Augment, same_row: bool = False) -> Tensor:
        """[B, width] ``state`` of the histories augmented, with fresh dropout: the state after the last item left.

        Args:
            same_row: read the row of the unchanged history instead, though it may have become padding: as released.
        """
        return self._once(("view", name), lambda: self._view(name, augment, same_row))

    def negatives(self, k: int) -> Tensor:
        """[n, k] items drawn uniformly from those that the session does not hold, with replacement.

        A session that holds the whole catalogue draws from all items but the logged one.

        Raises:
            SeqwardError: the catalogue has one item.
        """
        return self._once(("negatives", k), lambda: self._negatives(k))

    def _once(self, key: tuple, compute: Callable[[], T]) -> T:
        if key not in self._cache:
            with torch.set_grad_enabled(self.grad):
                self._cache[key] = compute()
        return self._cache[key]  # type: ignore[return-value]

    def _states(self) -> Tensor:
        return self._once(("states",), lambda: self._encode("online", self.online, self.batch.items))

    def _target_states(self) -> Tensor:
        with torch.no_grad():
            return self._encode("target", self.target, self.batch.items)

    def _packed(self, offset: int) -> Tensor:
        return self._once(("packed", offset), lambda: self._states()[self.batch.piece, self.batch.row + offset])

    def _target_packed(self, offset: int) -> Tensor:
        states = self._once(("target states",), self._target_states)
        return states[self.batch.piece, self.batch.row + offset]

    def _encode(self, name: str, model: Model, items: Tensor) -> Tensor:
        # Dropout takes no generator; it draws from the global stream.
        with seeded(self.seed, self.number, f"dropout {name}", items.device):
            return model.states(Histories(items)).float()

    def _view(self, name: str, augment: Augment, same_row: bool) -> Tensor:
        end, pad = self.batch.end, self.online.pad
        items = self.batch.items[:, : int(end.max())]
        slot = torch.arange(items.shape[1], device=items.device)
        history = torch.where(slot < end[:, None], items, pad)
        generator = generator_of(self.seed, self.number, f"augment {name}", items.device)
        changed = augment(history, generator, pad)
        states = self._encode(f"view {name}", self.online, changed)
        return states[torch.arange(len(end), device=end.device), end if same_row else last_row(changed, pad)]

    def _negatives(self, k: int) -> Tensor:
        data, session = self.batch.data, self.column("session")
        generator = generator_of(self.seed, self.number, "negatives", session.device)

        def draw(count: int) -> Tensor:
            return torch.randint(data.n_items, (count,), generator=generator, device=session.device)

        items = draw(len(session) * k).view(len(session), k)
        for _ in range(REDRAWS):
            met = data.met(session, items)
            if not bool(met.any()):
                return items
            items[met] = draw(int(met.sum()))
        return self._outside(session, items, generator)

    def _outside(self, session: Tensor, items: Tensor, generator: torch.Generator) -> Tensor:
        """Where redrawing did not end (sessions that hold most of the catalogue): draw from what is left."""
        data = self.batch.data
        everything = torch.arange(data.n_items, device=items.device)
        for row in data.met(session, items).any(1).nonzero()[:, 0].tolist():
            left = everything[~data.met(session[row : row + 1], everything[None])[0]]
            if not len(left):  # the session holds everything: then what was not chosen at this event
                left = everything[everything != self.action[row]]
            if not len(left):
                raise SeqwardError("the catalogue has one item, so there is no other to draw. Prepare a log with more.")
            items[row] = left[torch.randint(len(left), items[row].shape, generator=generator, device=items.device)]
        return items
