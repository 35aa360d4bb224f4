"""The cost of a model against figures from the literature, closed forms, and torch's own counter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from accel.model import Signature, Tensor
from accel.model.cost import Cost
from accel.model.cost_onnx import cost_onnx
from accel.model.layer_class import layer_class
from accel.model.shapes import laid_out
from tests import known_networks
from tests.models import graphs


def signature(shape: tuple[int | str, ...], dtype: str = "float32", name: str = "x") -> Signature:
    return Signature(inputs=(Tensor(name, dtype, shape),), outputs=(), batch="any")


def counted(path: Path, shape: tuple[int | str, ...], **given: np.ndarray) -> Cost:
    dtype = next(iter(given.values())).dtype.name if given else "float32"
    found = cost_onnx(path, signature(shape, dtype), given or None)
    assert found is not None
    return found


def resnet50_macs() -> int:
    """Layer by layer: kernel area times channels in and out, times the points of the output."""
    total = 7 * 7 * 3 * 64 * 112**2
    for width, blocks, side, before in ((64, 3, 56, 64), (128, 4, 28, 256), (256, 6, 14, 512), (512, 3, 7, 1024)):
        larger = side if width == 64 else 2 * side  # the first 1x1 of a stage still sees the larger image
        total += before * width * larger**2 + (blocks - 1) * 4 * width * width * side**2
        total += blocks * (9 * width * width + width * 4 * width) * side**2
        total += before * 4 * width * side**2  # the shortcut
    return total + 2048 * 1000


def test_resnet50_costs_what_everybody_says(tmp_path: Path) -> None:
    found = counted(known_networks.resnet50(tmp_path / "r.onnx"), ("n", 3, 224, 224))
    assert found.macs == resnet50_macs() == 4_089_184_256
    assert found.macs == pytest.approx(4.1e9, rel=0.02)
    assert found.weight_bytes == pytest.approx(4 * 25.5e6, rel=0.01)  # 25.5 million parameters without the norms
    convolutions, products = found.classes[:2]
    assert (convolutions.layer_class, convolutions.layers, convolutions.weighted) == ("convolution", 53, 53)
    assert (products.layer_class, products.macs) == ("matmul", 2_048_000)
    assert len(found.layers) == 20
    assert sum(c.macs for c in found.classes) == found.macs
    fused = next(c for c in found.classes if c.layer_class == "elementwise")
    assert sum(total for _, total in found.steps) == found.activation_bytes - fused.activation_bytes


def test_bert_base_costs_what_everybody_says(tmp_path: Path) -> None:
    tokens = 128
    ids = np.ones((1, tokens), np.int64)
    found = counted(known_networks.bert_base(tmp_path / "b.onnx"), ("n", "length"), x=ids)
    weights = 4 * 768 * 768 + 2 * 768 * 3072
    assert found.macs == 12 * (tokens * weights + 2 * tokens**2 * 768) + 768 * 768
    assert found.macs == pytest.approx(11.2e9, rel=0.02)  # 22.4 GFLOP
    # The table of words is 94 MB, of which a call reads 128 rows.
    read = 12 * (weights + 9 * 768 + 3072) + 768 * 768 + 768 + tokens * 768
    assert found.weight_bytes == pytest.approx(4 * read, rel=0.001)
    products = next(c for c in found.classes if c.layer_class == "matmul")
    assert (products.layers, products.weighted) == (12 * 8 + 1, 12 * 6 + 1)
    assert products.macs - products.weighted_macs == 12 * 2 * tokens**2 * 768  # attention multiplies activations
    assert {c.layer_class: c.macs for c in found.classes if c.layer_class != "matmul"} == dict.fromkeys(
        ("norm", "softmax", "elementwise", "layout", "embedding"), 0
    )


def test_cost_grows_with_length_as_attention_does(tmp_path: Path) -> None:
    path = known_networks.bert_base(tmp_path / "b.onnx")
    short, long = (counted(path, ("n", "length"), x=np.ones((1, n), np.int64)) for n in (16, 64))
    assert (long.macs - 768 * 768) - 4 * (short.macs - 768 * 768) == 12 * 2 * 768 * (64**2 - 4 * 16**2)


def test_the_demos_network_against_torchs_own_counter() -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    import accel.demo
    from accel.demo.network import factory

    path = Path(accel.demo.__file__).with_name("digits.onnx")
    graph_input = onnx.load(str(path)).graph.input[0]
    shape = tuple(d.dim_value for d in graph_input.type.tensor_type.shape.dim[1:])
    given = torch.zeros((1, *shape))
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        factory()(given)
    found = cost_onnx(path, signature(("n", *shape), name=graph_input.name), None)
    assert found is not None
    assert found.macs == counter.get_total_flops() // 2


@pytest.mark.parametrize("make", ["torch_cnn", "torch_attention"])
def test_torch_modules_count_as_torch_counts_and_as_by_hand(make: str) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from accel.model.cost_torch import cost_torch
    from tests import small_networks

    model, given, _ = getattr(small_networks, make)()
    form = model.as_form("torch")
    found = cost_torch(form, given)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        form(given)
    by_hand = {
        "torch_cnn": 16 * 16 * 9 * 3 * 16 + 8 * 8 * 9 * 16 * 16 + 16 * 5,
        "torch_attention": 12 * 3 * 32 * 32 + 2 * 12 * 12 * 32 + 32 * 5,
    }
    assert found is not None
    assert found.macs == counter.get_total_flops() // 2 // 4 == by_hand[make]
    outside = next((c for c in found.classes if c.weighted < c.layers and c.macs), None)
    assert (outside is not None) == (make == "torch_attention")


def test_torch_modules_of_one_name_are_not_mistaken_for_each_other() -> None:
    """`fc` of the whole stands behind a block with an `fc` of its own, which is run first and is larger."""
    import torch

    from accel.model.cost_torch import cost_torch

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = torch.nn.Linear(64, 64)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x)

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block, self.fc = Block(), torch.nn.Linear(64, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.block(x))

    class Form:
        def __init__(self, module: torch.nn.Module) -> None:
            self.module = module

        def __call__(self, given: dict[str, np.ndarray]) -> object:
            with torch.inference_mode():
                return self.module(torch.from_numpy(given["x"]))

    given = {"x": np.zeros((1, 64), np.float32)}
    found = cost_torch(Form(Whole()), given)
    assert found is not None
    assert {layer.name: layer.macs for layer in found.layers} == {"block.fc": 64 * 64, "fc": 64 * 2}
    assert found.macs == 64 * 64 + 64 * 2
    single = cost_torch(Form(torch.nn.Linear(64, 2)), given)
    assert single is not None
    assert single.macs == 64 * 2
    # torch's counter sees nothing of an LSTM: unknown, rather than small.
    assert cost_torch(Form(torch.nn.LSTM(64, 16)), given) is None


def test_openvino_counts_the_same_and_reads_the_same_weights(tmp_path: Path) -> None:
    import openvino as ov

    from accel.model.cost_openvino import cost_openvino

    for make, shape, macs in ((graphs.depthwise, ("n", 3, 6, 6), 36 * 24 + 36 * 72 + 36 * 32),
                              (graphs.classifier, ("n", 4), 4 * 6 + 6 * 3)):  # fmt: skip
        path = make(tmp_path / f"{make.__name__}.onnx")
        ov.save_model(ov.Core().read_model(str(path)), str(tmp_path / "m.xml"), compress_to_fp16=False)
        one, other = counted(path, shape), cost_openvino(tmp_path / "m.xml", None)
        assert other is not None
        assert one.macs == other.macs == macs
        assert one.weight_bytes == pytest.approx(other.weight_bytes, abs=64)


def save(path: Path, nodes: list, weights: list, inputs: dict, outputs: dict, **types: int) -> Path:
    onnx.save(graphs.graph(nodes, weights, inputs, outputs, types=types), str(path))
    return path


def test_bytes_are_those_of_a_person_with_a_pencil(tmp_path: Path) -> None:
    """x (n, 4) @ w (4, 3), then Relu: 48 bytes of weights; 16 in, 12 out, and 12 in, 12 out."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    found = counted(save(tmp_path / "a.onnx", nodes, [graphs.weight("w", 4, 3)], {"x": ["n", 4]}, {"y": ["n", 3]}),
                    ("n", 4))  # fmt: skip
    assert (found.macs, found.weight_bytes, found.activation_bytes) == (12, 48, 28 + 24)
    assert found.macs_of(8) == 96
    assert found.bytes_of(8) == 48 + 8 * 28  # Relu can be done on the way
    assert [(c.layer_class, c.activation_bytes) for c in found.classes] == [("matmul", 28), ("elementwise", 24)]


def test_quantized_tensors_count_their_eight_bits(tmp_path: Path) -> None:
    """x is quantized for the product, whose weight is stored in 8 bits and whose result is quantized again."""
    scale = numpy_helper.from_array(np.float32(0.1), "s")
    zero = numpy_helper.from_array(np.uint8(0), "z")
    zero_w = numpy_helper.from_array(np.int8(0), "zw")
    stored = numpy_helper.from_array(np.ones((64, 32), np.int8), "w8")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w8", "s", "zw"], ["w"]),
        helper.make_node("MatMul", ["xd", "w"], ["h"]),
        helper.make_node("QuantizeLinear", ["h", "s", "z"], ["hq"]),
        helper.make_node("DequantizeLinear", ["hq", "s", "z"], ["y"]),
    ]
    path = save(tmp_path / "q.onnx", nodes, [scale, zero, zero_w, stored], {"x": ["n", 64]}, {"y": ["n", 32]})
    found = counted(path, ("n", 64))
    assert (found.macs, found.weight_bytes, found.activation_bytes) == (64 * 32, 64 * 32, 64 + 32)
    assert found.weight_bits == 8


def test_what_only_depends_on_constants_costs_nothing(tmp_path: Path) -> None:
    """A weight that is transposed in the graph is a weight; the runtime folds the step away."""
    nodes = [helper.make_node("Transpose", ["w"], ["wt"]), helper.make_node("MatMul", ["x", "wt"], ["y"])]
    found = counted(save(tmp_path / "t.onnx", nodes, [graphs.weight("w", 3, 4)], {"x": ["n", 4]}, {"y": ["n", 3]}),
                    ("n", 4))  # fmt: skip
    assert (found.macs, found.weight_bytes, found.activation_bytes) == (12, 48, 28)
    assert [c.layer_class for c in found.classes] == ["matmul"]


@pytest.mark.parametrize(
    ("node", "shapes", "macs"),
    [
        (helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2]), [(1, 8, 5, 5), (8, 4, 2, 2)],
         5 * 5 * 8 * 4 * 4),
        (helper.make_node("Conv", ["x", "w"], ["y"], group=2), [(1, 8, 5, 5), (6, 4, 1, 1)], 25 * 6 * 4),
        (helper.make_node("Gemm", ["x", "w"], ["y"], transA=1), [(7, 3), (7, 5)], 3 * 5 * 7),
        (helper.make_node("Einsum", ["x", "w"], ["y"], equation="bij,bjk->bik"), [(2, 3, 4), (2, 4, 5)], 2 * 3 * 4 * 5),
        (helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=6), [(9, 2, 5), (1, 24, 5), (1, 24, 6)],
         9 * 2 * 24 * (5 + 6)),
        (helper.make_node("Attention", ["x", "w"], ["y"], domain="com.microsoft", num_heads=2), [(2, 10, 8), (8, 24)],
         2 * 10 * 8 * 24 + 2 * 2 * 10 * 10 * 8),
        (helper.make_node("MultiHeadAttention", ["x", "w", "v"], ["y"], domain="com.microsoft", num_heads=2),
         [(2, 10, 8), (2, 12, 8), (2, 12, 8)], 2 * 10 * 12 * 16),
    ],
)  # fmt: skip
def test_operators_by_hand(node: onnx.NodeProto, shapes: list[tuple[int, ...]], macs: int) -> None:
    from accel.model.macs_onnx import macs_of

    known = dict(zip(node.input, shapes, strict=True))
    known["y"] = {"Conv": (1, 6, 5, 5), "Gemm": (3, 5)}.get(node.op_type, ())
    assert macs_of(node, known) == macs


def test_an_operator_of_unknown_shape_leaves_the_cost_unknown_rather_than_small() -> None:
    from accel.model.macs_onnx import macs_of

    assert macs_of(helper.make_node("Conv", ["x", "w"], ["y"]), {"x": (1, 3, 8, 8)}) is None
    three = helper.make_node("Einsum", ["a", "b", "c"], ["y"], equation="ij,jk,kl->il")
    assert macs_of(three, {"a": (2, 3), "b": (3, 4), "c": (4, 5)}) == 2 * 3 * 4 + 2 * 4 * 5, "two at a time"
    assert macs_of(helper.make_node("Einsum", ["x"], ["y"], equation="...ij->...ji"), {"x": (1, 2)}) is None


def test_the_typical_sample_is_the_one_of_median_length() -> None:
    from accel.model.costs import typical
    from accel.samples import Samples

    lengths = np.array([5, 40, 10, 20, 30], np.int64)
    samples = Samples(inputs={"x": np.ones((5, 40), np.int64)}, calibration=np.zeros(0, np.int64), sha256="",
                      evaluation=np.arange(5), ragged={"x": 0}, lengths={"x": lengths})  # fmt: skip
    assert typical(samples)["x"].shape == (1, 20)


def test_a_tensors_layout_is_its_shape_and_bits(tmp_path: Path) -> None:
    nodes = [helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16), helper.make_node("Relu", ["h"], ["y"])]
    model = graphs.graph(nodes, [], {"x": ["n", 4]}, {"y": ["n", 4]}, types={"y": TensorProto.FLOAT16})
    onnx.save(model, str(tmp_path / "c.onnx"))
    found = laid_out(tmp_path / "c.onnx", model, signature(("n", 4)), None, ["y"])
    assert (found["x"], found["h"], found["y"]) == (((1, 4), 32), ((1, 4), 16), ((1, 4), 16))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("Conv", "convolution"), ("FusedConv", "convolution"), ("QLinearConv", "convolution"),
        ("NhwcFusedConv", "convolution"), ("GroupConvolution", "convolution"), ("aten::convolution", "convolution"),
        ("ConvolutionBackpropData", "convolution"), ("mkldnn::_convolution_pointwise", "convolution"),
        ("MatMulNBits", "matmul"), ("DynamicQuantizeMatMul", "matmul"), ("FullyConnected", "matmul"),
        ("aten::addmm", "matmul"), ("onednn::qlinear_pointwise", "matmul"), ("Linear", "matmul"),
        ("Attention", "attention"), ("ScaledDotProductAttention", "attention"),
        ("DynamicQuantizeLinear", "quantize"), ("FakeQuantize", "quantize"), ("quantize_per_tensor", "quantize"),
        ("LayerNormalization", "norm"), ("MVN", "norm"), ("BatchNorm2d", "norm"), ("Softmax", "softmax"),
        ("Gather", "embedding"), ("Reorder", "layout"), ("Transpose", "layout"), ("ReduceMean", "reduce"),
        ("LSTMSequence", "recurrent"), ("DynamicQuantizeLSTM", "recurrent"),
        ("TreeEnsembleRegressor", "trees"), ("Relu", "elementwise"),
        ("AdaptiveAvgPool2d", "pool"), ("SomethingNew", "elementwise"),
    ],
)  # fmt: skip
def test_classes_of_operators(kind: str, expected: str) -> None:
    assert layer_class(kind) == expected


def test_a_graph_is_run_once_for_facts_and_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes that only a run tells are seen once: a large model's run takes seconds."""
    from accel.model import shapes
    from accel.model.count_onnx import count_onnx

    nodes = [
        helper.make_node("NonZero", ["x"], ["where"]),
        helper.make_node("Shape", ["where"], ["size"]),
        helper.make_node("Slice", ["size", "one", "two"], ["count"]),
        helper.make_node("Concat", ["count", "minus"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["column"]),
        helper.make_node("MatMul", ["column", "w"], ["y"]),
    ]
    numbers = [numpy_helper.from_array(np.array([v]), n) for n, v in (("one", 1), ("two", 2), ("minus", -1))]
    path = save(tmp_path / "r.onnx", nodes, [graphs.weight("w", 1, 3), *numbers], {"x": ["n", 4]}, {"y": ["m", 3]})
    runs: list[list[str]] = []
    seen = shapes._seen
    monkeypatch.setattr(shapes, "_seen", lambda *given: runs.append(given[-1]) or seen(*given))
    facts, found = count_onnx(path, signature(("n", 4)), None), counted(path, ("n", 4))
    assert facts.matmul_macs == found.macs == 4 * 3
    assert len(runs) == 1
    cost_onnx(path, signature(("n", 8)), None)
    assert len(runs) == 2  # other sizes are another matter
