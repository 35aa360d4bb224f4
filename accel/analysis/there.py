"""What is it like at the claimed rate? Latency from schedule, and beside it what the engine itself took (rule 11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from accel.analysis import Estimate
from accel.analysis.estimates import across_runs, quantile_across
from accel.analysis.online import Trial
from accel.analysis.percentiles import quantile_estimate
from accel.analysis.runs import Run

_PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def there(pairs: Sequence[tuple[Run, Trial]], claim: float) -> dict[str, Any]:
    """Fields of `Online` at the rate nearest to, not above, the claim: its fresh trials together, or one trial.

    pairs: in the order of their rates. p50, p90, p99: latency from schedule; service_...: finished - started of the
    same requests; None where the sample is too small. goodput: answered within the limit, per second. keeps_up: in
    every one of these trials.
    """
    below = [(r, t) for r, t in pairs if t.rate <= claim * (1 + 1e-9) and t.level != "invalid"]
    if not below:
        return dict.fromkeys(_PERCENTILES)
    rate = below[-1][1].rate
    chosen = [(r, t) for r, t in below if t.rate >= rate * (1 - 1e-3)]
    latency = [r.latency_s for r, _ in chosen]
    service = [np.asarray(r.trace.ok().service_ns * 1e-9, np.float64) for r, _ in chosen if r.trace is not None]
    good = [t.goodput for _, t in chosen]
    return {
        **{name: _quantile(latency, p) for name, p in _PERCENTILES.items()},
        **{f"service_{name}": _quantile(service, p) for name, p in _PERCENTILES.items()},
        "goodput": across_runs(good, unit="1/s") if all(g > 0 for g in good) else None,
        "keeps_up": all(t.keeps_up for _, t in chosen),
    }


def _quantile(runs: Sequence[npt.NDArray[np.float64]], p: float) -> Estimate | None:
    if len(runs) >= 3:
        return quantile_across(runs, p, unit="s")
    estimate = quantile_estimate(runs[-1], p, unit="s") if runs and len(runs[-1]) else None
    if estimate is None:
        return None
    return msgspec.structs.replace(estimate, method=f"{estimate.method}, taken as independent: too narrow under load")
