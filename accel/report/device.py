"""One batch on a device of its own taken apart, and the most of its memory that a run held, in words."""

from __future__ import annotations

from accel.analysis.conclusion import Row
from accel.compilation import DeviceTimes
from accel.units import show_bytes, show_seconds

WHY = "one batch taken apart after the run: copied there, computed, copied back; all three are part of every latency"


def parts(times: DeviceTimes) -> str:
    """`100 µs there, 2 ms computing, 50 µs back`.

    >>> parts(DeviceTimes(rows=8, repeats=20, to_device_s=1e-4, compute_s=2e-3, to_host_s=5e-5, source="CUDA events"))
    '100 µs there, 2 ms computing, 50 µs back'
    """
    shown = [show_seconds(s) for s in (times.to_device_s, times.compute_s, times.to_host_s)]
    return f"{shown[0]} there, {shown[1]} computing, {shown[2]} back"


def told(row: Row) -> list[str]:
    """Lines for `accel list STUDY/VARIANT`; none for what ran on the processor."""
    lines = []
    if row.device_times is not None:
        times = row.device_times
        lines.append(f"on the device: a batch of {times.rows} takes {parts(times)} (by {times.source})")
    if row.device_peak_bytes is not None:
        lines.append(
            f"device memory: {show_bytes(row.device_peak_bytes)} at most, as the runtime's allocator counts it"
        )
    return lines
