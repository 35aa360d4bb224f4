"""Is this the same model as last time? A hash of its weights (of what an estimator learned), code and signature."""

from __future__ import annotations

import enum
import functools
import hashlib
import inspect
import io
import pickle
import types
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

if TYPE_CHECKING:
    from accel.model import Model

_LIBRARIES = {"sklearn", "numpy", "scipy", "builtins", "collections", "functools", "joblib", "pandas", "copyreg"}

FILES = ("onnx", "openvino", "pt2")
"""Kinds of sources that are their files and nothing else."""


def identity(model: Model) -> str | None:
    """sha256 over file bytes (external data too), or over weights, values and the source of every module class.

    Of what isn't a file the signature is part, since samples decide which inputs it takes and which of their axes vary.
    None where nothing can vouch for it (a function may change and look the same): then nothing is cached.
    """
    digest = hashlib.sha256()
    if model.source.kind in FILES:
        for path in files_of(Path(model.source.location)):
            digest.update(path.name.encode())
            digest.update(_digest(path))
        return digest.hexdigest()
    digest.update(msgspec.json.encode(model.signature))
    if "sklearn" in model.forms:
        learned = _of_estimator(model.as_form("sklearn"))
        digest.update((learned or "").encode())
        return None if learned is None else digest.hexdigest()
    if "onnx" in model.forms and "torch" not in model.forms:
        for path in files_of(Path(model.as_form("onnx"))):
            digest.update(_digest(path))
        return digest.hexdigest()
    if "torch" not in model.forms:
        return None
    try:
        digest.update(_of_torch(model.as_form("torch")))
    except Exception:  # an attribute of a module may be anything, and then nothing vouches for it
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
    from accel.model.onnx_file import external_files, read_graph

    return [path, *(path.parent / name for name in sorted(external_files(read_graph(path))))]


def _of_torch(form: Any) -> bytes:
    """Of a module and how it is called: code, tensors and every plain value. Raises where a part can't be told."""
    told = _Told()
    module = form.module
    classes = sorted({type(m) for m in module.modules()}, key=lambda c: (c.__module__, c.__qualname__))
    parts = [str(module).encode(), str(form.inputs.spec).encode(), told.of(form.inputs.constants)]
    parts += [_code(cls) for cls in classes]
    for name, one in module.named_modules():
        # Plain attributes shape an answer as weights do (a scale, a number of heads), and so do buffers that aren't in
        # the state_dict.
        own = {k: v for k, v in vars(one).items() if k not in ("_modules", "training")}
        hooks = [[*own.pop(k).values()] for k in sorted(own) if k.endswith("_hooks")]
        parts.append(told.of((name, own, hooks)))
    return _sha(*parts)


def _sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()


def _code(given: Any) -> bytes:
    """The source of a class or function that isn't torch's own, with the file around it, whose functions it may call.

    Raises OSError or TypeError where there is none.
    """
    name = f"{given.__module__}.{given.__qualname__}"
    if inspect.isbuiltin(given) or str(given.__module__).partition(".")[0] in ("torch", "builtins", "None"):
        return name.encode()
    around = inspect.getsourcefile(given)
    return _sha(name.encode(), inspect.getsource(given).encode(), Path(around).read_bytes() if around else b"")


class _Told:
    """Hashes of values by what they hold, wherever they lie. Raises where nothing tells what one holds."""

    def __init__(self) -> None:
        # With the object itself, so that no other one gets its number meanwhile.
        self._seen: dict[int, tuple[bytes, Any]] = {}

    def of(self, given: Any) -> bytes:
        if given is None or type(given) in (bool, int, float, complex, str, bytes):
            return _sha(repr(given).encode("utf-8", "surrogatepass"))
        if id(given) not in self._seen:
            self._seen[id(given)] = (b"a circle", given)
            self._seen[id(given)] = (_sha(type(given).__qualname__.encode(), self._new(given)), given)
        return self._seen[id(given)][0]

    def _new(self, given: Any) -> bytes:
        import torch

        if isinstance(given, torch.Tensor):
            data = given.detach().cpu().contiguous()
            return _sha(f"{data.dtype}:{tuple(data.shape)}".encode(), _bytes_of(data))
        if isinstance(given, Mapping):
            return _sha(*(self.of(part) for pair in given.items() for part in pair))
        if isinstance(given, tuple | list):
            return _sha(*(self.of(part) for part in given))
        if isinstance(given, set | frozenset):
            return _sha(*sorted(self.of(part) for part in given))
        if isinstance(given, types.MethodType):
            return _sha(self.of(given.__self__), self.of(given.__func__))
        if isinstance(given, functools.partial):
            return self.of((given.func, given.args, given.keywords))
        if isinstance(given, type) or inspect.isroutine(given):
            held = [cell.cell_contents for cell in getattr(given, "__closure__", None) or ()]
            return _sha(_code(given), self.of((held, getattr(given, "__defaults__", None))))
        if isinstance(given, enum.Enum | types.ModuleType):
            return str(given).encode()
        if isinstance(given, np.ndarray) or not hasattr(given, "__dict__"):
            return pickle.dumps(given)
        return self.of(vars(given))


def _bytes_of(tensor: Any) -> bytes:
    import torch

    return bytes(tensor.reshape(-1).view(torch.uint8).numpy().data)
