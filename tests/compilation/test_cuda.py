"""Torch on a GPU: what is refused with which next step, and an engine on a stand-in for the card."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from accel import plugins
from accel.compilation import _cuda, on_gpu
from accel.compilation._cuda import onnxruntime_refusal, too_old, too_small, torch_build, torch_refusal
from accel.errors import VariantError
from accel.measurement.nvml import Gpu
from accel.plugins import Named
from tests.small_models import facts, machine

# What importing torch's compiler says about torch itself.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
H = Gpu(name="Test GPU", memory_bytes=8 << 30, driver="580.1", capability="9.0", cuda="13.0")


def with_gpu(**fields):
    return msgspec.structs.replace(machine(), gpus=(msgspec.structs.replace(H, **fields),))


def test_without_a_gpu_every_backend_says_so():
    for name in ("eager", "inductor", "onnxruntime"):
        refusal = plugins.make("compilation", Named(name, {"device": "cuda"})).fits(facts(), machine())
        assert refusal is not None
        assert "needs an NVIDIA GPU" in refusal.reason
        assert "--gpus all" in refusal.next_step


def test_who_computes_on_a_gpu():
    for name, fields, there in (
        ("eager", {}, False),
        ("eager", {"device": "cuda"}, True),
        ("tensorrt", {}, True),
        ("openvino", {}, False),
    ):
        assert on_gpu(plugins.make("compilation", Named(name, fields))) == there


def test_kernels_are_compiled_by_workers_on_the_gpu_alone():
    told = [plugins.make("compilation", Named("inductor", {"device": d})).env() for d in ("cpu", "cuda")]
    assert [env["TORCHINDUCTOR_COMPILE_THREADS"] for env in told] == ["1", "4"]


def test_a_precision_of_the_gpu_is_refused_on_the_processor():
    refusal = plugins.make("compilation", Named("eager", {"precision": "f16"})).fits(facts(), machine())
    assert refusal is not None
    assert 'precision = "f16" belongs to device = "cuda"' in refusal.reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("__version__ = '2.11.0+cu130'\ndebug = False\ncuda: Optional[str] = '13.0'\n", ("2.11.0+cu130", 13)),
        ("__version__ = '2.9.1'\ncuda = '12.8'\n", ("2.9.1", 12)),
        (
            "__version__ = '2.13.0+cpu'\n__all__ = ['cuda']\ncuda: Optional[str] = None\nhip = None\n",
            ("2.13.0+cpu", None),
        ),
    ],
)
def test_torchs_build_is_read_without_importing_it(text, expected, tmp_path):
    (tmp_path / "version.py").write_text(text)
    assert torch_build(tmp_path) == expected
    assert torch_build(tmp_path / "absent") is None


def test_the_torch_installed_here_tells_its_build():
    torch = pytest.importorskip("torch")
    build = torch_build()
    assert build is not None
    assert build[0] == torch.__version__
    assert (build[1] is None) == (torch.version.cuda is None)


def test_a_torch_for_the_processor_gets_the_exact_line():
    refusal = torch_refusal(with_gpu(), "float32", ("2.13.0+cpu", None))
    assert refusal is not None
    assert "built without CUDA" in refusal.reason
    assert refusal.next_step.endswith("torch --index-url https://download.pytorch.org/whl/cu130")
    older = torch_refusal(with_gpu(cuda="12.4"), "float32", ("2.13.0+cpu", None))
    assert older is not None
    assert older.next_step.endswith("/cu126")


def test_a_driver_that_is_too_old_is_named_with_the_one_it_needs():
    refusal = torch_refusal(with_gpu(driver="550.1", cuda="12.4"), "float32", ("2.11.0+cu130", 13))
    assert refusal is not None
    assert "driver 550.1" in refusal.reason
    assert "580" in refusal.next_step
    assert torch_refusal(with_gpu(cuda="12.4"), "float32", ("2.9.1", 12)) is None
    assert too_old(with_gpu(cuda=None), 13, "torch") is None


@pytest.mark.parametrize(
    ("capability", "precision", "fits"),
    [("7.5", "bf16", False), ("7.5", "f16", True), ("8.0", "bf16", True), ("8.6", "fp8", False), ("8.9", "fp8", True)],
)
def test_a_chip_without_the_arithmetic_is_refused(capability, precision, fits):
    refusal = too_small(with_gpu(capability=capability), precision)
    assert (refusal is None) == fits
    assert fits or f"compute capability {capability}" in refusal.reason
    assert too_small(with_gpu(capability=None), precision) is None


def test_eight_bits_need_torchao(monkeypatch):
    monkeypatch.setattr(_cuda, "package_folder", lambda name: None if name == "torchao" else Path("/"))
    refusal = torch_refusal(with_gpu(), "fp8", ("2.11.0+cu130", 13))
    assert refusal is not None
    assert refusal.next_step == "Install it with: pip install torchao"


def test_onnxruntime_is_asked_for_its_providers_by_file(tmp_path):
    (tmp_path / "capi").mkdir()
    refusal = onnxruntime_refusal(with_gpu(), "float32", "cuda", tmp_path)
    assert refusal is not None
    assert "no provider for CUDA" in refusal.reason
    assert "onnxruntime-gpu" in refusal.next_step
    (tmp_path / "capi" / "libonnxruntime_providers_cuda.so").touch()
    assert onnxruntime_refusal(with_gpu(), "float32", "cuda", tmp_path) is None
    assert onnxruntime_refusal(with_gpu(), "float32", "tensorrt", tmp_path) is not None


@pytest.fixture
def card(monkeypatch):
    """The stand-in, in place of torch wherever an engine asks for its GPU; torch's settings are put back."""
    torch = pytest.importorskip("torch")
    from accel.compilation import _inductor_cuda, _torch_cuda
    from tests.compilation.cuda_stand_in import Torch

    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    stand_in = Torch()
    for module in (_torch_cuda, _inductor_cuda):
        monkeypatch.setattr(module, "load_torch", lambda: stand_in)
    yield stand_in
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


def opened(fields, folder, name="eager", network="torch_cnn"):
    from tests import small_networks

    model, given, expected = getattr(small_networks, network)()
    backend = plugins.make("compilation", Named(name, {"device": "cuda", **fields}))
    plugins.make("compilation", Named("eager")).build(model, folder)
    return backend.open(folder), given, expected


@pytest.mark.parametrize("network", ["torch_cnn", "torch_attention"])
@pytest.mark.parametrize(("precision", "limit"), [("float32", 1e-5), ("bf16", 0.05), ("f16", 0.01)])
def test_the_gpu_engine_gives_what_the_module_gives(network, precision, limit, card, tmp_path):
    engine, given, expected = opened({"precision": precision}, tmp_path, network=network)
    assert engine.effective.precision == precision
    for n in (1, 3, 4):
        found = engine.run({name: value[:n] for name, value in given.items()})
        for name, value in expected.items():
            assert found[name].dtype == np.float32
            assert np.linalg.norm(found[name] - value[:n]) / np.linalg.norm(value[:n]) < limit
    engine.close()


def test_a_run_ends_with_a_synchronised_device(card, tmp_path):
    engine, given, _ = opened({}, tmp_path)
    card.cuda.said.clear()
    engine.run(given)
    assert card.cuda.said == ["synchronize"]


def test_outputs_stay_valid_and_inputs_unchanged(card, tmp_path):
    engine, given, expected = opened({}, tmp_path)
    first = engine.run({"x": given["x"][:2]})["output"]
    kept = first.copy()
    engine.run({"x": given["x"][2:]})
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_allclose(first, expected["output"][:2], rtol=1e-4, atol=1e-5)
    view = given["x"][::2]
    view.flags.writeable = False
    np.testing.assert_allclose(engine.run({"x": view})["output"], expected["output"][::2], rtol=1e-4, atol=1e-5)


def test_one_page_locked_buffer_an_input_grows_and_is_kept(card, tmp_path):
    engine, given, _ = opened({}, tmp_path)
    for n in (2, 4, 1, 3):
        engine.run({"x": given["x"][:n]})
    row = given["x"][0].nbytes
    assert card.locked == [2 * row, 4 * row]


def test_the_three_parts_are_told_apart(card, tmp_path):
    engine, given, _ = opened({}, tmp_path)
    upload, call, download = engine.card.upload, engine._call, engine.card.download

    def taking(ms, what):
        def run(*args):
            card.cuda.clock_ms += ms
            return what(*args)

        return run

    engine.card.upload, engine._call = taking(2.0, upload), taking(5.0, call)
    engine.card.download = taking(0.5, download)
    found = engine.apart(given, repeats=3)
    assert (found.rows, found.repeats) == (4, 3)
    assert (found.to_device_s, found.compute_s, found.to_host_s) == pytest.approx((2e-3, 5e-3, 5e-4))
    assert "CUDA events" in found.source


def test_the_peak_of_the_devices_memory_starts_anew_when_asked(card, tmp_path):
    engine, _, _ = opened({}, tmp_path)
    assert engine.device_peak_bytes(reset=True) == 1000
    assert engine.device_peak_bytes() == 0


@pytest.mark.parametrize(("precision", "tf32"), [("float32", "off"), ("tf32", "on"), ("bf16", "off")])
def test_tensorfloat_is_set_for_products_and_convolutions_alike(precision, tf32, card, tmp_path):
    import torch

    engine, _, _ = opened({"precision": precision}, tmp_path)
    assert engine.effective.detail["TF32"] == tf32
    assert torch.backends.cudnn.allow_tf32 == (tf32 == "on")
    assert engine.effective.detail["compute capability"] == "9.0"
    assert engine.effective.provider == "torch eager, cuda"
    assert engine.effective.on_gpu


def test_what_was_quantized_for_the_processor_does_not_open(card, tmp_path):
    from accel.compilation._artefact import Artefact

    opened({}, tmp_path)
    msgspec.structs.replace(Artefact.load(tmp_path), stored="int8 dynamic").save(tmp_path)
    with pytest.raises(VariantError, match="quantized for the processor"):
        plugins.make("compilation", Named("eager", {"device": "cuda"})).open(tmp_path)


def test_torch_without_a_gpu_is_one_sentence(monkeypatch, tmp_path):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(VariantError, match="sees no GPU"):
        opened({}, tmp_path)


@pytest.fixture
def compiled(card, monkeypatch):
    """What `module.compile` was told, and every batch size that then ran; nothing is compiled."""
    from torch import nn

    told = {}

    def record(self, **given):
        told.update(given)
        self.register_forward_pre_hook(lambda _, args: told.setdefault("rows", []).append(len(args[0])))

    monkeypatch.setattr(nn.Module, "compile", record)
    return told


def test_each_batch_size_is_compiled_by_itself_and_others_are_refused(compiled, tmp_path):
    import torch

    engine, given, expected = opened({"sizes": [4, 1], "mode": "reduce-overhead"}, tmp_path, "inductor")
    assert engine.sizes == (1, 4)
    assert compiled["dynamic"] is False
    assert compiled["mode"] == "reduce-overhead"
    assert compiled["rows"] == [1, 1, 1, 4, 4, 4]
    assert engine.effective.detail["sizes compiled"] == "1, 4"
    assert engine.effective.detail["CUDA graphs"] == "by torch.compile"
    np.testing.assert_allclose(engine.run(given)["output"], expected["output"], rtol=1e-4, atol=1e-5)
    engine.close()
    assert torch._inductor.config.freezing is False


def test_settings_of_the_compiler_hold_until_it_is_closed(compiled, tmp_path):
    import torch

    limit = torch._dynamo.config.recompile_limit
    engine, _, _ = opened({"sizes": list(range(1, 9)), "freezing": True}, tmp_path, "inductor")
    assert torch._inductor.config.freezing is True
    assert torch._dynamo.config.recompile_limit >= 16
    engine.close()
    engine.close()
    assert torch._inductor.config.freezing is False
    assert torch._dynamo.config.recompile_limit == limit


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("name", ["eager", "inductor"])
def test_on_a_real_gpu(name, precision, tmp_path):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    fields = {"precision": precision} | ({"sizes": [1, 4], "mode": "reduce-overhead"} if name == "inductor" else {})
    engine, given, expected = opened(fields, tmp_path, name)
    found = engine.run(given)["output"]
    assert np.linalg.norm(found - expected["output"]) / np.linalg.norm(expected["output"]) < 0.05
    times = engine.apart(given, repeats=3)
    assert min(times.to_device_s, times.compute_s, times.to_host_s) > 0
    assert engine.device_peak_bytes() > 0
    engine.close()
