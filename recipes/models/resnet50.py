"""ResNet-50 as `transformers` configures it, with random weights from a fixed seed: for speed, not for sight."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

SEED = 50
IMAGES = 80
DAMPING = 0.3
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


def network() -> Any:
    """pixel_values: float32 (batch, 3, 224, 224) -> logits: float32 (batch, 1000).

    Two things keep a random network from behaving like none that is ever deployed. The batch-norms take their
    statistics from a few made-up images: without that, activations grow from block to block until what an image
    contributes drowns in a constant. And the residual branches are damped (training starts them at 0; Goyal et al.
    2017, section 5.1), without which every rounding error is amplified fifty layers deep.
    """
    import torch
    from transformers import ResNetConfig, ResNetForImageClassification
    from transformers.models.resnet.modeling_resnet import ResNetBottleNeckLayer

    class Network(torch.nn.Module):
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
            return self.inner(pixel_values).logits

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(SEED)
        model = Network(ResNetForImageClassification(ResNetConfig(num_labels=1000)))
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = None  # a plain mean over what it sees
            if isinstance(layer, ResNetBottleNeckLayer):
                layer.layer[-1].normalization.weight.fill_(DAMPING)
        model.train()(torch.from_numpy(images(4, seed=SEED + 1)))
    return model.eval()


network.random_weights = True  # type: ignore[attr-defined]


def samples() -> dict[str, npt.NDArray[np.float32]]:
    """80 made-up images: smooth fields of colour with edges and a little noise, normalised as ImageNet's are."""
    return {"pixel_values": images(IMAGES, seed=SEED)}


def images(count: int, *, seed: int) -> npt.NDArray[np.float32]:
    """float32 (count, 3, 224, 224). Natural images have most of their power in low frequencies (1/f; Field 1987)."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(224)[:, None], np.fft.rfftfreq(224)[None, :])
    decay = 1 / np.maximum(frequency, 1 / 224)
    white = np.fft.rfft2(rng.standard_normal((count, 3, 224, 224)))
    field = np.fft.irfft2(white * decay, s=(224, 224))
    field -= field.mean((2, 3), keepdims=True)
    field /= field.std((2, 3), keepdims=True)
    pixels = np.clip(0.45 + 0.25 * field, 0, 1).astype(np.float32)
    return np.ascontiguousarray((pixels - MEAN[:, None, None]) / DEVIATION[:, None, None])
