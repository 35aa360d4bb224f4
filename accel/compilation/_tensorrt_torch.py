"""TensorRT through torch-tensorrt: the exported module compiled for this GPU, stored as a program with its engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accel.compilation import Engine
from accel.compilation._artefact import Artefact
from accel.compilation._torch import explain_torch, load_example, save_example
from accel.compilation._torch_cuda import Card, CudaEngine, effective, load_torch, low_dtype
from accel.compilation.tensorrt import Range, profile, profile_words

PROGRAM = "tensorrt.pt2"


def build(model: Any, folder: Path, precision: str, batch: Range, length: Range | None) -> None:
    """Export the module in its precision, compile it with the profile, store it; raises VariantError.

    Types of the module are kept as they are (torch-tensorrt's explicit typing), so that 16 bits are asked for by
    converting it. TensorFloat-32 is forbidden for "float32".
    """
    torch = load_torch()
    import torch_tensorrt

    artefact = Artefact.of(model, PROGRAM)
    artefact.save(folder)
    save_example(model, folder)
    shapes = profile(artefact, load_example(folder), batch, length)
    dtype = low_dtype(torch, precision)
    try:
        device = torch.device("cuda")
        flat = model.as_form("torch").flat_module().to(device)
        flat = flat if dtype is None else flat.to(dtype)
        inputs = [_input(torch, torch_tensorrt, shapes[t.name], t.dtype, dtype) for t in artefact.inputs]
        # Of the largest shape: torch takes an axis of 1 for one that never varies.
        example = tuple(
            torch.ones(shapes[t.name][2], dtype=i.dtype).to(device)
            for t, i in zip(artefact.inputs, inputs, strict=True)
        )
        free = tuple(
            {i: torch.export.Dim.DYNAMIC for i, a in enumerate(t.shape) if isinstance(a, str)} for t in artefact.inputs
        )
        with torch.no_grad():
            program = torch.export.export(flat, example, dynamic_shapes=(free,))
        made = torch_tensorrt.dynamo.compile(program, arg_inputs=inputs, disable_tf32=precision == "float32")
        torch_tensorrt.save(made, str(folder / PROGRAM), arg_inputs=inputs)
    except Exception as error:
        raise explain_torch(error, "building the TensorRT engine") from error


def _input(torch: Any, torch_tensorrt: Any, ends: tuple[tuple[int, ...], ...], name: str, dtype: Any) -> Any:
    own = getattr(torch, name)
    kept = dtype if dtype is not None and own.is_floating_point else own
    return torch_tensorrt.Input(min_shape=ends[0], opt_shape=ends[1], max_shape=ends[2], dtype=kept)


def open_program(artefact: Artefact, folder: Path, precision: str, batch: Range, length: Range | None) -> Engine:
    """Load the stored program; raises VariantError if it was made for another GPU or version."""
    torch = load_torch()
    import torch_tensorrt

    try:
        module = torch_tensorrt.load(str(folder / PROGRAM)).module()
    except Exception as error:
        raise explain_torch(error, "loading the TensorRT engine") from error
    names = artefact.input_names
    tf32 = "off" if precision == "float32" else "on"
    told = effective(torch, precision, "torch-tensorrt, cuda", {"profile": profile_words(batch, length)}, tf32)

    def call(tensors: dict[str, Any]) -> Any:
        found = module(*[tensors[n] for n in names])
        return (found,) if isinstance(found, torch.Tensor) else tuple(found)

    card = Card(torch, torch.device("cuda"), low_dtype(torch, precision))
    sizes = tuple(range(batch[0], batch[2] + 1))
    return CudaEngine(card, call, artefact, told, sizes=sizes, context=torch.inference_mode)
