"""What a larger batch gives in throughput and takes in latency."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from accel.analysis.conclusion import Conclusion, Row
from accel.report.charts import Place, Traces
from accel.report.charts._by_size import panels
from accel.report.charts._theme import colours, leading

_MOST = 5


class BatchSize(msgspec.Struct, frozen=True, kw_only=True):
    """Two panels over batch size: items a second, and milliseconds a batch takes."""

    place: ClassVar[Place] = "below"
    order: ClassVar[int] = 20

    def title(self, conclusion: Conclusion) -> str:
        """A question a reader would ask."""
        return "What does a larger batch buy?"

    def note(self, conclusion: Conclusion) -> str:
        """The best sizes found, and of whom batching gives no more."""
        best = [
            f"{'original' if r.is_baseline else r.name}: {r.batch_size}" for r in _shown(conclusion) if r.batch_size
        ]
        found = f"Best size found: {', '.join(best)}. " if best else ""
        return (
            f"{found}{_verdict(conclusion)}Whiskers: 95 % intervals. Latency is closed loop: one batch after another."
        )

    def spec(self, conclusion: Conclusion, traces: Traces, width: int) -> dict[str, Any] | None:
        """None if no variant was measured at two sizes."""
        rows = _shown(conclusion)
        if not rows:
            return None
        lines = [(r.name, r.throughput_by_size, r.latency_by_size) for r in rows]
        return panels(lines, colours(conclusion, rows), width, what="variant")


def _shown(conclusion: Conclusion) -> list[Row]:
    able = [r for r in conclusion.rows if r.status == "ok" and len(r.throughput_by_size) > 1]
    return leading(conclusion, able, _MOST)


def _verdict(conclusion: Conclusion) -> str:
    """Where batching doesn't pay: the first such variant with the reason, the others by name."""
    names = [r.name for r in _shown(conclusion)]
    found = [c for c in conclusion.batching if c.bucket is None and c.pays is False and c.variant in names]
    if not found:
        return ""
    who = f"{found[0].variant}: " if len(names) > 1 else ""
    others = f" Nor does it for {', '.join(c.variant for c in found[1:])}." if len(found) > 1 else ""
    return f"{who}{found[0].sentence}{others} "
