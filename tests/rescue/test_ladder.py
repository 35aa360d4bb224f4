"""Which settings are tried for which tool and model, and in which order."""

from __future__ import annotations

import pytest

from accel import plugins
from accel.plugins import Named
from accel.rescue.ladder import switches
from tests.small_models import facts, machine


def fields(name, quantizer, kind="convolutional", samples=500, quantized=None, **given):
    technique = plugins.make("compression", Named(name, given))
    made = facts(kind)
    quantized = quantized if quantized is not None else {"Conv": 2, "Gemm": 1}
    return [r.fields for r in switches(technique, quantizer, made, quantized=quantized, samples=samples)]


def test_ranges_of_a_histogram_are_suspected_first():
    found = fields(
        "quantize_static", "onnxruntime", method="distribution", quantized={"Conv": 2, "Relu": 2, "Add": 1, "Gemm": 1}
    )
    assert found[0] == {"method": "minmax"}
    assert found[1] == {"operators": ("Conv", "MatMul", "Gemm")}


def test_a_transformer_keeps_its_matrix_products_in_8_bits_alone():
    found = fields("quantize_static", "onnxruntime", "transformer", quantized={"MatMul": 9, "Add": 9, "Softmax": 4})
    assert found[0] == {"operators": ("MatMul", "Gemm")}


def test_what_is_set_already_is_not_tried():
    found = fields("quantize_static", "onnxruntime", count=300, per_channel=True, samples=300)
    assert {"per_channel": True} not in found
    assert not any("count" in one or "operators" in one for one in found)
    assert fields("quantize_static", "onnxruntime", per_channel=False)[0] == {"per_channel": True}


def test_nncf_is_told_of_transformers_first():
    found = fields("quantize_static", "openvino", model_type="none", preset="performance")
    assert found[:3] == [{"model_type": "transformer"}, {"preset": "mixed"}, {"rest": "f32"}]
    assert {"count": 300} in found


def test_more_samples_are_tried_last_and_only_if_there_are_more():
    assert fields("quantize_static", "openvino")[-1] == {"count": 300}
    assert not any("count" in one for one in fields("quantize_static", "openvino", samples=100))


def test_dynamic_quantization_leaves_convolutions_out():
    found = fields("quantize_dynamic", "onnxruntime", operators=["Conv", "MatMul"], per_channel=False)
    assert found == [{"per_channel": True}, {"operators": ("MatMul",)}]


def test_weights_get_finer_scales_and_8_bits_last():
    found = fields("quantize_weights", "onnxruntime", "transformer", bits=4, block_size=128)
    assert found[0] == {"block_size": 32}
    assert found[-1]["bits"] == 8
    assert {"awq": True} in fields("quantize_weights", "openvino", "transformer", bits=4)
    assert fields("quantize_weights", "openvino", "transformer", bits=8) == []


@pytest.mark.parametrize(
    ("name", "target", "given"),
    [
        ("quantize_static", "onnxruntime", {"method": "entropy", "operators": ["Add", "MatMul"]}),
        ("quantize_static", "openvino", {"model_type": "none", "preset": "performance", "count": 16}),
        ("quantize_static", "inductor", {"count": 16}),
        ("quantize_dynamic", "onnxruntime", {"per_channel": False, "operators": ["Conv", "MatMul"]}),
        ("quantize_dynamic", "openvino", {}),
        ("quantize_weights", "onnxruntime", {"bits": 4, "block_size": 128}),
        ("quantize_weights", "openvino", {"bits": 4, "block_size": 128}),
        ("quantize_weights", "inductor", {}),
    ],
)
def test_every_rung_can_stand_in_a_recipe_and_is_not_refused(name, target, given):
    technique = plugins.make("compression", Named(name, given))
    about = facts("transformer", MatMul=9, Add=3)
    assert technique.fits(about, machine(), target) is None
    rungs = switches(technique, target, about, quantized={"MatMul": 9, "Add": 3}, samples=500)
    for rung in rungs:
        made = plugins.make("compression", Named(name, {**given, **rung.fields}))
        assert made.fits(about, machine(), target) is None, rung
