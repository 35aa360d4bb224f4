"""Steps on disk as they are made, so that a rescue that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from accel.plugins import Named
from accel.rescue.record import Step
from accel.result import write_atomically

FILE = "steps.jsonl"
ORDERS = "orders.json"


class Steps:
    """The steps of one rescue, in `folder/steps.jsonl`, one a line; a line cut short by a crash is dropped."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._orders = self._read_orders()
        self._path = folder / FILE
        self.done: list[Step] = []
        """Those of this run, in its order, whether made now or found."""
        self._found = {_key(step.compression): step for step in self._read()}

    def _read(self) -> list[Step]:
        if not self._path.exists():
            return []
        steps: list[Step] = []
        data = self._path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        for line in whole.splitlines():
            try:
                steps.append(msgspec.json.decode(line, type=Step))
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
        if len(whole) < len(data):
            self._path.write_bytes(whole)
        return steps

    def _read_orders(self) -> dict[str, list[str]]:
        try:
            return msgspec.json.decode((self._folder / ORDERS).read_bytes(), type=dict[str, list[str]])
        except (FileNotFoundError, msgspec.DecodeError):
            return {}

    def known(self, compression: tuple[Named, ...]) -> Step | None:
        """The step that was made of this form before, if any."""
        return self._found.get(_key(compression))

    def taken(self, compression: tuple[Named, ...]) -> Step | None:
        """The step of this form that this run has passed already."""
        return next((s for s in self.done if s.compression == compression), None)

    def add(self, step: Step) -> None:
        """Note a step; it is on disk when this returns."""
        self.done.append(step)
        if _key(step.compression) in self._found:
            return
        self._found[_key(step.compression)] = step
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(step) + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def order(self, kind: str, compression: tuple[Named, ...], names: Iterable[str]) -> list[str] | None:
        """The ranking of these names on top of this form, if an earlier attempt finished it."""
        return self._orders.get(_place(kind, compression, names))

    def keep_order(self, kind: str, compression: tuple[Named, ...], names: Iterable[str], order: list[str]) -> None:
        """Note a finished ranking, for the next attempt."""
        self._orders[_place(kind, compression, names)] = order
        write_atomically(self._folder / ORDERS, msgspec.json.encode(self._orders))


def _place(kind: str, compression: tuple[Named, ...], names: Iterable[str]) -> str:
    said = msgspec.json.encode((kind, compression, sorted(names)), order="deterministic")
    return hashlib.sha256(said).hexdigest()


def _key(compression: tuple[Named, ...]) -> bytes:
    return msgspec.json.encode(compression, order="deterministic")
