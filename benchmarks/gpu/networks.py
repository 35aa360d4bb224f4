"""What runs on the GPU: the recipes' networks, one in the shape of MiniLM, and a tiny one to rehearse with.

All have random weights: they are for speed. Their outputs are compared with float32 on the processor all the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).parents[2]
_HERE = Path(__file__)
_RECIPES = ROOT / "recipes" / "models"
SEED = 6


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """A factory of a torch module and one of its samples, each as `file.py:function`."""

    title: str
    network: str
    samples: str


NETWORKS = {
    "resnet50": Network(
        title="ResNet-50, 224 x 224",
        network=f"{_RECIPES / 'resnet50.py'}:network",
        samples=f"{_RECIPES / 'resnet50.py'}:samples",
    ),
    "bert_base": Network(
        title="BERT-base, 128 tokens",
        network=f"{_RECIPES / 'bert_base.py'}:network",
        samples=f"{_RECIPES / 'bert_base.py'}:samples",
    ),
    "minilm": Network(
        title="MiniLM's shape, 128 tokens", network=f"{_HERE}:minilm", samples=f"{_RECIPES / 'bert_base.py'}:samples"
    ),
    "tiny": Network(title="a tiny CNN, to rehearse with", network=f"{_HERE}:tiny", samples=f"{_HERE}:few"),
}
MODELS = ("resnet50", "bert_base", "minilm")
REHEARSED = ("tiny",)


def minilm() -> Any:
    """input_ids, attention_mask: int64 (batch, tokens) -> embedding: float32 (batch, 384), of length 1.

    Six layers of 384, as all-MiniLM-L6-v2 has them (`recipes/models/minilm.py` has its weights too).
    """
    import torch
    from transformers import BertConfig, BertModel

    class Encoder(torch.nn.Module):
        def __init__(self, bert: Any) -> None:
            super().__init__()
            self.bert = bert

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
            mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
            return torch.nn.functional.normalize(mean, dim=1)

    shape = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return Encoder(BertModel(shape, add_pooling_layer=False)).eval()


def tiny() -> Any:
    """x: float32 (batch, 3, 32, 32) -> logits: float32 (batch, 10); needs torch alone."""
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2048, 10),
        ).eval()


def few() -> dict[str, npt.NDArray[np.float32]]:
    """64 inputs of `tiny`."""
    return {"input": np.random.default_rng(SEED).normal(size=(64, 3, 32, 32)).astype(np.float32)}


for _made in (minilm, tiny):
    _made.random_weights = True  # type: ignore[attr-defined]
