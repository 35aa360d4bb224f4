from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.analysis import Estimate
from accel.analysis.comparison import Pair, aa_floor, aa_suspicious, compare, compare_once, smallest, verdict

DELTA = math.log(1.05)


def pairs(candidates: list[float], base: float = 1.0) -> list[Pair]:
    return [Pair(block=i, base=base, repeat=base, candidate=c) for i, c in enumerate(candidates)]


def estimate(value: float, half: float | None = 0.01) -> Estimate:
    low, high = (None, None) if half is None else (value * math.exp(-half), value * math.exp(half))
    return Estimate(value=value, low=low, high=high, n=100, unit="s", method="")


@pytest.mark.parametrize(
    ("mean", "ends", "ends90", "expected"),
    [
        (0.10, (0.05, 0.15), (0.06, 0.14), "FASTER"),
        (0.04, (0.03, 0.05), (0.032, 0.047), "EQUIVALENT"),
        (0.06, (-0.01, 0.13), (0.0, 0.12), "INCONCLUSIVE"),
        (-0.10, (-0.15, -0.05), (-0.14, -0.06), "SLOWER"),
        (0.0, (-0.06, 0.06), (-0.045, 0.045), "EQUIVALENT"),
        (0.0, (-0.2, 0.2), (-0.15, 0.15), "INCONCLUSIVE"),
        (0.045, (0.01, 0.08), (0.02, 0.07), "INCONCLUSIVE"),
    ],
)
def test_verdict_by_rule_37(mean: float, ends: tuple[float, float], ends90: tuple[float, float], expected: str) -> None:
    word, reason = verdict(mean, ends, ends90, DELTA)
    assert word == expected
    assert bool(reason) == (expected == "INCONCLUSIVE")


def test_base_is_the_geometric_mean_of_a_and_its_repeat() -> None:
    assert Pair(block=0, base=1.0, repeat=4.0, candidate=1.0).reference == pytest.approx(2.0)
    assert Pair(block=0, base=3.0, candidate=1.0).reference == 3.0


def test_twice_as_fast_is_a_ratio_of_two_in_either_metric() -> None:
    latency = compare(pairs([0.5, 0.51, 0.49, 0.5]), better="lower", delta=DELTA, evidence="blocks")
    rate = compare(pairs([2.0, 2.02, 1.98, 2.0]), better="higher", delta=DELTA, evidence="blocks")
    assert latency is not None
    assert rate is not None
    assert latency.ratio.value == pytest.approx(2.0, rel=0.01)
    assert rate.ratio.value == pytest.approx(2.0, rel=0.01)
    assert (latency.verdict, rate.verdict) == ("FASTER", "FASTER")


def test_interval_by_hand() -> None:
    # log-ratios 0.1, 0.2, 0.3: mean 0.2, s 0.1, t(0.975, 2) = 4.302653
    found = compare(pairs([math.exp(x) for x in (0.1, 0.2, 0.3)]), better="higher", delta=DELTA, evidence="blocks")
    assert found is not None
    assert math.log(found.ratio.low or 0) == pytest.approx(0.2 - 4.302653 * 0.1 / math.sqrt(3))
    assert math.log(found.ratio.value) == pytest.approx(0.2)


@given(st.lists(st.floats(0.2, 5.0), min_size=3, max_size=12))
def test_orientation_turns_the_ratio_over(values: list[float]) -> None:
    down = compare(pairs(values), better="lower", delta=DELTA, evidence="blocks")
    up = compare(pairs(values), better="higher", delta=DELTA, evidence="blocks")
    assert down is not None
    assert up is not None
    assert down.ratio.value * up.ratio.value == pytest.approx(1.0)
    mirrored = {"FASTER": "SLOWER", "SLOWER": "FASTER"}
    assert up.verdict == mirrored.get(down.verdict, down.verdict)


def test_drift_shared_by_a_block_cancels() -> None:
    drift = [1.0, 1.5, 0.7, 2.0, 1.2, 0.9]
    drifting = [Pair(block=i, base=d, repeat=d, candidate=d / 1.2) for i, d in enumerate(drift)]
    found = compare(drifting, better="lower", delta=DELTA, evidence="blocks")
    assert found is not None
    assert found.ratio.low == pytest.approx(1.2)
    assert found.verdict == "FASTER"


def test_too_few_blocks_say_nothing() -> None:
    assert compare(pairs([0.5, 0.5]), better="lower", delta=DELTA, evidence="blocks") is None


@pytest.mark.parametrize("disturbed", [0, 1, 3, 4])
def test_disturbed_blocks_are_left_out_while_three_others_remain(disturbed: int) -> None:
    clean = [Pair(block=i, base=1.0, candidate=0.5 + 0.001 * i) for i in range(disturbed, 6)]
    hit = [Pair(block=i, base=1.0, candidate=0.9, stable=False) for i in range(disturbed)]
    found = compare([*hit, *clean], better="lower", delta=DELTA, evidence="blocks")
    assert found is not None
    if disturbed <= 3:
        assert (found.verdict, found.ratio.n, found.ratio.validity) == ("FASTER", 6 - disturbed, "valid")
        assert (f"{disturbed} disturbed" in found.ratio.method) == bool(disturbed)
    else:
        assert (found.verdict, found.ratio.n, found.ratio.validity) == ("INCONCLUSIVE", 6, "unstable")
        assert found.reason.startswith("unstable: 4 of 6")


def test_floor_raises_delta_only_above_the_profile_s_minimum() -> None:
    assert math.exp(smallest("quick")) == pytest.approx(1.05)
    assert math.exp(smallest("shared")) == pytest.approx(1.03)
    assert math.exp(smallest("quiet")) == pytest.approx(1.01)
    assert smallest("quick", 0.2) == 0.2


def test_aa_floor_grows_with_the_scatter_and_repeats_for_a_seed() -> None:
    rng = np.random.default_rng(0)
    quiet, loud = list(rng.normal(0, 0.01, 6)), list(rng.normal(0, 0.1, 6))
    assert aa_floor(quiet, 1) == aa_floor(quiet, 1)
    assert 0 < aa_floor(quiet, 1) < aa_floor(loud, 1)
    assert aa_floor([0.0, 0.0, 0.0], 1) == 0.0
    assert aa_floor([], 1) == 0.0


def test_an_a_that_differs_from_its_repeat_is_suspicious() -> None:
    assert aa_suspicious([0.03, 0.031, 0.029, 0.03], DELTA)
    assert not aa_suspicious([0.03, -0.03, 0.02, -0.02], DELTA)
    assert not aa_suspicious([0.001, 0.0011, 0.0009, 0.001], DELTA)


def test_identical_variants_are_rarely_called_different() -> None:
    rng, wrong, held = np.random.default_rng(11), 0, 0
    for _ in range(300):
        blocks = [
            Pair(block=i, base=b, repeat=r, candidate=c) for i, (b, r, c) in enumerate(rng.lognormal(0, 0.03, (6, 3)))
        ]
        found = compare(blocks, better="lower", delta=DELTA, evidence="blocks")
        assert found is not None
        wrong += found.verdict in ("FASTER", "SLOWER")
        held += (found.ratio.low or 0) <= 1 <= (found.ratio.high or math.inf)
    assert wrong <= 6
    assert held >= 0.92 * 300


def test_screening_never_shows_equality_and_names_its_evidence() -> None:
    same = compare_once(estimate(1.0), estimate(1.0), better="lower", delta=DELTA)
    assert (same.verdict, same.evidence) == ("INCONCLUSIVE", "screening")
    fast = compare_once(estimate(1.0), estimate(0.5), better="lower", delta=DELTA)
    assert (fast.verdict, fast.ratio.value) == ("FASTER", pytest.approx(2.0))
    slow = compare_once(estimate(1.0), estimate(0.5), better="higher", delta=DELTA)
    assert slow.verdict == "SLOWER"
    assert (fast.ratio.high or 0) / (fast.ratio.low or 1) > math.exp(2 * 0.03)


def test_screening_without_intervals_decides_nothing() -> None:
    found = compare_once(estimate(1.0, None), estimate(0.1), better="lower", delta=DELTA)
    assert found.verdict == "INCONCLUSIVE"
    assert found.ratio.low is None
