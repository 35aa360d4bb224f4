"""Telling what a file holds from its bytes by Magika (real weights), on files of this very Python installation.

The network ships as ONNX in the package `magika` (Apache-2.0, by Google), of which no code is run; its SHA-256 is
checked before anything loads it. The truth is what the file's name ends in, so a few labels are wrong; which files
there are depends on what is installed.
"""

from __future__ import annotations

import hashlib
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pinned import package_file

DISTRIBUTION = "magika"
MODEL = "magika/models/standard_v3_3/model.onnx"
MODEL_SHA256 = "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c"
PART, BLOCK, PADDING = 1024, 4096, 256
LEAST_BYTES = 64
PER_TYPE = 300
CLASSES = {
    ".bz2": 16, ".c": 17, ".cc": 26, ".cmake": 22, ".cpp": 26, ".css": 31, ".csv": 32, ".exe": 128, ".f": 55,
    ".f90": 55, ".gif": 58, ".gz": 64, ".hpp": 26, ".html": 71, ".ini": 76, ".js": 83, ".json": 87, ".md":
    100, ".npy": 110, ".npz": 111, ".png": 133, ".py": 143, ".pyc": 144, ".rst": 153, ".so": 46, ".toml": 181,
    ".txt": 186, ".wav": 195, ".xml": 206, ".yaml": 209,
}  # fmt: skip
"""What a name ends in -> which of the network's 214 outputs stands for it (by the order of its configuration)."""


def network() -> Path:
    """bytes: int32 (batch, 2048), 256 where there is none -> target_label: float32 (batch, 214), probabilities."""
    return package_file(DISTRIBUTION, MODEL, MODEL_SHA256)


def samples() -> dict[str, npt.NDArray[Any]]:
    """Some thousands of files, at most 300 of an ending, drawn by the hashes of their names and contents."""
    listed = _listed()
    found = [(features(data), CLASSES[suffix]) for suffix in sorted(CLASSES) for data in _drawn(listed[suffix])]
    return {"bytes": np.stack([x for x, _ in found]), "labels": np.array([label for _, label in found], np.int64)}


def features(data: bytes) -> npt.NDArray[np.int32]:
    """The first and the last 1,024 bytes of a file without the white space around it, as the network was trained."""
    first, last = data[:BLOCK].lstrip(), data[-BLOCK:].rstrip()
    if len(data) <= BLOCK:
        first = last = data.strip()
    row = np.full(2 * PART, PADDING, np.int32)
    first, last = first[:PART], last[-PART:]
    row[: len(first)] = np.frombuffer(first, np.uint8)
    row[2 * PART - len(last) :] = np.frombuffer(last, np.uint8)
    return row


def _listed() -> dict[str, list[Path]]:
    """Twice as many files as are wanted by ending, in an order that doesn't depend on the file system."""
    found: dict[str, list[tuple[bytes, Path]]] = {suffix: [] for suffix in CLASSES}
    for root in dict.fromkeys(sysconfig.get_path(kind) for kind in ("stdlib", "purelib")):
        for folder, _, names in os.walk(root):
            for name in names:
                path = Path(folder, name)
                if path.suffix in found:
                    key = hashlib.sha256(os.path.relpath(path, root).encode()).digest()
                    found[path.suffix].append((key, path))
    return {suffix: [path for _, path in sorted(files)[: 2 * PER_TYPE]] for suffix, files in found.items()}


def _drawn(files: list[Path]) -> Iterator[bytes]:
    """Contents that differ, in the order of their hashes, which is no order of anything else."""
    contents: dict[bytes, bytes] = {}
    for path in files:
        data = _ends(path)
        if len(data.strip()) >= LEAST_BYTES:
            contents[hashlib.sha256(data).digest()] = data
    yield from (contents[key] for key in sorted(contents)[:PER_TYPE])


def _ends(path: Path) -> bytes:
    """The first and the last block of a file, the whole of a short one; nothing of one that is gone or closed to us."""
    try:
        with path.open("rb") as file:
            first = file.read(2 * BLOCK + 1)
            if len(first) <= 2 * BLOCK:
                return first
            file.seek(-BLOCK, os.SEEK_END)
            return first[:BLOCK] + file.read(BLOCK)
    except OSError:
        return b""
