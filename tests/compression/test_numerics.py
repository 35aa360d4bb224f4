"""What computes in 8 bits, on tiny graphs whose operators are counted by hand, against what a profile says ran."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, load, numpy_helper, save_model

from accel import plugins
from accel.compression._numerics import UNFUSED, Asked, Operator, between, counted, numerics_of, one_item, reason
from accel.compression._numerics_onnx import weight_bytes
from accel.model import Signature, Tensor
from accel.plugins import Named
from accel.result import Calibrated, Numerics, OperatorPrecision
from tests.small_models import FileModel, cnn, facts, items, mlp
from tests.small_models import save as save_graph

ORT, STATIC = Named("onnxruntime"), "quantize_static"


class Rows:
    """Calibration samples made up for a model's inputs."""

    ragged = False

    def __init__(self, model: FileModel, count: int = 64) -> None:
        self.count, self._items = count, items(model.signature, count, seed=5)

    def batch(self, ids: Any) -> dict[str, np.ndarray]:
        return {name: value[np.asarray(ids)] for name, value in self._items.items()}


def chain(folder: Path) -> FileModel:
    """x: [batch, 8, 8, 8] -> four convolutions (the third depthwise), average, dense -> y: [batch, 5]."""
    rng = np.random.default_rng(3)

    def weight(name: str, *shape: int) -> Any:
        return numpy_helper.from_array((rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32), name)

    nodes = []
    before = "x"
    for name, group in (("one", 1), ("two", 1), ("deep", 8), ("four", 1)):
        nodes.append(
            helper.make_node("Conv", [before, f"w_{name}"], [f"c_{name}"], pads=[1, 1, 1, 1], group=group, name=name)
        )
        nodes.append(helper.make_node("Relu", [f"c_{name}"], [f"r_{name}"], name=f"relu_{name}"))
        before = f"r_{name}"
    nodes += [
        helper.make_node("GlobalAveragePool", [before], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "w_dense", "b_dense"], ["y"], name="dense"),
    ]
    weights = [weight("w_one", 8, 8, 3, 3), weight("w_two", 8, 8, 3, 3), weight("w_deep", 8, 1, 3, 3)]
    weights += [weight("w_four", 8, 8, 3, 3), weight("w_dense", 8, 5), weight("b_dense", 5)]
    path = save_graph(folder / "chain.onnx", nodes, weights, ["batch", 8, 8, 8], ["batch", 5], 17)
    signature = Signature(
        inputs=(Tensor("x", "float32", ("batch", 8, 8, 8)),),
        outputs=(Tensor("y", "float32", ("batch", 5)),),
        batch="any",
    )
    return FileModel(signature, {"onnx": path})


def built(
    model: FileModel, tmp_path: Path, *compression: Named, backend: Named = ORT
) -> tuple[Numerics | None, tuple[str, ...], Path]:
    """Compress, build and read, as a prepare child does."""
    model.example = items(model.signature, 2)
    for named in compression:
        model = plugins.make("compression", named).apply(model, Rows(model), backend.name)  # type: ignore[assignment]
    folder = tmp_path / "work" / "artefact"
    folder.mkdir(parents=True)
    engine = plugins.make("compilation", backend)
    engine.build(model, folder)
    found, notes = numerics_of(compression, backend, model, folder, engine)  # type: ignore[arg-type]
    return found, notes, folder


def of_type(numerics: Numerics | None, kind: str) -> OperatorPrecision:
    assert numerics is not None
    return next(o for o in numerics.operators if o.type == kind)


def ran(model: Path, given: dict[str, np.ndarray], folder: Path) -> Counter[str]:
    """The second method: what the runtime's profiler says it ran, by operator type."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "second")
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    session.run(None, given)
    events = json.loads(Path(session.end_profiling()).read_text())
    return Counter(e["args"]["op_name"] for e in events if e.get("cat") == "Node" and "_kernel_time" in e["name"])


# --- ONNX Runtime ----------------------------------------------------------------------------------------------


def test_a_whole_network_in_8_bits(tmp_path: Path) -> None:
    """By hand: four convolutions and a dense layer, all quantized; the profiler of a second session agrees."""
    pytest.importorskip("onnxruntime")
    model = chain(tmp_path)
    found, notes, folder = built(model, tmp_path, Named(STATIC))
    assert found is not None
    assert notes == ()
    assert [(o.type, o.total, o.low) for o in found.operators if o.type in ("Conv", "Gemm")] == [
        ("Conv", 4, 4),
        ("Gemm", 1, 1),
    ]
    assert (found.unfused, found.islands) == (0, ())
    second = ran(folder / "model.onnx", items(model.signature, 1), tmp_path)
    assert (second["QLinearConv"], second["QGemm"], second["Conv"]) == (4, 1, 0)
    steps = sum(second[k] for k in ("QuantizeLinear", "DequantizeLinear", "Transpose", "ReorderInput", "ReorderOutput"))
    assert found.conversions == steps
    assert found.between in ({}, {"GlobalAveragePool": 1})  # quantized too, or the one that reads what "four" wrote


def test_bytes_of_weights_and_activations(tmp_path: Path) -> None:
    """All by hand. Weights of one byte: 3 * 8*8*9 + 8*9 + 8*5, and 37 zero points. An activation has 8*8*8 = 512.

    In 8 bits: the quantized input, the outputs of four convolutions and of a transpose on either side, the dense
    layer's 8 inputs and 5 outputs. In float: 512 dequantized for the average, its 8 twice (flattened), 5 answers.
    """
    pytest.importorskip("onnxruntime")
    types = Named(STATIC, {"operators": ["Conv", "Relu", "Gemm"]})
    found, _, _ = built(chain(tmp_path), tmp_path, types)
    assert found is not None
    assert found.weight_bytes["int8"] == 3 * 576 + 72 + 40 + 37
    assert found.activation_bytes == {"uint8": 7 * 512 + 8 + 5, "float32": 4 * (512 + 8 + 8 + 5)}


def test_an_excluded_convolution_stays_in_float(tmp_path: Path) -> None:
    """ONNX Runtime by itself quantizes float weights between 8-bit neighbours; here it is told not to."""
    pytest.importorskip("onnxruntime")
    model = chain(tmp_path)
    found, _, folder = built(
        model, tmp_path, Named(STATIC, {"exclude": ["two"], "operators": ["Conv", "Relu", "Gemm"]})
    )
    assert found is not None
    second = ran(folder / "model.onnx", items(model.signature, 1), tmp_path)
    assert (second["QLinearConv"], second["Conv"]) == (4, 0)  # what a session without that entry does
    conv = of_type(found, "Conv")
    assert (conv.total, conv.low, conv.left, conv.names) == (4, 3, {"excluded by name": 1}, ("two",))
    assert found.islands == ("Conv two",)
    assert any(n.startswith("`two` stays in float since") for n in found.notes)
    assert "WeightBiasQuantization" in plugins.make("compilation", ORT).script(folder)


def test_what_is_fused_all_the_same_is_told(tmp_path: Path) -> None:
    """Told to do without that entry, the excluded convolution is 8-bit, and the reading says so."""
    pytest.importorskip("onnxruntime")
    import msgspec

    from accel.compilation._artefact import Artefact
    from accel.compression._numerics_onnx import numerics

    named = Named(STATIC, {"exclude": ["two"], "operators": ["Conv", "Relu", "Gemm"]})
    _, _, folder = built(chain(tmp_path), tmp_path, named)
    msgspec.structs.replace(Artefact.load(folder), left_float=()).save(folder)
    found = numerics(plugins.make("compilation", ORT), folder, Asked.of((named,)), None)
    assert of_type(found, "Conv").low == 4
    assert found.notes == (
        "`two` was to stay in float, but between 8-bit neighbours ONNX Runtime computes in 8 bits all the same",
    )
    assert found.activation_bytes is None


def deep_mlp(folder: Path) -> FileModel:
    """x: [batch, 8] -> MatMul first, Relu, MatMul middle, Relu, MatMul last -> y: [batch, 8]."""
    rng = np.random.default_rng(2)
    nodes, before, weights = [], "x", []
    for name, after in (("first", "a"), ("middle", "b"), ("last", "y")):
        weights.append(numpy_helper.from_array(rng.normal(size=(8, 8)).astype(np.float32), f"w_{name}"))
        nodes.append(helper.make_node("MatMul", [before, f"w_{name}"], [after], name=name))
        before = after
        if after != "y":
            nodes.append(helper.make_node("Relu", [after], [f"r{after}"], name=f"relu_{after}"))
            before = f"r{after}"
    path = save_graph(folder / "deep.onnx", nodes, weights, ["batch", 8], ["batch", 8], 17)
    signature = Signature(
        inputs=(Tensor("x", "float32", ("batch", 8)),), outputs=(Tensor("y", "float32", ("batch", 8)),), batch="any"
    )
    return FileModel(signature, {"onnx": path})


def test_a_planted_island_is_named(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    found, _, _ = built(deep_mlp(tmp_path), tmp_path, Named(STATIC, {"exclude": ["middle"]}))
    assert found is not None
    matmul = of_type(found, "MatMul")
    assert (matmul.total, matmul.low, matmul.left, matmul.names) == (3, 2, {"excluded by name": 1}, ("middle",))
    assert found.islands == ("MatMul middle",)


def test_the_ends_of_a_network_are_no_islands(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    found, _, _ = built(deep_mlp(tmp_path), tmp_path, Named(STATIC, {"exclude": ["first", "last"]}))
    assert found is not None
    assert found.islands == ()
    assert of_type(found, "MatMul").left == {"excluded by name": 2}


def test_a_type_kept_in_float_and_one_not_covered(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    found, _, _ = built(deep_mlp(tmp_path), tmp_path, Named(STATIC, {"operators": ["MatMul"], "exclude": ["first"]}))
    assert of_type(found, "MatMul").left == {"excluded by name": 1}
    (tmp_path / "second").mkdir()
    dynamic, _, _ = built(cnn(tmp_path), tmp_path / "second", Named("quantize_dynamic"))
    assert of_type(dynamic, "Conv").left == {"dynamic quantization doesn't cover Conv here": 2}
    assert of_type(dynamic, "MatMul").low == 1  # the dense layer, which the tool turns into MatMulInteger


def test_products_of_two_activations_have_no_weights(tmp_path: Path) -> None:
    """x: [batch, 4, 8] -> (x W) x^T: one product with weights, one without."""
    pytest.importorskip("onnxruntime")
    weight = numpy_helper.from_array(np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32), "w")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["q"], name="weighted"),
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1], name="turn"),
        helper.make_node("MatMul", ["q", "t"], ["y"], name="scores"),
    ]
    path = save_graph(tmp_path / "attend.onnx", nodes, [weight], ["batch", 4, 8], ["batch", 4, 4], 17)
    signature = Signature(
        inputs=(Tensor("x", "float32", ("batch", 4, 8)),),
        outputs=(Tensor("y", "float32", ("batch", 4, 4)),),
        batch="any",
    )
    found, _, _ = built(FileModel(signature, {"onnx": path}), tmp_path, Named("quantize_dynamic"))
    matmul = of_type(found, "MatMul")
    assert (matmul.total, matmul.low) == (2, 1)
    assert list(matmul.left) == ["both inputs are computed: there are no weights to quantize beforehand"]


def qdq(folder: Path) -> FileModel:
    """x: [batch, 8] -> Q, DQ -> Sin -> Q, DQ -> y: a runtime without an 8-bit Sin leaves both pairs standing."""
    scale, zero = (
        numpy_helper.from_array(np.array(0.02, np.float32), "scale"),
        numpy_helper.from_array(np.array(128, np.uint8), "zero"),
    )
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q1"], name="q1"),
        helper.make_node("DequantizeLinear", ["q1", "scale", "zero"], ["d1"], name="d1"),
        helper.make_node("Sin", ["d1"], ["s"], name="sin"),
        helper.make_node("QuantizeLinear", ["s", "scale", "zero"], ["q2"], name="q2"),
        helper.make_node("DequantizeLinear", ["q2", "scale", "zero"], ["y"], name="d2"),
    ]
    path = save_graph(folder / "sin.onnx", nodes, [scale, zero], ["batch", 8], ["batch", 8], 17)
    signature = Signature(
        inputs=(Tensor("x", "float32", ("batch", 8)),), outputs=(Tensor("y", "float32", ("batch", 8)),), batch="any"
    )
    return FileModel(signature, {"onnx": path})


def test_pairs_the_runtime_can_not_fuse(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model = qdq(tmp_path)
    model.facts = facts(quantized=True)
    found, _, _ = built(model, tmp_path)
    assert found is not None
    assert (found.unfused, found.unfused_around) == (2, {"Sin": 1, "output": 1})
    assert of_type(found, "Sin").left == {UNFUSED: 1}
    assert found.conversions == 0


def test_weights_are_counted_by_dtype(tmp_path: Path) -> None:
    """By hand: 6 floats, 5 float16, 7 int4 in 4 bytes; single numbers, shapes and int64 aren't weights."""
    tensors = [
        numpy_helper.from_array(np.ones((2, 3), np.float32), "a"),
        numpy_helper.from_array(np.ones(5, np.float16), "b"),
        helper.make_tensor("c", TensorProto.INT4, [7], [1] * 7),
        numpy_helper.from_array(np.ones(1, np.float32), "one"),
        numpy_helper.from_array(np.ones(4, np.int64), "shape"),
    ]
    node = helper.make_node("Identity", ["a"], ["y"])
    graph = helper.make_graph([node], "g", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])], tensors)
    save_model(helper.make_model(graph), tmp_path / "w.onnx")
    assert weight_bytes(load(tmp_path / "w.onnx")) == {"float32": 24, "float16": 10, "int4": 4}


# --- OpenVINO --------------------------------------------------------------------------------------------------


def in_openvino(folder: Path) -> Path:
    """x: [1, 8, 8, 8] -> convolutions `one`, `middle`, `three` and a depthwise `deep`; 8 bits around `one` and `three`.

    As NNCF leaves a model: FakeQuantize with 256 levels before what is quantized, with 255 on its weights.
    """
    import openvino as ov
    from openvino import opset13 as ops

    rng = np.random.default_rng(3)

    def rounded(node: Any, low: float, high: float, levels: int) -> Any:
        return ops.fake_quantize(node, *(np.array(v, np.float32) for v in (low, high, low, high)), levels)

    def weight(*shape: int, low: bool = True) -> Any:
        kernel = ops.constant(rng.uniform(-1, 1, shape).astype(np.float32))
        return rounded(kernel, -1, 1, 255) if low else kernel

    at = {"strides": [1, 1], "pads_begin": [1, 1], "pads_end": [1, 1], "dilations": [1, 1]}
    x = ops.parameter([1, 8, 8, 8], np.float32, name="x")
    one = ops.convolution(rounded(x, 0, 1, 256), weight(8, 8, 3, 3), **at, name="one")
    middle = ops.convolution(ops.relu(one), weight(8, 8, 3, 3, low=False), **at, name="middle")
    three = ops.convolution(rounded(ops.relu(middle), 0, 9, 256), weight(8, 8, 3, 3), **at, name="three")
    deep = ops.group_convolution(ops.relu(three), weight(8, 1, 1, 3, 3, low=False), **at, name="deep")
    (folder / "ir").mkdir()
    ov.save_model(ov.Model([deep], [x]), str(folder / "ir" / "model.xml"), compress_to_fp16=False)
    return folder / "ir" / "model.xml"


def test_openvino_names_an_island_and_depthwise_ones(tmp_path: Path) -> None:
    """Two of three convolutions in 8 bits, one between them and the depthwise one behind them in float."""
    pytest.importorskip("openvino")
    signature = Signature(
        inputs=(Tensor("x", "float32", (1, 8, 8, 8)),), outputs=(Tensor("y", "float32", (1, 8, 8, 8)),), batch=1
    )
    model = FileModel(signature, {"openvino": in_openvino(tmp_path)})
    model.facts = facts(quantized=True)
    found, notes, _ = built(model, tmp_path, backend=Named("openvino"))
    assert found is not None, notes
    conv, deep = of_type(found, "Convolution"), of_type(found, "GroupConvolution")
    assert (conv.total, conv.low, conv.names) == (3, 2, ("middle",))
    assert conv.left == {"left in float by the quantizer": 1}
    assert (deep.total, deep.low, deep.left) == (1, 0, {"depthwise, left in float by the quantizer": 1})
    assert found.islands == ("Convolution middle",)
    # `one` is read by `middle`, `three` by `deep`; OpenVINO calls both layers Convolution.
    assert found.between == {"Convolution": 2}
    assert found.weight_bytes["float32"] >= (3 * 576 + 72) * 4  # here they are stored in float and rounded when loaded
    assert found.activation_bytes is not None
    assert sum(found.activation_bytes.values()) >= 2 * 512 + 2 * 4 * 512


def test_openvino_in_16_bits_says_so(tmp_path: Path) -> None:
    ov = pytest.importorskip("openvino")
    if "BF16" not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor has no bfloat16 instructions")
    found, _, _ = built(cnn(tmp_path), tmp_path, Named("lower_precision"), backend=Named("openvino"))
    assert of_type(found, "Convolution").left == {"runs in bf16": 2}


# --- what the readers share ------------------------------------------------------------------------------------


def test_an_unchanged_model_is_not_read(tmp_path: Path) -> None:
    assert built(mlp(tmp_path), tmp_path)[:2] == (None, ())


def test_a_reader_that_breaks_costs_a_note_only(tmp_path: Path) -> None:
    (tmp_path / "artefact").mkdir()
    found, (note,) = numerics_of((Named(STATIC),), ORT, mlp(tmp_path), tmp_path / "artefact", None)  # type: ignore[arg-type]
    assert found is None
    assert note.startswith("what computes in 8 bits couldn't be read: ")


def test_a_huge_artefact_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accel.compression._numerics.LARGEST_BYTES", 10)
    (tmp_path / "big").write_bytes(bytes(11))
    found, (note,) = numerics_of((Named(STATIC),), ORT, mlp(tmp_path), tmp_path, None)  # type: ignore[arg-type]
    assert found is None
    assert "wasn't read" in note


def test_what_calibration_saw_is_carried_on(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model = mlp(tmp_path)
    model.calibrated = Calibrated(items=3, constant=("x",), few=True)
    found, _, _ = built(model, tmp_path, Named("quantize_dynamic"))
    assert found is not None
    assert found.calibration == model.calibrated


@pytest.mark.parametrize(
    ("more", "asked", "done", "expected"),
    [
        ({"unfused": True}, Asked(kind="static", exclude=frozenset({"n"})), True, UNFUSED),
        ({}, Asked(kind="static", exclude=frozenset({"n"})), True, "excluded by name"),
        ({"depthwise": True}, Asked(kind="static", exclude=frozenset({"n"})), True, "depthwise: excluded by name"),
        ({"depthwise": True}, Asked(kind="static"), True, "depthwise, left in float by the quantizer"),
        ({}, Asked(kind="static", keep=frozenset({"Conv"})), False, "`keep` leaves Conv in float"),
        ({}, Asked(kind="static"), False, "Conv isn't among the operator types that were quantized"),
        ({}, Asked(kind="weights"), False, "quantizing weights alone doesn't cover Conv here"),
        ({}, Asked(kind="static"), True, "left in float by the quantizer"),
        ({"why": "runs in bf16"}, Asked(), False, "runs in bf16"),
    ],
)
def test_reasons(more: dict[str, Any], asked: Asked, done: bool, expected: str) -> None:
    assert reason(Operator(type="Conv", name="n", low=False, **more), asked, type_done=done) == expected


def test_what_was_asked_is_read_from_the_last_quantizer() -> None:
    asked = Asked.of((Named("prune_structured"), Named(STATIC, {"exclude": ["a"], "keep": ["Add"]}), Named("x")))
    assert (asked.kind, asked.exclude, asked.keep, asked.types) == ("static", {"a"}, {"Add"}, set())
    assert Asked.of((Named("fine_tune"),)).kind == ""


def test_counts_add_up_and_the_most_frequent_comes_first() -> None:
    ones = [Operator(type="MatMul", name=f"m{i}", low=i > 0) for i in range(3)]
    rows = counted([Operator(type="Conv", name="c", low=True), *ones], Asked(kind="static"))
    assert [(r.type, r.total, r.low, sum(r.left.values())) for r in rows] == [("MatMul", 3, 2, 1), ("Conv", 1, 1, 0)]


def test_between_takes_whole_paths_only() -> None:
    readers = {"a": ["b"], "b": ["c"], "c": [], "d": ["c"], "e": []}
    assert between(["a"], ["c"], readers) == {"a", "b", "c"}
    assert between(["d"], ["b"], readers) == frozenset()


def test_one_item_is_one_item(tmp_path: Path) -> None:
    model = mlp(tmp_path)
    assert one_item(model) is None  # type: ignore[arg-type]
    model.example = items(model.signature, 2)
    assert one_item(model)["x"].shape == (1, 8)  # type: ignore[arg-type,index]


# --- inductor --------------------------------------------------------------------------------------------------


def test_the_graph_of_a_torch_module_is_counted() -> None:
    """Two layers by hand: one behind dequantize steps, one left in float; inductor itself tells nothing."""
    torch = pytest.importorskip("torch")
    from accel.compression._numerics_torch import numerics

    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    # Any operator whose name begins like PT2E's own steps, which only torchao registers.
    step = torch.ops.aten.dequantize.self
    low = graph.call_function(torch.ops.aten.linear.default, (graph.call_function(step, (x,)),) * 2)
    graph.output(graph.call_function(torch.ops.aten.linear.default, (low, x)))

    class Form:
        module = torch.nn.Sequential(torch.fx.GraphModule(torch.nn.Module(), graph))

    found = numerics(Form, Asked(kind="static"))
    assert [(o.type, o.total, o.low) for o in found.operators] == [("linear", 2, 1)]
    assert "can't be asked" in found.source
    Form.module = torch.nn.Linear(3, 4)
    plain = numerics(Form, Asked(kind="static"))
    assert (plain.operators, len(plain.notes), plain.weight_bytes) == ((), 1, {"float32": 64})
