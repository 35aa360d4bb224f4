"""Is this the same model as last time? A hash of its weights (of what an estimator learned) and of its code."""

from __future__ import annotations

import hashlib
import inspect
import io
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accel.model import Model

_LIBRARIES = {"sklearn", "numpy", "scipy", "builtins", "collections", "functools", "joblib", "pandas", "copyreg"}

FILES = ("onnx", "openvino", "pt2")
"""Kinds of sources that are their files and nothing else."""


def identity(model: Model) -> str | None:
    """sha256 over file bytes (external data too), or over weights and the source of every module class.

    None where nothing can vouch for it (a function may change and look the same): then nothing is cached.
    """
    digest = hashlib.sha256()
    if model.source.kind in FILES:
        for path in files_of(Path(model.source.location)):
            digest.update(path.name.encode())
            digest.update(_digest(path))
        return digest.hexdigest()
    if "onnx" in model.forms and "torch" not in model.forms:
        for path in files_of(Path(model.as_form("onnx"))):
            digest.update(_digest(path))
        return digest.hexdigest()
    if "sklearn" in model.forms:
        return _of_estimator(model.as_form("sklearn"))
    if "torch" not in model.forms:
        return None
    try:
        _torch_module(model.as_form("torch").module, digest)
    except (OSError, TypeError):
        return None
    return digest.hexdigest()


def _of_estimator(given: Any) -> str | None:
    """Of what it learned and the scikit-learn that reads it; None if it holds code of anyone but its libraries."""
    import joblib
    import sklearn

    from accel.model.pickles import dumps

    try:
        found = _Modules(io.BytesIO(dumps(given.estimator)[0]))
        found.load()
    except Exception:  # a step may hold anything, which then nothing vouches for
        return None
    if not found.modules <= _LIBRARIES:
        return None
    # By value: the same estimator pickles to other bytes when its arrays are shared in another way.
    return hashlib.sha256(f"{joblib.hash(given.estimator)} {sklearn.__version__}".encode()).hexdigest()


class _Modules(pickle.Unpickler):
    """Notes where the classes and functions of a pickle of our own come from, by the name of the package."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.modules: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        self.modules.add(module.partition(".")[0])
        return super().find_class(module, name)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def files_of(path: Path) -> list[Path]:
    """The model file with its neighbours of the same stem or mentioned as external data, in a fixed order."""
    if path.suffix == ".xml":
        return [path, path.with_suffix(".bin")]
    if path.suffix != ".onnx":
        return [path]
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    proto = onnx.load(str(path), load_external_data=False)
    names = {ExternalDataInfo(t).location for t in proto.graph.initializer if uses_external_data(t)}
    return [path, *(path.parent / name for name in sorted(names))]


def _torch_module(module: Any, digest: Any) -> None:
    for name, tensor in sorted(module.state_dict().items()):
        data = tensor.detach().cpu().contiguous()
        digest.update(f"{name}:{data.dtype}:{tuple(data.shape)}".encode())
        digest.update(bytes(data.untyped_storage()) if data.numel() < 16 else _bytes_of(data))
    digest.update(str(module).encode())
    for cls in sorted({type(m) for m in module.modules()}, key=lambda c: (c.__module__, c.__qualname__)):
        if not cls.__module__.startswith("torch."):
            digest.update(inspect.getsource(cls).encode())


def _bytes_of(tensor: Any) -> bytes:
    import torch

    return bytes(tensor.reshape(-1).view(torch.uint8).numpy().data)
