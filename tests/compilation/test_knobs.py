"""The knobs of the backends reach the runtimes."""

from __future__ import annotations

import numpy as np
import pytest

from accel import plugins
from accel.compilation._onnx import stored_as
from accel.compilation._torch import Direct
from accel.plugins import Named
from tests.small_models import cnn, items, machine, mlp
from tests.small_models import facts as some_facts


def opened(name, fields, model, folder):
    folder.mkdir()
    backend = plugins.make("compilation", Named(name, fields))
    backend.build(model, folder)
    return backend.open(folder)


@pytest.mark.parametrize(
    ("asked", "wanted", "runs"),
    [("f32", "float32", "float32"), ("f32", "bf16", "bf16"), ("bf16", "float32", "bf16"), ("bf16", "bf16", "bf16")],
)
def test_a_compression_overrides_openvinos_precision_only_downwards(asked, wanted, runs):
    settings = plugins.make("compilation", Named("openvino", {"precision": asked})).settings(wanted)
    assert settings["INFERENCE_PRECISION_HINT"] == {"float32": "f32"}.get(runs, runs)


def test_auto_leaves_the_precision_to_openvino():
    settings = plugins.make("compilation", Named("openvino", {"precision": "auto"})).settings("float32")
    assert "INFERENCE_PRECISION_HINT" not in settings


def test_openvino_is_always_told_its_threads():
    for fields in ({}, {"threads": 1}, {"hint": "throughput"}, {"streams": 2}):
        assert "INFERENCE_NUM_THREADS" in plugins.make("compilation", Named("openvino", fields)).settings("float32")


def test_openvino_computes_in_float32_unless_asked(tmp_path):
    """Its own default is bfloat16 wherever the chip has it."""
    engine = opened("openvino", {}, cnn(tmp_path), tmp_path / "a")
    assert engine.effective.precision == "float32"
    assert engine.effective.detail["heavy layers"] == "f32 3"
    engine.close()


def test_openvino_streams_are_read_back(tmp_path):
    engine = opened("openvino", {"threads": 2, "streams": 2}, mlp(tmp_path), tmp_path / "a")
    assert engine.effective.detail["streams"] == "2"
    engine.close()


def test_openvino_refuses_emulated_bf16():
    backend = plugins.make("compilation", Named("openvino", {"precision": "bf16"}))
    assert "emulated" in backend.fits(some_facts(), machine(flags=("avx2",))).reason


def test_openvino_keeps_its_compiled_model_when_asked(tmp_path):
    opened("openvino", {"cache": True}, mlp(tmp_path), tmp_path / "a").close()
    assert list((tmp_path / "a" / "cache").iterdir())


def test_onnxruntime_saves_the_optimised_graph_only_when_asked(tmp_path):
    model = cnn(tmp_path)
    opened("onnxruntime", {}, model, tmp_path / "a").close()
    assert not (tmp_path / "a" / "optimized.onnx").exists()
    engine = opened("onnxruntime", {"save_optimized": True}, model, tmp_path / "b")
    given = items(model.signature, 2)
    plain = opened("onnxruntime", {}, model, tmp_path / "c")
    np.testing.assert_allclose(engine.run(given)["y"], plain.run(given)["y"], rtol=1e-6)


@pytest.mark.parametrize("spinning", [None, True, False])
@pytest.mark.parametrize("optimization", ["all", "extended", "basic", "none"])
def test_every_setting_of_onnxruntime_opens(spinning, optimization, tmp_path):
    fields = {"spinning": spinning, "optimization": optimization, "inter_threads": 2, "threads": 1}
    engine = opened("onnxruntime", fields, mlp(tmp_path), tmp_path / "a")
    assert engine.effective.detail["optimization"] == optimization
    engine.close()


def test_the_form_of_numbers_is_read_from_the_graph(tmp_path):
    model = cnn(tmp_path)
    assert stored_as(model.as_form("onnx")) == "float32"
    dynamic = plugins.make("compression", Named("quantize_dynamic")).apply(model, None, "onnxruntime")
    assert stored_as(dynamic.as_form("onnx")) == "int8 dynamic"


def test_inductor_without_a_compiler_says_how_to_get_one(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    refusal = plugins.make("compilation", Named("inductor")).fits(some_facts(), machine())
    assert "C++ compiler" in refusal.reason
    assert "g++" in refusal.next_step


def test_inductor_refuses_cuda_graphs_on_the_cpu():
    backend = plugins.make("compilation", Named("inductor", {"mode": "reduce-overhead"}))
    assert backend.fits(some_facts(), machine()) is not None


def test_a_plain_call_gives_what_the_general_call_gives():
    torch = pytest.importorskip("torch")
    from accel.model.torch_form import TorchForm

    class Net(torch.nn.Module):
        def forward(self, a, b=None, *, c=1.0):
            return a + b * c, b

    given = {"a": torch.ones(2, 3), "b": torch.full((2, 3), 2.0)}
    for form in (
        TorchForm.from_names(Net(), ["a", "b"]),
        TorchForm.from_call(Net(), (given["a"],), {"b": given["b"], "c": 3.0}),
    ):
        expected = list(form(given).values())
        for found, value in zip(Direct(form)(given), expected, strict=True):
            assert torch.equal(found, value)


def test_the_null_backend_answers_with_the_same_arrays(tmp_path):
    engine = opened("null", {}, mlp(tmp_path), tmp_path / "a")
    given = items(mlp(tmp_path).signature, 2)
    assert engine.run(given)["y"] is engine.run(given)["y"]
    assert engine.run(given)["y"].shape == (2, 4)
