"""The bugs that V18 plants: what is replaced in the source, which rule that breaks, and who has to notice."""

from __future__ import annotations

from tests.validation.planting import Bug, Edit

ALL: tuple[Bug, ...] = (
    Bug(
        name="latency from dispatch",
        what="latency counts from when a worker took the request",
        rule="11",
        edits=(
            Edit("accel.measurement.trace", "return self.finished - self.due", "return self.finished - self.taken"),
        ),
        red=("V6", "V8"),
    ),
    Bug(
        name="interpolated percentile",
        what="percentiles are interpolated",
        rule="24",
        edits=(
            Edit(
                "accel.analysis.percentiles",
                "return float(sorted_values[rank(sorted_values.size, p) - 1])",
                "return float(np.quantile(sorted_values, p))",
            ),
        ),
        red=("V1",),
    ),
)
