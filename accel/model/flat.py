"""A torch module as a function of tensors to tensors, as compilers and exporters like it."""

from __future__ import annotations

import inspect
from typing import Any

from accel.model.tree import Tree


def flat_module(module: Any, inputs: Tree, signature: inspect.Signature) -> Any:
    """An nn.Module: forward(*tensors) -> tuple of the tensors in what `module` returns, in the order of its leaves.

    How the call is put together is worked out here, once, so that a compiler sees little but the module itself.
    """
    import torch
    from torch.utils import _pytree as pytree

    plain = all(name is not None for name in inputs.names) and inputs.spec.num_leaves == len(_parts(inputs))
    by_position, by_name = _plan(inputs, signature)

    class Flat(torch.nn.Module):  # type: ignore[misc]  # torch is imported late
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *tensors: Any) -> tuple[Any, ...]:
            if plain:
                value = self.inner(*tensors[:by_position], **dict(zip(by_name, tensors[by_position:], strict=True)))
            else:
                arguments = inputs.build(dict(zip(inputs.tensor_names, tensors, strict=True)))
                bound = inspect.BoundArguments(signature, arguments)
                value = self.inner(*bound.args, **bound.kwargs)
            return tuple(leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor))

    return Flat().eval()


def _parts(inputs: Tree) -> list[str]:
    """The parameters that are given a value."""
    return list(inputs.spec.context)


def _plan(inputs: Tree, signature: inspect.Signature) -> tuple[int, tuple[str, ...]]:
    """How many of the given parameters go by position (the leading ones without a gap), and the names of the rest."""
    given, count = _parts(inputs), 0
    for parameter in signature.parameters.values():
        by_position = parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        if not by_position or count >= len(given) or given[count] != parameter.name:
            break
        count += 1
    return count, tuple(given[count:])
