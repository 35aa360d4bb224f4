"""NVIDIA TensorRT: through ONNX Runtime's provider, or through torch-tensorrt, whichever is installed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec
import numpy as np

from accel.compilation import Arrays, Effective, Engine, Refusal
from accel.compilation._artefact import Artefact, place, script_head
from accel.compilation._cuda import no_gpu, onnxruntime_refusal, package_folder, torch_build, torch_refusal
from accel.compilation._onnxruntime_cuda import NAMES, GpuSession, Providers, environment, open_session
from accel.compilation._torch import load_example, save_example
from accel.errors import VariantError

if TYPE_CHECKING:
    from accel.measurement.machine import Machine
    from accel.model import Facts, Model

_ENGINE = "engine"
_PROGRAM = "tensorrt.pt2"
_INSTALL = "pip uninstall --yes onnxruntime && pip install --force-reinstall onnxruntime-gpu tensorrt"
Size = Annotated[int, msgspec.Meta(ge=1)]
Range = tuple[Size, Size, Size]


class TensorRt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An engine for this GPU, built once while preparing and kept in the artefact.

    precision: "float32" forbids TensorFloat-32; "int8" computes the quantized parts of a quantized model in 8 bits.
    batch: the smallest, the usual and the largest batch of the engine's profile. length: the same of every other axis
        that varies; by default 1 and twice what the model's example has.
    """

    precision: Literal["float32", "tf32", "bf16", "f16", "int8"] = "float32"
    batch: Range = (1, 8, 32)
    length: Range | None = None

    runs: ClassVar[tuple[str, ...]] = ("onnx", "torch")
    runtime: ClassVar[str] = "tensorrt"
    slow_to_build: ClassVar[bool] = True
    extra: ClassVar[str | None] = None
    install: ClassVar[str] = _INSTALL
    needs_gpu: ClassVar[bool] = True
    build_fields: ClassVar[tuple[str, ...]] = ("precision", "batch", "length")

    def env(self) -> dict[str, str]:
        return environment(self.precision)

    def fits(self, facts: Facts, machine: Machine) -> Refusal | None:
        if (refusal := no_gpu(machine)) is not None:
            return refusal
        if not self.batch[0] <= self.batch[1] <= self.batch[2]:
            return Refusal(
                f"The batch sizes {self.batch} aren't smallest, usual, largest.", "Give them in ascending order."
            )
        if self.length is not None and not self.length[0] <= self.length[1] <= self.length[2]:
            return Refusal(
                f"The lengths {self.length} aren't smallest, usual, largest.", "Give them in ascending order."
            )
        if way() is None:
            return Refusal("TensorRT isn't installed.", f"Install one of: {_INSTALL}; or: pip install torch-tensorrt")
        if way() == "torch" and self.precision == "int8":
            return Refusal(
                "Through torch-tensorrt nothing is computed in 8 bits here.",
                "Install onnxruntime-gpu and tensorrt instead, or use another precision.",
            )
        if way() == "torch":
            return torch_refusal(machine, self.precision, torch_build())
        return onnxruntime_refusal(machine, self.precision, "tensorrt")

    def build(self, model: Model, folder: Path) -> None:
        """Write the model and the engine for this GPU; raises VariantError."""
        if way() == "torch":
            from accel.compilation._tensorrt_torch import build

            build(model, folder, self.precision, self.batch, self.length)
            return
        from accel.compilation._onnx import external_files, stored_as

        source = Path(model.as_form("onnx"))
        if self.precision == "int8" and stored_as(source) != "int8":
            raise VariantError(
                'precision = "int8" computes the quantized parts of a model in 8 bits, and this one has none.',
                "Put `quantize_static` before it, or use another precision.",
            )
        for name in external_files(source):
            place(source.parent / name, folder / name)
        place(source, folder / "model.onnx")
        Artefact.of(model, "model.onnx", stored=stored_as(source)).save(folder)
        save_example(model, folder)
        engine = self.open(folder)
        example = load_example(folder)
        engine.run({name: value[np.arange(self.batch[0]) % len(value)] for name, value in example.items()})
        engine.close()

    def open(self, folder: Path) -> Engine:
        """Load the engine from the artefact; raises VariantError."""
        artefact = Artefact.load(folder)
        if artefact.file == _PROGRAM:
            from accel.compilation._tensorrt_torch import open_program

            return open_program(artefact, folder, self.precision, self.batch, self.length)
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 3
        before = _engines(folder)
        session = open_session(ort, folder / artefact.file, options, self.providers(artefact, folder))
        detail = {
            "profile": profile_words(self.batch, self.length),
            "TF32": "on" if self.precision != "float32" else "off",
            "engines built while opening": str(_engines(folder) - before),
        }
        told = Effective(precision=self.precision, threads=1, provider=f"{NAMES['tensorrt']}, cuda", detail=detail)
        return GpuSession(ort, session, artefact, told, _ends(self.batch))

    def providers(self, artefact: Artefact, folder: Path) -> Providers:
        """TensorRT, then CUDA and the processor for what it lacks."""
        shapes = profile(artefact, load_example(folder), self.batch, self.length)
        options = {
            "device_id": "0",
            "trt_fp16_enable": str(int(self.precision == "f16")),
            "trt_bf16_enable": str(int(self.precision == "bf16")),
            "trt_int8_enable": str(int(self.precision == "int8")),
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(folder / _ENGINE),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(folder / _ENGINE),
        }
        if artefact.sizes is None:
            options |= {f"trt_profile_{end}_shapes": _listed(shapes, i) for i, end in enumerate(("min", "opt", "max"))}
        cuda = {"device_id": "0", "use_tf32": str(int(self.precision != "float32"))}
        return [(NAMES["tensorrt"], options), (NAMES["cuda"], cuda), ("CPUExecutionProvider", {})]

    def script(self, folder: Path) -> str:
        artefact = Artefact.load(folder)
        if artefact.file == _PROGRAM:
            raise VariantError(
                "A program of torch-tensorrt belongs to this GPU and these versions; there is no run.py for it.",
                "Open the artefact with accel itself.",
            )
        name, *rest = self.providers(artefact, folder)
        told = {k: v for k, v in name[1].items() if not k.endswith("_path")}
        before = "".join(f'os.environ["{k}"] = "{v}"\n' for k, v in self.env().items())
        before = f"import os\n\n{before}" if before else ""
        return (
            f"{before}import onnxruntime as ort\n\n{script_head(artefact)}TENSORRT = {told!r}\n"
            f'TENSORRT["trt_engine_cache_path"] = str(here / "{_ENGINE}")\n'
            'if hasattr(ort, "preload_dlls"):\n    ort.preload_dlls()\n'
            f'session = ort.InferenceSession(str(here / "{artefact.file}"), '
            f"providers=[({name[0]!r}, TENSORRT), *{rest!r}])\n"
            "\n\ndef predict(inputs):\n    return dict(zip(OUTPUTS, session.run(None, inputs), strict=True))\n"
        )


def way() -> str | None:
    """By which package TensorRT is reached: "onnxruntime", "torch", or None where neither is installed."""
    folder = package_folder("onnxruntime")
    provider = folder is not None and (folder / "capi" / "libonnxruntime_providers_tensorrt.so").is_file()
    if provider and package_folder("tensorrt") is not None:
        return "onnxruntime"
    return "torch" if package_folder("torch_tensorrt") is not None else None


def profile(
    artefact: Artefact, example: Arrays, batch: Range, length: Range | None
) -> dict[str, tuple[tuple[int, ...], ...]]:
    """Smallest, usual and largest shape of every input: `batch` on axis 0, `length` on other axes that vary."""
    found = {}
    for tensor in artefact.inputs:
        here = example[tensor.name].shape
        ends = []
        for i in range(3):
            axes = [
                a if isinstance(a, int) else batch[i] if k == 0 else (length or (1, here[k], 2 * here[k]))[i]
                for k, a in enumerate(tensor.shape)
            ]
            ends.append(tuple(axes))
        found[tensor.name] = tuple(ends)
    return found


def profile_words(batch: Range, length: Range | None) -> str:
    """The engine's profile in words.

    >>> profile_words((1, 8, 32), None)
    'batch 1 to 32, usually 8'
    """
    words = f"batch {batch[0]} to {batch[2]}, usually {batch[1]}"
    return words if length is None else f"{words}; length {length[0]} to {length[2]}, usually {length[1]}"


def _listed(shapes: dict[str, tuple[tuple[int, ...], ...]], end: int) -> str:
    return ",".join(f"{name}:{'x'.join(map(str, of[end]))}" for name, of in shapes.items())


def _ends(batch: Range) -> tuple[int, ...]:
    """Every size the engine takes; what is smaller than the smallest is filled up."""
    return tuple(range(batch[0], batch[2] + 1))


def _engines(folder: Path) -> int:
    return sum(1 for _ in (folder / _ENGINE).glob("*.engine"))
