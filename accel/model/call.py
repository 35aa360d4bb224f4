"""Any function as a model: how it wants its inputs, and what it gives, as named arrays."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from accel.errors import InputError, VariantError
from accel.model import pickles

Arrays = dict[str, npt.NDArray[Any]]
Style = Literal["array", "keywords", "dict", "arrays"]
FILE = "function.pkl"
RECORD = "function.json"


class Call:
    """A function and its calling style; called with named arrays, it gives named arrays.

    style: "array" f(x); "keywords" f(name=x, ...); "dict" f({name: x, ...}); "arrays" f(x, y, ...) in order.
    """

    def __init__(self, function: Callable[..., Any], style: Style) -> None:
        self.function = function
        self.style = style

    @classmethod
    def tried(cls, function: Callable[..., Any], example: Arrays) -> Call:
        """The first style that works on an example.

        One input: array, keywords, dict. Several: keywords, dict, arrays. Styles the parameters rule out aren't tried.
        Raises VariantError with the reason the first one failed.
        """
        one: tuple[Style, ...] = ("array", "keywords", "dict")
        several: tuple[Style, ...] = ("keywords", "dict", "arrays")
        reason = ""
        for style in one if len(example) == 1 else several:
            call = cls(function, style)
            if not call._fits(example):
                continue
            try:
                call(example)
            except Exception as error:  # whatever the user's function raises
                reason = reason or f"{type(error).__name__}: {error}"
            else:
                return call
        raise VariantError(
            f"the function fails on the first sample: {reason or 'its parameters fit no way of calling it'}",
            f"It is called with one array, with keywords ({', '.join(example)}) or a dict; axis 0 is the batch.",
        )

    def _fits(self, example: Arrays) -> bool:
        try:
            signature = inspect.signature(self.function)
        except (ValueError, TypeError):
            return True
        args, kwargs = self._arguments(example)
        try:
            signature.bind(*args, **kwargs)
        except TypeError:
            return False
        return True

    def _arguments(self, arrays: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if self.style == "keywords":
            return (), dict(arrays)
        if self.style == "dict":
            return (dict(arrays),), {}
        return tuple(arrays.values()), {}

    def __call__(self, arrays: Mapping[str, Any]) -> Arrays:
        """Named arrays in, named arrays out; whatever isn't made of arrays is dropped."""
        args, kwargs = self._arguments(arrays)
        count = len(next(iter(arrays.values())))
        return named_outputs(self.function(*args, **kwargs), count)

    def save(self, folder: Path) -> None:
        """Store it in an artefact folder. Raises VariantError if the function can't be pickled."""
        try:
            sha256, roots = pickles.store({"call": self}, Path(folder) / FILE)
        except Exception as error:  # an object's own __reduce__ may raise anything
            raise VariantError(f"the function can't be stored: {type(error).__name__}: {error}") from error
        (Path(folder) / RECORD).write_text(json.dumps({"sha256": sha256, "sys_path": roots}))

    @classmethod
    def open(cls, folder: Path) -> Call:
        """Load what `save` wrote; refuses a file that was changed since."""
        record = json.loads((Path(folder) / RECORD).read_text())
        restored = pickles.restore(Path(folder) / FILE, record["sha256"], tuple(record["sys_path"]))
        call: Call = restored["call"]
        return call


def named_outputs(value: Any, count: int) -> Arrays:
    """Outputs by name: an array is `output`, a tuple or list of arrays `output_0`, ..., a dict keeps its keys.

    A list of `count` plain numbers is one array; anything else isn't compared, so it gives no outputs.
    """
    if _is_array(value):
        return {"output": _as_array(value)}
    if isinstance(value, Mapping):
        return {str(k): _as_array(v) for k, v in value.items() if _is_array(v)}
    if isinstance(value, tuple | list) and value and all(_is_array(v) for v in value):
        return {f"output_{i}": _as_array(v) for i, v in enumerate(value)}
    if isinstance(value, list) and len(value) == count:
        return _numbers(value)
    return {}


def _numbers(value: list[Any]) -> Arrays:
    if not all(isinstance(v, bool | int | float | np.generic) for v in value):
        return {}
    return {"output": np.asarray(value)}


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype") and len(value.shape) > 0


def _as_array(value: Any) -> npt.NDArray[Any]:
    if hasattr(value, "detach"):
        from accel.model.torch_form import as_numpy

        return as_numpy(value)
    array = np.asarray(value)
    if array.dtype.kind == "O":
        raise InputError("The function returned an array of Python objects, which can't be compared. Return numbers.")
    return array
