"""Does batching pay for short inputs as it does for long ones?"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from accel.analysis.batch_curve import BatchCurve
from accel.analysis.conclusion import Conclusion
from accel.report.charts import Place, Traces
from accel.report.charts._by_size import panels
from accel.report.charts._theme import STAGES, leading

_MOST = 6


class BatchByLength(msgspec.Struct, frozen=True, kw_only=True):
    """Items a second and milliseconds a batch over batch size, a line for each bucket of lengths."""

    place: ClassVar[Place] = "below"
    order: ClassVar[int] = 22

    def title(self, conclusion: Conclusion) -> str:
        """A question a reader would ask."""
        return "What does a larger batch buy, by length?"

    def note(self, conclusion: Conclusion) -> str:
        """Where it pays and where it doesn't."""
        curves = _shown(conclusion)
        pays = [_name(c) for c in curves if c.pays]
        lost = [_name(c) for c in curves if c.pays is False]
        parts = [f"{curves[0].variant}, inputs of like length together." if curves else ""]
        if pays and lost:
            parts.append(f"Batching pays for {', '.join(pays)}; it doesn't for {', '.join(lost)}.")
        elif lost and len(lost) == len(curves):
            parts.append("Batching doesn't pay here, whatever the length.")
        return " ".join(filter(None, parts))

    def spec(self, conclusion: Conclusion, traces: Traces, width: int) -> dict[str, Any] | None:
        """None unless two buckets of one variant were measured at two sizes."""
        curves = _shown(conclusion)
        if len(curves) < 2:
            return None
        lines = [(_name(c), {p.size: p.items for p in c.points}, {p.size: p.seconds for p in c.points}) for c in curves]
        chosen = {_name(c): STAGES[i % len(STAGES)] for i, c in enumerate(curves)}
        return panels(lines, chosen, width, what="bucket", height=240)


def _shown(conclusion: Conclusion) -> list[BatchCurve]:
    """The buckets of the first leading variant that has any, the shortest first."""
    able = [c for c in conclusion.batching if c.bucket is not None and len(c.points) > 1]
    rows = leading(conclusion, [r for r in conclusion.rows if any(c.variant == r.name for c in able)], 99)
    # The original stands first among the leading; what won says more here.
    name = next((r.name for r in rows if not r.is_baseline), rows[0].name if rows else "")
    return sorted((c for c in able if c.variant == name), key=lambda c: c.bucket or (0, 0))[:_MOST]


def _name(curve: BatchCurve) -> str:
    low, high = curve.bucket or (0, 0)
    return f"length {low}" if low == high else f"length {low}–{high}"
