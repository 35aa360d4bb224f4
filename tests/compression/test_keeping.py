"""Static quantization piece by piece: what stays in float, the ranges, and the forms that suit a processor."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from accel import plugins
from accel.compression._calibration import Calibration
from accel.compression._graph import load_prepared, quantized_operators
from accel.compression._processor import forms_here
from accel.compression._qdq import calibrated, prepared_float, quantized
from accel.compression._ranges import endless, learn, still
from accel.errors import VariantError
from accel.model import Signature, Tensor
from accel.plugins import Named
from tests.contract.test_compression import Rows, outputs, relative, rows
from tests.small_models import FileModel, cnn, facts, items, machine, mlp, save, transformer


def technique(**fields):
    return plugins.make("compression", Named("quantize_static", fields))


def network(folder, nodes, weights=(), width=4, out=4):
    """x: [batch, width] through some nodes -> y: [batch, out]."""
    path = save(folder / "given.onnx", list(nodes), list(weights), ["batch", width], ["batch", out], 17)
    signature = Signature(
        inputs=(Tensor("x", "float32", ("batch", width)),),
        outputs=(Tensor("y", "float32", ("batch", out)),),
        batch="any",
    )
    model = FileModel(signature, {"onnx": path})
    model.facts = facts("other", MatMul=1)
    return model


def square(name="w", n=4):
    return numpy_helper.from_array(np.eye(n, dtype=np.float32), name)


def ranges_of(model, given, wanted=("MatMul",), **fields):
    """The ranges learned from items that come one by one."""
    source = prepared_float(model, technique())
    found = learn(source, wanted, Calibration(model, Rows(given), len(given["x"]), largest=1), **fields)
    from onnxruntime.quantization.calibrate import load_tensors_data

    known = {n: tuple(float(np.ravel(v)[0]) for v in d.range_value) for n, d in load_tensors_data(found).items()}
    return found, known


def test_a_node_to_exclude_stays_in_float(tmp_path):
    model = cnn(tmp_path)
    changed = technique(exclude=["conv2"]).apply(model, rows(model), "onnxruntime")
    assert quantized_operators(changed.as_form("onnx")) == {"Conv": 1, "Gemm": 1}
    assert "in float as asked: `conv2`" in changed.notes[-1]


def test_a_type_to_keep_stays_in_float(tmp_path):
    model = cnn(tmp_path)
    changed = technique(keep=["Conv"]).apply(model, rows(model), "onnxruntime")
    assert quantized_operators(changed.as_form("onnx")) == {"Gemm": 1}


@pytest.mark.parametrize(
    ("fields", "left"), [({"exclude": ["conv2"]}, "Convolution 1"), ({"keep": ["MatMul"]}, "Conv")]
)
def test_openvino_leaves_in_float_what_is_asked(fields, left, tmp_path):
    pytest.importorskip("nncf")
    model = cnn(tmp_path)
    note = technique(**fields).apply(model, rows(model), "openvino").notes[-1]
    assert left in note.split(" of ")[0]
    if "keep" in fields:
        assert "MatMul" not in note.split(" of ")[0]


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_a_misspelt_name_is_not_ignored(target, tmp_path):
    pytest.importorskip("nncf")
    model = cnn(tmp_path)
    with pytest.raises(VariantError, match="`exclude` names `convv2`") as raised:
        technique(exclude=["convv2"]).apply(model, rows(model), target)
    assert "conv2" in raised.value.next_step


def test_with_everything_in_float_the_float_model_is_back(tmp_path):
    """The self-check of a search over nodes: leaving all of them out must change nothing."""
    model = cnn(tmp_path)
    every = technique()
    source = prepared_float(model, every)
    ranges = calibrated(source, every, model, rows(model))
    names = [n.name for n in load_prepared(source).graph.node]
    assert len(set(names)) == len(names)
    given = items(model.signature, 4)
    expected, _ = outputs(model, "onnxruntime", tmp_path / "float", given)
    for i, asked in enumerate((technique(exclude=names), technique(keep=["Conv", "MatMul", "Gemm", "Add", "Relu"]))):
        path = quantized(source, ranges, asked, model, tmp_path / f"all{i}.onnx")
        found, _ = outputs(FileModel(model.signature, {"onnx": path}), "onnxruntime", tmp_path / f"out{i}", given)
        assert relative(found, expected) < 1e-6


def test_unnamed_nodes_can_be_named(tmp_path):
    model = mlp(tmp_path)
    proto = onnx.load(model.as_form("onnx"))
    for node in proto.graph.node:
        node.name = ""
    onnx.save(proto, model.as_form("onnx"))
    names = [n.name for n in load_prepared(prepared_float(model, technique())).graph.node]
    assert len(set(names)) == 3
    assert "" not in names


def test_a_histogram_does_not_grow_with_the_values(tmp_path):
    """The tool alone makes bins as wide as the first item asks for: 1e-6 / 2048, so 4e12 of them up to 2000."""
    model = network(tmp_path, [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")], [square()])
    given = {"x": np.full((40, 4), 1e-6, np.float32)}
    given["x"][20:] = np.linspace(0, 2000, 80, dtype=np.float32).reshape(20, 4)
    for method in ("percentile", "entropy"):
        _, found = ranges_of(model, given, method=method, percentile=100.0)
        assert found["x"][1] == pytest.approx(2000, rel=0.02)


def test_percentiles_cut_both_tails_alike(tmp_path):
    """Of 1000 values spread evenly over -1 to 1, 90 percent leave out 5 percent on each side."""
    model = network(tmp_path, [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")], [square()])
    given = {"x": np.linspace(-1, 1, 1000, dtype=np.float32).reshape(250, 4)}
    _, found = ranges_of(model, given, method="percentile", percentile=90.0)
    assert found["x"] == pytest.approx((-0.9, 0.9), abs=0.01)


def test_minima_and_maxima_are_exact(tmp_path):
    model = network(tmp_path, [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")], [square()])
    given = {"x": np.zeros((40, 4), np.float32)}
    given["x"][7, 1], given["x"][33, 2] = -3.5, 12.25
    _, found = ranges_of(model, given)
    assert found["x"] == found["y"] == (-3.5, 12.25)


def test_entropy_leaves_out_a_lonely_outlier(tmp_path):
    """With the tool's own 128 bins and 128 levels there is one candidate, the whole range: it does nothing."""
    model = network(tmp_path, [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")], [square()])
    given = {"x": np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)}
    given["x"][100, 0] = 60
    _, found = ranges_of(model, given, method="entropy")
    assert 3 < found["x"][1] < 30


GEMM = [helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="dense")]
PRODUCT_AND_SUM = [
    helper.make_node("MatMul", ["x", "w"], ["p"], name="product"),
    helper.make_node("Add", ["p", "b"], ["y"], name="sum"),
]


@pytest.mark.parametrize("nodes", [GEMM, PRODUCT_AND_SUM], ids=["as it is", "fused while preparing"])
def test_a_bias_of_two_axes_does_not_stop_the_quantizer(nodes, tmp_path):
    """Without: "The truth value of an array with more than one element is ambiguous", per channel, for any Gemm so."""
    bias = numpy_helper.from_array(np.arange(4, dtype=np.float32).reshape(1, 4), "b")
    model = network(tmp_path, nodes, [square(), bias])
    changed = technique().apply(model, rows(model), "onnxruntime")
    given = items(model.signature, 8)
    found, _ = outputs(changed, "onnxruntime", tmp_path / "changed", given)
    assert relative(found, given["x"] + np.arange(4)) < 0.03


def test_values_that_reach_infinity_keep_their_nodes_in_float(tmp_path):
    """A mask of minus infinity: a scale of infinity would turn everything into NaN."""
    nodes = [
        helper.make_node("Less", ["x", "zero"], ["negative"], name="less"),
        helper.make_node("Where", ["negative", "never", "x"], ["masked"], name="mask"),
        helper.make_node("Softmax", ["masked"], ["p"], name="softmax"),
        helper.make_node("MatMul", ["p", "w"], ["y"], name="product"),
    ]
    constants = [
        square(),
        numpy_helper.from_array(np.float32(0), "zero"),
        numpy_helper.from_array(np.float32(-np.inf), "never"),
    ]
    model = network(tmp_path, nodes, constants)
    given = items(model.signature, 40)
    given["x"][:, 0] = 1
    asked = technique(operators=["Where", "Softmax", "MatMul"])
    source = prepared_float(model, asked)
    assert endless(calibrated(source, asked, model, Rows(given))) == {"masked"}
    changed = asked.apply(model, Rows(given), "onnxruntime")
    expected, _ = outputs(model, "onnxruntime", tmp_path / "float", given)
    found, _ = outputs(changed, "onnxruntime", tmp_path / "changed", given)
    assert relative(found, expected) < 0.03


@pytest.mark.parametrize(("target", "unused"), [("onnxruntime", {"r", "y"}), ("openvino", {"relu"})])
def test_what_calibration_saw_is_recorded(target, unused, tmp_path):
    """A ReLU that only ever saw negative numbers."""
    pytest.importorskip("nncf")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], name="product"),
        helper.make_node("Relu", ["m"], ["r"], name="relu"),
        helper.make_node("MatMul", ["r", "w2"], ["y"], name="second"),
    ]
    model = network(tmp_path, nodes, [square(), square("w2")])
    given = {"x": -np.abs(items(model.signature, 20)["x"])}
    seen = technique().apply(model, Rows(given), target).calibrated
    assert (seen.items, seen.few, seen.constant) == (20, True, ())
    assert set(seen.unused) == unused
    many = technique().apply(model, Rows({"x": np.ones((40, 4), np.float32)}), target).calibrated
    assert (many.items, many.few, many.constant) == (40, False, ("x",))


@pytest.mark.parametrize(
    ("flags", "processor", "expected"),
    [
        ("avx2", "x86_64", ("u8", "s8", True)),
        ("avx2 avx512f", "x86_64", ("u8", "s8", True)),
        ("avx2 avx_vnni", "x86_64", ("u8", "s8", False)),
        ("avx512_vnni amx_int8", "x86_64", ("u8", "s8", False)),
        ("asimd asimddp", "aarch64", ("s8", "s8", False)),
        ("asimd", "aarch64", ("s8", "s8", False)),
    ],
)
def test_the_8_bit_form_follows_the_processor(flags, processor, expected, tmp_path):
    path = tmp_path / f"{abs(hash((flags, processor)))}"
    path.write_text(f"flags : {flags}\n")
    found = forms_here(path, processor)
    assert (found.activations, found.weights, found.reduce_range) == expected
    assert found.said.startswith(f"8-bit form: {expected[0].upper()} x {expected[1].upper()}")
    assert ("7 bits" in found.said) == expected[2]


def test_the_form_and_its_reason_stand_in_the_notes(tmp_path):
    model = mlp(tmp_path)
    assert forms_here().said in technique().apply(model, rows(model), "onnxruntime").notes


def test_one_portable_file_runs_the_same_in_both_runtimes(tmp_path):
    model = cnn(tmp_path)
    given = items(model.signature, 8, seed=5)
    portable = technique(portable=True).apply(model, rows(model), "openvino")
    one, first = outputs(portable, "onnxruntime", tmp_path / "onnxruntime", given)
    other, second = outputs(portable, "openvino", tmp_path / "openvino", given)
    assert relative(other, one) < 0.02
    assert (first.precision, second.precision.split(",")[0]) == ("int8", "int8")


@pytest.mark.parametrize("alpha", [0.5, -1.0])
def test_smoothquant_takes_its_alpha(alpha, tmp_path):
    pytest.importorskip("nncf")
    model = transformer(tmp_path)
    given = items(model.signature, 8, seed=5)
    given["x"][..., 3] *= 40
    expected, _ = outputs(model, "onnxruntime", tmp_path / "float", given)
    changed = technique(smooth=alpha, rest="f32").apply(model, Rows(given), "openvino")
    found, _ = outputs(changed, "openvino", tmp_path / "changed", given)
    assert relative(found, expected) < 0.2
    refusal = technique(smooth=0.5).fits(facts("transformer"), machine(), "onnxruntime")
    assert refusal is not None
    assert "`smooth`" in refusal.reason


def test_a_tensor_of_zeros_is_still(tmp_path):
    model = network(tmp_path, [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")], [square()])
    path, _ = ranges_of(model, {"x": np.zeros((4, 4), np.float32)})
    assert set(still(path)) == {"x", "y"}


@pytest.mark.parametrize(("bins", "seed"), [(256, 0), (300, 1)])
def test_the_entropy_search_finds_what_the_tools_own_finds(bins, seed):
    """Its sums run in Python, so it is compared on a small histogram."""
    from onnxruntime.quantization.calibrate import HistogramCollector

    from accel.compression._entropy import collector

    values = np.random.default_rng(seed).standard_t(3, 5000).astype(np.float32)
    limit = np.abs(values).max()
    counts, edges = np.histogram(values, bins, range=(-limit, limit))
    histogram = (counts, edges.astype(np.float32), values.min(), values.max(), limit)
    given = ("entropy", False, bins, 128, 99.999, "same")
    own = HistogramCollector(*given).get_entropy_threshold(histogram, 128)
    assert collector(*given).get_entropy_threshold(histogram, 128) == own
    assert own[1] < limit
