"""What the experiments keep: plain records, one JSON file an experiment and model, whole or not at all."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TypeVar

import msgspec

from accel.measurement.machine import detect, env_id
from accel.plugins import Named
from accel.result import Level, write_atomically

REPORTS = Path(__file__).parents[2] / "reports"
FOLDER = REPORTS / "batching"


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """On which machine and when."""

    cpu: str
    cores: int
    env_id: str
    unix_s: int

    @classmethod
    def here(cls) -> Where:
        """This machine, now."""
        machine = detect()
        return cls(cpu=machine.cpu, cores=machine.cores, env_id=env_id(machine), unix_s=round(time.time()))


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A number with its 95 % interval; None: an open end, or no interval."""

    value: float
    low: float | None = None
    high: float | None = None


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One server run. quantile_s: None where it lies among requests that were never answered. busy, dropped: shares."""

    rate: float
    quantile_s: float | None
    n: int
    level: Level
    keeps_up: bool
    goodput: float
    busy: float
    dropped: float = 0.0


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """How many requests a second a policy carries within the limit.

    simulated: the crossing (1/s) that the simulator expected. claim: the lower 90 % bound of `crossing`; 0: at no rate.
    against_single: crossing over that of `single`.
    """

    name: str
    batching: Named
    simulated: float
    claim: float
    crossing: Span
    level: Level
    flags: tuple[str, ...]
    points: tuple[Point, ...]
    against_single: Span | None = None


class Overload(msgspec.Struct, frozen=True, kw_only=True):
    """What came through at twice saturation: goodput (1/s) and validity of each run; what the simulator expected."""

    drop: str
    rate: float
    goodputs: tuple[float, ...]
    simulated: float
    levels: tuple[Level, ...] = ()


class Policies(msgspec.Struct, frozen=True, kw_only=True):
    """One model's rows of the comparison of policies.

    p, slo_s: the limit; wanted_p: the recipe's own percentile. seconds: counted seconds of a trial. curve: (batch size,
    seconds). saturation: 1/s at the best size. verdict: why the tuner would not batch; empty where it would.
    """

    model: str
    variant: str
    random_weights: bool
    where: Where
    p: float
    wanted_p: float
    slo_s: float
    seconds: float
    curve: tuple[tuple[int, float], ...]
    saturation: float
    verdict: str
    policies: tuple[Policy, ...]
    overload: tuple[Overload, ...]


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """One server run against the simulator fed its very arrivals and service times."""

    policy: str
    rate: float
    busy: float
    n: int
    level: Level
    measured_s: float | None
    predicted_s: float | None
    keeps_up: bool = True


class Crossing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a policy meets the limit (1/s): by trials; simulated with the service times of those very trials; and
    simulated beforehand from the curve. busy: the share of its time the worker was busy in the trial nearest to it.
    """

    policy: str
    measured: Span
    predicted: float
    beforehand: float
    busy: float


class Predictions(msgspec.Struct, frozen=True, kw_only=True):
    """One model's runs against the simulator."""

    model: str
    variant: str
    where: Where
    p: float
    rows: tuple[Prediction, ...]
    capacities: tuple[Crossing, ...] = ()


class Bucketed(msgspec.Struct, frozen=True, kw_only=True):
    """One model's batch job with and without buckets.

    ways: by name, items a second of each block. ratios: bucketed over each other way. lengths: shortest, median,
    longest. checked, mismatched: timed outputs compared with the reference's. tolerance: the limit of that.
    """

    model: str
    variant: str
    where: Where
    texts: str
    items: int
    lengths: tuple[int, int, int]
    batching: dict[str, Named]
    rates: dict[str, tuple[float, ...]]
    padding: dict[str, float]
    ratios: dict[str, Span]
    checked: int
    mismatched: int
    tolerance: float


Record = TypeVar("Record", bound=msgspec.Struct)


def write(record: msgspec.Struct, name: str, folder: Path = FOLDER) -> Path:
    """Commit `folder/NAME.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    write_atomically(path, msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
    return path


def read(kind: type[Record], pattern: str, folder: Path = FOLDER) -> list[Record]:
    """Every record of a kind, in the order of the files' names."""
    return [msgspec.json.decode(path.read_bytes(), type=kind) for path in sorted(folder.glob(pattern))]
