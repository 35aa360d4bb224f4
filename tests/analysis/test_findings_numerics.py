"""What is said of how quantized variants compute: each rule on its case, and silent beside it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from accel.analysis.conclusion import Finding, Row, StudyRecord
from accel.analysis.findings import findings
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Calibrated, Numerics, OperatorPrecision
from tests.synthetic import synthetic_study

DEPTHWISE = "depthwise: Convolution isn't among the operator types that were quantized"
INT8 = Variant(name="int8", backend=Named("openvino"), compression=(Named("quantize_static"),))


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> StudyRecord:
    given = synthetic_study(tmp_path_factory.mktemp("study"), blocks=0)
    return msgspec.structs.replace(given, not_bought=(), synthetic=False, slo_assumed=False, command="accel bench m")


def conv(total: int, low: int, kind: str = "Convolution", **left: int) -> OperatorPrecision:
    reasons = {reason.replace("_", " "): n for reason, n in left.items()}
    return OperatorPrecision(type=kind, total=total, low=low, left=reasons)


def numerics(*operators: OperatorPrecision, **more: Any) -> Numerics:
    return Numerics(operators=operators, source="by hand", **more)


def said(record: StudyRecord, *given: Numerics, variant: Variant = INT8) -> list[Finding]:
    rows = [
        Row(name=f"int8-{i}" if i else "int8", variant=variant, status="ok", numerics=one)
        for i, one in enumerate(given)
    ]
    return list(findings(rows, (), record, (), {}))


def only(found: list[Finding], part: str) -> Finding:
    hits = [f for f in found if part in f.what]
    assert len(hits) == 1, [f.what for f in found]
    return hits[0]


def test_what_stayed_in_float_is_counted_over_the_runtimes_words_for_it(record: StudyRecord) -> None:
    """OpenVINO tells grouped convolutions apart; a reader thinks of 53 convolutions."""
    grouped = OperatorPrecision(type="GroupConvolution", total=16, low=0, left={DEPTHWISE: 16})
    (one,) = said(record, numerics(conv(37, 37), grouped))
    assert one.what == "`int8`: 37 of 53 convolutions run in 8 bits; the 16 depthwise ones don't."
    assert one.why == "Depthwise: Convolution isn't among the operator types that were quantized."


def test_several_reasons_are_counted(record: StudyRecord) -> None:
    left = {"excluded by name": 1, "both inputs are computed": 12, "other": 1}
    (one,) = said(record, numerics(OperatorPrecision(type="MatMul", total=86, low=72, left=left)))
    assert one.what == "`int8`: 72 of 86 matrix products run in 8 bits; 14 don't."
    assert one.why == "12: both inputs are computed; 1: excluded by name; and others."


def test_nothing_in_8_bits_weighs_more_than_a_little_left(record: StudyRecord) -> None:
    (nothing,) = said(record, numerics(conv(4, 0, excluded_by_name=4)))
    assert nothing.what == "`int8`: none of 4 convolutions runs in 8 bits."
    (little,) = said(record, numerics(conv(4, 3, excluded_by_name=1)))
    assert nothing.weight > little.weight
    gemm = OperatorPrecision(type="Gemm", total=1, low=0, left={"`keep` leaves Gemm in float": 1})
    (head,) = said(record, numerics(conv(9, 9), gemm))
    assert head.what == "`int8`: the matrix product isn't run in 8 bits."
    assert head.weight < nothing.weight


def test_everything_in_8_bits_is_no_news(record: StudyRecord) -> None:
    assert said(record, numerics(conv(53, 53), unfused=0, conversions=4)) == []


def test_of_16_bits_nothing_is_said(record: StudyRecord) -> None:
    half = Variant(name="bf16", backend=Named("openvino"), compression=(Named("lower_precision"),))
    assert said(record, numerics(conv(53, 0, runs_in_bf16=53)), variant=half) == []


def test_variants_of_one_artefact_share_their_line(record: StudyRecord) -> None:
    one = numerics(conv(4, 3, excluded_by_name=1))
    assert [f.what[:7] for f in said(record, one, one)] == ["`int8`:"]


def test_an_island_is_named(record: StudyRecord) -> None:
    found = said(record, numerics(conv(4, 3, "Conv", excluded_by_name=1), islands=("Conv middle",)))
    one = only(found, "island")
    assert one.what == "`int8` has an FP32 island: `Conv middle` computes in float between 8-bit operators."
    many = numerics(conv(9, 1, "Conv", excluded_by_name=8), islands=tuple(f"Conv {i}" for i in range(8)))
    assert not [f for f in said(record, many) if "island" in f.what]


def test_pairs_left_standing_are_counted_and_placed(record: StudyRecord) -> None:
    add = OperatorPrecision(type="Add", total=3, low=0, left={"quantized in the file, but not fused: …": 3})
    assert (
        only(said(record, numerics(add, unfused=6, unfused_around={"Add": 6})), "Q/DQ").what
        == "`int8`: 6 Q/DQ pairs were not fused around `Add`."
    )
    single = only(said(record, numerics(conv(1, 1), unfused=1)), "Q/DQ")
    assert single.what == "`int8`: 1 Q/DQ pair was not fused."


def test_more_conversions_than_products_are_told(record: StudyRecord) -> None:
    found = said(record, numerics(conv(25, 25), conversions=56, between={"HardSigmoid": 16, "Mul": 16}))
    assert [f.what for f in found] == ["`int8`: 56 steps only change dtype or layout, for 25 products in 8 bits."]
    assert found[0].why.startswith("Between them `HardSigmoid` (16) and `Mul` (16) compute in float; each way")
    assert said(record, numerics(conv(25, 25), conversions=24)) == []


def test_few_samples_are_said_once(record: StudyRecord) -> None:
    one, two = (numerics(conv(4, 4), calibration=Calibrated(items=9, few=True), conversions=i) for i in (0, 1))
    found = said(record, one, two)
    assert [f.what for f in found] == ["Only 9 samples calibrated a quantized variant: too few."]
    assert found[0].command == "accel bench m --samples MORE"
    assert said(record, numerics(conv(4, 4), calibration=Calibrated(items=128))) == []
    counted = Variant(name="int8", backend=Named("openvino"), compression=(Named("quantize_static", {"count": 9}),))
    (told,) = said(record, one, variant=counted)
    assert (told.command, told.why[-19:]) == ("", " Raise its `count`.")


def test_a_constant_input_is_named_once(record: StudyRecord) -> None:
    seen = Calibrated(items=128, constant=("mask",))
    found = said(record, *(numerics(conv(4, 4), calibration=seen, conversions=i) for i in (0, 1)))
    assert [f.what for f in found] == ["The input `mask` is constant in all calibration samples."]


def test_unused_ranges_are_named_with_the_variant(record: StudyRecord) -> None:
    seen = Calibrated(items=128, unused=("a", "b", "c", "d", "e"))
    (one,) = said(record, numerics(conv(4, 4), calibration=seen))
    assert one.what == "`int8`: the range of `a`, `b`, `c` and 2 more is unused."


def test_old_rows_say_nothing(record: StudyRecord) -> None:
    assert list(findings([Row(name="int8", variant=INT8, status="ok")], (), record, (), {})) == []
