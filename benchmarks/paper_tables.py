"""The tables of the SASRec-CCQL paper, run from the raw files and set beside what the paper prints.

make paper-tables RAW=downloads         # where retailrocket/, rc15/ and yelp/ hold the raw files; those that are there
python benchmarks/paper_tables.py --prove    # end to end on a simulated shop in RetailRocket's raw format

Runs go on where they stopped (src/seqward/bench), on CPU or GPU. ``benchmarks/results/paper-tables.json`` holds the
table that is printed: ours is the test split at the weights that validation chose, over seeds; "on validation" is the
mean of the five best validations, which is what the paper reports and what the difference is of.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import polars as pl
import typer

from machine import RESULTS
from run import PUBLISHED, WORK, raw_folder
from seqward import SeqwardError, simulate
from seqward.bench.results import left_out, say, write
from seqward.bench.runner import run_study
from seqward.bench.study import Study, read_study, settings_of
from seqward.bench.summary import remark_of
from seqward.bench.tables import refuse_bad_rows
from seqward.cli.output import print_table
from seqward.data.sources import find_source
from seqward.data.sources.source import locate
from seqward.metrics import impossible_pairs
from seqward.stability.told import repairs_of

STUDIES = tuple(Path(__file__).parent / "studies" / f"paper-{data}.yaml" for data in ("retailrocket", "rc15", "yelp"))
GROUP = {"purchase": "goal", "click": "click"}
"""What the paper calls the events, and what they are called here."""
METRICS = tuple(f"{metric}@{k}" for k in (5, 10, 20) for metric in ("hr", "ndcg"))
DECIMALS = 3
"""To which the paper rounds."""
PROOF = {
    "backbone.n_factors": 16,
    "train.epochs": 3,
    "objective.pretrain_epochs": 1,
    "objective.warmup_events": 0.4,
}
"""Settings at which the proof takes a minute or two; phase 2 begins in the middle."""


def main(
    raw: Annotated[Path | None, typer.Option(help="Folder of the raw files, instead of SEQWARD_DATA.")] = None,
    prove: Annotated[bool, typer.Option("--prove", help="A simulated shop in RetailRocket's raw format.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at the same time; they share the cores.")] = 1,
    only: Annotated[list[str] | None, typer.Option(help="Pattern of DATA/METHOD/SEED; repeatable.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Of training, a run; no limit by default.")] = None,
    results: Annotated[Path, typer.Option(help="Folder of the result.")] = RESULTS,
    work: Annotated[Path, typer.Option(help="Folder of the runs.")] = WORK,
) -> None:
    """Run the paper's tables."""
    if raw is not None:
        os.environ["SEQWARD_DATA"] = str(raw.resolve())
    try:
        if prove:
            say("A simulated shop at reduced size: the command is proven, and nothing is said about the paper.")
            found = proof(work / "paper-tables-proof", jobs=jobs, only=only)
        else:
            studies = [replace(read_study(file), max_minutes=max_minutes) for file in STUDIES]
            found = tables(studies, results, work, only, jobs)
    except SeqwardError as error:
        typer.echo(str(error), err=True)
        raise SystemExit(2) from None
    print_table(*printed(found["rows"]), title="ours and published")
    if lost := [line for report in found["studies"].values() for line in left_out(report["runs"])]:
        typer.echo("LEFT OUT, since these runs failed:\n" + "\n".join(lost), err=True)
        raise SystemExit(1)


def tables(
    studies: Sequence[Study], results: Path, work: Path, only: list[str] | None = None, jobs: int | None = None
) -> dict[str, Any]:
    """Carry out the studies whose raw files are there, and write ``paper-tables.json``.

    Raises:
        SeqwardError: there is no raw file of any of them; says where to get them.
    """
    missing = {study.name: said for study in studies if (said := lacking(study, work))}
    for said in missing.values():
        say(said)
    if len(missing) == len(studies):
        raise SeqwardError("No raw file of the paper's tables is there. `seqward data list` says where they are from.")
    reports: dict[str, Any] = {}
    found: dict[str, Any] = {"missing": list(missing), "rows": []}
    for study in studies:
        if study.name not in missing:
            places = results / f"{study.name}.json", work / study.name
            reports[study.name] = run_study(study, *places, only=only or (), jobs=jobs)
            refuse_bad_rows(reports[study.name])
            found["rows"] += comparison(reports[study.name])
            write(results / "paper-tables.json", found)
    return {**found, "studies": reports}


def lacking(study: Study, work: Path) -> str | None:
    """What to get for a study whose data are neither prepared nor there as a raw file."""
    for name, recipe in study.data.items():
        source, place = find_source(recipe["source"]), raw_folder() / recipe["path"]
        if (work / study.name / "data" / name / "dataset.json").is_file():
            continue
        try:
            locate(source, place)
        except SeqwardError:
            return (
                f"{study.name}: missing. Get {source.obtain} from {source.home} ({source.terms}) and put it in {place}."
            )
    return None


# Beside what is published ----------------------------------------------------------------------------------------


def published_rows() -> list[dict[str, Any]]:
    """The rows of the paper's four tables: table, data, model, method, task, figures, reward, possible."""
    with (PUBLISHED / "ccql-tables.csv").open(newline="") as stream:
        return [_published(row) for row in csv.DictReader(stream)]


def _published(row: dict[str, str]) -> dict[str, Any]:
    figures = {name.lower(): float(value) for name, value in row.items() if name.startswith(("HR@", "NDCG@"))}
    facts = {name: row[name] for name in ("data", "model", "method", "task")}
    return {
        "table": int(row["table"]),
        **facts,
        "figures": figures,
        "reward": {"reward@20": float(row["Reward@20"])} if row["Reward@20"] else {},
        "possible": not impossible_pairs(figures, decimals=DECIMALS),
    }


def comparison(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A record for each published figure and method: ours over the seeds, what is published, and how far our validation
    lies from it.

    What the released code computes stands beside the published row of the method that it is of. What a list of the
    history and popularity reach on the same events comes last. Runs that the guard repaired are no reproduction and are
    left out.
    """
    runs: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for run in report["runs"]:
        if run["state"] == "finished" and not repairs_of(run):
            runs.setdefault((run["data"], run["method"]), []).append(run)
    found = [
        record
        for row in published_rows()
        for (data, method), of_seeds in runs.items()
        if (row["data"], row["method"]) == (data, method.removesuffix("-released"))
        for record in _records(row, method, of_seeds)
    ]
    return found + [record for data in report["data"] for record in _of_baselines(data, report["data"][data])]


def _records(row: Mapping[str, Any], method: str, runs: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    # Reward@20 is of both kinds of events; it stands with the purchases.
    kinds = [(GROUP[row["task"]], row["figures"]), *([("", row["reward"])] if row["task"] == "purchase" else [])]
    for group, figures in kinds:
        for metric, value in figures.items():
            seeds = [_figure(run["test"], group, metric) for run in runs]
            on_validation = _mean([_figure(run["best_validations"], group, metric) for run in runs])
            yield {
                **{name: row[name] for name in ("data", "table", "model")},
                "method": method,
                "task": row["task"] if group else "both",
                "metric": metric,
                "ours": _mean(seeds),
                "seeds": seeds,
                "on validation": on_validation,
                "published": value,
                "difference": None if on_validation is None else on_validation - value,
                "possible": row["possible"] if group else None,
                "remark": remark_of(runs),
            }


def _of_baselines(data: str, facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What needs no training, on the same test split; nobody published it."""
    kinds = [(task, GROUP[task], metric) for task in GROUP for metric in METRICS] + [("both", "", "reward@20")]
    for method, figures in facts["baselines"].items():
        for task, group, metric in kinds:
            ours = _figure(figures, group, metric)
            yield {"data": data, "method": method, "task": task, "metric": metric, "ours": ours, "seeds": [ours]}


def _figure(figures: Mapping[str, Any], group: str, metric: str) -> float | None:
    """A figure of a group, or one of all events; None where the group has no event."""
    of_group = figures.get(group) if group else figures
    return of_group.get(metric) if of_group else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def printed(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Header and rows."""
    facts_of = ["data", "table", "method", "task", "metric"]
    figures = ["seeds", "ours (lowest..highest)", "on validation", "published", "difference", "published row", "remark"]
    lines = []
    for row in rows:
        digits = ",.0f" if row["metric"].startswith("reward") else ".4f"
        shown = {name: _text(row.get(name), digits) for name in ("ours", "on validation", "published")}
        if len(row["seeds"]) > 1 and row["ours"] is not None:
            shown["ours"] += f" ({min(row['seeds']):{digits}}..{max(row['seeds']):{digits}})"
        verdict = {True: "possible", False: "IMPOSSIBLE", None: None}[row.get("possible")]
        facts = [row.get(name) for name in facts_of]
        difference = _text(row.get("difference"), f"+{digits}")
        lines.append([*facts, len(row["seeds"]), *shown.values(), difference, verdict, row.get("remark")])
    return [*facts_of, *figures], lines


def _text(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


# Proof -----------------------------------------------------------------------------------------------------------


def proof(
    folder: Path,
    sessions: int = 800,
    items: int = 300,
    seeds: tuple[int, ...] = (0, 1),
    only: list[str] | None = None,
    jobs: int | None = None,
    settings: Mapping[str, Any] = PROOF,
) -> dict[str, Any]:
    """``tables`` for RetailRocket at reduced size, on a simulated shop: nothing it prints is about the paper."""
    before = os.environ.get("SEQWARD_DATA")
    write_raw(folder / "raw" / "retailrocket" / "events.csv", sessions, items)
    os.environ["SEQWARD_DATA"] = str(folder / "raw")
    try:
        return tables([reduced(read_study(STUDIES[0]), seeds, settings)], folder / "results", folder, only, jobs)
    finally:
        os.environ.pop("SEQWARD_DATA")
        if before is not None:
            os.environ["SEQWARD_DATA"] = before


def reduced(study: Study, seeds: tuple[int, ...], settings: Mapping[str, Any]) -> Study:
    """The study with those of the settings that a method has, over its own."""
    methods = {}
    for label, own in study.methods.items():
        known = settings_of(study.method_of(label)[0])
        methods[label] = {**own, **{key: value for key, value in settings.items() if key in known}}
    return replace(study, seeds=seeds, methods=methods)


def write_raw(file: Path, sessions: int, items: int) -> None:
    """A simulated shop as RetailRocket's ``events.csv``: time in ms, transactions with an id of their own."""
    shop = simulate(preset="retailrocket", sessions=sessions, items=items, purchases=0.3, seed=0)
    bought = pl.col("event_type") == "transaction"
    number = bought.cum_sum()
    columns = {"timestamp": "timestamp", "visitorid": "session_id", "event": "event_type", "itemid": "item_id"}
    file.parent.mkdir(parents=True, exist_ok=True)
    shop.log.select(
        *(pl.col(name).alias(raw) for raw, name in columns.items()),
        transactionid=pl.when(bought).then(number),
    ).write_csv(file)


if __name__ == "__main__":
    typer.run(main)
