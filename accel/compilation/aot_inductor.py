"""torch's compiler ahead of time: one package of native code that opens without compiling or tracing again."""

from __future__ import annotations

import tempfile
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from accel.compilation import Arrays, Effective, Refusal, threads_or
from accel.compilation._artefact import Artefact, check_inputs, script_head
from accel.compilation._compiler import cache_in, no_compiler
from accel.compilation._processor import instruction_sets, lacking
from accel.compilation._torch import (
    autocast,
    cpu_refusal,
    explain_torch,
    fewer,
    import_quantized_operators,
    load_example,
    precision_of,
    save_example,
)
from accel.errors import VariantError
from accel.measurement.cgroup import usable_cores

if TYPE_CHECKING:
    from accel.measurement.machine import Machine
    from accel.model import Facts, Model

PACKAGE = "model.pt2"
# Relative to the length of the outputs: far above what another order of additions or bfloat16 does, far below garbage.
_CLOSE = {"float32": 1e-2, "bf16": 0.25}


class AotInductor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """torch.export and inductor into a package (AOTInductor): native code that loads in milliseconds.

    threads: of one operator; 0 means every core this process may use. The number is part of the compiled code.
    freezing: treat weights as constants, so that they can be folded and laid out beforehand.
    mode: how hard the compiler tries; "max-autotune" takes several times longer.
    precision: "bf16" for autocast: bfloat16 where that is safe.

    One program serves every batch size. The package holds machine code for this kind of processor.
    """

    threads: int = 0
    freezing: bool = True
    mode: Literal["default", "max-autotune"] = "default"
    precision: Literal["float32", "bf16"] = "float32"

    runs: ClassVar[tuple[str, ...]] = ("torch",)
    runtime: ClassVar[str] = "torch"
    slow_to_build: ClassVar[bool] = True
    # Calling a package keeps Python's lock until it is done.
    takes_turns: ClassVar[bool] = True
    extra: ClassVar[str | None] = "torch"
    build_fields: ClassVar[tuple[str, ...]] = ("threads", "freezing", "mode", "precision")

    def env(self) -> dict[str, str]:
        # One compile worker means none: compiling in the process itself leaves no pool behind.
        return {"TORCHINDUCTOR_COMPILE_THREADS": "1"}

    def fits(self, facts: Facts, machine: Machine) -> Refusal | None:
        return no_compiler("Compiling ahead of time with torch") or cpu_refusal(self.precision, machine)

    def build(self, model: Model, folder: Path) -> None:
        """Export, compile, and hold the package against the module; raises VariantError with torch's reason."""
        import torch

        torch.set_num_threads(self.thread_count)
        artefact = msgspec.structs.replace(
            Artefact.of(model, PACKAGE, stored="int8" if model.facts.quantized else "float32"),
            precision=precision_of(Artefact.of(model, PACKAGE), self.precision),
            made_for=instruction_sets(),
        )
        artefact.save(folder)
        save_example(model, folder)
        import_quantized_operators(artefact)
        flat = model.as_form("torch").flat_module()
        example = load_example(folder)
        try:
            self._compile(flat, artefact, example, folder)
        except Exception as error:
            raise explain_torch(error, "compiling the model ahead of time") from error
        engine = self.open(folder)
        try:
            _hold_against(flat, engine, artefact, example)
        finally:
            engine.close()

    @property
    def thread_count(self) -> int:
        """The threads of one operator, with 0 resolved."""
        return threads_or(usable_cores(), self.threads)

    def _compile(self, flat: Any, artefact: Artefact, example: Arrays, folder: Path) -> None:
        """Write the package; the compiler's own files go to a place that is removed."""
        import torch

        tensors = tuple(torch.from_numpy(example[t.name]) for t in artefact.inputs)
        free = tuple(
            {i: torch.export.Dim.DYNAMIC for i, a in enumerate(t.shape) if isinstance(a, str)} for t in artefact.inputs
        )
        module = _cast(flat) if artefact.precision == "bf16" else flat
        options = {
            "freezing": self.freezing or artefact.stored == "int8",
            "max_autotune": self.mode == "max-autotune",
            "compile_threads": 1,
        }
        with tempfile.TemporaryDirectory(dir=folder.parent) as place, warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.export.export(module, tensors, dynamic_shapes=(free,))
            with cache_in(Path(place)):
                torch._inductor.aoti_compile_and_package(
                    program, package_path=str(folder / PACKAGE), inductor_configs=options
                )

    def open(self, folder: Path) -> AotInductorEngine:
        """Load the package; raises VariantError where this processor lacks an instruction set it was compiled for."""
        import torch

        artefact = Artefact.load(folder)
        missing = lacking(artefact.made_for)
        if missing:
            raise VariantError(
                f"The package was compiled for a processor with {', '.join(missing)}, which this one lacks.",
                "Prepare the variant on this machine.",
            )
        torch.set_num_threads(self.thread_count)
        try:
            # A quantized program needs no operators of torchao any more: they were compiled or are torch's own.
            loaded = torch._inductor.aoti_load_package(str(folder / artefact.file))
        except Exception as error:
            raise explain_torch(error, "loading the package") from error
        frozen = self.freezing or artefact.stored == "int8"
        return AotInductorEngine(loaded, artefact, {"freezing": str(frozen).lower(), "mode": self.mode})

    def script(self, folder: Path) -> str:
        artefact = Artefact.load(folder)
        return (
            f"import numpy as np\nimport torch\n\n{script_head(artefact)}"
            f"INPUTS = {list(artefact.input_names)!r}\n"
            f"torch.set_flush_denormal(True)\ntorch.set_num_threads({self.thread_count})\n"
            "# Machine code for the kind of processor it was compiled on; make it anew for another.\n"
            f'model = torch._inductor.aoti_load_package(str(here / "{artefact.file}"))\n'
            "\n\ndef predict(inputs):\n"
            "    tensors = [torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in INPUTS]\n"
            "    with torch.no_grad():\n        outputs = model(*tensors)\n"
            "    outputs = outputs if isinstance(outputs, (tuple, list)) else [outputs]\n"
            "    arrays = [t.float().numpy() if t.dtype is torch.bfloat16 else t.numpy() for t in outputs]\n"
            "    return dict(zip(OUTPUTS, arrays, strict=True))\n"
        )


def _cast(flat: Any) -> Any:
    """The module under autocast, so that the casts become part of the exported program."""
    import torch

    class Cast(torch.nn.Module):  # type: ignore[misc]  # torch is imported late
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, *tensors: Any) -> Any:
            with torch.autocast("cpu", torch.bfloat16):
                return self.inner(*tensors)

    return Cast(flat)


def _hold_against(flat: Any, engine: AotInductorEngine, artefact: Artefact, example: Arrays) -> None:
    """Raise VariantError where the package answers otherwise than the module, for one item or for two.

    The export assumes that a free axis is longer than one; what it makes of one item is checked rather than believed.
    """
    import torch

    from accel.model.torch_form import as_numpy

    limit = _CLOSE["bf16" if artefact.precision == "bf16" or artefact.stored == "int8" else "float32"]
    for rows in artefact.sizes or (1, 2):
        given = fewer(example, rows)
        with torch.no_grad(), autocast(artefact.precision):
            expected = flat(*[torch.from_numpy(given[t.name]) for t in artefact.inputs])
        found = engine.run(given)
        for tensor, value in zip(artefact.outputs, expected, strict=True):
            if not _close(found[tensor.name], as_numpy(value), limit):
                raise VariantError(
                    f"The compiled package answers otherwise than the module for a batch of {rows} (output "
                    f"`{tensor.name}`).",
                    "Use the backend `inductor`, which compiles a batch of one apart.",
                )


def _close(found: npt.NDArray[Any], expected: npt.NDArray[Any], limit: float) -> bool:
    if found.shape != expected.shape:
        return False
    if expected.dtype.kind != "f":
        return bool(np.array_equal(found, expected)) or limit > _CLOSE["float32"]
    ours, theirs = found.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(theirs)
    if not np.array_equal(finite, np.isfinite(ours)):
        return False
    return bool(np.linalg.norm((ours - theirs)[finite]) <= limit * np.linalg.norm(theirs[finite]) + 1e-6)


class AotInductorEngine:
    """A loaded package behind named arrays; one run at a time."""

    parallel_runs = False

    def __init__(self, loaded: Any, artefact: Artefact, detail: dict[str, str]) -> None:
        import torch

        self.sizes = artefact.sizes
        self._loaded: Any = loaded
        self._names = artefact.output_names
        self._dtypes = {t.name: np.dtype(t.dtype) for t in artefact.inputs}
        self._lock = threading.Lock()
        self.effective = Effective(
            precision="int8" if artefact.stored == "int8" else artefact.precision,
            threads=torch.get_num_threads(),
            provider="torch AOTInductor",
            detail=detail | {"compiled for": loaded.get_metadata().get("AOTI_CPU_ISA", "unknown")},
        )

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        import torch

        from accel.model.torch_form import as_numpy, as_tensor

        check_inputs(inputs, self._dtypes)
        try:
            with torch.no_grad(), self._lock:
                outputs = self._loaded(*[as_tensor(inputs[name]) for name in self._dtypes])
            values = outputs if isinstance(outputs, tuple | list) else (outputs,)
            return {name: as_numpy(value) for name, value in zip(self._names, values, strict=True)}
        except Exception as error:
            n = len(next(iter(inputs.values())))
            raise explain_torch(error, f"running a batch of {n}") from error

    def close(self) -> None:
        self._loaded = None
