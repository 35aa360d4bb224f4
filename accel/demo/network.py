"""The demo's network: a residual CNN that reads handwritten digits, 97 MFLOP an image.

It is a model file as a user would have one, so it imports torch; nothing else in `accel.demo` does.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

WEIGHTS = Path(__file__).with_name("digits.npz")
WIDTHS = (32, 64, 128)


class Residual(nn.Module):  # type: ignore[misc]
    """Two 3x3 convolutions beside a shortcut (He et al. 2016, "Deep residual learning", figure 2)."""

    def __init__(self, width_in: int, width_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width_out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width_out)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width_out, width_out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or width_in != width_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(width_in, width_out, 1, stride, bias=False), nn.BatchNorm2d(width_out)
            )
        # A ReLU of its own at each place: PT2E quantization refuses a module that is used twice.
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width_in, h, w) -> (batch, width_out, h / stride, w / stride)."""
        y = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(x)))))
        out: Tensor = self.relu2(y + self.shortcut(x))
        return out


class Digits(nn.Module):  # type: ignore[misc]
    """Stem, three residual stages at 32x32, 16x16 and 8x8, mean over space, ten logits."""

    def __init__(self) -> None:
        super().__init__()
        first, second, third = WIDTHS
        self.stem = nn.Sequential(nn.Conv2d(1, first, 3, 1, 1, bias=False), nn.BatchNorm2d(first), nn.ReLU())
        self.stages = nn.Sequential(Residual(first, first, 1), Residual(first, second, 2), Residual(second, third, 2))
        self.head = nn.Linear(third, 10)

    def forward(self, image: Tensor) -> Tensor:
        """image: float32 (batch, 1, 32, 32) in [0, 1] -> logits: float32 (batch, 10)."""
        logits: Tensor = self.head(self.stages(self.stem(image)).mean((2, 3)))
        return logits


def factory(weights: Path = WEIGHTS) -> nn.Module:
    """The trained network in evaluation mode, with the weights that ship in the package.

    Raises OSError if the weights can't be read and RuntimeError if they belong to another architecture.
    """
    model = Digits()
    with np.load(weights, allow_pickle=False) as stored:
        model.load_state_dict({name: torch.from_numpy(stored[name]) for name in stored.files})
    return model.eval()
