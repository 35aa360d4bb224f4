"""The share of the time saved that a rescued form keeps, from runs that are known by hand."""

from __future__ import annotations

import msgspec
import pytest

from accel.result import Quality
from benchmarks.batching.rows import Where
from benchmarks.compression.rescue import CASES, Row, kept_share, read, said
from benchmarks.compression.rows import Cell, Run
from tests.rescue.test_search import Rescue


def cell(variant, times, *, target="latency"):
    runs = [
        Run(target=target, block=b, role="baseline" if variant == "f" else "candidate", value=t, level="valid")
        for b, t in enumerate(times)
    ]
    return Cell(model="m", technique=variant, backend="b", variant=variant, outcome="ready", runs=tuple(runs))


def test_half_of_what_was_saved_is_half():
    found = kept_share(cell("f", [10, 10, 10]), cell("q", [6, 6, 6]), cell("r", [8, 8, 8]), "latency")
    assert (found.value, found.low, found.high, found.n) == (0.5, 0.5, 0.5, 3)


def test_items_a_second_are_turned_into_seconds():
    sides = [cell(n, [v] * 3, target="batch") for n, v in (("f", 1 / 10), ("q", 1 / 6), ("r", 1 / 7))]
    assert kept_share(*sides, "batch").value == pytest.approx(0.75)


def test_where_nothing_was_saved_there_is_no_share():
    assert kept_share(cell("f", [5] * 3), cell("q", [6] * 3), cell("r", [4] * 3), "latency") is None


def test_two_blocks_are_too_few():
    assert kept_share(cell("f", [10] * 2), cell("q", [6] * 2), cell("r", [8] * 2), "latency") is None


def test_a_row_is_read_and_told():
    quality = Quality(outcome="passes", rule="", metric="accuracy", value=0.97, samples=500)
    row = Row(
        case="c",
        model="m",
        backend="b",
        random_weights=False,
        where=Where(cpu="", cores=2, env_id="", unix_s=0),
        accuracy_drop=0.01,
        evaluation=500,
        rescue=Rescue(variant="v", steps=(), chosen=(), said="It is right again.", seconds=1.0, complete=True),
        after=quality,
    )
    timed = {"original": cell("f", [10] * 3), "before": cell("q", [6] * 3), "after": cell("r", [8] * 3)}
    found = read(row, timed)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Row) == found
    assert found.against["after"]["latency"].ratio.value == pytest.approx(1.25)
    assert "accuracy 0.9700, passes (500 samples)" in said(found)
    assert "50% of the time saved is kept" in said(found)


@pytest.mark.parametrize("name", CASES)
def test_each_case_can_be_made(name):
    from accel import plugins

    made = [plugins.make("compression", one) for one in CASES[name].compression]
    assert [type(one) for one in made] == [plugins.load("compression", one.name) for one in CASES[name].compression]
    assert any(one.name.startswith("quantize") for one in CASES[name].compression), "there must be something to rescue"
