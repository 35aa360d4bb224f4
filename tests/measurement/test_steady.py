"""Labels of series whose truth is known, what a warm-up does to a trace, and what is left alone."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from accel.measurement.steady import LEAST, label, of_trace, without_warm_up
from accel.measurement.trace import DROPPED, Trace
from accel.result import Steady

Float = npt.NDArray[np.float64]


def noise(n: int, share: float = 0.01, seed: int = 0) -> Float:
    return np.exp(np.random.default_rng(seed).normal(0.0, share, n))


def test_a_flat_run_has_no_change() -> None:
    found = label(noise(400))
    assert (found.label, found.changes, found.change, found.n, found.used_from) == ("flat", (), 0.0, 400, 0)


def test_a_step_down_is_a_warm_up_and_says_where_it_ends() -> None:
    series = noise(400)
    series[:100] *= 1.5
    found = label(series)
    assert found.label == "warmup"
    assert found.changes == (100,)
    assert found.used_from == 100
    assert found.change == pytest.approx(0.5, rel=0.03)


def test_a_step_up_is_a_slowdown() -> None:
    series = noise(400)
    series[320:] *= 1.3
    found = label(series)
    assert (found.label, found.changes, found.used_from) == ("slowdown", (320,), 0)
    assert found.change == pytest.approx(0.3, rel=0.03)


def test_a_warm_up_that_ends_too_late_never_settled() -> None:
    series = noise(400)
    series[:340] *= 1.5
    assert label(series).label == "none"


def test_up_and_down_and_up_again_never_settled() -> None:
    series = noise(400)
    series[100:200] *= 1.4
    series[300:] *= 1.4
    assert label(series).label == "none"


def test_a_sawtooth_never_settled() -> None:
    t = np.arange(400) / 100
    assert label((1.0 + 0.4 * (t % 1)) * noise(400)).label == "none"


def test_a_disturbance_in_between_is_listed_but_the_run_is_flat() -> None:
    series = noise(400)
    series[160:220] *= 2.0
    found = label(series)
    assert (found.label, found.change) == ("flat", 0.0)
    assert found.changes == (160, 220)


def test_single_slow_calls_move_nothing() -> None:
    series = noise(400)
    series[::25] *= 20.0
    assert label(series).changes == ()


def test_a_change_below_five_percent_is_none() -> None:
    series = noise(1000, 0.001)
    series[500:] *= 1.04
    assert label(series).label == "flat"
    series[500:] *= 1.04
    assert label(series).label == "slowdown"


def test_too_few_calls_say_nothing() -> None:
    assert label(noise(LEAST - 1)).label == "short"
    assert label(np.empty(0)).label == "short"
    assert label(noise(LEAST)).label == "flat"


def test_the_unit_does_not_matter() -> None:
    series = noise(300, 0.05)
    series[:60] *= 1.6
    assert label(series) == msgspec.structs.replace(label(series * 1e6), change=label(series).change)


def test_calls_without_any_scatter() -> None:
    assert label(np.ones(200)).label == "flat"
    assert label(np.repeat([2.0, 1.0], [60, 140])).label == "warmup"


def trace_of(service: Float, sizes: npt.NDArray[np.int64] | None = None) -> Trace:
    """Batches one after the other, one row a request."""
    sizes = np.ones(len(service), np.int64) if sizes is None else sizes
    ends = np.cumsum(service).astype(np.int64)
    starts = ends - service.astype(np.int64)
    batch = np.repeat(np.arange(len(service)), sizes)
    rows = len(batch)
    return Trace(
        due=starts[batch],
        taken=starts[batch],
        started=starts[batch],
        finished=ends[batch],
        batch=batch,
        batch_size=sizes[batch],
        sample=np.zeros(rows, np.int64),
        status=np.zeros(rows, np.int64),
        warmup=(np.arange(rows) < 5).astype(np.int64),
    )


def test_a_large_warm_up_is_left_out_of_the_trace() -> None:
    series = 1e6 * noise(400)
    series[:105] *= 2.0
    trace = trace_of(series)
    found = of_trace(trace)
    assert (found.label, found.n) == ("warmup", 395)
    cut = without_warm_up(trace, found)
    assert len(cut.counted()) == found.n - found.used_from
    assert cut.counted().service_ns.max() < 1.5e6
    assert len(cut) == 400, "the rows stay"


def test_requests_dropped_in_a_warm_up_that_is_left_out_are_left_out_with_it() -> None:
    series = 1e6 * noise(400)
    series[:105] *= 2.0
    trace = trace_of(series)
    for gone in (50, 300):
        trace.status[gone], trace.started[gone], trace.finished[gone], trace.batch[gone] = DROPPED, -1, -1, -1
    cut = without_warm_up(trace, of_trace(trace))
    assert cut.warmup[[50, 300]].tolist() == [1, 0]


def test_a_small_warm_up_and_any_other_label_leave_the_trace_alone() -> None:
    series = 1e6 * noise(400)
    series[:105] *= 1.2
    trace = trace_of(series)
    assert of_trace(trace).label == "warmup"
    assert without_warm_up(trace, of_trace(trace)) is trace
    series[:105] /= 2.0
    assert of_trace(trace_of(series)).label == "slowdown"
    assert without_warm_up(trace, of_trace(trace_of(series))) is trace


def test_batches_are_held_against_their_own_size() -> None:
    sizes = np.repeat([1, 4], 150)
    service = 1e6 * sizes * noise(300)
    assert label(service).label != "flat", "without that the larger batches would look like a slowdown"
    assert of_trace(trace_of(service, sizes)).label == "flat"


def test_a_run_of_a_few_milliseconds_is_short_however_many_calls() -> None:
    series = np.repeat([60_000.0, 20_000.0], [100, 400])
    assert label(series).label == "warmup"
    assert of_trace(trace_of(series)) == msgspec.convert({"label": "short", "n": 495}, Steady)


def test_failed_and_unfinished_requests_are_not_looked_at() -> None:
    trace = trace_of(1e6 * noise(200))
    status = np.ones(200, np.int64)
    assert of_trace(msgspec.structs.replace(trace, status=status)).label == "short"
