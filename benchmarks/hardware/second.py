"""Other ways to find what a machine can do at most, none of which shares code with accel's own.

native: a program in C of this folder, vector instructions on registers and plain reading, no library. likwid: the
microbenchmarks of `likwid-bench` (Treibig, Hager, Wellein: LIKWID, 2010; `apt-get install likwid`). openblas: numpy's
matrix product, a thread a matrix, in a process of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from accel.measurement.bandwidth import buffer_bytes
from accel.measurement.machine import Machine

SOURCE = Path(__file__).with_name("peaks.c")
_KINDS, _LEVELS = ("fp32", "bf16", "int8"), ("l2", "l3", "ram")
_SECONDS, _PASSES = 0.3, 3
"""accel's own child measures each peak three times, too, and keeps the best."""
_OPENBLAS = """
import sys
from accel.measurement.products import SIZES, multiplying
from accel.measurement.rounds import median_interval, often, rates
best = 0.0
for size in SIZES:
    with multiplying(size, int(sys.argv[1])) as work:
        best = max(best, median_interval(rates(work, often(work, 0.02), 9))[0])
print(best)
"""


def compiled(folder: Path) -> Path | None:
    """The program, compiled for this processor; None without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    program = folder / "peaks"
    options = ["-O3", "-march=native", "-ffp-contract=fast", "-pthread"]
    wide = ["-mprefer-vector-width=512"] if os.uname().machine in ("x86_64", "AMD64") else []
    subprocess.run([compiler, *options, *wide, "-o", str(program), str(SOURCE)], check=True)
    return program


def native(program: Path, machine: Machine, threads: int, l3_count: int) -> Iterator[tuple[str, float]]:
    """(kind, rate) of each kind that the processor has instructions for, the best of passes seconds apart."""
    asked = {kind: [kind, str(threads), "0"] for kind in _KINDS}
    asked |= {level: ["read", str(threads), str(size)] for level, size in _sizes(machine, threads, l3_count)}
    best: dict[str, float] = {}
    for _ in range(_PASSES):
        for what, arguments in asked.items():
            best[what] = max(best.get(what, 0.0), _asked([str(program), *arguments, str(_SECONDS)]))
    yield from ((what, rate) for what, rate in best.items() if rate > 0)


def likwid(machine: Machine, threads: int, l3_count: int) -> Iterator[tuple[str, float]]:
    """(kind, rate) from likwid-bench; nothing where it isn't installed or has no kernel for this processor."""
    if shutil.which("likwid-bench") is None or "avx2" not in machine.flags:
        return
    wide = "avx512" if "avx512f" in machine.flags else "avx"
    found = _likwid(f"peakflops_sp_{wide}_fma", threads, 16 << 10, "MFlops/s")
    if found is not None:
        yield "fp32", found
    for level, size in _sizes(machine, threads, l3_count):
        found = _likwid(f"load_{wide}", threads, size, "MByte/s")
        if found is not None:
            yield level, found


def openblas(threads: int) -> Iterator[tuple[str, float]]:
    """("fp32", rate) of numpy's product."""
    env = os.environ | {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    yield "fp32", _asked([sys.executable, "-c", _OPENBLAS, str(threads)], env=env)


def _sizes(machine: Machine, threads: int, l3_count: int) -> Iterator[tuple[str, int]]:
    for level in _LEVELS:
        size = buffer_bytes(level, threads, machine.caches_bytes, l3_count, machine.memory_bytes)
        if isinstance(size, int):
            yield level, size


def _asked(command: list[str], env: dict[str, str] | None = None) -> float:
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    return float(done.stdout)


def _likwid(kernel: str, threads: int, size: int, line: str) -> float | None:
    """A workgroup of all threads; sizes are of all of them together, in kB of 1000 bytes."""
    group = f"N:{max(1, size * threads // 1000)}kB:{threads}"
    done = subprocess.run(["likwid-bench", "-t", kernel, "-w", group], capture_output=True, text=True, check=False)
    found = re.search(rf"^{re.escape(line)}:\s+([0-9.]+)", done.stdout, re.MULTILINE)
    return 1e6 * float(found[1]) if found is not None and done.returncode == 0 else None
