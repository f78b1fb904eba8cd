"""Tables that cannot be: rows of HR and NDCG that no ranking has, and rewards that no hit rates give.

One item is relevant at each event, so the figures of a row bound each other (``metrics.impossible_pairs``, and
``impossible_apart`` where HR stands at other cut-offs). A figure printed with d decimals stands for half a unit of the
last one to either side. Cut-offs are held against each other two by two: a row is impossible if two of them break a
bound, whatever figures so close to those printed are meant.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from seqward.errors import Finding, SeqwardError, did_you_mean
from seqward.metrics import GROUPS, half_unit, impossible_apart, impossible_pairs, rise

METRIC = re.compile(r"(hr|ndcg|mrr|reward)@([1-9]\d*)", re.IGNORECASE)
HIT_RATE = re.compile(r"(?:recall|hits?|hit[ _-]?(?:rate|ratio))(?=@)", re.IGNORECASE)
"""What others call HR, which they all are where one item is relevant."""
OTHER = re.compile(r".+@\d+")
"""A metric that nothing is known of."""
NAMES = ("model", "task")
COUNTS = ("n_click", "n_goal")
CLICK = "click"
"""The task whose events are clicks; of a model's two tasks the other one is the goal."""
PART = re.compile(r"all|head|tail|.*_(repeat|novel)", re.IGNORECASE)
"""Tasks that are neither of the two, but both together, or a part of one."""


class TableRow(NamedTuple):
    """A row as printed."""

    line: int
    """In the file, the header being 1."""
    model: str
    task: str
    beside: Mapping[str, str]
    """What else stands in the row, by lower-case name, such as the data set."""
    figures: Mapping[str, float]
    """By lower-case name, such as ``hr@5``; what is empty is not there."""
    decimals: Mapping[str, int]
    counts: Mapping[str, int]
    """Events by ``n_click`` and ``n_goal``."""

    @property
    def name(self) -> tuple[str, ...]:
        """The model and what is beside it but metrics."""
        return (self.model, *(cell for kind, cell in self.beside.items() if not OTHER.fullmatch(kind)))


class Contradiction(NamedTuple):
    """A row that cannot be, and a bound that it breaks."""

    line: int
    model: str
    task: str
    broken: str


class Linted(NamedTuple):
    """What was found in a table."""

    rows: int
    found: list[Contradiction]
    unchecked: list[str]
    """Which metrics are not known, whose Reward@k is held to no hit rates, and why."""


def lint_table(file: Path, click_reward: float = 0.2, goal_reward: float = 1.0) -> Linted:
    """The number of rows of a CSV table, what in them is impossible, and what could not be checked.

    Columns are ``model``, ``task`` and metrics such as ``HR@5`` (or ``Recall@5``, ``Hit@5``, which are the same where
    one item is relevant), ``NDCG@20``, ``MRR@10`` and ``Reward@20``; with the columns ``n_click`` and ``n_goal``,
    Reward@k is held to the sum that the hit rates of both tasks imply: ``click`` and the one other that is not both
    together, or a part (``all``, ``goal_novel``). Counts are the same in all rows, since figures of other events
    belong to another table; but for rows that any other column tells apart, which belongs to the name of the row.

    Raises:
        SeqwardError: the file cannot be read as such a table; says where.
    """
    rows = list(read_table(file))
    if not rows:
        raise SeqwardError(f"{file} has a header and no rows. Expected one row a model and task.")
    loses = min(click_reward, goal_reward) < 0
    within = [Contradiction(row.line, row.model, row.task, said) for row in rows for said in broken_bounds(row, loses)]
    found = sorted([*within, *other_events(rows), *wrong_rewards(rows, click_reward, goal_reward)])
    unknown = [kind for kind in rows[0].beside if OTHER.fullmatch(kind)]
    said = [f"Not checked: {', '.join(unknown)}. HR, NDCG, MRR and Reward are."] if unknown else []
    return Linted(len(rows), found, [*said, *unchecked_rewards(rows)])


def read_table(file: Path) -> Iterator[TableRow]:
    """The rows of a CSV file; see ``lint_table``."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            header = [name.strip() for name in next(reader, [])]
            kinds = _kinds(header, file)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield _row(cells, kinds, f"{file}, line {reader.line_num}", reader.line_num)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = "it is no UTF-8 text" if isinstance(error, UnicodeDecodeError) else getattr(error, "strerror", error)
        raise SeqwardError(f"{file} cannot be read as a CSV file: {reason}.") from None


def _kinds(header: Sequence[str], file: Path) -> list[str]:
    """The lower-case name of each column.

    Raises:
        SeqwardError: a column is missing, or stands there twice.
    """
    if not header:
        raise SeqwardError(f"{file} is empty. Expected a CSV table with the columns model, task and metrics as HR@5.")
    kinds = [HIT_RATE.sub("hr", name.lower()) for name in header]
    for name in NAMES:
        if name not in kinds:
            odd = " It is one column: commas are expected between columns." if len(kinds) == 1 else ""
            near = odd or did_you_mean(name, kinds)
            raise SeqwardError(f"{file} has no column {name!r}. There are: {', '.join(header)}.{near}")
    if not any(METRIC.fullmatch(kind) for kind in kinds):
        raise SeqwardError(
            f"{file} has no metric: expected columns such as HR@5 and NDCG@5; there are {', '.join(header)}."
        )
    if twice := sorted({kind for kind in kinds if kinds.count(kind) > 1}):
        same = [name for name, kind in zip(header, kinds, strict=True) if kind == twice[0]]
        raise SeqwardError(f"{file} has the column {twice[0]!r} twice: {', '.join(same)}. Leave one out.")
    return kinds


def _row(cells: Sequence[str], kinds: Sequence[str], place: str, line: int) -> TableRow:
    if len(cells) != len(kinds):
        raise SeqwardError(f"{place}: {len(cells)} entries under {len(kinds)} columns.")
    given = {kind: cell.strip() for kind, cell in zip(kinds, cells, strict=True)}
    printed = {kind: cell for kind, cell in given.items() if METRIC.fullmatch(kind) and cell}
    figures = {kind: _number(cell, kind, place) for kind, cell in printed.items()}
    return TableRow(
        line=line,
        model=given["model"],
        task=given["task"],
        beside={k: v for k, v in given.items() if k not in (*NAMES, *COUNTS) and not METRIC.fullmatch(k)},
        figures=figures,
        decimals={kind: len(cell.partition(".")[2]) for kind, cell in printed.items()},
        counts={kind: _count(given[kind], kind, place) for kind in COUNTS if given.get(kind)},
    )


def _count(cell: str, kind: str, place: str) -> int:
    """Raises SeqwardError where it is no whole number."""
    if not re.fullmatch(r"\d+(\.0*)?", cell):
        raise SeqwardError(f"{place}: {kind} is {cell!r}; expected a whole number such as 1000, or nothing.")
    return int(float(cell))


def _number(cell: str, kind: str, place: str) -> float:
    """A figure as printed.

    Raises:
        SeqwardError: it is none, or a share above 1.
    """
    digits = cell.removeprefix("-") if kind.startswith("reward") else cell
    if not re.fullmatch(r"\d+(\.\d*)?|\.\d+", digits):
        raise SeqwardError(f"{place}: {kind} is {cell!r}; expected a number such as 0.613, or nothing.")
    value = float(cell)
    if value > 1 and not kind.startswith("reward"):
        raise SeqwardError(f"{place}: {kind} is {cell}; expected a share between 0 and 1. Divide percentages by 100.")
    return value


def broken_bounds(row: TableRow, loses: bool = False) -> Iterator[str]:
    """Each bound within a row that it breaks, in words; ``loses``: events may cost, so longer lists may earn less."""
    pairs = [pair for metric in ("ndcg", "mrr") for pair in impossible_pairs(row.figures, row.decimals, metric)]
    yield from map(str, pairs)
    yield from (said for metric in ("ndcg", "mrr") for said in impossible_apart(row.figures, row.decimals, metric))
    told = {(pair.a, pair.b) for pair in pairs}
    for metric in ("hr", "ndcg", "mrr", *([] if loses else ["reward"])):
        ks = sorted(int(name.partition("@")[2]) for name in row.figures if name.startswith(f"{metric}@"))
        # All pairs, since decimals may differ: neighbours may be possible where the ends are not.
        for a, b in combinations(ks, 2):
            change, room = rise(row.figures, row.decimals, metric, a, b)
            if change < -room and (a, b) not in told:
                yield f"from {a} to {b}: {metric.upper()} falls by {-change:.4g}, but no longer list holds less"


def other_events(rows: Iterable[TableRow]) -> Iterator[Contradiction]:
    """Rows whose counts are not those of the first such row: figures of other events stand in another table.

    Rows of several data sets may stand in one, where a column tells them apart.
    """
    first: dict[tuple[str, ...], TableRow] = {}
    for row in rows:
        for kind, count in row.counts.items() if not PART.fullmatch(row.task) else ():
            one = first.setdefault((kind, *row.name[1:]), row)
            if count != one.counts[kind]:
                said = f"{kind} is {count}, but {one.counts[kind]} in line {one.line}: they are not of the same events"
                yield Contradiction(row.line, row.model, row.task, said)


def wrong_rewards(rows: Iterable[TableRow], click_reward: float, goal_reward: float) -> Iterator[Contradiction]:
    """Reward@k that is not the sum of the rewards of the events that both tasks' HR@k say were hit."""
    for clicks, goals in _tasks_of_models(rows):
        if len(clicks) == len(goals) == 1:
            yield from _of_tasks(clicks[0], goals[0], click_reward, goal_reward)


def unchecked_rewards(rows: Iterable[TableRow]) -> Iterator[str]:
    """The models with a Reward@k that ``wrong_rewards`` cannot check, by the reason."""
    why: dict[str, list[str]] = {}
    for clicks, goals in _tasks_of_models(rows):
        of = [*clicks, *goals]
        rewards = {name for row in of for name in row.figures if name.startswith("reward@")}
        if rewards and (reason := _why_unchecked(clicks, goals, rewards)):
            why.setdefault(reason, []).append(" ".join(of[0].name))
    for reason, models in why.items():
        more = f" and {len(models) - 3} more" if len(models) > 3 else ""
        yield f"Reward@k was not checked, since {reason}: {', '.join(models[:3])}{more}."


def _why_unchecked(clicks: Sequence[TableRow], goals: Sequence[TableRow], rewards: Iterable[str]) -> str | None:
    if len(clicks) != 1 or len(goals) != 1:
        return f"one row of clicks and one of goals are expected, and there are {len(clicks)} and {len(goals)}"
    if clicks[0].counts.keys() | goals[0].counts.keys() != set(COUNTS):
        return f"the counts {' and '.join(COUNTS)} are not given"
    hits = {f"hr@{name.partition('@')[2]}" for name in rewards}
    if not hits <= clicks[0].figures.keys() & goals[0].figures.keys():
        return "HR at the same k is not given for both tasks"
    return None


def _tasks_of_models(rows: Iterable[TableRow]) -> Iterator[tuple[list[TableRow], list[TableRow]]]:
    """Each model's rows of clicks and of goals."""
    by_model: dict[tuple[str, ...], list[TableRow]] = {}
    for row in rows:
        if not PART.fullmatch(row.task):
            by_model.setdefault(row.name, []).append(row)
    for of_model in by_model.values():
        clicks = [row for row in of_model if row.task.lower() == CLICK]
        yield clicks, [row for row in of_model if row not in clicks]


def _of_tasks(click: TableRow, goal: TableRow, click_reward: float, goal_reward: float) -> Iterator[Contradiction]:
    counts = {**goal.counts, **click.counts}
    if counts.keys() != set(COUNTS):
        return
    worth = ((click, counts["n_click"] * click_reward), (goal, counts["n_goal"] * goal_reward))
    for row in (click, goal):
        for name in (name for name in row.figures if name.startswith("reward@")):
            hits = f"hr@{name.partition('@')[2]}"
            if not all(hits in task.figures for task, _ in worth):
                continue
            implied = sum(task.figures[hits] * value for task, value in worth)
            room = sum(half_unit(task.decimals, hits) * abs(value) for task, value in worth)
            room += half_unit(row.decimals, name) + 1e-6 * abs(implied)
            if abs(row.figures[name] - implied) > room:
                said = (
                    f"{name} is {row.figures[name]:g}, but {hits} implies {implied - room:.6g} to {implied + room:.6g}"
                )
                yield Contradiction(row.line, row.model, row.task, said)


# Tables of this program ----------------------------------------------------------------------------------------------

DECIMALS = 4
"""To which its tables print shares."""
PROTOCOL = ("events", "sessions", "candidates", "unknown_targets", "cutoffs", "first_events", "exclude_history")
"""What must be the same of the figures of one table."""


def refuse_impossible(
    rows: Iterable[tuple[str, str, Mapping[str, Any]]], rewards: Sequence[float] | None = None, loses: bool = False
) -> None:
    """Refuse to print a table with a row that no ranking can have.

    Args:
        rows: model, task and figures by name, as they are before they are rounded; what is no metric is left aside, and
            ``n`` is the number of events. A mean over seeds keeps every bound.
        rewards: of a click and of a goal, where each event earns one of the two: Reward@k is then held to the hits.
        loses: an event may cost, so a longer list may earn less.

    Raises:
        Finding: says which rows break which bounds.
    """
    table = [_as_printed(number, *row) for number, row in enumerate(rows)]
    found = [Contradiction(row.line, row.model, row.task, said) for row in table for said in broken_bounds(row, loses)]
    if rewards is not None:
        found += wrong_rewards(table, *rewards)
    if found:
        lines = dict.fromkeys(f"  {one.model}, {one.task}: {one.broken}" for one in found)
        raise Finding("This table is impossible, and is not printed:\n" + "\n".join(lines))


def refuse_impossible_figures(
    evaluations: Iterable[tuple[str, Mapping[str, Any]]], protocol: Mapping[str, Any]
) -> None:
    """Refuse evaluations that no ranking can have, be it by a defect of this program.

    Args:
        evaluations: each with what it is of; the same name may stand there twice.
        protocol: of the data set.

    Raises:
        Finding: says which rows break which bounds.
    """
    for label, figures in evaluations:
        refuse_impossible(rows_of(label, figures), two_rewards(protocol), _loses(protocol))


def _loses(protocol: Mapping[str, Any]) -> bool:
    """Whether a reward of the data set is below 0."""
    rewards = protocol.get("rewards") or {}
    return min([rewards.get("least", 0.0), *rewards.get("types", {}).values()]) < 0


def rows_of(label: str, figures: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """A row for each group of an evaluation, with the reward of the whole."""
    whole = {key: value for key, value in figures.items() if key.startswith("reward@")}
    for group in GROUPS:
        if figures.get(group):
            yield label, group, {**figures[group], **(whole if group in ("goal", "click") else {})}


def _as_printed(number: int, model: str, task: str, figures: Mapping[str, Any]) -> TableRow:
    shown = {k: float(v) for k, v in figures.items() if METRIC.fullmatch(k) and isinstance(v, int | float)}
    counted = {f"n_{task}": int(figures["n"])} if "n" in figures and f"n_{task}" in COUNTS else {}
    rounded = {name: round(value, DECIMALS) for name, value in shown.items()}
    return TableRow(number, model, task, {}, rounded, dict.fromkeys(shown, DECIMALS), counted)


def refuse_mixed(protocols: Mapping[str, Mapping[str, Any]], what: str) -> None:
    """Refuse figures of different protocols in one table.

    Args:
        protocols: by the row's name; of two, only what both say is compared.

    Raises:
        Finding: two rows differ; names them and the first entry that does.
    """
    said: dict[str, tuple[str, Any]] = {}
    for name, protocol in protocols.items():
        for entry in (entry for entry in PROTOCOL if entry in protocol):
            first, before = said.setdefault(entry, (name, protocol[entry]))
            if before != protocol[entry]:
                raise Finding(
                    f"{what}: {first} and {name} are of different protocols ({entry} is {before} and "
                    f"{protocol[entry]}), and do not stand in one table."
                )


def two_rewards(protocol: Mapping[str, Any]) -> tuple[float, float] | None:
    """What a click and a goal earn, by a data set's protocol; None where events earn more than these two."""
    types = (protocol.get("rewards") or {}).get("types") or {}
    clicks = {worth for name, worth in types.items() if name != protocol.get("goal")}
    goal = types.get(protocol.get("goal"))
    return (clicks.pop(), goal) if goal is not None and len(clicks) == 1 else None
