"""What the page says about the machine: the worst reading of each block, which runs were not believed, and why."""

from __future__ import annotations

from typing import Any

import msgspec

from accel.plugins import Named
from accel.recipe import Variant
from accel.report import page
from accel.report.quiet import WITNESSES, quiet
from accel.result import Energy, Result, Steady, Witness
from tests.report import example


def witness(name: str, value: float, level: str = "ok", sentence: str = "said so.") -> Witness:
    return Witness(id=name, value=value, warn=None, unstable=None, invalid=None, level=level, sentence=sentence)  # type: ignore[arg-type]


def run(number: int, **other: Any) -> Result:
    fields: dict[str, Any] = {
        "run_id": f"r{number:02d}",
        "study_id": "s",
        "phase": "blocks",
        "variant": Variant(name="int8", backend=Named("null")),
        "role": "candidate",
        "status": "ok",
        "created_unix_ns": number,
        "target": "latency",
        "trace": f"r{number:02d}.npz",
        **other,
    }
    return Result(**fields)


def test_without_timed_runs_there_is_no_section() -> None:
    assert quiet([]) is None
    assert quiet([run(1, trace=None)]) is None


def test_the_worst_reading_of_a_block_is_shown_with_its_level() -> None:
    found = quiet(
        [
            run(1, block=0, witnesses=(witness("W1", 0.01),)),
            run(2, block=0, witnesses=(witness("W1", 0.05, "unstable"),), validity="unstable"),
            run(3, block=1, witnesses=(witness("W1", 0.002),)),
        ]
    )
    assert found is not None
    assert found.columns == (WITNESSES["W1"],)
    first, second = found.stretches
    assert (first.name, first.small, first.level) == ("block 0", "2 runs, 1 disturbed", "unstable")
    assert (first.cells[0].value, first.cells[0].small) == ("5 %", ("unstable",))
    assert (second.name, second.level, second.cells[0].value) == ("block 1", "valid", "0.2 %")


def test_stretches_stand_in_the_order_in_which_they_were_made() -> None:
    found = quiet([run(3, block=1), run(1, phase="screening"), run(2, block=0), run(4, phase="confirmation", block=0)])
    assert found is not None
    assert [s.name for s in found.stretches] == ["screening", "block 0", "block 1", "confirmation 0"]


def test_a_witness_that_was_not_read_is_a_dash_never_zero() -> None:
    found = quiet(
        [run(1, block=0, witnesses=(witness("W2", 0.0),)), run(2, block=1, witness_missing=("W2: cpu.stat",))]
    )
    assert found is not None
    assert [s.cells[0].value for s in found.stretches] == ["0 %", "–"]
    assert found.missing == ("W2: cpu.stat",)


def test_a_flagged_run_says_why_in_words() -> None:
    found = quiet(
        [run(1, block=4, role="repeat", validity="invalid", witnesses=(witness("W13", 3, "invalid", "3 failed."),))]
    )
    assert found is not None
    (line,) = found.flagged
    assert (line.level, line.what, line.why) == ("invalid", "blocks 4, latency, A'", ("3 failed.",))
    assert "0 of 1 runs are valid, 1 invalid." in found.said


def test_the_canary_is_shown_against_the_median_of_the_study() -> None:
    found = quiet([run(n, block=n, canary_s=pair) for n, pair in enumerate([(1.0, 1.0), (1.0, 1.2), (1.0, 0.9)])])
    assert found is not None
    assert [s.cells[0].value for s in found.stretches] == ["+0 %", "+20 %", "-10 %"]


def test_service_times_that_did_not_settle_are_told() -> None:
    found = quiet([run(1, steady=Steady(label="slowdown", n=300)), run(2, steady=Steady(label="flat")), run(3)])
    assert found is not None
    assert [r.steady for r in found.runs] == ["got slower", "steady", "not checked"]
    assert "In 1 the service times did not settle." in found.said


def test_energy_is_measured_or_absent() -> None:
    assert quiet([run(1)]).energy == ()  # type: ignore[union-attr]
    energy = Energy(gross_j=30.0, window_s=10.0, source="rapl", joules_per_request=0.015)
    found = quiet([run(1, energy=energy)])
    assert found is not None
    assert found.energy == ("int8: 0.015 J a request (rapl, median of 1 runs, 10 s)",)


def test_the_page_has_the_section_and_escapes_it() -> None:
    attack = "</script><b onclick=x>"
    results = [
        run(
            1,
            block=0,
            variant=Variant(name=attack, backend=Named("null")),
            validity="unstable",
            witnesses=(witness("W3", 0.5, "unstable", attack), witness("W99", 1.0)),
            witness_missing=(attack,),
        )
    ]
    text = page.render(example.conclusion(), {}, results)
    assert "How quiet was the machine?" in text
    assert "not measured: no counter here" in text
    assert "<b onclick" not in text
    assert "&lt;b onclick=x&gt;" in text


def test_without_results_the_page_has_no_such_section() -> None:
    assert "How quiet was the machine?" not in page.render(example.conclusion(), {})


def test_every_witness_of_the_table_has_words() -> None:
    from accel.measurement.noise import TABLE

    assert set(TABLE) <= set(WITNESSES)
    assert all(msgspec.json.encode(words) for words in WITNESSES.values())
