"""A prepared folder: what it gives, and that a folder cut off or edited is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from seqward.data.dataset import TABLES, Dataset, fingerprint_of_catalogue
from seqward.errors import SeqwardError


@pytest.fixture
def data() -> Dataset:
    return Dataset(
        item=np.array([0, 2, 1, 0, 3], np.int32),
        reward=np.array([0.2, 1, 0.2, 0.2, 1], np.float32),
        goal=np.array([0, 1, 0, 0, 1], bool),
        event_type=np.array([1, 0, 1, 1, 0], np.int16),
        split=np.array([0, 0, 0, 1, 2], np.uint8),
        offsets=np.array([0, 2, 5]),
        item_ids=np.array(["b", "a", "d", "c"], object),
        n_items=3,
        session_ids=np.array([7, 9]),
        user_ids=None,
        event_types=("cart", "view"),
        protocol={"seed": 0, "counts": {"events": 5}},
    )


@pytest.fixture
def folder(data, tmp_path) -> Path:
    path = data.save(tmp_path / "data").path
    assert path is not None
    return path


def refused(folder: Path) -> str:
    with pytest.raises(SeqwardError) as caught:
        Dataset.load(folder)
    assert caught.value.exit_status == 2
    return str(caught.value)


def test_sessions_are_slices_of_flat_columns(data):
    assert (data.n_sessions, data.n_events) == (2, 5)
    assert data.session_of_event().tolist() == [0, 0, 1, 1, 1]
    assert data.events_of("train").tolist() == [0, 1, 2]
    assert data.events_of("test").tolist() == [4]
    assert data.events_of("all").tolist() == [0, 1, 2, 3, 4]


def test_the_folder_reads_back(data, folder):
    read = Dataset.load(folder)
    assert read.path == folder
    for name in ("item", "reward", "goal", "event_type", "split", "offsets", "item_ids", "session_ids"):
        assert getattr(read, name).tolist() == getattr(data, name).tolist()
        assert getattr(read, name).dtype == getattr(data, name).dtype
    assert (read.n_items, read.event_types, read.protocol, read.user_ids) == (3, ("cart", "view"), data.protocol, None)


def test_the_fingerprint_names_the_vocabulary_its_order_and_its_type():
    ids = np.array([1, 2, 3])
    assert fingerprint_of_catalogue(ids) == fingerprint_of_catalogue(ids.copy())
    others = [np.array([1, 3, 2]), np.array([1, 2]), np.array(["1", "2", "3"], object), np.array([12, 3])]
    assert len({fingerprint_of_catalogue(x) for x in [ids, *others]}) == 5


WITHOUT_FRAMES = """
import sys
sys.modules.update(dict.fromkeys(["polars", "narwhals", "pandas", "pyarrow"]))
import numpy as np
from seqward import Dataset, Recommender

sessions, events = 15, 60
data = Dataset(
    item=np.arange(events, dtype=np.int32) % 7, reward=np.ones(events, np.float32), goal=np.zeros(events, bool),
    event_type=np.zeros(events, np.int16), split=np.repeat(np.array([0, 1, 2], np.uint8), [40, 8, 12]),
    offsets=np.arange(0, events + 1, 4), item_ids=np.arange(7), n_items=7, session_ids=np.arange(sessions),
    user_ids=None, event_types=("event",), protocol={},
)
Recommender("sasrec", n_factors=8, epochs=1).fit(data, sys.argv[1]).evaluate(data, split="test")
"""


def test_arrays_train_on_a_machine_without_data_frames(tmp_path):
    """What docs/architecture.md says: only reading and writing the folder takes polars."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_FRAMES, tmp_path / "run"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_folder_or_another_folder_is_refused(tmp_path):
    assert "is no folder. Expected a data set, as `seqward prepare EVENTS --out" in refused(tmp_path / "none")
    (tmp_path / "log.csv").write_text("user_id,item_id,order")
    assert (
        f"is a file. Expected a data set, the folder of `seqward prepare {tmp_path / 'log.csv'} --out DATA`"
        in refused(tmp_path / "log.csv")
    )
    assert "holds no dataset.json" in refused(tmp_path)


@pytest.mark.parametrize("name", [f"{table}.parquet" for table in TABLES] + ["dataset.json"])
def test_a_folder_that_was_cut_off_is_refused(folder, name):
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    assert "was cut off or edited. Run `seqward prepare` again." in refused(folder)
    (folder / name).unlink()
    assert "was cut off or edited. Run `seqward prepare` again." in refused(folder)


def test_an_edited_table_is_refused(folder):
    table = pl.read_parquet(folder / "events.parquet")
    table.with_columns(reward=pl.col("reward") * 2).write_parquet(folder / "events.parquet")
    assert "events.parquet is not the file that was written (its sha256 differs)" in refused(folder)


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d["protocol"].update(seed=1),
        lambda d: d.update(event_types=["view", "cart"]),
        lambda d: d["sha256"].update(events="0" * 64),
        lambda d: d.pop("catalogue"),
    ],
)
def test_an_edited_description_is_refused(folder, edit):
    description = json.loads((folder / "dataset.json").read_text())
    edit(description)
    (folder / "dataset.json").write_text(json.dumps(description))
    assert "dataset.json is not what was written (its sha256 differs)" in refused(folder)


@pytest.mark.parametrize("text", ["", "[]", "null", "3", "{}", '{"sha256": 3}', '{"sha256": {}}', "\u00e9"])
def test_a_description_of_another_shape_is_refused(folder, text):
    (folder / "dataset.json").write_text(text, encoding="latin-1")
    assert "dataset.json cannot be read" in refused(folder)


def test_a_new_layout_of_the_json_is_no_edit(folder):
    description = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(dict(reversed(description.items()))))
    assert Dataset.load(folder).n_events == 5


def test_another_format_is_refused(folder):
    description = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(description | {"format": 99}))
    assert "has format 99, this version reads 1" in refused(folder)
