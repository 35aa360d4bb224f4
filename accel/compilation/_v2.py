"""Open Inference Protocol v2 over REST: how a request is written and an answer read, as JSON or with binary tensors.

Source: the protocol's REST specification (open-inference-protocol, `specification/protocol/inference_rest.md`) and
Triton's binary tensor data extension.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from accel.compilation import Arrays
from accel.errors import InputError, VariantError

Array = npt.NDArray[Any]
DTYPES = {
    "BOOL": "bool",
    **{f"{sign}INT{bits}": f"{sign.lower()}int{bits}" for sign in ("U", "") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": f"float{bits}" for bits in (16, 32, 64)},
}
_UNREADABLE = (
    *(msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError),
    *(OverflowError, RecursionError, MemoryError, struct.error),
)
NAMES = {numpy: name for name, numpy in DTYPES.items()}
TEXT = "BYTES"
HEADER_LENGTH = "Inference-Header-Content-Length"
BINARY_EXTENSION = "binary_tensor_data"


class TensorMetadata(msgspec.Struct, frozen=True):
    """One input or output as the server describes it; -1 in the shape may be any size."""

    name: str
    datatype: str
    shape: list[int] = []


class ModelMetadata(msgspec.Struct, frozen=True):
    """What GET v2/models/NAME says."""

    name: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata] = []
    platform: str = ""
    versions: list[str] = []


class ServerMetadata(msgspec.Struct, frozen=True):
    """What GET v2 says."""

    name: str = ""
    version: str = ""
    extensions: list[str] = []


def encode(inputs: Mapping[str, Array], *, binary: bool) -> tuple[bytes, dict[str, str]]:
    """The body of one inference request, and its headers.

    inputs: arrays with the shapes the model takes; text arrays become BYTES. binary: tensors follow the JSON as raw
    little-endian bytes, and the answer is asked for in the same way.
    Raises InputError for a dtype the protocol has no name for, and for NaN or infinity, which JSON can't hold.

    >>> encode({"x": np.array([[1.0, 2.0]], np.float32)}, binary=False)[0]
    b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1.0,2.0]}]}'
    """
    described: list[dict[str, Any]] = []
    blobs: list[bytes] = []
    for name, array in inputs.items():
        entry: dict[str, Any] = {"name": name, "shape": list(array.shape), "datatype": _datatype(name, array)}
        if binary:
            blobs.append(_raw(array))
            entry["parameters"] = {"binary_data_size": len(blobs[-1])}
        else:
            entry["data"] = _listed(name, array)
        described.append(entry)
    asked: dict[str, Any] = {"parameters": {"binary_data_output": True}} if binary else {}
    head = msgspec.json.encode({**asked, "inputs": described})
    if not binary:
        return head, {"Content-Type": "application/json"}
    return head + b"".join(blobs), {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(head))}


def decode(body: bytes, header_length: str | None = None) -> Arrays:
    """The outputs of an answer by name; header_length: what its header of that name says, None for plain JSON.

    Raises VariantError for a body that is no v2 answer.
    """
    try:
        length = int(header_length) if header_length and header_length.isdigit() else len(body)
        told = msgspec.json.decode(body[:length])
        found, at = {}, length
        for output in told["outputs"]:
            size = (output.get("parameters") or {}).get("binary_data_size")
            raw = None if size is None else body[at : at + size]
            found[str(output["name"])] = _array(output, raw)
            at += size or 0
    except _UNREADABLE as error:
        said = f"{type(error).__name__}: {error}"
        raise VariantError(f"the answer is no answer of the v2 protocol ({said[:120]})") from None
    if not found:
        raise VariantError("the answer holds no outputs, so nothing was computed")
    return found


def _datatype(name: str, array: Array) -> str:
    if array.dtype.kind in "US":
        return TEXT
    if array.dtype.name not in NAMES:
        raise InputError(f"Input `{name}`: the v2 protocol has no name for {array.dtype}. Convert the samples.")
    return NAMES[array.dtype.name]


def _listed(name: str, array: Array) -> list[Any]:
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    if array.dtype == np.float16:
        raise InputError(
            f"Input `{name}`: the v2 protocol sends FP16 as binary tensors only. Use --protocol v2-binary."
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"Input `{name}` holds NaN or infinity, which JSON can't. Remove those samples.")
    values: list[Any] = array.ravel().tolist()
    return values


def _raw(array: Array) -> bytes:
    if array.dtype.kind in "US":
        texts = [v if isinstance(v, bytes) else str(v).encode() for v in array.ravel().tolist()]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def _array(output: dict[str, Any], raw: bytes | None) -> Array:
    shape, kind = tuple(output["shape"]), output["datatype"]
    if kind == TEXT:
        return np.array(output["data"] if raw is None else _texts(raw), object).reshape(shape)
    dtype = np.dtype(DTYPES[kind])
    if raw is None:
        return np.array(output["data"], dtype).reshape(shape)
    return np.frombuffer(raw, dtype.newbyteorder("<")).reshape(shape)


def _texts(raw: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(raw):
        (size,) = struct.unpack_from("<I", raw, at)
        found.append(raw[at + 4 : at + 4 + size])
        at += 4 + size
    return found
