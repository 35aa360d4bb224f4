from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from accel.analysis.capacity import Capacity, capacity, nonmonotone, ratio
from accel.analysis.online import Trial

SLO = 0.02


def trial(rate: float, quantile_s: float, **more: Any) -> Trial:
    return Trial(rate=rate, quantile_s=quantile_s, n=1000, **more)


def around(truth: float, rng: np.random.Generator, n: int = 12, noise: float = 0.1, slope: float = 3.0) -> list[Trial]:
    """Trials whose quantile meets the limit at `truth`, with noise on ln q."""
    rates = truth * np.exp(rng.uniform(-0.1, 0.1, n))
    return [trial(r, SLO * (r / truth) ** slope * math.exp(rng.normal(0, noise))) for r in rates]


def test_without_noise_the_crossing_is_exact() -> None:
    exact = [trial(r, SLO * (r / 100) ** 3) for r in (90, 95, 100, 105, 110)]
    found = capacity(exact, slo_s=SLO)
    assert found is not None
    assert found.crossing == pytest.approx(100.0)
    assert found.claim == pytest.approx(100.0)


def test_interval_by_hand_of_the_delta_method() -> None:
    # Four points symmetrical about ln 100 with residuals +-e: slope from outer points, s^2 = 4 e^2 / 2
    x, e = math.log(1.1), 0.05
    points = [(-x, -3 * x + e), (-x, -3 * x - e), (x, 3 * x + e), (x, 3 * x - e)]
    found = capacity([trial(100 * math.exp(a), SLO * math.exp(b)) for a, b in points], slo_s=SLO)
    assert found is not None
    assert found.error == pytest.approx(1.25 * math.sqrt(2 * e**2 / 4) / 3)
    assert found.df == 2
    assert math.log((found.high or 0) / 100) == pytest.approx(4.302653 * found.error)


def test_claim_is_rarely_above_the_truth_and_the_interval_holds_it() -> None:
    rng, right, held = np.random.default_rng(4), 0, 0
    for _ in range(300):
        found = capacity(around(100.0, rng), slo_s=SLO)
        assert found is not None
        right += found.claim <= 100.0
        held += (found.low or 0) <= 100.0 <= (found.high or math.inf)
    assert right >= 0.9 * 300
    assert held >= 0.9 * 300


def test_far_away_trials_do_not_bend_the_line() -> None:
    near = [trial(r, SLO * (r / 100) ** 3) for r in (90, 95, 100, 105, 110)]
    far = [trial(20, SLO * 0.5), trial(50, SLO * 0.55)]
    found = capacity([*near, *far], slo_s=SLO)
    assert found is not None
    assert found.crossing == pytest.approx(100.0)
    assert found.n == 5


def test_few_trials_give_a_bracket_that_says_so() -> None:
    found = capacity([trial(50, 0.01), trial(80, 0.015), trial(120, 0.05)], slo_s=SLO)
    assert found is not None
    assert (found.claim, found.low, found.high) == (80.0, 80.0, 120.0)
    assert "bracket" in found.method
    open_end = capacity([trial(50, 0.01)], slo_s=SLO)
    assert open_end is not None
    assert (open_end.claim, open_end.high) == (50.0, None)


def test_undisturbed_trials_on_both_sides_need_no_disturbed_ones() -> None:
    stable = [trial(618, 0.007), trial(618, 0.008), trial(933, 0.47), trial(958, 0.57)]
    shaky = [trial(890, 1.15, level="unstable"), trial(400, 0.9, level="unstable")]
    found = capacity([*stable, *shaky], slo_s=SLO)
    assert found is not None
    assert (found.low, found.high, found.level) == (618, 933, "valid")
    one_sided = capacity([*stable[:2], *shaky], slo_s=SLO)
    assert one_sided is not None
    assert one_sided.level == "unstable"


def test_of_several_trials_at_one_rate_the_majority_speaks() -> None:
    at_389 = [trial(389, q, keeps_up=ok) for q, ok in ((0.010, True), (0.012, True), (0.015, False), (0.017, True))]
    found = capacity([*at_389, trial(547, 0.3)], slo_s=SLO)
    assert found is not None
    assert (found.claim, found.high) == (389, 547)
    drawn = capacity([*at_389[1:3], trial(547, 0.3)], slo_s=SLO)
    assert drawn is not None
    assert drawn.claim == 0


def test_a_passing_rate_above_a_failing_one_is_not_claimed() -> None:
    found = capacity([trial(50, 0.01), trial(80, 0.03), trial(200, 0.01)], slo_s=SLO)
    assert found is not None
    assert found.claim == 50.0


def test_no_rate_within_the_limit_claims_nothing() -> None:
    found = capacity([trial(50, 0.05), trial(20, 0.03)], slo_s=SLO)
    assert found is not None
    assert (found.claim, found.high) == (0.0, 20.0)
    assert ratio(found, found) is None


def test_invalid_trials_are_no_evidence() -> None:
    assert capacity([trial(50, 0.05, level="invalid")], slo_s=SLO) is None
    assert capacity([], slo_s=SLO) is None


def test_unstable_trials_count_only_where_stable_ones_are_too_few() -> None:
    good = around(100.0, np.random.default_rng(1))
    bad = [msgspec.structs.replace(t, quantile_s=t.quantile_s * 3, level="unstable") for t in good]
    found = capacity([*good, *bad], slo_s=SLO)
    assert found is not None
    assert (found.level, found.n) == ("valid", len(good))
    unstable = capacity([msgspec.structs.replace(t, level="unstable") for t in good], slo_s=SLO)
    assert unstable is not None
    assert unstable.level == "unstable"


def test_trials_too_short_for_the_percentile_are_only_indicative() -> None:
    short = [msgspec.structs.replace(t, carried=False, n=50) for t in around(100.0, np.random.default_rng(1))]
    found = capacity(short, slo_s=SLO)
    assert found is not None
    assert found.predicted
    assert "indicative" in found.method


def test_fresh_trials_above_the_limit_are_noticed() -> None:
    good = around(100.0, np.random.default_rng(1))
    fresh = [trial(98.0, SLO * 1.3, phase="confirmation") for _ in range(3)]
    found = capacity([*good, *fresh], slo_s=SLO)
    assert found is not None
    assert found.fresh_failed


def test_ratio_of_two_searches_holds_the_truth() -> None:
    rng, held = np.random.default_rng(8), 0
    for _ in range(200):
        base, fast = capacity(around(100.0, rng), slo_s=SLO), capacity(around(300.0, rng), slo_s=SLO)
        assert base is not None
        assert fast is not None
        found = ratio(fast, base)
        assert found is not None
        held += (found[0].low or 0) <= 3.0 <= (found[0].high or math.inf)
    assert held >= 0.92 * 200


def test_ratio_of_brackets_spans_their_extremes() -> None:
    base = Capacity(crossing=11, low=10, high=12, claim=10, n=3, method="")
    fast = Capacity(crossing=32, low=30, high=36, claim=30, n=3, method="")
    found = ratio(fast, base)
    assert found is not None
    assert (found[0].value, found[0].low, found[0].high) == (3.0, 2.5, 3.6)


def test_where_noise_hides_the_slope_the_interval_is_wide_and_still_holds() -> None:
    rng, held, widths = np.random.default_rng(6), 0, []
    for _ in range(200):
        found = capacity(around(100.0, rng, n=6, noise=0.3), slo_s=SLO)
        assert found is not None
        held += (found.low or 0) <= 100.0 <= (found.high or math.inf)
        widths.append(math.log((found.high or math.inf) / (found.low or 1)))
    assert held >= 0.9 * 200
    assert np.median(widths) > 0.15


def test_equal_rates_have_no_slope_but_a_level() -> None:
    found = capacity([trial(100.0, q) for q in (0.019, 0.021, 0.02, 0.02)], slo_s=SLO)
    assert found is not None
    assert found.crossing == pytest.approx(100.0, rel=0.01)
    assert "mean of 4 trials" in found.method


def test_a_bracket_of_neighbouring_rates_claims_no_false_precision() -> None:
    found = capacity([trial(99.9, 0.01), trial(100.1, 0.03)], slo_s=SLO)
    assert found
    shown = found.estimate
    assert shown.low is not None
    assert shown.high is not None
    assert shown.high / shown.low == pytest.approx(1.05)
    assert shown.low < shown.value < shown.high


def test_rates_that_only_the_generator_could_not_reach_are_said_and_no_failure() -> None:
    late = trial(200, 0.5, level="invalid", generator_late=True)
    passing = [trial(50, 0.01), trial(80, 0.015)]
    found = capacity([*passing, late], slo_s=SLO)
    assert found is not None
    assert found.flags == ("generator_limited", "bracket")
    assert (found.claim, found.lowest_fail) == (80.0, None)
    # Where a rate failed, how high the generator can go says nothing.
    bounded = capacity([*passing, trial(120, 0.05), late], slo_s=SLO)
    assert bounded is not None
    assert not bounded.generator_limited
    assert bounded.lowest_fail == 120


def test_noise_is_not_called_nonmonotone_and_a_slow_low_rate_is() -> None:
    rng, alarms = np.random.default_rng(2), 0
    for _ in range(200):
        alarms += nonmonotone(around(100.0, rng, n=16, noise=0.13))
    assert alarms <= 4
    level = around(100.0, rng, n=16, noise=0.13)
    assert nonmonotone([*level, trial(25.0, SLO * 1.8)])
    assert not nonmonotone([*level, trial(25.0, SLO * 0.3)])
    assert not nonmonotone([trial(50, 0.01)])


def test_a_higher_pass_above_a_slow_low_rate_is_where_the_fit_looks() -> None:
    upper = [trial(r, SLO * (r / 100) ** 3) for r in (92, 96, 99, 104, 108)]
    found = capacity([trial(10, SLO * 3), trial(20, SLO * 1.5), *upper], slo_s=SLO)
    assert found is not None
    assert found.crossing == pytest.approx(100.0)
    assert found.nonmonotone
    assert found.lowest_fail == 10


def test_the_resolution_of_a_profile_is_the_finest_interval() -> None:
    exact = [trial(r, SLO * (r / 100) ** 3) for r in (90, 95, 100, 105, 110)]
    for finest in (0.02, 0.05):
        found = capacity(exact, slo_s=SLO, resolution=finest)
        assert found is not None
        shown = found.estimate
        assert (shown.high or 0) / (shown.low or 1) == pytest.approx(1 + finest)


def test_short_trials_are_indicative() -> None:
    some = [msgspec.structs.replace(t, ample=False) for t in around(100.0, np.random.default_rng(1))]
    found = capacity(some, slo_s=SLO)
    assert found is not None
    assert found.indicative
    assert "indicative" in found.flags
