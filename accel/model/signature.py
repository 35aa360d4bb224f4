"""What goes in and what comes out: read from a graph, or seen by running a module or a function at batch 1 and 2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from accel.errors import InputError, VariantError
from accel.model.types import Signature, Tensor
from accel.samples.store import Samples

Arrays = dict[str, npt.NDArray[Any]]
BATCH = "batch"


def rows(samples: Samples, count: int) -> Arrays:
    """`count` sample rows (repeated from the start if there are fewer), as a batch."""
    return samples.batch([i % samples.count for i in range(count)])


def observed(
    run: Callable[[Mapping[str, npt.NDArray[Any]]], Mapping[str, Any]],
    example: Arrays,
    free: Mapping[str, Mapping[int, str]],
) -> Signature:
    """The signature of something that can only be run.

    run: named arrays in, named arrays (or tensors) out. example: arrays of the batch size it came with, which is used
    where batch 1 doesn't run. free: input name -> {axis: name} of axes besides the batch that vary between samples.
    The batch is "any" if batches of 1 and 2 both run and every output follows; else the one size that ran.
    """
    given = len(next(iter(example.values())))
    one, failure = _tried(run, example, 1)
    if one is None and given > 1:
        whole, failure = _tried(run, example, given)
        if whole is not None:
            return _described(example, whole, given, free, {})
    if one is None:
        raise VariantError(f"the model fails on the samples: {failure}", "Check that the samples fit the model.")
    two, _ = _tried(run, example, 2)
    follows = two is not None and all(_leads(one[n], 1) and n in two and _leads(two[n], 2) for n in one)
    if not follows or two is None:
        return _described(of_size(example, 1), one, 1, free, {})
    return _described(of_size(example, 1), one, "any", free, two)


def fixed_at(
    run: Callable[[Mapping[str, npt.NDArray[Any]]], Mapping[str, Any]],
    example: Arrays,
    free: Mapping[str, Mapping[int, str]],
) -> Signature:
    """The signature of something known to take the example's batch size only."""
    size = len(next(iter(example.values())))
    whole, failure = _tried(run, example, size)
    if whole is None:
        raise VariantError(f"the model fails on an example of its own shapes: {failure}")
    return _described(example, whole, size, free, {})


def _tried(run: Callable[[Arrays], Mapping[str, Any]], example: Arrays, size: int) -> tuple[dict[str, Any] | None, str]:
    try:
        return dict(run(of_size(example, size))), ""
    except InputError:
        raise
    except Exception as error:  # whatever the user's code raises
        return None, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def of_size(example: Arrays, size: int) -> Arrays:
    """`size` rows of an example, repeated from the start if it has fewer."""
    return {name: np.take(a, np.arange(size) % len(a), axis=0) for name, a in example.items()}


def _leads(array: Any, size: int) -> bool:
    return len(array.shape) > 0 and int(array.shape[0]) == size


def _described(
    example: Arrays,
    outputs: Mapping[str, Any],
    batch: int | Literal["any"],
    free: Mapping[str, Mapping[int, str]],
    two: Mapping[str, Any],
) -> Signature:
    lead: int | str = BATCH if batch == "any" else batch
    inputs = []
    for name, array in example.items():
        shape = [free.get(name, {}).get(axis, size) for axis, size in enumerate(array.shape)]
        inputs.append(Tensor(name, array.dtype.name, (lead, *shape[1:])))
    lengths = {array.shape[axis]: word for n, array in example.items() for axis, word in free.get(n, {}).items()}
    found = [Tensor(name, dtype_name(value), _output_shape(value, lead, lengths)) for name, value in outputs.items()]
    return Signature(inputs=tuple(inputs), outputs=tuple(found), batch=batch)


def _output_shape(value: Any, lead: int | str, lengths: Mapping[int, str]) -> tuple[int | str, ...]:
    """An output axis as long as a ragged input axis is taken to follow it; the exported graph says for certain."""
    shape = [int(size) for size in value.shape]
    return (lead, *(lengths.get(size, size) for size in shape[1:])) if shape else ()


def dtype_name(value: Any) -> str:
    """The numpy name of an array's or tensor's dtype; bfloat16 arrives as float32."""
    name = str(value.dtype).removeprefix("torch.")
    return "float32" if name == "bfloat16" else name


def free_axes(samples: Samples) -> dict[str, dict[int, str]]:
    """Ragged axes with names; inputs whose items have the same lengths share a name, so that they vary together."""
    known: list[tuple[npt.NDArray[np.int64], str]] = []
    free: dict[str, dict[int, str]] = {}
    for name, axis in samples.ragged.items():
        lengths = samples.lengths[name]
        word = next((w for other, w in known if np.array_equal(other, lengths)), None)
        if word is None:
            word = "length" if not known else f"length_{len(known)}"
            known.append((lengths, word))
        free[name] = {axis + 1: word}
    return free


def from_onnx(graph: Any) -> Signature:
    """From an ONNX graph: an unknown or named axis 0 of every input means any batch; a number means that batch."""
    from onnx import helper

    weights = {t.name for t in graph.initializer}
    inputs = [_value_info(v, helper) for v in graph.input if v.name not in weights]
    return _from_tensors(inputs, [_value_info(v, helper) for v in graph.output])


def _value_info(value: Any, helper: Any) -> Tensor:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        raise InputError(f"`{value.name}` of the model isn't a tensor, which accel can't feed. Export it with tensors.")
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type)).name
    dims: list[int | str] = []
    for axis, dim in enumerate(kind.shape.dim):
        known = dim.HasField("dim_value") and dim.dim_value > 0
        dims.append(int(dim.dim_value) if known else dim.dim_param or f"{value.name}_{axis}")
    return Tensor(value.name, dtype, tuple(dims))


def from_openvino(model: Any) -> Signature:
    """From an OpenVINO model, by the same rule."""
    return _from_tensors(
        [_port(p, i, "input") for i, p in enumerate(model.inputs)],
        [_port(p, i, "output") for i, p in enumerate(model.outputs)],
    )


def port_name(port: Any, index: int, word: str) -> str:
    """The name of an OpenVINO input or output: its own if it has one, else `input_0` or `output_0`."""
    names = sorted(port.get_names())
    return names[0] if names else f"{word}_{index}"


def _port(port: Any, index: int, word: str) -> Tensor:
    name = port_name(port, index, word)
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        raise InputError(f"`{name}` of the model has no known number of axes. Export it with shapes.")
    dims = [int(d.get_length()) if d.is_static else f"{name}_{axis}" for axis, d in enumerate(shape)]
    return Tensor(name, np.dtype(port.get_element_type().to_dtype()).name, tuple(dims))


def _from_tensors(inputs: list[Tensor], outputs: list[Tensor]) -> Signature:
    if not inputs:
        raise InputError("The model has no inputs, so there is nothing to measure.")
    for tensor in inputs:
        if not tensor.shape:
            raise InputError(
                f"Input `{tensor.name}` of the model has no axes, so it has no batch. Export the model with it fixed."
            )
    leads = [t.shape[0] for t in inputs]
    fixed = {a for a in leads if isinstance(a, int)}
    if len(fixed) > 1:
        raise InputError(
            f"The model's inputs want different batches ({', '.join(map(str, inputs))}); axis 0 must be the batch."
        )
    batch: int | Literal["any"] = fixed.pop() if fixed else "any"
    if batch != "any":
        return Signature(inputs=tuple(_leading(t, batch) for t in inputs), outputs=tuple(outputs), batch=batch)
    return Signature(
        inputs=tuple(_leading(t, BATCH) for t in inputs),
        outputs=tuple(_leading(t, BATCH) if t.shape and isinstance(t.shape[0], str) else t for t in outputs),
        batch=batch,
    )


def _leading(tensor: Tensor, lead: int | str) -> Tensor:
    return Tensor(tensor.name, tensor.dtype, (lead, *tensor.shape[1:]))
