"""BERT base as `transformers` configures it, with random weights from a fixed seed: for speed, not for sense."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

SEED = 110
TEXTS = 64
TOKENS = 128
FIRST_WORD, VOCABULARY = 1000, 30522  # below: BERT's special and unused tokens
START, END = 101, 102


def network() -> Any:
    """input_ids, attention_mask: int64 (batch, tokens) -> hidden: float32 (batch, tokens, 768)."""
    import torch
    from transformers import BertConfig, BertModel

    class Network(torch.nn.Module):
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            return self.inner(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return Network(BertModel(BertConfig(), add_pooling_layer=False)).eval()


network.random_weights = True  # type: ignore[attr-defined]


def samples() -> dict[str, npt.NDArray[np.int64]]:
    """64 made-up texts of 128 tokens each, some words frequent and most rare, as in language (Zipf 1949)."""
    rng = np.random.default_rng(SEED)
    words = FIRST_WORD + (rng.zipf(1.2, (TEXTS, TOKENS)) - 1) % (VOCABULARY - FIRST_WORD)
    words[:, 0], words[:, -1] = START, END
    ids = words.astype(np.int64)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}
