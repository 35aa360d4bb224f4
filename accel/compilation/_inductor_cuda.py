"""torch.compile on an NVIDIA GPU: Triton kernels for a fixed set of batch sizes; CUDA graphs by "reduce-overhead".

Each size is compiled by itself, since a graph of fixed shapes is what CUDA can record and replay; a batch between two
sizes is filled up to the larger one. Axes other than the batch that vary share one graph, which isn't recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from accel.compilation import Arrays
from accel.compilation._artefact import Artefact
from accel.compilation._torch import Direct, explain_torch, load_example
from accel.compilation._torch_cuda import (
    Card,
    CudaEngine,
    asked,
    check_stored,
    effective,
    load_torch,
    low_dtype,
    prepare,
    set_tf32,
)

_WARM_RUNS = 3
"""CUDA graphs are recorded in the second run of a shape and replayed from the third."""


def open_compiled(
    form: Any, artefact: Artefact, folder: Path, *, precision: str, mode: str, freezing: bool, sizes: tuple[int, ...]
) -> CudaEngine:
    """Compile (or load from the artefact's cache) every batch size and run each; raises VariantError."""
    torch = load_torch()
    check_stored(artefact)
    precision = asked(artefact, precision)
    tf32 = set_tf32(torch, precision == "tf32")
    device = prepare(torch, form, precision, channels_last=False)
    sizes = artefact.sizes or tuple(sorted(set(sizes)))
    closing = _settings(torch, freezing, len(sizes))
    form.module.compile(mode=mode, dynamic=False)
    graphs = "by torch.compile" if mode in ("reduce-overhead", "max-autotune") else "none"
    detail = {"mode": mode, "freezing": str(freezing).lower(), "CUDA graphs": graphs}
    detail["sizes compiled"] = ", ".join(map(str, sizes))
    engine = CudaEngine(
        Card(torch, device, low_dtype(torch, precision)),
        _stepped(torch, Direct(form), artefact),
        artefact,
        effective(torch, precision, "torch inductor, cuda", detail, tf32),
        sizes=sizes,
        context=torch.no_grad,
        closing=closing,
    )
    try:
        _warm_up(engine, load_example(folder))
    except Exception as error:
        engine.close()
        raise explain_torch(error, "compiling the model for the GPU") from error
    return engine


def _settings(torch: Any, freezing: bool, sizes: int) -> Callable[[], None]:
    """Set what holds for the whole process while a size may still be compiled; gives what sets it back."""
    inductor, dynamo = torch._inductor.config, torch._dynamo.config
    before = inductor.freezing, dynamo.recompile_limit
    inductor.freezing = freezing
    # Above its limit of graphs a function torch would run the module uncompiled and only log it.
    dynamo.recompile_limit = max(dynamo.recompile_limit, 2 * sizes + 2)

    def back() -> None:
        inductor.freezing, dynamo.recompile_limit = before

    return back


def _stepped(torch: Any, call: Direct, artefact: Artefact) -> Callable[[dict[str, Any]], Any]:
    """Say before every call that the last one's outputs have been read: a CUDA graph writes the same memory again."""
    varying = {t.name: [i for i, a in enumerate(t.shape) if i and isinstance(a, str)] for t in artefact.inputs}

    def step(tensors: dict[str, Any]) -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        for name, axes in varying.items():
            for axis in axes:
                torch._dynamo.maybe_mark_dynamic(tensors[name], axis)
        return call(tensors)

    return step


def _warm_up(engine: CudaEngine, example: Arrays) -> None:
    for rows in engine.sizes or ():
        for _ in range(_WARM_RUNS):
            engine.run(repeated(example, rows))


def repeated(example: Arrays, rows: int) -> Arrays:
    """Exactly `rows` rows, those of the example over and over.

    >>> repeated({"x": np.array([[1], [2]])}, 3)["x"].ravel().tolist()
    [1, 2, 1]
    """
    return {name: value[np.arange(rows) % len(value)] if value.ndim else value for name, value in example.items()}
