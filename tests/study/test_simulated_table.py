"""The research's table in small: what must hold of the policies at any seed, and against a plain model of them."""

from __future__ import annotations

import numpy as np
import pytest

from accel.simulation.predict import capacity, goodput, poisson, saturation
from accel.simulation.simulate import simulate
from benchmarks.batching import appendix, simulated
from benchmarks.batching.simulated import CASES, Case, Figure
from tests.validation import theory

SEEDS, REQUESTS = (0, 1), 3000


def rates(case: Case, name: str) -> float:
    policy = simulated.policies(case)[name][1]
    found = [capacity(case.times, policy, simulated.P, case.slo_s, seed=s, requests=REQUESTS) for s in SEEDS]
    return float(np.mean(found))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_late_binding_carries_more_than_timers_and_single_requests(case: Case) -> None:
    dynamic = rates(case, "dynamic, early drop")
    assert dynamic > 1.05 * rates(case, "early_commit")
    assert dynamic > 1.5 * rates(case, "window")
    assert dynamic > 1.5 * rates(case, "single")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_early_drop_keeps_its_goodput_under_overload_and_no_drop_collapses(case: Case) -> None:
    rows = simulated.policies(case)
    early, nobody = rows["dynamic, early drop"][1], rows["dynamic, nobody dropped"][1]
    offered = 2 * saturation(case.times, early.largest)
    kept, collapsed = (
        goodput(case.times, policy, offered, case.slo_s, seed=3, requests=REQUESTS) for policy in (early, nobody)
    )
    assert kept >= 0.95 * rates(case, "dynamic, early drop")
    assert collapsed < 0.15 * kept


@pytest.mark.parametrize(("case", "name"), [(case, name) for case in CASES for name in simulated.policies(case)])
def test_the_plain_model_decides_every_request_alike(case: Case, name: str) -> None:
    """Near the capacity and at twice of it, as many in time as in a model that shares nothing but the arrivals."""
    policy = simulated.policies(case)[name][1]
    for rate in (simulated.near(case, name), 2 * simulated.near(case, name)):
        found = simulate(poisson(rate, seed=5, requests=REQUESTS), policy, case.times)
        good, _ = simulated.plain(case, policy, rate, seed=5, requests=REQUESTS)
        assert int(np.count_nonzero(found.latency_s <= case.slo_s)) == pytest.approx(good, abs=0.01 * REQUESTS)


def test_the_capacity_of_single_requests_is_that_of_queueing_theory() -> None:
    for case, rate in zip(CASES, simulated.THEORY, strict=True):
        service_s = (case.alpha + case.beta) * 1e-3
        assert (1 + theory.md1_quantile(simulated.P, rate * service_s)) * service_s == pytest.approx(
            case.slo_s, rel=2e-3
        )


def test_the_plain_model_by_hand() -> None:
    """One worker, 10 a request, limit 25: of five at once two are in time; dropping saves nobody, batches save all."""

    def takes(b: int) -> float:
        return 10.0

    assert appendix.outcome([0.0] * 5, takes, 25.0, "greedy", size=1) == (2, 3)
    assert appendix.outcome([0.0] * 5, takes, 25.0, "early", size=1) == (2, 3)
    assert appendix.outcome([0.0] * 5, takes, 25.0, "greedy", size=5) == (5, 0)
    # Closed at 4, run until 14; the other at 30 alone, at the end.
    assert appendix.outcome([0.0, 3.0, 30.0], takes, 14.0, "early_commit", size=9, timeout_s=4.0) == (3, 0)


def test_agreement_is_five_per_cent_or_three_standard_errors() -> None:
    def one(mean: float, error: float, research: float | None) -> str:
        return Figure(
            case="", policy="", what="", mean=mean, error=error, deviation=3 * error, research=research
        ).agrees

    assert [one(104.9, 0.1, 100), one(110, 4, 100), one(120, 1, None)] == ["yes", "yes", ""]
    assert one(112, 3.9, 100) == "no, but one seed scatters as much (a)"
    assert one(6, 0.1, 4).endswith("(b)")
    assert one(150, 2, 100) == "no"
