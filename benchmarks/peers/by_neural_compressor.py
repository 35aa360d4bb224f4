"""A quantized file by neural-compressor's documented call, with the Python where it is installed (it wants NumPy 1).

    PYTHON benchmarks/peers/by_neural_compressor.py model.onnx calibration.npz folder

calibration.npz: arrays `i/name`, item i of input `name`, the batch on axis 0. Needs neither accel nor this repository.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


class Items:
    """A dataloader as the tool wants one: pairs of named inputs and a label it never reads."""

    batch_size = 1

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[tuple[dict[str, Any], int]]:
        for row in self.rows:
            yield row, 0

    def __len__(self) -> int:
        return len(self.rows)


def read(path: Path) -> list[dict[str, Any]]:
    """The items in their order."""
    rows: dict[int, dict[str, Any]] = {}
    with np.load(path) as file:
        for key in file.files:
            at, _, name = key.partition("/")
            rows.setdefault(int(at), {})[name] = file[key]
    return [rows[at] for at in sorted(rows)]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("samples", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    from neural_compressor import PostTrainingQuantConfig, quantization

    rows, source, out = read(given.samples), given.source.resolve(), given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    config = PostTrainingQuantConfig(calibration_sampling_size=len(rows))
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):  # it leaves a workspace where it runs
        made = quantization.fit(str(source), config, calib_dataloader=Items(rows))
    if made is None:
        print("it found no quantized model", file=sys.stderr)
        return 1
    made.save(str(out / "model.onnx"))
    version = importlib.metadata.version("neural-compressor")
    told = {
        "called": f"quantization.fit(model, PostTrainingQuantConfig(calibration_sampling_size={len(rows)}))",
        "version": f"neural-compressor {version}",
    }
    (out / "called.json").write_text(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
