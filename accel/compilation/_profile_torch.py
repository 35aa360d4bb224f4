"""Where torch spends a run: torch.profiler's events, each operator with what it calls itself.

Kernels that a compiler generated aren't operators, so no event tells of them: what a compiled region takes beyond the
operators that it calls is counted as theirs.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from typing import Any

from accel.compilation import Arrays, Engine
from accel.compilation._profile import BETWEEN, GENERATED, LIBRARY, Call, Layers, layers, repeat, warm_up

RUN = "accel: run"
_COMPILED = "## Call CompiledFxGraph"
_AROUND = (
    "Torch-Compiled Region",
    "TorchDynamo",
    "Pregraph bytecode",
    "AOTDispatcher",
    "PythonSubclass",
    "Lazy Function",
)


def profile(
    engine: Engine, inputs: Arrays, seconds: float, *, generated: bool = False, on_device: bool = False
) -> Layers:
    """Run an opened engine on `inputs` for about `seconds` under torch.profiler.

    generated: the whole model is one compiled library, which doesn't tell its own kernels from those it calls.
    on_device: it runs on a GPU, so what counts is the time of the kernels that an operator started there.
    """
    from torch.profiler import ProfilerActivity, record_function
    from torch.profiler import profile as profiler

    def run() -> None:
        engine.run(inputs)

    def marked() -> None:
        with record_function(RUN):
            engine.run(inputs)

    warm_up(run, seconds)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_device else [])]
    # Some builds of the profiler print where it begins and ends.
    with redirect_stdout(io.StringIO()), profiler(activities=activities) as told:
        runs = repeat(marked, seconds)
    read = device_calls_of if on_device else calls_of
    return layers(
        read(told.events() or [], generated=generated),
        items=len(next(iter(inputs.values()))),
        runs=runs,
        source="torch.profiler",
        notes=_notes(generated=generated, on_device=on_device),
    )


def _notes(*, generated: bool, on_device: bool) -> tuple[str, ...]:
    library = ("which of its kernels take how long isn't told",) if generated else ()
    return (*library, *(("times of the kernels on the device",) if on_device else ()))


def calls_of(events: Iterable[Any], *, generated: bool = False) -> Iterator[Call]:
    """The outermost operators of each run, and what a run took beside them.

    events: FunctionEvents; an operator's time holds that of the operators it calls, so those aren't counted again.
    """
    for event in events:
        name = str(event.name)
        if _is_around(name) and _is_inside(event):
            outside = LIBRARY if generated else BETWEEN
            yield from _if_any(GENERATED if name.startswith(_COMPILED) else outside, event.self_cpu_time_total)
        elif _is_outermost(event):
            yield Call(name, _precision(name), event.cpu_time_total * 1e-6)


def device_calls_of(events: Iterable[Any], *, generated: bool = False) -> Iterator[Call]:
    """The same by the kernels that each operator started on the device; a run's rest is the device's idle time."""
    for event in events:
        name = str(event.name)
        if _is_around(name) and _is_inside(event):
            yield from _if_any(GENERATED, event.self_device_time_total)
            if name == RUN:
                yield from _if_any(BETWEEN, event.cpu_time_total - event.device_time_total)
        elif _is_outermost(event):
            yield from _if_any(name, event.device_time_total)


def _if_any(kind: str, microseconds: float) -> Iterator[Call]:
    if microseconds > 0:
        yield Call(kind, _precision(kind), microseconds * 1e-6)


def _is_around(name: str) -> bool:
    return name == RUN or name.startswith((_COMPILED, *_AROUND))


def _is_outermost(event: Any) -> bool:
    """True for an operator in a run that no other operator called."""
    return event.cpu_parent is not None and _is_around(str(event.cpu_parent.name)) and _is_inside(event)


def _is_inside(event: Any) -> bool:
    while event is not None and event.name != RUN:
        event = event.cpu_parent
    return event is not None


def _precision(name: str) -> str:
    """Only operators on 8 bits say it in their names."""
    word = name.rpartition("::")[2]
    return "int8" if word.startswith(("qlinear", "qconv", "_weight_int8", "int8")) else ""
