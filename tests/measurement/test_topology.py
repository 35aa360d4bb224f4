"""What belongs together, on computers of several kinds."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from accel.measurement.machine import Machine, detect, differences
from accel.measurement.topology import Topology, online, topology
from tests.measurement.computers import AMD_TWO_L3, BIG_LITTLE, INTEL_SMT, TWO_SOCKETS, Files, write


def read(files: Files, root: Path) -> Topology:
    found = topology(write(files, root))
    assert found is not None
    return found


def test_intel_with_two_threads_a_core(tmp_path: Path) -> None:
    found = read(INTEL_SMT, tmp_path)
    assert (found.packages, found.cores, found.threads_per_core) == (1, 4, 2)
    assert found.siblings == found.l2 == ((0, 4), (1, 5), (2, 6), (3, 7))
    assert found.l3 == found.nodes == (tuple(range(8)),)
    assert found.kinds is None
    assert found.sharing([0, 1, 4]) == ((0, 4),)
    assert found.sharing([0, 1, 2, 3]) == ()
    assert found.cores_of([0, 4, 1]) == 2
    assert str(found) == "1 package, 4 cores of 2 threads (0,4 | 1,5 | 2,6 | 3,7), one L3, one memory node"


def test_amd_with_two_groups_of_l3(tmp_path: Path) -> None:
    found = read(AMD_TWO_L3, tmp_path)
    assert (found.cores, found.threads_per_core) == (6, 1)
    assert found.l3 == ((0, 2, 4), (1, 3, 5))
    assert "2 L3s (0,2,4 | 1,3,5)" in str(found)


def test_two_sockets(tmp_path: Path) -> None:
    found = read(TWO_SOCKETS, tmp_path)
    assert (found.packages, found.cores, found.siblings) == (2, 2, ((0, 2), (1, 3)))
    assert found.nodes == ((0, 2), (1, 3))


def test_arm_with_big_and_little_cores(tmp_path: Path) -> None:
    found = read(BIG_LITTLE, tmp_path)
    assert found.kinds == ((4, 5), (0, 1, 2, 3))
    assert (found.l2, found.l3, found.nodes) == (None, None, None)
    assert str(found).endswith("2 kinds of core (4-5 | 0-3)")


def test_x86_with_performance_and_efficiency_cores(tmp_path: Path) -> None:
    lists = {"sys/devices/cpu_core/cpus": "0-3,4-7\n", "sys/devices/cpu_atom/cpus": "\n"}
    assert read(INTEL_SMT | lists, tmp_path).kinds is None
    lists = {"sys/devices/cpu_core/cpus": "0,4\n", "sys/devices/cpu_atom/cpus": "1-3,5-7\n"}
    assert read(INTEL_SMT | lists, tmp_path).kinds == ((0, 4), (1, 2, 3, 5, 6, 7))


def test_a_processor_switched_off_is_not_there(tmp_path: Path) -> None:
    root = write(INTEL_SMT | {"sys/devices/system/cpu/online": "0-2,4-6\n"}, tmp_path)
    found = topology(root)
    assert found is not None
    assert found.cores == 3
    assert online(root) == (0, 1, 2, 4, 5, 6)


def test_a_system_that_tells_nothing_has_none(tmp_path: Path) -> None:
    assert topology(tmp_path) is None


@pytest.mark.parametrize("files", [INTEL_SMT, AMD_TWO_L3, TWO_SOCKETS, BIG_LITTLE])
def test_it_is_stored_with_the_machine(files: Files, tmp_path: Path) -> None:
    machine = detect(write(files, tmp_path))
    assert machine.topology == topology(tmp_path)
    assert machine.affinity == online(tmp_path)
    assert msgspec.json.decode(msgspec.json.encode(machine), type=Machine) == machine


def test_two_machines_differ_in_it_only_where_both_tell(tmp_path: Path) -> None:
    one = detect(write(INTEL_SMT, tmp_path / "a"))
    two = msgspec.structs.replace(one, topology=topology(write(TWO_SOCKETS, tmp_path / "b")))
    assert [name for name, _, _ in differences(one, two)] == ["topology"]
    assert differences(one, msgspec.structs.replace(one, topology=None, affinity=None)) == []


def test_many_groups_are_counted_and_not_listed() -> None:
    pairs = tuple((i, i + 64) for i in range(64))
    many = Topology(packages=2, cores=64, threads_per_core=2, siblings=pairs, l3=pairs[:9])
    assert str(many) == "2 packages, 64 cores of 2 threads, 9 L3s"
