"""What is read from LoadGen's trace, and the schedule that is known from its seed."""

from __future__ import annotations

import numpy as np
import pytest

from tests.validation import loadgen

LINE = (
    '{{"name":"Sample","cat":"default","ph":"b","pid":7,"id":{n},"ts":{ts},"args":'
    '{{"sample_seq":{n},"query_seq":{n},"sample_idx":174,"issue_start_ns":190,"complete_ns":{done}}}}},\n'
)


def test_times_of_the_trace_are_read_to_the_nanosecond_and_sorted_by_query() -> None:
    text = '{"traceEvents":[\n{"name":"Scheduling","ph":"X","ts":1.0,"dur":0.06,"args":{}},\n'
    text += LINE.format(n=1, ts="1883.426", done=2349672) + LINE.format(n=0, ts="163.993", done=2031944)
    text += '{"name":"Sample","cat":"default","ph":"e", "pid":7,"id":0,"ts":2195.937},\n{"name":"LastTrace"}]}'
    found = loadgen.parsed(text)
    assert found.due_ns.tolist() == [0, 1719433]
    assert found.latency_ns.tolist() == [2031944, 2349672]


@pytest.mark.parametrize("seed", [0, 7])
def test_a_schedule_has_the_rate_that_was_asked_and_ends_in_time(seed: int) -> None:
    due = loadgen.schedule(seed, 1000.0, 100.0)
    assert due[0] == 0
    assert due[-1] < 100 * 10**9
    assert np.all(np.diff(due) >= 0)
    assert abs(len(due) - 100_000) < 4 * 100_000**0.5
