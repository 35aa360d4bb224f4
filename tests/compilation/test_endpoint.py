"""The engine that is a running server: the right request goes out, and each failure has its name."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from accel.compilation import _v2 as v2
from accel.compilation._http import Failed, Place
from accel.compilation.endpoint import FAILURES, NUMBER, Endpoint, EndpointEngine, write_calls
from accel.errors import VariantError
from tests.known_server import KnownServer


def opened(
    server: KnownServer, folder: Path, *, answer_type: str = "application/json", **fields: object
) -> EndpointEngine:
    bodies = [v2.encode({"x": np.full((1, 4), i, np.float32)}, binary=i % 2 == 1) for i in range(4)]
    place = Place(scheme="http", host="127.0.0.1", port=server.port)
    write_calls(folder, place, "/v2/models/small/infer", "/v2/health/live", bodies, answer_type)
    return Endpoint(url=server.v2_url, **fields).open(folder)  # type: ignore[arg-type]


def ask(engine: EndpointEngine, number: int) -> None:
    engine.run({NUMBER: np.array([number])})


@pytest.fixture
def server() -> Iterator[KnownServer]:
    with KnownServer() as server:
        yield server


def test_the_request_of_the_number_goes_out(server: KnownServer, tmp_path: Path) -> None:
    engine = opened(server, tmp_path)
    for number in (2, 0):
        ask(engine, number)
    assert [x.ravel().tolist() for x in server.seen] == [[2.0] * 4, [0.0] * 4]
    assert server.connections == 1
    engine.close()


def test_the_headers_belong_to_their_body(server: KnownServer, tmp_path: Path) -> None:
    """Bodies 1 and 3 are binary: read as JSON they would be refused."""
    engine = opened(server, tmp_path, answer_type="application/octet-stream")
    for number in (1, 3):
        ask(engine, number)
    assert [x.ravel().tolist() for x in server.seen] == [[1.0] * 4, [3.0] * 4]
    engine.close()


def test_failures_have_names_and_are_written_down(server: KnownServer, tmp_path: Path) -> None:
    replies = [(503, "application/json", b"{}"), (200, "text/html", b"<p>"), (0, "", b""), None]
    server.misbehave = lambda number: replies[number]
    engine = opened(server, tmp_path)
    kinds = ["HTTP 503", "answered with text/html instead of application/json", "connection closed without an answer"]
    for kind in kinds:
        with pytest.raises(Failed, match=kind):
            ask(engine, 0)
    ask(engine, 0)
    engine.close()
    assert (tmp_path / FAILURES).read_text().splitlines() == kinds


def test_the_cheapest_calls_send_no_sample(server: KnownServer, tmp_path: Path) -> None:
    for call in ("live", "connect"):
        engine = opened(server, tmp_path / call, call=call)
        ask(engine, 0)
        engine.close()
    assert server.asked == 0
    # The server's thread counts a connection after the caller has made it.
    ends = time.monotonic() + 10
    while server.connections < 2 and time.monotonic() < ends:
        time.sleep(0.01)
    assert server.connections == 2


def test_it_says_that_it_may_be_called_by_several_threads_one_item_each(server: KnownServer, tmp_path: Path) -> None:
    engine = opened(server, tmp_path)
    assert engine.parallel_runs
    assert engine.sizes == (1,)
    assert engine.effective.detail["url"] == server.v2_url
    engine.close()


def test_nothing_is_built_for_a_server(tmp_path: Path) -> None:
    with pytest.raises(VariantError, match="not built from a model"):
        Endpoint().build(None, tmp_path)  # type: ignore[arg-type]
    with pytest.raises(VariantError, match="holds no artefact"):
        Endpoint().open(tmp_path)
