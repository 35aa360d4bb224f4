"""Which processors are used, and by which instance, on computers of several kinds and in containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from accel.measurement import affinity, cgroup
from accel.measurement.affinity import Cores
from accel.measurement.machine import detect
from tests.measurement.computers import (
    AMD_TWO_L3,
    BIG_LITTLE,
    INTEL_SMT,
    TWO_SOCKETS,
    Files,
    listed,
    quota_v1,
    quota_v2,
    write,
)


@pytest.mark.parametrize(
    ("files", "count", "expected"),
    [
        (INTEL_SMT, 2, ((0, 4, 1, 5), (2, 6, 3, 7))),
        (INTEL_SMT, 4, ((0, 4), (1, 5), (2, 6), (3, 7))),
        # Eight threads in three equal parts would give two instances a thread each of core 1.
        (INTEL_SMT, 3, ((0, 4, 1, 5), (2, 6), (3, 7))),
        (INTEL_SMT, 8, ((0,), (4,), (1,), (5,), (2,), (6,), (3,), (7,))),
        (AMD_TWO_L3, 2, ((0, 2, 4), (1, 3, 5))),
        (AMD_TWO_L3, 3, ((0, 2), (4, 1), (3, 5))),
        (TWO_SOCKETS, 2, ((0, 2), (1, 3))),
        (BIG_LITTLE, 3, ((4, 5), (0, 1), (2, 3))),
    ],
)
def test_each_instance_has_its_own_physical_cores(
    files: Files, count: int, expected: tuple[Cores, ...], tmp_path: Path
) -> None:
    assert affinity.parts(count, write(files, tmp_path)) == expected


@pytest.mark.parametrize("quota", [quota_v1, quota_v2])
@pytest.mark.parametrize(("cores", "used"), [(0.5, 1), (1.0, 1), (1.5, 1), (2.0, 2), (2.9, 2), (64.0, 8)])
def test_a_quota_is_rounded_down_but_never_to_nothing(quota: object, cores: float, used: int, tmp_path: Path) -> None:
    root = write(INTEL_SMT | quota(cores), tmp_path)  # type: ignore[operator]
    assert cgroup.quota_cores(root) == cores
    assert cgroup.usable_cores(root) == len(affinity.usable(root)) == used


def test_a_quota_takes_whole_cores_and_strong_ones_first(tmp_path: Path) -> None:
    assert affinity.usable(write(INTEL_SMT | quota_v2(3.0), tmp_path / "a")) == (0, 1, 2)
    assert affinity.usable(write(INTEL_SMT | quota_v2(5.0), tmp_path / "b")) == (0, 4, 1, 2, 3)
    assert affinity.usable(write(BIG_LITTLE | quota_v1(3.0), tmp_path / "c")) == (4, 5, 0)


def test_affinity_and_quota_count_both(tmp_path: Path) -> None:
    status = {"proc/self/status": f"Cpus_allowed_list:\t{listed((0, 4, 5))}"}
    root = write(INTEL_SMT | status, tmp_path)
    assert affinity.usable(root) == (0, 4, 5)
    assert affinity.parts(2, root) == ((0, 4), (5,))
    assert affinity.limit(root) == "3 of 8 processors: affinity to processors 0,4-5 alone"
    write(quota_v2(1.5), tmp_path)
    assert affinity.limit(root) == (
        "1 of 8 processors: a CPU quota of 1.5 cores and affinity to processors 0,4-5 alone"
    )
    machine = detect(root)
    assert (machine.cores, machine.quota_cores, machine.affinity) == (1, 1.5, (0, 4, 5))
    assert machine.limited.startswith("1 of ")
    assert machine.physical_cores == 1


def test_physical_cores_are_counted_among_those_that_may_be_used(tmp_path: Path) -> None:
    assert detect(write(INTEL_SMT, tmp_path / "a")).physical_cores == 4
    status = {"proc/self/status": f"Cpus_allowed_list:\t{listed((0, 4, 5))}"}
    assert detect(write(INTEL_SMT | status, tmp_path / "b")).physical_cores == 2
    assert detect(write(INTEL_SMT | quota_v2(3.0), tmp_path / "c")).physical_cores == 3


def test_nothing_is_said_where_nothing_limits(tmp_path: Path) -> None:
    assert affinity.limit(write(INTEL_SMT | quota_v2(8.0), tmp_path)) == ""
    assert cgroup.limited(8, 8, None, None) == ""


def test_a_processor_of_which_nothing_is_known_is_a_core_of_its_own(tmp_path: Path) -> None:
    root = write({"proc/self/status": "Cpus_allowed_list:\t0-3\n"}, tmp_path)
    assert affinity.parts(2, root) == ((0, 1), (2, 3))
