"""What is made of runs: lag, canaries, witnesses, the race of something against itself; one short race is real."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from accel.analysis import Estimate
from accel.analysis.conclusion import Comparison
from accel.checkup import measure
from accel.checkup.clocks import Clocks
from accel.checkup.contest import Against, Contest, Subject, stub, within
from accel.checkup.measure import Canary, Fired, Lag, Measured, budget, canary, fired, lag_of
from accel.checkup.projection import Scatter, Smallest, project
from accel.checkup.smaller import advice, worst
from accel.errors import InputError, VariantError
from accel.measurement.noise import witness
from accel.measurement.trace import Trace
from accel.recipe import parse_variant
from accel.result import Result
from accel.study.profiles import profile
from tests.test_checkup import machine


def result(name: str, *values: float, canary_s: tuple[float, float] | None = None) -> Result:
    return Result(
        run_id=name,
        study_id="doctor",
        phase="blocks",
        variant=parse_variant({"name": "stub", "backend": "null"}, 0),
        role="baseline",
        status="ok",
        canary_s=canary_s,
        witnesses=tuple(witness("W3", v, f"W3 is {v}.") for v in values),
    )


def trace(lags: list[int]) -> Trace:
    """One request a second, 10 ns of service, started this late."""
    n = len(lags)
    due = np.arange(n, dtype=np.int64) * 10**9
    none = np.zeros(n, np.int64)
    started = due + np.array(lags)
    return Trace(
        due=due,
        taken=started,
        started=started,
        finished=started + 10,
        batch=np.arange(n),
        batch_size=none + 1,
        sample=none,
        status=none,
        warmup=none,
    )


def test_lag_is_that_of_the_trace_and_a_tail_it_cannot_carry_is_left_out() -> None:
    found = lag_of(trace([1000] * 30 + [2_000_000] * 10), 1.0)
    assert found.p50 is not None
    assert found.p50.value == pytest.approx(1e-6)
    assert found.p99 is None
    assert found.late == 0.25


def test_canaries_of_all_runs_count_together() -> None:
    runs = [result("a", canary_s=(0.02, 0.02)), result("b", canary_s=(0.02, 0.022)), result("c")]
    found = canary(runs)
    assert found is not None
    assert (found.n, found.largest) == (4, pytest.approx(0.1))
    assert found.spread == pytest.approx(0.001 / 0.0205)
    assert canary([result("c")]) is None


def test_a_witness_is_told_once_with_its_worst_sentence() -> None:
    found = fired([result("a", 0.1), result("b", 0.3), result("c", 0.0), result("d", 0.2)])
    assert found == (Fired(id="W3", runs=3, of=4, level="unstable", sentence="W3 is 0.3."),)


@pytest.mark.parametrize("text", ["30s", "11m", "soon"])
def test_a_budget_outside_its_bounds_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--budget"):
        budget(text)
    assert budget("4m") == 240


def test_what_stems_from_within_the_runs_is_read_from_their_own_intervals(tmp_path: Path) -> None:
    contest = raced(tmp_path, blocks=0)
    assert within([], "latency") == 0.0
    assert contest.found() == []


def raced(place: Path, blocks: int) -> Contest:
    subject = stub(place)
    short = msgspec.structs.replace(subject.asks[0], duration_s=0.1)
    subject = msgspec.structs.replace(subject, asks=(short,))
    with Contest(subject, place, fresh=False, seed=1) as contest:
        for _ in range(blocks):
            contest.block()
    return contest


def test_a_stub_is_raced_against_itself_for_real(tmp_path: Path) -> None:
    contest = raced(tmp_path, blocks=3)
    (found,) = contest.found()
    assert (found.target, found.blocks, len(contest.results)) == ("latency", 3, 9)
    assert len(found.scatter.repeats) == 3
    assert [s.profile for s in found.smallest] == ["quick"]
    assert found.smallest[0].difference >= 0.0499
    copies = {r.variant.name for r in contest.results}
    assert copies == {"stub", "copy"}


class Bout:
    """A contest that only counts its blocks, or fails in the second."""

    def __init__(self, *, fails: bool = False, fresh: bool = True) -> None:
        self.blocks, self.fresh, self._fails = 0, fresh, fails
        self.subject = Subject(name="a bout", prepared=None, samples=Path(), asks=())  # type: ignore[arg-type]

    def block(self) -> None:
        if self._fails and self.blocks == 1:
            raise VariantError("it broke")
        self.blocks += 1


def test_blocks_end_with_their_time_and_the_first_three_may_take_more_than_their_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = itertools.count(0.0, 5.0)
    monkeypatch.setattr(measure, "time", SimpleNamespace(monotonic=lambda: next(now)))
    bout, said = Bout(), list[str]()
    # A block takes 5 s and the next begins 5 s later: at 0, 10, 20, and the fourth would begin at 30.
    measure._blocks([bout], (12.0, 100.0), 30, said.append, [])  # type: ignore[list-item]
    assert (bout.blocks, len(said)) == (3, 3)
    now = itertools.count(0.0, 5.0)
    bout = Bout()
    measure._blocks([bout], (12.0, 24.0), 30, said.append, [])  # type: ignore[list-item]
    assert bout.blocks == 2


def test_a_contest_that_fails_is_left_out_and_named() -> None:
    good, bad, missing = Bout(), Bout(fails=True), list[str]()
    measure._blocks([good, bad], (math.inf, math.inf), 4, lambda _: None, missing)  # type: ignore[list-item]
    assert (good.blocks, bad.blocks) == (4, 1)
    assert missing == ["a bout, a fresh process a run: it broke"]


def against(changes: tuple[float, ...], *, verdict: str = "EQUIVALENT", fresh: bool = True) -> Against:
    scatter = Scatter(changes=changes, repeats=tuple(c / 20 for c in changes), run_s=0.6)
    ratio = Estimate(value=1.06, low=1.02, high=1.1, n=6, unit="x", method="by hand")
    copy = Comparison(ratio=ratio, verdict=verdict, delta=1.05, evidence="blocks")  # type: ignore[arg-type]
    names = ("shared", "quiet") if fresh else ("quick",)
    return Against(
        subject="a small network",
        target="latency",
        fresh=fresh,
        blocks=len(changes),
        disturbed=1,
        repeat=ratio,
        copy=copy,
        false_alarm=verdict in ("FASTER", "SLOWER"),
        scatter=scatter,
        smallest=tuple(project(scatter, profile(name)) for name in names),
    )


WIDE, NARROW = (0.12, -0.12, 0.11, -0.11, 0.12, -0.12), (1e-4, -1e-4, 0.0, 1e-4, 0.0, -1e-4)


def measured(*contests: Against, **changed: object) -> Measured:
    """A whole finding, as the command line shows it."""
    time = Estimate(value=1e-6, low=0.9e-6, high=1.1e-6, n=1000, unit="s", method="by hand")
    given = {
        "machine": machine(),
        "seconds": 234.5,
        "clocks": Clocks(name="clock_gettime", resolution_s=1e-9, reading_s=time, waits=(), ppm=12.34, over_s=230.0),
        "lags": (Lag(rate=100.0, requests=1020, p50=time, p99=None, late=0.001),),
        "canary": Canary(n=80, median=time, spread=0.012, largest=0.04),
        "contests": contests,
        "fired": (Fired(id="W3", runs=30, of=60, level="unstable", sentence="Threads waited."),),
        "runs": 60,
        "missing": ("W2: cpu.stat (this machine has no such source)",),
        **changed,
    }
    return Measured(**given)  # type: ignore[arg-type]


def test_the_limit_of_a_profile_is_its_worst_contest() -> None:
    limits = worst([against(NARROW), against(WIDE), against(NARROW, fresh=False)])
    assert limits["shared"][1].difference > 0.03 * 1.5
    assert limits["quick"][1].difference == pytest.approx(0.05)


def test_a_machine_that_shows_every_profiles_least_gets_no_advice() -> None:
    assert advice(measured(against(NARROW))) == []


def test_advice_says_how_many_blocks_and_which_witness() -> None:
    told = " ".join(advice(measured(against(WIDE))))
    limit: Smallest = against(WIDE).smallest[0]
    assert f"{limit.blocks_to_halve} blocks instead of {limit.blocks}" in told
    assert "W3 spoke up in 30 of 60 runs" in told
    assert "taskset" in told


def test_a_false_alarm_comes_first() -> None:
    assert "called FASTER" in advice(measured(against(NARROW, verdict="FASTER")))[0]
