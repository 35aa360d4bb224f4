"""The roofline by hand, and what must hold of any."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.analysis import Estimate
from accel.analysis.bounds import call_s, low_share, precisions, roofline_of, with_rooflines
from accel.analysis.conclusion import Row
from accel.analysis.roofline import bounds, point
from accel.compilation import Effective
from accel.measurement.peaks import Peak, Peaks
from accel.model.cost import ClassCost, Cost
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Numerics, OperatorPrecision

KiB, MiB = 1 << 10, 1 << 20


def peak(kind: str, value: float, threads: int = 1, spread: float = 0.0) -> Peak:
    return Peak(kind=kind, threads=threads, value=value, low=value * (1 - spread), high=value * (1 + spread),  # type: ignore[arg-type]
                source="test", n=15)  # fmt: skip


def machine(spread: float = 0.0) -> Peaks:
    rates = {"fp32": 100e9, "bf16": 200e9, "int8": 400e9, "l2": 100e9, "l3": 50e9, "ram": 10e9}
    entries = [peak(kind, value * n, n, spread) for kind, value in rates.items() for n in (1, 2)]
    return Peaks(entries=tuple(entries), cores=2, caches_bytes={"L2": MiB, "L3": 32 * MiB})


def cost(macs: int = 500_000_000, weights: int = 100 * MiB, moved: int = 2 * MiB, step: int = 256 * KiB) -> Cost:
    one = ClassCost(layer_class="convolution", layers=4, macs=macs, weight_bytes=weights, activation_bytes=moved,
                    weighted=4, weighted_macs=macs)  # fmt: skip
    return Cost(macs=macs, weight_bytes=weights, activation_bytes=moved, classes=(one,), layers=(), source="onnx",
                steps=((step, moved),))  # fmt: skip


def seconds(value: float, spread: float = 0.0) -> Estimate:
    return Estimate(value=value, low=value * (1 - spread), high=value * (1 + spread), n=9, unit="s", method="test")


def test_a_billion_operations_at_a_hundred_a_nanosecond() -> None:
    """1 GFLOP at 100 GFLOP/s is 10 ms; 100 MiB of weights at 10 GB/s and 2 MiB at 100 GB/s are 10.51 ms."""
    found = point("latency", 1, seconds(0.02), cost(), machine(), {"fp32": 1.0}, 1)
    assert found is not None
    assert found.compute_s.value == pytest.approx(0.01)
    assert found.memory_s.value == pytest.approx(100 * MiB / 10e9 + 2 * MiB / 100e9)
    assert (found.bound, found.level) == ("memory", "ram")
    assert found.of_peak.value == pytest.approx(0.5)
    assert found.of_bound.value == pytest.approx(found.memory_s.value / 0.02)
    assert (found.flop, found.bytes) == (1e9, 102 * MiB)
    assert found.intensity == pytest.approx(1e9 / (102 * MiB))


def test_a_larger_batch_reads_the_weights_once_and_becomes_bound_by_arithmetic() -> None:
    found = point("batch", 8, seconds(0.1), cost(), machine(), {"fp32": 1.0}, 1)
    assert found is not None
    assert found.compute_s.value == pytest.approx(0.08)
    # 8 operators' worth of at least 128 KiB still lie in L2; of 64 they don't.
    assert found.memory_s.value == pytest.approx(100 * MiB / 10e9 + 8 * 2 * MiB / 100e9)
    assert found.bound == "compute"
    larger = point("batch", 64, seconds(1.0), cost(), machine(), {"fp32": 1.0}, 1)
    assert larger is not None
    assert larger.memory_s.value == pytest.approx(100 * MiB / 10e9 + 64 * 2 * MiB / 50e9)


def test_small_weights_stay_in_a_cache() -> None:
    levels = {w: bounds(1, cost(weights=w), machine(), {"fp32": 1.0}, 1) for w in (100 * KiB, 10 * MiB, 100 * MiB)}
    assert [b[2] for b in levels.values() if b] == ["l2", "l3", "ram"]


def test_two_threads_have_two_second_level_caches() -> None:
    for threads, level in ((1, "l3"), (2, "l2")):
        found = bounds(1, cost(weights=3 * MiB // 2), machine(), {"fp32": 1.0}, threads)
        assert found is not None
        assert found[2] == level


def test_mixed_precisions_take_turns() -> None:
    """0.9 of a GFLOP in INT8 at 400 G and 0.1 in FP32 at 100 G."""
    found = bounds(1, cost(), machine(), {"int8": 0.9, "fp32": 0.1}, 1)
    assert found is not None
    assert found[0].value == pytest.approx(0.9e9 / 400e9 + 0.1e9 / 100e9)


def test_intervals_of_time_and_peak_are_both_carried() -> None:
    found = point("latency", 1, seconds(0.02, 0.1), cost(weights=MiB), machine(0.05), {"fp32": 1.0}, 1)
    assert found is not None
    assert found.of_peak.low == pytest.approx(0.01 / 1.05 / 0.022)
    assert found.of_peak.high == pytest.approx(0.01 / 0.95 / 0.018)


def test_without_the_peak_of_its_precision_nothing_is_claimed() -> None:
    slow = msgspec.structs.replace(machine(), entries=tuple(p for p in machine().entries if p.kind != "bf16"))
    assert point("latency", 1, seconds(0.02), cost(), slow, {"bf16": 1.0}, 1) is None
    nothing = msgspec.structs.replace(machine(), entries=tuple(p for p in machine().entries if p.kind == "fp32"))
    assert point("latency", 1, seconds(0.02), cost(), nothing, {"fp32": 1.0}, 1) is None


@given(
    macs=st.integers(1, 10**12),
    weights=st.integers(0, 10**10),
    moved=st.integers(1, 10**9),
    batch=st.integers(1, 512),
    took=st.floats(1e-6, 1e3),
    share=st.floats(0, 1),
)
def test_what_must_hold_of_any(macs: int, weights: int, moved: int, batch: int, took: float, share: float) -> None:
    step = 1 << (moved - 1).bit_length()
    model = cost(macs, weights, moved, step)
    shares = {"int8": share, "fp32": 1 - share}
    found = point("batch", batch, seconds(took, 0.1), model, machine(0.05), shares, 2)
    assert found is not None
    assert found.bound_s.value == max(found.compute_s.value, found.memory_s.value)
    for one in (found.of_peak, found.of_bound, found.compute_s, found.memory_s, found.bound_s):
        assert one.low is not None
        assert one.high is not None
        assert one.low <= one.value * (1 + 1e-12)
        assert one.value <= one.high * (1 + 1e-12)
    assert found.of_peak.value <= found.of_bound.value * (1 + 1e-12)
    twice = point("batch", batch, seconds(2 * took), model, machine(), shares, 2)
    assert twice is not None
    assert twice.of_bound.value == pytest.approx(found.of_bound.value / 2)
    more = bounds(batch + 1, model, machine(), shares, 2)
    less = bounds(batch, model, machine(), shares, 2)
    assert more is not None
    assert less is not None
    assert more[0].value > less[0].value
    assert more[1].value >= less[1].value


def effective(precision: str) -> Effective:
    return Effective(precision=precision, threads=2, provider="CPU")


def numerics(*operators: tuple[str, int, int]) -> Numerics:
    return Numerics(operators=tuple(OperatorPrecision(type=t, total=n, low=low) for t, n, low in operators), source="")


def bert() -> Cost:
    """72 products by weights, 24 of activations that are a thirtieth of all."""
    one = ClassCost(layer_class="matmul", layers=96, macs=3000, weight_bytes=0, activation_bytes=0, weighted=72,
                    weighted_macs=2900)  # fmt: skip
    two = ClassCost(layer_class="convolution", layers=1, macs=1000, weight_bytes=0, activation_bytes=0, weighted=1,
                    weighted_macs=1000)  # fmt: skip
    return Cost(macs=4000, weight_bytes=0, activation_bytes=0, classes=(one, two), layers=(), source="onnx")


def test_the_precision_that_really_ran() -> None:
    assert precisions(effective("float32"), None, bert()) == {"fp32": 1.0}
    assert precisions(effective("bf16"), None, bert()) == {"bf16": 1.0}
    assert precisions(effective("f16"), None, bert()) is None  # no such peak is measured
    assert precisions(effective("unknown"), None, bert()) is None
    assert precisions(effective("int8, rest float32"), None, bert()) is None  # how much of it isn't known
    assert precisions(effective("int4 weights, rest float32"), None, bert()) == {"fp32": 1.0}
    found = precisions(effective("int8, rest bf16"), numerics(("MatMul", 96, 72), ("Conv", 1, 1)), bert())
    assert found == pytest.approx({"int8": 3900 / 4000, "bf16": 100 / 4000})
    assert precisions(effective("int8"), numerics(("MatMul", 96, 96), ("Conv", 1, 1)), bert()) == {"int8": 1.0}
    assert precisions(effective("int8 dynamic"), numerics(("MatMul", 96, 0)), bert()) == {"fp32": 1.0}


def test_eight_bits_go_to_products_by_weights_first() -> None:
    assert low_share(numerics(("MatMul", 96, 36)), bert()) == pytest.approx(0.5 * 2900 / 4000)
    assert low_share(numerics(("MatMul", 96, 84)), bert()) == pytest.approx((2900 + 0.5 * 100) / 4000)
    # A runtime that fused the products of attention away leaves the others.
    assert low_share(numerics(("FullyConnected", 72, 72)), bert()) == pytest.approx(2900 / 4000)
    assert low_share(numerics(("Add", 5, 5)), bert()) is None


def row(**changes: object) -> Row:
    given = {
        "name": "a",
        "variant": Variant(name="a", backend=Named("onnxruntime")),
        "status": "ok",
        "effective": effective("float32"),
        "p50": seconds(0.02),
        "throughput": Estimate(value=50.0, low=40.0, high=60.0, n=5, unit="1/s", method="t"),
        "batch_size": 8,
    }
    return Row(**{**given, **changes})  # type: ignore[arg-type]


def test_a_row_has_its_latency_and_its_best_batch() -> None:
    found = roofline_of(row(), cost(), machine())
    assert found is not None
    assert [(p.target, p.batch) for p in found.points] == [("latency", 1), ("batch", 8)]
    assert found.points[1].seconds.value == pytest.approx(8 / 50)
    assert (found.points[1].seconds.low, found.points[1].seconds.high) == (8 / 60, 8 / 40)
    assert found.points[0].of_peak.value == pytest.approx(1e9 / 200e9 / 0.02)


def test_several_instances_have_the_peak_of_all_their_threads() -> None:
    """What really ran holds the threads of all instances; two callers of one engine are a thread more than it has."""
    four = msgspec.structs.replace(machine(), cores=4)
    ran = msgspec.structs.replace(effective("float32"), threads=2)
    for placement, threads in (("processes", 2), ("threads", 2), ("shared", 3)):
        two = Variant(name="a", backend=Named("onnxruntime"), instances=2, placement=placement)  # type: ignore[arg-type]
        found = roofline_of(row(variant=two, effective=ran), cost(), four)
        assert found is not None
        assert found.threads == threads
        assert [p.target for p in found.points] == ["batch"]


@pytest.mark.parametrize(
    "changes",
    [{"status": "failed"}, {"effective": None}, {"effective": effective("none")}, {"p50": None, "throughput": None}],
)
def test_what_was_not_timed_or_is_not_known_has_no_roofline(changes: dict) -> None:
    assert roofline_of(row(**changes), cost(), machine()) is None


def test_a_gpu_is_not_held_against_the_processors_peaks() -> None:
    ran = effective("float32")
    assert roofline_of(row(effective=ran), cost(), machine()) is not None
    there = msgspec.structs.replace(ran, provider="torch eager, cuda")
    assert there.on_gpu
    assert roofline_of(row(effective=there), cost(), machine()) is None


def test_trees_multiply_nothing() -> None:
    assert roofline_of(row(), cost(macs=0), machine()) is None


def test_bf16_moves_half_the_bytes_and_stored_bits_count() -> None:
    found = roofline_of(row(effective=effective("bf16")), cost(), machine())
    assert found is not None
    assert found.points[0].bytes == pytest.approx(51 * MiB)
    stored = msgspec.structs.replace(numerics(("Conv", 4, 4)), weight_bytes={"int8": 25 * MiB, "float32": MiB})
    eight = roofline_of(row(effective=effective("int8"), numerics=stored), cost(), machine())
    assert eight is not None
    assert eight.precision == {"int8": 1.0}
    assert eight.points[0].bytes == pytest.approx(28 * MiB)


def test_a_call_lasts_its_items_over_the_rate() -> None:
    found = call_s(Estimate(value=50.0, low=None, high=100.0, n=1, unit="1/s", method="t"), 10)
    assert (found.value, found.low, found.high, found.unit) == (0.2, 0.1, None, "s")


def test_a_pruned_variant_is_held_against_its_own_cost() -> None:
    from tests.report.example import conclusion

    record = msgspec.structs.replace(conclusion().record, peaks=machine(), cost=cost())
    rows = with_rooflines([row(), row(name="pruned")], record, {"pruned": cost(macs=250_000_000)})
    whole, half = (r.roofline.points[0].of_peak.value for r in rows if r.roofline is not None)
    assert half == pytest.approx(whole / 2)
    assert with_rooflines([row()], msgspec.structs.replace(record, peaks=None), {})[0].roofline is None


def test_peaks_between_measured_thread_counts() -> None:
    eight = Peaks(entries=(peak("fp32", 100.0, 1), peak("fp32", 600.0, 8)), cores=8)
    assert eight.at("fp32", 8).value == 600  # type: ignore[union-attr]
    assert eight.at("fp32", 4).value == 400  # type: ignore[union-attr]
    assert eight.at("fp32", 7).value == 600  # type: ignore[union-attr]
    assert eight.at("fp32", 16).value == 600  # type: ignore[union-attr]
    assert eight.at("int8", 1) is None


def test_more_threads_have_no_lower_limit_than_fewer() -> None:
    """Two threads measured in a bad moment: one thread's limit is reached by two as well."""
    measured = Peaks(entries=(peak("fp32", 30e9, 4), peak("fp32", 3.3e9, 2), peak("fp32", 15.7e9, 1)), cores=4)
    limits = [measured.at("fp32", threads) for threads in (1, 2, 3, 4, 5)]
    assert [limit.value for limit in limits if limit is not None] == [15.7e9, 15.7e9, 30e9, 30e9, 30e9]
    assert measured.at("int8", 1) is None
