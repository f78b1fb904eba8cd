"""Data sets made by hand, and planted worlds whose best policy and Q-values are known in closed form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqward.data.dataset import TEST, TRAIN, VALIDATION, Dataset
from seqward.evaluate import outcomes, ranks_of
from seqward.metrics import Outcomes
from seqward.model import Scorer
from seqward.reading import targets

Floats = NDArray[np.float64]


def ranks(
    scorer: Scorer, data: Dataset, split: str, *, first_events: bool = True, exclude_history: bool = False
) -> Outcomes:
    """What happens at every event of a split."""
    wanted = targets(data, split, first_events=first_events)
    return outcomes(data, wanted, ranks_of(scorer, wanted, exclude_history=exclude_history))


def data_of(
    sessions: Sequence[Sequence[int]],
    n_items: int,
    *,
    rewards: Sequence[Sequence[float]] | None = None,
    splits: Sequence[Sequence[int]] | None = None,
    item_ids: Sequence[int | str] | None = None,
    users: Sequence[str] | None = None,
) -> Dataset:
    """Sessions of item numbers as a data set; rewards are 1 and everything is training unless said otherwise.

    Items get the ids "i0", "i1", ...; sessions "s0", "s1", ...; items from ``n_items`` on are outside the vocabulary.
    """
    item = np.array([i for session in sessions for i in session], dtype=np.int32)
    reward = np.ones(len(item)) if rewards is None else np.array([r for session in rewards for r in session])
    ids = item_ids or [f"i{i}" for i in range(max(n_items, item.max(initial=0) + 1))]
    split = [TRAIN] * len(item) if splits is None else [s for session in splits for s in session]
    return Dataset(
        item=item,
        reward=reward.astype(np.float32),
        goal=reward >= 1,
        event_type=(reward >= 1).astype(np.int16),
        split=np.array(split, dtype=np.uint8),
        offsets=np.cumsum([0, *map(len, sessions)]),
        item_ids=np.array(ids, dtype=np.int64 if isinstance(ids[0], int) else object),
        n_items=n_items,
        session_ids=np.array([f"s{s}" for s in range(len(sessions))], dtype=object),
        user_ids=None if users is None else np.array(users, dtype=object),
        event_types=("view", "buy"),
        protocol={"source": "made up"},
    )


def split_by_session(data: Dataset, validation: int, test: int = 0) -> Dataset:
    """The same data with its last sessions as validation and test."""
    kinds = np.full(data.n_sessions, TRAIN, dtype=np.uint8)
    kinds[data.n_sessions - validation - test :] = VALIDATION
    kinds[data.n_sessions - test :] = TEST
    return Dataset(**{**data.__dict__, "split": np.repeat(kinds, np.diff(data.offsets))})


def random_sessions(n: int, n_items: int, longest: int, seed: int = 0) -> list[list[int]]:
    """Sessions of 1 to ``longest`` uniform items."""
    draw = np.random.default_rng(seed)
    return [draw.integers(n_items, size=draw.integers(1, longest + 1)).tolist() for _ in range(n)]


@dataclass(frozen=True)
class Ring:
    """Item i is followed by i + 1 (mod n) with probability 1 - noise, else by any item; the first is any item."""

    n_items: int
    noise: float

    def sessions(self, n: int, length: int, seed: int = 0) -> NDArray[np.int64]:
        """[n, length]"""
        draw = np.random.default_rng(seed)
        items = draw.integers(self.n_items, size=(n, length))
        follows = draw.random((n, length)) >= self.noise
        for t in range(1, length):
            items[:, t] = np.where(follows[:, t], (items[:, t - 1] + 1) % self.n_items, items[:, t])
        return items

    def best_hits(self, sessions: NDArray[np.int64]) -> float:
        """HR@1 of the best policy on the events after the first: it always says i + 1."""
        return float(((sessions[:, :-1] + 1) % self.n_items == sessions[:, 1:]).mean())


@dataclass(frozen=True)
class Mdp:
    """The state is the last item (n_items before any); action a leads to state a and pays ``reward[state, a]``.

    After each event the session goes on with probability ``survival``. What is logged is uniformly random.
    """

    reward: Floats
    """[n_items + 1, n_items] mean reward"""
    survival: float
    noise: float = 0.0
    """A reward is its mean plus or minus this, by a fair coin."""

    @property
    def n_items(self) -> int:
        return self.reward.shape[1]

    def q_star(self, gamma: float) -> Floats:
        """[n_items + 1, n_items] by iterating Q(s, a) = r(s, a) + gamma * survival * max_b Q(a, b)."""
        q = np.zeros_like(self.reward)
        for _ in range(500):
            q = self.reward + gamma * self.survival * q[: self.n_items].max(1)
        return q

    def log(self, n_sessions: int, seed: int = 0) -> Dataset:
        sessions, rewards = zip(*self._draw(n_sessions, np.random.default_rng(seed)), strict=True)
        return data_of(sessions, self.n_items, rewards=rewards)

    def _draw(self, n_sessions: int, draw: np.random.Generator) -> Iterator[tuple[list[int], list[float]]]:
        for length in draw.geometric(1 - self.survival, n_sessions):
            items = draw.integers(self.n_items, size=length)
            states = np.concatenate([[self.n_items], items[:-1]])
            coins = draw.choice([-self.noise, self.noise], size=length)
            yield items.tolist(), (self.reward[states, items] + coins).tolist()


@dataclass(frozen=True)
class Fork:
    """After item 0 comes 1 (``often`` of the time) and then 3, or else 2 and then 4, which pays ``prize``; all else .2.

    What is clicked most is 1; what is worth most is 2 where the prize is high, and nothing else where it is .2.
    """

    often: float = 0.7
    prize: float = 1.0

    def log(self, n_sessions: int, seed: int = 0) -> Dataset:
        left = np.random.default_rng(seed).random(n_sessions) < self.often
        sessions = [[0, 1, 3] if way else [0, 2, 4] for way in left]
        return data_of(sessions, 5, rewards=[[0.2, 0.2, self.prize if s[2] == 4 else 0.2] for s in sessions])
