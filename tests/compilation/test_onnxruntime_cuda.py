"""ONNX Runtime and TensorRT on a GPU, with a stand-in for the runtime that was built for one."""

from __future__ import annotations

import sys

import msgspec
import numpy as np
import pytest

from accel import plugins
from accel.compilation import _cuda, tensorrt
from accel.compilation._artefact import Artefact
from accel.compilation._onnxruntime_cuda import cuda_providers, environment, to_float16
from accel.compilation.tensorrt import TensorRt, profile
from accel.errors import VariantError
from accel.measurement.nvml import Gpu
from accel.model import Tensor
from accel.plugins import Named
from tests.compilation.onnxruntime_stand_in import Ort
from tests.small_models import cnn, facts, items, machine

CUDA = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
WITH_GPU = msgspec.structs.replace(machine(), gpus=(Gpu(name="Test GPU", capability="9.0", cuda="13.0"),))


@pytest.fixture
def ort(monkeypatch):
    stand_in = Ort(CUDA)
    monkeypatch.setitem(sys.modules, "onnxruntime", stand_in)
    return stand_in


def built(folder, fields, name="onnxruntime"):
    model = cnn(folder)
    artefact = folder / "artefact"
    artefact.mkdir()
    backend = plugins.make("compilation", Named(name, fields))
    backend.build(model, artefact)
    return backend, artefact, items(model.signature, 3)


def on_cpu(folder, given):
    """What the model gives, by the real runtime."""
    import onnxruntime

    real = getattr(onnxruntime, "_ort", onnxruntime)
    session = real.InferenceSession(str(folder / "cnn.onnx"), providers=["CPUExecutionProvider"])
    return session.run(None, given)[0]


@pytest.mark.parametrize(("precision", "limit"), [("float32", 1e-6), ("tf32", 1e-6)])
def test_arrays_are_bound_and_the_outputs_are_the_models(precision, limit, ort, tmp_path):
    backend, folder, given = built(tmp_path, {"device": "cuda", "precision": precision})
    engine = backend.open(folder)
    found = engine.run(given)["y"]
    assert np.linalg.norm(found - on_cpu(tmp_path, given)) / np.linalg.norm(found) < limit
    assert engine.effective.precision == precision
    assert engine.effective.provider == "CUDAExecutionProvider, cuda"
    assert engine.effective.detail["TF32"] == ("on" if precision == "tf32" else "off")
    assert engine._session.told["CUDAExecutionProvider"]["use_tf32"] == ("1" if precision == "tf32" else "0")
    assert ort.preloaded
    assert engine.parallel_runs is False
    engine.close()


def test_inputs_and_outputs_are_waited_for_when_told_apart(ort, tmp_path):
    backend, folder, given = built(tmp_path, {"device": "cuda"})
    engine = backend.open(folder)
    found = engine.apart(given, repeats=3)
    assert engine._session.last.said == ["inputs", "outputs", "outputs"]
    assert (found.rows, found.repeats) == (3, 3)
    assert min(found.to_device_s, found.compute_s, found.to_host_s) > 0
    assert "host's clock" in found.source


def test_a_provider_that_was_left_out_in_silence_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", Ort(CUDA, falls_back=True))
    backend, folder, _ = built(tmp_path, {"device": "cuda"})
    with pytest.raises(VariantError, match="left out its CUDAExecutionProvider") as raised:
        backend.open(folder)
    assert "onnxruntime-gpu[cuda,cudnn]" in raised.value.next_step


def test_a_runtime_for_the_processor_alone_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", Ort(("CPUExecutionProvider",)))
    backend, folder, _ = built(tmp_path, {"device": "cuda"})
    with pytest.raises(VariantError, match="has no CUDAExecutionProvider; it has CPUExecutionProvider"):
        backend.open(folder)


def test_a_wrong_input_is_one_sentence(ort, tmp_path):
    backend, folder, given = built(tmp_path, {"device": "cuda"})
    engine = backend.open(folder)
    with pytest.raises(VariantError, match="must be float32, but is float64"):
        engine.run({"x": given["x"].astype(np.float64)})
    with pytest.raises(VariantError, match="on the GPU"):
        engine.run({"x": given["x"][:, :2]})
    assert engine.run(given)["y"].shape == (3, 5)


def test_the_script_asks_for_the_gpu(tmp_path):
    backend, folder, _ = built(tmp_path, {"device": "cuda"})
    text = backend.script(folder)
    assert "CUDAExecutionProvider" in text
    assert "'use_tf32': '0'" in text
    compile(text, "run.py", "exec")


def test_float32_is_float32_in_every_library():
    assert environment("float32") == {"NVIDIA_TF32_OVERRIDE": "0"}
    assert environment("tf32") == {}
    assert cuda_providers("float32")[0][1]["use_tf32"] == "0"
    for name in ("onnxruntime", "tensorrt"):
        fields = {"device": "cuda"} if name == "onnxruntime" else {}
        assert plugins.make("compilation", Named(name, fields)).env() == {"NVIDIA_TF32_OVERRIDE": "0"}
    assert plugins.make("compilation", Named("onnxruntime")).env() == {}


@pytest.mark.filterwarnings("ignore")
def test_float16_keeps_inputs_and_outputs(tmp_path):
    pytest.importorskip("onnxruntime.transformers.float16")
    import onnx

    model = cnn(tmp_path)
    to_float16(model.as_form("onnx"), tmp_path / "half.onnx")
    made = onnx.load(tmp_path / "half.onnx")
    assert {i.type.tensor_type.elem_type for i in (*made.graph.input, *made.graph.output)} == {onnx.TensorProto.FLOAT}
    assert onnx.TensorProto.FLOAT16 in {w.data_type for w in made.graph.initializer}


@pytest.fixture
def with_tensorrt(ort, monkeypatch):
    monkeypatch.setattr(tensorrt, "way", lambda: "onnxruntime")
    return ort


def test_tensorrt_gets_its_profile_its_cache_and_its_precision(with_tensorrt, tmp_path):
    fields = {"precision": "f16", "batch": [1, 2, 4]}
    backend, folder, given = built(tmp_path, fields, "tensorrt")
    engine = backend.open(folder)
    told = engine._session.told["TensorrtExecutionProvider"]
    assert told["trt_profile_min_shapes"] == "x:1x3x16x16"
    assert told["trt_profile_opt_shapes"] == "x:2x3x16x16"
    assert told["trt_profile_max_shapes"] == "x:4x3x16x16"
    assert told["trt_fp16_enable"] == "1"
    assert told["trt_bf16_enable"] == told["trt_int8_enable"] == "0"
    assert told["trt_engine_cache_path"] == str(folder / "engine")
    assert engine.sizes == (1, 2, 3, 4)
    assert engine.effective.detail["profile"] == "batch 1 to 4, usually 2"
    assert engine.effective.provider == "TensorrtExecutionProvider, cuda"
    np.testing.assert_allclose(engine.run(given)["y"], on_cpu(tmp_path, given), rtol=1e-5, atol=1e-6)
    compile(backend.script(folder), "run.py", "exec")
    assert str(tmp_path) not in backend.script(folder)


def test_tensorrt_in_8_bits_needs_something_quantized(with_tensorrt, tmp_path):
    with pytest.raises(VariantError, match="this one has none"):
        built(tmp_path, {"precision": "int8"}, "tensorrt")


@pytest.mark.parametrize(("precision", "forbids"), [("float32", True), ("tf32", False)])
def test_run_py_of_tensorrt_forbids_what_was_forbidden(precision, forbids, with_tensorrt, tmp_path):
    backend, folder, _ = built(tmp_path, {"precision": precision}, "tensorrt")
    text = backend.script(folder)
    compile(text, "run.py", "exec")
    assert text.startswith('import os\n\nos.environ["NVIDIA_TF32_OVERRIDE"] = "0"\nimport onnx') == forbids


def test_what_the_gpu_does_not_save_is_refused(monkeypatch, tmp_path):
    (tmp_path / "capi").mkdir()
    (tmp_path / "capi" / "libonnxruntime_providers_cuda.so").write_bytes(b"")
    monkeypatch.setattr(_cuda, "package_folder", lambda name: tmp_path)
    for fields, fits in (({}, True), ({"save_optimized": True}, False)):
        backend = plugins.make("compilation", Named("onnxruntime", {"device": "cuda", **fields}))
        assert (backend.fits(facts(), WITH_GPU) is None) == fits


def test_the_profile_covers_lengths_too():
    tensors = (Tensor("ids", "int64", ("batch", "length")), Tensor("x", "float32", ("batch", 3, "height")))
    artefact = Artefact(file="", inputs=tensors, outputs=(), sizes=None)
    example = {"ids": np.zeros((2, 12)), "x": np.zeros((2, 3, 20))}
    found = profile(artefact, example, (1, 8, 32), None)
    assert found == {"ids": ((1, 1), (8, 12), (32, 24)), "x": ((1, 3, 1), (8, 3, 20), (32, 3, 40))}
    found = profile(artefact, example, (1, 8, 32), (4, 16, 64))
    assert found["ids"] == ((1, 4), (8, 16), (32, 64))


@pytest.mark.parametrize(
    ("way", "says", "step"),
    [
        (None, "TensorRT isn't installed", "pip install torch-tensorrt"),
        ("torch", "built without CUDA", "--index-url"),
        ("onnxruntime", "no provider for TensorRT", "onnxruntime-gpu"),
    ],
)
def test_each_way_to_tensorrt_is_refused_with_its_own_line(way, says, step, monkeypatch, tmp_path):
    monkeypatch.setattr(tensorrt, "way", lambda: way)
    monkeypatch.setattr(tensorrt, "torch_build", lambda: ("2.13.0+cpu", None))
    monkeypatch.setattr(_cuda, "package_folder", lambda name: tmp_path)
    refusal = TensorRt().fits(facts(), WITH_GPU)
    assert refusal is not None
    assert says in refusal.reason
    assert step in refusal.next_step


def test_torch_tensorrt_computes_nothing_in_8_bits(monkeypatch):
    monkeypatch.setattr(tensorrt, "way", lambda: "torch")
    monkeypatch.setattr(tensorrt, "torch_build", lambda: ("2.13.0", 13))
    monkeypatch.setattr(_cuda, "package_folder", lambda name: None)
    refusal = TensorRt(precision="int8").fits(facts(), WITH_GPU)
    assert refusal is not None
    assert "nothing is computed in 8 bits" in refusal.reason
    assert TensorRt(precision="bf16").fits(facts(), WITH_GPU) is None


def test_lengths_that_are_not_ascending_are_refused():
    refusal = TensorRt(length=(8, 4, 2)).fits(facts(), WITH_GPU)
    assert refusal is not None
    assert "lengths" in refusal.reason


def test_a_profile_that_is_not_ascending_is_refused(monkeypatch):
    monkeypatch.setattr(tensorrt, "way", lambda: "onnxruntime")
    refusal = TensorRt(batch=(8, 1, 32)).fits(facts(), WITH_GPU)
    assert refusal is not None
    assert "(8, 1, 32)" in refusal.reason


def test_the_way_is_what_is_installed(monkeypatch, tmp_path):
    (tmp_path / "capi").mkdir()
    there = {"onnxruntime": tmp_path}
    monkeypatch.setattr(tensorrt, "package_folder", there.get)
    assert tensorrt.way() is None
    there["torch_tensorrt"] = tmp_path
    assert tensorrt.way() == "torch"
    (tmp_path / "capi" / "libonnxruntime_providers_tensorrt.so").touch()
    assert tensorrt.way() == "torch"
    there["tensorrt"] = tmp_path
    assert tensorrt.way() == "onnxruntime"


def test_without_a_stand_in_nothing_is_loaded_to_be_asked():
    assert TensorRt().fits(facts(), machine()).reason.startswith("The device `cuda` needs an NVIDIA GPU")
