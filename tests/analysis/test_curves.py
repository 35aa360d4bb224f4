"""Which curves a study's runs hold: those of the tuning, with the pause before a call beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from accel.analysis.curves import curve_of
from accel.analysis.reading import conclude
from accel.analysis.runs import Run
from accel.plugins import Named
from accel.result import Result
from tests.analysis.test_load_curve import run
from tests.synthetic import BASELINE, synthetic_study, usual_variants


def test_a_study_has_a_curve_of_each_variant_that_was_tuned(tmp_path: Path) -> None:
    record = synthetic_study(tmp_path, blocks=2, confirmations=0, online=False, measured_s=0.5)
    results = [Result.load(p) for p in sorted((tmp_path / "runs").glob("*.json"))]
    found = conclude(record, results, tmp_path / "runs")
    assert found.loads == ()
    truths = {m.variant.name: m for m in (BASELINE, *usual_variants())}
    assert "original" in {c.variant for c in found.batching}
    for curve in found.batching:
        assert [p.size for p in curve.points] == [1, 2, 4, 8, 16, 32]
        for point in curve.points:
            assert point.monotone_s == pytest.approx(truths[curve.variant].seconds(point.size), rel=0.05)
    base = next(c for c in found.batching if c.variant == "original")
    # 5 ms alone, 4.225 ms an item in a batch of 32: 18 % more.
    assert base.gain is not None
    assert base.gain.value == pytest.approx(5.0 / 4.225, rel=0.05)
    kept = msgspec.structs.replace(record, lengths=(msgspec.structs.replace(base, bucket=(1, 9)),))
    assert conclude(kept, results, tmp_path / "runs").batching[-1].bucket == (1, 9)


def look(seconds: float, gap_s: float, **more: Any) -> Run:
    made = run([seconds] * 25)
    fields = {"gap_s": gap_s} if gap_s else {}
    scenario = Named("single_stream", fields)
    changed = {"phase": "measure", "target": None, "scenario": scenario, "batching": Named("single"), **more}
    return msgspec.structs.replace(made, result=msgspec.structs.replace(made.result, **changed))


def offline(size: int, seconds: float) -> Run:
    made = run([seconds] * 25)
    batches = made.items.astype(float)
    changed = {"phase": "tuning", "target": "batch", "batching": Named("fixed", {"size": size})}
    return msgspec.structs.replace(
        made,
        result=msgspec.structs.replace(made.result, **changed),
        items=size * batches,
        seconds=seconds * batches,
        service_s=seconds * batches,
    )


def test_the_pause_before_a_call_is_its_second_axis() -> None:
    tuned = [offline(1, 0.004), offline(4, 0.010)]
    looks = [look(0.004, 0.0), look(0.004, 0.0, inputs="same"), look(0.007, 0.1), look(0.005, 0.01)]
    found = curve_of("net", [*tuned, *looks])
    assert found is not None
    assert [(gap_s, round(e.value, 4)) for gap_s, e in found.idle] == [(0.0, 0.004), (0.01, 0.005), (0.1, 0.007)]
    assert found.curve == ((1, pytest.approx(0.004)), (4, pytest.approx(0.010)))
    alone = curve_of("net", [*tuned, look(0.004, 0.0)])
    assert alone is not None
    assert alone.idle == (), "one point is no axis"


def test_other_phases_do_not_mix_into_the_curve() -> None:
    raced = offline(4, 0.020)
    raced = msgspec.structs.replace(raced, result=msgspec.structs.replace(raced.result, phase="blocks"))
    found = curve_of("net", [offline(1, 0.004), offline(4, 0.010), raced])
    assert found is not None
    assert found.points[1].seconds.value == pytest.approx(0.010)
