"""What a study file may say, and in which words it is refused; which of its data are needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqward import SeqwardError
from seqward.bench.shipped import FOLDER
from seqward.bench.study import read_study
from seqward.cli import main

# Which data are needed ----------------------------------------------------------------------------------------------

WITHOUT = "--only 'shop/*' does without"


def without_trivago() -> list[Path]:
    """The studies that say in their head that a part of them needs no file."""
    return [file for file in sorted(FOLDER.glob("*.yaml")) if WITHOUT in file.read_text()]


@pytest.mark.parametrize("file", without_trivago(), ids=lambda file: file.stem)
def test_only_does_without_the_files_of_other_data(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the head says of it: the runs on the shop need no file of trivago, the others do."""
    monkeypatch.delenv("SEQWARD_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    study = read_study(file, tmp_path, only=["shop/*"])
    assert {key.data for key in study.runs(["shop/*"])} == {"shop"}
    for only in ([], ["shop/*", "trivago/*/0"]):
        with pytest.raises(SeqwardError, match=r"data trivago: trivago/events\.parquet is not there"):
            read_study(file, tmp_path, only=only)


def test_studies_that_need_a_file_say_so() -> None:
    assert len(without_trivago()) == 8
    for file in FOLDER.glob("*.yaml"):
        assert (WITHOUT in file.read_text()) == (set(read_study(file).data) == {"shop", "trivago"}), file.stem


def test_the_command_does_without_them_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is asked for where it is needed, and it is not where it is not: no run has the name that is given."""
    monkeypatch.delenv("SEQWARD_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "figure-1", "--only", "*/snqn/0"]) == 2
    assert "data trivago: trivago/events.parquet is not there" in capsys.readouterr().err
    assert main(["bench", "figure-1", "--only", "shop/snqn/7"]) == 2
    assert "no run of figure-1 is called shop/snqn/7. They are DATA/METHOD/SEED." in capsys.readouterr().err
