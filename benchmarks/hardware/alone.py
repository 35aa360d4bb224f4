"""One run of a runtime under a limit, in a process of its own: `python -m benchmarks.hardware.alone LIMIT …`.

The process puts itself under the limit first, so that everything it loads finds the machine as a container would. Side
"accel" opens the artefact as a study would, at the backend's defaults and with the variables a measure child gets;
side "own" opens the same file with the runtime left to itself: no word about threads. Both then run the same loop over
the same batches: one item at a time, then in batches. The last line printed is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from benchmarks.hardware.limits import Limit
from benchmarks.peers.rival import batches, rows_of, stacked

Call = Callable[[Mapping[str, npt.NDArray[Any]]], Any]
JOINED = "ACCEL_BENCH_JOINED"
_WARM_S, _LEAST_CALLS = 0.6, 5


def as_accel(runtime: str, folder: Path) -> tuple[Call, dict[str, str]]:
    """The backend at its defaults, opened as in a measure child."""
    from accel import plugins
    from accel.measurement import affinity
    from accel.measurement.opening import open_engines
    from accel.plugins import Named

    limit = affinity.limit()
    backend = plugins.make("compilation", Named(runtime))
    (engine,), opened = open_engines(backend, folder, [()], lambda text: None)
    return engine.run, {"threads": str(opened.effective.threads), "accel says": limit, **opened.effective.detail}


def left_to_itself(runtime: str, folder: Path) -> tuple[Call, dict[str, str]]:
    """The same file with nothing said of threads; OpenVINO is told float32, so that both sides compute alike."""
    return {"onnxruntime": _onnxruntime, "openvino": _openvino, "eager": _torch}[runtime](folder)


def _onnxruntime(folder: Path) -> tuple[Call, dict[str, str]]:
    import onnxruntime as ort

    session = ort.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    return lambda batch: session.run(None, {n: batch[n] for n in names}), {"threads": "left to it"}


def _openvino(folder: Path) -> tuple[Call, dict[str, str]]:
    import openvino as ov

    core = ov.Core()
    compiled = core.compile_model(
        core.read_model(str(folder / "model.xml")), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    request = compiled.create_infer_request()
    names = [port.get_any_name() for port in compiled.inputs]

    def call(batch: Mapping[str, npt.NDArray[Any]]) -> Any:
        result = request.infer([batch[n] for n in names], share_inputs=True)
        return [np.array(value) for value in result.to_tuple()]

    return call, {"threads": str(compiled.get_property("INFERENCE_NUM_THREADS"))}


def _torch(folder: Path) -> tuple[Call, dict[str, str]]:
    import torch

    from accel.compilation._torch import Direct
    from accel.model.torch_form import TorchForm, as_numpy, as_tensor

    run = Direct(TorchForm.open(folder))

    def call(batch: Mapping[str, npt.NDArray[Any]]) -> Any:
        with torch.inference_mode():
            return [as_numpy(v) for v in run({n: as_tensor(a) for n, a in batch.items()})]

    return call, {"threads": str(torch.get_num_threads())}


def timed(call: Call, listed: Sequence[dict[str, Any]], seconds: float) -> dict[str, float]:
    """Run batch after batch for so long, stacking inside the timed span; seconds of a call, and items a second."""
    split = [{name: rows_of(array) for name, array in batch.items()} for batch in listed]
    size = len(next(iter(split[0].values())))
    _calls(call, split, _WARM_S)
    times, took = _calls(call, split, seconds)
    p50, p99 = np.quantile(times, (0.5, 0.99), method="inverted_cdf")
    return {"rate": size * len(times) / took, "p50_s": float(p50), "p99_s": float(p99), "calls": float(len(times))}


def _calls(call: Call, split: Sequence[dict[str, list[Any]]], seconds: float) -> tuple[list[float], float]:
    times: list[float] = []
    begun = now = time.perf_counter()
    for batch in cycle(split):
        call({name: stacked(rows) for name, rows in batch.items()})
        before, now = now, time.perf_counter()
        times.append(now - before)
        if now - begun >= seconds and len(times) >= _LEAST_CALLS:
            break
    return times, now - begun


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("limit", help="a Limit as JSON")
    parser.add_argument("side", choices=("accel", "own"))
    parser.add_argument("runtime", choices=("onnxruntime", "openvino", "eager"))
    parser.add_argument("folder", type=Path, help="of the artefact")
    parser.add_argument("inputs", type=Path, nargs=2, help="folders of batches: of one item, of several")
    parser.add_argument("--seconds", type=float, default=2.0)
    given = parser.parse_args(arguments)
    if JOINED not in os.environ:
        _begin_again(given)
    from accel.measurement import cgroup

    call, told = (as_accel if given.side == "accel" else left_to_itself)(given.runtime, given.folder)
    before, begun = cgroup.throttling(), time.process_time()
    one, several = (timed(call, batches(folder), given.seconds) for folder in given.inputs)
    cpu_s, after = time.process_time() - begun, cgroup.throttling()
    held = None if not before or not after else after["nr_throttled"] - before["nr_throttled"]
    periods = None if not before or not after else after["nr_periods"] - before["nr_periods"]
    print(
        "\n"
        + json.dumps(
            {"one": one, "several": several, "detail": told, "cpu_s": cpu_s, "held": held, "periods": periods}
        ),
        flush=True,
    )
    return 0


def _begin_again(given: argparse.Namespace) -> None:
    """Join, then start Python anew: what is loaded already (numpy's own threads) was loaded without the limit."""
    msgspec.json.decode(given.limit, type=Limit).join()
    env = dict(os.environ)
    if given.side == "accel":
        from accel import plugins
        from accel.measurement.isolation import environment
        from accel.plugins import Named

        env = environment(plugins.make("compilation", Named(given.runtime)).env())
    os.execve(sys.executable, [sys.executable, "-m", "benchmarks.hardware.alone", *sys.argv[1:]], env | {JOINED: "1"})


if __name__ == "__main__":
    sys.exit(main())
