"""A study: data sets x methods x seeds x settings, as a YAML file says it.

evaluate: {exclude_history: true}       # options of seqward.evaluate.evaluate; may be left out
max_minutes: 15                         # of training, a run; may be left out
seeds: [0, 1, 2]
data:
  ml-1m:                                # from a raw file of a source; a relative path is looked for beside the study,
    source: ml-1m                       # in the current folder, and in the folder SEQWARD_DATA
    path: ml-1m/ratings_in_order.parquet
    prepare: {split: random}            # fields of PrepareSettings over the source's defaults
  mine:                                 # from any log, as `seqward prepare` takes it
    path: mine/log.csv
    columns: {session_id: s, item_id: i, timestamp: t}
    rewards: {view: 0.2, buy: 1.0}
    goal: buy
    session_gap_minutes: 30             # and time_unit, separator
  ready: {prepared: data/mine}          # a folder that `seqward prepare` wrote
  shop:                                 # from a simulated shop
    simulate: {preset: retailrocket, items: 5000}
    rewards: {view: 0.2, addtocart: 1.0}
    goal: addtocart
settings: {train.epochs: 30}            # of every method that has them
methods:
  every: {}                             # all methods that are not named here, but the baselines
  sasrec: {}                            # settings of its own
  my-label: {method: sasrec, seeds: [0], train.lr: 0.001}  # and seeds of its own
  snqn: {sweep: {objective.gamma: [0, 0.5, 0.9]}}          # the variants "snqn gamma=0" to "snqn gamma=0.9"
verdict:                                # "does RL help here?"; labels of methods; may be left out
  {supervised: [sasrec], rl: [snqn], controls: [sasrec-sqn-gamma-0], metric: goal.ndcg@20}
published:                              # what runs are held against; one of these, or a list
  - {source: "...", method: my-label, group: all, figures: {hr@10: [0.3152, 0.012]}}       # value, tolerance
  - {table: published.csv, group: all, within: 0.05}      # rows of a file beside the study; a share of each
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatch
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from seqward.bench.events import figure_names
from seqward.bench.published import published_entries
from seqward.bench.recipes import Recipe, problems
from seqward.bench.shapes import EVALUATE, METHOD, STUDY, VERDICT, hint, sound, sound_methods
from seqward.config import from_paths, parse_yaml
from seqward.errors import SeqwardError, did_you_mean
from seqward.methods import METHODS, method_named
from seqward.metrics import CUTOFFS, GROUPS, OF_Q
from seqward.metrics import METRICS as RANKED

EVERY = "every"
"""A label that stands for all methods that are not named."""
SIDES = ("supervised", "rl", "controls")
REWARDS = ("reward", "reward_per_event")
RESERVED = "data"
"""A folder of a study's runs; no data set has this name."""


class Key(NamedTuple):
    """One run."""

    data: str
    method: str
    seed: int

    def __str__(self) -> str:
        return f"{self.data}/{self.method}/{self.seed}"


class Instead(NamedTuple):
    """What stands in the place of a study's data sets."""

    named: Mapping[str, Recipe] = {}
    """Of those of these names."""
    own: Mapping[str, Recipe] = {}
    """Of all others, under names of their own."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """What to run; see the module's head."""

    name: str
    data: Mapping[str, Recipe]
    methods: Mapping[str, Mapping[str, Any]]
    seeds: tuple[int, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    max_minutes: float | None = None
    evaluate: Mapping[str, Any] = field(default_factory=dict)
    published: Sequence[Mapping[str, Any]] = ()
    verdict: Mapping[str, Any] | None = None
    swept: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Label of a variant -> ``of``, the label that was swept, and ``values`` by setting."""
    folder: Path = Path()
    """Where its file lies."""
    device: str = "auto"
    """Where its runs are trained, as ``Recommender`` has it."""

    def runs(self, only: Sequence[str] = ()) -> list[Key]:
        """All runs, seed after seed, so that a study that was cut short has compared its methods.

        Args:
            only: patterns of DATA/METHOD/SEED, of which a run has to meet one, where there are any.
        """
        chosen = {method: own.get("seeds", self.seeds) for method, own in self.methods.items()}
        seeds = dict.fromkeys([*self.seeds, *(seed for own in chosen.values() for seed in own)])
        keys = [Key(data, m, seed) for data, seed, m in product(self.data, seeds, chosen) if seed in chosen[m]]
        return [key for key in keys if not only or any(fnmatch(str(key), pattern) for pattern in only)]

    def method_of(self, label: str) -> tuple[str, dict[str, Any]]:
        """The method that a label stands for, and its settings sections.

        Raises:
            SeqwardError: no such method or setting.
        """
        own = {key: value for key, value in self.methods[label].items() if key not in METHOD}
        name = self.methods[label].get("method", label)
        entry = method_named(name)
        common = {key: value for key, value in self.settings.items() if key in settings_of(name)}
        return name, from_paths(entry.all_sections, {**common, **own}, "the study")

    def definition(self) -> dict[str, Any]:
        """What decides the figures, entry by entry: to tell a study that was changed from the one that was begun."""
        methods = {f"methods.{label}": dict(own) for label, own in self.methods.items()}
        data = {f"data.{name}": dict(recipe) for name, recipe in self.data.items()}
        settings = {f"settings.{key}": value for key, value in self.settings.items()}
        rules = {f"evaluate.{key}": value for key, value in self.evaluate.items()}
        ends = {"seeds": list(self.seeds), "max_minutes": self.max_minutes}
        return json.loads(json.dumps({**ends, **data, **settings, **rules, **methods}))


def read_study(
    file: Path | str, folder: Path | None = None, instead: Instead | None = None, only: Sequence[str] = ()
) -> Study:
    """The study of a YAML file, named after it.

    Args:
        folder: of its runs; where it is given, the files of its data are looked for, unless they are prepared there.
        instead: what stands in the place of its data sets.
        only: as in ``Study.runs``: files of data that no such run needs are not looked for.

    Raises:
        SeqwardError: no such file, or all that is wrong in it: keys that are unknown or missing, methods, settings and
            data that do not exist.
    """
    wrong: list[str] = []
    file = Path(file)
    said = sound(_read_yaml(file), STUDY, "", wrong, ("data", "methods", "seeds"))
    rules = sound(said.get("evaluate", {}), EVALUATE, "evaluate: ", wrong)
    ks = rules.get("ks", CUTOFFS)
    entries, unsound = sound_methods(said.get("methods", {}), wrong)
    methods, swept = swept_out(expanded(entries))
    published = published_entries(said.get("published", []), file, methods, ks, wrong)
    verdict = sound(said["verdict"], VERDICT, "verdict: ", wrong, SIDES) if "verdict" in said else None
    study = Study(
        name=file.stem,
        folder=file.parent,
        data=_replaced(said.get("data", {}), instead or Instead(), file),
        methods=methods,
        swept=swept,
        seeds=tuple(said.get("seeds", ())),
        settings=said.get("settings", {}),
        max_minutes=said.get("max_minutes"),
        evaluate=rules,
        published=tuple(published),
        verdict=verdict,
    )
    wrong += _problems_of(study, folder, only)
    wrong += _problems_of_methods(study, [label for label in study.methods if label not in unsound])
    wrong += _problems_of_labels(study, ks)
    if wrong:
        raise SeqwardError("\n".join(f"{file}, {line}" for line in dict.fromkeys(wrong)))
    return study


def _read_yaml(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise SeqwardError(
            f"{file} does not exist. Expected a study: a YAML file, or a name of `seqward bench --list`."
        )
    try:
        said = parse_yaml(file.read_text(encoding="utf-8"), str(file))
    except UnicodeDecodeError:
        raise SeqwardError(f"{file} is no UTF-8 text. Expected a study: a YAML file.") from None
    if not isinstance(said, dict):
        raise SeqwardError(f"{file}: expected the keys data, methods and seeds, with names below data and methods.")
    return said


def _replaced(data: Mapping[str, Any], instead: Instead, file: Path) -> dict[str, Any]:
    """The recipes with others in the place of those that are named, or of all."""
    if unknown := [name for name in instead.named if data and name not in data]:
        raise SeqwardError(f"{file} has no data set {unknown[0]!r}. It has: {', '.join(data)}.")
    return {**({} if instead.own else data), **instead.named, **instead.own}


def _problems_of(study: Study, folder: Path | None, only: Sequence[str]) -> Iterator[str]:
    needed = {key.data for key in study.runs(only)} if only else study.data
    for name, recipe in study.data.items():
        place = folder / "data" / name if folder is not None and name in needed else None
        if name == RESERVED or not _names_a_folder(name):
            yield f"data {name}: no data set can have this name."
        yield from (f"data {name}: {said}" for said in problems(recipe, place, study.folder))


def _names_a_folder(name: str) -> bool:
    return name not in ("", ".", "..") and not any(letter in name for letter in "/\\\0")


def _problems_of_methods(study: Study, labels: Sequence[str]) -> Iterator[str]:
    """Every wrong method and setting; what is wrong in several methods at once is said once."""
    found: dict[str, list[str]] = {}
    known: set[str] = set()
    for label in labels:
        try:
            known |= settings_of(study.methods[label].get("method", label))
            lines = _problems_of_sections(study.method_of(label)[1])
        except SeqwardError as error:
            lines = str(error).splitlines()
        for line in lines:
            found.setdefault(line, []).append(label)
    yield from (f"methods {', '.join(labels)}: {line}" for line, labels in found.items())
    for key in study.settings:
        if known and key not in known:
            near = [path for path in known if did_you_mean(_name(key), [_name(path)])]  # the sections alone are alike
            yield f"settings: {key}: no such key of any method of the study.{did_you_mean(key, near)}"


def _name(path: str) -> str:
    return path.rpartition(".")[2]


def _problems_of_sections(sections: Mapping[str, Any]) -> list[str]:
    """A metric that validation does not measure; whether there is a Q depends on the method, and is checked there."""
    metric = getattr(sections.get("train"), "metric", None)
    if metric is None:
        return []
    known = [
        *(f"{group}.{name}" for group in GROUPS for name in _figures(RANKED, CUTOFFS)),
        *_figures(REWARDS, CUTOFFS),
        *(f"q.{name}" for name in OF_Q),
    ]
    if metric in known or f"all.{metric}" in known:
        return []
    return [f"train.metric={metric} is not measured.{hint(metric, known)}"]


def _figures(metrics: Collection[str], ks: Collection[int]) -> list[str]:
    return [f"{metric}@{k}" for metric in metrics for k in ks]


def _problems_of_labels(study: Study, ks: Sequence[int]) -> Iterator[str]:
    """Labels that cannot be, or that are asked about and are not there; and a verdict by a metric that is not."""
    for label in study.methods:
        if not _names_a_folder(label):
            yield f"methods {label}: a label names a folder: it cannot be empty, . or .., nor have / or \\ in it."
    verdict = study.verdict or {}
    for label in (label for side in SIDES for label in verdict.get(side, ())):
        if label not in study.methods:
            yield f"verdict: {label} is none of the methods.{did_you_mean(label, study.methods)}"
    known = figure_names(list(ks))
    if (metric := verdict.get("metric", known[0])) not in known:
        yield f"verdict: metric {metric} is not measured.{hint(metric, known)}"


def settings_of(method: str) -> set[str]:
    """The settings of a method, as ``section.key``."""
    sections = method_named(method).all_sections
    return {f"{name}.{key.name}" for name, section in sections.items() for key in fields(section)}


def expanded(methods: Mapping[str, Any]) -> dict[str, Any]:
    """The methods with what ``every`` stands for in its place."""
    others = [name for name, entry in METHODS.items() if entry.family != "baseline" and name not in methods]
    labels = [label for named in methods for label in (others if named == EVERY else [named])]
    return {label: methods.get(label, methods.get(EVERY)) for label in labels}


def in_words(value: Any) -> str:
    """A value of a swept setting, as it stands in the label of its variant."""
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def swept_out(methods: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The methods with the variants of a sweep in its place, each named after its values; and what each varies."""
    all_of, swept = {}, {}
    for label, own in methods.items():
        sweep = own.get("sweep")
        if not sweep:
            all_of[label] = own
            continue
        for values in product(*(v if isinstance(v, list) else [v] for v in sweep.values())):
            chosen = dict(zip(sweep, values, strict=True))
            name = " ".join([label, *(f"{key.rpartition('.')[2]}={in_words(value)}" for key, value in chosen.items())])
            all_of[name] = {"method": label, **{k: v for k, v in own.items() if k != "sweep"}, **chosen}
            swept[name] = {"of": label, "values": chosen}
    return all_of, swept
