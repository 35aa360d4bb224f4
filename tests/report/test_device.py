"""A batch on a GPU taken apart, in the list and on the page; nothing new where all ran on the processor."""

from __future__ import annotations

import msgspec

from accel.compilation import DeviceTimes
from accel.report import everything
from accel.report.device import told
from tests.report import example

TIMES = DeviceTimes(rows=8, repeats=20, to_device_s=1e-4, compute_s=2e-3, to_host_s=5e-5, source="CUDA events")


def test_it_stands_in_the_list_and_on_the_page_where_there_is_a_device():
    conclusion = example.conclusion()
    heads = [head for head, _ in everything.table(conclusion).columns]
    assert "on the device" not in heads
    assert "device memory" not in heads
    assert told(conclusion.rows[0]) == []
    row = msgspec.structs.replace(conclusion.rows[0], device_times=TIMES, device_peak_bytes=3_000_000)
    assert told(row) == [
        "on the device: a batch of 8 takes 100 µs there, 2 ms computing, 50 µs back (by CUDA events)",
        "device memory: 3 MB at most, as the runtime's allocator counts it",
    ]
    changed = msgspec.structs.replace(conclusion, rows=(row, *conclusion.rows[1:]))
    shown = everything.table(changed)
    assert "on the device" in [head for head, _ in shown.columns]
    at = [head for head, _ in shown.columns].index("on the device")
    assert shown.lines[0].cells[at].value == "100 µs there, 2 ms computing, 50 µs back"
    assert shown.lines[1].cells[at].value == "–"
