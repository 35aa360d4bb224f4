"""Ablation of what NNCF quantized: all nodes in float must answer like the float network, changed biases included."""

from __future__ import annotations

import numpy as np
import pytest

from accel import plugins
from accel.plugins import Named
from accel.rescue.ablate_ir import IrAblation, floatize
from accel.rescue.error import error
from tests.rescue.test_floatize import Rows
from tests.small_models import cnn, facts, items, mlp

pytest.importorskip("nncf")
ov = pytest.importorskip("openvino")


@pytest.fixture(scope="module", params=["cnn", "mlp", "mlp smoothed"])
def ablation(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ir")
    model = cnn(folder) if request.param == "cnn" else mlp(folder)
    model.facts = facts("convolutional" if request.param == "cnn" else "other")
    fields = {"model_type": "transformer"} if "smoothed" in request.param else {"model_type": "none"}
    technique = plugins.make("compression", Named("quantize_static", fields))
    made = technique.apply(model, Rows(model.signature, 12), "openvino")
    batches = [{"x": items(model.signature, 4, seed=7)["x"]}]
    return IrAblation(model.as_form("openvino"), made.as_form("openvino"), batches, names=["y"], threads=1)


def test_all_nodes_in_float_answer_like_the_float_network(ablation):
    assert ablation.error(frozenset()) > 1e-4, "nothing was quantized"
    assert ablation.self_check_error < 1e-5


def test_the_nodes_are_those_that_quantizers_feed(ablation):
    kinds = {kind for _, kind in ablation.nodes}
    assert kinds & {"Convolution", "MatMul"}
    assert len({name for name, _ in ablation.nodes}) == len(ablation.nodes)


def test_each_node_counts_and_the_network_asked_about_stays_as_it_is(ablation):
    before = ablation.outputs(frozenset())
    errors = [ablation.error({name}) for name, _ in ablation.nodes]
    assert min(errors) < ablation.error(frozenset())
    assert error(ablation.outputs(frozenset()), before) == 0.0


def test_the_quantized_network_is_not_changed(tmp_path):
    model = mlp(tmp_path)
    technique = plugins.make("compression", Named("quantize_static", {"model_type": "none"}))
    path = technique.apply(model, Rows(model.signature, 8), "openvino").as_form("openvino")
    core = ov.Core()
    network, plain = core.read_model(str(path)), core.read_model(str(model.as_form("openvino")))
    originals = {node.get_friendly_name(): node for node in plain.get_ops()}
    count = len(network.get_ops())
    floatize(network, originals, set(originals))
    assert len(network.get_ops()) == count


def test_time_saved_is_known_by_node(ablation):
    saved = ablation.saved_ms()
    assert saved.keys() <= {name for name, _ in ablation.nodes}
    assert all(np.isfinite(value) for value in saved.values())
