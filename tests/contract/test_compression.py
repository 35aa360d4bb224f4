"""What every technique promises, and the traps that are known."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from accel import plugins
from accel.compilation._onnx import operators, read
from accel.errors import InputError, VariantError
from accel.model.convert import PATHS
from accel.plugins import Named
from tests.small_models import cnn, facts, items, machine, mlp

NAMES = plugins.names("compression")
TARGETS = plugins.names("compilation")
FROM_MODULE = ("prune_structured", "prune_magnitude", "prune_2_4", "low_rank", "fine_tune")
LEGAL = {
    **{name: {"onnxruntime", "openvino", "eager", "inductor"} for name in FROM_MODULE if name != "prune_2_4"},
    "quantize_dynamic": {"onnxruntime", "openvino", "inductor"},
    "quantize_static": {"onnxruntime", "openvino", "inductor"},
    "quantize_weights": {"onnxruntime", "openvino", "inductor"},
    "lower_precision": {"openvino", "eager", "inductor"},
}
# Ahead of time or while it is opened: the same compiler takes the same modules.
LEGAL = {name: {*targets, "aot_inductor"} if "inductor" in targets else targets for name, targets in LEGAL.items()}


class Rows:
    """Calibration samples: what a technique may use of Samples."""

    def __init__(self, inputs, ragged=None):
        self.inputs = inputs
        self.ragged = ragged or {}
        self.count = len(next(iter(inputs.values())))
        self.asked: list[list[int]] = []

    def batch(self, ids):
        self.asked.append([int(i) for i in ids])
        return {name: value[ids] for name, value in self.inputs.items()}


def rows(model, n=32):
    return Rows(items(model.signature, n, seed=3))


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def outputs(model, target, folder, given):
    folder.mkdir()
    backend = plugins.make("compilation", Named(target, {"threads": 1}))
    backend.build(model, folder)
    engine = backend.open(folder)
    try:
        return engine.run(given)["y"], engine.effective
    finally:
        engine.close()


def relative(found, expected):
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def technique(name, **fields):
    return plugins.make("compression", Named(name, fields))


@pytest.mark.parametrize("name", NAMES)
def test_plain_and_make_are_opposites_and_unknown_fields_are_named(name):
    assert plugins.plain(technique(name)) == Named(name)
    with pytest.raises(InputError, match="no field `per_chanel`"):
        technique(name, per_chanel=True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target", TARGETS)
def test_the_legal_pairs_are_these(name, target):
    # Weight-only quantization is for matrix products.
    given = facts("transformer", MatMul=3) if name == "quantize_weights" else facts()
    if name in FROM_MODULE:
        given = msgspec.structs.replace(given, forms=("torch", "onnx"))
    refusal = technique(name).fits(given, machine(), target)
    assert (refusal is None) == (target in LEGAL.get(name, set()))
    if refusal is not None:
        assert refusal.reason.endswith(".")
        assert refusal.next_step.endswith(".")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target", TARGETS)
def test_what_it_writes_is_what_the_backend_can_run(name, target):
    if target in LEGAL.get(name, set()):
        made = technique(name).writes(target)
        runs = plugins.load("compilation", target).runs
        assert made in runs or (made == "torch" and set(runs) & set(PATHS))


@pytest.mark.parametrize("name", FROM_MODULE)
def test_what_changes_a_module_is_refused_for_a_file(name):
    refusal = technique(name).fits(facts(), machine(), "onnxruntime")
    assert refusal is not None
    assert "torch module" in refusal.reason


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith("quantize")])
def test_a_quantized_model_is_not_quantized_again(name):
    for target in LEGAL[name]:
        refusal = technique(name).fits(facts(quantized=True), machine(), target)
        assert refusal is not None
        assert "already" in refusal.reason


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
def test_onnxruntime_on_the_cpu_has_no_16_bit(dtype):
    assert technique("lower_precision", dtype=dtype).fits(facts(), machine(), "onnxruntime") is not None


def test_bf16_is_refused_where_it_would_be_emulated():
    refusal = technique("lower_precision").fits(facts(), machine(flags=("avx2",)), "openvino")
    assert refusal is not None
    assert "would be emulated" in refusal.reason


def test_a_field_of_another_quantizer_is_refused_rather_than_ignored():
    refusal = technique("quantize_static", method="entropy").fits(facts(), machine(), "openvino")
    assert refusal is not None
    assert "`method`" in refusal.reason
    assert technique("quantize_static", method="entropy", portable=True).fits(facts(), machine(), "openvino") is None


@pytest.mark.parametrize(
    ("name", "fields", "target", "limit"),
    [
        ("quantize_dynamic", {}, "onnxruntime", 0.03),
        ("quantize_dynamic", {"operators": ["Conv", "MatMul", "Gemm"]}, "onnxruntime", 0.03),
        ("quantize_dynamic", {}, "openvino", 0.03),
        ("quantize_static", {}, "onnxruntime", 0.03),
        ("quantize_static", {"method": "percentile"}, "onnxruntime", 0.05),
        ("quantize_static", {"method": "entropy"}, "onnxruntime", 0.1),
        ("quantize_static", {}, "openvino", 0.08),
        ("quantize_static", {"portable": True}, "openvino", 0.03),
        ("lower_precision", {}, "openvino", 0.02),
    ],
)
@pytest.mark.parametrize("network", [cnn, mlp])
def test_it_computes_nearly_the_same_and_leaves_its_argument_alone(name, fields, target, limit, network, tmp_path):
    model = network(tmp_path)
    model.facts = facts("convolutional" if network is cnn else "other")
    before = digest(model.as_form("onnx"))
    given = items(model.signature, 8, seed=9)
    expected, _ = outputs(model, "onnxruntime", tmp_path / "float", given)
    changed = technique(name, **fields).apply(model, rows(model), target)
    found, effective = outputs(changed, target, tmp_path / "changed", given)
    assert relative(found, expected) < limit
    assert digest(model.as_form("onnx")) == before
    assert changed is not model
    assert changed.notes[-1].startswith(name)
    assert ("int8" in effective.precision) == name.startswith("quantize")
    assert changed.facts.quantized == name.startswith("quantize")


def test_dynamic_quantization_leaves_convolutions_alone_unless_asked(tmp_path):
    model = cnn(tmp_path)
    plain = operators(read(technique("quantize_dynamic").apply(model, None, "onnxruntime").as_form("onnx")))
    assert (plain["Conv"], plain["ConvInteger"], plain["MatMulInteger"]) == (2, 0, 1)
    asked = technique("quantize_dynamic", operators=["Conv"]).apply(model, None, "onnxruntime")
    assert operators(read(asked.as_form("onnx")))["ConvInteger"] == 2


def test_static_quantization_is_unsigned_by_signed_with_a_scale_per_channel(tmp_path):
    """S8 x S8, the tool's own default, gains nothing on x86."""
    model = cnn(tmp_path)
    changed = technique("quantize_static").apply(model, rows(model), "onnxruntime")
    proto = onnx.load(changed.as_form("onnx"))
    stored = {w.name: w for w in proto.graph.initializer}
    producers = {o: n for n in proto.graph.node for o in n.output}
    for node in proto.graph.node:
        if node.op_type == "Conv":
            weight, data = producers[node.input[1]], producers[node.input[0]]
            assert (weight.op_type, data.op_type) == ("DequantizeLinear", "DequantizeLinear")
            assert stored[weight.input[2]].data_type == onnx.TensorProto.INT8
            assert list(stored[weight.input[1]].dims) == [16]
            assert stored[data.input[2]].data_type == onnx.TensorProto.UINT8


def test_a_transformer_gets_matrix_products_only(tmp_path):
    model = cnn(tmp_path)
    model.facts = facts("transformer")
    changed = technique("quantize_static").apply(model, rows(model), "onnxruntime")
    assert "Gemm 1 of Conv 2, Gemm 1" in changed.notes[-1]


def test_dynamic_quantization_refuses_a_model_it_would_leave_as_it_is():
    refusal = technique("quantize_dynamic").fits(facts("convolutional", Conv=3, Relu=3), machine(), "onnxruntime")
    assert refusal is not None
    assert "Nothing would be quantized: the model has no MatMul or Gemm" in refusal.reason
    asked = technique("quantize_dynamic", operators=["Conv"])
    assert asked.fits(facts("convolutional", Conv=3, Relu=3), machine(), "onnxruntime") is None


def test_dynamic_quantization_of_convolutions_says_that_it_is_slow(tmp_path):
    asked = technique("quantize_dynamic", operators=["Conv"]).apply(cnn(tmp_path), None, "onnxruntime")
    assert "ConvInteger has no fast kernel" in asked.notes[-1]
    plain = technique("quantize_dynamic").apply(cnn(tmp_path), None, "onnxruntime")
    assert "ConvInteger" not in plain.notes[-1]


@pytest.mark.parametrize(("flag", "expected"), [("avx512_fp16", None), ("avx512_bf16", "would be emulated")])
def test_float16_is_asked_of_openvino_where_the_processor_has_it(flag, expected):
    refusal = technique("lower_precision", dtype="f16").fits(facts(), machine(flags=("avx2", flag)), "openvino")
    assert (refusal is None) if expected is None else (expected in refusal.reason)


def test_value_info_of_an_exporter_does_not_stop_dynamic_quantization(tmp_path):
    """Without clearing: `[ShapeInferenceError] Inferred shape and existing shape differ in dimension 0`."""
    model = mlp(tmp_path)
    proto = onnx.load(model.as_form("onnx"))
    proto.graph.value_info.append(onnx.helper.make_tensor_value_info("m", onnx.TensorProto.FLOAT, ["batch", 99]))
    onnx.save(proto, model.as_form("onnx"))
    changed = technique("quantize_dynamic").apply(model, None, "onnxruntime")
    assert operators(read(changed.as_form("onnx")))["MatMulInteger"] == 2


@pytest.mark.parametrize("name", ["quantize_dynamic", "quantize_static"])
def test_an_old_opset_is_converted_for_per_channel_scales(name, tmp_path):
    """Without: the file is written, and loading says `Unrecognized attribute: axis for operator DequantizeLinear`."""
    model = cnn(tmp_path, opset=11)
    given = items(model.signature, 4)
    expected, _ = outputs(model, "onnxruntime", tmp_path / "float", given)
    changed = technique(name).apply(model, rows(model), "onnxruntime")
    found, _ = outputs(changed, "onnxruntime", tmp_path / "changed", given)
    assert relative(found, expected) < 0.03


def test_nothing_to_quantize_is_said(tmp_path):
    with pytest.raises(VariantError, match="Nothing was quantized"):
        technique("quantize_dynamic", operators=["Conv"]).apply(mlp(tmp_path), None, "onnxruntime")


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_without_samples_the_next_step_is_one_that_needs_none(target, tmp_path):
    model = mlp(tmp_path)
    with pytest.raises(VariantError, match="calibration samples") as raised:
        technique("quantize_static").apply(model, rows(model, 0), target)
    assert "quantize_dynamic" in raised.value.next_step


def test_calibration_spreads_over_all_samples_in_batches_of_eight(tmp_path):
    model = mlp(tmp_path)
    samples = rows(model, 100)
    technique("quantize_static", count=20).apply(model, samples, "onnxruntime")
    seen = sorted({i for ids in samples.asked for i in ids})
    assert len(seen) == 20
    assert (seen[0], seen[-1]) == (0, 99)
    assert {len(ids) for ids in samples.asked} == {8, 4}


def test_ragged_samples_are_calibrated_one_by_one(tmp_path):
    model = mlp(tmp_path)
    samples = rows(model, 10)
    samples.ragged = {"x": 0}
    technique("quantize_static").apply(model, samples, "onnxruntime")
    assert {len(ids) for ids in samples.asked} == {1}


def test_a_fixed_batch_is_calibrated_with_full_batches(tmp_path):
    model = cnn(tmp_path, batch=4)
    samples = rows(model, 10)
    changed = technique("quantize_static").apply(model, samples, "onnxruntime")
    assert {len(ids) for ids in samples.asked} == {4}
    assert "8 calibration samples" in changed.notes[-1]


def test_the_rest_can_stay_in_float32(tmp_path):
    model = cnn(tmp_path)
    assert technique("quantize_static", rest="f32").apply(model, rows(model), "openvino").precision == "float32"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning", "ignore:To copy construct:UserWarning")
@pytest.mark.parametrize("network", ["torch_cnn", "torch_grey_cnn", "torch_attention"])
def test_pt2e_runs_in_inductor(network, tmp_path):
    pytest.importorskip("torchao")
    from tests import small_networks
    from tests.fresh_process import run_fresh

    model, given, expected = getattr(small_networks, network)()
    calibration = Rows({name: np.concatenate([value] * 4) for name, value in given.items()})
    changed = technique("quantize_static").apply(model, calibration, "inductor")
    assert " 0 in 8 bits" not in changed.notes[-1]
    assert ("1 of one input channel left in float" in changed.notes[-1]) == (network == "torch_grey_cnn")
    folder = tmp_path / "artefact"
    folder.mkdir()
    plugins.make("compilation", Named("inductor")).build(changed, folder)
    answer = run_fresh(Named("inductor"), folder, given, [1, 3], tmp_path / "run")
    assert answer["effective"]["precision"] == "int8"
    for n in (1, 3):
        for output, value in expected.items():
            assert relative(answer["outputs"][f"{n}/{output}"], value[:n]) < 0.1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_torchaos_layers_run_in_inductor(tmp_path):
    pytest.importorskip("torchao")
    from tests import small_networks
    from tests.fresh_process import run_fresh

    model, given, expected = small_networks.torch_attention()
    changed = technique("quantize_dynamic").apply(model, None, "inductor")
    folder = tmp_path / "artefact"
    folder.mkdir()
    plugins.make("compilation", Named("inductor")).build(changed, folder)
    answer = run_fresh(Named("inductor"), folder, given, [1, 3], tmp_path / "run")
    assert answer["effective"]["precision"] == "int8"
    for n in (1, 3):
        for output, value in expected.items():
            assert relative(answer["outputs"][f"{n}/{output}"], value[:n]) < 0.03
