"""ViT-B/16 (Dosovitskiy et al. 2021) as `transformers` configures it, with random weights: for speed, not for sight."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from resnet50 import images

SEED = 86
IMAGES = 64


def network() -> Any:
    """pixel_values: float32 (batch, 3, 224, 224) -> logits: float32 (batch, 1000)."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    class Network(torch.nn.Module):
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
            return self.inner(pixel_values).logits

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return Network(ViTForImageClassification(ViTConfig(num_labels=1000))).eval()


network.random_weights = True  # type: ignore[attr-defined]


def samples() -> dict[str, npt.NDArray[np.float32]]:
    """64 made-up images, as ResNet-50's recipe makes them."""
    return {"pixel_values": images(IMAGES, seed=SEED)}
