"""What is said of how near the recommended variant is to the machine's limit: each rule on its case, else silent."""

from __future__ import annotations

import msgspec
import pytest

from accel.analysis import Estimate
from accel.analysis.conclusion import Answer, Finding, Row, StudyRecord
from accel.analysis.findings import findings
from accel.analysis.roofline import Roofline, point
from accel.plugins import Named
from accel.recipe import Variant
from tests.analysis.test_roofline import MiB, cost, machine, seconds
from tests.synthetic import synthetic_study


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> StudyRecord:
    given = synthetic_study(tmp_path_factory.mktemp("study"), blocks=0)
    return msgspec.structs.replace(given, not_bought=(), synthetic=False, slo_assumed=False, command="accel bench m")


def said(record: StudyRecord, took: Estimate, *, weights: int = MiB, compressed: bool = False) -> list[Finding]:
    """Of a call that takes 10 ms of arithmetic at the peak (and 10 ms of reading with 100 MiB of weights)."""
    near = point("latency", 1, took, cost(weights=weights), machine(0.01), {"fp32": 1.0}, 1)
    assert near is not None
    variant = Variant(name="a", backend=Named("onnxruntime"), compression=(Named("prune_structured"),) * compressed)
    one = Row(
        name="a", variant=variant, status="ok", roofline=Roofline(precision={"fp32": 1.0}, threads=1, points=(near,))
    )
    answer = Answer(target="batch", winner="a", keeps_baseline=False, speedup=None, sentence="", evidence="blocks")
    return [f for f in findings([one], [answer], record, (), {}) if "`a`" in f.what]


def test_near_the_peak_only_a_smaller_model_helps(record: StudyRecord) -> None:
    (one,) = said(record, seconds(0.0115, 0.02))
    assert one.what.startswith("`a` is already at 87 % [84–90] of the machine's peak one at a time: only a smaller or")
    assert "lower-precision" in one.what
    assert one.command == "accel list quantize_static"
    (pruned,) = said(record, seconds(0.0115, 0.02), compressed=True)
    assert pruned.command == "accel list prune_structured"


def test_near_the_bandwidth_fewer_bytes_help(record: StudyRecord) -> None:
    (one,) = said(record, seconds(0.0225, 0.02), weights=200 * MiB)
    assert "bandwidth of main memory" in one.what
    assert "more compressed" in one.what


def test_an_interval_that_reaches_below_is_not_shown_to_be_near(record: StudyRecord) -> None:
    assert said(record, seconds(0.0115, 0.15)) == []


def test_far_from_the_peak_time_goes_elsewhere(record: StudyRecord) -> None:
    (one,) = said(record, seconds(0.1, 0.02))
    assert one.what.startswith("`a` uses 10 %")
    assert "10.0 ms of 100 ms" in one.what.replace("10 ms", "10.0 ms")


def test_in_between_nothing_is_said(record: StudyRecord) -> None:
    assert said(record, seconds(0.02, 0.02)) == []


def test_faster_than_possible_is_not_believed(record: StudyRecord) -> None:
    """Planted: peaks measured on a busy machine."""
    (one,) = said(record, seconds(0.005, 0.02))
    assert "ran faster" in one.what
    assert one.command == "accel doctor --measure"


def test_a_disturbed_time_says_nothing(record: StudyRecord) -> None:
    disturbed = msgspec.structs.replace(seconds(0.0115, 0.02), validity="unstable")
    assert said(record, disturbed) == []
