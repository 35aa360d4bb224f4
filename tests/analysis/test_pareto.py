"""Who is beaten in everything at once: by hand, and held to the definition on random tables."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.analysis import Estimate
from accel.analysis.conclusion import Pareto, Row
from accel.analysis.left import reasons
from accel.analysis.pareto import against, dominates, pareto
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Quality


def estimate(value: float) -> Estimate:
    return Estimate(value=value, low=None, high=None, n=1, unit="", method="")


def row(name: str, rate: float, p50: float, held: int, **more: Any) -> Row:
    fields: dict[str, Any] = {"status": "ok", "artefact_bytes": 1000, **more}
    return Row(
        name=name,
        variant=Variant(name=name, backend=Named("stub")),
        throughput=estimate(rate),
        p50=estimate(p50),
        memory_bytes=held,
        **fields,
    )


BASE = row("base", 100.0, 0.010, 400_000_000, is_baseline=True)
FAST = row("fast", 300.0, 0.004, 380_000_000)
SMALL = row("small", 90.0, 0.011, 100_000_000)
POOR = row("poor", 250.0, 0.005, 380_000_000)


def test_who_is_beaten_and_by_whom() -> None:
    found = pareto([BASE, FAST, SMALL, POOR])
    assert found == Pareto(
        axes=("items/s", "p50", "memory", "size"), names=("fast", "small"), dominated={"base": "fast", "poor": "fast"}
    )


def test_a_percent_beats_nobody() -> None:
    near = row("near", 302.0, 0.00398, 379_000_000)
    found = pareto([FAST, near])
    assert found is not None
    assert found.names == ("fast", "near")


def test_who_fails_the_guard_or_did_not_run_beats_nobody() -> None:
    wrong = row("wrong", 900.0, 0.001, 1_000, quality=Quality(outcome="fails", rule="agreement"))
    failed = row("failed", 900.0, 0.001, 1_000, status="failed")
    found = pareto([FAST, SMALL, wrong, failed])
    assert found is not None
    assert found.names == ("fast", "small")
    assert pareto([FAST, failed]) is None


def test_equal_outputs_are_not_beaten_by_near_ones() -> None:
    """Outputs equal to the reference's have no SQNR, which isn't to lack an accuracy."""
    equal, near, far = (
        Quality(outcome="passes", rule="median SQNR of at least 20 dB", sqnr_db=db, random_weights=True)
        for db in (None, 60.0, 30.0)
    )
    base = row("base", 100.0, 0.010, 400_000_000, is_baseline=True, quality=equal)
    eight = row("eight", 300.0, 0.004, 100_000_000, quality=far)
    found = pareto([base, eight])
    assert found is not None
    assert (found.names, found.dominated) == (("base", "eight"), {})
    assert "accuracy" in found.axes
    # Whose outputs are equal may well beat whose aren't.
    lossy = row("lossy", 90.0, 0.011, 500_000_000, quality=near)
    again = pareto([base, lossy])
    assert again is not None
    assert again.dominated == {"lossy": "base"}
    assert against(base, lossy).endswith("accuracy equal outputs against 60 dB")


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["items/s", "p50", "accuracy"]), st.floats(0.1, 10.0), min_size=3, max_size=3),
        min_size=2,
        max_size=6,
    )
)
def test_it_never_holds_both_ways_and_somebody_is_always_left(table: list[dict[str, float]]) -> None:
    for one in table:
        assert not dominates(one, one)
        for other in table:
            assert not (dominates(one, other) and dominates(other, one))
    assert any(not any(dominates(other, one) for other in table) for one in table)


def test_the_reason_says_the_numbers() -> None:
    assert against(FAST, POOR) == "items/s 300 against 250, p50 4 ms against 5 ms"
    many = row("many", 41_910.4, 0.004, 380_000_000)
    assert against(many, FAST) == "items/s 41,910 against 300"
    record: Any = type(
        "Record", (), {"left": {"small": "screened out as slower: 90 items/s against 100"}, "not_bought": ()}
    )
    skipped = row("skipped", 1.0, 1.0, 1, status="skipped", reason="not bought: the budget ended while it was prepared")
    refused = row("refused", 1.0, 1.0, 1, status="refused", reason="bf16 would be emulated")
    lossy = row(
        "lossy", 1.0, 1.0, 1, status="refused", reason="accuracy fell", quality=Quality(outcome="fails", rule="r")
    )
    rows = [BASE, FAST, SMALL, POOR, skipped, refused, lossy]
    winner: Any = type("Answer", (), {"winner": "fast"})
    found = reasons(rows, record, [winner], pareto(rows))
    assert found == {
        "small": "Screened out as slower: 90 items/s against 100.",
        "poor": "Dominated by `fast`, which is at least as good in everything: " + against(FAST, POOR) + ".",
        "skipped": "The budget did not buy it: the budget ended while it was prepared.",
        "refused": "It was not tried: bf16 would be emulated.",
        "lossy": "The guard for accuracy refused it: accuracy fell.",
    }


def test_who_was_not_bought_is_found_among_what_was_not() -> None:
    bare = Row(name="bare", variant=Variant(name="bare", backend=Named("stub")), status="ok")
    bought = ("`bare` was not tried: the budget was needed for the comparison",)
    record: Any = type("Record", (), {"left": None, "not_bought": bought})
    assert reasons([bare], record, [], None)["bare"] == f"The budget did not buy it: {bought[0]}."


@pytest.mark.parametrize("status", ["failed", "wrong"])
def test_what_failed_says_so(status: str) -> None:
    bad = row("bad", 1.0, 1.0, 1, status=status, reason="crashed with SIGSEGV.")
    record: Any = type("Record", (), {"left": {}, "not_bought": ()})
    assert reasons([bad], record, [], None)["bad"].endswith(": crashed with SIGSEGV.")
