"""Rewiring: both ends must check, and what lies between must equal a clean file with the same nodes excluded."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest

from accel import plugins
from accel.compression import _qdq
from accel.plugins import Named
from accel.rescue.floatize import floatize, sharing, take_apart
from tests.rescue.graphs import ALL, outlier, samples
from tests.small_models import cnn, facts, items

ort = pytest.importorskip("onnxruntime")


def run(model, feed):
    given = model if isinstance(model, str) else model.SerializeToString()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(given, options, providers=["CPUExecutionProvider"]).run(None, feed)[0]


class Made:
    """One model quantized with all its operator types, taken apart."""

    def __init__(self, model, calibration, types, **fields):
        self.asked = plugins.make("compression", Named("quantize_static", {"operators": types, **fields}))
        self.model = model
        self.source = _qdq.prepared_float(model, self.asked)
        self.ranges = _qdq.calibrated(self.source, self.asked, model, calibration)
        self.path = self.clean()
        self.parts = take_apart(self.source, self.path, types)

    def clean(self, exclude=()):
        import msgspec

        asked = msgspec.structs.replace(self.asked, exclude=tuple(exclude))
        return _qdq.quantized(self.source, self.ranges, asked, self.model, self.model.scratch() / "clean.onnx")


class Rows:
    """Calibration samples of any small model."""

    def __init__(self, signature, n=16):
        self.inputs, self.count, self.ragged = items(signature, n), n, {}

    def batch(self, ids):
        return {name: value[ids] for name, value in self.inputs.items()}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    model = outlier(tmp_path_factory.mktemp("outlier"), huge=100.0)
    given = samples()
    return Made(model, given.only(given.calibration), ALL), {"x": given.inputs["x"][:8]}


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    model = cnn(tmp_path_factory.mktemp("cnn"))
    return (
        Made(model, Rows(model.signature), ["Conv", "Gemm", "Relu", "GlobalAveragePool", "Flatten"]),
        {"x": items(model.signature, 4, seed=9)["x"]},
    )


@pytest.mark.parametrize("which", ["plain", "network"])
def test_both_ends_check(which, request):
    made, feed = request.getfixturevalue(which)
    every = {node.name for node in made.parts.reference.graph.node}
    assert np.array_equal(run(floatize(made.parts, every), feed), run(str(made.source), feed))
    quantized = run(str(made.path), feed)
    assert not np.array_equal(quantized, run(str(made.source), feed)), "nothing was quantized"
    assert np.allclose(run(floatize(made.parts, frozenset()), feed), quantized, atol=1e-6)


def test_every_subset_answers_like_a_clean_file_with_these_nodes_excluded(plain):
    made, feed = plain
    names = [name for name, _ in made.parts.nodes]
    assert set(names) == {"first", "raise", "lower", "second", "scale"}, "a folded ReLU can't be put back alone"
    for count in (1, 2, 3):
        for left in itertools.islice(itertools.combinations(names, count), 0, None, 2):
            rewired, clean = run(floatize(made.parts, set(left)), feed), run(str(made.clean(left)), feed)
            assert np.allclose(rewired, clean, atol=1e-5), left


@pytest.mark.parametrize("left", [("conv1",), ("conv1", "conv2"), ("dense",), ("conv2", "relu2", "pool")])
def test_a_network_whose_relus_were_folded_answers_like_a_clean_file(network, left):
    made, feed = network
    gone = {n.name for n in made.parts.reference.graph.node} - {n.name for n in onnx.load(made.path).graph.node}
    assert gone, "the tool removes ReLUs that a range clips; this graph must have one"
    rewired, clean = run(floatize(made.parts, set(left)), feed), run(str(made.clean(left)), feed)
    assert np.allclose(rewired, clean, atol=1e-5)


def test_float_weights_of_8_bit_nodes_are_left_behind(plain):
    made, _ = plain
    whole = {tensor.name for tensor in floatize(made.parts, frozenset()).graph.initializer}
    assert "w1" not in whole
    assert "w1_quantized" in whole
    some = {tensor.name for tensor in floatize(made.parts, {"first"}).graph.initializer}
    assert "w1" in some
    assert "w1_quantized" not in some
    assert "w2_quantized" in some


def test_what_the_quantizer_was_told_to_leave_out_is_no_node(plain):
    made, _ = plain
    parts = take_apart(made.source, made.clean(["first"]), ALL, ["first"])
    assert "first" not in dict(parts.nodes)


def test_nodes_that_share_a_tensor_are_named(plain):
    made, _ = plain
    assert frozenset({"raise", "lower"}) in sharing(made.parts)


def test_a_gemm_whose_beta_was_folded_keeps_its_answer(tmp_path):
    from onnx import helper, numpy_helper

    from accel.model import Signature, Tensor
    from tests.small_models import FileModel, save

    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.normal(size=(8, 4)).astype(np.float32), "w"),
        numpy_helper.from_array(rng.normal(size=4).astype(np.float32), "b"),
    ]
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"], name="dense", beta=0.5),
        helper.make_node("Relu", ["h"], ["y"], name="relu"),
    ]
    path = save(tmp_path / "gemm.onnx", nodes, weights, ["batch", 8], ["batch", 4], 17)
    signature = Signature(
        inputs=(Tensor("x", "float32", ("batch", 8)),), outputs=(Tensor("y", "float32", ("batch", 4)),), batch="any"
    )
    model = FileModel(signature, {"onnx": path})
    model.facts = facts("other", Gemm=1, Relu=1)
    made = Made(model, Rows(signature), ["Gemm"])
    feed = {"x": items(signature, 4, seed=2)["x"]}
    assert np.allclose(run(floatize(made.parts, frozenset()), feed), run(str(made.path), feed), atol=1e-6)
    assert np.array_equal(run(floatize(made.parts, {"dense", "relu"}), feed), run(str(made.source), feed))


def test_nodes_of_a_tensor_that_reaches_infinity_are_no_nodes(plain, tmp_path):
    """The quantizer leaves them out by itself; a rewired graph must not think that they hold a tensor in 8 bits."""
    made, _ = plain
    tensor = next(n.output[0] for n in made.parts.reference.graph.node if n.name == "raise")
    parts = take_apart(made.source, made.clean(["raise", "lower"]), ALL, (), {tensor})
    assert {"raise", "lower"}.isdisjoint(dict(parts.nodes))
    feed = {"x": samples().inputs["x"][:8]}
    clean = run(str(made.clean(["raise", "lower"])), feed)
    assert np.allclose(run(floatize(parts, frozenset()), feed), clean, atol=1e-6)


def test_the_time_of_every_quantized_node_is_known_however_the_runtime_names_its_kernels(network):
    """NCHWc kernels are named after the tensor that the folded ReLU writes."""
    from accel.rescue.ablate_onnx import OnnxAblation, kernel_owners

    made, feed = network
    owners = kernel_owners(made.parts)
    assert owners["relu1"] == owners["r1"] == "conv1"
    saved = OnnxAblation(made.parts, made.source, made.path, [feed], threads=1).saved_ms()
    assert saved.keys() >= {"conv1", "conv2", "dense"}
