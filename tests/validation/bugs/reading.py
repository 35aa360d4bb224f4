"""Bugs of percentiles and intervals."""

from __future__ import annotations

from tests.validation.planting import Bug, Edit

_PERCENTILES, _ESTIMATES = "accel.analysis.percentiles", "accel.analysis.estimates"

BUGS: tuple[Bug, ...] = (
    Bug(
        name="interpolated percentile",
        what="percentiles are interpolated",
        rule="24",
        edits=(
            Edit(
                _PERCENTILES,
                "return float(sorted_values[rank(sorted_values.size, p) - 1])",
                "return float(np.quantile(sorted_values, p))",
            ),
        ),
        red=("V1",),
    ),
    Bug(
        name="the rank after",
        what="a percentile is the (floor(np)+1)-th value",
        rule="24",
        edits=(Edit(_PERCENTILES, "max(1, math.ceil(round(n * p, 9)))", "math.floor(n * p) + 1"),),
        red=("V1",),
    ),
    Bug(
        name="ranks of the interval too close",
        what="the order-statistic interval is one rank too narrow on both sides",
        rule="24",
        edits=(
            Edit(_PERCENTILES, "low = int(binom.ppf(alpha / 2, n, p))", "low = int(binom.ppf(alpha / 2, n, p)) + 1"),
            Edit(
                _PERCENTILES,
                "high = int(binom.ppf(1 - alpha / 2, n, p)) + 1",
                "high = int(binom.ppf(1 - alpha / 2, n, p))",
            ),
        ),
        red=("V1", "V2"),
    ),
    Bug(
        name="percentiles of few requests",
        what="any percentile is printed from any number of requests",
        rule="22",
        edits=(Edit(_PERCENTILES, "    if n < required(p):\n        return False\n", ""),),
        red=("V1",),
    ),
    Bug(
        name="iid interval under load",
        what="percentiles of several runs get the interval of independent requests alone",
        rule="25",
        edits=(
            Edit(_ESTIMATES, "low=None if pooled_low is None else min(math.exp(low), pooled_low)", "low=pooled_low"),
            Edit(
                _ESTIMATES, "high=None if pooled_high is None else max(math.exp(high), pooled_high)", "high=pooled_high"
            ),
        ),
        red=("V2",),
    ),
    Bug(
        name="spread between runs alone",
        what="percentiles of several runs get the t-interval alone, without that of the requests",
        rule="25",
        edits=(
            Edit(_ESTIMATES, "low=None if pooled_low is None else min(math.exp(low), pooled_low)", "low=math.exp(low)"),
            Edit(
                _ESTIMATES,
                "high=None if pooled_high is None else max(math.exp(high), pooled_high)",
                "high=math.exp(high)",
            ),
        ),
        red=("V2",),
    ),
    Bug(
        name="normal instead of t",
        what="intervals of few runs use 1.96",
        rule="26",
        edits=(Edit(_ESTIMATES, "half = float(t.ppf(1 - alpha / 2, x.size - 1)) *", "half = 1.96 *"),),
        red=("V2", "V3", "V4"),
    ),
)
