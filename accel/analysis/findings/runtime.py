"""What a runtime does with the time it takes: steps that only move numbers, operators that run by themselves, graphs
compiled again, slow first calls and wrong answers.

Shares of time come from the runtime's own profiler, which slows down what it watches: they say where to look, and no
comparison rests on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from accel.analysis import wording as words
from accel.analysis.conclusion import Finding, Row
from accel.analysis.findings.seen import Seen, sentence
from accel.analysis.layers import multiplying
from accel.analysis.wording import listed
from accel.compilation._profile import AROUND, Layers
from accel.units import show_seconds

_MOVES, _CONVERTS, _ALONE, _AROUND = 0.10, 0.15, 0.30, 0.30
"""Shares of the time from which on a kind of step is worth a line."""
_SMALL = ("elementwise", "norm", "softmax", "reduce")
_FEW = 3
_FIRST_S, _FIRST_TIMES = 0.1, 10
_OPENING_S, _OPENING_TIMES, _SAID_ELSEWHERE_S = 0.5, 20, 10
_PROFILED = "Shares were taken with the runtime's profiler on, apart from the timed runs."


def _recommended(seen: Seen) -> Iterator[Row]:
    """The winners, or the original where it stays."""
    names = seen.winners or ((seen.record.baseline,) if seen.answers else ())
    return (row for row in seen.rows if row.name in names)


def _of_layers(seen: Seen) -> Iterator[Finding]:
    for row in _recommended(seen):
        layers = seen.layers_of(row.name)
        if layers is not None:
            for rule in (_layout, _quantizing, _alone, _between):
                yield from rule(row, layers)


def _layout(row: Row, layers: Layers) -> Iterator[Finding]:
    share = layers.share("layout")
    if share >= _MOVES:
        steps = round(layers.calls("layout"))
        yield Finding(
            what=f"`{row.name}`: {words.percent(share)} of the time goes into {steps} layout conversions, steps that "
            f"only move numbers or change their type: {_types(layers, 'layout')}.",
            why=f"Neighbours that want their numbers in another order pay for it in every run. {_PROFILED}",
            command=_list(row),
            weight=40 + 40 * share,
        )


def _quantizing(row: Row, layers: Layers) -> Iterator[Finding]:
    share = layers.share("quantize")
    if share >= _CONVERTS:
        steps = round(layers.calls("quantize"))
        yield Finding(
            what=f"`{row.name}`: {words.percent(share)} of the time goes into {steps} steps that only quantize or "
            "dequantize.",
            why=f"Operators left in float between those in 8 bits need them: see what computes in 8 bits. {_PROFILED}",
            command=_list(row, compression=True),
            weight=40 + 40 * share,
        )


def _alone(row: Row, layers: Layers) -> Iterator[Finding]:
    """Small operators beside large ones that a compiler would have joined with them."""
    share, count = layers.share(*_SMALL), round(layers.calls(*_SMALL))
    if share >= _ALONE and count > _FEW and multiplying(layers) > 0:
        yield Finding(
            what=f"`{row.name}`: {words.percent(share)} of the time goes into {count} unfused operators beside the "
            f"products: {_types(layers, *_SMALL)}.",
            why="Each reads and writes its whole tensor; a compiler joins them with the product before them. "
            f"{_PROFILED}",
            command=_list(row),
            weight=38 + 40 * share,
        )


def _between(row: Row, layers: Layers) -> Iterator[Finding]:
    share = layers.share(AROUND)
    if share >= _AROUND:
        yield Finding(
            what=f"`{row.name}`: {words.percent(share)} of a run of {layers.items} passes between its operators.",
            why=f"That is the cost of calling them one by one: larger batches spread it over more items. {_PROFILED}",
            command=_list(row),
            weight=36 + 40 * share,
        )


def _types(layers: Layers, *classes: str) -> str:
    """The three types that take most, with their share: `Reorder (8 %) and Transpose (4 %)`."""
    by_type: dict[str, float] = {}
    for one in layers.times:
        if one.layer_class in classes:
            by_type[one.type] = by_type.get(one.type, 0.0) + one.seconds_share
    most = sorted(by_type.items(), key=lambda item: (-item[1], item[0]))[:_FEW]
    return listed([f"`{kind}` ({words.percent(share)})" for kind, share in most])


def _recompiled(seen: Seen) -> Iterator[Finding]:
    """torch compiled again while a variant was run: a dynamic shape that its graph doesn't cover."""
    most: dict[str, int] = {}
    for result in seen.results:
        if result.recompiled:
            most[result.variant.name] = max(result.recompiled, most.get(result.variant.name, 0))
    for name, count in most.items():
        times = "once" if count == 1 else f"{count} times"
        yield Finding(
            what=f"`{name}`: torch compiled again {times} after it was opened, for shapes that it hadn't seen.",
            why="The model's code depends on a size that changes, so each new one is compiled in the middle of a "
            "request, and after a few torch runs it uncompiled without a word. Pad to a few sizes, or take a runtime "
            "with dynamic shapes. The command writes the guard that failed to the study's log.",
            command=f"TORCH_LOGS=recompiles {seen.record.command}",
            weight=64,
        )


def _first_calls(seen: Seen) -> Iterator[Finding]:
    """A batch size that costs much when it is met first; the very first call of all is told by `_first_slow`."""
    names = {row.name for row in _recommended(seen)}
    for name in sorted(names):
        calls = [c for r in seen.results if r.variant.name == name for c in r.first_calls]
        slow = [c for c in calls if c.first_s >= max(_FIRST_S, _FIRST_TIMES * c.later_s)]
        if slow:
            worst = max(slow, key=lambda c: c.first_s)
            sizes = sorted({c.size for c in slow})
            yield Finding(
                what=f"`{name}`: the first call with a batch of {worst.size} takes {show_seconds(worst.first_s)}, "
                f"later ones {show_seconds(worst.later_s)}.",
                why=f"It plans, allocates or compiles for each new shape (seen at {listed([str(s) for s in sizes])}): "
                "call it once with every batch size before it takes requests, and keep to few sizes.",
                command="accel list dynamic",
                weight=43,
            )


def _first_slow(seen: Seen) -> Iterator[Finding]:
    for row in seen.winning_rows():
        first = row.set_up.first_run_s if row.set_up is not None else None
        if row.set_up is None or first is None or row.p50 is None or (row.set_up.start_s or 0.0) >= _SAID_ELSEWHERE_S:
            continue
        if first >= max(_OPENING_S, _OPENING_TIMES * row.p50.value):
            yield Finding(
                what=f"`{row.name}`: the first call of all takes {show_seconds(first)}, a usual one "
                f"{show_seconds(row.p50.value)}.",
                why="Whoever sends the first request after a start waits for it: call it once before taking requests.",
                command=_list(row),
                weight=41,
            )


def _wrong(seen: Seen) -> Iterator[Finding]:
    """A backend that runs and answers something else; its speed is never looked at."""
    for row in seen.rows:
        if row.status == "wrong":
            yield Finding(
                what=f"`{row.name}` answers wrongly: {row.reason}.",
                why=f"{sentence(row.next_step) or _WRONG} Its speed counts for nothing, and it was not raced.",
                command=_list(row),
                weight=62,
            )


_WRONG = "The runtime, this version of it or a setting of it computes something else than the model: try another one."


def _list(row: Row, *, compression: bool = False) -> str:
    """What shows the settings that could change it."""
    named = row.variant.compression[-1] if compression and row.variant.compression else row.variant.backend
    return f"accel list {named.name}"


RULES: tuple[Callable[[Seen], Iterator[Finding]], ...] = (
    _of_layers,
    _recompiled,
    _first_calls,
    _first_slow,
    _wrong,
)
