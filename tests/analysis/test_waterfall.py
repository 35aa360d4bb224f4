"""Where the speed-up came from: hand-made rounds whose steps are known, and whose product is the whole."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from accel.analysis.conclusion import Answer, PathStep, Row, Step, StudyRecord
from accel.analysis.paired import Floor
from accel.analysis.rows import Known
from accel.analysis.runs import Run
from accel.analysis.waterfall import waterfall
from accel.plugins import Named
from accel.result import Result
from tests.synthetic import BASELINE, synthetic_study, variant

PATH = tuple(
    PathStep(strategy=strategy, variant=name)  # type: ignore[arg-type]
    for strategy, name in (
        ("original", "original"),
        ("compilation", "plain"),
        ("compression", "int8"),
        ("batching", "int8"),
    )
)
VARIANTS = {
    "original": BASELINE.variant,
    "plain": variant("plain", "openvino"),
    "int8": variant("int8", "openvino", Named("quantize_static")),
}
WON = Answer(target="batch", winner="int8", keeps_baseline=False, speedup=None, sentence="", evidence="blocks")
FLOORS: dict[Any, Floor] = {"latency": Floor(), "batch": Floor()}
# Items a second in three rounds: from the original to compilation twice as many in each, then 1 % up, down and none,
# then three times as many.
ROUNDS = ((10.0, 20.0, 20.2, 60.6), (8.0, 16.0, 15.84, 47.52), (12.0, 24.0, 24.0, 72.0))


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> StudyRecord:
    given = synthetic_study(tmp_path_factory.mktemp("study"), blocks=0)
    return msgspec.structs.replace(given, path=PATH)


def run(name: str, block: int, rate: float, *, batched: bool, phase: str = "steps", **more: Any) -> Run:
    result = Result(
        run_id=f"{phase}-{block}-{name}-{batched}",
        study_id="s",
        phase=phase,  # type: ignore[arg-type]
        variant=VARIANTS[name],
        role=more.pop("role", "baseline" if name == "original" else "candidate"),
        status="ok",
        block=block,
        scenario=Named("offline" if batched else "single_stream"),
        **more,
    )
    items = 8.0 if batched else 1.0
    seconds = np.full(5, items / rate)
    return Run(result=result, latency_s=seconds, items=np.full(5, items), seconds=seconds, service_s=seconds)


def known(runs: list[Run]) -> dict[str, Known]:
    from accel.analysis import Estimate

    p50 = Estimate(value=0.1, low=None, high=None, n=5, unit="s", method="")
    return {
        name: Known(
            row=Row(name=name, variant=one, status="ok", p50=p50),
            runs=tuple(r for r in runs if r.result.variant.name == name),
        )
        for name, one in VARIANTS.items()
    }


def rounds(rates: tuple[tuple[float, ...], ...] = ROUNDS, **more: Any) -> list[Run]:
    return [
        run(step.variant, block, rate, batched=step.strategy == "batching", **more)
        for block, values in enumerate(rates)
        for step, rate in zip(PATH, values, strict=True)
    ]


def steps(record: StudyRecord, runs: list[Run]) -> tuple[Step, ...]:
    return waterfall(WON, None, known(runs), record, FLOORS)


def test_the_steps_are_those_of_the_rounds_and_their_product_is_the_whole(record: StudyRecord) -> None:
    found = steps(record, rounds())
    assert [(s.strategy, s.variant) for s in found] == [(p.strategy, p.variant) for p in PATH]
    ratios = [s.ratio.value for s in found[1:] if s.ratio is not None]
    # By hand: 2; the cube root of 1.01 x 0.99 x 1; 3.
    assert ratios == pytest.approx([2.0, (1.01 * 0.99) ** (1 / 3), 3.0])
    assert found[0].value == pytest.approx((10.0 * 8.0 * 12.0) ** (1 / 3))
    assert found[-1].value == pytest.approx((60.6 * 47.52 * 72.0) ** (1 / 3))
    assert math.prod(ratios) == pytest.approx(found[-1].value / found[0].value, rel=1e-12)
    assert [s.shown for s in found] == [True, True, False, True], "one per cent was not shown"
    assert all(s.ratio.low is not None and s.ratio.low <= s.ratio.value for s in found[1:] if s.ratio is not None)


def test_blocks_that_hold_every_step_go_first(record: StudyRecord) -> None:
    twice = tuple((a, 4 * a, 4 * a, 4 * a) for a in (10.0, 11.0, 12.0))
    found = steps(record, [*rounds(), *rounds(twice, phase="blocks")])
    assert [s.ratio.value for s in found[1:] if s.ratio is not None] == pytest.approx([4.0, 1.0, 1.0])


def test_the_repeat_of_the_baseline_is_no_step(record: StudyRecord) -> None:
    repeats = [run("original", block, 1.0, batched=False, role="repeat") for block in range(3)]
    assert steps(record, [*rounds(), *repeats]) == steps(record, rounds())


def test_a_disturbed_round_is_left_out_for_all_steps_or_for_none(record: StudyRecord) -> None:
    """Left out for one step alone, the product would no longer be the whole."""
    four = (*ROUNDS, (10.0, 10.0, 10.0, 10.0))
    disturbed = [
        msgspec.structs.replace(r, result=msgspec.structs.replace(r.result, validity="unstable"))
        if r.result.block == 3 and r.result.variant.name == "plain"
        else r
        for r in rounds(four)
    ]
    found = steps(record, disturbed)
    undisturbed = steps(record, rounds())
    assert [s.value for s in found] == pytest.approx([s.value for s in undisturbed])


def test_with_too_few_whole_rounds_each_step_says_that_it_isnt_shown(record: StudyRecord) -> None:
    missing = [r for r in rounds() if not (r.result.block == 1 and r.result.variant.name == "plain")]
    found = steps(record, missing)
    assert found[0].strategy == "original"
    assert len(found) > 1
    assert not any(step.shown for step in found[1:])


def test_the_way_to_another_variant_than_the_winner_is_not_shown(record: StudyRecord) -> None:
    """A study that went on after its way was measured may have another winner by now."""
    other = msgspec.structs.replace(WON, winner="plain")
    found = waterfall(other, None, known(rounds()), record, FLOORS)
    assert "int8" not in [s.variant for s in found]


def test_where_the_original_stays_there_are_no_steps(record: StudyRecord) -> None:
    kept = msgspec.structs.replace(WON, winner="original", keeps_baseline=True)
    assert waterfall(kept, None, known(rounds()), record, FLOORS) == ()
