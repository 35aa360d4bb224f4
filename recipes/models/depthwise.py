"""A small network in the manner of MobileNetV3 (Howard et al. 2019), with real weights: it reads handwritten digits.

Nearly all of its wide convolutions are depthwise, with hard-swish and squeeze-and-excitation between them: what 8-bit
kernels gain least on and lose most accuracy with. `train_depthwise.py` made the weights.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

WEIGHTS = Path(__file__).with_name("depthwise.npz")
BLOCKS = (
    # kernel, expanded to, out, stride, squeeze-and-excitation
    (3, 32, 16, 1, True),
    (3, 64, 24, 2, False),
    (3, 72, 24, 1, True),
    (5, 96, 40, 2, True),
    (5, 120, 40, 1, True),
)
STEM, HEAD = 16, 128


class Excitation(nn.Module):  # type: ignore[misc]
    """Weighs channels by what all of them hold on average (Hu et al. 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(width, width // 4, 1)
        self.relu = nn.ReLU()
        self.expand = nn.Conv2d(width // 4, width, 1)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, h, w) -> the same."""
        weights: Tensor = self.gate(self.expand(self.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        return x * weights


class Inverted(nn.Module):  # type: ignore[misc]
    """Expand by 1x1, filter each channel alone, project back by 1x1; a shortcut where the shapes allow it."""

    def __init__(self, before: int, kernel: int, wide: int, after: int, stride: int, excited: bool) -> None:
        super().__init__()
        self.expand = _convolved(before, wide, 1, 1, nn.Hardswish())
        self.depthwise = _convolved(wide, wide, kernel, stride, nn.Hardswish(), groups=wide)
        self.excite: nn.Module = Excitation(wide) if excited else nn.Identity()
        self.project = _convolved(wide, after, 1, 1, nn.Identity())
        self.is_residual = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        """(batch, before, h, w) -> (batch, after, h / stride, w / stride)."""
        y: Tensor = self.project(self.excite(self.depthwise(self.expand(x))))
        return x + y if self.is_residual else y


def _convolved(before: int, after: int, kernel: int, stride: int, then: nn.Module, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after), then)


class Depthwise(nn.Module):  # type: ignore[misc]
    """Stem at half the size, five inverted residuals, a 1x1 convolution, mean over space, ten logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _convolved(1, STEM, 3, 2, nn.Hardswish())
        widths = [STEM, *(block[2] for block in BLOCKS)]
        self.blocks = nn.Sequential(
            *(
                Inverted(before, kernel, wide, after, stride, excited)
                for before, (kernel, wide, after, stride, excited) in zip(widths, BLOCKS, strict=False)
            )
        )
        self.head = _convolved(widths[-1], HEAD, 1, 1, nn.Hardswish())
        self.classify = nn.Linear(HEAD, 10)

    def forward(self, image: Tensor) -> Tensor:
        """image: float32 (batch, 1, 32, 32) in [0, 1] -> logits: float32 (batch, 10)."""
        logits: Tensor = self.classify(self.head(self.blocks(self.stem(image))).mean((2, 3)))
        return logits


def network(weights: Path = WEIGHTS) -> nn.Module:
    """The trained network in evaluation mode, with the weights beside this file.

    Raises OSError if they can't be read and RuntimeError if they belong to another architecture.
    """
    model = Depthwise()
    with np.load(weights, allow_pickle=False) as stored:
        model.load_state_dict({name: torch.from_numpy(stored[name]) for name in stored.files})
    return model.eval()
