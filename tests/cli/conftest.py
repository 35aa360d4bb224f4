"""A small model with samples in a folder, and a way to run the command line in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest


class Said(msgspec.Struct, frozen=True):
    """What a command line gave back."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The last line of stderr: what went wrong."""
        return self.err.strip().rpartition("\n")[2]


Accel = Callable[..., Said]


@pytest.fixture
def accel_cli(capfd: pytest.CaptureFixture[str]) -> Accel:
    """Runs `accel ARGUMENTS` in this process; stdout and stderr are those of the process."""
    from accel.cli.main import run

    def call(*arguments: str) -> Said:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Said(code, out, err)

    return call


def matmul(path: Path, *, operator: str = "MatMul", batch: int | str = "batch") -> Path:
    """Write y (batch, 3) = x (batch, 4) @ w as ONNX, with another operator or a fixed batch if asked."""
    import onnx
    from onnx import TensorProto, helper

    weight = np.arange(12, dtype=np.float32).reshape(4, 3) / 12
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "w"], ["y"])],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 3])],
        [helper.make_tensor("w", TensorProto.FLOAT, weight.shape, weight.tobytes(), raw=True)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def samples(path: Path, **arrays: np.ndarray) -> Path:
    """Write arrays as .npz; without any, 64 rows that suit the small model."""
    given = arrays or {"x": np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)}
    np.savez(path, **given)  # type: ignore[arg-type]
    return path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that holds `model.onnx` and `samples.npz`."""
    monkeypatch.chdir(tmp_path)
    matmul(tmp_path / "model.onnx")
    samples(tmp_path / "samples.npz")
    return tmp_path
