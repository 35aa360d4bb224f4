"""Profile an artefact with whichever reader its backend has; it needs a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accel.compilation import Arrays
from accel.compilation._profile import Layers


def profile(name: str, backend: Any, folder: Path, inputs: Arrays, seconds: float) -> Layers | None:
    """Where a run of `inputs` goes, from about `seconds` of runs; None for a backend whose runtime has no profiler.

    name: the backend's word in recipes. A backend with a method `profile(folder, inputs, seconds)` reads its own.
    Raises VariantError if the artefact can't be opened or run.
    """
    own = getattr(backend, "profile", None)
    if own is not None:
        found: Layers = own(folder, inputs, seconds)
        return found
    return _READERS[name](backend, folder, inputs, seconds) if has_profiler(name, backend) else None


def has_profiler(name: str, backend: Any) -> bool:
    """True if `profile` can read this backend.

    On a GPU only torch tells what its kernels took there; others tell when they had been started.
    """
    on_device = getattr(backend, "device", "cpu") != "cpu"
    return hasattr(backend, "profile") or name in (_ON_DEVICE if on_device else _READERS)


def _onnxruntime(backend: Any, folder: Path, inputs: Arrays, seconds: float) -> Layers:
    from accel.compilation._profile_onnx import profile

    return profile(backend, folder, inputs, seconds)


def _openvino(backend: Any, folder: Path, inputs: Arrays, seconds: float) -> Layers:
    from accel.compilation._profile_openvino import profile

    return profile(backend, folder, inputs, seconds)


def _torch(backend: Any, folder: Path, inputs: Arrays, seconds: float, *, generated: bool = False) -> Layers:
    from accel.compilation._profile_torch import profile

    engine = backend.open(folder)
    try:
        on_device = getattr(backend, "device", "cpu") != "cpu"
        return profile(engine, inputs, seconds, generated=generated, on_device=on_device)
    finally:
        engine.close()


def _library(backend: Any, folder: Path, inputs: Arrays, seconds: float) -> Layers:
    return _torch(backend, folder, inputs, seconds, generated=True)


_READERS = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "eager": _torch,
    "inductor": _torch,
    "aot_inductor": _library,
}
_ON_DEVICE = ("eager", "inductor")
