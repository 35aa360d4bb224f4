"""Which operators of a quantized file ONNX Runtime would quantize by itself, if it weren't told not to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, helper, numpy_helper

from accel.compilation._onnx import float_between_quantized
from tests.small_models import save


def graph(folder: Path, *behind: NodeProto, weight: str = "w", entry: str = "d") -> Path:
    """x -> Q -> DQ -> Conv `conv` (float weights, 1x1) -> what is behind it -> y."""
    weights = [
        numpy_helper.from_array(np.array(0.1, np.float32), "s"),
        numpy_helper.from_array(np.array(0, np.uint8), "z"),
        numpy_helper.from_array(np.ones((2, 2, 1, 1), np.float32), "w"),
        numpy_helper.from_array(np.ones((2, 2, 1, 1), np.uint8), "w8"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w8", "s", "z"], ["w8d"]),
        helper.make_node("Conv", [entry, weight], ["c"], name="conv"),
        *behind,
    ]
    return save(folder / "m.onnx", nodes, weights, ["b", 2, 4, 4], ["b", 2, 4, 4], 17)


def quantized(given: str, out: str = "y") -> tuple[NodeProto, NodeProto]:
    return (
        helper.make_node("QuantizeLinear", [given, "s", "z"], [f"q_{given}"]),
        helper.make_node("DequantizeLinear", [f"q_{given}", "s", "z"], [out]),
    )


RELU = helper.make_node("Relu", ["c"], ["r"])


@pytest.mark.parametrize("behind", [quantized("c"), (RELU, *quantized("r"))])
def test_float_weights_between_8_bit_numbers(behind: tuple[NodeProto, ...], tmp_path: Path) -> None:
    assert float_between_quantized(graph(tmp_path, *behind)) == ("conv",)


@pytest.mark.parametrize(
    ("behind", "given"),
    [
        ((helper.make_node("Relu", ["c"], ["y"]),), {}),  # float behind it
        (quantized("c"), {"weight": "w8d"}),  # quantized in the file
        (quantized("c"), {"entry": "x"}),  # float before it
        (
            (*quantized("c", "a"), helper.make_node("Add", ["a", "c"], ["y"])),
            {},
        ),  # somebody else reads the float numbers
    ],
)
def test_others_are_left_alone_by_the_runtime(
    behind: tuple[NodeProto, ...], given: dict[str, str], tmp_path: Path
) -> None:
    assert float_between_quantized(graph(tmp_path, *behind, **given)) == ()
