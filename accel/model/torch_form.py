"""A torch module that takes and gives named arrays, whatever its forward looks like."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.errors import InputError, VariantError, nearest
from accel.model import pickles
from accel.model.tree import Tree, flatten, register_types
from accel.samples.given import is_unnamed

Arrays = dict[str, npt.NDArray[Any]]
FILE = "torch_form.pkl"
RECORD = "torch_form.json"


class TorchForm:
    """An nn.Module in eval mode behind named tensors.

    module: the module itself. inputs: the Tree of its arguments ({parameter: value}). outputs: the Tree of what it
    gives, known after the first call. Calling it takes named arrays or tensors and gives named tensors, without
    gradients.
    """

    def __init__(self, module: Any, inputs: Tree, outputs: Tree | None = None) -> None:
        self.module = module.eval() if hasattr(module, "eval") and not _is_exported(module) else module
        self.inputs = inputs
        self.outputs = outputs

    @classmethod
    def from_call(cls, module: Any, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None) -> TorchForm:
        """From an example call; nested arguments become several inputs, plain values become constants."""
        tree, _ = flatten(_arguments(module, args, kwargs or {}), root="input")
        if not tree.tensor_names:
            raise InputError("The example inputs hold no tensor. Give (module, example inputs), the inputs as tensors.")
        return cls(module, tree)

    @classmethod
    def from_names(cls, module: Any, names: Sequence[str]) -> TorchForm:
        """From the names of samples: parameters of forward; a lone or unnamed array goes by the parameters' order."""
        import torch

        by_order = is_unnamed(names) or (len(names) == 1 and names[0] not in _open_parameters(module)[0])
        chosen = _first_parameters(module, len(names)) if by_order else _parameters(module, names)
        tree, _ = flatten(dict.fromkeys(chosen, torch.zeros(1)), root="input")
        return cls(module, tree)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return self.inputs.tensor_names

    def __call__(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Named arrays or tensors in, named tensors out."""
        import torch

        tensors = {name: as_tensor(arrays[name]) for name in self.names}
        with torch.inference_mode():
            return self.named_outputs(self.invoke(tensors))

    def invoke(self, tensors: dict[str, Any]) -> Any:
        """Call the module as its forward wants it; gives its own structure."""
        arguments = self.inputs.build(tensors)
        bound = inspect.BoundArguments(_signature(self.module), arguments)
        return self.module(*bound.args, **bound.kwargs)

    def named_outputs(self, value: Any) -> dict[str, Any]:
        """The tensors of an output by name; the structure of the first one is kept for `unflatten`."""
        tree, tensors = flatten(value, root="output", taken=self.names)
        if self.outputs is None:
            self.outputs = tree
        return tensors

    def unflatten(self, values: Mapping[str, Any]) -> Any:
        """The structure the module itself returns, from named arrays or tensors (arrays become tensors)."""
        if self.outputs is None:
            raise InputError("The structure of the outputs isn't known before the module was called once.")
        return self.outputs.build({name: as_tensor(values[name]) for name in self.outputs.tensor_names})

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arrays:
        """Named arrays of a call made the module's own way. Raises InputError if it differs from what was prepared."""
        tree, tensors = flatten(_arguments(self.module, args, kwargs), root="input")
        if tree.spec != self.inputs.spec or len(tree.tensor_names) != len(self.names):
            raise InputError(
                f"The call gives the inputs {', '.join(tree.tensor_names)}, but this model was prepared for "
                f"{', '.join(self.names)}. Call it the same way, or prepare it with such an example."
            )
        self._check_constants(tree)
        return {name: as_numpy(tensor) for name, tensor in zip(self.names, tensors.values(), strict=True)}

    def _check_constants(self, tree: Tree) -> None:
        given = [c for c in tree.constants if c is not None]
        known = [c for c in self.inputs.constants if c is not None]
        if given != known:
            raise InputError(
                f"The call gives the values {given} where this model was prepared with {known}; they are part of the "
                "prepared model. Prepare it with an example that has these values."
            )

    def flat_module(self) -> Any:
        """An nn.Module whose forward(*tensors) gives a tuple of tensors, for export and compilers."""
        from accel.model.flat import flat_module

        return flat_module(self.module, self.inputs, _signature(self.module))

    def save(self, folder: Path) -> None:
        """Store it in an artefact folder. Raises VariantError if the module can't be pickled."""
        try:
            sha256, roots = pickles.store({"form": self}, Path(folder) / FILE)
        except Exception as error:  # a module's own __reduce__ may raise anything
            raise VariantError(
                f"the torch module can't be stored: {type(error).__name__}: {error}",
                "Give a factory (`file.py:function`) whose module can be pickled.",
            ) from error
        record = {"sha256": sha256, "sys_path": roots}
        (Path(folder) / RECORD).write_text(json.dumps(record))

    @classmethod
    def open(cls, folder: Path) -> TorchForm:
        """Load what `save` wrote; refuses a file that was changed since."""
        record = json.loads((Path(folder) / RECORD).read_text())
        restored = pickles.restore(Path(folder) / FILE, record["sha256"], tuple(record["sys_path"]))
        form: TorchForm = restored["form"]
        for tree in filter(None, (form.inputs, form.outputs)):
            register_types(tree)
        return form


def _is_exported(module: Any) -> bool:
    """Exported programs as modules refuse eval(): they are frozen in the mode they were exported in."""
    return type(module).__name__ == "GraphModule" or hasattr(module, "_guards_fn")


def _signature(module: Any) -> inspect.Signature:
    try:
        return inspect.signature(module.forward)
    except (ValueError, TypeError):
        return inspect.Signature([inspect.Parameter("input", inspect.Parameter.VAR_POSITIONAL)])


def _arguments(module: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """{parameter: value} of a call; parameters left at their default are absent, so that spellings compare equal."""
    signature = _signature(module)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise InputError(f"forward{signature} can't be called with these inputs: {error}.") from None
    return {
        name: value
        for name, value in bound.arguments.items()
        if not _is_default(value, signature.parameters[name].default)
    }


def _is_default(value: Any, default: Any) -> bool:
    return value is default or (isinstance(value, bool | int | float | str) and value == default)


def _open_parameters(module: Any) -> tuple[list[str], bool]:
    kinds = inspect.Parameter
    parameters = _signature(module).parameters.values()
    named = [p.name for p in parameters if p.kind not in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)]
    return named, any(p.kind is kinds.VAR_KEYWORD for p in parameters)


def _parameters(module: Any, names: Sequence[str]) -> list[str]:
    known, _ = _open_parameters(module)
    for name in names:
        if name not in known:
            raise InputError(f"The module's forward has no parameter `{name}`. {nearest(name, known)}")
    return [name for name in known if name in names]


def _first_parameters(module: Any, count: int) -> list[str]:
    known, _ = _open_parameters(module)
    if len(known) < count:
        raise InputError(f"The samples have {count} inputs, but the module's forward takes {len(known)}: {known}.")
    return known[:count]


def as_tensor(value: Any) -> Any:
    """A tensor of an array (copied only where torch must: read-only or negative strides), or the tensor itself."""
    import torch

    if isinstance(value, torch.Tensor):
        return value
    array = np.asarray(value)
    return torch.from_numpy(array if array.flags.writeable and array.flags.c_contiguous else np.array(array))


def as_numpy(tensor: Any) -> npt.NDArray[Any]:
    """A numpy array of a tensor; bfloat16, which numpy lacks, becomes float32."""
    import torch

    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    array: npt.NDArray[Any] = tensor.numpy()
    return array
