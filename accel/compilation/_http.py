"""One HTTP/1.1 request at a time over a connection that stays open; requests are built beforehand and sent whole.

No proxy of the environment is asked and no redirection followed: what answers is what was named.
"""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import ssl
from typing import NamedTuple

import msgspec

from accel.errors import VariantError
from accel.units import show_seconds

AGENT = "accel"


class Failed(VariantError):
    """A call that brought no answer; the text is one of a few, so that equal failures count together."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a server is: scheme ("http" or "https"), host and port as named."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = {"http": 80, "https": 443}[self.scheme]
        return host if self.port == usual else f"{host}:{self.port}"


class Answer(NamedTuple):
    """What came back: status, content type without its parameters, all headers, body, whether the connection ends."""

    status: int
    type: str
    headers: http.client.HTTPMessage
    body: bytes
    closes: bool


def request(method: str, place: Place, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
    """A whole request as it goes over the wire.

    >>> request("GET", Place(scheme="http", host="127.0.0.1", port=8000), "/v2").splitlines()[:2]
    [b'GET /v2 HTTP/1.1', b'Host: 127.0.0.1:8000']
    """
    lines = [f"{method} {path} HTTP/1.1", f"Host: {place}", f"User-Agent: {AGENT}", "Accept: application/json, */*"]
    lines += ["Accept-Encoding: identity"]
    if method == "POST":
        lines += [f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Connection:
    """A connection to one place; `exchange` sends a request and reads its whole answer.

    timeout_s: how long connecting, sending and each wait for more of the answer may take.
    Raises Failed with one of a few texts; after that, or once the server has ended it, it is closed.
    """

    def __init__(self, place: Place, timeout_s: float, address: tuple[str, int] | None = None) -> None:
        self._timeout_s = timeout_s
        self.closed = True
        try:
            plain = socket.create_connection(address or (place.host, place.port), timeout_s)
        except OSError as error:
            raise failure(error, timeout_s) from None
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = _secured(plain, place.host) if place.scheme == "https" else plain
        except OSError as error:
            plain.close()
            raise failure(error, timeout_s) from None
        self.closed = False
        self._readable = select.poll()
        self._readable.register(self._socket, select.POLLIN | select.POLLHUP | select.POLLERR)

    def is_stale(self) -> bool:
        """True if the server has said something unasked, which between two requests means that it hung up."""
        return self.closed or bool(self._readable.poll(0))

    def exchange(self, sent: bytes, method: str = "POST") -> Answer:
        """Send one request, read its answer to the end."""
        response = None
        try:
            self._socket.sendall(sent)
            response = http.client.HTTPResponse(self._socket, method=method)
            response.begin()
            body = response.read()
        except (OSError, http.client.HTTPException, ValueError, OverflowError, MemoryError) as error:
            self.close()
            raise failure(error, self._timeout_s) from None
        except BaseException:
            self.close()
            raise
        finally:
            if response is not None:
                response.close()
        if response.will_close:
            self.close()
        kind = (response.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
        return Answer(response.status, kind, response.headers, body, response.will_close)

    def close(self) -> None:
        """End it; may be called twice."""
        if not self.closed:
            self.closed = True
            with contextlib.suppress(OSError):
                self._socket.close()


class Pool:
    """Connections that wait to be used again, the last used first; as many are open as were ever needed at once."""

    def __init__(self, place: Place, timeout_s: float) -> None:
        self._place, self._timeout_s = place, timeout_s
        # Looked up once: no request of a measurement waits for a name server.
        self._address = resolve(place, timeout_s)
        self._idle: list[Connection] = []

    def exchange(self, sent: bytes, method: str = "POST") -> Answer:
        """One request over an open connection, or a new one where none is idle or the server has hung up."""
        connection = self._taken()
        answer = connection.exchange(sent, method)
        if not connection.closed:
            self._idle.append(connection)
        return answer

    def connect(self) -> None:
        """Open a connection and close it again: the cheapest thing any server does."""
        Connection(self._place, self._timeout_s, self._address).close()

    def _taken(self) -> Connection:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if not connection.is_stale():
                return connection
            connection.close()
        return Connection(self._place, self._timeout_s, self._address)

    def close(self) -> None:
        """End all idle connections."""
        while self._idle:
            self._idle.pop().close()


def resolve(place: Place, timeout_s: float = 10.0) -> tuple[str, int]:
    """The address of a place, of several the first that takes connections; raises Failed for an unknown name."""
    try:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Failed("the host is unknown") from None
    addresses = list(dict.fromkeys((str(a[4][0]), int(a[4][1])) for a in found))
    for address in addresses if len(addresses) > 1 else ():
        with contextlib.suppress(OSError):
            socket.create_connection(address, timeout_s).close()
            return address
    return addresses[0]


def failure(error: Exception, timeout_s: float) -> Failed:
    """What went wrong, in one of a few texts.

    >>> str(failure(ConnectionRefusedError(), 1.0)), str(failure(TimeoutError(), 1.0))
    ('connection refused', 'timed out after 1 s')
    """
    if isinstance(error, TimeoutError):
        return Failed(f"timed out after {show_seconds(timeout_s)}")
    if isinstance(error, ConnectionRefusedError):
        return Failed("connection refused")
    if isinstance(error, ConnectionError):
        return Failed("connection closed without an answer")
    if isinstance(error, OverflowError | MemoryError):
        return Failed("the answer is too large")
    if isinstance(error, http.client.IncompleteRead):
        return Failed("the answer was cut off")
    if isinstance(error, ssl.SSLError):
        return Failed(f"TLS failed ({error.reason or type(error).__name__})")
    if isinstance(error, socket.gaierror):
        return Failed("the host is unknown")
    if isinstance(error, OSError):
        return Failed((error.strerror or type(error).__name__).lower())
    return Failed("the answer is not HTTP")


def _secured(plain: socket.socket, host: str) -> socket.socket:
    return ssl.create_default_context().wrap_socket(plain, server_hostname=host)
