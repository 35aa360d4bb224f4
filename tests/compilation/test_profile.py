"""Where a run's time goes, as each runtime's own profiler tells it: operators by type, shares that add up to one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from accel import plugins
from accel.compilation._artefact import Artefact
from accel.compilation._profile import BETWEEN, GENERATED, Call, layers
from accel.compilation._profile_any import has_profiler, profile
from accel.compilation._profile_onnx import calls_of as onnx_calls
from accel.compilation._profile_torch import RUN, device_calls_of
from accel.compilation._profile_torch import calls_of as torch_calls
from accel.plugins import Named
from tests.small_models import cnn
from tests.small_networks import torch_cnn

BATCH = np.random.default_rng(0).normal(size=(4, 3, 16, 16)).astype(np.float32)


def read(name: str, model: Any, folder: Path, **fields: Any) -> Any:
    backend = plugins.make("compilation", Named(name, fields))
    backend.build(model, folder)
    return profile(name, backend, folder, {"x": BATCH}, 0.01)


def test_shares_are_summed_by_type_and_precision() -> None:
    calls = [Call("Conv", "f32", 3.0), Call("Add", "f32", 1.0), Call("Conv", "i8", 2.0), Call("Conv", "f32", 2.0)]
    found = layers(calls, items=4, runs=2, source="by hand")
    told = [(t.layer_class, t.type, t.precision, t.seconds_share, t.calls) for t in found.times]
    assert told == [
        ("convolution", "Conv", "f32", 5 / 8, 1.0),
        ("convolution", "Conv", "i8", 2 / 8, 0.5),
        ("elementwise", "Add", "f32", 1 / 8, 0.5),
    ]
    assert (found.seconds, found.share("convolution"), found.calls("convolution")) == (4.0, 7 / 8, 1.5)


def test_one_disturbed_run_does_not_decide() -> None:
    quiet = [Call("Conv", "", 1.0), Call("Add", "", 0.5), Call("Add", "", 0.5)]
    stalled = [Call("Conv", "", 1.0), Call("Add", "", 90.0), Call("Add", "", 0.5)]
    found = layers([*quiet, *stalled, *quiet], items=1, runs=3, source="by hand")
    assert (found.seconds, found.share("convolution")) == (2.0, 0.5)


def test_nothing_that_ran_is_no_division_by_zero() -> None:
    assert layers([], items=1, runs=3, source="").times == ()


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_runtime_tells_its_convolutions(name: str, tmp_path: Path) -> None:
    (tmp_path / "artefact").mkdir()
    found = read(name, cnn(tmp_path), tmp_path / "artefact")
    assert sum(t.seconds_share for t in found.times) == pytest.approx(1.0)
    assert found.calls("convolution") == 2.0, "the network has two, and warm-up runs aren't counted"
    assert {t.precision for t in found.times if t.layer_class == "convolution"} <= {"float32", "f32"}
    assert found.items == 4
    assert found.runs >= 3
    assert found.seconds > 0


def test_a_graph_rewritten_for_another_processor_is_not_the_one_that_is_profiled(tmp_path: Path) -> None:
    """Measuring opens the original then, so the profile has to be that one's."""
    model = cnn(tmp_path)
    backend = plugins.make("compilation", Named("onnxruntime", {"save_optimized": True}))
    (tmp_path / "a").mkdir()
    backend.build(model, tmp_path / "a")
    stored = Artefact.load(tmp_path / "a")
    msgspec.structs.replace(stored, made_for=("another",)).save(tmp_path / "a")
    (tmp_path / "a" / stored.file).write_bytes(b"no model")
    found = profile("onnxruntime", backend, tmp_path / "a", {"x": BATCH}, 0.01)
    assert found is not None
    assert found.calls("convolution") > 0


def test_torch_tells_its_operators(tmp_path: Path) -> None:
    found = read("eager", torch_cnn()[0], tmp_path)
    calls = {t.type: t.calls for t in found.times}
    assert calls["aten::conv2d"] == 2.0
    assert calls["aten::linear"] == 1.0, "what an operator calls itself isn't counted again"
    assert "aten::addmm" not in calls
    assert calls[BETWEEN] >= 1.0
    assert sum(t.seconds_share for t in found.times) == pytest.approx(1.0)


def test_a_backend_without_a_profiler_has_no_profile(tmp_path: Path) -> None:
    assert not has_profiler("null", plugins.make("compilation", Named("null")))
    assert profile("null", plugins.make("compilation", Named("null")), tmp_path, {}, 0.01) is None


def test_a_backend_of_another_may_bring_its_own() -> None:
    own = SimpleNamespace(profile=lambda folder, inputs, seconds: layers([], items=7, runs=1, source="mine"))
    found = profile("theirs", own, Path(), {}, 1.0)
    assert has_profiler("theirs", own)
    assert found is not None
    assert found.source == "mine"


def node(name: str, ts: int, dur: int, kind: str = "Conv", dtype: str = "float") -> dict[str, Any]:
    told = {"op_name": kind, "input_type_shape": [{dtype: [1, 2]}]}
    return {"cat": "Node", "name": f"{name}_kernel_time", "ts": ts, "dur": dur, "args": told}


def test_warm_up_runs_of_a_profile_are_left_out() -> None:
    runs = [{"cat": "Session", "name": "model_run", "ts": ts, "dur": 100} for ts in (0, 100, 200)]
    events = [node("a", 10, 70), runs[0], node("a", 110, 30), node("b", 150, 10, "QLinearConv", "uint8"), *runs[1:]]
    found = list(onnx_calls(events, skip=1))
    assert [(c.type, c.precision) for c in found] == [("Conv", "float32"), ("QLinearConv", "uint8")]
    assert [c.seconds for c in found] == pytest.approx([30e-6, 10e-6])


def event(name: str, parent: Any, total: float, own: float) -> Any:
    return SimpleNamespace(name=name, cpu_parent=parent, cpu_time_total=total, self_cpu_time_total=own)


def test_what_a_compiled_region_takes_beyond_its_operators_is_its_generated_kernels() -> None:
    run = event(RUN, None, 100.0, 10.0)
    region = event("Torch-Compiled Region: 0/0", run, 90.0, 5.0)
    graph = event("## Call CompiledFxGraph abc ##", region, 80.0, 50.0)
    product = event("aten::addmm", graph, 35.0, 20.0)
    inner = event("aten::copy_", product, 15.0, 15.0)
    outside = event("aten::mul", None, 99.0, 99.0)
    found = {}
    for call in torch_calls([run, region, graph, product, inner, outside]):
        found[call.type] = found.get(call.type, 0.0) + call.seconds * 1e6
    assert found == pytest.approx({BETWEEN: 15.0, GENERATED: 50.0, "aten::addmm": 35.0})
    assert sum(found.values()) == pytest.approx(100.0), "nothing is counted twice, nothing is lost"


def test_on_a_gpu_kernels_count_and_the_rest_of_a_run_is_idle() -> None:
    def there(name: str, parent: Any, total: float, own: float, cpu: float = 0.0) -> Any:
        times = {"device_time_total": total, "self_device_time_total": own, "cpu_time_total": cpu}
        return SimpleNamespace(name=name, cpu_parent=parent, self_cpu_time_total=0.0, **times)

    run = there(RUN, None, 70.0, 0.0, cpu=100.0)
    copy = there("aten::to", run, 10.0, 10.0)
    region = there("## Call CompiledFxGraph abc ##", run, 60.0, 40.0)
    product = there("aten::mm", region, 20.0, 20.0)
    kernel = there("sm90_gemm", None, 20.0, 20.0)
    found = {c.type: c.seconds * 1e6 for c in device_calls_of([run, copy, region, product, kernel])}
    assert found == pytest.approx({"aten::to": 10.0, GENERATED: 40.0, "aten::mm": 20.0, BETWEEN: 30.0})


def test_on_a_gpu_only_torch_is_asked() -> None:
    assert has_profiler("eager", SimpleNamespace(device="cuda"))
    assert not has_profiler("onnxruntime", SimpleNamespace(device="cuda"))
