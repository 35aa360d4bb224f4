"""A server that runs already, asked over HTTP: each call sends one request that was built beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from accel.compilation import Arrays, Effective, Refusal
from accel.compilation._http import Failed, Place, Pool, request
from accel.errors import VariantError

if TYPE_CHECKING:
    from accel.measurement.machine import Machine
    from accel.model import Facts, Model

NUMBER, ANSWERED = "request", "answered"
FAILURES = "failures.txt"
_CALLS, _BODIES = "calls.json", "bodies.bin"


class _Calls(msgspec.Struct, frozen=True, kw_only=True):
    """What lies in the folder beside the bodies: where they go and how long each is.

    headers: sets of headers; body i goes with number `kinds[i]`. type: the content type a good answer has.
    """

    place: Place
    path: str
    live: str
    kinds: tuple[int, ...]
    headers: tuple[dict[str, str], ...]
    lengths: tuple[int, ...]
    type: str


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A running HTTP server; `accel bench --endpoint URL` drives it, nothing is built for it.

    url, protocol, binary: what is asked and how; the requests themselves lie in the artefact folder.
    call: "infer" sends a sample. "live" asks the server's health and "connect" only opens and closes a connection: the
        cheapest calls there are, to tell the way there from the work done there.
    timeout_s: how long to wait for any part of an answer.
    """

    runs: ClassVar[tuple[str, ...]] = ("callable",)
    runtime: ClassVar[str] = "http"
    extra: ClassVar[str | None] = None
    build_fields: ClassVar[tuple[str, ...]] = ("url", "protocol", "binary")

    url: str = ""
    protocol: Literal["v2", "json"] = "json"
    binary: bool = False
    call: Literal["infer", "live", "connect"] = "infer"
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=60)] = 10.0

    def env(self) -> dict[str, str]:
        return {}

    def fits(self, facts: Facts, machine: Machine) -> Refusal | None:
        return None

    def build(self, model: Model, folder: Path) -> None:
        """Refuse: a server isn't made from a model. Raises VariantError."""
        raise VariantError("A running server is not built from a model.", "Use: accel bench --endpoint URL")

    def open(self, folder: Path) -> EndpointEngine:
        """Read the requests; raises VariantError if there are none or the host is unknown."""
        return EndpointEngine(self, folder)

    def script(self, folder: Path) -> str:
        return (
            "import json\nimport urllib.request\n\n\n"
            f"def predict(inputs):\n    body = json.dumps({{k: v.tolist() for k, v in inputs.items()}}).encode()\n"
            f"    asked = urllib.request.Request({self.url!r}, body, {{'Content-Type': 'application/json'}})\n"
            "    with urllib.request.urlopen(asked) as answer:\n        return json.load(answer)\n"
        )


def write_calls(
    folder: Path, place: Place, path: str, live: str, bodies: list[tuple[bytes, dict[str, str]]], answer_type: str
) -> int:
    """Store what `open` reads: one body with its headers a sample; gives the bytes written."""
    headers: list[dict[str, str]] = []
    kinds = []
    for _, given in bodies:
        if given not in headers:
            headers.append(given)
        kinds.append(headers.index(given))
    calls = _Calls(
        place=place,
        path=path,
        live=live,
        kinds=tuple(kinds),
        headers=tuple(headers),
        lengths=tuple(len(body) for body, _ in bodies),
        type=answer_type,
    )
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _BODIES).open("wb") as file:
        file.writelines(body for body, _ in bodies)
    (folder / _CALLS).write_bytes(msgspec.json.encode(calls))
    return sum(calls.lengths)


class EndpointEngine:
    """Sends the request of a given number and waits for its whole answer; any number of threads may do so at once.

    Each call that fails adds a line to the file FAILURES of the folder, which says why.
    """

    sizes: tuple[int, ...] | None = (1,)
    parallel_runs = True

    def __init__(self, endpoint: Endpoint, folder: Path) -> None:
        calls = _read(folder)
        self._requests = _requests(calls, (folder / _BODIES).read_bytes())
        self._live = request("GET", calls.place, calls.live)
        self._type = calls.type
        self._pool = Pool(calls.place, endpoint.timeout_s)
        self._call = {"infer": self._infer, "live": self._ask_live, "connect": self._connect}[endpoint.call]
        self._answered: Arrays = {ANSWERED: np.ones(1, np.int8)}
        self._failures = (folder / FAILURES).open("ab", buffering=0)
        self.effective = Effective(
            precision="unknown",
            threads=0,
            provider=f"{endpoint.protocol} over {calls.place.scheme}",
            detail={"url": endpoint.url, "call": endpoint.call},
        )

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        try:
            self._call(int(inputs[NUMBER][0]))
        except Failed as error:
            self._failures.write(f"{error.reason}\n".encode())
            raise
        return self._answered

    def _infer(self, number: int) -> None:
        answer = self._pool.exchange(self._requests[number])
        if answer.status != 200:
            raise Failed(f"HTTP {answer.status}")
        if answer.type != self._type:
            raise Failed(f"answered with {answer.type or 'no content type'} instead of {self._type}")

    def _ask_live(self, number: int) -> None:
        answer = self._pool.exchange(self._live, "GET")
        if answer.status != 200:
            raise Failed(f"HTTP {answer.status}")

    def _connect(self, number: int) -> None:
        self._pool.connect()

    def close(self) -> None:
        self._pool.close()
        self._failures.close()


def _read(folder: Path) -> _Calls:
    try:
        return msgspec.json.decode((folder / _CALLS).read_bytes(), type=_Calls)
    except (OSError, msgspec.DecodeError) as error:
        raise VariantError(
            f"The folder `{folder}` holds no artefact: {error}.", "Use: accel bench --endpoint"
        ) from None


def _requests(calls: _Calls, bodies: bytes) -> list[bytes]:
    found, at = [], 0
    for kind, length in zip(calls.kinds, calls.lengths, strict=True):
        found.append(request("POST", calls.place, calls.path, bodies[at : at + length], calls.headers[kind]))
        at += length
    return found
