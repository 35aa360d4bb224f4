"""At home: the wheels that a GPU machine without a network needs, in a folder that git ignores. Standard library alone.

python benchmarks/gpu/fetch.py [FOLDER] [PYTHON_VERSION]; accel itself runs from the tree.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("msgspec", "psutil", "cloudpickle")
"""What accel imports while it measures; numpy and torch are the GPU machine's own."""
OPTIONAL = ("nvidia-ml-py==13.615.71",)
MOST_BYTES = 4_000_000
_PLATFORMS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014", "manylinux_2_12", "manylinux2010")


def fetch(folder: Path, python: str) -> None:
    """Download them anew; raises SystemExit with a sentence where that isn't possible."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    platforms = [word for name in _PLATFORMS for word in ("--platform", f"{name}_x86_64")]
    wanted = [*pip, "download", "--no-deps", "--only-binary=:all:", "--implementation", "cp"]
    wanted += ["--python-version", python, *platforms, "--dest", str(folder), *pinned(), *OPTIONAL]
    done = subprocess.run(wanted, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise SystemExit(f"The wheels for the GPU machine can't be fetched: {last}")
    size = sum(wheel.stat().st_size for wheel in folder.glob("*.whl"))
    if size > MOST_BYTES:
        raise SystemExit(f"The wheels take {size} bytes, more than the {MOST_BYTES} that may be carried.")


def pinned() -> list[str]:
    """What is needed, in the versions of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return [line for line in lines if line.partition("==")[0] in NEEDED]


if __name__ == "__main__":
    given = sys.argv[1:]
    place = Path(given[0]) if given else ROOT / ".gpu"
    fetch(place, given[1] if len(given) > 1 else "3.12")
    print("\n".join(sorted(str(wheel.relative_to(place.parent)) for wheel in place.glob("*.whl"))))
