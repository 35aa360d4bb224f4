"""Limits are read as they are meant, and an interval passes, fails or leaves it open exactly where it should."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from accel.analysis import Estimate
from accel.analysis.comparison import Pair
from accel.analysis.duel import from_pairs, measured, narrow_pairs, paired, whole_blocks
from accel.analysis.gate import (
    Limit,
    Measured,
    changed,
    decide,
    exact,
    judge,
    overall,
    parse_limit,
    settling,
    unrepeated,
    unsettled,
)
from accel.analysis.runs import Run
from accel.errors import InputError
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Level, Memory, Result, Role

P50 = parse_limit("p50=+3%")
RATE = parse_limit("throughput=-3%")


@pytest.mark.parametrize(
    ("text", "metric", "change"),
    [
        ("p99=+5%", "p99", 0.05),
        ("p99=5%", "p99", 0.05),
        ("p99>5%", "p99", 0.05),
        ("p90 >= +2.5 %", "p90", 0.025),
        ("latency=+1%", "p50", 0.01),
        ("throughput=-3%", "throughput", -0.03),
        ("throughput<3%", "throughput", -0.03),
        ("accuracy=-1pp", "accuracy", -0.01),
        ("accuracy=0.5pp", "accuracy", -0.005),
        ("memory=+10%", "memory", 0.10),
        ("Size=+0%", "size", 0.0),
        ("rate=-5%", "rate", -0.05),
        ("p50=+250%", "p50", 2.5),
    ],
)
def test_limits_are_read_as_they_are_meant(text: str, metric: str, change: float) -> None:
    limit = parse_limit(text)
    assert limit.metric == metric
    assert limit.change == pytest.approx(change)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("p99", "in quotes"),  # what is left of `p99>5%` when the shell has made a file of the rest
        ("p99=", "names no limit"),
        ("p99=5", "percent"),
        ("p99=5pp", "percent"),
        ("accuracy=-1%", "percentage points"),
        ("p99=-5%", "gets worse when it grows"),
        ("throughput=+3%", "gets worse when it falls"),
        ("throughput=-100%", "100 %"),
        ("p98=+5%", "Did you mean `p9"),
        ("thruput=-3%", "`throughput`"),
        ("=5%", "can't be read"),
        ("", "can't be read"),
        ("p99=+5%=3", "percent"),
        ("p99=nan%", "percent"),
    ],
)
def test_a_limit_that_cannot_be_meant_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        parse_limit(text)
    assert "\n" not in str(error.value)


def test_a_metric_is_limited_once() -> None:
    with pytest.raises(InputError, match="twice: `p50=.3%` and `latency=.1%`"):
        unrepeated([P50, parse_limit("latency=+1%")])


def test_hand_calculated_ends() -> None:
    """A limit of +3 % stands at ln 1.03 = 0.02956, one of -3 % at ln 0.97 = -0.03046."""
    assert decide(P50, 0.0296, 0.2) == "fails"
    assert decide(P50, 0.0295, 0.2) == "can't tell"
    assert decide(P50, -0.2, 0.0295) == "passes"
    assert decide(RATE, -0.2, -0.0305) == "fails"
    assert decide(RATE, -0.2, -0.0304) == "can't tell"
    assert decide(RATE, -0.0304, 0.2) == "passes"


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1), st.sampled_from([P50, RATE]))
def test_getting_worse_never_helps_and_width_never_decides(
    middle: float, half: float, more: float, limit: Limit
) -> None:
    order = ["passes", "can't tell", "fails"]
    worse = more if limit.worse == "higher" else -more
    here = decide(limit, middle - half, middle + half)
    assert order.index(decide(limit, middle + worse - half, middle + worse + half)) >= order.index(here)
    assert decide(limit, middle - half - more, middle + half + more) in (here, "can't tell")
    assert decide(limit, -math.inf, math.inf) == "can't tell"


# --- from pairs to a change --------------------------------------------------------------------------------------


def pairs(ratios: list[float], *, again: float = 1.0, stable: bool = True) -> list[Pair]:
    """Blocks whose weather is 2 % up and down, in which the new one takes `ratio` times as long."""
    weather = [0.002 * (1.02 if n % 2 else 0.98) for n in range(len(ratios))]
    return [
        Pair(block=n, base=w, repeat=w * again, candidate=w * math.sqrt(again) * ratio, stable=stable)
        for n, (w, ratio) in enumerate(zip(weather, ratios, strict=True))
    ]


def test_the_interval_is_that_of_a_paired_t_test() -> None:
    ratios = [1.01, 1.03, 1.02, 1.05, 1.00, 1.04]
    found = from_pairs(P50, pairs(ratios), blocks=6)
    expected = ttest_1samp(np.log(ratios), 0.0).confidence_interval(0.95)
    assert found.ends == pytest.approx((expected.low, expected.high))
    assert found.shift == 0.0


@pytest.mark.parametrize(
    ("ratio", "outcome"), [(1.0, "passes"), (1.02, "passes"), (1.03, "can't tell"), (1.05, "fails"), (0.8, "passes")]
)
def test_pairs_end_in_an_outcome(ratio: float, outcome: str) -> None:
    scatter = [0.995, 1.005, 1.0, 0.997, 1.003, 1.0]
    found = judge(
        P50, from_pairs(P50, pairs([ratio * s for s in scatter]), blocks=6), target="online", old="a", new="b"
    )
    assert found.outcome == outcome
    assert bool(found.settle) == (outcome == "can't tell")


def test_an_old_one_that_differs_from_itself_widens_the_interval() -> None:
    """A' is 2 % slower than A in every block: 1.05 could be 1.03, which the limit allows."""
    steady = from_pairs(P50, pairs([1.05, 1.051, 1.049] * 2), blocks=6)
    shifted = from_pairs(P50, pairs([1.05, 1.051, 1.049] * 2, again=1.02), blocks=6)
    assert shifted.shift == pytest.approx(math.log(1.02), rel=1e-6)
    assert judge(P50, steady, target="t", old="a", new="b").outcome == "fails"
    assert judge(P50, shifted, target="t", old="a", new="b").outcome == "can't tell"


def test_three_undisturbed_blocks_decide_and_two_do_not() -> None:
    terrible = [2.0, 2.01, 1.99, 2.02]
    for steady, outcome in ((3, "fails"), (2, "can't tell")):
        mixed = pairs(terrible, stable=False) + [
            msgspec.structs.replace(p, block=10 + n) for n, p in enumerate(pairs(terrible[:steady]))
        ]
        found = judge(P50, from_pairs(P50, mixed, blocks=len(mixed)), target="t", old="a", new="b")
        assert found.outcome == outcome, steady


def test_disturbed_or_few_blocks_never_decide() -> None:
    terrible = [2.0, 2.01, 1.99] * 2
    wild = [2.0, 0.7, 1.5, 0.9, 1.3, 0.8]
    disturbed = judge(P50, from_pairs(P50, pairs(wild, stable=False), blocks=6), target="t", old="a", new="b")
    few = judge(P50, from_pairs(P50, pairs(terrible[:5]), blocks=5), target="t", old="a", new="b", block_s=10.0)
    none = judge(P50, from_pairs(P50, pairs(terrible[:2]), blocks=2), target="t", old="a", new="b")
    assert [g.outcome for g in (disturbed, few, none)] == ["can't tell"] * 3
    assert "disturbed" in disturbed.sentence
    assert "quieter" in disturbed.settle
    assert few.settle == "6 blocks take about --budget 80s."  # 1.2 x 6 x 10 s, rounded up to tens


def test_measuring_stops_on_width_and_not_on_what_it_shows() -> None:
    """The same scatter around no change and around a clear one: both stop, or neither does."""
    for scatter, stops in (((0.999, 1.001), True), ((0.9, 1.1), False)):
        for ratio in (1.0, 1.3):
            shown = pairs([ratio * s for s in scatter * 4])
            assert narrow_pairs(P50, shown, most=60) is stops
    assert not narrow_pairs(P50, pairs([1.0] * 5), most=60)
    assert not narrow_pairs(P50, pairs([1.0] * 8, stable=False), most=60)
    assert narrow_pairs(P50, pairs([1.0] * 8, stable=False), most=8)


def test_what_would_settle_it() -> None:
    """Half-width 4 % at a distance of ln 1.03 from no change, after 6 blocks: 1.2 x 6 x (0.04 / 0.02956)^2 = 13.2."""
    ratio = Estimate(value=1.0, low=math.exp(-0.04), high=math.exp(0.04), n=6, unit="x", method="")
    found = Measured(ratio=ratio, blocks=6)
    assert settling(P50, found, 10.0) == "About 14 blocks would settle it, as with --budget 3m."
    at_limit = msgspec.structs.replace(found, ratio=msgspec.structs.replace(ratio, value=1.03))
    assert "so near the limit" in settling(P50, at_limit, 10.0)


def test_a_size_needs_no_interval() -> None:
    limit = parse_limit("size=+10%")
    outcomes = [
        exact(limit, 100.0, new, target="both", names=("a", "b")).outcome for new in (109.0, 110.0, 111.0, 50.0)
    ]
    assert outcomes == ["passes", "passes", "fails", "passes"]
    assert exact(limit, None, 5.0, target="both", names=("a", "b")).outcome == "can't tell"


def test_one_failure_fails_the_gate_and_one_doubt_leaves_it_open() -> None:
    size = parse_limit("size=+10%")
    good, bad = (exact(size, 100.0, new, target="both", names=("a", "b")) for new in (100.0, 200.0))
    open_ = unsettled(P50, "it can't run", target="both", names=("a", "b"))
    assert overall([good]) == "passes"
    assert overall([good, open_]) == "can't tell"
    assert overall([good, open_, bad]) == "fails"
    assert overall([]) == "can't tell"


def test_a_change_is_shown_with_its_widened_interval() -> None:
    ratio = Estimate(value=1.02, low=1.01, high=1.03, n=6, unit="x", method="")
    assert changed(Measured(ratio=ratio)) == "+2.0 % [+1.0, +3.0]"
    assert changed(Measured(ratio=ratio, shift=math.log(1.01))) == "+2.0 % [+0.0, +4.0]"


# --- from runs to pairs ------------------------------------------------------------------------------------------


def run(block: int, role: Role, latency_s: float, n: int, *, validity: Level = "valid", memory: int = 100) -> Run:
    """n requests of one latency but for the slowest 2 %, which take ten times as long; 8 items a batch."""
    values = np.full(n, latency_s)
    values[: max(1, n // 50)] *= 10
    result = Result(
        run_id=f"{block}-{role}",
        study_id="s",
        phase="blocks",
        variant=Variant(name="new" if role == "candidate" else "old", backend=Named("stub")),
        role=role,
        status="ok",
        block=block,
        target="latency",
        validity=validity,
        memory=Memory(peak_run_bytes=memory),
    )
    items = np.full(10, 8.0)
    return Run(result=result, latency_s=values, items=items, seconds=items * latency_s, service_s=items * latency_s)


def block(number: int, n: int, ratio: float = 1.0, *, validity: Level = "valid", memory: int = 100) -> list[Run]:
    return [
        run(number, "baseline", 0.002, n),
        run(number, "repeat", 0.002, n),
        run(number, "candidate", 0.002 * ratio, n, validity=validity, memory=memory),
    ]


def runs(count: int, n: int, ratio: float = 1.0) -> list[Run]:
    return [r for k in range(count) for r in block(k, n, ratio)]


def test_a_percentile_is_taken_block_by_block_where_each_carries_it() -> None:
    limit = parse_limit("p99=+5%")
    found, note = paired(limit, whole_blocks(runs(6, 1200, 1.1), None))
    assert len(found) == 6
    assert note == ""
    assert found[0].candidate / found[0].base == pytest.approx(1.1)
    assert found[0].base == pytest.approx(0.02)


def test_blocks_are_joined_until_together_they_carry_the_percentile() -> None:
    """400 requests a block; p99 takes 1000, so groups of 3 blocks; of 10 blocks, one is left over."""
    limit = parse_limit("p99=+5%")
    found, note = paired(limit, whole_blocks(runs(10, 400, 1.1), None))
    assert len(found) == 3
    assert "3 groups of up to 3 blocks" in note
    assert found[0].candidate / found[0].base == pytest.approx(1.1)
    assert measured(limit, runs(10, 400, 1.1)).blocks == 10


def test_a_percentile_that_is_not_carried_says_how_many_requests_there_are() -> None:
    found = measured(parse_limit("p99=+5%"), runs(6, 100))
    assert found.ratio is None
    assert "600 requests a side" in found.reason
    assert "3000" in found.reason


def test_a_median_is_taken_of_any_block() -> None:
    """A model of seconds gives a few requests a block; the blocks show how much their medians scatter."""
    found, note = paired(P50, whole_blocks(runs(6, 3, 1.5), None))
    assert (len(found), note) == (6, "")


def test_disturbed_blocks_leave_before_groups_are_made_and_invalid_runs_leave_their_block() -> None:
    limit = parse_limit("p99=+5%")
    disturbed = runs(9, 400) + block(9, 400, 5.0, validity="unstable")
    assert all(p.stable for p in paired(limit, whole_blocks(disturbed, None))[0])
    invalid = runs(6, 400) + block(6, 400, 5.0, validity="invalid")
    assert len(whole_blocks(invalid, None)) == 6


def test_memory_is_compared_like_any_other_number() -> None:
    limit = parse_limit("memory=+10%")
    grown = [r for k in range(6) for r in block(k, 50, memory=120)]
    found = judge(limit, measured(limit, grown), target="both", old="a", new="b")
    assert found.outcome == "fails"
    assert found.measured.ratio is not None
    assert found.measured.ratio.value == pytest.approx(1.2)
    unread = [msgspec.structs.replace(r, result=msgspec.structs.replace(r.result, memory=None)) for r in grown]
    assert measured(limit, unread).ratio is None
