"""How many requests a server trial needs, and that a search goes on from results on disk."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from accel.measurement.trace import Trace
from accel.plugins import Named
from accel.study import rates
from accel.study.profiles import profile
from accel.study.rates import requests_needed

MS = 1_000_000


@pytest.mark.parametrize(("p", "n"), [(0.5, 20), (0.9, 100), (0.99, 1000), (0.999, 10_000), (0.98, 500)])
def test_requests_a_percentile_needs(p: float, n: int) -> None:
    assert requests_needed(p) == n


def funnel(folder: Path, latencies_ms: list[tuple[str, int, float, float]]) -> Any:
    """A study whose server trials (phase, block, rate, latency) are on disk, all of them evenly late."""
    results = {}
    for phase, block, rate, ms in latencies_ms:
        due = np.arange(200, dtype=np.int64) * 10 * MS
        one = np.zeros(200, np.int64)
        columns = {"due": due, "taken": due, "started": due, "finished": due + int(ms * MS)}
        name = f"{phase}-{block}"
        Trace(**columns, batch=np.arange(200), batch_size=one + 1, sample=one, status=one, warmup=one).save(
            folder / f"{name}.npz"
        )
        results[name] = SimpleNamespace(
            variant=SimpleNamespace(name="a"),
            target="online",
            status="ok",
            trace=f"{name}.npz",
            phase=phase,
            block=block,
            validity="valid",
            witnesses=(),
            scenario=Named("server", {"rate": rate}),
        )
    record = SimpleNamespace(slo_p=0.9, slo_s=0.02, seed=3)
    return SimpleNamespace(
        results=results, record=record, folder=SimpleNamespace(runs=folder), profile=profile("shared")
    )


def test_trials_come_in_the_order_of_rounds_and_confirmations_are_left_out(tmp_path: Path) -> None:
    found = rates.trials(
        funnel(tmp_path, [("search", 10, 90, 19), ("search", 2, 110, 21), ("confirmation", 0, 95, 20)]), "a"
    )
    assert [(t.rate, round(t.quantile_s, 6)) for t in found] == [(110, 0.021), (90, 0.019)]


def test_the_next_rate_depends_on_what_is_on_disk_alone(tmp_path: Path) -> None:
    some: list[tuple[str, int, float, float]] = [("search", 0, 85, 15), ("search", 1, 115, 30)]
    first, again = (rates.next_rate(funnel(tmp_path, some), "a", 100.0) for _ in range(2))
    assert first == again
    assert first is not None
    assert 85 < first < 115
    assert rates.next_rate(funnel(tmp_path, some[:1]), "a", 100.0) == pytest.approx(115)
    assert rates.next_rate(funnel(tmp_path, []), "a", 100.0) == pytest.approx(85)


def tuned(folder: Path, *, asked: Named | None = None, slo_s: float | None = 0.05) -> Any:
    """A study whose tuning runs are on disk: a batch of b takes 8 + b / 2 ms."""
    results = {}
    for size in (1, 4, 16):
        n = 40 * size
        started = np.repeat(np.arange(40, dtype=np.int64), size) * 100 * MS
        zero = np.zeros(n, np.int64)
        columns = {"due": zero, "taken": started, "started": started, "finished": started + (16 + size) * MS // 2}
        Trace(
            **columns,
            batch=np.repeat(np.arange(40), size),
            batch_size=zero + size,
            sample=zero,
            status=zero,
            warmup=zero,
        ).save(folder / f"{size}.npz")
        results[f"tuning-a-batch-{size}"] = SimpleNamespace(
            variant=SimpleNamespace(name="a"), target="batch", trace=f"{size}.npz"
        )
    variant = SimpleNamespace(batching=asked, instances=1)
    return SimpleNamespace(
        results=results,
        record=SimpleNamespace(slo_p=0.9, slo_s=slo_s, seed=3, target="both"),
        folder=SimpleNamespace(runs=folder),
        variant=lambda name: variant,
    )


def test_the_policy_follows_from_the_measured_curve(tmp_path: Path) -> None:
    found = rates.policy_and_rate(tuned(tmp_path), "a")
    assert found is not None
    policy, rate = found
    assert policy.name == "dynamic"
    assert set(policy.fields) <= {"max_size"}, "a claim is made with nobody dropped or made to wait"
    assert 500 < rate < 1000, "16 in 16 ms is 1,000/s at most; one at a time 118"


def test_a_policy_that_was_asked_for_is_kept(tmp_path: Path) -> None:
    asked = Named("window", {"size": 4, "timeout_s": 0.002})
    found = rates.policy_and_rate(tuned(tmp_path, asked=asked), "a")
    assert found is not None
    assert found[0] == asked
    fixed = rates.policy_and_rate(tuned(tmp_path, asked=Named("fixed", {"size": 4})), "a")
    assert fixed is not None
    assert fixed[0].name == "dynamic", "a policy of batch jobs is none for a server"


@pytest.mark.parametrize("slo_s", [None, 0.005])
def test_without_a_limit_or_where_nothing_is_in_time_there_is_no_policy(tmp_path: Path, slo_s: float | None) -> None:
    assert rates.policy_and_rate(tuned(tmp_path, slo_s=slo_s), "a") is None
