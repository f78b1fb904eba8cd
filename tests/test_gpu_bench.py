"""benchmarks/gpu.py runs from end to end on a processor, so that a GPU's minutes are not spent on a slip."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import gpu
from gpu import ARMS, main
from seqward.errors import SeqwardError


@pytest.mark.slow
def test_every_cell_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(gpu, "QUICK_ITEMS", (1_500,))
    main("cpu", True, 9.0, tmp_path / "gpu.json")
    result = json.loads(capsys.readouterr().out)
    assert result == json.loads((tmp_path / "gpu.json").read_text())
    assert result["agreement"]["relative error of gradients, fp32"] < 1e-5
    assert result["agreement"]["ranks that differ from double precision"] == 0
    assert result["paper_run"]["steps"] == 60 * 611 and result["paper_run"]["evaluations"] == 18
    (row,) = result["catalogues"]
    assert all(row[arm]["sessions_per_second"] > 0 for arm in ARMS)
    assert all(row[arm]["share_of_product"] > 0 for arm in ARMS if arm != "sampled")


def test_what_does_not_fit_says_so_and_what_comes_too_late_is_not_begun() -> None:
    def too_large() -> dict:
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert gpu.Bench("cpu", True, 1.0).cell(too_large) == {"not measured": "does not fit the GPU's memory"}

    def refused() -> dict:
        raise SeqwardError("needs 92 GB, and 83.8 GB are free")

    assert gpu.Bench("cpu", True, 1.0).cell(refused) == {"not measured": "needs 92 GB, and 83.8 GB are free"}
    assert gpu.Bench("cpu", True, -1.0).cell(too_large) == {"not measured": "the time is over"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_how_to_try_the_script() -> None:
    with pytest.raises(SystemExit, match=r"no CUDA device here\. --device cpu --quick tries the script"):
        main("cuda", False, 1.0, None)
