"""`make gpu`: needs Python 3.12 or later and torch here; no network, no other package. The standard library alone.

What is carried lies in `.gpu` (`make gpu-wheels` at home makes it; a machine with a network makes it by itself). It is
installed beside the run, into a folder of its own: nothing on this machine is changed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WHEELS = ROOT / ".gpu"
LIMIT_S = 540.0
_CLOSING_S = 20.0


def main() -> int:
    """Install what is carried, run the benchmark with it, say where the archives lie."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "accel-results" / "gpu")
    parser.add_argument("--seconds", type=float, default=LIMIT_S, help="for everything, installing included")
    parser.add_argument("--rehearse", action="store_true", help="the processor in the GPU's place, a tiny network")
    parser.add_argument("--models", default="")
    given = parser.parse_args()
    begun = time.monotonic()
    for package in ("torch", "numpy"):
        if importlib.util.find_spec(package) is None:
            print(f"This Python ({sys.executable}) has no {package}. Name one that has: make gpu GPU_PYTHON=...")
            return 2
    if not list(WHEELS.glob("*.whl")):
        from fetch import fetch

        fetch(WHEELS, f"{sys.version_info.major}.{sys.version_info.minor}")
    with tempfile.TemporaryDirectory(prefix="accel-site-") as site:
        install(Path(site))
        left_s = given.seconds - (time.monotonic() - begun) - _CLOSING_S
        command = [sys.executable, "-m", "benchmarks.gpu.run", "--out", str(given.out.absolute())]
        command += ["--seconds", f"{left_s:.0f}", *(["--rehearse"] if given.rehearse else [])]
        command += ["--models", given.models] if given.models else []
        return subprocess.run(command, cwd=ROOT, env=environment(Path(site)), check=False).returncode


def install(site: Path) -> None:
    """Unpack every carried wheel into a folder: none of them has anything to run or to compile.

    Raises SystemExit for one that is for another Python.
    """
    here = f"cp{sys.version_info.major}{sys.version_info.minor}"
    for wheel in sorted(WHEELS.glob("*.whl")):
        python, abi = wheel.stem.split("-")[2:4]
        if python not in (here, "py3") and abi != "abi3":
            wanted = f"{sys.version_info.major}.{sys.version_info.minor}"
            raise SystemExit(f"{wheel.name} is for another Python than {wanted}: make gpu-wheels GPU_VERSION={wanted}")
        with zipfile.ZipFile(wheel) as file:
            file.extractall(site)


def environment(site: Path) -> dict[str, str]:
    """The repository's own accel, benchmarks and recipes, then what was carried."""
    path = [str(ROOT), str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}


if __name__ == "__main__":
    sys.exit(main())
