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

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatch
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from seqward.bench.recipes import Recipe, problems
from seqward.config import read_config
from seqward.errors import SeqwardError, did_you_mean
from seqward.methods import METHODS, method_named

EVERY = "every"
"""A label that stands for all methods that are not named."""
OWN = ("method", "seeds", "sweep")
"""What a method's entry may hold beside settings."""
EVALUATE = {"ks", "first_events", "exclude_history", "bootstrap", "seed", "sample"}
VERDICT = ("supervised", "rl", "controls")
RESERVED = "data"
"""A folder of a study's runs; no data set has this name."""


class Key(NamedTuple):
    """One run."""

    data: str
    method: str
    seed: int

    def __str__(self) -> str:
        return f"{self.data}/{self.method}/{self.seed}"


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

    def runs(self, only: Sequence[str] = ()) -> list[Key]:
        """All runs, seed after seed, so that a study that was cut short has compared its methods.

        Args:
            only: patterns of DATA/METHOD/SEED, of which a run has to meet one, where there are any.
        """
        chosen = {method: (own or {}).get("seeds", self.seeds) for method, own in self.methods.items()}
        seeds = dict.fromkeys([*self.seeds, *(seed for own in chosen.values() for seed in own)])
        keys = [Key(data, m, seed) for data, seed, m in product(self.data, seeds, chosen) if seed in chosen[m]]
        return [key for key in keys if not only or any(fnmatch(str(key), pattern) for pattern in only)]

    def method_of(self, label: str) -> tuple[str, dict[str, Any]]:
        """The method that a label stands for, and its settings sections.

        Raises:
            SeqwardError: no such method or setting.
        """
        own = {key: value for key, value in (self.methods[label] or {}).items() if key not in OWN}
        name = (self.methods[label] or {}).get("method", label)
        entry = method_named(name)
        common = {key: value for key, value in self.settings.items() if key in settings_of(name)}
        changes = [f"{key}={json.dumps(value)}" for key, value in {**common, **own}.items()]
        return name, read_config(entry.all_sections, overrides=changes)

    def definition(self) -> dict[str, Any]:
        """What decides the figures, entry by entry: to tell a study that was changed from the one that was begun."""
        methods = {f"methods.{label}": dict(own or {}) for label, own in self.methods.items()}
        data = {f"data.{name}": dict(recipe) for name, recipe in self.data.items()}
        settings = {f"settings.{key}": value for key, value in self.settings.items()}
        rules = {f"evaluate.{key}": value for key, value in self.evaluate.items()}
        ends = {"seeds": list(self.seeds), "max_minutes": self.max_minutes}
        return json.loads(json.dumps({**ends, **data, **settings, **rules, **methods}))


def read_study(
    file: Path, folder: Path | None = None, instead: Mapping[str, Recipe] | None = None, only: Sequence[str] = ()
) -> Study:
    """The study of a YAML file, named after it.

    Args:
        folder: of its runs; where it is given, the files of its data are looked for, unless they are prepared there.
        instead: what stands in the place of named recipes; the name "" is that of its first data set.
        only: as in ``Study.runs``: files of data that no such run needs are not looked for.

    Raises:
        SeqwardError: no such file, or all that is wrong in it: keys that are unknown or missing, methods, settings and
            data that do not exist.
    """
    said = _read_yaml(file)
    known = set(Study.__dataclass_fields__) - {"name", "swept", "folder"}
    wrong = list(_key_problems(said, known, {"data", "methods", "seeds"}, str(file)))
    if wrong:
        raise SeqwardError("\n".join(wrong))
    said |= {"data": _replaced(said["data"], instead or {}, file)}
    methods, swept = swept_out(expanded(said["methods"]))
    published, wrong_published = _published(said.get("published", []), file)
    rest = {key: value for key, value in said.items() if key in known - {"published", "seeds", "methods"}}
    study = Study(
        name=file.stem,
        folder=file.parent,
        **rest,
        methods=methods,
        swept=swept,
        seeds=tuple(said["seeds"]) if isinstance(said["seeds"], list) else (),
        published=tuple(published),
    )
    wrong += [*_problems_of(study, folder, only), *wrong_published]
    if wrong:
        raise SeqwardError("\n".join(f"{file}, {line}" for line in dict.fromkeys(wrong)))
    return study


def _read_yaml(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise SeqwardError(
            f"{file} does not exist. Expected a study: a YAML file, or a name of `seqward bench --list`."
        )
    try:
        said = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SeqwardError(f"{file}: not readable as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(said, dict) or not all(isinstance(said.get(key, {}), dict) for key in ("data", "methods")):
        raise SeqwardError(f"{file}: expected the keys data, methods and seeds, with names below data and methods.")
    return said


def _replaced(data: Mapping[str, Any], instead: Mapping[str, Recipe], file: Path) -> dict[str, Any]:
    """The recipes with others in the place of those that are named."""
    named = {name or next(iter(data)): recipe for name, recipe in instead.items()}
    if unknown := [name for name in named if name not in data]:
        raise SeqwardError(f"{file} has no data set {unknown[0]!r}. It has: {', '.join(data)}.")
    if "" in instead:  # one log of one's own, and nothing else
        return named
    return {**data, **named}


def _problems_of(study: Study, folder: Path | None, only: Sequence[str]) -> Iterator[str]:
    needed = {key.data for key in study.runs(only)}
    for name, recipe in study.data.items():
        place = folder / "data" / name if folder is not None and name in needed else None
        if name == RESERVED or "/" in name:
            yield f"data {name}: no data set can have this name."
        yield from (f"data {name}: {said}" for said in problems(recipe, place, study.folder))
    seeds = [*study.seeds, *(seed for own in study.methods.values() for seed in (own or {}).get("seeds", []))]
    if not study.seeds or any(not isinstance(seed, int) or isinstance(seed, bool) or seed < 0 for seed in seeds):
        yield "seeds: expected a list of whole numbers from 0 on, such as [0, 1, 2]."
    yield from _key_problems(study.evaluate, EVALUATE, set(), "evaluate")
    yield from _problems_of_methods(study)
    if study.verdict is not None:
        yield from _key_problems(study.verdict, {*VERDICT, "metric"}, set(VERDICT), "verdict")
        for label in (label for part in VERDICT for label in study.verdict.get(part, [])):
            if label not in study.methods:
                yield f"verdict: {label} is none of the methods.{did_you_mean(label, study.methods)}"


def _problems_of_methods(study: Study) -> Iterator[str]:
    """Every wrong method and setting; what is wrong in several methods at once is said once."""
    found: dict[str, list[str]] = {}
    known: set[str] = set()
    for label in study.methods:
        try:
            known |= settings_of((study.methods[label] or {}).get("method", label))
            study.method_of(label)
        except SeqwardError as error:
            for line in str(error).splitlines():
                found.setdefault(line, []).append(label)
    yield from (f"methods {', '.join(labels)}: {line}" for line, labels in found.items())
    for key in study.settings:
        if known and key not in known:
            yield f"settings: {key}: no such key of any method.{did_you_mean(key, known)}"


def settings_of(method: str) -> set[str]:
    """The settings of a method, as ``section.key``."""
    sections = method_named(method).all_sections
    return {f"{name}.{key.name}" for name, section in sections.items() for key in fields(section)}


def expanded(methods: Mapping[str, Any]) -> dict[str, Any]:
    """The methods with what ``every`` stands for in its place."""
    others = [name for name, entry in METHODS.items() if entry.family != "baseline" and name not in methods]
    labels = [label for named in methods for label in (others if named == EVERY else [named])]
    return {label: methods.get(label, methods.get(EVERY)) for label in labels}


def swept_out(methods: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The methods with the variants of a sweep in its place, each named after its values; and what each varies."""
    all_of, swept = {}, {}
    for label, own in methods.items():
        sweep = (own or {}).get("sweep")
        if not sweep:
            all_of[label] = own
            continue
        for values in product(*(v if isinstance(v, list) else [v] for v in sweep.values())):
            chosen = dict(zip(sweep, values, strict=True))
            name = " ".join([label, *(f"{key.rpartition('.')[2]}={value}" for key, value in chosen.items())])
            all_of[name] = {"method": label, **{k: v for k, v in own.items() if k != "sweep"}, **chosen}
            swept[name] = {"of": label, "values": chosen}
    return all_of, swept


def _published(said: Any, file: Path) -> tuple[list[Mapping[str, Any]], list[str]]:
    try:
        return list(published_entries(said, file)), []
    except SeqwardError as error:
        return [], [str(error)]


def published_entries(said: Any, file: Path) -> Iterator[Mapping[str, Any]]:
    """What runs are held against, one system an entry; the rows of a table become entries."""
    for entry in [said] if isinstance(said, dict) else said:
        if "table" not in entry:
            known = {"source", "system", "data", "method", "group", "figures"}
            _check_keys(entry, known, {"method", "figures"}, "published")
            yield entry
            continue
        _check_keys(entry, {"table", "group", "within"}, {"table", "group", "within"}, "published")
        for row in published_table(file.parent / entry["table"]):
            figures = {name.lower(): float(value) for name, value in row.items() if value and "@" in name}
            tolerances = {name: [value, entry["within"] * value] for name, value in figures.items()}
            named = {name: row[name] for name in ("source", "system", "data", "method")}
            yield {**named, "group": entry["group"], "figures": tolerances}


def published_table(file: Path) -> list[dict[str, str]]:
    """The rows of a table of published figures that belong to a method of ours.

    Raises:
        SeqwardError: there is no such table.
    """
    if not file.is_file():
        there = [known.name for known in file.parent.glob("*.csv")]
        raise SeqwardError(f"published: no table {file}.{did_you_mean(file.name, there)}")
    with file.open(newline="") as stream:
        return [row for row in csv.DictReader(stream) if row["method"]]


def _check_keys(said: Any, known: Iterable[str], needed: Iterable[str], where: str) -> None:
    if wrong := list(_key_problems(said, set(known), set(needed), where)):
        raise SeqwardError("\n".join(wrong))


def _key_problems(said: Any, known: set[str], needed: set[str], where: str) -> Iterator[str]:
    if not isinstance(said, Mapping):
        yield f"{where}: expected keys, got {said!r}."
        return
    for key in said:
        if key not in known:
            yield f"{where}: unknown key {key!r}.{did_you_mean(str(key), known)}"
    if missing := sorted(needed - set(said)):
        yield f"{where}: {', '.join(missing)} is missing."
