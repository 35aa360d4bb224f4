"""Opens artefacts in a process of their own, as a measure child does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np

from accel import plugins
from accel.plugins import Named

_CODE = """
import json, sys
import msgspec, numpy as np
from pathlib import Path
from accel import plugins
from accel.errors import AccelError
named, folder, where, sizes = json.loads(sys.argv[1])
given = dict(np.load(where + "/in.npz"))
try:
    engine = plugins.make("compilation", msgspec.convert(named, plugins.Named)).open(Path(folder))
    out = {}
    for n in sizes:
        for name, value in engine.run({k: v[:n] for k, v in given.items()}).items():
            out[f"{n}/{name}"] = value
    np.savez(where + "/out.npz", **out)
    told = {"effective": msgspec.to_builtins(engine.effective), "sizes": engine.sizes}
    told["modules"] = sorted({m.partition(".")[0] for m in sys.modules})
    engine.close()
except AccelError as error:
    told = {"error": str(error), "next_step": error.next_step}
Path(where + "/told.json").write_text(json.dumps(told))
"""


def run_fresh(named: Named, folder: Path, inputs: dict[str, np.ndarray], sizes: list[int], where: Path) -> dict:
    """Outputs per batch size ("3/y"), with `effective`, `sizes` and the top-level modules that were imported."""
    where.mkdir(parents=True, exist_ok=True)
    np.savez(where / "in.npz", **inputs)
    backend = plugins.make("compilation", named)
    env = {**os.environ, **backend.env()}
    told = json.dumps([msgspec.to_builtins(named), str(folder), str(where), sizes])
    done = subprocess.run([sys.executable, "-c", _CODE, told], env=env, capture_output=True, text=True, cwd=where)
    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads((where / "told.json").read_text())
    if "error" not in answer:
        answer["outputs"] = dict(np.load(where / "out.npz"))
    return answer
