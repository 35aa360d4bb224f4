"""What each request carries: one sample, at its real length, as the server takes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accel.compilation import _v2 as v2
from accel.endpoint import bodies
from accel.endpoint.bodies import build
from accel.errors import InputError
from tests.endpoint.test_look import described, server_of

JSON = server_of(None)


def told(given: Any, **changes: Any) -> list[Any]:
    return [json.loads(body) for body, _ in build(given, server_of(described(**changes))).bodies]


def test_v2_sends_one_sample_a_request_under_the_models_name() -> None:
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    assert told({"x": x}) == [
        {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": x[i].tolist()}]} for i in range(2)
    ]
    assert told({"other": x}) == told({"x": x})


def test_ragged_samples_go_at_their_real_length() -> None:
    given = [{"x": np.arange(n, dtype=np.int64)} for n in (2, 5, 1)]
    found = told(given, datatype="INT64", shape=[-1, -1])
    assert [f["inputs"][0]["shape"] for f in found] == [[1, 2], [1, 5], [1, 1]]
    assert found[1]["inputs"][0]["data"] == [0, 1, 2, 3, 4]


def test_texts_go_as_bytes() -> None:
    found = told({"x": np.array([["a"], ["longer"]])}, datatype="BYTES", shape=[-1, 1])
    assert [f["inputs"][0]["data"] for f in found] == [["a"], ["longer"]]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"x": np.ones((2, 5), np.float32)}, "axis 1 must be 4"),
        ({"x": np.ones((2, 4)), "y": np.ones(3)}, "as many samples"),
        ({"x": np.full((2, 4), 10**12)}, "can't be converted safely"),
        ({"x": np.full((2, 4), np.nan, np.float32)}, "NaN or infinity"),
        ({"x": np.ones((0, 4), np.float32)}, "at least one"),
        (None, "needs --samples"),
    ],
)
def test_what_the_model_does_not_take_is_one_sentence(given: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        build(given, server_of(described()))


def test_arrays_named_like_outputs_are_what_answers_should_hold() -> None:
    metadata = v2.ModelMetadata(name="m", inputs=described().inputs, outputs=[v2.TensorMetadata("y", "FP32", [-1, 3])])
    x, y = np.ones((2, 4), np.float32), np.zeros((2, 3), np.float32)
    found = build({"x": x, "y": y, "labels": np.array([0, 1])}, server_of(metadata))
    assert list(found.expected) == ["y"]
    assert found.labels is not None
    assert found.names == ("x",)


def test_plain_json_sends_lines_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "bodies.jsonl"
    path.write_text('{"a": 1}\n\n[2,  3]\n')
    found = build(path, JSON)
    assert [body for body, _ in found.bodies] == [b'{"a": 1}', b"[2,  3]"]
    assert found.bodies[0][1] == {"Content-Type": "application/json"}
    path.write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(InputError, match="line 2 is no JSON"):
        build(path, JSON)
    path.write_text("\n")
    with pytest.raises(InputError, match="are empty"):
        build(path, JSON)
    with pytest.raises(InputError, match="can't be read"):
        build(tmp_path / "none.jsonl", JSON)


def test_plain_json_of_a_list_and_of_arrays() -> None:
    assert [json.loads(b) for b, _ in build([{"t": "a", "v": np.arange(2)}, {"t": "b", "v": 3}], JSON).bodies] == [
        {"t": "a", "v": [0, 1]},
        {"t": "b", "v": 3},
    ]
    found = build({"x": np.arange(4).reshape(2, 2), "labels": np.array([1, 0])}, JSON)
    assert [json.loads(b) for b, _ in found.bodies] == [{"x": [0, 1]}, {"x": [2, 3]}]
    with pytest.raises(InputError, match="of type `object`"):
        build([{"t": object()}], JSON)


def test_requests_are_kept_to_what_fits_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MOST_BYTES", 25)
    found = build([{"text": "abcd"}] * 9, JSON)
    assert len(found.bodies) == 1
    assert "first 1 samples" in found.notes[0]
    monkeypatch.setattr(bodies, "MOST_ITEMS", 4)
    monkeypatch.setattr(bodies, "MOST_BYTES", 10**6)
    assert len(build([{"text": "abcd"}] * 9, JSON).bodies) == 4


def test_labels_that_do_not_belong_to_the_samples() -> None:
    x = np.zeros((3, 4), np.float32)
    for server in (JSON, server_of(described())):
        with pytest.raises(InputError, match="2 labels, but 3 samples"):
            build({"x": x, "labels": np.zeros(2, np.int64)}, server)
