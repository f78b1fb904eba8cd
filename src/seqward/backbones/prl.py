"""PRL (Xin et al., SIGIR 2022): a state, the step and the return to be reached, read together by attention.

A backbone around SASRec. In training it is told what followed each event; in serving it asks for so many times what
followed in training at the same step, in the mean.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from seqward.backbones.attention import attend
from seqward.backbones.backbone import Histories, Vocabulary, initialise
from seqward.backbones.dropout import dropout
from seqward.backbones.sasrec import SASRec, SASRecSettings
from seqward.settings import NonNegative, settings

PROMPTS = 3
"""State, step and wanted return."""


@settings
class PRLSettings(SASRecSettings):
    ask: NonNegative = 2.0
    """In serving the return asked for is this many times the mean return of training at the same step."""
    prompt_activation: Literal["relu", "none"] = "relu"
    """What follows the sum over state, step and return (relu in the released code)."""


class PRL(nn.Module):
    """SASRec's states [B, S, width], each read with its step and the return wanted from there on.

    Row j of a history reads no other wanted return than its own, as in the source.
    """

    bidirectional = False
    skips_padding = False

    def __init__(self, s: PRLSettings, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.settings, self.pad = s, vocabulary.pad
        self.steps = nn.Embedding(s.session_max_len + 1, s.n_factors)
        self.wanted = nn.Linear(1, s.n_factors, bias=False)
        self.query, self.key, self.value = (nn.Linear(s.n_factors, s.n_factors) for _ in range(3))
        self.mix = nn.Linear(PROMPTS, 1)
        initialise(self, s.init)
        nn.init.normal_(self.wanted.weight, std=0.01)
        self.sasrec = SASRec(s, vocabulary)
        self.seen: Tensor
        """[steps] how many returns were told at each step."""
        self.mean: Tensor
        """[steps] and their mean; 1 where there was none."""
        self.register_buffer("seen", torch.zeros(s.session_max_len + 1, dtype=torch.float64))
        self.register_buffer("mean", torch.ones(s.session_max_len + 1, dtype=torch.float64))

    @property
    def width(self) -> int:
        return self.settings.n_factors

    @property
    def context(self) -> int:
        return self.settings.session_max_len

    @property
    def items(self) -> nn.Embedding:
        return self.sasrec.items

    def forward(self, histories: Histories, causal: bool = True) -> Tensor:
        """States [B, S, width], see ``Backbone``; in training the returns that are told enter the means."""
        # Items read so far, the start token left out; beyond the context it is the last step, as SASRec's positions.
        step = ((histories.items != self.pad).cumsum(1) - 1).clamp(0, self.context)
        if self.training and histories.wanted is not None:
            self._remember(step, histories.wanted)
        wanted = self._asked(step, histories.wanted)
        return self._prompted(self.sasrec(histories, causal), self.steps(step), self.wanted(wanted[..., None]))

    @torch.no_grad()
    def _remember(self, step: Tensor, wanted: Tensor) -> None:
        known = ~torch.isnan(wanted)
        steps, returns = step[known], wanted[known].double()
        count = torch.zeros_like(self.seen).index_add_(0, steps, torch.ones_like(returns))
        total = torch.zeros_like(self.mean).index_add_(0, steps, returns)
        self.seen += count
        self.mean += (total - count * self.mean) / self.seen.clamp(min=1)

    def _asked(self, step: Tensor, wanted: Tensor | None) -> Tensor:
        """[B, S] what was told, and the backbone's own wish where nothing was."""
        own = self.settings.ask * self.mean[step].float()
        return own if wanted is None else torch.where(torch.isnan(wanted), own, wanted)

    def _prompted(self, *prompts: Tensor) -> Tensor:
        """Attention over the three vectors of each row, and one weighted sum of what they have read."""
        s = self.settings
        rate = s.dropout_rate if self.training else 0.0
        x = dropout(torch.stack(prompts, 2).flatten(0, 1), s.dropout_rate, self.training)  # [B * S, 3, width]
        visible = torch.ones(1, 1, PROMPTS, PROMPTS, dtype=torch.bool, device=x.device)
        x = x + attend(self.query(x), self.key(x), self.value(x), s.n_heads, visible, rate)
        mixed = self.mix(x.transpose(1, 2))[..., 0].view(prompts[0].shape)
        return relu(mixed) if s.prompt_activation == "relu" else mixed
