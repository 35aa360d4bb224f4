"""torch.export archives (.pt2): as a module that can be called, pickled and exported again."""

from __future__ import annotations

import hashlib
import inspect
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from accel.errors import InputError
from accel.model.signature import BATCH, Arrays, dtype_name, fixed_at, observed
from accel.model.torch_form import TorchForm, as_numpy
from accel.model.types import Signature, Tensor


def open_exported(file: Any) -> Any:
    """The ExportedProgram in a file. Raises InputError with the reason if torch can't read it."""
    import torch

    try:
        return torch.export.load(file)
    except Exception as error:  # torch raises many kinds, a few of them its own
        first = (str(error).splitlines() or [""])[0]
        raise InputError(f"torch can't load the .pt2 file: {type(error).__name__}: {first}.") from error


def form_of(program: Any) -> TorchForm:
    """A TorchForm over an ExportedProgram; its inputs are named as in the program."""
    return TorchForm.from_names(exported_module(program), tuple(program.graph_signature.user_inputs))


def exported_module(program: Any) -> Any:
    """An nn.Module whose forward takes a program's inputs by name; it pickles as what torch.export.save writes."""
    import torch
    from torch.utils import _pytree as pytree

    names = tuple(program.graph_signature.user_inputs)

    class Exported(torch.nn.Module):  # type: ignore[misc]  # torch is imported late
        def __init__(self) -> None:
            super().__init__()
            self.inner = program.module()
            self.program = program

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            given = dict(zip(names, args, strict=False)) | kwargs
            args, kwargs = pytree.tree_unflatten([given[name] for name in names], program.call_spec.in_spec)
            return self.inner(*args, **kwargs)

        def train(self, mode: bool = True) -> Exported:
            return self  # it stays in the mode it was exported in

        def __reduce__(self) -> tuple[Any, tuple[bytes]]:
            buffer = io.BytesIO()
            torch.export.save(program, buffer)
            return restored_module, (buffer.getvalue(),)

    parameters = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in ("self", *names)]
    Exported.forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return Exported()


def store_exported(module: Any, path: Path, samples: object | None) -> str:
    """Export a live module with its first samples (or its `example_inputs`) and store it; returns the sha256.

    The batch stays free where torch can keep it so. Raises what torch.export raises, InputError without samples.
    """
    import torch

    from accel.model.read import example_form

    form, example = example_form(module, samples)
    tensors = {name: torch.from_numpy(np.ascontiguousarray(example[name])) for name in form.names}
    arguments = form.inputs.build(tensors)
    free = {name: {0: torch.export.Dim.DYNAMIC} for name in tensors} if set(arguments) == set(tensors) else None
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            program = torch.export.export(module.eval(), (), arguments, dynamic_shapes=free)
        except Exception:  # a fixed batch is better than none
            program = torch.export.export(module.eval(), (), arguments)
    return store_program(program, path)


def store_program(program: Any, path: Path) -> str:
    """Save an ExportedProgram so that only this user can read it; returns the sha256."""
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    torch.export.save(program, str(path))
    path.chmod(0o600)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def restored_module(data: bytes) -> Any:
    """The opposite of an exported module's pickling."""
    return exported_module(open_exported(io.BytesIO(data)))


def signature_of(program: Any, form: TorchForm) -> tuple[Signature, Arrays]:
    """The signature from the program's own shapes (outputs by one run), and an example made of them."""
    values = {n.name: n.meta["val"] for n in program.graph.nodes if n.op == "placeholder"}
    inputs = tuple(_tensor(name, values[name]) for name in form.names)
    fixed = {t.shape[0] for t in inputs if isinstance(t.shape[0], int)}
    lead = 2 if not fixed else next(iter(fixed))
    assert isinstance(lead, int)
    example = {t.name: _zeros(t, lead) for t in inputs}

    def run(arrays: Any) -> dict[str, Any]:
        return {name: as_numpy(value) for name, value in form(arrays).items()}

    free = {t.name: _free(t) for t in inputs}
    seen = fixed_at(run, example, free) if fixed else observed(run, example, free)
    return seen, example


def _tensor(name: str, value: Any) -> Tensor:
    if not value.shape:
        raise InputError(
            f"Input `{name}` of the model has no axes, so it has no batch. Export the model with it fixed."
        )
    shape = tuple(s if isinstance(s, int) else (BATCH if axis == 0 else str(s)) for axis, s in enumerate(value.shape))
    return Tensor(name, dtype_name(value), shape)


def _free(tensor: Tensor) -> dict[int, str]:
    return {axis: size for axis, size in enumerate(tensor.shape) if axis > 0 and isinstance(size, str)}


def _zeros(tensor: Tensor, lead: int) -> Any:
    shape = [lead if axis == 0 else size if isinstance(size, int) else 8 for axis, size in enumerate(tensor.shape)]
    return np.zeros(shape, tensor.dtype)
