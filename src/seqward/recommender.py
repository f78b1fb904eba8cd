"""The public object: fit, evaluate, recommend, save, load. The command line is a thin layer over it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import numpy as np
import torch

from seqward.backbones.backbone import Vocabulary
from seqward.baselines import fitted_baselines
from seqward.checkpoint import load_weights, save_weights
from seqward.config import from_dict, from_keywords, to_dict
from seqward.data.batches import TrainingEvents
from seqward.data.dataset import VALIDATION, Dataset
from seqward.errors import SeqwardError, check_finite, check_whole
from seqward.evaluate import compare
from seqward.fitting import (
    check_length,
    named_state,
    refuse_unbounded,
    validator,
    warn_of_earlier_phase,
    warn_of_idle,
    warn_of_phases,
    warn_of_slow_products,
    warn_of_untrained,
)
from seqward.histories import NamedHistories, of_dataset, of_histories
from seqward.ids import Report, numbering, numbers_of
from seqward.job import Job, TrainSettings
from seqward.method import Method, scorer_of
from seqward.methods import method_named
from seqward.methods.needs import refuse_unfit
from seqward.model import Model, NetworkScorer, Scorer
from seqward.randomness import seeded
from seqward.run import Run, check_catalogue, describe, evaluated, unfinished
from seqward.runlog import Observe, read_log
from seqward.stability.settings import GuardSettings
from seqward.stability.told import repairs_of, stability_of
from seqward.topk import best_items
from seqward.train import rehearse, train

if TYPE_CHECKING:
    from seqward.data.columns import Columns

RankBy = Literal["policy", "q", "mixture"]

logger = logging.getLogger("seqward")


class Recommender:
    """A sequential recommender: a method by name, its settings by keyword.

    >>> Recommender("sasrec-ccql", n_factors=32, alpha=0.1, epochs=5).fit(data).recommend(histories=[["a", "b"]], k=10)
    """

    def __init__(self, method: str = "sasrec-ccql", *, seed: int = 0, device: str = "auto", **settings: Any) -> None:
        """Choose a method.

        Args:
            method: a name that ``seqward methods`` lists.
            seed: of everything random; the same seed gives the same model on CPU.
            device: "auto", "cpu" or "cuda".
            settings: any setting of the method, see ``seqward config METHOD``.

        Raises:
            SeqwardError: unknown method or setting, value out of range, no such device.
        """
        check_whole("seed", seed, 0)
        self.entry = method_named(method)
        self._take(from_keywords(self.entry.all_sections, settings))
        self.seed, self.device = int(seed), device_named(device)
        self.scorer: Any = None
        self.item_ids: np.ndarray | None = None
        self.description: dict[str, Any] = {}
        self.run: Run | None = None

    @classmethod
    def from_sections(cls, method: str, sections: Mapping[str, Any], seed: int = 0, device: str = "auto") -> Self:
        """A recommender from settings sections, as ``config.read_config`` gives them."""
        recommender = cls(method, seed=seed, device=device)
        recommender._take(sections)
        return recommender

    def _take(self, sections: Mapping[str, Any]) -> None:
        """What the method is built of, and the guard's settings apart."""
        self.sections = {name: section for name, section in sections.items() if name != "guard"}
        self.guard: GuardSettings = sections.get("guard", GuardSettings())

    def __repr__(self) -> str:
        state = "not fitted" if self.scorer is None else f"{len(self._item_ids()):,} items"
        return f"Recommender({self.method!r}, seed={self.seed}; {state})"

    @property
    def method(self) -> str:
        return self.entry.name

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """All settings as plain data."""
        return to_dict({**self.sections, **({"guard": self.guard} if self.entry.trained else {})})

    def fit(
        self,
        data: Dataset | Path | str,
        out: Path | str | None = None,
        *,
        resume: bool = False,
        force: bool = False,
        max_minutes: float | None = None,
        observe: Observe = lambda record: None,
    ) -> Self:
        """Train on the training events, select on the validation events.

        Args:
            data: a prepared data set or its folder.
            out: run folder for checkpoints, log and settings; a temporary one, gone afterwards, by default.
            resume: go on with the run in ``out``; its bits are those of a run that was never stopped.
            force: replace the run in ``out``.
            max_minutes: stop after so much training time, that before a resume included.
            observe: receives every record of the log.

        Raises:
            SeqwardError: bad data or settings, ``out`` exists. Finding: a loss is not finite.
            KeyboardInterrupt: on Ctrl-C, after the state was saved.
        """
        data = loaded(data)
        if max_minutes is not None:
            check_finite("max_minutes", max_minutes, 0)
        if out is None:
            with tempfile.TemporaryDirectory() as folder:
                self._fit(data, Run(Path(folder) / "run"), False, max_minutes, observe, kept=False)
                self.run = None
            return self
        run = Run(Path(out))
        run.check_free(force, resume)
        resumed = resume and (run.folder / "run.json").is_file()
        if resumed:
            now = describe(self.method, self.settings, self.seed, data)
            for change in run.check_same(now, data, self.entry.all_sections):
                logger.warning(f"{run.folder} goes on: {change}.")
        self._fit(data, run, resumed, max_minutes, observe)
        return self

    def _fit(
        self, data: Dataset, run: Run, resume: bool, max_minutes: float | None, observe: Observe, kept: bool = True
    ) -> None:
        """Whatever may be wrong with data and settings is told before the run folder is touched."""
        refuse_unfit(self.entry, data)
        built = self._build(data.n_items)
        job = self._job(built, data, run, max_minutes) if isinstance(built, Method) else None
        item_ids = data.item_ids[: data.n_items]
        if job is not None:
            (check_length if resume else rehearse)(job)
        if resume:
            run.reopen(self.settings, item_ids)
        else:
            run.create(describe(self.method, self.settings, self.seed, data), item_ids)
        if isinstance(built, Method):
            assert job is not None
            with named_state(run, kept):
                progress = train(job, resume, observe)
            phases = {"ran": progress.phase + 1, "of": len(built.phases)}
            warn_of_untrained(run, progress.step)
            warn_of_earlier_phase(run, progress.phase + 1)
            stability = stability_of(read_log(run.folder / "log.jsonl"))
            run.update(state=progress.stopped, phases=phases, best=run.best, stability=stability)
            self.item_ids = item_ids
            self.description = run.description
            self.scorer = self._load_weights(built, run.folder)
        else:
            self.item_ids, self.scorer = item_ids, built.fit(data)
            save_weights(self.scorer, run.folder / "best", {})
            run.update(state="fitted")
        self.run, self.description = run, run.description

    def _build(self, n_items: int) -> Any:
        return self.entry.build(**self.sections) if self.entry.trained else self.entry.build(n_items, **self.sections)

    def _job(self, method: Method, data: Dataset, run: Run, max_minutes: float | None) -> Job:
        settings: TrainSettings = self.sections["train"]
        refuse_unbounded(self.sections["objective"], data)
        events = TrainingEvents(data, self.sections["backbone"].session_max_len, settings.draw, self.device)
        validate = validator(data, settings, method.critic, self.seed) if (data.split == VALIDATION).any() else None
        job = Job(method, events, settings, run.folder, validate, self.seed, max_minutes, self.guard)
        warn_of_phases(self.method, job, self.sections["objective"])
        warn_of_idle({**self.sections, "guard": self.guard}, self.entry.all_sections)
        warn_of_slow_products(job)
        return job

    def _load_weights(self, method: Method, folder: Path) -> NetworkScorer:
        assert self.item_ids is not None
        vocabulary = Vocabulary(len(self.item_ids), self.description["data"].get("users", 0))
        with seeded(self.seed, 0, "init"):
            model = Model(method.backbone, method.heads, vocabulary, self.sections["train"].catalogue)
        load_weights(model, folder / "best" / "model.safetensors")
        return scorer_of(method, model.to(self.device))

    def evaluate(self, data: Dataset | Path | str, split: str = "test", **options: Any) -> dict[str, Any]:
        """The content of ``metrics.json``: this model beside the zero-parameter baselines, with the protocol.

        The look at the split is recorded in the run folder, if there is one, and in what ``save`` writes.

        Args:
            split: "validation", "test", or "all" for parameter-free methods.
            options: of ``evaluate.evaluate``: ks, first_events, exclude_history, bootstrap, seed, sample, progress.

        Raises:
            SeqwardError: not fitted, no such split, or the data set has another catalogue.
        """
        data = loaded(data)
        check_catalogue(self._fingerprint(), data, "the model")
        trained_on = self.description["data"].get("events")
        if trained_on not in (None, data.events_fingerprint()):
            raise SeqwardError(
                "the model was trained on other events than those of this data set (rewards, goals and splits count, "
                "too), so its training events may be tested here. Evaluate it on the data set it was trained on."
            )
        result = compare(self._fitted(), fitted_baselines(data), data, split, **options)
        result["protocol"] |= self.in_protocol()
        self._record_look(split)
        return result

    def in_protocol(self) -> dict[str, Any]:
        """What the protocol of an evaluation says of the model: method, settings, seed, and what a guard repaired."""
        repairs = repairs_of(self.description)
        told = {"method": self.method, "settings": self.settings, "model_seed": self.seed}
        return told | ({"repairs": repairs} if repairs else {})

    def _record_look(self, split: str) -> None:
        """Note in the run that a split was evaluated; say so where it is not the first look at test."""
        self.description = evaluated(self.description, split)
        if self.run is not None:
            try:
                self.run.record_evaluation(split)
                self.description = self.run.description
            except (OSError, SeqwardError) as error:
                logger.warning(f"this look at the {split} split is not recorded: {error}")
        before = sum(look["split"] == split for look in self.description["evaluations"]) - 1
        if split == "test" and before:
            times = "once" if before == 1 else f"{before} times"
            logger.warning(
                f"the test split of this run was evaluated {times} before; what is chosen by it is no test any more."
            )

    def recommend(
        self,
        users: Sequence[Any] | None = None,
        dataset: Dataset | Path | str | None = None,
        k: int = 10,
        filter_viewed: bool = False,
        items_to_recommend: Iterable[Any] | None = None,
        *,
        histories: Any = None,
        columns: Columns | Mapping[str, str] | None = None,
        rank_by: RankBy | None = None,
        beta: float = 1.0,
        on_unsupported_targets: Literal["raise", "warn", "ignore"] = "warn",
    ) -> Any:
        """The k best items of each history, in a frame ``session_id | user_id, item_id, score, rank``.

        Args:
            users: users or sessions of ``dataset`` (all of its sessions by default); of a user that which ended last.
            dataset: the histories of known users; their whole sessions are read.
            k: items a history. Fewer come back where fewer are candidates.
            filter_viewed: leave out items of the history.
            items_to_recommend: only these items are candidates.
            histories: histories of anybody, known or not: lists of item ids, a mapping of id to such a list, or a frame
                with ``session_id`` or ``user_id`` and ``item_id``, a row an event. Its rows are put in order of their
                ``timestamp`` or ``datetime``, or of the order column that is named; without one they are in order.
            columns: what the columns of the frame are called, where that is not their own name.
            rank_by: "policy", "q", or "mixture" for policy + beta * Q; what the method ranks by if None.
            on_unsupported_targets: what to do about users that the data set lacks (they get no rows) and about items
                outside the catalogue (they are skipped in histories; a history of nothing else is read as empty).

        Returns:
            A frame of the kind that ``histories`` is, or polars; owners in the order in which they first appear in
            what was asked, their items by rank.

        Raises:
            SeqwardError: not fitted, a wrong argument, nothing to recommend for, or nothing that may be recommended.
        """
        check_whole("k", k, 1)
        if users is not None and dataset is None:
            raise SeqwardError("users=... are those of dataset=...: give that, too, or histories=... of anybody.")
        if (histories is None) == (dataset is None):
            raise SeqwardError("give either histories=... or dataset=... (with users=...), and not both.")
        if columns is not None and histories is None:
            raise SeqwardError("columns=... names those of histories=...; a data set has its own. Leave it out.")
        item_ids = self._item_ids()
        report = reporter(on_unsupported_targets)
        if dataset is not None:
            named = self._of_dataset(loaded(dataset), users, report)
        else:
            named = of_histories(histories, item_ids, report, columns)
        among = None
        if items_to_recommend is not None:
            among = torch.tensor(numbers_of(items_to_recommend, numbering(item_ids), report))
        scorer = self._ranking(rank_by, beta)
        best = best_items(scorer, named.items, len(item_ids), k, filter_viewed, among, named.users)
        return named.frame(best, item_ids)

    def _of_dataset(self, data: Dataset, users: Sequence[Any] | None, report: Report) -> NamedHistories:
        check_catalogue(self._fingerprint(), data, "the model")
        named = of_dataset(data, users, report)
        if self.description["data"].get("events") != data.events_fingerprint():
            return replace(named, users=None)  # their numbers are those of other people
        return named

    def _ranking(self, rank_by: RankBy | None, beta: float) -> Scorer:
        """The scorer that ranks by the asked head or mixture."""
        scorer = self._fitted()
        if rank_by is None or (rank_by == "policy" and not isinstance(scorer, NetworkScorer)):
            return scorer
        if not isinstance(scorer, NetworkScorer) or (rank_by != "policy" and scorer.critic is None):
            raise SeqwardError(f"{self.method} has no critic, so it cannot rank by {rank_by}. Rank by policy.")
        if rank_by != "policy" and not getattr(self.sections["objective"], "omega", 1):
            raise SeqwardError(f"the critic of this {self.method} learned nothing (omega is 0). Rank by policy.")
        check_finite("beta", beta)
        critic = cast(str, scorer.critic)
        ranks = {"policy": {"policy": 1.0}, "q": {critic: 1.0}, "mixture": {"policy": 1.0, critic: beta}}
        if rank_by not in ranks:
            raise SeqwardError(f"rank_by must be policy, q or mixture; got {rank_by!r}.")
        return NetworkScorer(scorer.model, ranks[rank_by], scorer.critic, scorer.gamma, scorer.query)

    def save(self, folder: Path | str) -> None:
        """Write what ``load`` needs: settings, catalogue and weights.

        Raises:
            SeqwardError: not fitted, or the folder exists.
        """
        scorer = self._fitted()
        folder = Path(folder)
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise SeqwardError(f"{folder} already exists. Save to another folder, or remove it first.")
        Run(folder).create(self.description, self._item_ids())
        save_weights(scorer.model if isinstance(scorer, NetworkScorer) else scorer, folder / "best", {})
        self.run = self.run or Run(folder)

    @classmethod
    def load(cls, folder: Path | str, device: str = "auto") -> Self:
        """The recommender of a run folder or of ``save``: its best state.

        Raises:
            SeqwardError: no run there, or a broken one.
        """
        run = Run(Path(folder))
        description = run.description
        if why := unfinished(description):
            logger.warning(f"the run in {run.folder} {why}; its best weights until then are taken.")
        entry = method_named(description["method"])
        where = str(run.folder / "run.json")
        sections = from_dict(entry.all_sections, description["settings"], where)
        recommender = cls.from_sections(entry.name, sections, description["seed"], device)
        recommender.run, recommender.description, recommender.item_ids = run, description, run.item_ids
        built = recommender._build(len(recommender.item_ids))
        if isinstance(built, Method):
            recommender.scorer = recommender._load_weights(built, run.folder)
        else:
            load_weights(built, run.folder / "best" / "model.safetensors")
            recommender.scorer = built
        return recommender

    def _fitted(self) -> Any:
        if self.scorer is None:
            raise SeqwardError(
                "the recommender is not fitted. Call fit(data) or load one with Recommender.load(folder)."
            )
        return self.scorer

    def _item_ids(self) -> np.ndarray:
        self._fitted()
        assert self.item_ids is not None
        return self.item_ids

    def _fingerprint(self) -> str:
        self._fitted()
        return self.description["catalogue"]


def loaded(data: Dataset | Path | str) -> Dataset:
    """The data set, read from its folder if need be.

    Raises:
        SeqwardError: it is neither.
    """
    if not isinstance(data, Dataset | Path | str):
        raise SeqwardError(
            f"expected a data set or its folder; got {type(data).__name__}. `prepare` makes one of a log."
        )
    return data if isinstance(data, Dataset) else Dataset.load(data)


def device_named(name: str) -> torch.device:
    """The torch device; "auto" is CUDA where there is one.

    Raises:
        SeqwardError: unknown, or CUDA is asked for and not there.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise SeqwardError(f"device must be auto, cpu or cuda; got {name!r}.")
    if name == "cuda" and not torch.cuda.is_available():
        raise SeqwardError("device cuda was asked for, and torch sees none here. Use --device cpu or auto.")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def reporter(on_unsupported_targets: str) -> Report:
    """What receives what a user should know of what was asked.

    Raises:
        SeqwardError: there is no such way to tell.
    """
    reports = {"raise": _refuse, "warn": logger.warning, "ignore": lambda message: None}
    if on_unsupported_targets not in reports:
        raise SeqwardError(f"on_unsupported_targets must be raise, warn or ignore; got {on_unsupported_targets!r}.")
    return reports[on_unsupported_targets]


def _refuse(message: str) -> None:
    raise SeqwardError(message)
