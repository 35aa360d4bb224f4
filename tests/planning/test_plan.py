"""`accel.plan` on a synthetic study, whose truth is known: a batch of b takes fixed_s + b x item_s."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import accel
from accel.analysis.conclusion import StudyRecord
from accel.errors import InputError
from accel.planning.bursts import busiest, gaps_factor
from accel.planning.carried import Carried, carried
from accel.planning.plan import CapacityPlan
from accel.slo import Slo
from accel.study.folder import StudyFolder
from accel.study.study import Study
from tests.synthetic import Made, synthetic_study, variant
from tests.synthetic import simulate as truth


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("planned")
    synthetic_study(place, variants=usual(), finalists=2)
    return place


def usual() -> list[Made]:
    return [
        Made(variant=variant("fast", "openvino"), fixed_s=0.00035, item_s=0.0009),
        Made(variant=variant("middling", "onnxruntime"), item_s=0.0024),
    ]


def plan(folder: Path, **given: Any) -> CapacityPlan:
    return accel.plan(folder, **given)


def test_replicas_come_from_the_measured_capacity(folder: Path) -> None:
    found = plan(folder, rate=5000)
    measured = Study(folder).conclusion.row("fast").online
    assert measured is not None
    assert (found.chosen.variant, found.chosen.predicted) == ("fast", False)
    assert found.chosen.capacity == measured.rate
    assert found.chosen.replicas.count == math.ceil(5000 / measured.rate.value)
    assert found.chosen.replicas.fewest == math.ceil(5000 / measured.rate.high)  # type: ignore[operator]
    assert found.unit == "instance-seconds"
    assert found.chosen.per_million.value == pytest.approx(found.chosen.replicas.count / 5000 * 1e6)
    assert {f.variant for f in found.others} == {"original", "middling"}


def test_a_million_requests_a_second_are_planned_too(folder: Path) -> None:
    found = plan(folder, rate=1e6)
    assert found.chosen.replicas.count == pytest.approx(1e6 / found.chosen.capacity.value, abs=1)


def test_a_price_headroom_growth_and_spare_are_used(folder: Path) -> None:
    plain = plan(folder, rate=5000)
    priced = plan(folder, rate=5000, price="0.20/h")
    assert priced.chosen.per_day.value == pytest.approx(plain.chosen.replicas.count * 24 * 0.20)
    assert priced.unit == "price units"
    assert plan(folder, rate=5000, headroom="50%").chosen.replicas.count in (
        2 * plain.chosen.replicas.count,
        2 * plain.chosen.replicas.count - 1,
    )
    growing = plan(folder, rate=5000, growth="100%/min", start_seconds=60)
    assert growing.chosen.scaling.headroom == pytest.approx(1 / 3)
    spare = plan(folder, rate=5000, spare=2)
    assert spare.chosen.replicas.count == plain.chosen.replicas.count + 2
    assert spare.chosen.late_if_lost == 0


def test_serverless_is_held_against_the_endpoint(folder: Path) -> None:
    found = plan(folder, rate=100, price="0.20/h", serverless="0.20/million,0.0000167/GBs,1GB")
    alone = Study(folder).conclusion.row("fast").p50
    assert alone is not None
    assert found.serverless is not None
    assert found.serverless.per_million.value == pytest.approx(0.2 + 16.7 * alone.value)
    assert "one replica costs less from" in " ".join(str(found).split())
    with pytest.raises(InputError, match="give --price too"):
        plan(folder, rate=100, serverless="0.20/million,0.0000167/GBs")


def crossing(one: Made, p: float, slo_s: float) -> float:
    """The true capacity, by the synthetic study's own simulator."""
    low, high = 1.0, 3 / one.item_s
    while high / low > 1.005:
        rate = math.sqrt(low * high)
        latency = np.concatenate(
            [truth(one, rate, 8000, np.random.default_rng(s), 1.0).latency_ns * 1e-9 for s in (11, 12)]
        )
        low, high = (rate, high) if np.quantile(latency, p) <= slo_s else (low, rate)
    return low


@pytest.mark.parametrize("slo", ["p90=10ms", "p99=50ms"])
def test_another_limit_is_predicted_and_holds_the_truth(folder: Path, slo: str) -> None:
    found = plan(folder, rate=5000, slo=slo)
    assert found.chosen.predicted
    limit = found.slo
    true = crossing(usual()[0], limit.p, limit.seconds)
    assert found.chosen.capacity.value == pytest.approx(true, rel=0.12)
    assert found.chosen.capacity.low is not None
    assert found.chosen.capacity.low < true < 1.02 * found.chosen.capacity.high  # type: ignore[operator]


def test_a_limit_nobody_keeps_is_one_sentence(folder: Path) -> None:
    with pytest.raises(InputError, match="one request alone takes"):
        plan(folder, rate=10, slo="p99=0.5ms")


def test_a_percentile_beyond_the_evidence_is_refused(folder: Path) -> None:
    assert plan(folder, rate=10, slo="p99.9=100ms").chosen.predicted
    with pytest.raises(InputError, match=r"p99\.99 is rarer than its measured service times can foretell"):
        plan(folder, rate=10, slo="p99.99=100ms")


def test_a_variant_that_cannot_keep_the_limit_is_named(folder: Path) -> None:
    found = plan(folder, rate=10, slo="p90=4ms")
    assert any("`original` can't keep" in said for said in found.cannot)
    assert found.chosen.variant == "fast"


def test_without_traces_the_own_limit_still_plans(tmp_path: Path) -> None:
    synthetic_study(tmp_path, variants=usual(), finalists=2)
    held = Study(tmp_path)
    row = held.conclusion.row("fast")
    results = [r for r in held.results if r.variant.name == "fast"]
    for path in (tmp_path / "runs").glob("*.npz"):
        path.unlink()
    own = carried(row, results, held.record, StudyFolder(tmp_path).runs, Slo(0.9, 0.015))
    assert isinstance(own, Carried)
    assert own.times is None
    assert "its traces are gone" in str(carried(row, results, held.record, StudyFolder(tmp_path).runs, Slo(0.9, 0.02)))


# --- traces --------------------------------------------------------------------------------------------------------


def day(path: Path) -> Path:
    at = np.arange(0, 86_401, 3600)
    rates = 3000 * (1 + 0.8 * np.sin(2 * np.pi * at / 86_400))
    path.write_text("time,rate\n" + "\n".join(f"{t},{r:.3f}" for t, r in zip(at, rates, strict=True)) + "\n")
    return path


def test_a_day_gets_replicas_by_the_hour_and_an_autoscaler(folder: Path, tmp_path: Path) -> None:
    found = plan(folder, trace=day(tmp_path / "day.csv"), start_seconds=120)
    assert (len(found.hours), found.hour_s) == (24, 3600)
    assert found.rate == pytest.approx(3000 * 1.8, rel=0.02)
    capacity = found.chosen.capacity.value * found.chosen.scaling.headroom
    assert [h.count for h in found.hours] == [math.ceil(h.rate / capacity) for h in found.hours]
    assert found.scaled is not None
    assert found.replica_hours is not None
    always, timetable, scaled = found.replica_hours
    assert always == 24 * found.chosen.replicas.count
    assert timetable < always
    assert scaled < always
    # Headroom is what the trace's own steepest growth asks for, so nobody is late.
    assert found.scaled.late == 0
    full = plan(folder, trace=day(tmp_path / "day.csv"), start_seconds=120, headroom="100%")
    assert full.scaled is not None
    assert full.scaled.late > 0


def test_bursts_lower_the_capacity_and_poisson_gaps_do_not(folder: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    for name, gaps in (("even", rng.exponential(1, 40_000)), ("bursty", rng.gamma(1 / 25, 25, 40_000))):
        np.savetxt(tmp_path / f"{name}.csv", np.cumsum(gaps))
    even, bursty = (plan(folder, rate=2000, trace=tmp_path / f"{name}.csv") for name in ("even", "bursty"))
    assert even.burst is not None
    assert bursty.burst is not None
    assert even.gaps is not None
    assert bursty.gaps is not None
    assert even.burst.cv == pytest.approx(1, abs=0.05)
    assert bursty.burst.cv == pytest.approx(5, rel=0.15)
    assert even.gaps.value == pytest.approx(1, abs=0.1)
    assert bursty.gaps.value < 0.85
    assert bursty.chosen.replicas.count > even.chosen.replicas.count
    assert any("come in bursts" in note for note in bursty.notes)


def test_a_recording_too_short_for_gaps_says_so(folder: Path, tmp_path: Path) -> None:
    np.savetxt(tmp_path / "a.csv", np.arange(500) * 0.01)
    found = plan(folder, trace=tmp_path / "a.csv")
    assert found.gaps is None
    assert any("too short" in note for note in found.notes)


def test_the_busiest_stretch() -> None:
    assert busiest(np.array([0.0, 1, 2, 10, 10.5, 11, 30]), 3).tolist() == [0, 0.5, 1]
    assert busiest(np.array([3.0, 4]), 5).tolist() == [0, 1]


def test_without_service_times_gaps_are_not_simulated(folder: Path) -> None:
    one = Carried(
        capacity=plan(folder, rate=10).chosen.capacity,
        policy=usual()[0].policy,
        workers=1,
        times=None,
        predicted=False,
        note="",
    )
    assert gaps_factor(np.arange(5000) * 1.0, one, Slo(0.9, 0.015), 2) is None


# --- what is refused -----------------------------------------------------------------------------------------------


def test_the_plan_prints_and_encodes(folder: Path, tmp_path: Path) -> None:
    found = plan(folder, trace=day(tmp_path / "day.csv"), rate=800, spare=1)
    said = str(found)
    assert f"{found.chosen.replicas.count} replicas [" in said
    assert "of fast, " in said
    assert "autoscaled" in said
    assert max(len(line) for line in said.splitlines()) <= 80
    read = msgspec.json.decode(found.to_json(), type=CapacityPlan)
    assert read.chosen.replicas == found.chosen.replicas


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"rate": 0}, "--rate must be above 0"),
        ({}, "Say for which load"),
        ({"rate": 5, "slo": "fast"}, "The SLO must be a percentile and a time"),
        ({"rate": 5, "price": "free"}, "--price must be"),
        ({"rate": 5, "headroom": "120%"}, "--headroom must be a share"),
        ({"rate": 5, "headroom": "0"}, "--headroom must be a share"),
        ({"rate": 5, "growth": "10%"}, "--growth must be a share a time"),
        ({"rate": 5, "growth": "10%/min", "headroom": "80%"}, "give one of them"),
        ({"rate": 5, "spare": -1}, "--spare must be a whole number"),
        ({"rate": 5, "start_seconds": -1.0}, "--start-seconds must be from 0"),
        ({"rate": 5, "start_seconds": math.nan}, "--start-seconds must be from 0"),
        ({"rate": 5, "start_seconds": 1e300}, "--start-seconds must be from 0"),
        ({"rate": 5, "spare": 10**400}, "--spare must be a whole number"),
        ({"rate": 5, "growth": "9" * 400 + "%/s"}, "--growth must be a share a time"),
        ({"rate": 5, "metric_window": "0s"}, "--metric-window must be greater than zero"),
        ({"rate": 5, "cool_down": "soon"}, "--cool-down must be a time"),
    ],
)
def test_wrong_options_are_one_sentence(folder: Path, given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        plan(folder, **given)
    assert words in str(caught.value)


def test_a_million_predictions_of_a_day_cost_what_its_mean_makes_of_them(folder: Path, tmp_path: Path) -> None:
    found = plan(folder, trace=day(tmp_path / "day.csv"), price="0.20/h")
    millions = found.mean * 86_400 / 1e6
    assert found.mean < 0.9 * found.rate
    assert found.chosen.per_million.value == pytest.approx(found.chosen.per_day.value / millions)


def test_what_the_rest_cannot_carry_gets_no_latency(folder: Path) -> None:
    carries = plan(folder, rate=1).chosen.capacity.value
    short, spared = plan(folder, rate=1.9 * carries).chosen, plan(folder, rate=1.9 * carries, spare=1).chosen
    assert short.late_if_lost > 0
    assert short.with_one_gone_s is None
    assert spared.late_if_lost == 0
    assert spared.with_one_gone_s is not None


def test_a_rise_that_one_replica_carries_needs_no_further_one(folder: Path, tmp_path: Path) -> None:
    carries = plan(folder, rate=1).chosen.capacity.value
    path = tmp_path / "rise.csv"
    path.write_text(f"time,rate\n0,0.001\n600,0.001\n660,{0.9 * carries}\n3600,{0.9 * carries}\n", "utf-8")
    found = plan(folder, trace=path)
    assert found.chosen.replicas.count == 1
    assert found.scaled is not None
    assert found.scaled.late == 0


def test_a_rate_next_to_nothing_waits_for_one_request_alone(folder: Path) -> None:
    rare, quiet = plan(folder, rate=1e-300).chosen, plan(folder, rate=0.01).chosen
    assert rare.p_quantile_s is not None
    assert quiet.p_quantile_s is not None
    assert rare.p_quantile_s.value == pytest.approx(quiet.p_quantile_s.value, rel=0.2)


def test_a_cool_down_longer_than_any_trace_never_takes_away(folder: Path, tmp_path: Path) -> None:
    found = plan(folder, trace=day(tmp_path / "day.csv"), cool_down=1e30)
    assert found.scaled is not None
    assert list(found.scaled.ready) == sorted(found.scaled.ready)


def rewritten(place: Path, record: StudyRecord, **changed: Any) -> Path:
    StudyFolder(place).write_record(msgspec.structs.replace(record, **changed))
    return place


def test_an_unfinished_study_is_refused(tmp_path: Path) -> None:
    record = synthetic_study(tmp_path, blocks=0)
    for changed in ({"finished_unix_ns": None}, {"interrupted": True}):
        with pytest.raises(InputError, match="isn't finished"):
            plan(rewritten(tmp_path, record, **changed), rate=5)


def test_a_study_without_server_trials_is_refused(tmp_path: Path) -> None:
    synthetic_study(tmp_path, blocks=2, online=False)
    with pytest.raises(InputError, match="no server trial of it can be used"):
        plan(tmp_path, rate=5)


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no study"):
        plan(tmp_path, rate=5)
