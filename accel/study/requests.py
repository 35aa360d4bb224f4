"""Any function as something that can be measured: each request is one call with one item, tokenizer and all."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from accel.errors import InputError
from accel.model.types import Signature, Tensor
from accel.samples.given import Given, read

REQUEST, ANSWERED = "request", "answered"


class Calls:
    """Calls a function with the item of a request's number; what travels through the loop is the number alone.

    It is stored with its items and runs in a measure child.
    """

    def __init__(self, function: Callable[..., Any], items: list[Any], style: str) -> None:
        self.function = function
        self.items = items
        self.style = style

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a batch of request numbers, one call each; the answers themselves aren't kept."""
        request = inputs[REQUEST]
        for number in request:
            item = self.items[int(number)]
            if self.style == "keywords":
                self.function(**item)
            else:
                self.function(item)
        return {ANSWERED: np.ones(len(request), np.int8)}

    # What a backend needs to know of a model to store this one.
    precision = "float32"
    notes: tuple[str, ...] = ()
    signature = Signature(
        inputs=(Tensor("request", "int64", ("batch",)),), outputs=(Tensor("answered", "int8", ("batch",)),), batch="any"
    )

    def as_form(self, form: str) -> Calls:
        """Itself: a function has no other form."""
        return self


def calls(function: Callable[..., Any], samples: Any) -> Calls:
    """Pair a function with its items.

    A list or another iterable: each element is one item, passed as it is (a string, an image, a dict, ...). Arrays,
    .npz and folders: one row, with a batch axis of 1; several inputs go by keyword if the function takes those names,
    else as one dict. Raises InputError without samples.
    """
    if samples is None:
        raise InputError("measure() needs samples: the items to call the function with, such as a list of texts.")
    if isinstance(samples, list | tuple | set | frozenset) or hasattr(samples, "__next__"):
        items = list(samples)
        if not items:
            raise InputError("measure() needs at least one sample, but the samples are empty.")
        return Calls(function, items, "item")
    return _rows(function, read(samples))


def _rows(function: Callable[..., Any], given: Given) -> Calls:
    columns = {name: np.asarray(column) for name, column in given.columns.items()}
    count = len(next(iter(columns.values())))
    if len(columns) == 1:
        only = next(iter(columns.values()))
        return Calls(function, [only[i : i + 1] for i in range(count)], "item")
    items: list[Mapping[str, Any]] = [{n: c[i : i + 1] for n, c in columns.items()} for i in range(count)]
    return Calls(function, list(items), "keywords" if _takes(function, columns) else "item")


def _takes(function: Callable[..., Any], names: Mapping[str, Any]) -> bool:
    try:
        inspect.signature(function).bind(**dict.fromkeys(names))
    except (TypeError, ValueError):
        return False
    return True
