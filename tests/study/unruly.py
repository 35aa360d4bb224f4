"""Backends that misbehave, as a third party would install them; each says in its name what it does.

They run the model with ONNX Runtime until their moment comes.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

from accel.compilation.onnxruntime import OnnxRuntime

NAMES = ("crashes_timed", "crashes_at_8", "hangs", "hangs_building", "eats_memory", "raises")
WRONG = ("answers_wrongly", "wrong_once_timed")


def _size(inputs: Any) -> int:
    return len(next(iter(inputs.values())))


class _Engine:
    parallel_runs = True

    def __init__(self, engine: Any, act: Any) -> None:
        self._engine, self._act = engine, act
        self.sizes, self.effective = engine.sizes, engine.effective
        self.calls = 0

    def run(self, inputs: Any) -> Any:
        self.calls += 1
        self._act(self, inputs)
        return self._engine.run(inputs)

    def close(self) -> None:
        self._engine.close()


class _Unruly(OnnxRuntime, frozen=True, kw_only=True):
    def act(self, engine: _Engine, inputs: Any) -> None:
        """Misbehave or not, before a batch is run."""

    def open(self, folder: Path) -> Any:
        return _Engine(super().open(folder), self.act)


def _crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(60)


class CrashesTimed(_Unruly, frozen=True, kw_only=True):
    """Answers all samples in scoring and falls over while it is timed."""

    def act(self, engine: _Engine, inputs: Any) -> None:
        if engine.calls > 60:
            _crash()


class CrashesAt8(_Unruly, frozen=True, kw_only=True):
    """Takes single items only."""

    def act(self, engine: _Engine, inputs: Any) -> None:
        if _size(inputs) >= 8:
            _crash()


class Hangs(_Unruly, frozen=True, kw_only=True):
    """Opens and never answers."""

    def act(self, engine: _Engine, inputs: Any) -> None:
        time.sleep(3600)


class HangsBuilding(_Unruly, frozen=True, kw_only=True):
    """Never finishes compiling."""

    def build(self, model: Any, folder: Path) -> None:
        time.sleep(3600)


class EatsMemory(_Unruly, frozen=True, kw_only=True):
    """Asks for more and more, page by page, as a leak does."""

    def act(self, engine: _Engine, inputs: Any) -> None:
        held = []
        for _ in range(200):
            held.append(b"x" * 60_000_000)
            time.sleep(0.02)


class Raises(_Unruly, frozen=True, kw_only=True):
    """Fails with a message of its own."""

    def act(self, engine: _Engine, inputs: Any) -> None:
        raise RuntimeError("the flux capacitor is empty")


class _WrongEngine(_Engine):
    """Its answers from call `after` on have the right shape, size and spread, and nothing to do with the inputs."""

    after = 0

    def run(self, inputs: Any) -> Any:
        right = super().run(inputs)
        if self.calls <= self.after:
            return right
        rng = np.random.default_rng(self.calls)
        return {n: rng.normal(a.mean(), a.std(), a.shape).astype(a.dtype) for n, a in right.items()}


class _LateWrongEngine(_WrongEngine):
    after = 40


class AnswersWrongly(_Unruly, frozen=True, kw_only=True):
    """Answers without a word and wrongly, as zentorch did for every matrix product until its cache was off."""

    def open(self, folder: Path) -> Any:
        return _WrongEngine(OnnxRuntime.open(self, folder), self.act)


class WrongOnceTimed(_Unruly, frozen=True, kw_only=True):
    """Answers rightly until all samples were scored, and wrongly from then on, as a broken cache would."""

    def open(self, folder: Path) -> Any:
        return _LateWrongEngine(OnnxRuntime.open(self, folder), self.act)


def install(folder: Path) -> None:
    """What `pip install` leaves behind: a dist-info with entry points."""
    info = folder / "unruly-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: unruly\nVersion: 1.0\n")
    classes = {name: "".join(part.capitalize() for part in name.split("_")) for name in (*NAMES, *WRONG)}
    lines = [f"compilation.{name} = tests.study.unruly:{cls}" for name, cls in classes.items()]
    (info / "entry_points.txt").write_text("[accel.plugins]\n" + "\n".join(lines) + "\n")
