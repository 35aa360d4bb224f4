"""How long from the command to the first measurement, in a first and in a second study of the same model?

    python -m benchmarks.search.second_study recipes/resnet50.toml recipes/bert_base.toml

Each study is a command of its own, as a user types it, and is interrupted once the original was measured. The second
ones find what the first has left in the cache, which starts empty. A quiet machine is needed; about 3 minutes a model.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from accel.measurement.machine import detect
from accel.result import Result, write_atomically
from accel.study.folder import StudyFolder
from benchmarks.knobs.rows import FOLDER
from benchmarks.search.second_part import second

FILE = "second_study.json"
_PATIENCE_S = 1200.0


def first_measurement_s(recipe: Path, out: Path, cache: Path) -> dict[str, Any]:
    """Seconds from starting `accel bench` to the start of its first run, and what it said it was doing on the way.

    The start of a run is the moment its result was made less what the run took, warm-up included.
    """
    command = [sys.executable, "-m", "accel.cli.main", "bench", str(recipe), "--out", str(out)]
    begun_ns = time.time_ns()
    with (out.with_suffix(".log")).open("w") as log:
        child = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | {"ACCEL_CACHE": str(cache)}
        )
        try:
            first = _wait(child, StudyFolder(out))
        finally:
            child.send_signal(signal.SIGINT)
            child.wait(timeout=300)
    steps = [line.strip() for line in out.with_suffix(".log").read_text().splitlines() if line.startswith("[")]
    at_ns = first.created_unix_ns - 1e9 * (first.wall_s or 0.0)
    return {"seconds": (at_ns - begun_ns) * 1e-9, "steps": steps[: _until(steps)]}


def _wait(child: subprocess.Popen[bytes], folder: StudyFolder) -> Result:
    """The first run that was measured, once both first runs of the original are there."""
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end and child.poll() is None:
        timed = [r for r in folder.results().values() if r.trace is not None]
        if len(timed) >= 2:
            return min(timed, key=lambda r: r.created_unix_ns)
        time.sleep(0.2)
    raise SystemExit(f"`{folder.root}` measured nothing; see {folder.root.with_suffix('.log')}")


def _until(steps: list[str]) -> int:
    return next((i + 1 for i, step in enumerate(steps) if "measured" in step), len(steps))


def measure(recipe: Path, repeats: int) -> dict[str, Any]:
    """The first study of a recipe with an empty cache, then `repeats` more."""
    with tempfile.TemporaryDirectory(prefix="accel-second-") as place:
        root = Path(place)
        found = [first_measurement_s(recipe, root / f"study-{i}", root / "cache") for i in range(repeats + 1)]
    return {"recipe": recipe.stem, "first": found[0], "second": found[1:]}


def main() -> None:
    """Measure the recipes named and write one JSON; a recipe that is there already is left alone unless `--anew`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--anew", action="store_true")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / FILE
    stored = json.loads(path.read_text()) if path.is_file() and not asked.anew else {"models": []}
    known = {one["recipe"] for one in stored["models"]}
    for recipe in asked.recipes:
        if recipe.stem in known:
            continue
        stored["models"].append(measure(recipe, asked.repeats))
        stored["machine"] = {"cpu": detect().cpu, "cores": detect().cores}
        write_atomically(path, json.dumps(stored, indent=1).encode() + b"\n")
    print("\n\n".join(second(path)))


if __name__ == "__main__":
    main()
