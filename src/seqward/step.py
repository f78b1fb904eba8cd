"""One training step as loss terms see it: they ask, and each thing is computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from seqward.augment import Augment, segment
from seqward.backbones.backbone import Histories
from seqward.catalogue import LinearScores
from seqward.catalogue.sampled import Candidates, Events, Sampling, Sums, candidates
from seqward.data.batches import Batch
from seqward.errors import SeqwardError
from seqward.model import Model, last_row
from seqward.randomness import generator_of, seeded

T = TypeVar("T")
REDRAWS = 30
UNASKED = -2
"""In place of a state's best item, which is -1 where there is none."""
Outside = Literal["session", "action"]
"""What a negative may not be: any item of the session, or the logged item only."""


class Cloze(NamedTuple):
    """Hidden slots of the batch: scores of the states there, and the items that stood there, [slots]."""

    scores: Sums
    items: Tensor


class Segments(NamedTuple):
    """Two readings of each piece, [B, width] each."""

    context: Tensor
    """The state of what is left around the hidden segment."""
    segment: Tensor
    """The state of the segment alone."""


class Step:
    """What a loss term may ask about one batch, packed to its n counted events. Serves one backward pass.

    Everything is computed at most once and in the gradient mode the Step was made in, whoever asks first. Gradient
    flows through ``now``, ``logged``, ``unlogged``, ``nll``, ``columns``, ``value``, ``pairs``, ``state``, ``view``,
    ``cloze`` and ``segments``; ``next``, ``next_value`` and ``target_*`` are detached.
    """

    def __init__(
        self,
        online: Model,
        target: Model,
        batch: Batch,
        seed: int,
        number: int,
        wanted: float | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        """Set the stage.

        Args:
            number: the step's number, which with ``seed`` fixes dropout, augmentation and negatives.
            wanted: tell the backbone the return that followed, discounted by so much; None to tell nothing.
            sampling: how ``nll`` sums over the catalogue; None for all of it.
        """
        self.online, self.target, self.batch = online, target, batch
        self.seed, self.number, self.wanted, self.sampling = seed, number, wanted, sampling
        self.grad = torch.is_grad_enabled()
        self._cache: dict[tuple, object] = {}

    @contextmanager
    def items_dropped(self, rate: float) -> Iterator[None]:
        """Have both networks read item embeddings of which a share ``rate`` of the elements is dropped."""
        with ExitStack() as inside:
            for model, name in {self.target: "target", self.online: "online"}.items() if rate else ():
                with seeded(self.seed, self.number, f"item dropout {name}", self.batch.items.device):
                    inside.enter_context(model.items_dropped(rate))
            yield

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

    def returns(self, gamma: float) -> Tensor:
        """[n] discounted rewards from the event to the end of its session."""
        return self._once(("returns", gamma), lambda: self.batch.data.returns(gamma)[self.batch.event])

    def ahead(self, steps: int) -> Tensor:
        """[n] int64, ``steps``, or as many events as the piece has from the event on, itself among them, if fewer."""
        return self._once(("ahead",), self._left).clamp(max=steps)

    def live_after(self, steps: int) -> Tensor:
        """[n] 1, and 0 where the session ends within ``ahead(steps)`` events."""
        return self.batch.data.live(self.batch.event + self.ahead(steps) - 1)

    @property
    def popularity(self) -> Tensor:
        """[n] the logged item's share of the training events."""
        return self.batch.data.popularity[self.action]

    def states(self) -> Tensor:
        """[n, width] online states before the events."""
        return self._packed(0)

    def now(self, head: str) -> LinearScores:
        """Online scores of the states before the events."""
        return self._once(("now", head), lambda: self.online.scores(head, self._packed(0)))

    def logged(self, head: str) -> Tensor:
        """[n] online scores of the logged items: what several terms ask, and one backward pass answers."""
        return self._once(("logged", head), lambda: self.now(head).at(self.action))

    def unlogged(self, head: str, k: int, outside: Outside = "session") -> Tensor:
        """[n, k] online scores of ``negatives``, shared by the terms as ``logged`` is."""
        return self._once(("unlogged", head, k, outside), lambda: self.now(head).at(self.negatives(k, outside)))

    def next(self, head: str, steps: int = 1) -> LinearScores:
        """Online scores of the states after the events, or ``ahead(steps)`` events on, detached."""
        return self._once(("next", head, steps), lambda: self.online.scores(head, self._packed(steps)).detach())

    def greedy(self, head: str, steps: int = 1) -> Tensor:
        """[n] the online network's best item ``ahead(steps)`` events on, at the states of ``next``; before them with 0.

        The catalogue is asked once about a state, which stands after one event and before another.
        """
        return self._once(("greedy", head, steps), lambda: self._greedy(head, steps))

    def target_now(self, head: str) -> LinearScores:
        """The target network's scores of the states before the events, detached."""
        return self._once(("target_now", head), lambda: self.target.scores(head, self._target_packed(0)).detach())

    def target_next(self, head: str, steps: int = 1) -> LinearScores:
        """The target network's scores of the states of ``next``, detached."""
        key = ("target_next", head, steps)
        return self._once(key, lambda: self.target.scores(head, self._target_packed(steps)).detach())

    def nll(self, head: str, temperature: float = 1.0, and_greedy: bool = False) -> Tensor:
        """[n] negative log-likelihood of the logged item under a head's softmax over the whole catalogue.

        An estimate where the run samples its sums.

        Args:
            and_greedy: find the answers of ``greedy`` in the same pass, for who asks later. Not where sums are sampled,
                nor in drawn transitions, where no state stands before one event and after another.
        """
        return self._once(("nll", head, temperature), lambda: self._nll(head, temperature, and_greedy))

    def surprise(self, head: str) -> Tensor:
        """``nll`` for its value: what a weight asks.

        Raises:
            SeqwardError: the run sums by buckets, which is no estimate of a probability.
        """
        if self.sampling is not None and self.sampling.proposal == "sce":
            raise SeqwardError(
                "a weight of this method is a probability, and train.softmax=sce estimates none. Take mixed or uniform."
            )
        return self.nll(head)

    @property
    def heads_asked(self) -> set[str]:
        """The heads that anybody has asked so far."""
        return {key[1] for key in self._cache if len(key) > 1 and key[1] in self.online.heads}

    @property
    def has_summed(self) -> bool:
        """Whether anybody has asked for a sum over the catalogue."""
        return any(key[0] in ("nll", "cloze") for key in self._cache)

    @property
    def contrasted(self) -> Tensor:
        """[pieces] the session of each, for a term that tells it from the others'."""
        return self._once(("contrasted",), lambda: self.batch.sessions)

    @property
    def has_contrasted(self) -> bool:
        """Whether a term that tells sessions apart has been asked."""
        return any(key[0] == "contrasted" for key in self._cache)

    def columns(self, head: str, items: Tensor) -> Tensor:
        """[n, k] online scores of the same items [k] in every row."""
        return self.online.columns(head, self._packed(0), items)

    def value(self, head: str) -> Tensor:
        """[n] what an online value head says of the states before the events."""
        return self._once(("value", head), lambda: self.online.value(head, self._packed(0)))

    def next_value(self, head: str, steps: int = 1) -> Tensor:
        """[n] the same of the states of ``next``, detached."""
        return self._once(("next_value", head, steps), lambda: self.online.value(head, self._packed(steps)).detach())

    def pairs(self, head: str, items: Tensor) -> Tensor:
        """What an online pair head says of the states before the events and items [n] or [n, k], in their shape.

        The states are detached: a judge of the encoder's states does not shape them.
        """
        return self.online.pairs(head, self._packed(0).detach(), items)

    def samples(self, head: str, k: int, temperature: float = 1.0) -> Tensor:
        """[n, k] items drawn from an online head's softmax at the states before the events."""
        name = "samples" if temperature == 1.0 else f"samples at {temperature}"

        def draw() -> Tensor:
            scores = self.now(head) if temperature == 1.0 else self.online.scores(head, self._packed(0), temperature)
            return self._drawn(name, head, k, scores)

        return self._once((name, head, k), draw)

    def next_samples(self, head: str, k: int, steps: int = 1) -> Tensor:
        """[n, k] items drawn from an online head's softmax at the states of ``next``."""
        key = ("next_samples", head, k, steps)
        return self._once(key, lambda: self._drawn("next_samples", head, k, self.next(head, steps)))

    def _drawn(self, name: str, head: str, k: int, scores: LinearScores) -> Tensor:
        generator = generator_of(self.seed, self.number, f"{name} {head}", self.batch.items.device)
        return scores.detach().sample(k, generator)

    def cloze(self, head: str, share: float, last: float = 0.0) -> Cloze:
        """Hide a share of each piece's items behind the mask token, at least one, and read every slot from all others.

        BERT4Rec (Sun et al. 2019, section 3.6). Its rows are the hidden slots, not the counted events.

        Args:
            last: share of the pieces of which the last item is hidden and no other.
        """
        return self._once(("cloze", head, share, last), lambda: self._cloze(head, share, last))

    def segments(self) -> Segments:
        """Hide a segment of each piece's history behind mask tokens, and all but the segment; read both from all slots.

        S3-Rec (Zhou et al. 2020), segment prediction. Both states are taken after the last slot of the history. A
        history of one item is its own segment, and nothing of it is hidden.
        """
        return self._once(("segments",), self._segments)

    def state(self) -> Tensor:
        """[B, width] one online state a piece: after its last event (before it, where transitions are drawn)."""
        pieces = torch.arange(len(self.batch.end), device=self.batch.end.device)
        return self._once(("state",), lambda: self._states()[pieces, self.batch.end])

    def view(self, name: str, augment: Augment, same_row: bool = False) -> Tensor:
        """[B, width] ``state`` of the histories augmented, with fresh dropout: the state after the last item left.

        Args:
            name: of the randomness; one augmentation under two names is drawn twice.
            same_row: read the row of the unchanged history instead, though it may have become padding: as released.
        """
        return self._once(("view", name, augment, same_row), lambda: self._view(name, augment, same_row))

    def negatives(self, k: int, outside: Outside = "session") -> Tensor:
        """[n, k] items drawn uniformly, with replacement, from those outside the session, or all but the logged one.

        A session that holds the whole catalogue draws from all items but the logged one.

        Raises:
            SeqwardError: the catalogue has one item.
        """
        return self._once(("negatives", k, outside), lambda: self._negatives(k, outside))

    def shared_negatives(self, k: int) -> Tensor:
        """[k] items drawn uniformly once for the whole batch, with replacement; some may be logged items."""
        return self._once(("shared negatives", k), lambda: self._shared_negatives(k))

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

    def _packed(self, steps: int) -> Tensor:
        return self._once(("packed", steps), lambda: self._states()[self.batch.piece, self._row(steps)])

    def _target_packed(self, steps: int) -> Tensor:
        states = self._once(("target states",), self._target_states)
        return states[self.batch.piece, self._row(steps)]

    def _nll(self, head: str, temperature: float, and_greedy: bool) -> Tensor:
        if not and_greedy or self.sampling is not None or self.batch.data.draw == "transitions":
            return self._summed(head).nll(self.action, temperature)
        nll, best = self.now(head).nll_and_max(self.action, temperature)
        self._best(head)[self._place(0)] = best.items
        return nll

    def _greedy(self, head: str, steps: int) -> Tensor:
        best, place = self._best(head), self._place(steps)
        asked = place[best[place] == UNASKED].unique()
        if len(asked):
            states = self._states().detach().flatten(0, 1)[asked]
            best[asked] = self.online.scores(head, states).detach().max().items
        return best[place]

    def _best(self, head: str) -> Tensor:
        """[all states] the best item at each of which somebody has asked."""
        states = self._states()
        return self._once(("best", head), lambda: self.batch.piece.new_full((states.shape[:2].numel(),), UNASKED))

    def _place(self, steps: int) -> Tensor:
        """[n] the places among all states of those so many events on."""
        return self.batch.piece * self._states().shape[1] + self._row(steps)

    def _left(self) -> Tensor:
        piece = self.batch.piece  # in order, and all events of a piece behind a counted one are counted
        return torch.searchsorted(piece, piece, right=True) - torch.arange(len(piece), device=piece.device)

    def _row(self, steps: int) -> Tensor:
        return self.batch.row + (steps if steps <= 1 else self.ahead(steps))

    def _encode(self, name: str, model: Model, items: Tensor, causal: bool = True, padding: bool = False) -> Tensor:
        # Dropout takes no generator; it draws from the global stream.
        with seeded(self.seed, self.number, f"dropout {name}", items.device):
            return model.states(self._histories(items), causal, padding).float()

    def _histories(self, items: Tensor) -> Histories:
        wanted = None if self.wanted is None or items is not self.batch.items else self.batch.returns(self.wanted)
        return Histories(items, self.batch.users, wanted)

    def _view(self, name: str, augment: Augment, same_row: bool) -> Tensor:
        end, vocabulary, history = self.batch.end, self.online.vocabulary, self._history()
        generator = generator_of(self.seed, self.number, f"augment {name}", history.device)
        changed = augment(history, generator, vocabulary)
        states = self._encode(f"view {name}", self.online, changed, padding=same_row)
        row = end if same_row else last_row(changed, vocabulary.pad)
        return states[torch.arange(len(end), device=end.device), row]

    def _history(self) -> Tensor:
        """[B, longest] the items of each piece before the row that stands for it, padded."""
        end = self.batch.end
        items = self.batch.items[:, : int(end.max())]
        slot = torch.arange(items.shape[1], device=items.device)
        return torch.where(slot < end[:, None], items, self.online.vocabulary.pad)

    def _segments(self) -> Segments:
        end, vocabulary, history = self.batch.end, self.online.vocabulary, self._history()
        generator = generator_of(self.seed, self.number, "segments", history.device)
        inside = segment(history, generator, vocabulary)
        outside = (history != vocabulary.pad) & ~inside
        hidden = inside & outside.any(1, keepdim=True)

        def state(name: str, hidden: Tensor) -> Tensor:
            masked = torch.where(hidden, vocabulary.mask, history)
            states = self._encode(f"segments {name}", self.online, masked, causal=False)
            return states[torch.arange(len(end), device=end.device), end]

        return Segments(state("context", hidden), state("segment", outside))

    def _summed(self, head: str) -> Sums:
        """Online scores of the states before the events, as sums are taken of them."""
        sampling = self.sampling
        if sampling is None:
            return self.now(head)
        events = Events(self.action, self.column("session"))
        return self._once(("summed", head), lambda: self._sums(sampling, head, self._packed(0), events, "events"))

    def _sums(self, sampling: Sampling, head: str, states: Tensor, events: Events, name: str) -> Sums:
        generator = generator_of(self.seed, self.number, f"candidates {name}", states.device)
        if sampling.proposal == "sce":
            return self.online.bucketed(head, states, sampling.k, generator)

        def draw() -> Candidates:
            data = self.batch.data
            if sampling.proposal == "in-batch" and data.one_session:
                raise SeqwardError(
                    "train.softmax=in-batch compares an event with those of other sessions, and one session is trained "
                    "on. Take uniform."
                )
            return candidates(sampling, events, data.counted_share, generator)

        return self.online.sampled(head, states, self._once(("candidates", name), draw))

    def _cloze(self, head: str, share: float, last: float) -> Cloze:
        items, pad = self.batch.items, self.online.vocabulary.pad
        generator = generator_of(self.seed, self.number, "cloze", items.device)
        draw = torch.rand(items.shape, generator=generator, device=items.device).masked_fill(items == pad, 2.0)
        hidden = (items != pad) & ((draw < share) | (draw == draw.amin(1, keepdim=True)))
        if last:
            slot = torch.arange(items.shape[1], device=items.device)
            ends = slot == last_row(items, pad)[:, None] - 1
            alone = torch.rand(len(items), 1, generator=generator, device=items.device) < last
            hidden = torch.where(alone, ends, hidden)
        masked = torch.where(hidden, self.online.vocabulary.mask, items)
        states = self._encode("cloze", self.online, masked, causal=False)
        piece, slot = hidden.nonzero(as_tuple=True)
        states, items = states[piece, slot + 1], items[piece, slot]
        if self.sampling is None:
            return Cloze(self.online.scores(head, states), items)
        events = Events(items, self.batch.sessions[piece])
        return Cloze(self._sums(self.sampling, head, states, events, "cloze"), items)

    def _shared_negatives(self, k: int) -> Tensor:
        data = self.batch.data
        generator = generator_of(self.seed, self.number, "shared negatives uniform", data.device)
        return torch.randint(data.n_items, (k,), generator=generator, device=data.device)

    def _negatives(self, k: int, outside: Outside) -> Tensor:
        data, session = self.batch.data, self.column("session")
        generator = generator_of(self.seed, self.number, "negatives", session.device)

        def met(items: Tensor) -> Tensor:
            return data.met(session, items) if outside == "session" else items == self.action[:, None]

        def draw(count: int) -> Tensor:
            return torch.randint(data.n_items, (count,), generator=generator, device=session.device)

        items = draw(len(session) * k).view(len(session), k)
        for _ in range(REDRAWS):
            found = met(items)
            if not bool(found.any()):
                return items
            items[found] = draw(int(found.sum()))
        return self._outside(session, items, met(items).any(1), generator, outside)

    def _outside(
        self, session: Tensor, items: Tensor, unfinished: Tensor, generator: torch.Generator, outside: Outside
    ) -> Tensor:
        """Where redrawing did not end (sessions that hold most of the catalogue): draw from what is left."""
        data = self.batch.data
        everything = torch.arange(data.n_items, device=items.device)
        for row in unfinished.nonzero()[:, 0].tolist():
            left = everything[~data.met(session[row : row + 1], everything[None])[0]]
            if outside == "action" or not len(left):  # or the session holds everything
                left = everything[everything != self.action[row]]
            if not len(left):
                raise SeqwardError("the catalogue has one item, so there is no other to draw. Prepare a log with more.")
            items[row] = left[torch.randint(len(left), items[row].shape, generator=generator, device=items.device)]
        return items
