"""Small torch modules that the plug-in tests share; importing this needs torch."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from accel.model import Signature, Tensor
from accel.model.torch_form import TorchForm
from tests.small_models import FileModel, facts


class Cnn(nn.Module):
    """Two convolutions with a normalisation between them; one ReLU module used twice, which PT2E trips over."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 16, 3, 1, 1)
        self.norm = nn.BatchNorm2d(16)
        self.second = nn.Conv2d(16, 16, 3, 2, 1)
        self.relu = nn.ReLU()
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        return self.head(self.relu(self.second(self.relu(self.norm(self.first(x))))).mean((2, 3)))


class Attention(nn.Module):
    """Token ids and a mask through one attention layer; two outputs in a dict, any length."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embedding = nn.Embedding(100, width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 5)

    def forward(self, ids, mask):
        h = self.embedding(ids)
        scores = self.query(h) @ self.key(h).transpose(1, 2) / h.shape[-1] ** 0.5
        scores = scores.masked_fill(mask[:, None, :] == 0, -1e4)
        h = self.norm(h + scores.softmax(-1) @ self.value(h))
        return {"logits": self.head(h.mean(1)), "hidden": h}


def torch_cnn(channels: int = 3) -> tuple[FileModel, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A model, 4 items and their outputs in float32."""
    torch.manual_seed(0)
    signature = Signature(
        inputs=(Tensor("x", "float32", ("batch", channels, 16, 16)),),
        outputs=(Tensor("output", "float32", ("batch", 5)),),
        batch="any",
    )
    form = TorchForm.from_names(Cnn(channels).eval(), ["x"])
    given = {"x": np.random.default_rng(0).normal(size=(4, channels, 16, 16)).astype(np.float32)}
    return _model(form, signature, given, "convolutional")


def torch_grey_cnn() -> tuple[FileModel, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The same on images of one channel, as digits are."""
    return torch_cnn(1)


def torch_attention() -> tuple[FileModel, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A model, 4 items of 12 tokens and their outputs in float32."""
    torch.manual_seed(0)
    signature = Signature(
        inputs=(Tensor("ids", "int64", ("batch", "length")), Tensor("mask", "int64", ("batch", "length"))),
        outputs=(
            Tensor("logits", "float32", ("batch", 5)),
            Tensor("hidden", "float32", ("batch", "length", 32)),
        ),
        batch="any",
    )
    form = TorchForm.from_names(Attention().eval(), ["ids", "mask"])
    mask = np.ones((4, 12), np.int64)
    mask[1, 7:] = 0
    given = {"ids": np.random.default_rng(0).integers(0, 100, (4, 12)), "mask": mask}
    return _model(form, signature, given, "transformer")


def _model(form, signature, given, kind):
    model = FileModel(signature, {"torch": form})
    model.facts = facts(kind)
    model.example = {name: value[:2] for name, value in given.items()}
    return model, given, {name: value.numpy() for name, value in form(given).items()}
