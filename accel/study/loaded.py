"""A saved winner, opened in this process and called the way the original was."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from accel import plugins
from accel.compilation import Arrays, Engine
from accel.errors import InputError, nearest
from accel.plugins import Named


class Loaded:
    """Takes what the original took and returns what it returned.

    A torch module's replacement takes and returns tensors in the module's own structure; a function's replacement is
    called like the function; anything else takes a dict of arrays (or keyword arrays) and returns a dict of arrays,
    each with the batch on axis 0. Close it, or use it as a context manager, to free the runtime.
    """

    def __init__(self, folder: Path) -> None:
        settings = json.loads((folder / "settings.json").read_text())
        for name, value in settings["env"].items():
            os.environ.setdefault(name, value)
        variant = settings["variant"]
        backend = plugins.make("compilation", Named(variant["backend"]["name"], variant["backend"].get("fields", {})))
        self.name: str = variant["name"]
        self.engine: Engine = backend.open(folder / "artefact")
        self.batching: dict[str, Any] = settings["batching"]
        self._inputs: list[str] = [t["name"] for t in _tensors(settings["signature"])]
        self._dtypes = {
            t["name"]: np.dtype(t["dtype"]) for t in _tensors(settings["signature"]) if t["dtype"] != "bfloat16"
        }
        self._closed = False
        self._convention: Any = None
        if (folder / "convention.json").is_file():
            from accel.model.convention import Convention

            self._convention = Convention(folder)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run a batch."""
        original = getattr(self.engine, "function", None)
        if original is not None:
            return original(*args, **kwargs)
        if self._convention is not None:
            return self._convention.build(self.run(self._convention.bind(args, kwargs)))
        if args and isinstance(args[0], Mapping):
            named, args = dict(args[0]), args[1:]
        else:
            named, args = dict(zip(self._inputs, args, strict=False)), args[len(self._inputs) :]
        twice = next((n for n in kwargs if n in named), None)
        if args or twice is not None:
            what = f"got `{twice}` twice" if twice is not None else "got more"
            raise InputError(f"The model takes {', '.join(self._inputs)}, but {what}.")
        return self.run(named | kwargs)

    def run(self, inputs: Mapping[str, Any]) -> Arrays:
        """Named arrays in, named arrays out. Raises InputError for a missing or misspelt input, or once closed."""
        if self._closed:
            raise InputError(f"`{self.name}` is closed. Load it again.")
        for name in inputs:
            if name not in self._inputs:
                raise InputError(f"The model has no input `{name}`. {nearest(name, self._inputs)}")
        missing = [n for n in self._inputs if n not in inputs]
        if missing:
            raise InputError(f"The input `{missing[0]}` is missing; the model takes {', '.join(self._inputs)}.")
        arrays = {n: np.ascontiguousarray(inputs[n], self._dtypes.get(n)) for n in self._inputs}
        sizes = self.engine.sizes
        count = len(next(iter(arrays.values())))
        if sizes is not None and count not in sizes:
            raise InputError(f"The model takes batches of {', '.join(map(str, sizes))}, but got {count} items.")
        return self.engine.run(arrays)

    def close(self) -> None:
        """Free the runtime; may be called twice."""
        if not self._closed:
            self._closed = True
            self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _tensors(signature: dict[str, Any]) -> list[dict[str, Any]]:
    inputs: list[dict[str, Any]] = signature["inputs"]
    return inputs


def load_folder(folder: str | Path) -> Loaded:
    """Open what `Winner.save` wrote. Raises InputError if it isn't such a folder."""
    folder = Path(folder)
    if not (folder / "settings.json").is_file():
        raise InputError(
            f"`{folder}` holds no saved model: there is no settings.json. Name a folder that `.save()` wrote."
        )
    return Loaded(folder)
