"""What the two torch backends share: tensors of arrays, the inputs they are warmed up with, known errors, run.py."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from accel.compilation import Arrays, Refusal
from accel.compilation._artefact import Artefact, script_head
from accel.compilation._compiler import missing_header
from accel.compilation._cuda import on_cpu
from accel.errors import VariantError

if TYPE_CHECKING:
    from accel.measurement.machine import Machine
    from accel.model import Model

EXAMPLE = "example.npz"
EXPORTED = "exported.pt2"
_LENGTH = 16
"""Stands in for an axis that may vary when the model has no example of it."""


def precision_of(artefact: Artefact, asked: str = "float32") -> str:
    """What torch computes in on the processor: bfloat16 where the model or the backend's field `asked` says so.

    Raises VariantError for float16.
    """
    if "f16" in (artefact.precision, asked):
        raise VariantError("torch has no fast float16 on the processor.", 'Use `lower_precision` with dtype = "bf16".')
    return "bf16" if "bf16" in (artefact.precision, asked) else artefact.precision


def cpu_refusal(precision: str, machine: Machine) -> Refusal | None:
    """Why torch doesn't compute in `precision` on this processor, or None."""
    if precision != "bf16":
        return on_cpu(precision)
    if machine.has_bf16:
        return None
    return Refusal("bf16 would be emulated: this processor has no bfloat16 instructions.", 'Use precision = "float32".')


def autocast(precision: str) -> AbstractContextManager[Any]:
    """The context that makes torch compute in bfloat16 where it is safe; does nothing for float32."""
    import torch

    if precision != "bf16":
        return nullcontext()
    context: AbstractContextManager[Any] = torch.autocast("cpu", torch.bfloat16)
    return context


def explain_torch(error: BaseException, doing: str) -> VariantError:
    """A VariantError with the one line of torch's error that tells something."""
    if isinstance(error, VariantError):
        return error
    missing = missing_header(str(error))
    if missing is not None:
        return VariantError(f"torch failed while {doing}: {missing.reason}.", missing.next_step)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = next((x for x in lines if re.search(r"Error|error:|must|expected|not supported", x)), (lines or [""])[0])
    return VariantError(f"torch failed while {doing}: {type(error).__name__}: {telling[:300]}", "Try another backend.")


def import_quantized_operators(artefact: Artefact) -> None:
    """A quantized program can only be loaded once its operators are registered, which importing torchao does."""
    if artefact.stored == "int8":
        import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401


def save_example(model: Model, folder: Path) -> None:
    """Keep two rows of real inputs if the model has some, else of ones: compiling needs shapes, not values."""
    known = model.example or {}
    artefact = Artefact.load(folder)
    rows = artefact.sizes[0] if artefact.sizes else 2
    made = {t.name: np.ones(_shape(t.shape, rows), t.dtype) for t in artefact.inputs}
    kept: dict[str, Any] = {n: np.asarray(known[n])[:rows] if n in known else made[n] for n in made}
    np.savez(folder / EXAMPLE, **kept)


def _shape(shape: tuple[int | str, ...], rows: int) -> tuple[int, ...]:
    return (rows, *(a if isinstance(a, int) else _LENGTH for a in shape[1:])) if shape else ()


def load_example(folder: Path) -> Arrays:
    """The rows that `save_example` kept."""
    with np.load(folder / EXAMPLE, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def fewer(example: Mapping[str, npt.NDArray[Any]], rows: int) -> Arrays:
    """The first rows of an example."""
    return {name: np.array(value[:rows]) for name, value in example.items()}


class Direct:
    """Calls a TorchForm's module with as little Python around it as its signature allows.

    A general call binds and flattens nested arguments, which takes as long as a small layer; where every argument is a
    plain tensor and the output one tensor or a tuple of them, none of that is needed.
    """

    def __init__(self, form: Any) -> None:
        self._form = form
        self._module = form.module
        self._plan = _plan(form)

    def __call__(self, tensors: dict[str, Any]) -> tuple[Any, ...]:
        """Named tensors in; the output's tensors in the order of their names."""
        import torch

        if self._plan is None:
            value = self._form.invoke(tensors)
        else:
            args, kwargs = self._plan
            value = self._module(*[tensors[n] for n in args], **{k: tensors[n] for k, n in kwargs.items()})
        if isinstance(value, torch.Tensor):
            return (value,)
        if type(value) in (tuple, list) and all(isinstance(v, torch.Tensor) for v in value):
            return tuple(value)
        return tuple(self._form.named_outputs(value).values())


def _plan(form: Any) -> tuple[list[str], dict[str, str]] | None:
    """Input names in the place of positional and keyword arguments; None if some argument isn't a plain tensor."""
    slots = {name: _Slot(name) for name in form.names}
    try:
        bound = inspect.BoundArguments(inspect.signature(form.module.forward), form.inputs.build(slots))
    except (TypeError, ValueError):
        return None
    if not all(isinstance(value, _Slot) for value in (*bound.args, *bound.kwargs.values())):
        return None
    return [slot.name for slot in bound.args], {key: slot.name for key, slot in bound.kwargs.items()}


class _Slot:
    """Stands for a tensor while the call is planned."""

    def __init__(self, name: str) -> None:
        self.name = name


def script(folder: Path, prepare: str, run: str, *, device: str = "cpu") -> str:
    """run.py for a torch artefact: from an exported program, so that the module's own code isn't needed.

    The program is exported when the script is first asked for, into the same folder. Where torch can't export the
    module, the script says so and loads the stored module, which needs its own code.
    prepare: lines that may rebind `model`; run: the expression that calls it on the list `tensors`. device: where the
    program is moved to; `run` has to bring inputs there and outputs back.
    """
    artefact = Artefact.load(folder)
    import_quantized_operators(artefact)
    exported = (folder / EXPORTED).is_file() or _export(folder)
    quantized = "import torchao.quantization.pt2e.quantize_pt2e\n" if artefact.stored == "int8" else ""
    load = f'model = torch.export.load(str(here / "{EXPORTED}")).module()\n' if exported else _STORED
    if device != "cpu":
        moved = f'torch.export.passes.move_to_device_pass(torch.export.load(str(here / "{EXPORTED}")), "{device}")'
        load = f"import torch.export.passes\nmodel = {moved}.module()\n" if exported else _STORED
        load += f'model = model.to("{device}")\n'
    return (
        f"import numpy as np\nimport torch\n{quantized}\n{script_head(artefact)}torch.set_flush_denormal(True)\n"
        f"INPUTS = {list(artefact.input_names)!r}\n"
        f"{load}{prepare}\n\ndef predict(inputs):\n"
        "    tensors = [torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in INPUTS]\n"
        f"    with torch.no_grad():\n        outputs = {run}\n"
        "    arrays = [t.float().numpy() if t.dtype is torch.bfloat16 else t.numpy() for t in outputs]\n"
        "    return dict(zip(OUTPUTS, arrays, strict=True))\n"
    )


_STORED = """\
# torch.export can't take this module apart, so the module's own code (and accel) must be importable here.
from accel.model.torch_form import TorchForm
model = TorchForm.open(here).flat_module()
"""


def _export(folder: Path) -> bool:
    import torch

    from accel.model.torch_form import TorchForm

    artefact = Artefact.load(folder)
    example = load_example(folder)
    tensors = tuple(torch.from_numpy(example[t.name]) for t in artefact.inputs)
    free = tuple(
        {i: torch.export.Dim.DYNAMIC for i, a in enumerate(t.shape) if isinstance(a, str)} for t in artefact.inputs
    )
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            flat = TorchForm.open(folder).flat_module()
            torch.export.save(torch.export.export(flat, tensors, dynamic_shapes=(free,)), str(folder / EXPORTED))
    except Exception:
        # What torch.export can't do is many things; the stored module is the answer to all of them.
        return False
    return True
