"""Can an NVIDIA GPU be used here, by what is installed? Read from files, driver and metadata: nothing is loaded.

Every answer is None, or a refusal with the exact next step.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING

from accel.compilation import Refusal

if TYPE_CHECKING:
    from accel.measurement.machine import Machine

DEVICES = ("cpu", "cuda")
_INDEX = "https://download.pytorch.org/whl/"
# CUDA versions that torch is published for, with the driver each needs (NVIDIA's table of minor version compatibility).
_BUILDS = ((13, "cu130"), (12, "cu126"))
_DRIVERS = {13: "580", 12: "525", 11: "450"}
_BF16, _FP8 = (8, 0), (8, 9)
_LEAST = {"tf32": _BF16, "bf16": _BF16, "f16": (7, 0), "int8": (7, 5), "fp8": _FP8}
_NAMES = {
    "tf32": "TensorFloat-32",
    "bf16": "bfloat16",
    "f16": "float16",
    "int8": "8-bit integers",
    "fp8": "8-bit floats",
}


def no_gpu(machine: Machine) -> Refusal | None:
    """A refusal where no NVIDIA GPU is visible."""
    if machine.gpus:
        return None
    return Refusal(
        "The device `cuda` needs an NVIDIA GPU and its driver, and none is visible here.",
        "Leave `device` out; in a container, start it with the GPU passed in (docker: --gpus all).",
    )


def too_old(machine: Machine, cuda: int | None, what: str) -> Refusal | None:
    """A refusal where the driver is older than `what`, which was built for CUDA `cuda` (its first number), needs."""
    gpu = machine.gpus[0] if machine.gpus else None
    known = re.match(r"\d+", (gpu.cuda if gpu is not None else None) or "")
    if cuda is None or known is None or gpu is None or int(known[0]) >= cuda:
        return None
    newer = f"Update the driver (version {_DRIVERS[cuda]} or later)" if cuda in _DRIVERS else "Update the driver"
    return Refusal(
        f"The driver {gpu.driver} of `{gpu.name}` runs CUDA up to {gpu.cuda}, but {what} was built for CUDA {cuda}.",
        f"{newer}, or install a build for CUDA {known[0]}.",
    )


def too_small(machine: Machine, precision: str) -> Refusal | None:
    """A refusal where the chip has no arithmetic of that precision; a chip that doesn't say what it is may try."""
    gpu = machine.gpus[0] if machine.gpus else None
    least = _LEAST.get(precision)
    found = re.fullmatch(r"(\d+)\.(\d+)", (gpu.capability if gpu is not None else None) or "")
    if least is None or found is None or gpu is None or (int(found[1]), int(found[2])) >= least:
        return None
    return Refusal(
        f"`{gpu.name}` (compute capability {gpu.capability}) has no arithmetic in {_NAMES[precision]}, which needs "
        f"{least[0]}.{least[1]}.",
        'Use precision = "f16" or "float32".' if precision != "f16" else 'Use precision = "float32".',
    )


def torch_build(root: Path | None = None) -> tuple[str, int | None] | None:
    """(version, first number of the CUDA version, None for a build without) of the torch installed here; None without.

    Read from `torch/version.py` as text, since importing torch takes seconds and hundreds of megabytes.
    """
    folder = root or package_folder("torch")
    file = folder / "version.py" if folder is not None else None
    if file is None or not file.is_file():
        return None
    text = file.read_text("utf-8")
    version = re.search(r"^__version__\s*=\s*['\"]([^'\"]+)", text, re.MULTILINE)
    cuda = re.search(r"^cuda\b[^=]*=\s*['\"](\d+)", text, re.MULTILINE)
    return (version[1] if version else "unknown", int(cuda[1]) if cuda else None)


def torch_refusal(machine: Machine, precision: str, build: tuple[str, int | None] | None) -> Refusal | None:
    """None if torch can compute in `precision` on the GPU of this machine; `build`: what `torch_build` says."""
    if (refusal := no_gpu(machine)) is not None:
        return refusal
    line = f"pip install --force-reinstall torch --index-url {_INDEX}{_index_for(machine)}"
    if build is None:
        return Refusal("torch is not installed.", f"Install it with: {line}")
    version, cuda = build
    if cuda is None:
        return Refusal(f"torch {version} was built without CUDA, so it can't use the GPU.", f"Install it with: {line}")
    refusal = too_old(machine, cuda, f"torch {version}") or too_small(machine, precision)
    if refusal is None and precision in ("int8", "fp8") and package_folder("torchao") is None:
        return Refusal(f"precision = {precision!r} needs the package torchao.", "Install it with: pip install torchao")
    return refusal


def _index_for(machine: Machine) -> str:
    gpu = machine.gpus[0] if machine.gpus else None
    known = re.match(r"\d+", (gpu.cuda if gpu is not None else None) or "")
    newest = int(known[0]) if known else _BUILDS[0][0]
    return next((name for number, name in _BUILDS if number <= newest), _BUILDS[-1][1])


def onnxruntime_refusal(machine: Machine, precision: str, provider: str, root: Path | None = None) -> Refusal | None:
    """None if the ONNX Runtime installed here was built with `provider` ("cuda", "tensorrt") and a GPU is there."""
    if (refusal := no_gpu(machine)) is not None:
        return refusal
    folder = root or package_folder("onnxruntime")
    line = "pip uninstall --yes onnxruntime && pip install --force-reinstall onnxruntime-gpu"
    if folder is None or not list((folder / "capi").glob(f"libonnxruntime_providers_{provider}.so")):
        return Refusal(
            f"The ONNX Runtime installed here has no provider for {_PROVIDERS[provider]}.", f"Install it with: {line}"
        )
    return too_small(machine, precision)


_PROVIDERS = {"cuda": "CUDA", "tensorrt": "TensorRT"}


def package_folder(name: str) -> Path | None:
    """Where a package lies, without importing it; None if it isn't installed."""
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    return Path(found.origin).parent if found is not None and found.origin else None


def installed(name: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def on_cpu(precision: str) -> Refusal | None:
    """A refusal of a precision that only the device `cuda` takes from the backend."""
    if precision == "float32":
        return None
    return Refusal(
        f'precision = "{precision}" belongs to device = "cuda".',
        "On the processor a compression asks for it: `lower_precision`.",
    )
