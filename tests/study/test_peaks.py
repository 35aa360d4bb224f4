"""Measuring the machine's peaks: what is tried, what is kept, when a study takes the time for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from accel.compilation import _peaks_onnxruntime, _peaks_openvino, _peaks_torch
from accel.measurement import products
from accel.measurement.isolation import ChildFailed
from accel.measurement.peaks import Peak, Peaks
from accel.measurement.rounds import Work
from accel.study import peaks, peaks_child
from accel.study.budget import Budget
from accel.study.peaks_child import Opening, Way
from tests.analysis.test_roofline import cost
from tests.report import example
from tests.small_models import machine


def work(name: str, seconds: float, clock: list[float]) -> Way:
    def run(times: int) -> None:
        clock[0] += seconds * times

    return way(Work(run=run, amount=1e9, source=name))


def way(one: Work) -> Way:
    return Way(work=one, again=lambda: contextlib.nullcontext(one))


def peak_of(found: tuple[Peak, Opening] | str) -> Peak:
    assert not isinstance(found, str)
    return found[0]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    told = SimpleNamespace(monotonic=lambda: now[0], perf_counter_ns=lambda: int(now[0] * 1e9))
    monkeypatch.setattr(peaks_child, "time", told)
    monkeypatch.setattr(peaks_child, "often", lambda work, s: often_of(work, s, told.perf_counter_ns))
    monkeypatch.setattr(peaks_child, "rates", lambda w, t, r, u=0: rates_of(w, t, r, u, told.perf_counter_ns))
    return now


often_of, rates_of = peaks_child.often, peaks_child.rates


def test_the_fastest_way_is_measured_afresh_and_named(clock: list[float]) -> None:
    ways = [work("slow", 2e-3, clock), work("fast", 1e-3, clock), work("middle", 1.5e-3, clock)]
    found = peak_of(peaks_child.best(iter(ways), "fp32", 2, 60.0))
    assert (found.source, found.threads, found.n) == ("fast", 2, 15)
    assert found.value == pytest.approx(1e12)
    assert found.low <= found.value <= found.high


def test_a_way_that_is_not_the_last_still_runs_when_it_was_the_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its threads must still be there: measured afresh without them, it would wait for ever."""
    closed: list[int] = []

    @contextlib.contextmanager
    def multiplying(size: int, threads: int) -> Iterator[Work]:
        def run(times: int) -> None:
            assert size not in closed

        try:
            yield Work(run=run, amount=1e9 / size, source=str(size))
        finally:
            closed.append(size)

    monkeypatch.setattr(peaks_child.products, "multiplying", multiplying)
    monkeypatch.setattr(peaks_child, "_installed", tuple)
    monkeypatch.setattr(peaks_child, "often", lambda work, s: work.run(1) or 1)
    monkeypatch.setattr(peaks_child, "rates", lambda w, t, r, u=0: [w.run(t) or w.amount] * r)
    found = peak_of(peaks_child._peak("fp32", 2, 60.0, {}))
    assert found.source == str(products.SIZES[0])
    assert sorted(closed) == sorted(products.SIZES)


def test_no_way_is_a_reason_and_a_broken_one_is_passed_over(clock: list[float]) -> None:
    assert "pip install" in str(peaks_child.best(iter([]), "bf16", 1, 1.0))

    def breaks() -> Any:
        yield work("good", 1e-3, clock)
        raise RuntimeError("no kernel")

    found = peak_of(peaks_child.best(breaks(), "bf16", 1, 60.0))
    assert found.source == "good"


def test_a_lucky_look_does_not_make_a_peak(clock: list[float]) -> None:
    """Planted: a way that is fast while it is looked at, and slow ever after."""
    calls = [0]

    def run(times: int) -> None:
        calls[0] += 1
        clock[0] += (1e-4 if calls[0] < 12 else 1e-2) * times

    lucky = way(Work(run=run, amount=1e6, source="lucky"))
    found = peak_of(peaks_child.best(iter([lucky]), "int8", 1, 600.0))
    assert found.value < 5e9


def test_the_best_pass_counts(clock: list[float]) -> None:
    """Planted: a second in which the machine does half of what it can, while the first pass lasts."""

    def run(times: int) -> None:
        clock[0] += (2e-3 if clock[0] < 5.0 else 1e-3) * times

    first = peaks_child.best(iter([way(Work(run=run, amount=1e9, source="it"))]), "fp32", 1, 1.0)
    assert peak_of(first).value == pytest.approx(0.5e12)
    assert not isinstance(first, str)
    clock[0] = 6.0
    (best,) = peaks_child._later([first], end=60.0)
    assert best.value == pytest.approx(1e12)
    assert best.low <= best.value <= best.high
    clock[0] = 61.0
    assert peaks_child._later([first], end=60.0) == [first[0]]


def test_a_later_pass_that_breaks_takes_nothing_away(clock: list[float]) -> None:
    def gone() -> Any:
        raise RuntimeError("the library is out of threads")

    peak = peak_of(peaks_child.best(iter([work("it", 1e-3, clock)]), "fp32", 1, 1.0))
    assert peaks_child._later([(peak, gone)], end=60.0) == [peak]


def test_without_the_instructions_bf16_is_not_emulated() -> None:
    told = {"bf16": False, "caches": {}, "l3_count": 1, "memory_bytes": None}
    assert "bfloat16" in str(peaks_child._peak("bf16", 1, 1.0, told))


def test_a_child_in_small_measures_every_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the lightest library alone, and hardly any time."""
    monkeypatch.setattr(peaks_child, "_LIBRARIES", ("onnxruntime",))
    monkeypatch.setattr(peaks_child, "_SIZES", (64,))
    monkeypatch.setattr(peaks_child, "_ROUND_S", 1e-3)
    monkeypatch.setattr(peaks_child, "_LOOK_S", 1e-3)
    monkeypatch.setattr(peaks_child.products, "SIZES", (32,))
    caches = {"L2": 1 << 18, "L3": 1 << 22}
    told = {"threads": [1], "seconds": 0.2, "caches": caches, "l3_count": 1, "memory_bytes": 1 << 30, "bf16": True}
    reply = peaks_child.measure(told)
    entries = msgspec.convert(reply["entries"], list[Peak])
    assert [e.kind for e in entries] == ["l2", "l3", "ram", "fp32", "int8"]
    assert all(0 < e.low <= e.value <= e.high and e.n >= 7 for e in entries)
    assert list(reply["missing"]) == ["bf16"]


@pytest.fixture
def threads_of_torch() -> Iterator[None]:
    """What is set for a product must not stay for other tests."""
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads_of_torch")
@pytest.mark.parametrize("module", [_peaks_torch, _peaks_openvino, _peaks_onnxruntime])
def test_every_library_offers_what_it_can(module: Any) -> None:
    for kind in ("fp32", "bf16", "int8"):
        offered = list(module.products(kind, 64, 1))
        assert bool(offered) == ((module, kind) != (_peaks_onnxruntime, "bf16"))
        for name, call in offered:
            assert " " in name
            call()


def test_openvinos_product_really_runs_in_eight_bits() -> None:
    import openvino as ov

    compiled = ov.Core().compile_model(_peaks_openvino._graph("int8", 64), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    layers = [op.get_rt_info() for op in compiled.get_runtime_model().get_ordered_ops()]
    heavy = [
        r["runtimePrecision"].astype(str) for r in layers if r["layerType"].astype(str) in ("FullyConnected", "MatMul")
    ]
    assert heavy
    assert set(heavy) <= {"u8", "i8"}


@pytest.mark.usefixtures("threads_of_torch")
def test_torchs_product_is_one() -> None:
    """An oracle for the fastest source: what is timed is the product and nothing less."""
    import torch

    torch.manual_seed(0)
    (_, call), *_ = _peaks_torch.products("fp32", 64, 1)
    torch.manual_seed(0)
    left, right = (torch.rand((64, 64)) - 0.5 for _ in range(2))
    np.testing.assert_allclose(call().numpy(), (left @ right).numpy(), rtol=1e-4, atol=1e-5)  # type: ignore[attr-defined]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACCEL_CACHE", str(tmp_path / "cache"))
    return tmp_path


KNOWN = Peaks(entries=(Peak(kind="fp32", threads=1, value=1e11, low=9e10, high=1.1e11, source="t"),), cores=2)


def test_peaks_are_kept_for_this_machine_alone(cache: Path) -> None:
    here, there = machine(), msgspec.structs.replace(machine(), cpu="another")
    assert peaks.kept(here) is None
    peaks.keep(KNOWN, here)
    assert peaks.kept(here) == KNOWN
    assert peaks.kept(there) is None


def test_peaks_measured_by_other_code_are_none(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peaks.keep(KNOWN, machine())
    monkeypatch.setattr(peaks, "_source", lambda: "another way of measuring")
    assert peaks.kept(machine()) is None


def test_a_disturbed_second_time_lowers_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def of(value: float, *more: Peak) -> Peaks:
        one = Peak(kind="fp32", threads=1, value=value, low=value, high=value, source="t")
        return Peaks(entries=(one, *more), missing={} if more else {"int8": "broken"})

    eight = Peak(kind="int8", threads=1, value=7.0, low=7.0, high=7.0, source="t")
    for value, more, best in ((5.0, (), 5.0), (3.0, (eight,), 5.0), (6.0, (), 6.0)):
        monkeypatch.setattr(peaks, "measured", lambda *_, value=value, more=more, **__: of(value, *more))
        found = peaks.renewed(machine())
        assert {p.kind: p.value for p in found.entries}["fp32"] == best
    assert peaks.kept(machine()) == found
    assert found.missing == {}  # it was measured the time before


def test_a_damaged_file_is_as_none(cache: Path) -> None:
    peaks.keep(KNOWN, machine())
    next((cache / "cache" / "peaks").iterdir()).write_text("{")
    assert peaks.kept(machine()) is None


def record(**changes: Any) -> Any:
    return msgspec.structs.replace(example.conclusion().record, **{"cost": cost(), "peaks": None, **changes})


def never(*_: Any, **__: Any) -> Any:
    raise AssertionError("measured")


def test_a_study_takes_what_is_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peaks.keep(KNOWN, machine())
    monkeypatch.setattr(peaks, "measured", never)
    assert peaks.with_peaks(record(), machine(), Budget(10.0), print).peaks == KNOWN


@pytest.mark.parametrize("case", ["no cost", "trees", "short", "over", "known"])
def test_a_study_does_not_measure_without_need_or_time(case: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks, "measured", never)
    given = {"no cost": {"cost": None}, "trees": {"cost": cost(macs=0)}, "known": {"peaks": KNOWN}}.get(case, {})
    budget = Budget(100.0 if case == "short" else 600.0, spent_s=590.0 if case == "over" else 0.0)
    found = peaks.with_peaks(record(**given), machine(), budget, print)
    assert found.peaks == (KNOWN if case == "known" else None)


def test_a_study_measures_within_a_twentieth_of_its_time(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def measured(_: Any, *, seconds: float, **__: Any) -> Peaks:
        asked.append(seconds)
        return KNOWN

    monkeypatch.setattr(peaks, "measured", measured)
    monkeypatch.setattr(peaks, "keep", lambda *_: None)
    for total_s in (200.0, 3600.0):
        assert peaks.with_peaks(record(), machine(), Budget(total_s), print).peaks == KNOWN
    assert asked == [10.0, 15.0]


def test_a_child_that_dies_leaves_them_unknown(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_: Any, **__: Any) -> Peaks:
        raise ChildFailed("crashed", cause="crash")

    monkeypatch.setattr(peaks, "measured", dies)
    assert peaks.with_peaks(record(), machine(), Budget(600.0), print).peaks is None
