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
from accel.compilation._profile import BETWEEN, GENERATED, Call, Layers, layers, repeat, warm_up

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


def profile(engine: Engine, inputs: Arrays, seconds: float, *, generated: bool = False) -> Layers:
    """Run an opened engine on `inputs` for about `seconds` under torch.profiler.

    generated: the whole model is one compiled library, so that what isn't an operator is its own kernels.
    """
    from torch.profiler import ProfilerActivity, record_function
    from torch.profiler import profile as profiler

    def run() -> None:
        engine.run(inputs)

    def marked() -> None:
        with record_function(RUN):
            engine.run(inputs)

    warm_up(run, seconds)
    # Some builds of the profiler print where it begins and ends.
    with redirect_stdout(io.StringIO()), profiler(activities=[ProfilerActivity.CPU]) as told:
        runs = repeat(marked, seconds)
    return layers(
        calls_of(told.events() or [], generated=generated),
        items=len(next(iter(inputs.values()))),
        runs=runs,
        source="torch.profiler",
    )


def calls_of(events: Iterable[Any], *, generated: bool = False) -> Iterator[Call]:
    """The outermost operators of each run, and what a run took beside them.

    events: FunctionEvents; an operator's time holds that of the operators it calls, so those aren't counted again.
    """
    for event in events:
        name = str(event.name)
        if name == RUN:
            yield from _around(event, GENERATED if generated else BETWEEN)
        elif name.startswith(_COMPILED) and _is_inside(event):
            yield from _around(event, GENERATED)
        elif _is_around(name):
            if _is_inside(event):
                yield from _around(event, BETWEEN)
        elif _is_outermost(event):
            yield Call(name, _precision(name), event.cpu_time_total * 1e-6)


def _around(event: Any, kind: str) -> Iterator[Call]:
    """What a frame took itself; the operators in it are counted by themselves."""
    if event.self_cpu_time_total > 0:
        yield Call(kind, "", event.self_cpu_time_total * 1e-6)


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
