"""Facts against graphs whose multiply-accumulates a person can count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from accel.model import Facts, Model, describe
from accel.model.facts import Counts, conclude
from tests.models import graphs


def facts(path: Path, where: Path) -> Facts:
    return Model.load(describe(path, folder=where), where / "m").facts


def test_a_depthwise_network_is_counted_by_hand(tmp_path: Path) -> None:
    found = facts(graphs.depthwise(tmp_path / "d.onnx"), tmp_path)
    assert found.kind == "depthwise"
    assert found.macs_per_item == 36 * (8 * 3) + 36 * 8 * 9 + 36 * (4 * 8)
    assert found.parameters == 24 + 72 + 32
    assert found.weight_bytes == 4 * found.parameters
    assert found.operators == {"Conv": 3}
    assert found.depthwise_share == 1.0  # the one convolution wider than 1x1 is depthwise
    assert found.forms == ("onnx", "openvino")


def test_attention_makes_a_transformer_and_the_table_a_vocabulary(tmp_path: Path) -> None:
    found = facts(graphs.attention(tmp_path / "a.onnx"), tmp_path)
    assert found.kind == "transformer"
    assert found.macs_per_item == 64 * 64 * 8 + 64 * 8 * 64 + 64 * 5 * 8  # 64 tokens
    assert found.vocabulary == {"ids": 50}


def test_a_softmax_at_the_end_is_no_attention(tmp_path: Path) -> None:
    found = facts(graphs.classifier(tmp_path / "c.onnx"), tmp_path)
    assert found.kind == "other"
    assert found.macs_per_item == 4 * 6 + 6 * 3


def test_openvino_counts_the_same(tmp_path: Path) -> None:
    for make in (graphs.depthwise, graphs.attention, graphs.classifier):
        model = Model.load(describe(make(tmp_path / "x.onnx"), folder=tmp_path), tmp_path / make.__name__)
        xml = model.as_form("openvino")
        other = Model.load(describe(xml, folder=tmp_path), tmp_path / f"{make.__name__}-ir").facts
        assert other.kind == model.facts.kind
        assert other.macs_per_item == model.facts.macs_per_item
        assert other.forms == ("openvino",)


def test_shapes_that_inference_cannot_find_are_seen_in_a_run(tmp_path: Path) -> None:
    """A reshape by numbers computed from data: only a run tells the shape."""
    nodes = [
        helper.make_node("NonZero", ["x"], ["where"]),
        helper.make_node("Shape", ["where"], ["size"]),
        helper.make_node("Slice", ["size", "one", "two"], ["count"]),
        helper.make_node("Concat", ["count", "minus"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["column"]),
        helper.make_node("MatMul", ["column", "w"], ["y"]),
    ]
    weights = [
        graphs.weight("w", 1, 3),
        *(onnx.numpy_helper.from_array(np.array([v]), n) for n, v in (("one", 1), ("two", 2), ("minus", -1))),
    ]
    onnx.save(graphs.graph(nodes, weights, {"x": ["n", 4]}, {"y": ["m", 3]}), str(tmp_path / "r.onnx"))
    assert facts(tmp_path / "r.onnx", tmp_path).macs_per_item == 4 * 3


def test_quantized_graphs_are_told(tmp_path: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(str(graphs.classifier(tmp_path / "c.onnx")), str(tmp_path / "q.onnx"))
    assert facts(tmp_path / "q.onnx", tmp_path).quantized
    assert not facts(tmp_path / "c.onnx", tmp_path / "plain").quantized


@pytest.mark.parametrize(
    ("counts", "kind"),
    [
        (Counts(convs=9, wide_convs=8, conv_macs=10, matmul_macs=4), "convolutional"),
        (Counts(convs=9, wide_convs=8, depthwise=4, conv_macs=10, matmul_macs=4), "depthwise"),
        (Counts(convs=9, wide_convs=8, depthwise=3, conv_macs=10, matmul_macs=4), "convolutional"),  # 3/8 < 0.4
        (Counts(convs=9, wide_convs=8, depthwise=8, conv_macs=10, matmul_macs=4, attention=True), "convolutional"),
        (Counts(convs=1, conv_macs=4, matmuls=5, matmul_macs=10, attention=True), "transformer"),
        (Counts(convs=1, conv_macs=4, matmuls=5, matmul_macs=10), "other"),
        (Counts(convs=9, conv_macs=None, matmuls=5, attention=True), "convolutional"),  # counted, not weighed
        (Counts(convs=1, conv_macs=None, matmuls=5, attention=True), "transformer"),
        (Counts(conv_macs=None, matmul_macs=None), "other"),
    ],
)
def test_the_rule(counts: Counts, kind: str) -> None:
    assert conclude(counts, ()).kind == kind


def test_facts_are_kept_for_the_next_child(tmp_path: Path) -> None:
    path = graphs.classifier(tmp_path / "c.onnx")
    first = facts(path, tmp_path)
    kept = tmp_path / "m" / "facts.json"
    kept.write_text(kept.read_text().replace('"kind":"other"', '"kind":"transformer"'))
    assert facts(path, tmp_path).kind == "transformer"  # read, not counted
    assert first.kind == "other"


def test_a_torch_module_that_cannot_be_exported_is_counted_by_its_layers(tmp_path: Path) -> None:
    import torch

    class Branching(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)

        def forward(self, x):
            if x.sum().item() > 1e9:
                return self.conv(x) + 1
            return self.conv(x)

    module = Branching()
    module.example_inputs = (torch.ones(1, 3, 5, 5),)
    model = Model.load(describe(module, folder=tmp_path / "o"), tmp_path / "m")
    assert model.facts.kind == "convolutional"
    assert model.facts.macs_per_item == 25 * 4 * 27
    assert model.facts.parameters == 4 * 27 + 4
    assert model.facts.forms == ("torch",)
    assert any("No ONNX form" in note for note in model.notes)
