"""What the engines have in common: the parts of a linear head's scores, and answers that follow from others."""

from __future__ import annotations

from typing import Self

from torch import Tensor

from seqward.catalogue.scores import Best, LinearScores, exact


class Linear(LinearScores):
    """Scores ``states @ weight.T + bias``. An engine multiplies, sums and orders."""

    def __init__(self, states: Tensor, weight: Tensor, bias: Tensor | None = None) -> None:
        """Args: states [n, width], weight [items, width], bias [items]; of another type than float32 they are copied.

        Raises:
            ValueError: they do not fit together.
        """
        refuse_misfit(states, weight, bias)
        self.states, self.weight, self.bias = states.float(), weight.float(), None if bias is None else bias.float()

    @property
    def n_rows(self) -> int:
        return self.states.shape[0]

    @property
    def n_items(self) -> int:
        return self.weight.shape[0]

    @property
    def parts(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """states, weight and bias, without gaps."""
        return self.states.contiguous(), self.weight.contiguous(), None if self.bias is None else self.bias.contiguous()

    @exact
    def max(self) -> Best:
        return self.valued(self.topk(1).items[:, 0])

    def nll_and_max(self, items: Tensor, temperature: float = 1.0) -> tuple[Tensor, Best]:
        return self.nll(items, temperature), self.max()

    @exact
    def valued(self, items: Tensor) -> Best:
        """Some items [n], -1 where there is none, with the scores that ``at`` gives.

        These may differ from the settled ones in the last bit.
        """
        return Best(self.at(items.clamp(min=0)).masked_fill(items < 0, -float("inf")), items)

    def among(self, items: Tensor) -> Self:
        return type(self)(self.states, self.weight[items], None if self.bias is None else self.bias[items])

    def detach(self) -> Self:
        bias = None if self.bias is None else self.bias.detach()
        return type(self)(self.states.detach(), self.weight.detach(), bias)


def refuse_misfit(states: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    """Raises ValueError where states [n, width], weight [items, width] and bias [items] do not fit together.

    Kernels would read what is not theirs.
    """
    fit = states.dim() == weight.dim() == 2 and states.shape[1] == weight.shape[1] and weight.numel() > 0
    if not fit or (bias is not None and bias.shape != weight.shape[:1]):
        shapes = ", ".join(str(list(part.shape)) for part in (states, weight, bias) if part is not None)
        raise ValueError(
            "expected states [n, width], rows [items, width] and, if any, a bias [items], with one item and one column "
            f"at least; got {shapes}"
        )
