"""A run folder that answers with NumPy and the native kernels: what a service loads instead of torch."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from seqward.errors import SeqwardError, check_finite, check_whole
from seqward.ids import named_lists, numbered, numbering, numbers_of
from seqward.inference.encoder import SETTINGS, Encoder, names_of
from seqward.inference.screen import NONE, Screen
from seqward.run import Run

INSTEAD = "Recommender.load(folder) of seqward answers for every run, with torch."

logger = logging.getLogger("seqward")


class Inference:
    """A trained SASRec and its heads, for one history at a time.

    >>> Inference.load("run").recommend(histories=[["a", "b"]], k=10)
    """

    def __init__(
        self, weights: Mapping[str, NDArray[Any]], settings: Mapping[str, Any], item_ids: NDArray[Any]
    ) -> None:
        """Args: weights and settings as a run holds them, ids of the items by number."""
        self.weights, self.item_ids = weights, item_ids
        self.encoder = Encoder(weights, settings["backbone"])
        o = settings["objective"]
        self.rank_by, self.taught_critic = o.get("rank_by", "policy"), bool(o.get("omega", 1))
        self.plain_critic = o.get("critic", "linear") == "linear" and not o.get("critic_norm", False)
        self.number = numbering(item_ids)
        self._screens: dict[tuple[str, float], Screen] = {}
        self.screen()

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """The best state of a run folder, or of what ``Recommender.save`` wrote.

        Raises:
            SeqwardError: no run there, a broken one, or one of another backbone than SASRec.
        """
        from safetensors.numpy import load_file

        run = Run(Path(folder))
        settings, item_ids = run.description["settings"], run.item_ids
        file = run.folder / "best" / "model.safetensors"
        try:
            weights = load_file(file)
        except FileNotFoundError:
            raise SeqwardError(f"{file} is missing: the run holds no such checkpoint. Train again.") from None
        except Exception as error:  # safetensors raises its own type for every kind of damage
            raise SeqwardError(f"{file} cannot be read ({error}): it was cut off or edited.") from None
        refuse_others(run.description["method"], settings, set(weights))
        check_shapes(file, weights, settings["backbone"], len(item_ids))
        return cls(weights, settings, item_ids)

    def recommend(
        self,
        histories: Sequence[Sequence[Any]] | Mapping[Any, Sequence[Any]],
        k: int = 10,
        filter_viewed: bool = False,
        items_to_recommend: Iterable[Any] | None = None,
        *,
        rank_by: Literal["policy", "q", "mixture"] | None = None,
        beta: float = 1.0,
    ) -> dict[str, list[Any]]:
        """The k best items of each history: the columns ``session_id``, ``item_id``, ``score`` and ``rank``.

        They are those of the frame that ``Recommender.recommend`` gives (``polars.DataFrame(found)``, say). Items
        outside the catalogue are skipped in histories, which is logged; a history of nothing else is read as empty.
        States are computed in fp32 by NumPy here and by torch there, which round differently: two items whose scores
        differ by no more than that may stand in either order.

        Args:
            histories: lists of item ids, or a mapping of id to such a list.
            k: items a history. Fewer come back where fewer are candidates.
            filter_viewed: leave out items of the history.
            items_to_recommend: only these items are candidates.
            rank_by: "policy", "q", or "mixture" for policy + beta * Q; what the method ranks by if None.

        Raises:
            SeqwardError: a wrong argument, or nothing to recommend for. Finding: a score may not be finite.
        """
        check_whole("k", k, 1)
        owners, lists = named_lists(histories)
        among = None
        if items_to_recommend is not None:
            among = np.array(numbers_of(items_to_recommend, self.number, logger.warning), dtype=np.int64)
        screen = self.screen(rank_by, beta)
        found: dict[str, list[Any]] = {"session_id": [], "item_id": [], "score": [], "rank": []}
        for owner, history in zip(owners, numbered(lists, self.number, logger.warning), strict=True):
            exclude = history if filter_viewed else NONE
            scores, items = screen.topk(self.encoder.state(history), k, exclude, among)
            found["session_id"] += [owner] * len(items)
            found["item_id"] += self.item_ids[items].tolist()
            found["score"] += scores.tolist()
            found["rank"] += range(1, len(items) + 1)
        return found

    def screen(self, rank_by: str | None = None, beta: float = 1.0) -> Screen:
        """The catalogue under what ranks; the last few are kept, as making one reads the whole table."""
        rank_by = rank_by or self.rank_by
        if rank_by not in ("policy", "q", "mixture"):
            raise SeqwardError(f"rank_by must be policy, q or mixture; got {rank_by!r}.")
        if rank_by != "policy" and "heads.q.linear.weight" not in self.weights:
            raise SeqwardError(f"this run has no critic, so it cannot rank by {rank_by}. Rank by policy.")
        if rank_by != "policy" and not self.taught_critic:
            raise SeqwardError("the critic of this run learned nothing (omega is 0). Rank by policy.")
        if rank_by != "policy" and not self.plain_critic:
            raise SeqwardError(
                f"this run's Q is no plain product of state and item (objective.critic or critic_norm), which is all "
                f"that is read here. Rank by policy, or: {INSTEAD}"
            )
        check_finite("beta", beta)
        key = (rank_by, float(beta) if rank_by == "mixture" else 1.0)
        if key not in self._screens:
            if len(self._screens) > 2:
                self._screens.clear()
            self._screens[key] = Screen(*self._head(rank_by, np.float32(beta)))
        return self._screens[key]

    def _head(self, rank_by: str, beta: np.float32) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """(weight [items, width], bias [items]) of a head, or of the sum of two: heads are linear."""
        if rank_by == "mixture":
            (weight, bias), (q, q_bias) = self._head("policy", beta), self._head("q", beta)
            biases = [b for b in (bias, None if q_bias is None else beta * q_bias) if b is not None]
            both = sum(biases[1:], biases[0]).astype(np.float32) if biases else None
            return (weight + beta * q).astype(np.float32), both
        own = self.weights.get(f"heads.{rank_by}.linear.weight")
        if own is not None:
            return own, self.weights.get(f"heads.{rank_by}.linear.bias")
        return self.encoder.items[: len(self.item_ids)], self.weights.get(f"heads.{rank_by}.bias")


def refuse_others(method: str, settings: Mapping[str, Any], names: set[str]) -> None:
    """Raises SeqwardError where the run is of another backbone than SASRec, or of no network."""
    backbone = settings.get("backbone", {})
    known = {name.removeprefix("backbone.") for name in names if name.startswith("backbone.")}
    if not set(SETTINGS) <= backbone.keys() or known != names_of(backbone):
        raise SeqwardError(
            f"seqward.inference reads runs of SASRec, and this one of {method} has another backbone or none, or was "
            f"written by an earlier version.\n{INSTEAD}"
        )


def check_shapes(file: Path, weights: Mapping[str, NDArray[Any]], settings: Mapping[str, Any], n_items: int) -> None:
    """Raises SeqwardError where the weights are of another size than ``run.json`` and ``items.json`` say."""
    shapes = {"items": n_items + 3, "positions": settings["session_max_len"] + 1}
    for name, rows in shapes.items():
        found, expected = weights[f"backbone.{name}.weight"].shape, (rows, settings["n_factors"])
        if found != expected:
            raise SeqwardError(
                f"{file} holds another model: backbone.{name}.weight has shape {found}, expected {expected}. "
                "It was trained on another catalogue or with other settings."
            )
