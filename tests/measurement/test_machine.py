"""Machines from recorded files: cgroup v1 and v2, with and without quota, x86 and ARM, and one that tells nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from accel.measurement import cgroup, facts
from accel.measurement.machine import Machine, detect, differences, env_id
from accel.measurement.nvml import Gpu

Write = Callable[[dict[str, str]], Path]


@pytest.fixture
def files(tmp_path: Path) -> Write:
    def write(texts: dict[str, str]) -> Path:
        for name, text in texts.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


V2 = {"proc/self/cgroup": "0::/user/job\n", "sys/fs/cgroup/cgroup.controllers": "cpu memory\n"}
V1 = {"proc/self/cgroup": "9:name=systemd:/\n4:memory:/box\n2:cpu,cpuacct:/box\n0::/\n"}


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({}, None),
        ({**V2, "sys/fs/cgroup/user/job/cpu.max": "max 100000\n"}, None),
        ({**V2, "sys/fs/cgroup/user/job/cpu.max": "150000 100000\n"}, 1.5),
        (
            {**V2, "sys/fs/cgroup/user/cpu.max": "50000 100000\n", "sys/fs/cgroup/user/job/cpu.max": "200000 100000"},
            0.5,
        ),
        ({**V1, "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us": "-1\n"}, None),
        (
            {
                **V1,
                "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us": "250000\n",
                "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us": "100000\n",
            },
            2.5,
        ),
        # A container that sees its own group at the mount point, although /proc names a path on the host.
        (
            {
                "proc/self/cgroup": "2:cpu:/docker/abc\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            3.0,
        ),
    ],
)
def test_quota(files: Write, texts: dict[str, str], expected: float | None) -> None:
    assert cgroup.quota_cores(files(texts)) == expected


def test_usable_cores_is_never_zero_and_never_more_than_the_affinity(files: Write) -> None:
    assert cgroup.usable_cores(files({**V2, "sys/fs/cgroup/user/job/cpu.max": "20000 100000\n"})) == 1
    assert cgroup.usable_cores(files({**V2, "sys/fs/cgroup/user/job/cpu.max": "99900000 100000\n"})) == len(
        os.sched_getaffinity(0)
    )


def test_memory_limit_of_v1_and_v2(files: Write) -> None:
    assert cgroup.memory_limit(files({**V2, "sys/fs/cgroup/user/job/memory.max": "max\n"})) is None
    assert cgroup.memory_limit(files({"sys/fs/cgroup/user/job/memory.max": "1000000\n"})) == 1_000_000


def test_an_unlimited_v1_group_says_a_huge_number(files: Write) -> None:
    root = files({**V1, "sys/fs/cgroup/memory/box/memory.limit_in_bytes": "9223372036854771712\n"})
    assert cgroup.memory_limit(root) is None


X86 = """processor : 0
model name\t: Some CPU 9000
microcode\t: 0xabc
flags\t\t: fpu sse hypervisor avx2 avx512f avx512_vnni amx_tile avx_unknown
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp bf16 sve crc32\nCPU implementer\t: 0x41\n"


def test_an_x86_machine(files: Write) -> None:
    machine = detect(
        files(
            {
                "proc/cpuinfo": X86,
                "proc/meminfo": "MemTotal:       1000 kB\n",
                "sys/devices/system/cpu/cpu0/cache/index0/level": "1\n",
                "sys/devices/system/cpu/cpu0/cache/index0/type": "Data\n",
                "sys/devices/system/cpu/cpu0/cache/index0/size": "32K\n",
                "sys/devices/system/cpu/cpu0/cache/index3/level": "3\n",
                "sys/devices/system/cpu/cpu0/cache/index3/type": "Unified\n",
                "sys/devices/system/cpu/cpu0/cache/index3/size": "4M\n",
                "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
                "sys/class/dmi/id/sys_vendor": "QEMU\n",
            }
        )
    )
    assert machine.cpu == "Some CPU 9000"
    assert machine.flags == ("amx_tile", "avx2", "avx512_vnni", "avx512f")
    assert machine.memory_bytes == 1_024_000
    assert machine.caches_bytes == {"L1d": 32768, "L3": 4 * 2**20}
    assert (machine.thp, machine.hypervisor, machine.microcode) == ("madvise", "QEMU", "0xabc")
    assert machine.has_vnni
    assert not machine.has_bf16
    unread = ("aslr", "cgroup_version", "clocksource", "governor", "mitigations", "numa_nodes", "smt", "swap_bytes")
    assert machine.missing == (*unread, "topology")
    assert (machine.has_avx2, machine.has_amx) == (True, True)


def test_an_arm_machine(files: Write) -> None:
    machine = detect(files({"proc/cpuinfo": ARM}))
    assert machine.flags == ("asimd", "asimddp", "bf16", "sve")
    assert machine.has_vnni
    assert machine.has_bf16
    assert machine.hypervisor is None
    assert (machine.has_avx2, machine.has_amx) == (False, False)


def test_a_machine_that_tells_nothing_still_has_a_core_and_a_name(files: Write) -> None:
    machine = detect(files({}))
    assert machine.cores >= 1
    assert machine.cpu
    assert set(machine.missing) >= {"caches_bytes", "clocksource", "governor", "thp"}
    assert msgspec.json.decode(msgspec.json.encode(machine), type=Machine) == machine


def test_packages_are_named_without_importing_them() -> None:
    assert facts.packages()["numpy"]


def test_env_id_is_stable_and_tells_machines_apart() -> None:
    machine = detect()
    assert env_id(machine) == env_id(detect())
    assert len(env_id(machine)) == 12
    assert env_id(msgspec.structs.replace(machine, cores=machine.cores + 1)) != env_id(machine)


def test_the_later_facts(files: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    machine = detect(
        files(
            {
                **V2,
                "proc/meminfo": "MemTotal: 9 kB\nSwapTotal:       7 kB\n",
                "proc/sys/kernel/randomize_va_space": "2\n",
                "sys/devices/system/cpu/smt/active": "1\n",
                "sys/devices/system/cpu/vulnerabilities/mds": "Not affected\n",
                "sys/devices/system/cpu/vulnerabilities/l1tf": "Mitigation: PTE\n",
                "sys/devices/system/node/node0/x": "",
                "sys/devices/system/node/node1/x": "",
            }
        )
    )
    assert machine.mitigations == {"l1tf": "Mitigation: PTE"}
    assert (machine.smt, machine.numa_nodes, machine.cgroup_version) == (True, 2, 2)
    assert (machine.swap_bytes, machine.aslr, machine.flushes_denormals) == (7168, 2, False)
    assert machine.environment is not None
    assert machine.environment["OMP_NUM_THREADS"] == "2"


OLD: dict[str, object] = {
    "cpu": "A",
    "cores": 2,
    "logical_cpus": 2,
    "flags": ["avx2", "fma"],
    "memory_bytes": 5,
    "quota_cores": None,
    "kernel": "Linux 6",
    "hypervisor": None,
    "python": "3.11",
    "packages": {"numpy": "1.26", "torch": "2.1"},
}


def test_differences_say_what_is_different_and_nothing_else() -> None:
    one = msgspec.convert(OLD, Machine)
    two = msgspec.convert(
        {**OLD, "flags": ["avx2", "amx_tile"], "hypervisor": "KVM", "packages": {"numpy": "2.0", "torch": "2.1"}},
        Machine,
    )
    assert differences(one, one) == []
    assert differences(one, two) == [
        ("flags", "fma", "amx_tile"),
        ("hypervisor", "none", "KVM"),
        ("numpy", "1.26", "2.0"),
    ]


def test_what_an_old_study_did_not_record_is_no_difference() -> None:
    old = msgspec.convert({**OLD, "missing": ["flags"], "flags": []}, Machine)
    new = msgspec.convert({**OLD, "smt": True, "gpus": [{"name": "H"}], "mitigations": {}}, Machine)
    assert differences(old, new) == []
    two = msgspec.structs.replace(new, gpus=(Gpu(name="I"),), smt=False)
    assert differences(new, two) == [("smt", "True", "False"), ("gpus", "H", "I")]
