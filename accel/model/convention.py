"""How a torch module was called, as plain JSON, so that whatever replaces it can be called the same way."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from accel.errors import InputError
from accel.model.tree import Tree, flatten

if TYPE_CHECKING:
    import numpy.typing as npt

    from accel.model.torch_form import TorchForm

FILE = "convention.json"
_ABSENT = "\0absent"


def write_convention(form: TorchForm, folder: Path) -> bool:
    """Store how `form`'s module is called and what it returns; False if its structures have no JSON form."""
    from torch.utils import _pytree as pytree

    try:
        record = {
            "parameters": [
                {"name": p.name, "kind": int(p.kind), "default": _plain(p.default)}
                for p in inspect.signature(form.module.forward).parameters.values()
            ],
            "inputs": _tree(form.inputs, pytree),
            "outputs": None if form.outputs is None else _tree(form.outputs, pytree),
        }
        text = json.dumps(record)
    except (TypeError, ValueError, NotImplementedError):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(text)
    return True


def _tree(tree: Tree, pytree: Any) -> dict[str, Any]:
    constants = [_ABSENT if isinstance(c, bytes) else c for c in tree.constants]
    return {"spec": pytree.treespec_dumps(tree.spec), "names": list(tree.names), "constants": constants}


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else _ABSENT


class Convention:
    """Maps a call made the module's own way to named arrays, and named arrays to the module's own structure.

    Tensors come in and go out, as the module had them. Raises InputError for a call that differs from the prepared one.
    """

    def __init__(self, folder: Path) -> None:
        from torch.utils import _pytree as pytree

        record = json.loads((Path(folder) / FILE).read_text())
        self._signature = inspect.Signature([_parameter(p) for p in record["parameters"]])
        self._inputs = _restored(record["inputs"], pytree)
        self._outputs = None if record["outputs"] is None else _restored(record["outputs"], pytree)

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
        """Named arrays of one call."""
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InputError(f"The model can't be called like this: {error}.") from None
        given = {n: v for n, v in bound.arguments.items() if not self._is_default(n, v)}
        tree, tensors = flatten(given, root="input")
        if tree.tensor_names != self._inputs.tensor_names or _values(tree) != _values(self._inputs):
            raise InputError(
                f"This model was prepared for the inputs {', '.join(self._inputs.tensor_names)} with the values "
                f"{_values(self._inputs)}, but the call gives {', '.join(tree.tensor_names)} with {_values(tree)}. "
                "Call it the same way, or optimize it with samples of this kind."
            )
        return {name: t.detach().cpu().numpy() for name, t in tensors.items()}

    def _is_default(self, name: str, value: Any) -> bool:
        default = self._signature.parameters[name].default
        return value is default or (isinstance(value, bool | int | float | str) and value == default)

    def build(self, arrays: Mapping[str, npt.NDArray[Any]]) -> Any:
        """The structure the module returns, with tensors."""
        import torch

        tensors = {name: torch.from_numpy(np.array(a)) for name, a in arrays.items()}
        if self._outputs is None:
            return tensors
        return self._outputs.build(tensors)


def _values(tree: Tree) -> list[Any]:
    return [c for c in tree.constants if c is not None]


def _parameter(record: dict[str, Any]) -> inspect.Parameter:
    kind = inspect._ParameterKind(record["kind"])
    variadic = kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    default = inspect.Parameter.empty if record["default"] == _ABSENT or variadic else record["default"]
    return inspect.Parameter(record["name"], kind, default=default)


def _restored(record: dict[str, Any], pytree: Any) -> Tree:
    return Tree(
        spec=pytree.treespec_loads(record["spec"]),
        names=tuple(record["names"]),
        constants=tuple(record["constants"]),
    )
