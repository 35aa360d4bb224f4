"""Weights in few bits: how many bytes they take (calculated by hand), what they cost, and what is refused."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from accel import plugins
from accel.compilation._onnx import operators, read, stored_as
from accel.compression._weights import Saved, in_blocks
from accel.errors import VariantError
from accel.plugins import Named
from tests.contract.test_compression import outputs, relative
from tests.small_models import cnn, facts, items, machine, mlp, transformer

WEIGHTS = 4 * 64 * 64 + 2 * 64 * 128
"""Of `transformer`: four projections and two layers of the feed-forward part, 32768 in all."""


def technique(**fields):
    return plugins.make("compression", Named("quantize_weights", fields))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        # Half a byte a weight and a float32 scale for each block of 32: 15.6 % of float32.
        ({"bits": 4}, WEIGHTS // 2 + WEIGHTS // 32 * 4),
        # Two zero points share a byte.
        ({"bits": 4, "symmetric": False}, WEIGHTS // 2 + WEIGHTS // 32 * 4 + WEIGHTS // 32 // 2),
        ({"bits": 4, "block_size": 64}, WEIGHTS // 2 + WEIGHTS // 64 * 4),
        ({"bits": 8, "block_size": 64}, WEIGHTS + WEIGHTS // 64 * 4),
    ],
)
def test_onnxruntime_stores_as_many_bytes_as_calculated(fields, expected, tmp_path):
    import onnx

    changed = technique(**fields).apply(transformer(tmp_path), None, "onnxruntime")
    saved = in_blocks(onnx.load(changed.as_form("onnx")))
    assert (saved.layers, saved.before, saved.after) == (6, 4 * WEIGHTS, expected)
    assert operators(read(changed.as_form("onnx")))["MatMulNBits"] == 6
    assert stored_as(changed.as_form("onnx")) == f"int{fields['bits']} weights"
    if fields["bits"] == 4:
        assert expected <= 0.2 * saved.before
    assert changed.facts.quantized


def test_openvino_stores_as_many_bytes_as_calculated(tmp_path):
    """Half a byte a weight and a float16 scale for each group of 32; the last layer by NNCF's rule in 8 bits
    with a scale and a zero point for each channel.
    """
    pytest.importorskip("nncf")
    import openvino as ov

    from accel.compression._weights import in_constants

    changed = technique(bits=4).apply(transformer(tmp_path), None, "openvino")
    saved = in_constants(ov.Core().read_model(str(changed.as_form("openvino"))))
    last = 128 * 64
    four = WEIGHTS - last
    assert (saved.layers, saved.before) == (6, 4 * WEIGHTS)
    assert saved.after == four // 2 + four // 32 * 2 + last + 64 * (2 + 1)
    assert saved.after <= 0.2 * saved.before


@pytest.mark.parametrize(
    ("target", "fields", "limit"),
    [
        ("onnxruntime", {}, 0.02),
        ("onnxruntime", {"bits": 4}, 0.25),
        ("onnxruntime", {"accuracy_level": 1}, 0.02),
        ("openvino", {}, 0.02),
        ("openvino", {"bits": 4}, 0.25),
        ("openvino", {"bits": 4, "awq": True}, 0.25),
    ],
)
def test_it_computes_nearly_the_same(target, fields, limit, tmp_path):
    pytest.importorskip("nncf")
    model = transformer(tmp_path)
    given = items(model.signature, 4, seed=9)
    expected, _ = outputs(model, "onnxruntime", tmp_path / "float", given)
    changed = technique(**fields).apply(model, None, target)
    found, effective = outputs(changed, target, tmp_path / "changed", given)
    assert 0 < relative(found, expected) < limit
    assert effective.precision.startswith(f"int{fields.get('bits', 8)} weights")
    assert changed.notes[-1].startswith("quantize_weights: 6 weights in")


def test_awq_reads_samples_where_there_are_some(tmp_path):
    pytest.importorskip("nncf")
    from tests.contract.test_compression import rows

    model = transformer(tmp_path)
    samples = rows(model)
    technique(bits=4, awq=True, count=10).apply(model, samples, "openvino")
    assert len({i for ids in samples.asked for i in ids}) == 10


def test_an_excluded_node_stays_in_float(tmp_path):
    changed = technique(exclude=["query"]).apply(transformer(tmp_path), None, "onnxruntime")
    assert Counter(operators(read(changed.as_form("onnx"))))["MatMulNBits"] == 5
    with pytest.raises(VariantError, match="`exclude` names `qury`") as raised:
        technique(exclude=["qury"]).apply(transformer(tmp_path), None, "onnxruntime")
    assert "query" in raised.value.next_step


def test_a_dense_layer_is_a_matrix_product_too(tmp_path):
    changed = technique(block_size=16).apply(cnn(tmp_path), None, "onnxruntime")
    assert operators(read(changed.as_form("onnx")))["MatMulNBits"] == 1


def test_a_small_model_is_said_to_gain_size_only():
    assert "size only" in Saved(1, 1000, 250).said("in 8 bits", 1000)
    assert "size only" not in Saved(1, 1 << 40, 1 << 38).said("in 8 bits", 1 << 40)
    assert "250 B" not in Saved(1, 1000, 250).said("in 8 bits", None)
    assert "(25.0 %)" in Saved(1, 1000, 250).said("in 8 bits", None)


@pytest.mark.parametrize("kind", ["convolutional", "depthwise"])
def test_convolutions_are_refused_with_the_reason(kind):
    refusal = technique().fits(facts(kind), machine(), "onnxruntime")
    assert refusal is not None
    assert "convolutions" in refusal.reason


@pytest.mark.parametrize(
    ("fields", "target", "word"),
    [
        ({"bits": 4}, "inductor", "CUDA"),
        ({"block_size": 64}, "openvino", "`block_size`"),
        ({"block_size": 48}, "onnxruntime", "power of two"),
        ({"block_size": 8}, "onnxruntime", "power of two"),
        ({"ratio": 0.8, "bits": 4}, "onnxruntime", "`ratio`"),
        ({"ratio": 0.0, "bits": 4}, "openvino", "`ratio`"),
        ({"accuracy_level": 1, "bits": 4}, "openvino", "`accuracy_level`"),
        ({}, "eager", "no kernels"),
    ],
)
def test_what_means_nothing_is_refused(fields, target, word):
    refusal = technique(**fields).fits(facts("transformer"), machine(), target)
    assert refusal is not None
    assert word in refusal.reason


def test_nothing_to_quantize_is_said(tmp_path):
    model = mlp(tmp_path)
    with pytest.raises(VariantError, match="Nothing was quantized"):
        technique(exclude=["first", "second"]).apply(model, None, "onnxruntime")


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", ["quantize_weights", "quantize_dynamic"])
def test_torchao_quantizes_every_linear_layer_of_a_copy(name):
    pytest.importorskip("torchao")
    from tests.small_networks import torch_attention

    model, given, expected = torch_attention()
    changed = plugins.make("compression", Named(name)).apply(model, None, "inductor")
    assert "4 Linear layers" in changed.notes[-1]
    found = changed.as_form("torch")(given)
    for output, value in expected.items():
        assert 0 < relative(found[output].numpy(), value) < 0.05
    assert np.array_equal(model.as_form("torch")(given)["logits"].numpy(), expected["logits"])
