"""V13: does a machine that gets slower over the session fool the comparison of two identical variants?

One after the other it does; in the product's order (rule 32) it doesn't. Both are read by the same code.
"""

from __future__ import annotations

from collections.abc import Iterator

from accel.analysis.conclusion import Comparison
from tests.validation import virtual
from tests.validation.experiment import Row
from tests.validation.virtual import Racer, Session, Weather

SESSIONS = 500
BLOCKS = 10
DRIFT = Weather(drift=0.10, block=0.01, run=0.004, disturbed=0.0)
"""10 % slower at the end, on an otherwise quiet machine."""
PROFILE = "shared"
TWO = (Racer(name=virtual.BASE, role="baseline"), Racer(name="copy"))


def quick() -> list[Row]:
    """All of it is virtual."""
    return [_one_after_the_other(), *_interleaved()]


def full() -> Iterator[Row]:
    """The same."""
    yield from quick()


def _one_after_the_other() -> Row:
    """All blocks of the baseline, then all of its copy: block k of one is compared with block k of the other."""
    plan = [(block, racer) for racer in TWO for block in range(BLOCKS)]
    found = []
    for seed in range(SESSIONS):
        session = Session(TWO, DRIFT, seed=seed, slots=len(plan))
        found.append(virtual.read(session.in_order(plan), PROFILE)["copy"])
    false = sum(map(_false, found))
    return Row(
        experiment="V13",
        what=f"{SESSIONS} sessions that get 10 % slower, a variant and its copy one after the other",
        criterion="shown failing: a false verdict in at least 80 %",
        measured=f"{false / SESSIONS:.1%}",
        passed=false >= 0.8 * SESSIONS,
        kind="virtual",
    )


def _interleaved() -> Iterator[Row]:
    racers = virtual.field({"copy": 1.0})
    found = []
    for seed in range(SESSIONS):
        session = Session(racers, DRIFT, seed=seed, slots=BLOCKS * len(racers))
        runs = [run for block in range(BLOCKS) for run in session.block(block)]
        found.append(virtual.read(runs, PROFILE)["copy"])
    false, out = sum(map(_false, found)), sum(not virtual.holds(c, 1.0) for c in found)
    what = f"{SESSIONS} sessions that get 10 % slower, in the product's order"
    for criterion, count, most in (
        ("a false verdict in at most 5 %", false, 0.05 * SESSIONS),
        ("the 95 % interval excludes 1 in at most 8 %", out, 0.08 * SESSIONS),
    ):
        yield Row(
            experiment="V13",
            what=what,
            criterion=criterion,
            measured=f"{count / SESSIONS:.1%}",
            passed=count <= most,
            kind="virtual",
        )


def _false(found: Comparison) -> bool:
    return found.verdict in ("FASTER", "SLOWER")
