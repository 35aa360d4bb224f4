"""Arrivals of the open loop: their rate, their distribution, and that equal seeds mean equal load."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from accel.scenarios import Plan
from accel.scenarios.server import Server


def counted(plan: Plan) -> np.ndarray:
    assert plan.due_ns is not None
    return plan.due_ns[plan.warmup : len(plan.due_ns) - plan.tail]


@pytest.mark.parametrize("arrivals", ["poisson", "constant", "gamma"])
@pytest.mark.parametrize(("rate", "duration"), [(50.0, 4.0), (333.3, 1.7), (0.4, 10.0), (0.001, 1.0)])
def test_the_counted_part_holds_exactly_rate_times_duration(arrivals: str, rate: float, duration: float) -> None:
    cv = {"cv": 2.5} if arrivals == "gamma" else {}
    plan = Server(rate=rate, arrivals=arrivals, **cv).plan(7, seed=1, trial=2, duration_s=duration)  # type: ignore[arg-type]
    due = counted(plan) / 1e9 - 0.3
    assert len(due) == max(1, round(rate * duration))
    assert 0 <= due.min() <= due.max() <= duration
    assert (np.diff(plan.due_ns) >= 0).all()


def test_constant_gaps_are_equal_through_lead_and_tail() -> None:
    plan = Server(rate=100.0, arrivals="constant", lead_s=0.2, tail_s=0.1).plan(5, seed=0, trial=0, duration_s=1.0)
    assert (plan.warmup, plan.tail, len(plan.sample_ids)) == (20, 10, 130)
    assert plan.due_ns is not None
    assert set(np.diff(plan.due_ns).tolist()) == {10_000_000}


def test_free_gaps_are_not_rescaled_and_go_on_through_lead_and_tail() -> None:
    plan = Server(rate=200.0, arrivals="poisson_free", lead_s=1.0, tail_s=1.0).plan(5, seed=3, trial=0, duration_s=10.0)
    assert plan.due_ns is not None
    assert (plan.warmup, plan.tail, len(plan.sample_ids)) == (200, 200, 2400)
    gaps = np.diff(plan.due_ns / 5e6)
    assert stats.kstest(gaps, "expon").pvalue > 0.001
    assert gaps.mean() != pytest.approx(1.0, abs=1e-4)
    totals = [
        (counted(Server(rate=100.0, arrivals="poisson_free", lead_s=0).plan(5, seed=s, trial=0, duration_s=4.0))[-1])
        for s in range(200)
    ]
    # The time of the 400th arrival of a Poisson process at 100/s: mean 4 s, sd 0.2 s.
    assert np.mean(totals) == pytest.approx(4e9, rel=0.01)
    assert np.std(totals) == pytest.approx(2e8, rel=0.15)


@pytest.mark.parametrize("cv", [0.5, 2.0, 4.0])
def test_gamma_gaps_have_the_variation_asked_for(cv: float) -> None:
    due = counted(Server(rate=500.0, arrivals="gamma", cv=cv).plan(5, seed=1, trial=0, duration_s=40.0))
    gaps = np.diff(due) / 2e6
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05)
    if cv < 4:  # beyond that many gaps round to whole nanoseconds
        assert stats.kstest(gaps[::7], stats.gamma(1 / cv**2, scale=cv**2).cdf).pvalue > 0.001


def test_gamma_at_one_is_poisson() -> None:
    poisson = Server(rate=50.0).plan(5, seed=1, trial=0, duration_s=4.0)
    assert Server(rate=50.0, arrivals="gamma").plan(5, seed=1, trial=0, duration_s=4.0).sha256 == poisson.sha256


def test_a_burst_of_nothing_but_tiny_gaps_is_still_a_schedule() -> None:
    for seed in range(300):
        plan = Server(rate=1.0, arrivals="gamma", cv=10, lead_s=0, tail_s=0).plan(5, seed=seed, trial=0, duration_s=1.0)
        assert plan.due_ns is not None
        assert 0 <= plan.due_ns[0] <= 10**9


def test_poisson_gaps_are_exponential() -> None:
    """Kolmogorov-Smirnov over 20 seeds, Bonferroni; the same test refuses equal gaps, so it can fail."""
    worst = min(
        stats.kstest(
            np.diff(counted(Server(rate=200.0).plan(5, seed=s, trial=0, duration_s=10.0))) / 5e6, "expon"
        ).pvalue
        for s in range(20)
    )
    assert worst > 0.001 / 20
    equal = np.diff(counted(Server(rate=200.0, arrivals="constant").plan(5, seed=0, trial=0, duration_s=10.0))) / 5e6
    assert stats.kstest(equal, "expon").pvalue < 1e-6


def test_poisson_counts_vary_like_a_poisson_process() -> None:
    """Conditioned on its count, the arrivals are uniform: counts of 10 windows have variance near mean * 0.9."""
    counts = [
        np.histogram(counted(Server(rate=100.0).plan(5, seed=s, trial=0, duration_s=10.0)), bins=10)[0]
        for s in range(100)
    ]
    assert np.var(counts, axis=1).mean() == pytest.approx(90, rel=0.15)


@pytest.mark.parametrize("arrivals", ["poisson", "poisson_free", "constant", "gamma"])
def test_another_rate_is_the_same_schedule_scaled(arrivals: str) -> None:
    more = {"arrivals": arrivals, "lead_s": 0, "tail_s": 0, "cv": 2.0 if arrivals == "gamma" else 1.0}
    slow = Server(rate=40.0, **more).plan(300, seed=9, trial=4, duration_s=5.0)  # type: ignore[arg-type]
    fast = Server(rate=100.0, **more).plan(300, seed=9, trial=4, duration_s=5.0)  # type: ignore[arg-type]
    assert slow.due_ns is not None
    assert fast.due_ns is not None
    n = len(slow.due_ns)
    later = fast.due_ns[:n] > 10**7
    ratio = slow.due_ns[later] / fast.due_ns[:n][later]
    assert ratio.max() - ratio.min() < 1e-6
    assert ratio[0] == pytest.approx(2.5, rel=0.2)
    assert fast.sample_ids[:n].tolist() == slow.sample_ids.tolist()


def test_the_counted_samples_do_not_depend_on_lead_and_tail() -> None:
    bare = Server(rate=40.0, lead_s=0, tail_s=0).plan(300, seed=9, trial=4, duration_s=2.0)
    full = Server(rate=40.0).plan(300, seed=9, trial=4, duration_s=2.0)
    assert full.sample_ids[full.warmup :][:80].tolist() == bare.sample_ids.tolist()
    assert (counted(full) - 300_000_000).tolist() == counted(bare).tolist()


def test_seed_and_trial_change_the_schedule() -> None:
    def sha(seed: int, trial: int) -> str:
        return Server(rate=50.0).plan(300, seed=seed, trial=trial, duration_s=1.0).sha256

    assert sha(1, 0) == sha(1, 0)
    assert len({sha(1, 0), sha(2, 0), sha(1, 1)}) == 3


def test_the_schedule_is_the_same_on_every_machine() -> None:
    """Golden: if this changes, old results can't be compared with new ones any more."""
    plan = Server(rate=10.0, lead_s=0, tail_s=0).plan(3, seed=0, trial=0, duration_s=0.5)
    assert plan.due_ns is not None
    assert plan.due_ns.tolist() == GOLDEN
    assert plan.sha256 == GOLDEN_SHA256


GOLDEN = [218167743, 296086741, 356421289, 422047488, 429333557]
GOLDEN_SHA256 = "3e7c48486d44553aaffcb15993738835df0127073b017d3c41afb9d96a22320d"
