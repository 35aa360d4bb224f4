"""How close to the machine: the section of the page, and the same as lines of text."""

from __future__ import annotations

import msgspec

from accel.analysis import Estimate
from accel.analysis.conclusion import Conclusion, Row
from accel.analysis.roofline import RooflinePoint
from accel.measurement.peaks import Peak, Peaks
from accel.model.cost import Cost
from accel.report import words
from accel.units import show_bytes, show_seconds

_NAMES = {
    "fp32": "FP32 products",
    "bf16": "BF16 products",
    "int8": "INT8 products",
    "l2": "reading from L2",
    "l3": "reading from L3",
    "ram": "main memory",
}
_LEVELS = {"l2": "L2", "l3": "L3", "ram": "main memory"}
_UNKNOWN = "the machine's peaks aren't known (accel doctor --measure finds them once for all later studies)"

_BEYOND = (
    "More than 100 % means that the peaks were measured while the machine was busy, or that less is computed than the "
    "graph shows; `accel doctor --measure` measures them again, for later studies"
)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One batch size of one variant. Each of the cells is (value, what stands small beneath it)."""

    name: str
    how: str
    seconds: tuple[str, str]
    of_peak: tuple[str, str]
    bound: tuple[str, str]
    limit: str
    kind: str


class PeakLine(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of limit: its cells by thread count, each (value, interval), and what gave them."""

    name: str
    cells: tuple[tuple[str, str], ...]
    source: str


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """The whole section. threads: the columns of `peaks`. classes: what the model is made of, by class of operator."""

    lines: tuple[Line, ...]
    threads: tuple[int, ...]
    peaks: tuple[PeakLine, ...]
    missing: tuple[str, ...]
    cost: str
    classes: tuple[tuple[str, str, str, str], ...]
    notes: tuple[str, ...]


def section(conclusion: Conclusion) -> Section | None:
    """None for a study that doesn't know peaks or cost: its page has no such section."""
    record = conclusion.record
    lines = tuple(line for row in conclusion.rows for line in _lines(row))
    if record.peaks is None or record.cost is None or not lines:
        return None
    threads = tuple(sorted({p.threads for p in record.peaks.entries}))
    known = [r.roofline for r in conclusion.rows if r.roofline is not None]
    notes = dict.fromkeys(n for one in known for n in one.notes)
    notes |= dict.fromkeys(_BEYOND for one in known if any(_is_beyond(p) for p in one.points))
    return Section(
        lines=lines,
        threads=threads,
        peaks=peak_lines(record.peaks, threads),
        missing=tuple(f"{_NAMES.get(kind, kind)}: {why}" for kind, why in record.peaks.missing.items()),
        cost=cost_words(record.cost),
        classes=_classes(record.cost),
        notes=tuple(notes),
    )


def told(row: Row, conclusion: Conclusion) -> list[str]:
    """One variant's as lines of text; why there are none, where the cost is known and only the peaks are missing."""
    record = conclusion.record
    if row.roofline is None:
        lacking = record.cost is not None and record.cost.macs and record.peaks is None and row.status == "ok"
        return [f"roofline: {_UNKNOWN}"] if lacking else []
    shares = precision_words(row.roofline.precision)
    return [
        f"roofline, {_how(p)}: {percent(p.of_peak)} of the peak of {shares} on {_threads(row.roofline.threads)}; "
        f"at least {show_seconds(p.bound_s.value)} by its {_limit(p)}, took {show_seconds(p.seconds.value)} "
        f"({p.intensity:.3g} FLOP a byte)"
        for p in row.roofline.points
    ] + [f"note: {n}" for n in (*row.roofline.notes, *([_BEYOND] if any(map(_is_beyond, row.roofline.points)) else []))]


def _is_beyond(point: RooflinePoint) -> bool:
    return point.of_bound.low is not None and point.of_bound.low > 1


def _threads(count: int) -> str:
    return f"{count} thread{'' if count == 1 else 's'}"


def peak_lines(peaks: Peaks, threads: tuple[int, ...]) -> tuple[PeakLine, ...]:
    """Every kind that was measured, in a fixed order."""
    found = []
    for kind, name in _NAMES.items():
        mine = {p.threads: p for p in peaks.entries if p.kind == kind}
        if mine:
            cells = tuple(_cell(mine[n]) if n in mine else (words.NOTHING, "") for n in threads)
            found.append(PeakLine(name=name, cells=cells, source=mine[max(mine)].source))
    return tuple(found)


def shown(peak: Peak) -> str:
    """A limit with its interval: `98.1 GFLOP/s [97.5–98.4]`."""
    value, ends = _cell(peak)
    return f"{value} [{ends}]"


def cost_words(cost: Cost) -> str:
    """What one item costs, in one sentence without its full stop."""
    macs = f"{cost.macs / 1e9:.3g} G" if cost.macs >= 1e9 else f"{cost.macs / 1e6:.3g} M"
    return (
        f"{macs} multiply-accumulates an item, {show_bytes(cost.weight_bytes)} of weights read a call and "
        f"{show_bytes(cost.activation_bytes)} of activations an item, counted in its {_FORMS[cost.source]}"
    )


_FORMS = {"onnx": "ONNX graph", "openvino": "OpenVINO graph", "torch": "torch module"}


def percent(share: Estimate) -> str:
    """`63 % [60–66]`."""
    ends = _ends(share)
    return f"{100 * share.value:.0f} %" + (f" [{ends}]" if ends else "")


def precision_words(shares: dict[str, float]) -> str:
    """`INT8`, or `INT8 (97 %) and FP32 (3 %)`."""
    if len(shares) == 1:
        return next(iter(shares)).upper()
    return " and ".join(f"{name.upper()} ({100 * share:.0f} %)" for name, share in shares.items())


def _lines(row: Row) -> list[Line]:
    if row.roofline is None:
        return []
    ran = precision_words(row.roofline.precision)
    return [
        Line(
            name=row.name,
            how=_how(p),
            seconds=(show_seconds(p.seconds.value), _time_ends(p.seconds)),
            of_peak=(f"{100 * p.of_peak.value:.0f} %", f"{_ends(p.of_peak)} of {ran}"),
            bound=(show_seconds(p.bound_s.value), f"{100 * p.of_bound.value:.0f} % of the time"),
            limit=_limit(p),
            kind="near" if p.of_bound.low is not None and p.of_bound.low >= 0.8 else "",
        )
        for p in row.roofline.points
    ]


def _how(point: RooflinePoint) -> str:
    return "one at a time" if point.target == "latency" else f"batch of {point.batch}"


def _limit(point: RooflinePoint) -> str:
    return "arithmetic" if point.bound == "compute" else f"memory ({_LEVELS[point.level]})"


def _ends(share: Estimate) -> str:
    if share.low is None or share.high is None:
        return ""
    return f"{100 * share.low:.0f}–{100 * share.high:.0f}"


def _time_ends(seconds: Estimate) -> str:
    if seconds.low is None or seconds.high is None:
        return ""
    return f"{show_seconds(seconds.low)}–{show_seconds(seconds.high)}"


def _cell(peak: Peak) -> tuple[str, str]:
    unit = {"fp32": "FLOP/s", "bf16": "FLOP/s", "int8": "OP/s"}.get(peak.kind, "B/s")
    scale, letter = (1e12, "T") if peak.value >= 1e12 else (1e9, "G")
    return f"{peak.value / scale:.3g} {letter}{unit}", f"{peak.low / scale:.3g}–{peak.high / scale:.3g}"


def _classes(cost: Cost) -> tuple[tuple[str, str, str, str], ...]:
    """(class, operators, share of the multiply-accumulates, bytes of weights and activations), the largest first."""
    return tuple(
        (
            c.layer_class,
            str(c.layers),
            f"{100 * c.macs / cost.macs:.1f} %" if c.macs else words.NOTHING,
            f"{show_bytes(c.weight_bytes)} + {show_bytes(c.activation_bytes)}",
        )
        for c in cost.classes
    )
