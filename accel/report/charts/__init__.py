"""One file a chart. A chart is a function of a finished study's data and gives a Vega-Lite specification, or None."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Protocol

from accel.analysis.conclusion import Conclusion
from accel.measurement.trace import Trace

Traces = Mapping[str, Trace]
"""Per variant the requests of its single_stream runs, one after another."""

Place = Literal["wide", "beside", "below"]


class Chart(Protocol):
    """The contract of a chart: a frozen struct whose fields, if any, are its knobs.

    place: "wide" or "beside" on the first screen, else "below"; order: who comes first there.
    title: the question the chart answers, as a heading.
    note: a sentence under it on how to read the chart or what is seen in this very study; "" for none.
    spec: a Vega-Lite specification with its data, drawn `width` pixels wide; None where there is nothing to show.
        The same conclusion gives the same specification.
    """

    place: ClassVar[Place]
    order: ClassVar[int]

    def title(self, conclusion: Conclusion) -> str: ...

    def note(self, conclusion: Conclusion) -> str: ...

    def spec(self, conclusion: Conclusion, traces: Traces, width: int) -> dict[str, Any] | None: ...
