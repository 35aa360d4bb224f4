"""What is at this URL: which protocol, which model with which inputs? Asked before anything is timed."""

from __future__ import annotations

import re
from typing import Any, Literal, TypeVar
from urllib.parse import SplitResult, urlsplit

import msgspec

from accel.compilation import _v2 as v2
from accel.compilation._http import Answer, Connection, Failed, Place, request
from accel.errors import InputError, NothingMeasured
from accel.model.types import Signature, Tensor
from accel.units import show_seconds

Protocol = Literal["auto", "v2", "v2-binary", "json"]
PROTOCOLS = ("auto", "v2", "v2-binary", "json")
LOCAL = ("127.0.0.1", "localhost", "::1")
_MODEL = re.compile(r"(?P<base>.*?)/v2/models/(?P<model>[^/]+)(?P<version>/versions/[^/]+)?(/infer|/ready)?/?")
_T = TypeVar("_T")


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """A server that answered, and how requests to it are written.

    url: as it is asked (path of inference included). live: the path of the cheapest question, "" where there is none.
    signature: what the model takes, None where the protocol doesn't tell. batched: False if its shapes have no batch
    axis. texts: inputs that take text.
    """

    url: str
    place: Place
    path: str
    live: str
    protocol: Literal["v2", "json"]
    binary: bool = False
    metadata: v2.ModelMetadata | None = None

    @property
    def local(self) -> bool:
        """True if it runs on this machine, as far as its name tells."""
        return self.place.host in LOCAL or self.place.host.startswith("127.")

    @property
    def words(self) -> str:
        """The protocol in words."""
        if self.protocol == "json":
            return "plain JSON"
        return "Open Inference Protocol v2, " + ("binary tensors" if self.binary else "JSON")


def look(url: str, protocol: str = "auto", *, timeout_s: float = 10.0) -> Server:
    """Read a URL and ask the server what it is.

    A URL with /v2/models/NAME in it speaks v2; any other is posted to as it is. Without a host it is 127.0.0.1.
    Raises InputError for a URL that can't be meant, a server that isn't there and a model that it doesn't have.
    """
    if protocol not in PROTOCOLS:
        raise InputError(f"--protocol must be one of {', '.join(PROTOCOLS)}, but is `{protocol}`.")
    parts = _parts(url)
    place = _place(parts, url)
    found = _MODEL.fullmatch(parts.path)
    if protocol == "json" or (protocol == "auto" and found is None):
        return _plain(parts, place, url, protocol, timeout_s)
    if found is None:
        raise InputError(
            f"`{url}` names no model. With the v2 protocol give: {parts.scheme}://{place}/v2/models/NAME (the name "
            "that the server has for it)."
        )
    return _v2(place, parts.scheme, found, protocol, timeout_s)


def ask(place: Place, sent: bytes, method: str, timeout_s: float) -> Answer:
    """One request on a connection of its own; raises InputError where nobody is there, NothingMeasured for silence."""
    try:
        connection = Connection(place, timeout_s)
        try:
            return connection.exchange(sent, method)
        finally:
            connection.close()
    except Failed as error:
        raise _unreachable(place, error, timeout_s) from None


def still_answers(server: Server, body: tuple[bytes, dict[str, str]], timeout_s: float) -> str:
    """What happened to one more request; empty if it was answered as it should be."""
    try:
        connection = Connection(server.place, timeout_s)
        try:
            answer = connection.exchange(request("POST", server.place, server.path, *body))
        finally:
            connection.close()
    except Failed as error:
        return error.reason
    return "" if answer.status == 200 else told(answer)


def told(answer: Answer) -> str:
    """What an answer that isn't the wished one says, in a few words."""
    try:
        value: Any = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = answer.body.decode("utf-8", "replace")
    if isinstance(value, dict):
        value = next((value[key] for key in ("error", "detail", "message") if key in value), value)
    text = " ".join(str(value).split())
    return f"HTTP {answer.status}" + (f" ({text[:160]})" if text else "")


def refused(answer: Answer, what: str) -> InputError | NothingMeasured:
    """The error for an answer of another status than 200: who has to change something decides which."""
    if 300 <= answer.status < 400:
        where = answer.headers.get("Location") or "another place"
        return InputError(f"{what} was redirected to `{where[:200]}` (HTTP {answer.status}), which isn't followed. "
                          "Give that URL if it is meant.")  # fmt: skip
    if answer.status in (401, 403):
        return InputError(f"{what} was refused: {told(answer)}. An endpoint that asks for credentials can't be driven.")
    if answer.status < 500:
        return InputError(f"{what} was refused: {told(answer)}. Check the URL, --protocol and --samples.")
    return NothingMeasured(f"{what} failed in the server: {told(answer)}. See the server's log.")


def signature(metadata: v2.ModelMetadata, ranks: dict[str, tuple[int, str]]) -> tuple[Signature, bool]:
    """The model's signature as samples are checked against it, and whether its shapes hold a batch axis.

    ranks: (axes, dtype) of each sample array, the samples' own axis included: where a model's shape has one axis less,
    it takes one item as it is. Raises InputError for a model that takes only batches.
    """
    batched = not any(
        tensor.name in ranks and len(tensor.shape) == ranks[tensor.name][0] - 1 for tensor in metadata.inputs
    )
    fixed = next((t for t in metadata.inputs if batched and t.shape and t.shape[0] > 1), None)
    if fixed is not None:
        raise InputError(
            f"Input `{fixed.name}` of the served model takes batches of {fixed.shape[0]} only, and a request carries "
            "one item. Serve the model with a dynamic batch."
        )
    inputs = tuple(_tensor(t, batched, ranks.get(t.name, (0, "str"))[1]) for t in metadata.inputs)
    outputs = tuple(_tensor(t, batched, "str") for t in metadata.outputs)
    return Signature(inputs=inputs, outputs=outputs, batch="any"), batched


def _tensor(told: v2.TensorMetadata, batched: bool, dtype: str) -> Tensor:
    if told.datatype != v2.TEXT and told.datatype not in v2.DTYPES:
        raise InputError(f"Tensor `{told.name}` of the served model is {told.datatype}, which accel can't send.")
    axes = [size if size >= 0 else f"d{i}" for i, size in enumerate(told.shape)]
    rest = axes[1:] if batched else axes
    return Tensor(told.name, v2.DTYPES.get(told.datatype, dtype), ("batch", *rest))


def _parts(url: str) -> SplitResult:
    text = f"127.0.0.1{url}" if url.startswith(":") else url
    text = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise InputError(f"--endpoint `{url}` is no URL: {error}.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"[\s\x00-\x1f]", text):
        raise InputError(
            f"--endpoint must be a URL such as http://127.0.0.1:8000/v2/models/NAME, but is `{' '.join(url.split())}`."
        )
    if parts.username is not None:
        raise InputError("--endpoint holds a user name, but accel sends no credentials. Leave it out.")
    return parts


def _place(parts: SplitResult, url: str) -> Place:
    host = parts.hostname or ""
    if not host.isascii():
        raise InputError(f"--endpoint `{url}`: give the host in its ASCII form (xn--...).")
    return Place(scheme=parts.scheme, host=host, port=parts.port or (443 if parts.scheme == "https" else 80))


def _plain(parts: SplitResult, place: Place, url: str, protocol: str, timeout_s: float) -> Server:
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii():
        raise InputError(f"--endpoint `{url}`: give the path with its non-ASCII letters percent-encoded.")
    if protocol == "auto" and parts.path.rstrip("/") in ("", "/v2"):
        answer = ask(place, request("GET", place, "/v2"), "GET", timeout_s)
        told_v2 = _decoded(answer, v2.ServerMetadata) if answer.status == 200 else None
        if told_v2 is not None and told_v2.name:
            raise InputError(
                f"`{url}` is a server of the v2 protocol (`{told_v2.name}`). Name the model: "
                f"{parts.scheme}://{place}/v2/models/NAME"
            )
    return Server(url=f"{parts.scheme}://{place}{path}", place=place, path=path, live="", protocol="json")


def _v2(place: Place, scheme: str, found: re.Match[str], protocol: str, timeout_s: float) -> Server:
    base, model = found["base"], found["model"]
    at = f"{base}/v2/models/{model}{found['version'] or ''}"
    answer = ask(place, request("GET", place, at), "GET", timeout_s)
    if answer.status != 200:
        raise refused(answer, f"The question for the model `{model}` ({scheme}://{place}{at})")
    metadata = _decoded(answer, v2.ModelMetadata)
    if metadata is None or not metadata.inputs:
        raise InputError(
            f"{scheme}://{place}{at} answers, but not with a model's metadata of the v2 protocol. "
            "Use --protocol json, if it takes plain JSON."
        )
    binary = protocol == "v2-binary" or (protocol == "auto" and _lists_binary(place, base, timeout_s))
    live = f"{base}/v2/health/live"
    if ask(place, request("GET", place, live), "GET", timeout_s).status != 200:
        live = at
    return Server(
        url=f"{scheme}://{place}{at}/infer",
        place=place,
        path=f"{at}/infer",
        live=live,
        protocol="v2",
        binary=binary,
        metadata=metadata,
    )


def _lists_binary(place: Place, base: str, timeout_s: float) -> bool:
    answer = ask(place, request("GET", place, f"{base}/v2"), "GET", timeout_s)
    told_v2 = _decoded(answer, v2.ServerMetadata) if answer.status == 200 else None
    return told_v2 is not None and v2.BINARY_EXTENSION in told_v2.extensions


def _decoded(answer: Answer, kind: type[_T]) -> _T | None:
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _unreachable(place: Place, error: Failed, timeout_s: float) -> InputError | NothingMeasured:
    where = f"{place.host}:{place.port}"
    if error.reason == "connection refused":
        return InputError(f"Nothing listens at {where} (connection refused). Start the server or correct --endpoint.")
    if error.reason.startswith("timed out"):
        return NothingMeasured(
            f"{where} gave no answer within {show_seconds(timeout_s)}. Is it overloaded, or behind a firewall?"
        )
    if error.reason == "the host is unknown":
        return InputError(f"The host `{place.host}` is unknown. Correct --endpoint.")
    return InputError(f"{where} can't be asked over HTTP: {error.reason}. Is it an HTTP server, and is the port right?")
