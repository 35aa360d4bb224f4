"""Each variant against the machine: in which precision did it multiply, on how many threads, and how close did it come?

The time of a call: the median latency of the closed loop at batch 1, and in batch the best size over its throughput.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from accel.analysis import Estimate
from accel.analysis.conclusion import Row, StudyRecord
from accel.analysis.roofline import Roofline, RooflinePoint, point
from accel.compilation import Effective
from accel.measurement.peaks import Peaks
from accel.model.cost import Cost
from accel.model.layer_class import MULTIPLIES, layer_class
from accel.result import Numerics

_PLAIN = {"float32": "fp32", "f32": "fp32", "fp32": "fp32", "bf16": "bf16", "bfloat16": "bf16"}


def with_rooflines(rows: Sequence[Row], record: StudyRecord, costs: Mapping[str, Cost]) -> tuple[Row, ...]:
    """The rows, each with its roofline where the study knows peaks and cost.

    costs: variant -> the cost of its own artefact, where a compression changed it; the others have the source's.
    """
    if record.peaks is None:
        return tuple(rows)
    found = []
    for row in rows:
        cost = costs.get(row.name, record.cost)
        roofline = None if cost is None else roofline_of(row, cost, record.peaks)
        found.append(row if roofline is None else msgspec.structs.replace(row, roofline=roofline))
    return tuple(found)


def roofline_of(row: Row, cost: Cost, peaks: Peaks) -> Roofline | None:
    """One variant's; None where nothing was timed or multiplies, a GPU computed, or its precision has no known peak."""
    if row.status not in ("ok", "refused") or row.effective is None or row.effective.on_gpu or cost.macs == 0:
        return None
    shares = precisions(row.effective, row.numerics, cost)
    if shares is None:
        return None
    sized = at_precision(cost, row.effective, row.numerics)
    each = row.effective.threads or peaks.cores
    together = max(1, min(peaks.cores, at_work(row) or peaks.cores))
    points: list[RooflinePoint | None] = []
    if row.p50 is not None and row.variant.instances == 1:
        points.append(point("latency", 1, row.p50, sized, peaks, shares, each))
    if row.throughput is not None and row.batch_size is not None:
        seconds = call_s(row.throughput, row.batch_size)
        points.append(point("batch", row.batch_size, seconds, sized, peaks, shares, together))
    known = tuple(p for p in points if p is not None)
    return Roofline(precision=shares, threads=together, points=known, notes=cost.notes) if known else None


def at_work(row: Row) -> int:
    """How many threads may want to run at once: those of all engines, or callers and helpers of the one they share.

    0 where that isn't known. `Effective.threads` holds the threads of all engines already.
    """
    variant, effective = row.variant, row.effective
    if effective is None or effective.threads == 0:
        return 0
    if variant.instances > 1 and variant.placement == "shared":
        return variant.instances + effective.threads - 1
    return effective.threads


def call_s(throughput: Estimate, size: int) -> Estimate:
    """Seconds a call of `size` items from items a second."""
    return msgspec.structs.replace(
        throughput,
        value=size / throughput.value,
        low=None if not throughput.high else size / throughput.high,
        high=None if not throughput.low else size / throughput.low,
        unit="s",
    )


def precisions(effective: Effective, numerics: Numerics | None, cost: Cost) -> dict[str, float] | None:
    """Precision -> share of the multiply-accumulates computed in it; None if that isn't known.

    What the runtime was seen to compute in 8 bits (Numerics) is taken to be what multiplies by weights first, since
    products of two activations are the last that a quantizer takes.
    """
    few, _, rest = effective.precision.rpartition("rest ")
    plain = _PLAIN.get(rest.strip())
    if plain is None and not few:
        # A backend that names the file's precision alone ("int8") computes the rest in float32.
        plain = "fp32" if rest.startswith("int") else None
    if plain is None:
        return None
    low = low_share(numerics, cost) if numerics is not None else None
    if low is None:
        return {plain: 1.0} if _PLAIN.get(effective.precision) or "weights" in effective.precision else None
    return {name: share for name, share in (("int8", low), (plain, 1.0 - low)) if share > 1e-9}


def low_share(numerics: Numerics, cost: Cost) -> float | None:
    """The share of all multiply-accumulates that runs in 8 bits, from counts of operators by class."""
    counted: dict[str, list[int]] = {}
    for operators in numerics.operators:
        name = layer_class(operators.type)
        if name in MULTIPLIES:
            both = counted.setdefault(name, [0, 0])
            both[0] += operators.total
            both[1] += operators.low
    if not counted:
        return None
    low = 0.0
    for one in cost.classes:
        total, few = counted.get(one.layer_class, [0, 0])
        if few:
            weighted = max(1, min(total, one.weighted))
            others = one.macs - one.weighted_macs
            low += one.weighted_macs * min(1.0, few / weighted)
            low += others * min(1.0, max(0, few - weighted) / max(1, total - weighted))
    return min(1.0, low / cost.macs)


def at_precision(cost: Cost, effective: Effective, numerics: Numerics | None) -> Cost:
    """The cost with weights and activations as wide as this variant keeps them.

    Weights: as the artefact was seen to store them. In bf16 both are half of float32, whatever the file says. A cost
    that was counted in the artefact itself has its own widths already, of which the smaller are kept.
    """
    weights = cost.weight_bytes
    if numerics is not None and numerics.weight_bytes:
        weights = min(weights, sum(numerics.weight_bytes.values()))
    if effective.precision.endswith(("bf16", "bfloat16")) and cost.activation_bits == 32:
        half = tuple((step // 2, total // 2) for step, total in cost.steps)
        return msgspec.structs.replace(
            cost,
            weight_bytes=min(weights, cost.weight_bytes // 2),
            activation_bytes=cost.activation_bytes // 2,
            steps=half,
        )
    return msgspec.structs.replace(cost, weight_bytes=weights)
