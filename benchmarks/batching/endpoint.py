"""What HTTP adds: p99 of a known server beside the same engine in process, and a freeze as a closed-loop tool sees it.

`python -m benchmarks.batching.endpoint [OUT.json]`, on a machine that does nothing else, about 15 minutes.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from accel.analysis.percentiles import quantile
from accel.measurement.machine import detect
from tests.known_server import in_process_of_its_own
from tests.validation import v23_endpoint as v23

TRIALS, TRIAL_S = 10, 20.0


def agreement() -> list[dict[str, Any]]:
    """Each utilisation: p99 a trial on both sides (s), the way there (s), and what is left of the difference (s)."""
    found = []
    for one, _ in v23.agreements(TRIALS, TRIAL_S):
        mean, low, high = one.difference
        found.append(
            {
                "rate": one.rate,
                "service_s": v23.SERVICE_S,
                "http_p99_s": one.http_s,
                "inside_p99_s": one.inside_s,
                "transport_p50_s": one.transport_s,
                "rest_s": {"mean": mean, "low": low, "high": high},
            }
        )
        rest = f"{mean * 1e6:.0f} [{low * 1e6:.0f}, {high * 1e6:.0f}] µs"
        http, inside = (float(np.mean(values)) * 1e3 for values in (one.http_s, one.inside_s))
        there = f"the way there {one.transport_s * 1e6:.0f} µs, the rest {rest}"
        print(f"{one.rate:g}/s: over HTTP {http:.4g} ms, in process {inside:.4g} ms, {there}", flush=True)
    return found


def freeze() -> dict[str, Any]:
    """Quantiles (s) of one freeze of 2 s in 60 s as both views show it, and what theory says from schedule."""
    with in_process_of_its_own(service_s=v23.LARGE.service_s) as server:
        schedule, closed = v23.both(server.v2_url, v23.LARGE, server.send)
    views = {"from schedule": schedule, "closed loop": closed}
    found: dict[str, Any] = {"theory_p99_s": v23.LARGE.quantile_s(0.99)}
    for name, trace in views.items():
        latency = trace.ok().latency_ns * 1e-9
        found[name] = {f"p{100 * p:g}": quantile(latency, p) for p in (0.5, 0.9, 0.99)} | {"max": float(latency.max())}
        print(f"{name}: {found[name]}", flush=True)
    return found


def main() -> None:
    """Both, as JSON."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("endpoint-bench.json")
    machine = detect()
    made = {
        "made_unix_s": time.time(),
        "machine": {"cpu": machine.cpu, "cores": machine.cores, "kernel": machine.kernel},
        "freeze": freeze(),
        "agreement": agreement(),
    }
    out.write_text(json.dumps(made, indent=1))
    print(f"Written: {out}")


if __name__ == "__main__":
    main()
