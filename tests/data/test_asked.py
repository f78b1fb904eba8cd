"""Item ids that a user asks with: each is the catalogue's own or unknown, never another that looks alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seqward.cli.histories import from_file, from_text


@pytest.mark.parametrize(
    ("catalogue", "asked"),
    [(np.array([7, 8]), [7, None, None, None, 9]), (np.array(["7", "007"], object), ["7", "007", "+7", "x", "9"])],
)
def test_an_id_that_is_written_otherwise_is_unknown(tmp_path: Path, catalogue: np.ndarray, asked: list) -> None:
    texts = ["7", "007", "+7", "x", "9"]
    assert from_text(", ".join(texts), catalogue) == [asked]
    file = tmp_path / "asked.csv"
    file.write_text("user_id,item_id\n" + "".join(f"u,{text}\n" for text in texts))
    assert from_file(file, catalogue)["item_id"].to_list() == asked


def test_integers_are_asked_for_by_strings_and_the_reverse(tmp_path: Path) -> None:
    file = tmp_path / "asked.csv"
    file.write_text("user_id,item_id\nu,7\nu,8\n")
    assert from_file(file, np.array([7, 8]))["item_id"].to_list() == [7, 8]
    assert from_file(file, np.array(["7", "x"], object))["item_id"].to_list() == ["7", "8"]
