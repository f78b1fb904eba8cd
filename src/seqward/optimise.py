"""Adam for tables of which a step reads few rows."""

from __future__ import annotations

from collections.abc import Iterable
from math import log

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

PART = 1 << 16
"""Rows brought up to date at a time."""
TAIL = 1e-9
"""What is left of a decay that is over."""


class RowAdam(torch.optim.Adam):
    """Adam that steps only the rows with a gradient, and brings the others up to date when they are next read.

    A row without a gradient still moves in Adam: its first moment goes on pushing it, and both moments decay. That is
    known in advance, so it is done at once for all steps since, before anybody reads the row (``read``). What is read,
    and so every gradient and every weight, is that of Adam, with two differences: sums are in another order, and
    epsilon, which changes its place in each of the steps left out, stands at its weighted mean (``_drift``). Of the way
    that weights went in 150 steps that was 2e-7 at gradients of 1e-4 and above, 4e-5 at 1e-5 and 2e-3 at 1e-8.

    A row that is read at every step takes Adam's own kernel each time. A table takes Adam's step whole where its
    gradient has no rows left out, or where it was read whole since the last step and so is up to date anyway.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        tables: Iterable[Tensor],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        """Args:
        tables: those of the parameters [rows, width] whose every reader calls ``read`` first.
        """
        super().__init__(parameters, lr=lr, betas=betas, fused=True)
        self.tables = list(tables)
        for table in self.tables:
            one = torch.zeros((), device=table.device)
            self.state[table] = {
                "step": one,
                "exp_avg": torch.zeros_like(table),
                "exp_avg_sq": torch.zeros_like(table),
                # The step that each row is up to date with, and that after which the table was last read whole. Floats,
                # because a checkpoint brings every tensor back in the table's type; as the step itself is one.
                "seen": torch.zeros(len(table), device=table.device),
                "whole": one - 1,
            }
        self._tails = tails_of(*self.param_groups[0]["betas"])

    @torch.no_grad()
    def read(self, table: Tensor, rows: Tensor | None = None) -> None:
        """Bring rows of a table, by default all of them, to where Adam would have them now."""
        state = self.state[table]
        if rows is None:
            state["whole"].copy_(state["step"])
            behind = (state["seen"] < state["step"]).nonzero()[:, 0]
        else:
            behind = rows.flatten()
            behind = behind[state["seen"].index_select(0, behind) < state["step"]].unique()
        for part in behind.split(PART) if len(behind) else ():
            self._drift(table, part)

    def read_all(self) -> None:
        """Bring everything up to date."""
        for table in self.tables:
            self.read(table)

    def _drift(self, table: Tensor, rows: Tensor) -> None:
        """What Adam does with gradients of 0 in the steps since each row was seen.

        After s steps and i more, a row with moments m and v moves by lr w_i m / (sqrt(v) + eps y_i), where, with
        j = s + i, w_i = (b1 / sqrt(b2))^i sqrt(1 - b2^j) / (1 - b1^j) and y_i = sqrt(1 - b2^j) / sqrt(b2)^i. The sums
        of w_i and of w_i y_i follow from tails that depend on j alone; in place of each y_i stands their mean.
        """
        state, group = self.state[table], self.param_groups[0]
        (beta1, beta2), now = group["betas"], state["step"].long()
        seen = state["seen"].index_select(0, rows).long()
        missed = (now - seen).double()
        push, place = (
            (tail[seen.clamp(max=len(tail) - 1)] - rate**missed * tail[now.clamp(max=len(tail) - 1)]).to(table)[:, None]
            for tail, rate in ((tail.to(table.device), rate) for tail, rate in self._tails)
        )
        m, v = state["exp_avg"].index_select(0, rows), state["exp_avg_sq"].index_select(0, rows)
        table.index_add_(0, rows, m * (group["lr"] * push) / v.sqrt().add_(group["eps"] * place / push), alpha=-1)
        state["exp_avg"].index_copy_(0, rows, m.mul_((beta1**missed).to(m)[:, None]))
        state["exp_avg_sq"].index_copy_(0, rows, v.mul_((beta2**missed).to(v)[:, None]))
        state["seen"].index_fill_(0, rows, state["step"])

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step of Adam; sparse gradients of tables are used up."""
        for table in self.tables:
            state, grad = self.state[table], table.grad
            if grad is None:
                continue
            if grad.is_sparse and state["whole"] < state["step"]:
                self._step_rows(table, grad.coalesce())
                table.grad = None
            else:
                self.read(table)
                table.grad = grad.to_dense() if grad.is_sparse else grad
                state["seen"].copy_(state["step"] + 1)
        super().step(closure)

    def _step_rows(self, table: Tensor, grad: Tensor) -> None:
        state, group = self.state[table], self.param_groups[0]
        rows = grad.indices()[0]
        self.read(table, rows)
        kept = [table.detach(), state["exp_avg"], state["exp_avg_sq"]]
        few = [tensor.index_select(0, rows) for tensor in kept]
        values, m, v = ([tensor] for tensor in few)
        (beta1, beta2), rest = group["betas"], {key: group[key] for key in ("lr", "weight_decay", "eps", "maximize")}
        rest |= {"beta1": beta1, "beta2": beta2, "amsgrad": False, "fused": True}
        adam(values, [grad.values()], m, v, [], [state["step"]], **rest)
        for tensor, new in zip(kept, few, strict=True):
            tensor.index_copy_(0, rows, new)
        state["seen"].index_fill_(0, rows, state["step"])


def tails_of(beta1: float, beta2: float) -> tuple[tuple[Tensor, float], tuple[Tensor, float]]:
    """Sums over i >= 1 that every drift is a difference of, for j = 0, 1, ... until they no longer change.

    Of (b1 / sqrt(b2))^i sqrt(1 - b2^(j + i)) / (1 - b1^(j + i)), and of (b1 / b2)^i (1 - b2^(j + i)) /
    (1 - b1^(j + i)).

    Returns:
        [steps] in double precision, and the rate that is raised to i, of each.
    """
    steps = int(log(TAIL) / log(beta2)) + 1
    number = torch.arange(1, steps + 1, dtype=torch.float64)
    rises, falls = 1 - beta2**number, 1 - beta1**number
    push, place = beta1 / beta2**0.5, beta1 / beta2
    return (tail_of(rises.sqrt() / falls, push), push), (tail_of(rises / falls, place), place)


def tail_of(terms: Tensor, rate: float) -> Tensor:
    """Sum over i >= 1 of rate^i terms[j + i - 1] for each j; the terms go on as 1."""
    tail, sums = rate / (1 - rate), []
    for term in reversed(terms.tolist()):
        sums.append(tail)
        tail = rate * (term + tail)
    return torch.tensor([tail, *reversed(sums)], dtype=torch.float64)
