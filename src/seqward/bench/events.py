"""What happened at every evaluated event of one run, kept beside it: what bootstraps and paired tests are made of."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from seqward.atomic import write_whole
from seqward.baselines import training_counts
from seqward.data.dataset import Dataset
from seqward.errors import SeqwardError
from seqward.metrics import GROUPS, Outcomes, groups, hr, ndcg
from seqward.reading import targets

FILE = "events.npz"
HEAD = 0.2
"""Share of the vocabulary, the most popular items, that is the head; the rest is the tail."""
SHOWN_GROUPS = (*GROUPS, "head", "tail")

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Events:
    """One run's outcomes, and whether each target is one of the popular items; all arrays are [events]."""

    outcomes: Outcomes
    head: NDArray[np.bool_]

    def groups(self) -> dict[str, NDArray[np.bool_]]:
        """Members of each of ``SHOWN_GROUPS``; head and tail are of the goals, of all events where none is a goal."""
        of = groups(self.outcomes)
        within = of["goal"] if of["goal"].any() else of["all"]
        return {**of, "head": within & self.head, "tail": within & ~self.head & self.outcomes.known}


def head_of(data: Dataset, split: str, first_events: bool = True) -> NDArray[np.bool_]:
    """[events] whether the target is among the share HEAD of the items with the most training events."""
    item = targets(data, split, first_events=first_events).item
    by_count = np.argsort(-training_counts(data), kind="stable")
    popular = np.zeros(data.n_items, dtype=bool)
    popular[by_count[: int(np.ceil(HEAD * data.n_items))]] = True
    return np.where(item < data.n_items, popular[np.minimum(item, data.n_items - 1)], False)


def save_events(file: Path, outcomes: Outcomes, head: NDArray[np.bool_]) -> None:
    """Write the outcomes: whole or not at all, about 8 bytes an event."""
    file.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {name: getattr(outcomes, name) for name in ("goal", "repeat", "known", "reward")}
    arrays |= {name: getattr(outcomes, name).astype(np.int32) for name in ("rank", "session")}

    def save(place: Path) -> None:
        with place.open("wb") as stream:  # of a name, NumPy would make another
            np.savez_compressed(stream, head=head, **arrays)

    write_whole(file, save)


def load_events(file: Path) -> Events:
    """Read them back.

    Raises:
        SeqwardError: the file is broken.
    """
    try:
        with file.open("rb") as stream, np.load(stream) as kept:
            wide = {name: kept[name].astype(np.int64) for name in ("rank", "session")}
            flags = {name: kept[name] for name in ("goal", "repeat", "known", "reward")}
            return Events(Outcomes(**flags, **wide), kept["head"])
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise SeqwardError(
            f"{file} cannot be read: {error or 'it is empty'}.\nRemove its folder and its entry in results.json, of a "
            "baseline the file and NAME.baselines.json beside it, and run the study again."
        ) from None


def figure_names(ks: list[int]) -> list[str]:
    """``goal.hr@20`` and the like, then ``reward@20``: the columns of ``session_sums``."""
    names = [f"{group}.{metric}@{k}" for group in SHOWN_GROUPS for metric in ("hr", "ndcg") for k in ks]
    return [*names, *(f"reward@{k}" for k in ks)]


def possible(name: str, values: Floats) -> Floats:
    """Figures of this name, to which resampling adds what cannot be: shares, within a group, lie between 0 and 1."""
    return np.clip(values, 0, 1) if "." in name else values


def session_sums(events: Events, ks: list[int]) -> tuple[Floats, Floats]:
    """Sums of each figure and the events of each group, by session: [sessions, figures], [sessions, groups]."""
    outcomes, members = events.outcomes, events.groups()
    names, session = np.unique(outcomes.session, return_inverse=True)

    def by_session(values: NDArray[Any], of: NDArray[np.intp] = session) -> Floats:
        return np.bincount(of, weights=values, minlength=len(names)).astype(np.float64, copy=False)

    (hits,) = np.nonzero(outcomes.rank <= max(ks))  # the others add nothing
    rank, of_hits = outcomes.rank[hits], session[hits]
    values = [metric(rank, k) for metric in (hr, ndcg) for k in ks]
    sums = [by_session(value * member[hits], of_hits) for member in members.values() for value in values]
    sums += [by_session(hr(rank, k) * outcomes.reward[hits], of_hits) for k in ks]
    return np.stack(sums, axis=1), np.stack([by_session(member) for member in members.values()], axis=1)
