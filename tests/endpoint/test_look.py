"""What a URL means, what the server behind it says of itself, and the sentence for each way to be wrong."""

from __future__ import annotations

from http.client import HTTPMessage
from typing import Any

import numpy as np
import pytest

from accel.compilation import _v2 as v2
from accel.compilation._http import Answer, Place
from accel.endpoint.bodies import build
from accel.endpoint.look import Server, look, signature, still_answers, told
from accel.errors import InputError, NothingMeasured
from tests.known_server import METADATA, KnownServer


def test_a_model_of_the_v2_protocol() -> None:
    with KnownServer() as server:
        found = look(f"127.0.0.1:{server.port}/v2/models/small/infer")
        assert found.url == f"{server.v2_url}/infer"
        assert (found.protocol, found.binary, found.live) == ("v2", False, "/v2/health/live")
        assert found.metadata is not None
        assert found.metadata.inputs[0].shape == [-1, 4]
        assert look(f":{server.port}/v2/models/small").local
        assert look(server.v2_url, "v2-binary").binary
        assert look(server.v2_url, "json").protocol == "json"


def test_binary_tensors_are_used_where_they_are_offered() -> None:
    with KnownServer(binary=True) as server:
        assert look(server.v2_url).binary
        assert not look(server.v2_url, "v2").binary


def test_any_other_url_is_posted_to_as_it_is() -> None:
    with KnownServer() as server:
        found = look(f"{server.json_url}?top=3")
    assert (found.protocol, found.path, found.live) == ("json", "/predict?top=3", "")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://127.0.0.1/x", "must be a URL"),
        ("http://", "must be a URL"),
        ("http://127.0.0.1:99999/x", "is no URL"),
        ("http://me:secret@127.0.0.1/x", "sends no credentials"),
        ("http://127.0.0.1/a\r\nb", "must be a URL"),
        ("http://127.0.0.1:1/v2/models/m", "Nothing listens at 127.0.0.1:1"),
        ("http://no.such.host.invalid/v2/models/m", "The host `no.such.host.invalid` is unknown"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(url: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as raised:
        look(url)
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_server_without_that_model_or_without_a_model_named() -> None:
    with KnownServer() as server:
        with pytest.raises(InputError, match=r"`nope`.*HTTP 404 \(not here\)"):
            look(f"{server.base}/v2/models/nope")
        with pytest.raises(InputError, match="Name the model"):
            look(server.base)
        with pytest.raises(InputError, match="names no model"):
            look(server.json_url, "v2")
        with pytest.raises(InputError, match="--protocol"):
            look(server.json_url, "grpc")


def test_metadata_that_is_none() -> None:
    with KnownServer(metadata={"hello": 1}) as server, pytest.raises(InputError, match="not with a model's metadata"):
        look(server.v2_url)


def test_a_silent_server_is_not_the_users_fault() -> None:
    with KnownServer(service_s=1.0) as server:
        found = look(server.v2_url)
        assert "timed out" in still_answers(found, (b"{}", {}), 0.05)


def described(**changes: Any) -> v2.ModelMetadata:
    told = {**METADATA["inputs"][0], **changes}  # type: ignore[dict-item]
    return v2.ModelMetadata(name="m", inputs=[v2.TensorMetadata(told["name"], told["datatype"], told["shape"])])


def test_a_shape_without_a_batch_axis_takes_the_item_as_it_is() -> None:
    known, batched = signature(described(shape=[4]), {"x": (2, "<f4")})
    assert not batched
    assert known.inputs[0].shape == ("batch", 4)
    _, batched = signature(described(shape=[-1, 4]), {"x": (2, "<f4")})
    assert batched


def test_models_that_cannot_be_asked_are_said() -> None:
    with pytest.raises(InputError, match="batches of 8 only"):
        signature(described(shape=[8, 4]), {"x": (2, "<f4")})
    with pytest.raises(InputError, match="is BF16"):
        signature(described(datatype="BF16"), {"x": (2, "<f4")})


def server_of(metadata: v2.ModelMetadata | None, *, binary: bool = False) -> Server:
    return Server(
        url="http://127.0.0.1:1/x",
        place=Place(scheme="http", host="127.0.0.1", port=1),
        path="/x",
        live="",
        protocol="json" if metadata is None else "v2",
        binary=binary,
        metadata=metadata,
    )


def test_the_server_of_another_machine_is_known_as_such() -> None:
    assert server_of(None).local
    other = Place(scheme="http", host="192.0.2.7", port=80)
    assert not Server(url="", place=other, path="/", live="", protocol="json").local


def test_statuses_say_who_has_to_change_something() -> None:
    from http.client import HTTPMessage

    from accel.compilation._http import Answer
    from accel.endpoint.look import refused

    def answer(status: int, body: bytes = b'{"error": "why"}') -> Answer:
        return Answer(status, "application/json", HTTPMessage(), body, False)

    assert isinstance(refused(answer(500), "It"), NothingMeasured)
    assert isinstance(refused(answer(503), "It"), NothingMeasured)
    for status in (302, 400, 404, 422):
        assert isinstance(refused(answer(status), "It"), InputError)
    assert "credentials" in str(refused(answer(401), "It"))
    assert "HTTP 400 (why)" in str(refused(answer(400), "It"))
    assert "HTTP 400 (plain)" in str(refused(answer(400, b"plain"), "It"))


def test_unbatched_bodies_have_no_batch_axis() -> None:
    import json

    found = build({"x": np.ones((3, 4), np.float32)}, server_of(described(shape=[4])))
    assert [json.loads(body)["inputs"][0]["shape"] for body, _ in found.bodies] == [[4]] * 3


@pytest.mark.parametrize("body", [b'"\xff"', b"[" * 200_000])
def test_the_body_of_an_error_may_be_anything(body: bytes) -> None:
    assert told(Answer(500, "", HTTPMessage(), body, False)).startswith("HTTP 500 (")
