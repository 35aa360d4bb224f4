"""One run of somebody else's way to run a model, in a process of its own: `python -m benchmarks.peers.rival WHAT …`.

app           OpenVINO's benchmark_app itself, as installed, with its own defaults for the hint
app-copying   the same set-up, but every batch is put together from its items, and outputs are copied, in the timed span
onnxruntime   InferenceSession(path) and session.run, at the runtime's defaults
torch         torch.compile(mode="max-autotune") of the module in inference mode

All read the same batches, FOLDER/INPUT-000.npy and so on. The last line printed is JSON: `value` (items/s in batches,
or the median of a request's seconds), and `detail`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Batch = dict[str, npt.NDArray[Any]]
_WARM_S, _WARM_MOST = 0.5, 32
_LEAST_CALLS = 5
_SHORT = {"float32": "f32", "float64": "f64", "int64": "i64", "int32": "i32", "uint8": "u8", "bool": "boolean"}


def batches(folder: Path) -> list[Batch]:
    """Every batch of the folder; arrays (size, ...) by the input's name."""
    names = sorted({path.stem.rpartition("-")[0] for path in folder.glob("*.npy")})
    columns = [[np.load(path) for path in sorted(folder.glob(f"{name}-*.npy"))] for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def rows_of(array: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """The items of a batch, each with a batch axis of one."""
    return [array[i : i + 1] for i in range(len(array))]


def stacked(rows: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """One batch of items: a copy, except of a lone item, which is handed over as it is."""
    return rows[0] if len(rows) == 1 else np.concatenate(rows)


def timed(call: Callable[[dict[str, list[Any]]], Any], listed: Sequence[Batch], seconds: float) -> dict[str, Any]:
    """Run batch after batch, stacking inside the timed span; all of them once first, and for half a second."""
    split = [{name: rows_of(array) for name, array in batch.items()} for batch in listed]
    size = len(next(iter(split[0].values())))
    warm_until = time.perf_counter() + _WARM_S
    for i, batch in enumerate(islice(cycle(split), _WARM_MOST * len(split))):
        if i >= len(split) and time.perf_counter() >= warm_until:
            break
        call(batch)
    times: list[float] = []
    begun = now = time.perf_counter()
    for batch in cycle(split):
        call(batch)
        before, now = now, time.perf_counter()
        times.append(now - before)
        if now - begun >= seconds and len(times) >= _LEAST_CALLS:
            break
    return {"rate": size * len(times) / (now - begun), "median_s": float(np.median(times))}


def onnxruntime(model: Path, listed: Sequence[Batch], seconds: float, **_: Any) -> dict[str, Any]:
    """A session with nothing set."""
    import onnxruntime as ort

    session = ort.InferenceSession(str(model))
    names = [i.name for i in session.get_inputs()]

    def call(batch: dict[str, list[Any]]) -> Any:
        return session.run(None, {name: stacked(batch[name]) for name in names})

    threads = session.get_session_options().intra_op_num_threads
    return timed(call, listed, seconds) | {"detail": {"threads": str(threads or "default"), "version": ort.__version__}}


def torch(model: Path, listed: Sequence[Batch], seconds: float, **_: Any) -> dict[str, Any]:
    """The stored module, compiled as hard as inductor tries."""
    import torch as torch_

    from accel.compilation._torch import Direct
    from accel.model.torch_form import TorchForm, as_numpy, as_tensor

    form = TorchForm.open(model)
    form.module.compile(mode="max-autotune")
    run = Direct(form)

    def call(batch: dict[str, list[Any]]) -> Any:
        with torch_.inference_mode():
            outputs = run({name: as_tensor(stacked(rows)) for name, rows in batch.items()})
        return [as_numpy(value) for value in outputs]

    found = timed(call, listed, seconds)
    return found | {"detail": {"threads": str(torch_.get_num_threads()), "version": torch_.__version__}}


def app(
    model: Path, listed: Sequence[Batch], seconds: float, *, folder: Path, hint: str, copying: bool = False
) -> dict[str, Any]:
    """benchmark_app's own `main`, with its own command line; what it returns to itself is read before it is rounded."""
    from openvino.tools.benchmark import benchmark, main

    found: dict[str, Any] = {}
    own = benchmark.Benchmark.main_loop
    size = len(next(iter(listed[0].values())))

    def main_loop(self: Any, requests: Any, data_queue: Any, *rest: Any) -> Any:
        loop = Copying(self, requests, data_queue, size) if copying else None
        for self.duration_seconds in (_WARM_S, seconds):
            if loop is None:
                result = own(self, requests, data_queue, *rest)
                found.update(rate=size * result[6] / result[5], median_s=result[1] / 1e3)
            else:
                found.update(loop.run(self.duration_seconds))
                result = (found["rate"], *[1e3 * found["median_s"]] * 4, seconds, 1)
        found["detail"] = settings(requests[0].get_compiled_model()) | {"requests": str(self.nireq)}
        return result

    benchmark.Benchmark.main_loop = main_loop
    free = hint == "latency" and any_length(model)
    sys.argv = ["benchmark_app", *command(model, folder, listed[0], size, hint, free=free)]
    main.main()
    typed = command(Path("MODEL"), Path("INPUTS"), {}, size, hint, free=free)
    return found | {"command": " ".join(("benchmark_app", *typed))}


def any_length(model: Path) -> bool:
    """True if more than the batch is left open in an input's shape."""
    import openvino as ov

    return any(dim.is_dynamic for i in ov.Core().read_model(str(model)).inputs for dim in list(i.partial_shape)[1:])


def command(model: Path, folder: Path, batch: Batch, size: int, hint: str, *, free: bool = False) -> list[str]:
    """What a user types: the model, the hint, the batch size, real inputs that are set anew for every request.

    free: lengths are open; for these benchmark_app itself asks for its asynchronous calls, one at a time.
    """
    fixed = ["-m", str(model), "-d", "CPU", "-hint", hint, "-b", str(size), "-inference_only", "false", "-t", "1"]
    fixed += ["-api", "async", "-nireq", "1"] if free else []
    if not batch:
        return [*fixed, "-i", "INPUT:FILES"]
    files = ",".join(f"{name}:{','.join(str(path) for path in sorted(folder.glob(f'{name}-*.npy')))}" for name in batch)
    types = ",".join(f"{name}:{_SHORT.get(array.dtype.name, array.dtype.name)}" for name, array in batch.items())
    return [*fixed, "-i", files, "-iop", types]


def settings(compiled: Any) -> dict[str, str]:
    """What the runtime says it took."""
    asked = ("NUM_STREAMS", "INFERENCE_NUM_THREADS", "INFERENCE_PRECISION_HINT", "PERFORMANCE_HINT")
    values = {name: compiled.get_property(name) for name in asked}
    return {name.lower(): str(getattr(value, "get_type_name", lambda v=value: v)()) for name, value in values.items()}


class Copying:
    """benchmark_app's loops with what a caller has to do beside: put a batch together, and take the outputs away."""

    def __init__(self, own: Any, requests: Any, data_queue: Any, size: int) -> None:
        self._sync, self._requests, self._size = own.api_type == "sync", requests, size
        queue = data_queue.input_data
        count = max(len(tensors) for tensors in queue.values())
        self._split = [
            {port: rows_of(np.array(tensors[i % len(tensors)].data)) for port, tensors in queue.items()}
            for i in range(count)
        ]

    def run(self, seconds: float) -> dict[str, Any]:
        """Items/s, and the median of a batch's seconds from its first item to its last output."""
        return self._one_by_one(seconds) if self._sync else self._side_by_side(seconds)

    def _inputs(self) -> Iterator[dict[int, Any]]:
        import openvino as ov

        for batch in cycle(self._split):
            yield {port: ov.Tensor(stacked(rows), shared_memory=True) for port, rows in batch.items()}

    def _one_by_one(self, seconds: float) -> dict[str, Any]:
        request, inputs = self._requests[0], self._inputs()
        times: list[float] = []
        begun = now = time.perf_counter()
        while now - begun < seconds or len(times) < _LEAST_CALLS:
            request.set_input_tensors(next(inputs))
            request.infer()
            _taken(request)
            before, now = now, time.perf_counter()
            times.append(now - before)
        return {"rate": self._size * len(times) / (now - begun), "median_s": float(np.median(times))}

    def _side_by_side(self, seconds: float) -> dict[str, Any]:
        queue, inputs = self._requests, self._inputs()
        flying: dict[int, float] = {}
        held: dict[int, Any] = {}
        times: list[float] = []
        begun = time.perf_counter()
        while time.perf_counter() - begun < seconds or len(times) < _LEAST_CALLS:
            number = queue.get_idle_request_id()
            if number in flying:
                _taken(queue[number])
                times.append(time.perf_counter() - flying[number])
            flying[number] = time.perf_counter()
            held[number] = next(inputs)
            queue[number].set_input_tensors(held[number])
            queue.start_async()
        queue.wait_all()
        for number, since in flying.items():
            _taken(queue[number])
            times.append(time.perf_counter() - since)
        took = time.perf_counter() - begun
        return {"rate": self._size * len(times) / took, "median_s": float(np.median(times))}


def _taken(request: Any) -> list[npt.NDArray[Any]]:
    return [tensor.data.copy() for tensor in request.output_tensors]


RUNS: dict[str, Callable[..., dict[str, Any]]] = {"onnxruntime": onnxruntime, "torch": torch}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("app", "app-copying", *RUNS))
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--hint", default="throughput")
    given = parser.parse_args(arguments)
    listed = batches(given.folder)
    if given.what in RUNS:
        found = RUNS[given.what](given.model, listed, given.seconds)
    else:
        found = app(
            given.model,
            listed,
            given.seconds,
            folder=given.folder,
            hint=given.hint,
            copying=given.what == "app-copying",
        )
    print("\n" + json.dumps(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
