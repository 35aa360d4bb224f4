"""Open Inference Protocol v2: what is written can be read, byte for byte as the specification has it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from accel.compilation import _v2 as v2
from accel.errors import InputError, VariantError

DTYPES = sorted(v2.NAMES)
any_array = st.sampled_from(DTYPES).flatmap(
    lambda dtype: arrays.arrays(
        np.dtype(dtype),
        arrays.array_shapes(max_dims=3, max_side=3),
        elements={"allow_nan": False, "allow_infinity": False} if dtype.startswith("float") else None,
    )
)


def as_answer(body: bytes, headers: dict[str, str]) -> tuple[bytes, str | None]:
    """A request's tensors as an answer's: the two have the same form."""
    length = int(headers.get(v2.HEADER_LENGTH, len(body)))
    told = json.loads(body[:length])
    head = json.dumps({"outputs": told["inputs"]}).encode()
    return head + body[length:], str(len(head)) if v2.HEADER_LENGTH in headers else None


@given(value=any_array, other=any_array, binary=st.booleans())
def test_what_is_written_is_read_again(value: np.ndarray, other: np.ndarray, binary: bool) -> None:
    if not binary and np.float16 in (value.dtype, other.dtype):
        return
    found = v2.decode(*as_answer(*v2.encode({"a": value, "b": other}, binary=binary)))
    for name, wanted in (("a", value), ("b", other)):
        np.testing.assert_array_equal(found[name], wanted)
        assert found[name].dtype == wanted.dtype


def test_a_binary_request_by_hand() -> None:
    body, headers = v2.encode({"x": np.array([[1, 2]], np.int16)}, binary=True)
    length = int(headers["Inference-Header-Content-Length"])
    assert body[length:] == b"\x01\x00\x02\x00"
    told = json.loads(body[:length])
    assert told["parameters"] == {"binary_data_output": True}
    assert told["inputs"] == [
        {"name": "x", "shape": [1, 2], "datatype": "INT16", "parameters": {"binary_data_size": 4}}
    ]


def test_texts_by_hand() -> None:
    text = np.array([["ab", "ü"]])
    body, headers = v2.encode({"t": text}, binary=True)
    length = int(headers[v2.HEADER_LENGTH])
    assert body[length:] == b"\x02\x00\x00\x00ab\x02\x00\x00\x00\xc3\xbc"
    assert v2.decode(*as_answer(body, headers))["t"].tolist() == [[b"ab", "ü".encode()]]
    body, headers = v2.encode({"t": text}, binary=False)
    assert json.loads(body)["inputs"][0] == {"name": "t", "shape": [1, 2], "datatype": "BYTES", "data": ["ab", "ü"]}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.array([np.nan], np.float32), "NaN or infinity"),
        (np.array([1.0], np.float16), "v2-binary"),
        (np.array([1j]), "no name for complex128"),
    ],
)
def test_what_json_cannot_carry_is_said(value: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=said):
        v2.encode({"x": value}, binary=False)


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[]", b"{}", b'{"outputs": [{"name": "y"}]}', b'{"outputs": 3}', b"\xff",
     b'{"outputs": [{"name": "y", "datatype": "FP32", "shape": [2], "data": [1]}]}',
     b'{"outputs": [{"name": "y", "datatype": "XP", "shape": [1], "data": [1]}]}',
     b'{"outputs": [{"name": "y", "datatype": "UINT8", "shape": [1], "data": [300]}]}',
     b'{"outputs": [{"name": "y", "datatype": "INT64", "shape": [1], "data": [1e300]}]}', b"[" * 200_000],
)  # fmt: skip
def test_no_answer_of_the_protocol_is_one_sentence(body: bytes) -> None:
    with pytest.raises(VariantError, match="no answer of the v2 protocol"):
        v2.decode(body)


def test_a_header_that_only_looks_like_a_length() -> None:
    with pytest.raises(VariantError, match="no answer of the v2 protocol"):
        v2.decode(b'{"outputs": []}', "\xb2")


def test_an_answer_without_outputs_is_no_answer() -> None:
    with pytest.raises(VariantError, match="no outputs"):
        v2.decode(b'{"outputs": []}')


def test_parameters_may_be_null() -> None:
    body = b'{"outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "parameters": null, "data": [2]}]}'
    assert v2.decode(body)["y"].tolist() == [2.0]
