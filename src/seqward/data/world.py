"""The law of the simulated shop (``simulate.py``): what it sells, and how the next event follows from a history.

Every session is drawn from this law, which reads nothing but the session's own history, so the best possible
recommender can be computed (``Shop.true_probabilities``):

    first item    popularity (Zipf-Mandelbrot over the catalogue)
    next item     with probability ``repeat`` an event of the history, drawn by its age; else an item not seen yet:
                  one that is related to, or of the cluster of, or of the next cluster after, an item of the history
                  (drawn by its age: taste drifts), or any item by popularity
    its event     a view; of an item that was viewed and is not in the cart, a cart with probability
                  ``cart_again * value``; of an item in the cart, a purchase with probability ``purchases``; of an item
                  that is new to the session, a cart with probability ``cart_first * value``

``value`` is a number per item: which items end in a cart. With ``value=0`` it is 1 for all, and rewards tell a
recommender nothing about items; what is left is the funnel itself (only what was viewed before is likely to be bought).

The preset ``retailrocket`` has the proportions of the RetailRocket log after the filters of Xin et al. 2020: 195,523
sessions, 70,852 items, 1,176,680 views, 57,269 carts, 36 % of views and 69 % of carts repeating an item of the session.
As in that log, events are named ``view`` and ``addtocart``, and purchases are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqward.errors import SeqwardError, did_you_mean

VIEW, CART, PURCHASE = 0, 1, 2
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ShopSettings:
    """The dials of the shop. Shares and probabilities lie in [0, 1]."""

    mean_length: float = 6.31
    """Events a session, on average."""
    min_length: int = 3
    max_length: int = 500
    tail: float = 2.8
    """Lengths fall as (length + c) ** -tail; c makes the mean right."""
    repeats: float = 0.375
    """Share of all events, first ones included, whose item is in the session's history."""
    recency: float = 2.0
    """A repeat of the event ``age`` events ago has weight age ** -recency."""
    memory: float = 1.0
    """The same for the item of the history that a new item is drawn from."""
    related: float = 0.3
    """Share of new items that are one of the ``links`` related items of an item of the history."""
    cluster: float = 0.3
    """Share that come from the same cluster, by popularity."""
    drift: float = 0.1
    """Share that come from the next cluster. What is left of 1 is any item by popularity: noise."""
    links: int = 4
    cluster_size: int = 50
    zipf: float = 0.8
    """Popularity of the item of rank r (from 1) is (r + .0001 * items) ** -zipf."""
    carts: float = 0.08
    """Carts as a share of all events."""
    repeated_carts: float = 1.0
    """Share of the carts whose item was seen before in the session."""
    purchases: float = 0.6
    """Probability that an item in the cart is bought when the session comes back to it."""
    value: float = 1.0
    """Standard deviation of the logarithm of the items' value; half of its variance is the cluster's."""
    days: int = 137
    """Sessions start uniformly over so many days."""
    event_names: tuple[str, str, str] = ("view", "cart", "purchase")


RETAILROCKET_SESSIONS, RETAILROCKET_ITEMS = 195_523, 70_852
_VIEWS, _CARTS = 1_176_680, 57_269
PRESETS = {
    "retailrocket": ShopSettings(
        mean_length=(_VIEWS + _CARTS) / RETAILROCKET_SESSIONS,
        repeats=(0.36 * _VIEWS + 0.69 * _CARTS) / (_VIEWS + _CARTS),
        carts=_CARTS / (_VIEWS + _CARTS),
        repeated_carts=0.69,
        purchases=0.0,
        zipf=0.6,
        event_names=("view", "addtocart", "transaction"),
    )
}


@dataclass(frozen=True, eq=False)
class World:
    """What generates the log. Items are 0 .. items - 1, in an order that carries no meaning."""

    settings: ShopSettings
    popularity: Floats
    """[items] sums to 1."""
    cluster_of: Ints
    """[items]"""
    links: Ints
    """[items, links] related items; one that stands there twice counts twice."""
    value: Floats
    """[items] factor on the probability of a cart; exp of a normal number."""
    repeat: float
    """Probability that an event after the first repeats one of the history."""
    cart_first: float = 0.0
    """Probability that an event of a new item of value 1 is a cart. Solved so that the log has its share of carts."""
    cart_again: float = 0.0
    """The same for an item viewed before."""

    @property
    def n_items(self) -> int:
        return len(self.popularity)

    @cached_property
    def members(self) -> Ints:
        """[items] the items, cluster after cluster."""
        return np.argsort(self.cluster_of, kind="stable")

    @cached_property
    def bounds(self) -> Ints:
        """[clusters + 1] where each cluster begins in ``members``."""
        return np.concatenate([[0], np.cumsum(np.bincount(self.cluster_of))])

    @cached_property
    def cumulative(self) -> Floats:
        """[items + 1] popularity summed along ``members``."""
        return np.concatenate([[0.0], np.cumsum(self.popularity[self.members])])

    @cached_property
    def routes(self) -> Floats:
        """[4] cumulative shares of the ways to a new item: related, cluster, drift, anywhere."""
        s = self.settings
        return np.cumsum([s.related, s.cluster, s.drift, max(0.0, 1 - s.related - s.cluster - s.drift)])

    def draw(self, first: Ints, stop: Ints, rng: np.random.Generator) -> Ints:
        """One item by popularity out of each ``members[first:stop]``."""
        low, high = self.cumulative[first], self.cumulative[stop]
        place = np.searchsorted(self.cumulative, low + rng.random(len(first)) * (high - low), side="right") - 1
        return self.members[np.clip(place, first, stop - 1)]

    def draw_cluster(self, cluster: Ints, rng: np.random.Generator) -> Ints:
        return self.draw(self.bounds[cluster], self.bounds[cluster + 1], rng)

    def draw_after(self, anchor: Ints, rng: np.random.Generator) -> Ints:
        """One item that follows from each item of ``anchor``, which may be one that the session has seen."""
        route = np.searchsorted(self.routes[:-1], rng.random(len(anchor)), side="right")
        drawn = self.draw(np.zeros_like(anchor), np.full_like(anchor, self.n_items), rng)
        is_link, is_cluster, is_drift = (route == way for way in range(3))
        drawn[is_link] = self.links[anchor[is_link], rng.integers(self.settings.links, size=is_link.sum())]
        drawn[is_cluster] = self.draw_cluster(self.cluster_of[anchor[is_cluster]], rng)
        drawn[is_drift] = self.draw_cluster(self.after(self.cluster_of[anchor[is_drift]]), rng)
        return drawn

    def after(self, cluster: Any) -> Any:
        """The cluster that taste drifts to."""
        return (cluster + 1) % (len(self.bounds) - 1)

    def taste(self, history: Ints) -> Floats:
        """[items] probability of each item as the next new one; 0 where it is in the history; all 0 if none is left."""
        shares = np.diff(self.routes, prepend=0.0)
        weights = age_weights(len(history), self.settings.memory)[::-1]
        chances = shares[3] * self.popularity
        np.add.at(chances, self.links[history], (shares[0] * weights / self.settings.links)[:, None])
        for cluster, weight in zip(self.cluster_of[history], weights, strict=True):
            for share, of in ((shares[1], cluster), (shares[2], self.after(cluster))):
                inside = self.members[self.bounds[of] : self.bounds[of + 1]]
                chances[inside] += share * weight * self.popularity[inside] / self.popularity[inside].sum()
        chances[history] = 0.0
        return chances / chances.sum() if chances.any() else chances


def make_world(settings: ShopSettings, items: int, rng: np.random.Generator) -> World:
    """Popularity, clusters, related items and values; the same for every dial that changes none of them."""
    clusters = max(1, round(items / settings.cluster_size))
    by_rank = (np.arange(1, items + 1) + 0.0001 * items) ** -settings.zipf
    spread = rng.normal(size=clusters), rng.normal(size=items)
    cluster_of = rng.permutation(np.arange(items) % clusters)
    world = World(
        settings=settings,
        popularity=(by_rank / by_rank.sum())[rng.permutation(items)],
        cluster_of=cluster_of,
        links=np.empty((items, 0), dtype=np.int64),
        value=np.exp(settings.value * (spread[0][cluster_of] + spread[1]) / np.sqrt(2)),
        repeat=settings.repeats * settings.mean_length / (settings.mean_length - 1),
    )
    links = [world.draw_cluster(cluster_of, rng) for _ in range(settings.links)]
    return replace(world, links=np.stack(links, axis=1))


def age_weights(n: int, exponent: float) -> Floats:
    """[n] weight of the events 1 .. n ago; sums to 1."""
    weights = np.arange(1.0, n + 1) ** -exponent
    return weights / weights.sum()


def shop_settings(preset: str | None, changes: dict[str, Any]) -> ShopSettings:
    if preset is not None and preset not in PRESETS:
        raise SeqwardError(f"No preset {preset!r}. There is: {', '.join(PRESETS)}.{did_you_mean(preset, PRESETS)}")
    known = {field.name for field in fields(ShopSettings)}
    for name in changes.keys() - known:
        raise SeqwardError(f"The shop has no dial {name!r}.{did_you_mean(name, known)}")
    settings = replace(PRESETS[preset] if preset else ShopSettings(), **changes)
    _check(settings)
    return settings


def _check(settings: ShopSettings) -> None:
    s = settings
    for name in ("repeats", "related", "cluster", "drift", "carts", "repeated_carts", "purchases"):
        if not 0 <= getattr(s, name) <= 1:
            raise SeqwardError(f"{name} must lie between 0 and 1, not at {getattr(s, name)}.")
    if s.related + s.cluster + s.drift > 1 + 1e-9:
        raise SeqwardError("related + cluster + drift must be at most 1: they are shares of the new items.")
    if not 1 < s.min_length < s.mean_length < s.max_length:
        raise SeqwardError(
            f"Expected 1 < min_length < mean_length < max_length, not {s.min_length}, {s.mean_length}, {s.max_length}."
        )
    most = 1 - 1 / s.mean_length
    if s.repeats > most:
        raise SeqwardError(f"repeats must be at most {most:.3f}, not {s.repeats}: the first event of a session is new.")
    if min(s.links, s.cluster_size, s.days) < 1 or s.value < 0 or s.tail <= 1:
        raise SeqwardError("links, cluster_size and days must be at least 1, value at least 0, and tail above 1.")
