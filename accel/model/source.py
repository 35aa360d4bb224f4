"""What did the user give as a model? Checked in the parent, without importing torch or running anything of it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from accel.errors import InputError
from accel.model import pickles
from accel.model.estimator import checked, is_estimator
from accel.model.factory import is_factory
from accel.model.hf_folder import check_name, is_model_folder
from accel.model.onnx_file import check_onnx
from accel.model.places import existing, readable_file
from accel.model.skops_file import check_skops
from accel.model.types import Kind, Source

ACCEPTED = (
    "an .onnx, .pt2, OpenVINO .xml or .skops file, a Hugging Face folder, `hf:NAME`, `timm:NAME`, `file.py:factory`, "
    "`package.module:factory`, a torch module, a fitted scikit-learn estimator or a function"
)
_NO_NETWORK = "holds weights without the network they belong to"
_PICKLES = (".pkl", ".pickle", ".joblib", ".sav")
_HINTS = {
    ".pth": f"{_NO_NETWORK} (or a pickle, which is never loaded)",
    ".pt": f"{_NO_NETWORK} (or a pickle or TorchScript, which are never loaded)",
    ".ckpt": f"{_NO_NETWORK} (and is a pickle, which is never loaded)",
    ".bin": _NO_NETWORK,
    ".safetensors": _NO_NETWORK,
    ".h5": "is a Keras model, which isn't read; convert it with tf2onnx",
    ".keras": "is a Keras model, which isn't read; convert it with tf2onnx",
    ".tflite": "is a TensorFlow Lite model, which isn't read; convert it with tf2onnx",
}


def describe(
    given: object,
    *,
    folder: Path,
    trust_file: bool = False,
    random_weights: bool = False,
    name: str | None = None,
    samples: object | None = None,
) -> Source:
    """Say where a model comes from, as plain data; a live object is stored in `folder` for the children.

    samples: used only for a torch module that can't be pickled, to export it instead.
    Raises InputError in one sentence for everything that can be seen without running the model.
    """
    if isinstance(given, str | Path):
        source = _from_text(str(given), trust_file)
    elif is_estimator(given):
        source = _from_estimator(given, Path(folder))
    elif type(given).__name__ == "ExportedProgram":
        source = _from_program(given, Path(folder))
    elif callable(given):
        source = _from_object(given, folder, samples)
    else:
        raise InputError(f"A model can't be a {type(given).__name__}. Give {ACCEPTED}.")
    labelled = random_weights or source.random_weights
    return Source(
        kind=source.kind,
        name=name or source.name,
        location=source.location,
        sha256=source.sha256,
        trusted=source.trusted,
        random_weights=labelled,
        sys_path=source.sys_path,
    )


def is_torch_module(given: object) -> bool:
    """True for an nn.Module; imports torch only if the program already has."""
    torch: Any = sys.modules.get("torch")
    return torch is not None and isinstance(given, torch.nn.Module)


def _from_object(given: Any, folder: Path, samples: object | None) -> Source:
    kind: Kind = "torch" if is_torch_module(given) else "callable"
    name = getattr(given, "__name__", type(given).__name__)
    path = Path(folder) / "object.pkl"
    try:
        sha256, roots = pickles.store(given, path)
    except Exception as error:  # an object's own __reduce__ may raise anything
        exported = _exported(given, _plain(name), Path(folder), samples) if kind == "torch" else None
        if exported is not None:
            return exported
        raise InputError(
            f"The model `{name}` can't be handed to another process ({type(error).__name__}: {_first_line(error)}). "
            "Put it in a file as a function that returns the model, and give `file.py:function`."
        ) from None
    random = bool(getattr(given, "random_weights", False))
    return Source(
        kind=kind, name=_plain(name), location=str(path), sha256=sha256, random_weights=random, sys_path=roots
    )


def _from_estimator(given: Any, folder: Path) -> Source:
    """A live scikit-learn estimator, stored like any other object. Raises InputError if it isn't fitted."""
    name = checked(given, "The model").name
    path = folder / "object.pkl"
    try:
        sha256, roots = pickles.store(given, path)
    except Exception as error:  # a step may hold anything
        raise InputError(
            f"The estimator `{name}` can't be handed to another process ({type(error).__name__}: "
            f"{_first_line(error)}). Put it in a file as a function that returns it, and give `file.py:function`."
        ) from None
    return Source(kind="sklearn", name=_plain(name), location=str(path), sha256=sha256, sys_path=roots)


def _from_program(program: Any, folder: Path) -> Source:
    """A torch.export.ExportedProgram in memory, stored as a .pt2 of this study's own."""
    from accel.model.exported import store_program

    path = folder / "object.pt2"
    return Source(kind="pt2", name="program", location=str(path), sha256=store_program(program, path), trusted=True)


def _exported(module: Any, name: str, folder: Path, samples: object | None) -> Source | None:
    """The second way to hand a module over: torch.export with the samples. None if that fails too."""
    from accel.model.exported import store_exported

    try:
        sha256 = store_exported(module, folder / "object.pt2", samples)
    except Exception:  # torch.export raises many kinds; the caller then gives the reason of the first way
        return None
    random = bool(getattr(module, "random_weights", False))
    path = folder / "object.pt2"
    return Source(kind="pt2", name=name, location=str(path), sha256=sha256, trusted=True, random_weights=random)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).strip("_") or "model"


def _from_text(text: str, trust_file: bool) -> Source:
    if text.startswith(("hf:", "timm:")):
        return _from_name(text, trust_file)
    path = Path(text).expanduser()
    if not path.exists() and is_factory(text):
        return _factory(text)
    if path.suffix == ".py" or text.endswith(".py:"):
        raise InputError(f"Model `{text}`: name the function that makes it, such as `{text.rstrip(':')}:build`.")
    if path.is_dir():
        if not is_model_folder(path):
            raise InputError(f"Model `{text}` is a folder without a config.json. Give {ACCEPTED}.")
        return Source(kind="hf", name=_plain(path.resolve().name), location=str(path.resolve()), trusted=trust_file)
    if path.suffix in _PICKLES:
        existing(path, "Model")
        raise InputError(_pickled(path))
    if path.suffix in _HINTS:
        existing(path, "Model")
        raise InputError(
            f"Model `{text}` {_HINTS[path.suffix]}. Write a function that builds the network and loads it, and give "
            f"`file.py:function`; or export it to .onnx or .pt2."
        )
    return _from_file(path, trust_file)


def _from_name(text: str, trust_file: bool) -> Source:
    """`hf:NAME` or `timm:NAME`: what a library fetches and builds in a child."""
    kind, name = check_name(text)
    return Source(kind=kind, name=_plain(name), location=text, trusted=trust_file)


def _pickled(path: Path) -> str:
    """Why a pickle isn't read, and the line that turns one into a .skops file."""
    load = "joblib.load({!r})" if path.suffix in (".joblib", ".sav") else "pickle.load(open({!r}, 'rb'))"
    module = load.partition(".")[0]
    return (
        f"Model `{path}` is a pickle, which can run any code and is never loaded. If it holds a scikit-learn estimator "
        f'of your own, convert it once: python -c "import {module}, skops.io; skops.io.dump('
        f'{load.format(str(path))}, {str(path.with_suffix(".skops"))!r})"; else write a function that returns the '
        "model, and give `file.py:function`."
    )


def _from_file(path: Path, trust_file: bool) -> Source:
    kinds: dict[str, Kind] = {".onnx": "onnx", ".pt2": "pt2", ".xml": "openvino", ".skops": "sklearn"}
    if path.suffix not in kinds:
        existing(path, "Model")
        raise InputError(f"Model `{path}`: `{path.suffix or path.name}` files aren't read. Give {ACCEPTED}.")
    readable_file(path, "Model")
    kind = kinds[path.suffix]
    if kind == "onnx":
        check_onnx(path)
    elif kind == "openvino":
        _check_ir(path)
    elif kind == "sklearn":
        check_skops(path)
    elif not trust_file:
        from accel.model.archive import check_archive

        check_archive(path)
    return Source(kind=kind, name=_plain(path.stem), location=str(path.resolve()), trusted=trust_file)


def _check_ir(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(4096)
    if b"<net" not in start:
        raise InputError(f"Model `{path}` is no OpenVINO model: its XML doesn't start with <net>.")
    weights = path.with_suffix(".bin")
    if not weights.exists():
        raise InputError(
            f"Model `{path}`: its weights file `{weights.name}` isn't beside it. Copy both files together."
        )


def _factory(text: str) -> Source:
    where, _, name = text.rpartition(":")
    if not where.endswith(".py"):
        return Source(kind="factory", name=_plain(name), location=text)
    path = Path(where).expanduser()
    readable_file(path, "Model")
    return Source(kind="factory", name=_plain(f"{path.stem}-{name}"), location=f"{path.resolve()}:{name}")
