"""From one form of a model to another: torch or scikit-learn -> ONNX -> OpenVINO, each made in a folder of its own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from accel.errors import MissingLibrary, VariantError
from accel.model.onnx_file import external_files, read_graph
from accel.model.signature import Arrays
from accel.model.types import Signature

PATHS = {"onnx": ("torch", "sklearn"), "openvino": ("onnx",)}
"""form -> the forms it can be made from, directly."""
MODEL_FILE = {"onnx": "model.onnx", "openvino": "model.xml"}
_LARGEST_INLINE_BYTES = 1_800_000_000
"""protobuf can't hold more than 2 GiB; weights of larger models go beside the file."""


def reachable(form: str) -> tuple[str, ...]:
    """A form and those it can be converted to.

    >>> reachable("sklearn")
    ('sklearn', 'onnx', 'openvino')
    """
    made = tuple(f for f, origins in PATHS.items() if form in origins)
    return (form, *(further for f in made for further in reachable(f)))


def copy_onnx(source: Path, folder: Path) -> None:
    """The file and its external data, alone in `folder`."""
    shutil.copyfile(source, folder / MODEL_FILE["onnx"])
    for name in external_files(read_graph(source)):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.parent / name, target)


def copy_openvino(source: Path, folder: Path) -> None:
    """The .xml and its .bin, alone in `folder`."""
    shutil.copyfile(source, folder / MODEL_FILE["openvino"])
    shutil.copyfile(source.with_suffix(".bin"), folder / "model.bin")


def onnx_to_openvino(source: Path, folder: Path) -> None:
    """Read the ONNX file and store it as IR with its weights as they are (no FP16 compression)."""
    openvino = load_openvino()
    try:
        model = openvino.Core().read_model(str(source))
        openvino.save_model(model, str(folder / MODEL_FILE["openvino"]), compress_to_fp16=False)
    except RuntimeError as error:
        raise VariantError(f"OpenVINO can't read the ONNX form: {last_line(error)}") from error


def load_openvino() -> Any:
    """The library. Raises MissingLibrary if it isn't installed."""
    try:
        import openvino
    except ImportError:
        raise MissingLibrary("openvino", "the OpenVINO form", extra="openvino") from None
    return openvino


def last_line(error: Exception) -> str:
    """The last line with something in it: where OpenVINO says what went wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:300]


def torch_to_onnx(form: Any, signature: Signature, example: Arrays, folder: Path) -> None:
    """Export by `torch.onnx.export(dynamo=True)`; axes the signature names stay free.

    example: two rows (one batch of the fixed size) that the graph is traced with. Intermediate shapes are deleted from
    the file, since ONNX Runtime's quantizer trips over them. Raises VariantError with the exporter's reason.
    """
    reasons: list[str] = []
    for named in (True, False):
        try:
            program = _export(form, signature, example, named)
            break
        except Exception as error:  # the exporter raises many kinds
            reasons.append(_reason(error))
    else:
        raise VariantError(
            f"torch can't export the model to ONNX: {reasons[0]}",
            "Backends that read ONNX are left out; give an .onnx file made another way to include them.",
        )
    _save(program.model_proto, folder / MODEL_FILE["onnx"])


def _export(form: Any, signature: Signature, example: Arrays, named: bool) -> Any:
    import warnings

    import torch

    try:
        import onnxscript  # noqa: F401  # the exporter needs it
    except ImportError:
        raise MissingLibrary("onnxscript", "the export to ONNX", extra="torch") from None
    tensors = tuple(torch.from_numpy(np.ascontiguousarray(example[name])) for name in form.names)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return torch.onnx.export(
            form.flat_module(),
            tensors,
            dynamo=True,
            input_names=list(form.names),
            output_names=[t.name for t in signature.outputs],
            dynamic_shapes=_dynamic(form.names, signature, named),
            verbose=False,
        )


def _dynamic(names: tuple[str, ...], signature: Signature, named: bool) -> Any:
    """({axis: Dim} per input,): inputs that share an axis name share a Dim; unnamed lets torch find the relations."""
    import torch

    dims: dict[str, Any] = {}
    by_name = {t.name: t for t in signature.inputs}
    shapes = []
    for name in names:
        free: dict[int, Any] = {}
        for axis, size in enumerate(by_name[name].shape):
            if isinstance(size, str):
                free[axis] = (
                    dims.setdefault(size, torch.export.Dim(_dim_name(size))) if named else torch.export.Dim.DYNAMIC
                )
        shapes.append(free)
    return (tuple(shapes),) if any(shapes) else None


def _dim_name(text: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in text)


def _reason(error: Exception) -> str:
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {(lines or [''])[0][:300]}"


def _save(model: Any, path: Path) -> None:
    import onnx

    del model.graph.value_info[:]
    large = model.ByteSize() > _LARGEST_INLINE_BYTES
    onnx.save(model, str(path), save_as_external_data=large, location=f"{path.name}.data" if large else None)
