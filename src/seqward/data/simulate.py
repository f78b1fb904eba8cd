"""A simulated shop: an event log whose generating distribution (``world.py``) is known.

shop = simulate(preset="retailrocket", items=5_000, seed=1)
write_log(shop, "shop.csv")
shop.true_probabilities([17, 4, 4])          # of every item to be the next one: no recommender can do better
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from seqward.data.world import (
    CART,
    PURCHASE,
    RETAILROCKET_ITEMS,
    RETAILROCKET_SESSIONS,
    VIEW,
    Floats,
    Ints,
    ShopSettings,
    World,
    age_weights,
    make_world,
    shop_settings,
)
from seqward.errors import SeqwardError

DEFAULT_SIZE = {None: (5_000, 1_000), "retailrocket": (RETAILROCKET_SESSIONS, RETAILROCKET_ITEMS)}
START_MS = 1_430_611_200_000
"""Midnight of 3 May 2015 in UTC, RetailRocket's first day."""
DAY_MS = 86_400_000
REDRAWS = 32
"""How often an item that the session has seen is drawn again before its exact distribution is worked out."""


@dataclass(frozen=True, eq=False)
class Shop:
    """A simulated log and the world that it was drawn from."""

    log: pl.DataFrame
    """session_id, item_id (both integers), event_type, timestamp (ms since 1970), in time order."""
    world: World

    def true_probabilities(self, history: Sequence[int]) -> Floats:
        """[items] probability that each item is the session's next, whatever the event; item i is at place i.

        No ranking of items has a higher expected HR or NDCG over all events than the order of these numbers.
        """
        world, seen = self.world, np.asarray(history, dtype=np.int64)
        if len(seen) == 0:
            return world.popularity.copy()
        new = world.taste(seen)
        repeat = world.repeat if new.any() else 1.0
        chances = (1 - repeat) * new
        np.add.at(chances, seen, repeat * age_weights(len(seen), world.settings.recency)[::-1])
        return chances

    def true_event_probabilities(self, history: Sequence[int], events: Sequence[str]) -> Floats:
        """[3, items] probability of each next (event, item), the rows being view, cart, purchase; sums to 1.

        ``events`` are the names of the history's events. Ranking by the row of the goal is best for goal events.
        """
        world = self.world
        codes = [world.settings.event_names.index(event) for event in events]
        stage = np.full(world.n_items, -1)
        np.maximum.at(stage, np.asarray(history, dtype=np.int64), codes)
        ease = np.select([stage == -1, stage == VIEW], [world.cart_first, world.cart_again], 0.0)
        cart = np.minimum(1.0, ease * world.value)
        purchase = np.where(stage == CART, world.settings.purchases, 0.0)
        return self.true_probabilities(history) * np.stack([1 - cart - purchase, cart, purchase])


def simulate(
    *, sessions: int | None = None, items: int | None = None, seed: int = 0, preset: str | None = None, **changes: Any
) -> Shop:
    """A shop and its log; the same arguments give the same bits.

    Args:
        sessions: number of sessions. Where only one of ``sessions`` and ``items`` is given, the other keeps the
            proportion of the preset (5 : 1 without one).
        items: number of items of the catalogue; nearly all of them occur in the log.
        seed: seeds everything.
        preset: ``retailrocket`` or None.
        **changes: fields of ``ShopSettings``.

    Raises:
        SeqwardError: unknown preset or dial, a number out of range, or more carts than the sessions can hold.
    """
    settings = shop_settings(preset, changes)
    sessions, items = _size(sessions, items, preset)
    rng = np.random.default_rng(seed)
    world = make_world(settings, items, rng)
    lengths = draw_lengths(settings, sessions, rng)
    item = browse(world, lengths, rng)
    world, event = draw_events(world, lengths, item, rng)
    return Shop(_log(settings, lengths, item, event, rng), world)


def draw_lengths(settings: ShopSettings, sessions: int, rng: np.random.Generator) -> Ints:
    """[sessions] events of each session, longest first. The quantiles are evenly spaced, so the mean hardly varies."""
    length = np.arange(settings.min_length, settings.max_length + 1)

    def chances(offset: float) -> Floats:
        weights = (length - settings.min_length + offset) ** -settings.tail
        return weights / weights.sum()

    offset = _solve(lambda offset: float(chances(offset) @ length), settings.mean_length, 1e-6, 1e6, "events a session")
    quantiles = (np.arange(sessions) + rng.random()) / sessions
    drawn = np.searchsorted(np.cumsum(chances(offset))[:-1], quantiles, side="right")
    return length[drawn][::-1].copy()


def browse(world: World, lengths: Ints, rng: np.random.Generator) -> Ints:
    """[events] items of the sessions, one session after the other; ``lengths`` must not increase.

    All sessions advance together: step t has the sessions longer than t, which are the first ``active[t]``.
    """
    steps = int(lengths[0])
    active = np.searchsorted(-lengths, -np.arange(steps), side="left")
    begin = np.concatenate([[0], np.cumsum(active)])
    visited = np.empty(begin[-1], dtype=np.int64)  # step after step, sessions in order within a step
    visited[: active[0]] = world.draw(np.zeros_like(lengths), np.full_like(lengths, world.n_items), rng)
    for t in range(1, steps):
        past = visited[begin[:t] + np.arange(active[t])[:, None]]
        again = rng.random(active[t]) < world.repeat
        now = visited[begin[t] : begin[t + 1]]
        now[again] = recall(past[again], world.settings.recency, rng)
        now[~again] = discover(world, past[~again], rng)
    session, step = _session_and_step(lengths)
    return visited[begin[step] + session]


def recall(past: Ints, exponent: float, rng: np.random.Generator) -> Ints:
    """[n] one item of each row of ``past`` [n, t], oldest first, drawn by its age."""
    age = np.searchsorted(np.cumsum(age_weights(past.shape[1], exponent))[:-1], rng.random(len(past)), side="right")
    return past[np.arange(len(past)), past.shape[1] - 1 - age]


def discover(world: World, past: Ints, rng: np.random.Generator) -> Ints:
    """[n] an item by ``World.taste`` that is not in its row of ``past`` [n, t]."""
    new = np.empty(len(past), dtype=np.int64)
    left = np.arange(len(past))
    for _ in range(REDRAWS):
        new[left] = world.draw_after(recall(past[left], world.settings.memory, rng), rng)
        left = left[(past[left] == new[left, None]).any(axis=1)]
        if not len(left):
            break
    for row in left:
        chances = world.taste(past[row])
        if chances.any():
            new[row] = rng.choice(world.n_items, p=chances)
        else:  # nothing is left to discover: the session comes back to what it knows
            new[row] = recall(past[[row]], world.settings.recency, rng)[0]
    return new


def draw_events(world: World, lengths: Ints, item: Ints, rng: np.random.Generator) -> tuple[World, Ints]:
    """The world with its probabilities of a cart solved, and [events] VIEW, CART or PURCHASE."""
    settings = world.settings
    session, _ = _session_and_step(lengths)
    key = session * world.n_items + item
    order = np.argsort(key, kind="stable")  # the visits of one item in one session stand together, in time order
    first = np.diff(key[order], prepend=-1) != 0
    value, begin = world.value[item[order]], np.flatnonzero(first)
    returns = np.diff(begin, append=len(order)) - 1
    carts = settings.carts * len(item)

    def direct(ease: float) -> Floats:
        return np.minimum(1.0, ease * value[begin])

    def again(ease: float) -> float:
        return float((1 - direct(cart_first)) @ (1 - (1 - direct(ease)) ** returns))

    share = settings.repeated_carts
    cart_first = _solve(
        lambda ease: direct(ease).sum(), (1 - share) * carts, 0.0, 1e6, "carts of items new to a session"
    )
    cart_again = _solve(again, share * carts, 0.0, 1e6, "carts of items viewed before")
    is_cart, in_cart = _first_of_run(rng.random(len(order)) < np.where(first, cart_first, cart_again) * value, begin)
    is_purchase, _ = _first_of_run(in_cart & (rng.random(len(order)) < settings.purchases), begin)
    event = np.empty(len(order), dtype=np.int64)
    event[order] = np.select([is_purchase, is_cart], [PURCHASE, CART], VIEW)
    return replace(world, cart_first=cart_first, cart_again=cart_again), event


def write_log(shop: Shop, path: Path | str, *, force: bool = False) -> Path:
    """Write the log as ``.csv`` or ``.parquet``; a file that cannot be finished is removed.

    Raises:
        SeqwardError: another ending, the file exists (unless ``force``), or it cannot be written.
    """
    path = Path(path)
    write = {".csv": shop.log.write_csv, ".parquet": shop.log.write_parquet}.get(path.suffix)
    if write is None:
        raise SeqwardError(
            f"--out {path}: a log is written as .csv or .parquet, not as {path.suffix or 'a file without ending'!r}."
        )
    if path.exists() and not force:
        raise SeqwardError(f"{path} already exists. Give another --out, or --force to replace it.")
    unfinished = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(unfinished)
        unfinished.replace(path)
    except (OSError, pl.exceptions.ComputeError) as error:
        unfinished.unlink(missing_ok=True)
        raise SeqwardError(f"{path} cannot be written: {error}.") from error
    return path


def shape_of(shop: Shop) -> dict[str, float]:
    """What the log looks like: counts, mean length, and the share of views and carts that repeat an item."""
    names = shop.world.settings.event_names
    repeated = (pl.col("item_id").cum_count().over("session_id", "item_id") > 1).alias("repeated")
    log = shop.log.select("session_id", "item_id", "event_type", repeated)
    is_view, is_cart, is_purchase = (pl.col("event_type") == name for name in names)
    return log.select(
        sessions=pl.col("session_id").n_unique(),
        items=pl.col("item_id").n_unique(),
        views=is_view.sum(),
        carts=is_cart.sum(),
        purchases=is_purchase.sum(),
        mean_length=pl.len() / pl.col("session_id").n_unique(),
        repeated_views=pl.col("repeated").filter(is_view).mean(),
        repeated_carts=pl.col("repeated").filter(is_cart).mean(),
    ).row(0, named=True)


def _log(settings: ShopSettings, lengths: Ints, item: Ints, event: Ints, rng: np.random.Generator) -> pl.DataFrame:
    """The frame in time order; within a session the times strictly increase."""
    session, _ = _session_and_step(lengths)
    gaps = 1 + rng.lognormal(np.log(60_000), 1.5, size=len(item)).astype(np.int64)
    elapsed = np.cumsum(gaps)
    first = np.cumsum(lengths) - lengths
    start = START_MS + rng.integers(settings.days * DAY_MS, size=len(lengths))
    return pl.DataFrame(
        {
            "session_id": rng.permutation(len(lengths))[session],
            "item_id": item,
            "event_type": np.array(settings.event_names, dtype=object)[event],
            "timestamp": start[session] + elapsed - elapsed[first][session],
        },
        schema_overrides={"event_type": pl.String},
    ).sort("timestamp", maintain_order=True)


def _session_and_step(lengths: Ints) -> tuple[Ints, Ints]:
    """[events] the session of each event and its place in it, from 0."""
    session = np.repeat(np.arange(len(lengths)), lengths)
    return session, np.arange(len(session)) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _first_of_run(flag: NDArray[np.bool_], begin: Ints) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where ``flag`` is set first in its run, and where it was set earlier in the run; runs start at ``begin``."""
    before = np.cumsum(flag) - flag
    before -= np.repeat(before[begin], np.diff(begin, append=len(flag)))
    return flag & (before == 0), before > 0


def _solve(expected: Callable[[float], float], wanted: float, low: float, high: float, what: str) -> float:
    """The number at which the increasing function ``expected`` is ``wanted``, by bisection.

    Raises:
        SeqwardError: ``wanted`` lies beyond ``high``; ``what`` is wanted.
    """
    if expected(high) < wanted:
        raise SeqwardError(f"The dials ask for {wanted:,.1f} {what}; this shop can reach {expected(high):,.1f}.")
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if expected(middle) < wanted else (low, middle)
    return low


def _size(sessions: int | None, items: int | None, preset: str | None) -> tuple[int, int]:
    usual = DEFAULT_SIZE[preset]
    ratio = usual[0] / usual[1]
    if sessions is None and items is None:
        return usual
    sessions = round(items * ratio) if sessions is None and items is not None else sessions
    items = round(sessions / ratio) if items is None and sessions is not None else items
    assert sessions is not None and items is not None
    if sessions < 1 or items < 2:
        raise SeqwardError(f"A shop needs at least 1 session and 2 items, not {sessions} and {items}.")
    return sessions, items
