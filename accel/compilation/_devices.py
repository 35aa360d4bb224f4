"""Which execution providers and devices does an installed runtime know, and which of them does accel tune?

`python -m accel.compilation._devices RUNTIME [GPUS]` prints them as JSON; in a process of its own, since it imports
the runtime. GPUS: how many NVIDIA GPUs are visible (default 0).
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One way a runtime can compute.

    by: the backend that tunes it, as in a recipe; "" if none does. why: why it can't be run here, or what it is if it
    can be but isn't tuned; "" where it is tuned and can be run.
    """

    runtime: str
    name: str
    by: str = ""
    why: str = ""

    @property
    def runs(self) -> bool:
        """True if accel can run it here."""
        return bool(self.by) and not self.why


_NO_GPU = "no NVIDIA GPU is visible"
_UNTUNED = "there, but no backend of accel tunes it"
_PROVIDERS = {
    "CPUExecutionProvider": "onnxruntime",
    "CUDAExecutionProvider": "onnxruntime:device=cuda",
    "TensorrtExecutionProvider": "tensorrt",
}
_BUILDS = {
    "CUDAExecutionProvider": "pip install onnxruntime-gpu",
    "TensorrtExecutionProvider": "pip install onnxruntime-gpu",
    "OpenVINOExecutionProvider": "pip install onnxruntime-openvino",
    "DmlExecutionProvider": "pip install onnxruntime-directml",
    "QNNExecutionProvider": "pip install onnxruntime-qnn",
}


def providers(built: Iterable[str], known: Iterable[str], gpus: int) -> tuple[Device, ...]:
    """ONNX Runtime's execution providers: `built` into the installed package, `known` to ONNX Runtime at all."""
    have, found = set(built), []
    for name in sorted(set(known) | have, key=lambda n: (n not in have, n not in _PROVIDERS, n)):
        by, why = _PROVIDERS.get(name, ""), ""
        if name not in have:
            get = f"; another build has it: {_BUILDS[name]}" if name in _BUILDS else ""
            why = f"not in the installed build{get}"
        elif by and name != "CPUExecutionProvider" and not gpus:
            why = _NO_GPU
        elif not by:
            why = _UNTUNED
        found.append(Device(runtime="onnxruntime", name=name, by=by, why=why))
    return tuple(found)


def openvino_devices(available: Iterable[str], plugins: Iterable[str]) -> tuple[Device, ...]:
    """OpenVINO's devices: `available` as it lists them ("CPU", "GPU.0"), `plugins` as their libraries are named."""
    have = list(available)
    found = [
        Device(runtime="openvino", name=n, by="openvino" if n == "CPU" else "", why="" if n == "CPU" else _UNTUNED)
        for n in have
    ]
    shipped = {p.upper() for p in plugins} - {name.partition(".")[0] for name in have}
    found += [
        Device(runtime="openvino", name=n, why="the plug-in is installed and finds no such device")
        for n in sorted(shipped)
    ]
    return tuple(found)


def torch_devices(there: dict[str, bool], compilers: Iterable[str]) -> tuple[Device, ...]:
    """torch's devices, by whether one is there, and compilers of other packages for torch.compile."""
    found = [Device(runtime="torch", name="cpu", by="eager, inductor, aot_inductor")]
    for name, is_there in there.items():
        by = "eager:device=cuda, inductor:device=cuda" if name == "cuda" else ""
        why = "" if is_there and by else _UNTUNED if is_there else "this build of torch finds none"
        found.append(Device(runtime="torch", name=name, by=by, why=why))
    found += [Device(runtime="torch", name=f"torch.compile: {n}", why=_UNTUNED) for n in sorted(compilers)]
    return tuple(found)


def _onnxruntime(gpus: int) -> tuple[Device, ...]:
    import onnxruntime as ort

    return providers(ort.get_available_providers(), ort.get_all_providers(), gpus)


def _openvino(gpus: int) -> tuple[Device, ...]:
    import openvino as ov

    libraries = (Path(ov.__file__).parent / "libs").glob("*openvino_intel_*_plugin*")
    names = {path.name.partition("intel_")[2].partition("_plugin")[0] for path in libraries}
    return openvino_devices(ov.Core().available_devices, names)


def _torch(gpus: int) -> tuple[Device, ...]:
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    there["xpu"] = torch.xpu.is_available()
    others = {e.name for e in importlib.metadata.entry_points(group="torch_dynamo_backends")}
    return torch_devices(there, others)


KNOWN: dict[str, Callable[[int], tuple[Device, ...]]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "torch": _torch,
}
"""The runtimes that can be asked."""

if __name__ == "__main__":
    asked = KNOWN[sys.argv[1]](int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    sys.stdout.buffer.write(msgspec.json.encode(asked))
