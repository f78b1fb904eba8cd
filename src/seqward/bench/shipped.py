"""The studies that come with the program, and one's own data in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import seqward
from seqward.errors import SeqwardError, did_you_mean

FOLDER = Path(seqward.__file__).parent / "studies"


def shipped_studies() -> Iterator[tuple[str, str]]:
    """Name and first sentence of each."""
    for file in sorted(FOLDER.glob("*.yaml")):
        comment = []
        for line in file.read_text(encoding="utf-8").splitlines():
            if not line.startswith("#"):
                break
            comment.append(line.removeprefix("#").strip())
        yield file.stem, " ".join(comment).partition(". ")[0].rstrip(".")


def study_file(said: str) -> Path:
    """The file of a study that is named or that comes with the program.

    Raises:
        SeqwardError: there is none.
    """
    if Path(said).is_file():
        return Path(said)
    shipped = FOLDER / f"{said}.yaml"
    if shipped.is_file():
        return shipped
    names = [name for name, _ in shipped_studies()]
    raise SeqwardError(f"There is no study {said}.{did_you_mean(said, names)} See `seqward bench --list`.")


def data_instead(said: Sequence[str]) -> dict[str, Any]:
    """What ``--data`` puts in the place of a study's data sets, by name; "" where it names none.

    Raises:
        SeqwardError: the path is no prepared data set.
    """
    instead = {}
    for one in said:
        name, equals, path = one.partition("=")
        name, path = (name, path) if equals else ("", name)
        if not (Path(path) / "dataset.json").is_file():
            raise SeqwardError(f"--data {path}: expected a folder that `seqward prepare` wrote.")
        instead[name] = {"prepared": str(Path(path).resolve())}
    return instead
