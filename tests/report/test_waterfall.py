"""What stands under the waterfall: what gave most, what could not be shown, what was never measured."""

import msgspec

from accel.analysis import Estimate
from accel.analysis.conclusion import Step, Strategy
from accel.report.charts.waterfall import Waterfall
from tests.report import example


def step(strategy: Strategy, value: float | None, *, low: float | None = None, shown: bool = False) -> Step:
    ratio = None
    if value is not None:
        high = None if low is None else value * value / low
        ratio = Estimate(value=value, low=low, high=high, n=6, unit="x", method="")
    return Step(strategy=strategy, variant="some", value=value or 1.0, unit="items/s", ratio=ratio, shown=shown)


def note(*steps: Step) -> str:
    original = Step(strategy="original", variant="eager", value=1.0, unit="items/s", ratio=None, shown=True)
    return Waterfall().note(msgspec.structs.replace(example.conclusion(), waterfall=(original, *steps)))


def test_what_gave_most_and_what_could_not_be_shown() -> None:
    told = note(
        step("compilation", 2.0, low=1.9, shown=True),
        step("compression", 3.0, low=2.8, shown=True),
        step("batching", 1.02, low=0.98),
    )
    assert told == "Compression gave most of it; batching added nothing that could be shown."


def test_a_step_without_interval_is_not_called_nothing() -> None:
    told = note(step("compilation", 2.0), step("batching", 1.5, low=1.4, shown=True))
    assert told == "Batching gave most of it; what compilation added wasn't measured beside the step before."


def test_a_step_that_slows_down_gave_nothing() -> None:
    assert "most" not in note(step("compilation", 0.7, low=0.6, shown=True))


def test_steps_that_were_never_compared() -> None:
    told = note(step("compilation", None), step("compression", None))
    assert told == "What compilation and compression added wasn't measured beside the step before."
