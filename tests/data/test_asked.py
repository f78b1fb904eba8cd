"""Item ids that a user asks with: each is the catalogue's own or unknown, never another that looks alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seqward.cli.histories import from_file, from_text
from seqward.data.columns import Columns
from seqward.histories import of_histories


@pytest.mark.parametrize(
    ("catalogue", "known"),
    [(np.array([7, 8]), [0]), (np.array(["7", "007"], object), [0, 1])],
)
def test_an_id_that_is_written_otherwise_is_unknown(tmp_path: Path, catalogue: np.ndarray, known: list) -> None:
    texts = ["7", "007", "+7", "x", "9"]
    file = tmp_path / "asked.csv"
    file.write_text("user_id,item_id\n" + "".join(f"u,{text}\n" for text in texts))
    for asked in ([from_text(", ".join(texts))], from_file(file, Columns())):
        said: list[str] = []
        (items,) = of_histories(asked, catalogue, said.append).items
        assert items.tolist() == known
        assert said[0].startswith(f"{5 - len(known)} items of the histories are not in the catalogue")


def test_integers_are_asked_for_by_strings_and_the_reverse(tmp_path: Path) -> None:
    file = tmp_path / "asked.csv"
    file.write_text("user_id,item_id\nu,7\nu,8\n")
    for catalogue, known in ((np.array([7, 8]), [0, 1]), (np.array(["7", "x"], object), [0])):
        (items,) = of_histories(from_file(file, Columns()), catalogue, lambda _: None).items
        assert items.tolist() == known
