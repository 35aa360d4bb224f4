"""What does each request carry? The samples as the server takes them, written out before anything is timed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from accel.compilation import _v2 as v2
from accel.endpoint.look import Server, signature
from accel.errors import InputError
from accel.samples.columns import Column, as_array, column
from accel.samples.given import Given, read
from accel.samples.match import match

Array = npt.NDArray[Any]
Body = tuple[bytes, dict[str, str]]
MOST_BYTES, MOST_ITEMS = 256_000_000, 10_000
_JSON = {"Content-Type": "application/json"}
_LINES = (".jsonl", ".ndjson")


class Bodies(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One body a sample, with its headers.

    labels: (N,) or None. expected: output name -> (N, ...) what the answers should hold, as far as the samples have
    arrays named like outputs. names: the inputs. notes: what was changed or left out.
    """

    bodies: list[Body]
    names: tuple[str, ...] = ()
    labels: Array | None = None
    expected: dict[str, Array] = {}
    batched: bool = True
    notes: tuple[str, ...] = ()


def build(samples: Any, server: Server) -> Bodies:
    """Write one request body a sample.

    v2: arrays named as the model's inputs, the samples on axis 0; each request carries one. Plain JSON: a .jsonl file
    or a list, each line or element a body as it is; or arrays, of which each item becomes {"NAME": nested list, ...}.
    Raises InputError for samples that the model doesn't take.
    """
    if samples is None:
        raise InputError(
            "An endpoint needs --samples: the inputs to ask it with (.npz, or .jsonl with one body a line)."
        )
    if server.protocol == "json" and (listed := _given_bodies(samples)) is not None:
        return _limited(listed, Bodies(bodies=[]))
    given = read(samples)
    columns = {name: column(name, items, 0.0) for name, items in given.columns.items()}
    counts = {len(c.array) for c in columns.values()}
    if len(counts) != 1 or 0 in counts:
        raise InputError(f"Every input must have as many samples as the others and at least one, not {sorted(counts)}.")
    labels = None if given.labels is None else as_array(given.labels, "The labels")
    if labels is not None and counts != {len(labels)}:
        raise InputError(f"There are {len(labels)} labels, but {counts.pop()} samples. Give one label a sample.")
    if server.protocol == "json":
        known = Bodies(bodies=[], names=tuple(columns), labels=labels, notes=given.notes)
        return _limited((_plain(item) for item in _items(columns, batched=False)), known)
    return _of_v2(columns, labels, given, server)


def _of_v2(columns: dict[str, Column], labels: Array | None, given: Given, server: Server) -> Bodies:
    metadata = server.metadata
    assert metadata is not None
    outputs = {t.name for t in metadata.outputs} - {t.name for t in metadata.inputs}
    expected = {name: c.array for name, c in columns.items() if name in outputs}
    columns = {name: c for name, c in columns.items() if name not in outputs}
    if len(columns) == 1 and len(metadata.inputs) == 1:
        ranks = {metadata.inputs[0].name: _rank(next(iter(columns.values())))}
    else:
        ranks = {name: _rank(c) for name, c in columns.items()}
    known, batched = signature(metadata, ranks)
    matched, notes = match(columns, known)
    empty = Bodies(
        bodies=[],
        names=tuple(matched),
        labels=labels,
        expected=expected,
        batched=batched,
        notes=(*given.notes, *notes),
    )
    made = (v2.encode(item, binary=server.binary) for item in _items(matched, batched=batched))
    return _limited(made, empty)


def _rank(c: Column) -> tuple[int, str]:
    return c.array.ndim, c.array.dtype.str


def _items(columns: dict[str, Column], *, batched: bool) -> Iterator[dict[str, Array]]:
    """Each item at its real length, with a batch axis of 1 if `batched`."""
    for i in range(len(next(iter(columns.values())).array)):
        item = {}
        for name, c in columns.items():
            row = c.array[i]
            if c.axis is not None and c.lengths is not None:
                row = row[(slice(None),) * c.axis + (slice(0, int(c.lengths[i])),)]
            item[name] = np.asarray(row)[np.newaxis] if batched else np.asarray(row)
        yield item


def _limited(made: Iterable[Body], known: Bodies) -> Bodies:
    """As many bodies as fit into memory, and a note if that isn't all of them."""
    bodies: list[Body] = []
    size = 0
    for body in made:
        if bodies and (size + len(body[0]) > MOST_BYTES or len(bodies) == MOST_ITEMS):
            note = f"Only the first {len(bodies)} samples are sent: requests are kept in memory."
            return msgspec.structs.replace(known, bodies=bodies, notes=(*known.notes, note))
        bodies.append(body)
        size += len(body[0])
    return msgspec.structs.replace(known, bodies=bodies)


def _given_bodies(samples: Any) -> Iterator[Body] | None:
    """Bodies that are given as such: lines of a file, or elements of a list; None for arrays."""
    if isinstance(samples, str | Path):
        path = Path(samples).expanduser()
        return iter(_lines(path)) if path.suffix in _LINES else None
    if isinstance(samples, list) and samples and not isinstance(samples[0], np.ndarray):
        return (_plain(item) for item in samples)
    return None


def _lines(path: Path) -> list[Body]:
    try:
        lines = [line for line in path.read_bytes().splitlines() if line.strip()]
    except OSError as error:
        raise InputError(f"Samples `{path}` can't be read: {(error.strerror or str(error)).lower()}.") from None
    if not lines:
        raise InputError(f"Samples `{path}` are empty: give one JSON body a line.")
    for number, line in enumerate(lines, 1):
        try:
            msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InputError(f"Samples `{path}`, line {number} is no JSON: {error}.") from None
    return [(line, _JSON) for line in lines]


def _plain(item: Any) -> Body:
    try:
        return msgspec.json.encode(item, enc_hook=_as_list), _JSON
    except (TypeError, ValueError) as error:
        raise InputError(f"A sample can't be written as JSON: {error}.") from None


def _as_list(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ValueError("it holds NaN or infinity")
        return value.tolist()
    raise TypeError(f"it holds something of type `{type(value).__name__}`")
