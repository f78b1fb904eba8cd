"""A run folder: what it refuses, what it keeps, and that an earlier version's is still read."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from jobs import recommender, shop
from seqward.errors import SeqwardError
from seqward.recommender import Recommender
from seqward.run import Run


def rewritten(folder: Path, **settings: dict[str, Any]) -> None:
    """Change ``run.json`` as if another version had written it; a setting of None is left out."""
    file = folder / "run.json"
    description = json.loads(file.read_text())
    for section, changes in settings.items():
        merged = description["settings"][section] | changes
        description["settings"][section] = {key: value for key, value in merged.items() if value is not None}
    file.write_text(json.dumps(description))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    recommender("sasrec", epochs=1).fit(shop(), tmp_path / "run")
    return tmp_path / "run"


# What an earlier version wrote --------------------------------------------------------------------------------------


def test_a_run_that_names_a_retired_setting_is_loaded_and_resumed(run: Path) -> None:
    rewritten(run, backbone={"feed_forward": "dropout-relu"})
    assert "feed_forward" not in Recommender.load(run).settings["backbone"]
    recommender("sasrec", epochs=1).fit(shop(), run, resume=True)


def test_a_run_from_before_a_setting_had_its_default(run: Path) -> None:
    rewritten(run, train={"precision": None})
    recommender("sasrec", epochs=1).fit(shop(), run, resume=True)
    with pytest.raises(SeqwardError, match=r"begun with train\.precision=fp32, and cannot be resumed with bf16"):
        recommender("sasrec", epochs=1, precision="bf16").fit(shop(), run, resume=True)


def test_a_setting_that_nobody_knows_is_refused(run: Path) -> None:
    rewritten(run, backbone={"feed_backward": 3})
    with pytest.raises(SeqwardError, match=r"backbone\.feed_backward: no such key"):
        Recommender.load(run)
    with pytest.raises(SeqwardError, match=r"begun with backbone\.feed_backward=3"):
        recommender("sasrec", epochs=1).fit(shop(), run, resume=True)


def test_another_method_is_named_as_the_difference(run: Path) -> None:
    with pytest.raises(SeqwardError, match="begun with method=sasrec, and cannot be resumed with sasrec-ccql"):
        recommender("sasrec-ccql", epochs=1).fit(shop(), run, resume=True)


# What may change ----------------------------------------------------------------------------------------------------


def test_a_run_cannot_be_resumed_to_end_before_where_it_is(tmp_path: Path) -> None:
    recommender("sasrec", epochs=3).fit(shop(), tmp_path / "run")
    before = (tmp_path / "run" / "run.json").read_bytes()
    with pytest.raises(SeqwardError, match=r"has taken 18 steps already, and train\.epochs=2 ends at 12"):
        recommender("sasrec", epochs=2).fit(shop(), tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "run.json").read_bytes() == before


# Cut short, or replaced ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("training", "is still training, or was killed"),
        ("interrupted", "was interrupted"),
        ("diverged: the loss term L_CE is nan at step 3", "has diverged"),
        ("all 1 epochs done", None),
    ],
)
def test_a_run_that_did_not_come_to_its_end_says_so(
    run: Path, state: str, said: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    Run(run).update(state=state)
    Recommender.load(run)
    expected = [f"the run in {run} {said}; its best weights until then are taken."] if said else []
    assert [record.getMessage() for record in caplog.records] == expected


def test_a_run_is_replaced_whole(run: Path) -> None:
    (run / "of_the_first").write_text("")
    recommender("sasrec", epochs=1).fit(shop(), run, force=True)
    assert not (run / "of_the_first").exists()
    assert [place.name for place in run.parent.iterdir()] == ["run"]


def test_a_run_that_may_not_be_moved_loses_nothing(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PermissionError):
        recommender("sasrec", epochs=1).fit(shop(), run, force=True)
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before
