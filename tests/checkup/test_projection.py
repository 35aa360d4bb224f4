"""Smallest differences against hand-worked intervals, and against what a study's own verdicts do with such scatter."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from scipy import stats

from accel.analysis.comparison import Pair, compare, smallest
from accel.checkup.projection import Scatter, blocks_for, floor_at, half_width, project
from accel.study.profiles import profile


def scatter(sd: float, *, n: int = 400, within: float = 0.0, run_s: float = 1.0) -> Scatter:
    """Changes of exactly this standard deviation, and no trace of a drift."""
    x = np.random.default_rng(5).normal(size=n)
    x = (x - x.mean()) / x.std(ddof=1) * sd
    return Scatter(changes=tuple(x.tolist()), repeats=tuple((x / 10).tolist()), run_s=run_s, within=within)


def test_the_half_width_is_that_of_the_t_interval() -> None:
    x = np.array([0.01, -0.02, 0.03, 0.0, 0.015, -0.01])
    low, high = stats.t.interval(0.95, 5, loc=x.mean(), scale=stats.sem(x))
    assert half_width(float(x.std(ddof=1)), 6) == pytest.approx((high - low) / 2)


def test_longer_runs_take_away_what_stems_from_within_them_and_no_more() -> None:
    assert scatter(0.02).sd_at(100.0) == pytest.approx(0.02)
    assert scatter(0.02, within=0.02**2).sd_at(4.0) == pytest.approx(0.01)
    assert scatter(0.02, within=0.02**2).sd_at(0.25) == pytest.approx(0.04)
    # Half of the variance is within: four times the length leaves 5/8 of it.
    assert scatter(0.02, within=0.02**2 / 2).sd_at(4.0) == pytest.approx(0.02 * math.sqrt(5 / 8))
    # More within than there is in all (its estimate has noise too) counts as all.
    assert scatter(0.02, within=1.0).sd_at(4.0) == pytest.approx(0.01)


def test_a_machine_without_scatter_shows_each_profiles_least() -> None:
    still = Scatter(changes=(0.0,) * 6, repeats=(0.0,) * 6, run_s=1.0)
    for name, least in (("quick", 0.05), ("shared", 0.03), ("quiet", 0.01)):
        found = project(still, profile(name))
        assert found.difference == pytest.approx(least)
        assert found.cause == "the profile's least"
        assert found.low == found.high == found.difference


def test_scatter_beyond_the_least_sets_the_difference_and_says_how_many_blocks_halve_it() -> None:
    found = project(scatter(0.06), profile("quick"))
    expected = stats.t.ppf(0.975, 5) * 0.06 / math.sqrt(6)
    assert found.cause == "the scatter between blocks"
    assert found.half_width == pytest.approx(expected)
    assert found.difference == pytest.approx(math.expm1(expected))
    assert found.low < found.difference < found.high
    halved = found.blocks_to_halve
    assert halved is not None
    assert half_width(0.06, halved) <= expected / 2 < half_width(0.06, halved - 1)
    assert halved == 17
    assert blocks_for(0.06, 1e-6) is None


def test_a_profile_goes_on_until_the_interval_is_narrow_or_its_blocks_are_used_up() -> None:
    shared = profile("shared")
    assert [project(scatter(sd, run_s=3.0), shared).blocks for sd in (0.001, 0.02, 0.06)] == [10, 10, 30]
    between = project(scatter(0.03, run_s=3.0), shared).blocks
    least = math.log(1.03) / 2
    assert half_width(0.03, between) <= least < half_width(0.03, between - 1)


def test_an_identical_run_that_is_always_slower_sets_the_difference() -> None:
    shifted = Scatter(changes=(0.001, -0.001, 0.0), repeats=(0.08, 0.081, 0.079), run_s=1.0)
    found = project(shifted, profile("quick"))
    assert found.cause == "the baseline measured twice"
    assert found.difference == pytest.approx(math.expm1(0.08), abs=0.002)


def test_the_floor_shrinks_with_blocks_as_a_mean_does() -> None:
    x = list(np.random.default_rng(2).normal(0, 0.02, 2000))
    few, many = floor_at(x, 6, 1.0, 0), floor_at(x, 96, 1.0, 0)
    assert few == pytest.approx(1.96 * 0.02 / math.sqrt(6), rel=0.1)
    assert few / many == pytest.approx(4, rel=0.25)
    assert floor_at(x, 6, 0.5, 0) == pytest.approx(few / 2, rel=0.1)


@pytest.mark.parametrize(("times", "share"), [(1.0, 1 / 2), (1.5, 6 / 7), (0.0, 0.0)])
@pytest.mark.parametrize(("name", "sd"), [("quick", 0.06), ("shared", 0.12), ("quiet", 0.005)])
def test_a_difference_of_that_size_is_shown_in_half_of_all_studies(
    name: str, sd: float, times: float, share: float
) -> None:
    one = profile(name)
    found = project(scatter(sd, run_s=one.measure_s), one)
    size, blocks = math.log1p(found.difference), found.blocks
    rng = np.random.default_rng(3)
    shown = 0
    for _ in range(600):
        changes = times * size + rng.normal(0, sd, blocks)
        pairs = [Pair(block=k, base=math.exp(c), candidate=1.0) for k, c in enumerate(changes)]
        seen = compare(pairs, better="lower", delta=smallest(name), evidence="blocks")
        assert seen is not None
        shown += seen.verdict == "FASTER"
    # Where the profile's least sets the size, the share beyond it is higher than where the scatter does.
    assert shown / 600 == pytest.approx(share, abs=0.08) or (times == 1.5 and shown / 600 > share)


def test_the_interval_of_the_scatter_is_the_chi_square_one() -> None:
    low, high = scatter(1.0, n=10).sd_ends()
    # 95 % factors for 9 degrees of freedom, from tables: 0.688 and 1.826.
    assert (low, high) == (pytest.approx(0.688, abs=0.001), pytest.approx(1.826, abs=0.001))


def test_fewer_than_two_blocks_have_no_scatter() -> None:
    lone = Scatter(changes=(0.1,), repeats=(), run_s=1.0)
    assert math.isnan(lone.sd)
    assert floor_at(lone.repeats, 6, 1.0, 0) == 0.0
    assert msgspec.json.decode(msgspec.json.encode(scatter(0.1, n=3)), type=Scatter) == scatter(0.1, n=3)
