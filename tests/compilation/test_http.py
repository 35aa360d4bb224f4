"""Requests over kept connections: whole, to whom they are meant for, and with one text for each way to fail."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from accel.compilation import _v2 as v2
from accel.compilation._http import Connection, Failed, Place, Pool, request, resolve
from tests.known_server import KnownServer

PATH = "/v2/models/small/infer"


def place_of(port: int) -> Place:
    return Place(scheme="http", host="127.0.0.1", port=port)


def infer(place: Place, value: float) -> bytes:
    body, headers = v2.encode({"x": np.full((1, 4), value, np.float32)}, binary=False)
    return request("POST", place, PATH, body, headers)


@contextlib.contextmanager
def raw_server(*replies: bytes) -> Iterator[int]:
    """Answers the first connections with these bytes, whatever they ask, and hangs up; the rest is left waiting."""
    listening = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        for reply in replies:
            with contextlib.suppress(OSError):
                connection, _ = listening.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(reply)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.close()


def test_a_request_is_one_piece_with_its_length() -> None:
    sent = request("POST", Place(scheme="http", host="::1", port=80), "/a", b"{}", {"Content-Type": "application/json"})
    head, _, body = sent.partition(b"\r\n\r\n")
    assert body == b"{}"
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /a HTTP/1.1"
    assert {b"Host: [::1]", b"Content-Length: 2", b"Content-Type: application/json"} <= set(lines)


def test_requests_share_one_connection_while_one_is_enough() -> None:
    with KnownServer() as server:
        pool = Pool(place_of(server.port), 5.0)
        for value in range(5):
            answer = pool.exchange(infer(place_of(server.port), value))
            assert (answer.status, answer.type, answer.closes) == (200, "application/json", False)
            assert v2.decode(answer.body)["y"].tolist() == [[value] * 3]
        assert server.connections == 1
        pool.close()


def test_each_thread_gets_the_answer_to_its_own_request() -> None:
    with KnownServer(service_s=0.001, workers=4) as server:
        place = place_of(server.port)
        pool = Pool(place, 10.0)

        def one(value: int) -> bool:
            return v2.decode(pool.exchange(infer(place, value)).body)["y"].tolist() == [[value] * 3]

        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(one, range(200)))
        assert 1 <= server.connections <= 8
        pool.close()


def test_a_server_that_closes_gets_a_new_connection_each_time() -> None:
    with KnownServer(keep_alive=False) as server:
        pool = Pool(place_of(server.port), 5.0)
        assert [pool.exchange(infer(place_of(server.port), 1)).closes for _ in range(3)] == [True] * 3
        assert server.connections == 3


def test_a_connection_that_was_hung_up_while_idle_costs_no_request() -> None:
    """The server ends the kept connection between two requests: the next is sent once, over a new one."""
    with KnownServer() as server:
        place = place_of(server.port)
        pool = Pool(place, 5.0)
        pool.exchange(infer(place, 1))
        server.hang_up()
        idle = pool._idle[0]
        assert idle._readable.poll(5000)
        assert idle.is_stale()
        assert pool.exchange(infer(place, 2)).status == 200
        assert server.asked == 2
        pool.close()


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (b"", "connection closed without an answer"),
        (b"SSH-2.0-nonsense\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "the answer was cut off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n", "the answer is too large"),
    ],
)
def test_each_way_to_fail_has_one_text(reply: bytes, said: str) -> None:
    with raw_server(reply) as port:
        connection = Connection(place_of(port), 5.0)
        with pytest.raises(Failed, match=said):
            connection.exchange(b"GET / HTTP/1.1\r\n\r\n", "GET")
        assert connection.closed


def test_silence_is_a_timeout() -> None:
    with raw_server() as port, pytest.raises(Failed, match="timed out after 50 ms"):
        Connection(place_of(port), 0.05).exchange(b"GET / HTTP/1.1\r\n\r\n", "GET")


def test_where_nobody_listens_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(Failed, match="connection refused"):
        Connection(place_of(port), 1.0)


def test_a_name_nobody_knows() -> None:
    with pytest.raises(Failed, match="the host is unknown"):
        resolve(Place(scheme="http", host="no.such.host.invalid", port=80))


def test_plain_http_where_tls_was_asked_for() -> None:
    with raw_server(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port, pytest.raises(Failed, match="TLS failed"):
        Connection(Place(scheme="https", host="127.0.0.1", port=port), 5.0)
