"""Who would be recommended if its runs were in no doubt."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from accel.analysis import reading
from accel.analysis.choice import answer, in_doubt
from accel.analysis.conclusion import Answer, Comparison, Row
from tests.report import example


def row(name: str, rate: float, compared: Comparison | None, **other: Any) -> Row:
    return example.row(name, "onnxruntime", 5.0, rate, speedup_batch=compared, **other)


def doubted(ratio: float, spread: float = 0.04, **other: Any) -> Comparison:
    fields = {"delta": 1.05, "evidence": "screening", "reason": "unstable: the machine was disturbed", **other}
    return example.comparison(ratio, "INCONCLUSIVE", spread, **fields)


def named(*rows: Row) -> str | None:
    base = row("base", 100.0, None, is_baseline=True)
    found = in_doubt("batch", (base, *rows), example.record((base, *rows)))
    return None if found is None else found.name


def test_it_is_the_fastest_of_those_whose_interval_lies_above_one() -> None:
    assert named(row("a", 400.0, doubted(4.0)), row("b", 600.0, doubted(6.0))) == "b"


def test_who_was_raced_comes_before_who_was_screened_alone_and_traps_are_none() -> None:
    raced = row("raced", 400.0, doubted(4.0, evidence="blocks"))
    assert named(raced, row("screened", 440.0, doubted(4.4))) == "raced"
    trap = row("trap", 900.0, doubted(9.0))
    trap = msgspec.structs.replace(trap, variant=msgspec.structs.replace(trap.variant, trap="Fast and wrong."))
    assert named(trap) is None


@pytest.mark.parametrize(
    "compared",
    [
        None,
        example.comparison(6.0, "FASTER", evidence="blocks"),
        example.comparison(1.01, "EQUIVALENT", evidence="blocks"),
        # The interval includes 1, or the difference is below what counts.
        doubted(1.5, 0.6),
        doubted(1.03, 0.01),
    ],
)
def test_nobody_else_is_in_doubt(compared: Comparison | None) -> None:
    assert named(row("a", 600.0, compared)) is None


def test_who_lost_its_accuracy_stays_out_however_fast_it_looks() -> None:
    wrong = example.quality(0.7, outcome="fails")
    assert named(row("a", 600.0, doubted(6.0), quality=wrong)) is None


def test_where_the_original_stays_the_nearest_is_one_that_raced() -> None:
    """Who was screened alone and is FASTER there isn't the nearest to being shown so: that would contradict itself."""
    base = row("base", 100.0, None, is_baseline=True)
    raced = row("raced", 500.0, doubted(5.0, evidence="blocks"))
    screened = row("screened", 580.0, example.comparison(5.8, "FASTER", evidence="screening"))
    rows = (base, raced, screened)
    known: Any = {one.name: SimpleNamespace(row=one) for one in rows}
    found = answer("batch", known, example.record(rows, baseline="base"), {})
    assert found is not None
    assert found.keeps_baseline
    assert "The nearest was `raced`" in found.sentence
    assert "FASTER" not in found.sentence


def headline(compared: Comparison) -> str:
    base, other = row("base", 100.0, None, is_baseline=True), row("other", 500.0, compared)
    gain = example.comparison(5.6, "FASTER")
    fields: dict[str, Any] = {"sentence": "", "evidence": "blocks"}
    online = Answer(target="online", winner="other", keeps_baseline=False, speedup=gain, **fields)
    batch = Answer(target="batch", winner="base", keeps_baseline=True, speedup=None, **fields)
    return reading._headline((online, batch), (base, other), example.record((base, other), baseline="base"))


def test_the_headline_says_where_the_original_stays_for_want_of_undisturbed_runs() -> None:
    shaky = doubted(5.0, evidence="blocks")
    shaky = msgspec.structs.replace(shaky, ratio=msgspec.structs.replace(shaky.ratio, validity="unstable"))
    assert headline(shaky).endswith("For batch jobs, keep your model for now: runs were too disturbed to tell.")
    assert headline(example.comparison(0.9, "SLOWER")).endswith("For batch jobs, keep your model.")
