"""A torch module whose graph depends on a length, so that each new length is compiled anew; needs torch."""

from __future__ import annotations

import torch
from torch import nn


class Unrolled(nn.Module):
    """x: (batch, length, 2) -> one product a step, unrolled by whoever traces it -> (batch, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Parameter(torch.eye(2))

    def forward(self, x):
        state = torch.zeros_like(x[:, 0])
        for i in range(x.shape[1]):
            state = state + x[:, i] * self.step[0]
        return state
