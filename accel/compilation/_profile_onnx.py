"""Where ONNX Runtime spends a run: read from the profile that the runtime itself writes (Chrome trace events, JSON).

Format: https://onnxruntime.ai/docs/performance/tune-performance/profiling-tools.html ; `dur` and `ts` are microseconds.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accel.compilation import Arrays
from accel.compilation._artefact import Artefact
from accel.compilation._profile import Call, Layers, layers, repeat, warm_up

if TYPE_CHECKING:
    from accel.compilation.onnxruntime import OnnxRuntime

_KERNEL = "_kernel_time"
_WORDS = {"float": "float32", "double": "float64"}


def profile(backend: OnnxRuntime, folder: Path, inputs: Arrays, seconds: float) -> Layers:
    """Open an artefact with its profiler on and run `inputs` for about `seconds`."""
    import onnxruntime as ort

    from accel.compilation.onnxruntime import fitting

    stored = fitting(Artefact.load(folder))
    options = backend.options(ort, stored)
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as place:
        options.profile_file_prefix = str(Path(place) / "profile")
        session = ort.InferenceSession(str(folder / stored.file), options, providers=["CPUExecutionProvider"])

        def run() -> None:
            session.run(None, inputs)

        warm = warm_up(run, seconds)
        runs = repeat(run, seconds)
        events = json.loads(Path(session.end_profiling()).read_text())
    items = len(next(iter(inputs.values())))
    return layers(calls_of(events, skip=warm), items=items, runs=runs, source="the profiler of ONNX Runtime")


def calls_of(events: list[dict[str, Any]], *, skip: int) -> Iterator[Call]:
    """The kernels of a profile, those of the first `skip` runs left out."""
    ends = sorted(e["ts"] + e["dur"] for e in events if e.get("name") == "model_run")
    begin = ends[skip - 1] if skip else 0
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL) and event["ts"] >= begin:
            told = event.get("args", {})
            yield Call(str(told.get("op_name", "unknown")), _precision(told), event["dur"] * 1e-6)


def _precision(told: dict[str, Any]) -> str:
    """What the operator reads first, or writes where it reads nothing: what it computes in isn't told."""
    for given in (*told.get("input_type_shape", ()), *told.get("output_type_shape", ())):
        for name in given:
            return _WORDS.get(name, str(name))
    return ""
