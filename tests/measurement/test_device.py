"""What an engine on a device of its own tells after a run, and that one on the processor tells nothing."""

from __future__ import annotations

import msgspec
import numpy as np

from accel.compilation import DeviceTimes, Effective
from accel.measurement import device
from accel.measurement.feeding import Feed
from accel.measurement.trace import Trace
from accel.result import Memory, Result


def trace_of_batches(sizes: list[int]) -> Trace:
    """One answered request after another, in batches of these sizes."""
    batch = np.repeat(np.arange(len(sizes)), sizes)
    zeros = np.zeros(len(batch), np.int64)
    times = dict.fromkeys(("due", "taken", "started", "finished", "status", "warmup"), zeros)
    return Trace(**times, batch=batch, batch_size=np.repeat(sizes, sizes), sample=np.arange(len(batch)) % 10)


class Engine:
    """Answers with its input; knows its device's peak and how it was taken apart."""

    effective = Effective(precision="float32", threads=1, provider="test")
    parallel_runs = False

    def __init__(self, sizes: tuple[int, ...] | None = None, held: int = 100) -> None:
        self.sizes, self.held, self.asked = sizes, held, []

    def run(self, inputs):
        return dict(inputs)

    def apart(self, inputs, repeats):
        self.asked.append((inputs["x"].tolist(), repeats))
        return DeviceTimes(
            rows=len(inputs["x"]), repeats=repeats, to_device_s=1.0, compute_s=2.0, to_host_s=3.0, source="test"
        )

    def device_peak_bytes(self, *, reset=False):
        held = self.held
        self.held = 0 if reset else held
        return held

    def close(self):
        pass


class OnProcessor:
    sizes = None

    def run(self, inputs):
        return dict(inputs)


class Pool:
    count = 10

    def row(self, i):
        return {"x": np.asarray([i])}

    def batch(self, ids):
        return {"x": np.asarray(ids)}


def test_the_usual_size_is_that_of_most_requests_not_of_most_batches():
    # Five batches of one request, two of four.
    trace = trace_of_batches([1, 1, 1, 4, 1, 4, 1])
    assert device.usual_size(trace) == 4
    engine = Engine()
    found = device.taken_apart(Feed(engine, Pool()), trace)
    assert found is not None
    assert found.rows == 4
    assert engine.asked[0][1] == device.REPEATS


def test_a_size_between_two_of_the_engine_is_filled_up():
    engine = Engine(sizes=(1, 3))
    device.taken_apart(Feed(engine, Pool()), trace_of_batches([2]))
    assert len(engine.asked[0][0]) == 3


def test_the_processor_and_a_run_without_answers_tell_nothing():
    trace = trace_of_batches([2, 2])
    feed = Feed(OnProcessor(), Pool())
    assert device.taken_apart(feed, trace) is None
    assert device.peak_bytes([feed]) is None
    assert device.peak_bytes([]) is None
    failed = msgspec.structs.replace(trace, status=np.ones_like(trace.status))
    assert device.taken_apart(Feed(Engine(), Pool()), failed) is None


def test_peaks_are_added_up_and_start_anew():
    feeds = [Feed(Engine(held=100), Pool()), Feed(Engine(held=50), Pool())]
    assert device.peak_bytes(feeds, reset=True) == 150
    assert device.peak_bytes(feeds) == 0
    assert device.peak_bytes([*feeds, Feed(OnProcessor(), Pool())]) is None


def test_a_result_keeps_both_and_an_old_one_has_neither(tmp_path):
    times = DeviceTimes(rows=8, repeats=20, to_device_s=1e-4, compute_s=2e-3, to_host_s=5e-5, source="CUDA events")
    made = msgspec.convert(
        {
            "run_id": "a",
            "study_id": "b",
            "phase": "blocks",
            "variant": {"name": "v", "backend": {"name": "eager", "fields": {}}, "compression": []},
            "role": "candidate",
            "status": "ok",
        },
        Result,
    )
    assert made.device_times is None
    kept = msgspec.structs.replace(made, device_times=times, memory=Memory(gpu_peak_bytes=7))
    found = Result.load(kept.save(tmp_path))
    assert found.device_times == times
    assert found.memory is not None
    assert found.memory.gpu_peak_bytes == 7
