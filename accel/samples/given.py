"""What did the user give as samples? Arrays, a dict, .npz, .npy, a folder, items or a factory -> named columns."""

from __future__ import annotations

import itertools
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from accel.errors import InputError
from accel.model.factory import call_factory, is_factory
from accel.model.places import existing, readable_file
from accel.samples.columns import as_array

Array = npt.NDArray[Any]
LABELS = "labels"
MASK = "calibration"
MOST_ITEMS = 100_000
UNNAMED = "input"


class Given(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Columns as they came: name -> array (N, ...) or list of N items."""

    columns: dict[str, Array | list[Any]]
    labels: object | None = None
    notes: tuple[str, ...] = ()
    calibration: npt.NDArray[np.bool_] | None = None


def read(given: object, *, count: int | None = None) -> Given:
    """Read any accepted kind of samples; raises InputError with what is accepted.

    ndarray: one input. tuple of arrays: one array per input, in order. dict: by name. list or other iterable: items,
    each an array, a tuple (one array per input; a scalar at its end is the label) or a dict. Callable: called, then
    read. str or Path: .npz, .npy, a folder of .npy, `file.py:factory`, `package.module:factory`.
    """
    if isinstance(given, str) and is_factory(given):
        return read(call_factory(str(Path(given).expanduser()))[0], count=count)
    if isinstance(given, str | Path):
        return _from_path(Path(given).expanduser())
    if isinstance(given, Mapping) or hasattr(given, "keys"):
        return _from_mapping(dict(given))  # type: ignore[call-overload]
    if isinstance(given, np.ndarray) or hasattr(given, "detach"):
        return _in_order([as_array(given, "The samples")])
    if isinstance(given, tuple) and given and all(getattr(a, "ndim", 0) > 0 for a in given):
        return _from_tuple(given)
    if callable(given) and not isinstance(given, Iterable):
        return read(given(), count=count)
    if isinstance(given, Iterable):
        return _from_items(given, count)
    what = "None" if given is None else f"a {type(given).__name__}"
    raise InputError(
        f"Samples can't be read from {what}. Give an array, a dict of arrays, an .npz file, a folder of .npy files, "
        "an iterable of items or a function that returns one of these."
    )


def read_labels(given: Any) -> Any:
    """Labels from an .npy file or a factory; an array or a list as it is. Raises InputError for what can't be read."""
    if not isinstance(given, str | Path):
        return given
    if is_factory(str(given)):
        return call_factory(str(given))[0]
    path = readable_file(Path(given).expanduser(), "Labels")
    if path.suffix != ".npy":
        raise InputError(f"Labels `{path}`: `{path.suffix}` files aren't read. Give an .npy file or `file.py:factory`.")
    return _load(path, "Labels")


def unnamed(count: int) -> list[str]:
    """The names that columns get if only their order is known."""
    return [UNNAMED] if count == 1 else [f"{UNNAMED}_{i}" for i in range(count)]


def is_unnamed(names: Iterable[str]) -> bool:
    """True if only the order of the columns is known."""
    given = list(names)
    return given == unnamed(len(given))


def _in_order(columns: Sequence[Array | list[Any]], labels: object | None = None) -> Given:
    return Given(columns=dict(zip(unnamed(len(columns)), columns, strict=True)), labels=labels)


def _from_mapping(given: dict[str, Any]) -> Given:
    labels = given.pop(LABELS, None)
    mask = given.pop(MASK) if _is_mask(given.get(MASK)) else None
    if not given:
        raise InputError(
            "The samples hold no input, only `labels`." if labels is not None else "The samples are empty."
        )
    columns = {str(k): v if isinstance(v, np.ndarray | list) else _listed(v) for k, v in given.items()}
    return Given(columns=columns, labels=labels, calibration=mask)


def _is_mask(value: Any) -> bool:
    """One boolean a sample; an input that happens to be called `calibration` looks different."""
    return isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype == np.bool_


def _listed(value: Any) -> Array | list[Any]:
    if hasattr(value, "to_numpy") and getattr(value.dtype, "kind", "O") in "biuf":  # a column of a pandas table
        column: Array = value.to_numpy()
        return column
    return as_array(value, "The samples") if hasattr(value, "detach") else list(value)


def _from_tuple(given: tuple[Any, ...]) -> Given:
    lengths = {len(a) for a in given}
    if len(lengths) > 1:
        raise InputError(
            "A tuple of arrays is read as one array per input, so all must have as many samples, "
            f"but they have {', '.join(str(len(a)) for a in given)}. Give a list if these are single items."
        )
    return _in_order([as_array(a, f"Input {i} of the samples") for i, a in enumerate(given)])


def _from_items(given: Iterable[Any], count: int | None) -> Given:
    most = count if count is not None else MOST_ITEMS
    items = list(itertools.islice(given, most + 1))
    notes = (f"Only the first {most} items of the iterable were read.",) if len(items) > most else ()
    items = items[:most]
    if not items:
        raise InputError("The samples are empty: the iterable gave no item.")
    found = _from_dicts(items) if isinstance(items[0], Mapping) else _from_rows(items)
    return msgspec.structs.replace(found, notes=notes)


def _from_dicts(items: list[Any]) -> Given:
    names = set(items[0])
    for i, item in enumerate(items):
        if not isinstance(item, Mapping) or set(item) != names:
            got = f"keys {sorted(map(str, item))}" if isinstance(item, Mapping) else f"a {type(item).__name__}"
            raise InputError(
                f"Every sample must have the keys of the first ({sorted(names)}), but sample {i} has {got}."
            )
    columns = {str(name): [item[name] for item in items] for name in items[0]}
    labels = columns.pop(LABELS, None)
    return Given(columns=dict(columns), labels=labels)


def _from_rows(items: list[Any]) -> Given:
    if not isinstance(items[0], tuple):
        return _in_order([items])
    width = len(items[0])
    for i, item in enumerate(items):
        if not isinstance(item, tuple) or len(item) != width:
            raise InputError(f"Every sample must be a tuple of {width} values like the first, but sample {i} isn't.")
    columns = [[item[j] for item in items] for j in range(width)]
    labelled = width > 1 and all(np.ndim(value) == 0 for value in columns[-1])
    return _in_order(columns[:-1], columns[-1]) if labelled else _in_order(columns)


def _from_path(path: Path) -> Given:
    existing(path, "Samples")
    if path.is_dir():
        files = sorted(path.glob("*.npy"))
        if not files:
            raise InputError(
                f"Samples `{path}`: the folder holds no .npy file. Give one per input, named as the input."
            )
        return _from_mapping({file.stem: _load(file) for file in files})
    readable_file(path, "Samples")
    if path.suffix == ".npz":
        return _from_mapping(_load_archive(path))
    if path.suffix == ".npy":
        return _in_order([_load(path)])
    raise InputError(
        f"Samples `{path}`: `{path.suffix}` files aren't read. Give .npz, .npy, a folder of .npy or `file.py:factory`."
    )


def _load(path: Path, what: str = "Samples") -> Array:
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise _unreadable(path, error, what) from None
    return array


def _load_archive(path: Path) -> dict[str, Array]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception, what: str = "Samples") -> InputError:
    if "pickle" in str(error).lower() and "allow_pickle" in str(error):
        return InputError(
            f"{what} `{path}` holds pickled Python objects, which are never loaded since they can run code. "
            "Store plain arrays of numbers: np.savez(path, name=array)."
        )
    return InputError(f"{what} `{path}` can't be read: {error}. Is the file complete?")
