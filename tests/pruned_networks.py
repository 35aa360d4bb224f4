"""Small torch networks that pruning is tried on, and a model around a module; importing this needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from accel.model import Model, Signature, Source, Tensor
from accel.model.torch_form import TorchForm
from tests.small_models import facts

FREE = ("batch", "length")


def model_of(module: nn.Module, given: dict[str, np.ndarray], folder: Path, kind: str = "convolutional") -> Model:
    """A Model with only the torch form; the first axis is free, and the second of integer inputs too."""
    form = TorchForm.from_names(module.eval(), list(given))
    outputs = {name: value.numpy() for name, value in form(given).items()}
    lengths = {a.shape[1] for a in given.values() if a.dtype.kind == "i"}

    def tensor(name: str, array: np.ndarray) -> Tensor:
        rest = ["length" if i == 1 and size in lengths else size for i, size in enumerate(array.shape)][1:]
        return Tensor(name, array.dtype.name, ("batch", *rest))

    signature = Signature(
        inputs=tuple(tensor(n, a) for n, a in given.items()),
        outputs=tuple(tensor(n, a) for n, a in outputs.items()),
        batch="any",
    )
    return Model(
        source=Source(kind="torch", name="test", location="nowhere"),
        signature=signature,
        folder=folder,
        forms={"torch": form},
        example={name: value[:2] for name, value in given.items()},
        facts=facts(kind),
    )


def images(channels: int = 3, n: int = 4, size: int = 8) -> dict[str, np.ndarray]:
    """n small images."""
    return {"x": np.random.default_rng(0).normal(size=(n, channels, size, size)).astype(np.float32)}


def texts(n: int = 4, length: int = 6) -> dict[str, np.ndarray]:
    """n texts as token ids with a mask."""
    ids = np.random.default_rng(0).integers(0, 50, (n, length))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def seeded(make: Any) -> Any:
    """A module made with a fixed seed, its statistics of normalisation not trivial."""
    torch.manual_seed(0)
    module = make()
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2.0)
    return module.eval()


class Residual(nn.Module):
    """A stem, two convolutions beside a shortcut, a head: 3 -> 32 -> 32 -> 10."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.conv1 = nn.Conv2d(32, 32, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 32, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(32)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        x = self.stem(x)
        y = self.norm2(self.conv2(self.norm1(self.conv1(x)).relu()))
        return self.head((x + y).relu().mean((2, 3)))


class Depthwise(nn.Module):
    """Pointwise, depthwise, pointwise, and a grouped convolution with group norm: 3 -> 32 -> 32 -> 16 -> 5."""

    def __init__(self) -> None:
        super().__init__()
        self.expand = nn.Conv2d(3, 32, 1, bias=False)
        self.depth = nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False)
        self.project = nn.Conv2d(32, 16, 1, bias=False)
        self.grouped = nn.Conv2d(16, 16, 3, padding=1, groups=2, bias=False)
        self.norm = nn.GroupNorm(2, 16)
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = self.depth(self.expand(x).relu()).relu()
        return self.head(self.norm(self.grouped(self.project(x))).relu().mean((2, 3)))


class Mlp(nn.Module):
    """16 -> 32 -> 32 -> 4."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, x):
        return self.layers(x)


class Fused(nn.Module):
    """One attention of 4 heads with query, key and value from one layer, as vision transformers have it.

    stiff: its code counts on the width of what comes in, as older ones do.
    """

    def __init__(self, stiff: bool = False) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.stiff = 4, 8, stiff
        self.qkv = nn.Linear(32, 96)
        self.proj = nn.Linear(32, 32)

    def forward(self, x):
        b, n, c = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        y = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return self.proj(y.reshape(b, n, c) if self.stiff else y.flatten(2))


class Vision(nn.Module):
    """Patches of an image, class token and positions, one layer of attention and neurons, a head."""

    def __init__(self, stiff: bool = False) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 32, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 32))
        self.position = nn.Parameter(torch.randn(1, 5, 32))
        self.norm1, self.norm2 = nn.LayerNorm(32), nn.LayerNorm(32)
        self.attention = Fused(stiff)
        self.up, self.down = nn.Linear(32, 64), nn.Linear(64, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
        x = x + self.attention(self.norm1(x))
        x = x + self.down(nn.functional.gelu(self.up(self.norm2(x))))
        return self.head(x[:, 0])


def bert(layers: int = 2) -> nn.Module:
    """A Hugging Face BERT of 4 heads of 8, 64 neurons; gives its last hidden state."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=16,
    )

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = BertModel(config, add_pooling_layer=False)

        def forward(self, input_ids, attention_mask):
            return self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    return Network()
