"""Single facts about a machine, each read from where the system tells it; None where it doesn't.

`root` is "/" for this machine; tests hand in a folder that looks like one.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

from accel.measurement.cgroup import memory_limit, read

FLAGS = re.compile(
    r"avx|avx2|fma|f16c|avx512\w*|avx_vnni\w*|avx_ifma|amx_\w+|asimd|asimddp|asimdhp|sve2?|svebf16|bf16|i8mm"
)
VARIABLES = re.compile(r"(OMP|KMP|GOMP|MKL|OPENBLAS|BLIS|TBB|VECLIB|NUMEXPR|MALLOC|ORT|CUDA)_\w+|LD_PRELOAD")
PACKAGES = (
    *("numpy", "torch", "torchao", "onnx", "onnxruntime", "openvino", "nncf", "transformers", "scikit-learn"),
    "skl2onnx",
    *("onnxruntime-gpu", "tensorrt", "torch-tensorrt", "triton"),
)


def cpu_name(root: Path) -> str | None:
    """The processor's own name; where the system gives none (many ARM machines), its architecture."""
    text = read(root / "proc/cpuinfo") or ""
    found = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else _sysctl("machdep.cpu.brand_string") or platform.machine() or None


def cpu_flags(root: Path) -> tuple[str, ...] | None:
    """Instruction sets that can change an inference time, sorted."""
    text = read(root / "proc/cpuinfo") or ""
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    if found:
        return tuple(sorted(f for f in set(found[1].split()) if FLAGS.fullmatch(f)))
    apple = {"FEAT_DotProd": "asimddp", "FEAT_BF16": "bf16", "FEAT_I8MM": "i8mm"}
    flags = tuple(sorted(name for key, name in apple.items() if _sysctl(f"hw.optional.arm.{key}") == "1"))
    return flags or None


def microcode(root: Path) -> str | None:
    """The processor's microcode revision."""
    found = re.search(r"^microcode\s*:\s*(\S+)", read(root / "proc/cpuinfo") or "", re.MULTILINE)
    return found[1] if found else None


def memory_bytes(root: Path) -> int | None:
    """Installed memory, or the cgroup's limit if that is lower."""
    found = re.search(r"^MemTotal:\s+(\d+) kB", read(root / "proc/meminfo") or "", re.MULTILINE)
    installed = int(found[1]) * 1024 if found else int(_sysctl("hw.memsize") or 0)
    known = [b for b in (installed or None, memory_limit(root)) if b is not None]
    return min(known, default=None)


def hypervisor(root: Path) -> str | None:
    """What runs this virtual machine, as far as it says; "unknown" if it only says that it is one; None if it isn't."""
    vendor = (read(root / "sys/class/dmi/id/sys_vendor") or "").strip()
    kind = (read(root / "sys/hypervisor/type") or "").strip()
    virtual = re.search(r"^flags\s*:.*\bhypervisor\b", read(root / "proc/cpuinfo") or "", re.MULTILINE)
    if kind:
        return kind
    return (vendor or "unknown") if virtual else None


def caches_bytes(root: Path) -> dict[str, int] | None:
    """Sizes of the first processor's caches by level and kind ("L1d", "L2", "L3")."""
    found: dict[str, int] = {}
    for folder in sorted((root / "sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((read(folder / n) or "").strip() for n in ("level", "type", "size"))
        match = re.fullmatch(r"(\d+)([KM]?)", size)
        if level and match:
            letter = {"Data": "d", "Instruction": "i"}.get(kind, "")
            found[f"L{level}{letter}"] = int(match[1]) * {"": 1, "K": 1024, "M": 1024**2}[match[2]]
    return found or None


def governor(root: Path) -> str | None:
    """How the operating system chooses the clock frequency."""
    return _line(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def clocksource(root: Path) -> str | None:
    """What the kernel's clock reads; anything but tsc costs a call into the kernel or the host."""
    return _line(root / "sys/devices/system/clocksource/clocksource0/current_clocksource")


def thp(root: Path) -> str | None:
    """Whether memory comes in huge pages: "always", "madvise" or "never"."""
    found = re.search(r"\[(\w+)\]", read(root / "sys/kernel/mm/transparent_hugepage/enabled") or "")
    return found[1] if found else None


def mitigations(root: Path) -> dict[str, str] | None:
    """What the kernel does against each weakness that this processor has; the others aren't named."""
    files = sorted((root / "sys/devices/system/cpu/vulnerabilities").glob("*"))
    texts = {path.name: (read(path) or "").strip() for path in files}
    return {name: text for name, text in texts.items() if text and text != "Not affected"} if texts else None


def smt(root: Path) -> bool | None:
    """Whether one core runs several threads at once."""
    text = _line(root / "sys/devices/system/cpu/smt/active")
    return None if text is None else text == "1"


def numa_nodes(root: Path) -> int | None:
    """How many groups of memory and processors there are."""
    return len(list((root / "sys/devices/system/node").glob("node[0-9]*"))) or None


def swap_bytes(root: Path) -> int | None:
    """How much memory could be moved to disk."""
    found = re.search(r"^SwapTotal:\s+(\d+) kB", read(root / "proc/meminfo") or "", re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def aslr(root: Path) -> int | None:
    """Whether addresses are random: 0 no, 1 partly, 2 fully."""
    text = _line(root / "proc/sys/kernel/randomize_va_space")
    return int(text) if text and text.isdigit() else None


def environment() -> dict[str, str]:
    """The variables that change how many threads run, where memory comes from or what is loaded."""
    return {name: value for name, value in sorted(os.environ.items()) if VARIABLES.fullmatch(name)}


def packages() -> dict[str, str]:
    """Version of every installed package that can change a number; imports none of them."""
    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _line(path: Path) -> str | None:
    return (read(path) or "").strip() or None


def _sysctl(name: str) -> str | None:
    if sys.platform != "darwin":
        return None
    done = subprocess.run(["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None
