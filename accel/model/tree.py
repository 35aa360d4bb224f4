"""Nested inputs and outputs of torch modules as flat, named tensors, and back."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec


class Tree(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """How a nested value is put together: its pytree, the name of each tensor leaf, and the value of the others.

    names: one per leaf; None for a leaf that isn't a tensor. constants: one per leaf; None for tensors.
    """

    spec: Any
    names: tuple[str | None, ...]
    constants: tuple[Any, ...]

    @property
    def tensor_names(self) -> tuple[str, ...]:
        """Names of the tensor leaves, in the order of the leaves."""
        return tuple(name for name in self.names if name is not None)

    def build(self, values: dict[str, Any]) -> Any:
        """The nested value again, with `values` in the place of the tensors."""
        from torch.utils import _pytree as pytree

        leaves = [c if n is None else values[n] for n, c in zip(self.names, self.constants, strict=True)]
        return pytree.tree_unflatten(leaves, self.spec)


def flatten(value: Any, *, root: str, taken: tuple[str, ...] = ()) -> tuple[Tree, dict[str, Any]]:
    """Take a nested value apart: its Tree and its tensors by name.

    A lone tensor is called `root`; others by their path, such as `logits` or `hidden.0`. Names in `taken` are avoided.
    """
    import torch
    from torch.utils import _pytree as pytree

    _register_dataclasses(value)
    paths, spec = pytree.tree_flatten_with_path(value)
    names: list[str | None] = []
    tensors: dict[str, Any] = {}
    for path, leaf in paths:
        if not isinstance(leaf, torch.Tensor):
            names.append(None)
            continue
        name = _unique(".".join(_word(key) for key in path) or root, root, (*taken, *tensors))
        names.append(name)
        tensors[name] = leaf
    constants = tuple(_constant(leaf) if n is None else None for n, (_, leaf) in zip(names, paths, strict=True))
    return Tree(spec=spec, names=tuple(names), constants=constants), tensors


def _word(key: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


def _unique(name: str, root: str, taken: tuple[str, ...]) -> str:
    if name[:1].isdigit():
        name = f"{root}.{name}"
    while name in taken:
        name += "_out"
    return name


def _constant(leaf: Any) -> Any:
    """Keep plain values; an object such as a cache belongs to one call and must not come back in another."""
    return leaf if leaf is None or isinstance(leaf, bool | int | float | str | bytes) else None


def register_types(tree: Tree) -> None:
    """Tell torch about the dataclasses of a structure that was made in another process."""
    specs = [tree.spec]
    while specs:
        spec = specs.pop()
        specs.extend(spec.children())
        _register(spec.type)


def _register(kind: Any) -> None:
    import torch
    from torch.utils import _pytree as pytree

    if dataclasses.is_dataclass(kind) and kind not in pytree.SUPPORTED_NODES and not issubclass(kind, dict):  # type: ignore[arg-type]
        torch.export.register_dataclass(kind)


def _register_dataclasses(value: Any) -> None:
    """Tell torch about dataclasses found in a value, so that it sees the tensors in them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        _register(type(value))
        for field in dataclasses.fields(value):
            _register_dataclasses(getattr(value, field.name))
    elif isinstance(value, dict):
        for item in value.values():
            _register_dataclasses(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _register_dataclasses(item)
