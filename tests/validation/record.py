"""What `make validate` keeps: every row of every experiment with where and when it was measured, as one JSON file."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Literal

import msgspec

import accel
from accel.errors import InputError
from accel.measurement.machine import Machine, detect, env_id
from accel.measurement.noise import WITNESS_POLICY
from accel.result import write_atomically
from tests.validation.experiment import Row

State = Literal["running", "done", "crashed", "timed out"]


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    """One experiment: its module, how far it came, and its rows. reason: why it ended early, in words."""

    module: str
    state: State
    begun_unix_ns: int
    seconds: float = 0.0
    reason: str = ""
    rows: tuple[Row, ...] = ()


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """`reports/validation.json`: all experiments of one machine and one version. commit: of the tree it ran from."""

    machine: Machine
    env_id: str
    accel_version: str
    witness_policy: int
    commit: str | None = None
    experiments: tuple[Experiment, ...] = ()
    format: int = 1

    @classmethod
    def here(cls) -> Record:
        """An empty record of this machine."""
        machine = detect()
        return cls(
            machine=machine,
            env_id=env_id(machine),
            accel_version=accel.__version__,
            witness_policy=WITNESS_POLICY,
            commit=_commit(),
        )

    @classmethod
    def load(cls, path: Path) -> Record:
        """Read what `save` wrote; raises InputError for what isn't a record."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except msgspec.DecodeError as error:
            raise InputError(f"`{path}` can't be read: {error}. Move it away to start anew.") from None

    def save(self, path: Path) -> None:
        """Write it whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")

    def with_(self, experiment: Experiment, order: list[str]) -> Record:
        """The same record with this experiment in its place, the earlier one of the same module replaced."""
        by_name = {e.module: e for e in self.experiments} | {experiment.module: experiment}
        names = [*order, *(name for name in by_name if name not in order)]
        return msgspec.structs.replace(self, experiments=tuple(by_name[n] for n in names if n in by_name))

    def done(self, module: str) -> bool:
        """True if every row of this experiment is there."""
        return any(e.module == module and e.state == "done" for e in self.experiments)


def begun(module: str) -> Experiment:
    """An experiment that starts now."""
    return Experiment(module=module, state="running", begun_unix_ns=time.time_ns())


def _commit() -> str | None:
    where = Path(__file__).parent
    done = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=where, capture_output=True, text=True)
    return done.stdout.strip() or None if done.returncode == 0 else None
