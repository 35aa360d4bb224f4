"""From a Source to its first form and its signature, for each kind of source."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from accel.errors import InputError, MissingLibrary, VariantError
from accel.model import convert, pickles
from accel.model.call import Call
from accel.model.estimator import checked, is_estimator, keep
from accel.model.factory import call_factory
from accel.model.load import commit
from accel.model.onnx_file import check_onnx, read_graph
from accel.model.places import readable_file
from accel.model.signature import (
    Arrays,
    free_axes,
    from_onnx,
    from_openvino,
    observed,
    rows,
    shortest,
    with_free_outputs,
)
from accel.model.source import is_torch_module
from accel.model.types import Signature, Source
from accel.samples.columns import column
from accel.samples.given import read as read_samples
from accel.samples.store import Samples
from accel.samples.table import INPUT, Table, as_table

T = TypeVar("T")
_NEEDS_SAMPLES = (
    "doesn't say what goes in. Give samples (--samples), or a factory that returns (module, example inputs)."
)


class Found(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A loaded source: its one form, its signature and, if it came with one, an example of its inputs.

    table: how a model of tables wants its samples laid out.
    """

    source: Source
    form: str
    value: Any
    signature: Signature
    example: Arrays | None = None
    notes: tuple[str, ...] = ()
    table: Table | None = None


def read(source: Source, folder: Path, samples: Samples | None) -> Found:
    """Load a source. Raises InputError or VariantError with the reason."""
    if source.kind == "onnx":
        return _onnx(source, folder)
    if source.kind == "openvino":
        return _openvino(source, folder)
    if source.kind == "pt2":
        return _pt2(source, folder)
    if source.kind == "factory":
        return _factory(source, folder, samples)
    if source.kind in ("hf", "timm"):
        return _named(source, folder, samples)
    if source.kind == "sklearn" and source.sha256 is None:
        from accel.model.skops_file import load_skops

        given, notes = load_skops(Path(source.location), trusted=source.trusted)
        return msgspec.structs.replace(_sklearn(source, given, samples), notes=notes)
    given = pickles.restore(Path(source.location), source.sha256, source.sys_path)
    if source.kind == "sklearn":
        return _sklearn(source, given, samples)
    return _torch(source, given, None, samples) if source.kind == "torch" else _callable(source, given, samples)


def _onnx(source: Source, folder: Path) -> Found:
    path = Path(source.location)
    target = folder / "forms" / "onnx"
    if not (target / "seconds.json").exists():
        started = time.perf_counter()
        commit(target, lambda part: convert.copy_onnx(path, part), started)
    copied = target / convert.MODEL_FILE["onnx"]
    return Found(source=source, form="onnx", value=copied, signature=from_onnx(read_graph(copied).graph))


def _openvino(source: Source, folder: Path) -> Found:
    openvino = convert.load_openvino()
    target = folder / "forms" / "openvino"
    if not (target / "seconds.json").exists():
        started = time.perf_counter()
        commit(target, lambda part: convert.copy_openvino(Path(source.location), part), started)
    copied = target / convert.MODEL_FILE["openvino"]
    try:
        model = openvino.Core().read_model(str(copied))
    except RuntimeError as error:
        raise InputError(f"Model `{source.location}` can't be read by OpenVINO: {convert.last_line(error)}.") from None
    return Found(source=source, form="openvino", value=copied, signature=from_openvino(model))


def _pt2(source: Source, folder: Path) -> Found:
    _need_torch("a .pt2 model")
    from accel.model.exported import form_of, open_exported, signature_of

    path = Path(source.location)
    if source.sha256 is not None and hashlib.sha256(path.read_bytes()).hexdigest() != source.sha256:
        raise InputError(f"`{path}` isn't the module that was stored there (its hash differs), so it isn't loaded.")
    if not source.trusted:
        from accel.model.archive import copy_plain

        folder.mkdir(parents=True, exist_ok=True)
        copy_plain(path, folder / "plain.pt2")
        path = folder / "plain.pt2"
    form = form_of(open_exported(str(path)))
    signature, example = signature_of(form.module.program, form)
    return Found(source=source, form="torch", value=form, signature=signature, example=example)


def _factory(source: Source, folder: Path, samples: Samples | None) -> Found:
    given, factory = call_factory(source.location)
    example = None
    if isinstance(given, tuple) and len(given) == 2 and not isinstance(given, Mapping):
        given, example = given
    random = any(bool(getattr(o, "random_weights", False)) for o in (factory, given))
    source = msgspec.structs.replace(source, random_weights=source.random_weights or random)
    if isinstance(given, str | Path):
        path = readable_file(Path(given).expanduser(), f"The file that `{source.location}` returned,")
        if path.suffix != ".onnx":
            raise InputError(
                f"The factory `{source.location}` returned `{path}`; a path it returns must be an .onnx file."
            )
        check_onnx(path)
        return msgspec.structs.replace(
            _onnx(msgspec.structs.replace(source, location=str(path)), folder), source=source
        )
    if is_torch_module(given):
        return _torch(source, given, example, samples)
    if is_estimator(given):
        found = _sklearn(source, given, samples)
        sha256, roots = keep(found.value, folder)
        return msgspec.structs.replace(found, source=msgspec.structs.replace(source, sha256=sha256, sys_path=roots))
    if callable(given):
        return _callable(source, given, samples)
    raise InputError(
        f"The factory `{source.location}` returned {_type(given)}, but must return a torch module, "
        "(module, example inputs), the path of an .onnx file, a fitted estimator or a function."
    )


def _named(source: Source, folder: Path, samples: Samples | None) -> Found:
    """A network that a library builds by its name or from its own folder."""
    _need_torch(f"the model `{source.location}`")
    if source.kind == "timm":
        from accel.model.timm_model import load_timm as load
    else:
        from accel.model.hugging_face import load_hugging_face as load
    loaded = load(source, folder, None if samples is None else tuple(samples.inputs))
    random = source.random_weights or loaded.random_weights
    source = msgspec.structs.replace(source, random_weights=random)
    found = _torch(source, loaded.module, loaded.example, samples, loaded.short)
    return msgspec.structs.replace(found, notes=loaded.notes)


def _sklearn(source: Source, given: Any, samples: Samples | None) -> Found:
    """An estimator; without samples it is seen with a row of zeros, as wide as it was fitted."""
    estimator = checked(given, f"The model `{source.name}`")
    table = estimator.table
    if samples is not None:
        example = rows(as_table(samples, table), 2)
    elif estimator.width is not None:
        example = {INPUT: np.zeros((2, estimator.width), np.float32)}
    else:
        raise InputError(f"The estimator `{source.name}` {_NEEDS_SAMPLES}")
    try:
        signature = observed(estimator, example, {})
    except VariantError as error:
        raise VariantError(f"the estimator `{source.name}` fails: {error.reason}", error.next_step) from error
    return Found(source=source, form="sklearn", value=estimator, signature=signature, example=example, table=table)


def _type(given: object) -> str:
    return "None" if given is None else f"something of type `{type(given).__name__}`"


def _need_torch(what: str) -> None:
    try:
        import torch  # noqa: F401  # only whether it is there
    except ImportError:
        raise MissingLibrary("torch", what, extra="torch") from None


def _torch(source: Source, module: Any, example: Any, samples: Samples | None, shorter: Arrays | None = None) -> Found:
    """shorter: used without samples, as they would be, to see which axes may vary besides the batch."""
    from accel.model.torch_form import as_numpy

    batch = None if samples is None else rows(samples, 2)
    try:
        form, arrays = _form_and_example(module, example, batch)
    except _NoExampleError:
        raise InputError(f"The torch module `{source.name}` {_NEEDS_SAMPLES}") from None

    def run(inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {name: as_numpy(value) for name, value in form(inputs).items()}

    arrays = _without_doubles(arrays, module)
    free = {} if samples is None else _renamed({n: free_axes(samples).get(n, {}) for n in samples.inputs}, form.names)
    if samples is None and shorter is not None:
        free = {
            n: {i: "sequence" for i, s in enumerate(a.shape) if s != arrays[n].shape[i]} for n, a in shorter.items()
        }
    signature, arrays = _in_dtypes_that_run(run, arrays, free)
    short = shorter if samples is None else shortest(samples)
    if short is not None:
        short = {name: a.astype(arrays[name].dtype) for name, a in _renamed(short, form.names).items()}
        signature = with_free_outputs(signature, run, arrays, short)
    return Found(source=source, form="torch", value=form, signature=signature, example=arrays)


class _NoExampleError(Exception):
    """A module came with neither samples nor example inputs."""


def _form_and_example(module: Any, example: Any, batch: Arrays | None) -> tuple[Any, Arrays]:
    """The module as a TorchForm, and named arrays to run it with: samples if there are any."""
    from accel.model.torch_form import TorchForm

    example = example if example is not None else getattr(module, "example_inputs", None)
    if example is not None:
        args, kwargs = _example_call(example)
        form = TorchForm.from_call(module, args, kwargs)
        return form, form.bind(args, kwargs) if batch is None else _renamed(batch, form.names)
    if batch is None:
        raise _NoExampleError
    form = TorchForm.from_names(module, tuple(batch))
    return form, _renamed(batch, form.names)


def example_form(module: Any, given: object | None) -> tuple[Any, Arrays]:
    """Like the above from samples as the user gave them, for a module in the user's own process."""
    batch = None
    if given is not None:
        found = read_samples(given, count=2)
        batch = {name: column(name, items[:2], 0.0).array for name, items in found.columns.items()}
    form, arrays = _form_and_example(module, None, batch)
    return form, _without_doubles(arrays, module)


def _without_doubles(arrays: Arrays, module: Any) -> Arrays:
    """float64, numpy's default, becomes float32 unless the module computes in float64."""
    doubles = any(p.dtype.itemsize == 8 and p.is_floating_point() for p in module.parameters())
    return arrays if doubles else {n: a.astype(np.float32) if a.dtype == np.float64 else a for n, a in arrays.items()}


def _in_dtypes_that_run(run: Any, arrays: Arrays, free: Any) -> tuple[Signature, Arrays]:
    """The signature with the samples' dtypes; where those fail, with bytes as float32 and small integers as int64."""
    wider = {"uint8": "float32", "int32": "int64", "int16": "int64"}
    cast = {name: a.astype(wider.get(a.dtype.name, a.dtype), copy=False) for name, a in arrays.items()}
    try:
        return observed(run, arrays, free), arrays
    except VariantError:
        if all(cast[name].dtype == a.dtype for name, a in arrays.items()):
            raise
        return observed(run, cast, free), cast


def _renamed(arrays: dict[str, T], names: tuple[str, ...]) -> dict[str, T]:
    """What belongs to samples under the module's names: by name where they agree, else in their order."""
    if all(name in arrays for name in names):
        return {name: arrays[name] for name in names}
    if len(arrays) != len(names):
        raise InputError(f"The module takes {', '.join(names)}, but the samples have {', '.join(arrays)}.")
    return dict(zip(names, arrays.values(), strict=True))


def _example_call(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example, Mapping):
        return (), dict(example)
    return (tuple(example) if isinstance(example, tuple | list) else (example,)), {}


def _callable(source: Source, function: Any, samples: Samples | None) -> Found:
    if samples is None:
        raise InputError(f"The function `{source.name}` {_NEEDS_SAMPLES}")
    call = Call.tried(function, rows(samples, 1))
    try:
        signature = observed(call, rows(samples, 2), free_axes(samples))
        short = shortest(samples)
        if short is not None:
            signature = with_free_outputs(signature, call, rows(samples, 2), short)
    except VariantError as error:
        raise VariantError(f"the function `{source.name}` fails: {error.reason}", error.next_step) from error
    return Found(
        source=source,
        form="callable",
        value=call,
        signature=signature,
        example={k: np.array(v) for k, v in rows(samples, 2).items()},
    )
