"""onnxruntime on the whole graph of plain torch's SASRec: last state, all scores and the 20 best."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from peers.contestants.protocol import Meter, answer, asked

BEST = 20


def export(ask: Any, file: Path) -> None:
    """Write the graph; run in a process of its own, so that torch's memory is not counted."""
    import torch

    from peers.contestants.plain_torch import SASRec

    class Serving(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = SASRec(ask.shape).eval()

        def forward(self, history: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            best = torch.nn.functional.linear(self.model(history)[:, -1], self.model.table).topk(BEST)
            return best.values, best.indices

    history = torch.zeros(1, ask.shape.context, dtype=torch.int64)
    unfinished = file.with_suffix(".part")
    torch.onnx.export(
        Serving().eval(),
        (history,),
        str(unfinished),
        dynamo=False,
        opset_version=17,
        input_names=["history"],
        output_names=["values", "items"],
    )
    unfinished.rename(file)


def serve(ask: Any, file: Path, meter: Meter) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = ask.threads
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)

    def one() -> float:
        session.run(["items"], {"history": rng.integers(ask.shape.items, size=(1, ask.shape.context))})
        return 1.0

    meter.run(one)


def main() -> None:
    ask = asked()
    file = Path(ask.work) / f"sasrec-{ask.shape.items}.onnx"
    if len(sys.argv) > 2:
        export(ask, file)
        return
    if not file.is_file():
        subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "peers.contestants.onnx_graph", *sys.argv[1:], "export"], check=True
        )
    meter = Meter(ask)
    serve(ask, file, meter)
    answer(meter, "onnxruntime", "numpy")


if __name__ == "__main__":
    main()
