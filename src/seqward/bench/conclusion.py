"""A study from its runs to what they say together: ``bench(read_study("study.yaml"), "out")``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from seqward.bench.across import across
from seqward.bench.compare import all_sums, compared
from seqward.bench.curves import curves_of, guarded
from seqward.bench.page import write_page
from seqward.bench.results import left_out, write
from seqward.bench.runner import Jobs, run_study
from seqward.bench.study import Study
from seqward.bench.sweeps import sweeps_of
from seqward.bench.verdict import verdicts


class Outcome(NamedTuple):
    """What came of a study."""

    report: dict[str, Any]
    """Every run with its figures; stands in ``results.json``."""
    found: dict[str, Any]
    """What they say together; stands in ``page.json``."""
    page: Path


def bench(
    study: Study,
    out: Path | str,
    *,
    results: Path | None = None,
    only: Sequence[str] = (),
    jobs: Jobs = None,
    force: bool = False,
    reuse: Sequence[Path] = (),
    train: bool = True,
) -> Outcome:
    """Carry out what is missing of a study, compare, and draw ``results.html`` in the folder ``out``.

    Args:
        results: the file of the runs, ``results.json`` in ``out`` by default.
        only, jobs, force, reuse, train: as in ``run_study``.

    Raises:
        SeqwardError: as ``run_study``.
        Finding: a row is impossible, or rows are of different protocols; what ran is kept, and no table is made.
    """
    folder = Path(out)
    report = run_study(
        study, results or folder / "results.json", folder, only=only, jobs=jobs, force=force, reuse=reuse, train=train
    )
    return conclude(study, report, folder)


def conclude(study: Study, report: dict[str, Any], folder: Path) -> Outcome:
    """Compare the runs of a result and draw its page."""
    sums = all_sums(report, folder)
    of_all = compared(report, sums)
    found = {
        "compared": of_all,
        "across": across(report, of_all),
        "curves": curves_of(report, folder),
        "guard": guarded(report, folder),
        "sweeps": sweeps_of(study, of_all),
        "verdicts": verdicts(study, report, folder, sums),
        "left_out": left_out(report["runs"]),
    }
    write(folder / "page.json", found, indent=None)
    return Outcome(report, found, write_page(report, found, folder / "results.html"))
