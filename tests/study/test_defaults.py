"""The default orders name only what the registry has, and leave out what doesn't suit."""

from __future__ import annotations

import msgspec
import pytest

from accel import plugins
from accel.measurement.nvml import Gpu
from accel.plugins import Named
from accel.study import defaults
from tests.small_models import FLAGS, facts, machine

KINDS = ("convolutional", "depthwise", "transformer", "other")
TORCH = ("torch", "onnx", "openvino")


def found(kind, *, flags=FLAGS, forms=TORCH, synthetic=False, quantized=False, baseline="eager"):
    given = msgspec.structs.replace(facts(kind, quantized=quantized), forms=forms)
    return defaults.default_variants(given, machine(flags), baseline_backend=baseline, synthetic=synthetic)


@pytest.mark.parametrize("kind", KINDS)
def test_every_entry_is_in_the_registry_with_its_fields(kind):
    entries = defaults.entries(kind)
    assert 6 <= len(entries) <= 11
    names = [e.variant.name for e in entries]
    assert len(set(names)) == len(names)
    for entry in entries:
        plugins.make("compilation", entry.variant.backend)
        for named in entry.variant.compression:
            plugins.make("compression", named)
        assert set(entry.needs) <= set(defaults.NEEDS)


@pytest.mark.parametrize("kind", KINDS)
def test_no_default_pair_is_one_that_is_always_refused(kind):
    for variant in found(kind):
        for named in variant.compression:
            technique = plugins.make("compression", named)
            refusal = technique.fits(facts(kind), machine(), variant.backend.name)
            assert refusal is None or "not installed" in refusal.reason


@pytest.mark.parametrize("kind", KINDS)
def test_a_technique_that_reads_samples_says_so_in_needs(kind):
    for entry in defaults.entries(kind):
        reads = any(plugins.load("compression", c.name).needs_samples for c in entry.variant.compression)
        assert reads == ("samples" in entry.needs)


@pytest.mark.parametrize("kind", KINDS)
def test_dynamic_quantization_never_includes_convolutions(kind):
    for entry in defaults.entries(kind):
        for named in entry.variant.compression:
            assert "Conv" not in str(named.fields.get("operators", ""))


@pytest.mark.parametrize("kind", KINDS)
def test_compiling_comes_last(kind):
    order = [e.variant.backend.name for e in defaults.entries(kind)]
    first = order.index("inductor")
    assert not {"onnxruntime", "openvino"} & set(order[first:])


def test_without_the_instructions_nothing_needs_them():
    names = [v.name for v in found("convolutional", flags=("avx2",))]
    assert names == ["onnxruntime", "openvino", "inductor"]


def test_made_up_samples_are_never_calibrated_on():
    for variant in found("transformer", synthetic=True):
        assert "quantize_static" not in [c.name for c in variant.compression]
    assert "onnxruntime-int8-dynamic" in [v.name for v in found("transformer", synthetic=True)]


def test_an_onnx_model_has_no_torch_variants_and_its_baseline_is_not_repeated():
    names = [v.name for v in found("convolutional", forms=("onnx", "openvino"), baseline="onnxruntime")]
    assert names[0] == "openvino-bf16"
    assert not [n for n in names if n.startswith(("inductor", "eager")) or n == "onnxruntime"]


def test_a_function_has_none():
    assert found("other", forms=("callable",), baseline="callable") == []


def test_a_quantized_model_is_not_quantized_again():
    assert all(c.name == "lower_precision" for v in found("transformer", quantized=True) for c in v.compression)


@pytest.mark.parametrize(
    ("kind", "forms", "expected", "reference"),
    [
        ("torch", (), "eager", {"threads": 1}),
        ("pt2", (), "eager", {"threads": 1}),
        ("onnx", (), "onnxruntime", {"threads": 1, "optimization": "none"}),
        ("openvino", (), "openvino", {"threads": 1}),
        ("callable", (), "callable", {}),
        ("factory", TORCH, "eager", {"threads": 1}),
        ("factory", ("onnx", "openvino"), "onnxruntime", {"threads": 1, "optimization": "none"}),
        ("factory", ("callable",), "callable", {}),
    ],
)
def test_baseline_and_reference_follow_the_source(kind, forms, expected, reference):
    assert defaults.baseline(kind, forms).name == expected
    assert defaults.baseline(kind, forms).backend == Named(expected)
    assert defaults.reference(kind, forms).backend == Named(expected, reference)


def test_a_gpu_is_tried_first_and_only_where_there_is_one():
    gpu = tuple(e.variant.name for e in defaults.entries(defaults.GPU))
    with_gpu = msgspec.structs.replace(machine(), gpus=(Gpu(name="Test GPU"),))
    for kind in KINDS:
        assert not set(gpu) & {v.name for v in found(kind)}
        given = msgspec.structs.replace(facts(kind), forms=TORCH)
        names = [v.name for v in defaults.default_variants(given, with_gpu, baseline_backend="eager", synthetic=False)]
        own = [n for n in names if n in gpu]
        assert names[: len(own)] == own
        assert ("inductor-cuda-graphs-fp8" in own) == (kind == "transformer")
        assert names[len(own) :] == [v.name for v in found(kind)]


def test_every_entry_for_a_gpu_needs_one_and_is_refused_without():
    for entry in defaults.entries(defaults.GPU):
        assert "gpu" in entry.needs
        backend = plugins.make("compilation", entry.variant.backend)
        assert "GPU" in backend.fits(facts(), machine()).reason
        assert set(entry.kinds) <= set(KINDS)
