"""Where OpenVINO spends a run: its own counters of each layer (PERF_COUNT), which also name the kernel's precision."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accel.compilation import Arrays
from accel.compilation._artefact import Artefact
from accel.compilation._profile import Call, Layers, layers, repeat, warm_up

if TYPE_CHECKING:
    from accel.compilation.openvino import OpenVino


def profile(backend: OpenVino, folder: Path, inputs: Arrays, seconds: float) -> Layers:
    """Compile an artefact with the counters on and run `inputs` for about `seconds`."""
    import openvino as ov

    stored = Artefact.load(folder)
    network = ov.Core().read_model(str(folder / stored.file))
    settings = backend.settings(stored.precision) | {"PERF_COUNT": "YES"}
    request = ov.Core().compile_model(network, "CPU", settings).create_infer_request()
    given = [inputs[name] for name in stored.input_names]
    calls: list[Call] = []

    def run() -> None:
        request.infer(given, share_inputs=True)

    def counted() -> None:
        run()
        calls.extend(calls_of(request.profiling_info))

    warm_up(run, seconds)
    runs = repeat(counted, seconds)
    return layers(calls, items=len(given[0]), runs=runs, source="the performance counters of OpenVINO")


def calls_of(told: Iterable[Any]) -> Iterator[Call]:
    """The layers that ran; one that was fused into another didn't run by itself."""
    for one in told:
        if str(one.status).endswith("EXECUTED"):
            yield Call(str(one.node_type), precision_of(str(one.exec_type)), one.real_time.total_seconds())


def precision_of(kernel: str) -> str:
    """The last word of a kernel's name, if it is a number type.

    >>> precision_of("brgconv_avx512_f32"), precision_of("brgemm_avx512_amx_I8"), precision_of("undef")
    ('f32', 'i8', '')
    """
    last = kernel.rpartition("_")[2].lower()
    return last if re.fullmatch(r"(f|bf|i|u)\d+", last) else ""
