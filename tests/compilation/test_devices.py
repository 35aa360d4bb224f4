"""Every execution provider and device is listed: which backend tunes it, or why it can't be run here."""

from __future__ import annotations

import msgspec

from accel import plugins
from accel.checkup import devices as asked
from accel.compilation import _devices
from accel.compilation._devices import Device, openvino_devices, providers, torch_devices

BUILT = ["CUDAExecutionProvider", "AzureExecutionProvider", "CPUExecutionProvider"]
KNOWN = [*BUILT, "TensorrtExecutionProvider", "QNNExecutionProvider", "XnnpackExecutionProvider"]


def by_name(found):
    return {device.name: device for device in found}


def test_a_provider_without_its_gpu_is_listed_and_not_run():
    without, with_gpu = (by_name(providers(BUILT, KNOWN, gpus)) for gpus in (0, 1))
    assert without["CUDAExecutionProvider"].why == "no NVIDIA GPU is visible"
    assert not without["CUDAExecutionProvider"].runs
    assert with_gpu["CUDAExecutionProvider"].runs
    assert without["CPUExecutionProvider"].runs


def test_a_provider_of_another_build_names_it():
    found = by_name(providers(BUILT, KNOWN, 0))
    assert "pip install onnxruntime-gpu" in found["TensorrtExecutionProvider"].why
    assert "pip install onnxruntime-qnn" in found["QNNExecutionProvider"].why
    assert found["XnnpackExecutionProvider"].why == "not in the installed build"


def test_what_nobody_tunes_is_said_so():
    found = by_name(providers(BUILT, KNOWN, 0))
    assert found["AzureExecutionProvider"].by == ""
    assert "no backend of accel tunes it" in found["AzureExecutionProvider"].why
    gpu = by_name(openvino_devices(["CPU", "GPU.0"], ["cpu", "gpu", "npu"]))
    assert gpu["CPU"].runs
    assert "no backend" in gpu["GPU.0"].why
    assert "finds no such device" in gpu["NPU"].why
    assert set(gpu) == {"CPU", "GPU.0", "NPU"}


def test_other_packages_compilers_for_torch_are_listed():
    found = by_name(torch_devices({"cuda": True, "mps": False, "xpu": True}, ["zentorch"]))
    assert found["cuda"].runs
    assert found["mps"].why == "this build of torch finds none"
    assert not found["xpu"].runs
    assert not found["torch.compile: zentorch"].runs


def test_every_backend_that_is_named_exists():
    found = [*providers(BUILT, KNOWN, 1), *openvino_devices(["CPU"], []), *torch_devices({"cuda": True}, [])]
    for device in found:
        for spelt in filter(None, device.by.split(", ")):
            assert plugins.parse("compilation", spelt).name in plugins.names("compilation")


def test_the_runtimes_are_asked_in_processes_of_their_own():
    found = asked.devices(["onnxruntime", "numpy", "onnxruntime"], 0)
    assert [d.name for d in found if d.runs] == ["CPUExecutionProvider"]
    assert {d.runtime for d in found} == {"onnxruntime"}


def test_a_runtime_that_breaks_says_nothing(monkeypatch):
    monkeypatch.setattr(asked, "_MODULE", "accel.no_such_module")
    assert asked.devices(["onnxruntime"], 0) == ()


def test_lines_name_what_runs_and_group_what_does_not():
    told = asked.lines(providers(BUILT, KNOWN, 0))
    assert told[0] == "ok  onnxruntime CPUExecutionProvider: onnxruntime"
    assert "--  onnxruntime CUDA: no NVIDIA GPU is visible" in told
    assert msgspec.json.decode(msgspec.json.encode([Device(runtime="a", name="b")]), type=list[Device])
    assert set(_devices.KNOWN) == {"onnxruntime", "openvino", "torch"}


def test_a_backend_without_its_package_says_in_the_list_how_to_get_it(monkeypatch):
    from accel.cli import list as listing

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "openvino" else object())
    told = listing._one_line("compilation", "openvino")
    assert told.endswith('(not installed; get it with: pip install "accel-bench[openvino]")')
    assert "not installed" not in listing._one_line("compilation", "onnxruntime")
    assert "not installed" not in listing._one_line("batching", "single")
