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
    """`count` sample rows, the longest first where items are ragged (repeated if there are fewer), as a batch."""
    order = _by_length(samples)
    return samples.batch([order[i % samples.count] for i in range(count)])


def shortest(samples: Samples) -> Arrays | None:
    """The shortest sample as a batch of 1; None where all have one length."""
    return samples.batch([_by_length(samples)[-1]]) if samples.ragged else None


def _by_length(samples: Samples) -> list[int]:
    lengths = sum(samples.lengths.values(), np.zeros(samples.count, np.int64))
    return [int(i) for i in np.argsort(-lengths, kind="stable")]


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
    found = [Tensor(name, dtype_name(value), _output_shape(value, lead)) for name, value in outputs.items()]
    return Signature(inputs=tuple(inputs), outputs=tuple(found), batch=batch)


def _output_shape(value: Any, lead: int | str) -> tuple[int | str, ...]:
    shape = [int(size) for size in value.shape]
    return (lead, *shape[1:]) if shape else ()


def with_free_outputs(
    signature: Signature,
    run: Callable[[Mapping[str, npt.NDArray[Any]]], Mapping[str, Any]],
    long: Arrays,
    short: Arrays,
) -> Signature:
    """The signature with names for the output axes that differ between a long and a short item.

    An axis as long as a ragged input axis bears its name, another one a name of its own.
    """
    words = {
        long[t.name].shape[axis]: size
        for t in signature.inputs
        for axis, size in enumerate(t.shape)
        if axis and isinstance(size, str)
    }
    lead = 1 if signature.batch == "any" else signature.batch
    one, _ = _tried(run, long, lead)
    other, failure = _tried(run, short, lead)
    if one is None or other is None:
        raise VariantError(f"the model fails on the shortest sample: {failure}", "Check that it takes every length.")
    found = [_freed(t, one[t.name].shape, other[t.name].shape, words) for t in signature.outputs]
    return Signature(inputs=signature.inputs, outputs=tuple(found), batch=signature.batch)


def _freed(tensor: Tensor, long: tuple[int, ...], short: tuple[int, ...], words: Mapping[int, str]) -> Tensor:
    shape = list(tensor.shape)
    for axis, (one, other) in enumerate(zip(long, short, strict=True)):
        if axis and one != other:
            shape[axis] = words.get(one, f"{tensor.name}_{axis}")
    return Tensor(tensor.name, tensor.dtype, tuple(shape))


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
