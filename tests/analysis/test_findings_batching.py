"""What is said of batching, of servers' policies and of overload: each rule on its case and beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from accel.analysis.batch_curve import BatchCurve, batch_curve
from accel.analysis.conclusion import Answer, Finding, Row, StudyRecord
from accel.analysis.findings import findings
from accel.analysis.load_curve import LoadPoint
from accel.analysis.runs import Run
from accel.plugins import Named
from tests.analysis.test_batch_curve import about
from tests.analysis.test_load_curve import run
from tests.synthetic import synthetic_study, variant

NET = variant("net", "openvino")
KEEPS = Named("dynamic", {"max_size": 16, "target": 9})
DROPS = Named("dynamic", {"max_size": 16, "target": 9, "drop": "early", "slo_s": 0.01, "curve": [[1, 0.004]]})
WINDOW = Named("window", {"size": 9, "timeout_s": 0.01})
WON = Answer(target="online", winner="net", keeps_baseline=False, speedup=None, sentence="", evidence="blocks")


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> StudyRecord:
    folder: Path = tmp_path_factory.mktemp("study")
    given = synthetic_study(folder, blocks=0)
    return msgspec.structs.replace(given, not_bought=(), slo_p=0.9, slo_s=0.010)


def said(
    record: StudyRecord,
    runs: Sequence[Run] = (),
    loads: Sequence[LoadPoint] = (),
    curves: Sequence[BatchCurve] = (),
) -> list[Finding]:
    rows = (Row(name="net", variant=NET, status="ok"),)
    return list(findings(rows, (WON,), record, (), {}, runs, loads=loads, curves=curves))


def only(found: list[Finding], start: str) -> Finding:
    hits = [f for f in found if f.what.startswith(start)]
    assert len(hits) == 1, [f.what for f in found]
    return hits[0]


def curve(seconds: dict[int, float]) -> BatchCurve:
    found = batch_curve(
        "net", {s: about(t) for s, t in seconds.items()}, {s: about(s / t, unit="1/s") for s, t in seconds.items()}
    )
    assert found is not None
    return found


def test_batching_that_does_not_pay_is_said_with_its_reason(record: StudyRecord) -> None:
    found = only(said(record, curves=(curve({1: 0.010, 2: 0.020, 4: 0.041}),)), "`net`: Batching doesn't pay here")
    assert "one item already keeps the processor busy" in found.what
    assert said(record, curves=(curve({1: 0.010, 2: 0.012, 4: 0.015}),)) == []


def test_lengths_that_pay_are_told_from_a_mix_that_does_not(record: StudyRecord) -> None:
    mixed = curve({1: 0.0012, 4: 0.0086})
    short = msgspec.structs.replace(curve({1: 0.0009, 4: 0.0013}), bucket=(8, 16))
    long = msgspec.structs.replace(curve({1: 0.0026, 4: 0.0087}), bucket=(17, 100))
    found = only(said(record, curves=(mixed, short, long)), "Batch items of like length: for those of length 8 to 16")
    assert "a batch of 4 gives `net` 2.77× the items a second, for a mix of lengths 0.558×" in found.what
    assert found.command == "accel list bucketed"
    same = msgspec.structs.replace(mixed, bucket=(8, 16))
    assert not [f for f in said(record, curves=(mixed, same)) if "like length" in f.what]


def trials(policy: Named, late: Sequence[float], rate: float = 500.0) -> list[Run]:
    """One trial for each share of requests that are late."""
    return [
        run(
            [0.005] * round(1000 * (1 - share)) + [0.05] * round(1000 * share), rate=rate, policy=policy, trial=t
        )
        for t, share in enumerate(late)
    ]  # fmt: skip


def test_what_a_servers_policy_loses_is_said_with_its_interval(record: StudyRecord) -> None:
    """Half of the requests are late with the window, 1 % with ours: 49.5 % fewer in time."""
    runs = trials(DROPS, (0.01, 0.01, 0.01)) + trials(WINDOW, (0.49, 0.50, 0.51))
    found = only(said(record, runs), "At 500 requests/s `net` answers 50 % [")
    assert "fewer in time with `window` than with dynamic ≤ 9, drops" in found.what
    assert "as LitServe does" in found.why
    assert found.command == "accel list window"


@pytest.mark.parametrize(
    ("late", "why"),
    [
        ((0.02, 0.02, 0.02), "a loss of 1 % isn't worth a line"),
        ((0.5, 0.5), "two trials have no interval"),
        ((0.01, 0.5, 0.1), "the interval reaches down to nothing"),
    ],
)
def test_nothing_is_said_of_a_small_or_doubtful_loss(record: StudyRecord, late: Sequence[float], why: str) -> None:
    runs = trials(DROPS, [0.01] * len(late)) + trials(WINDOW, late)
    assert said(record, runs) == [], why


def test_disturbed_trials_say_nothing_of_a_policy(record: StudyRecord) -> None:
    runs = trials(DROPS, (0.01, 0.01, 0.01)) + trials(WINDOW, (0.5, 0.5, 0.5))
    shaky = [
        msgspec.structs.replace(r, result=msgspec.structs.replace(r.result, validity="unstable")) for r in runs
    ]  # fmt: skip
    assert said(record, shaky) == []


def at(policy: Named, rate: float, goodput: float, **more: bool) -> LoadPoint:
    return LoadPoint(
        variant="net", policy=policy, label="", rate=rate, quantile_s=None, p50_s=None, goodput=goodput, **more
    )


def test_overload_advice_compares_with_and_without_a_deadline(record: StudyRecord) -> None:
    points = (at(DROPS, 500.0, 495.0), at(DROPS, 2000.0, 930.0), at(KEEPS, 2000.0, 24.0))
    found = only(said(record, loads=points), "Set a deadline: at 2,000 requests/s")
    assert "answers 930 a second in time if its policy gives up who would be late, and 24 if it doesn't" in found.what
    assert "in simulation" not in found.what


def test_a_simulated_overload_says_so_and_is_never_mixed_with_a_measured_one(record: StudyRecord) -> None:
    guessed = (at(DROPS, 2000.0, 930.0, simulated=True), at(KEEPS, 2000.0, 24.0, simulated=True))
    assert "in time in simulation" in only(said(record, loads=guessed), "Set a deadline").what
    assert said(record, loads=(guessed[0], at(KEEPS, 2000.0, 24.0))) == []


def test_no_advice_where_the_server_was_not_overloaded_or_nothing_is_gained(record: StudyRecord) -> None:
    assert said(record, loads=(at(DROPS, 500.0, 495.0), at(KEEPS, 500.0, 300.0))) == []
    assert said(record, loads=(at(DROPS, 2000.0, 930.0), at(KEEPS, 2000.0, 900.0))) == []
    assert math.isfinite(at(DROPS, 1.0, 1.0).rate)
