"""The studies that come with the program, and one's own data in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import seqward
from seqward.bench.study import RESERVED, Instead
from seqward.errors import SeqwardError, did_you_mean

OWN = "my-data"
"""What a folder stands for that is called as no data set can be."""
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


def data_instead(said: Sequence[str]) -> Instead:
    """What ``--data`` puts in the place of a study's data sets; one that names none has the name of its folder.

    Raises:
        SeqwardError: the path is no prepared data set, or two data sets have one name.
    """
    named: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for one in said:
        name, equals, path = one.partition("=")
        name, path = (name, path) if equals else ("", name)
        if not (Path(path) / "dataset.json").is_file():
            raise SeqwardError(f"--data {path}: expected a folder that `seqward prepare` wrote.")
        place = Path(path).resolve()
        name, among = (name, named) if equals else (OWN if place.name == RESERVED else place.name, own)
        if name in named or name in own:
            raise SeqwardError(f"--data {one}: another data set is called {name!r}, too. Rename one of the folders.")
        among[name] = {"prepared": str(place)}
    return Instead(named, own)
