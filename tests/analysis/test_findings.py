"""What is noticed, from studies made by hand: each rule fires on its case, and stays silent beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from accel.analysis import Estimate
from accel.analysis.conclusion import Answer, Comparison, Finding, Row, StudyRecord
from accel.analysis.findings import findings
from accel.analysis.findings.load import cached
from accel.analysis.findings.machine import _numbers
from accel.analysis.paired import Floor, Paired
from accel.analysis.runs import Run
from accel.plugins import Named
from accel.result import Energy, Result, Steady, Witness
from tests.synthetic import BASELINE, synthetic_study, variant

BASE, FAST = BASELINE.variant, variant("fast", "openvino")
S = 1_000_000_000


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> StudyRecord:
    given = synthetic_study(tmp_path_factory.mktemp("study"))
    return msgspec.structs.replace(
        given, synthetic=False, slo_assumed=False, not_bought=(), command="accel bench m.onnx"
    )


def witness(
    name: str, level: str, value: float = 3.2, sentence: str = "Threads waited 320 % of their time."
) -> Witness:
    return Witness(id=name, value=value, warn=0.05, unstable=0.25, invalid=None, level=level, sentence=sentence)  # type: ignore[arg-type]


def result(record: StudyRecord, at_s: float, block: int | None = None, *, who: Any = FAST, **more: Any) -> Result:
    """A run of one second that ended `at_s` after the start."""
    fields: dict[str, Any] = {
        "run_id": f"r-{at_s}-{block}-{who.name}",
        "study_id": "s",
        "phase": "blocks" if block is not None else "screening",
        "variant": who,
        "role": "baseline" if who is BASE else "candidate",
        "status": "ok",
        "block": block,
        "target": "latency",
        "trace": "t.npz",
        "created_unix_ns": record.created_unix_ns + round(at_s * S),
        "wall_s": 1.0,
        **more,
    }
    return Result(**fields)


def estimate(value: float, spread: float = 0.02) -> Estimate:
    low, high = value * (1 - spread), value * (1 + spread)
    return Estimate(value=value, low=low, high=high, n=6, unit="1", method="")


def comparison(ratio: float = 2.0, verdict: str = "FASTER", evidence: str = "blocks") -> Comparison:
    return Comparison(ratio=estimate(ratio), verdict=verdict, delta=1.05, evidence=evidence)  # type: ignore[arg-type]


ROWS = (Row(name=BASE.name, variant=BASE, status="ok", is_baseline=True), Row(name="fast", variant=FAST, status="ok"))
WON = Answer(target="online", winner="fast", keeps_baseline=False, speedup=comparison(), sentence="", evidence="blocks")


def found(
    record: StudyRecord,
    results: Sequence[Result] = (),
    *,
    rows: Sequence[Row] = ROWS,
    runs: Sequence[Run] = (),
    floors: dict[Paired, Floor] | None = None,
) -> list[Finding]:
    floors = {"latency": Floor(), "batch": Floor()} | (floors or {})
    return list(findings(rows, [WON], record, results, floors, runs))


def six_blocks(record: StudyRecord, bad: Sequence[int], **of_bad: Any) -> list[Result]:
    """Ten seconds a block; the bad ones are flagged as `of_bad` says."""
    flagged = {"validity": "unstable", "witnesses": (witness("W3", "unstable"),)} | of_bad
    return [
        result(record, 100 + 10 * b + i, b, who=who, **(flagged if b in bad and who is FAST else {}))
        for b in range(6)
        for i, who in enumerate((BASE, FAST))
    ]


# --- the machine -----------------------------------------------------------------------------------------------


def test_a_quiet_study_has_nothing_to_say_about_the_machine(record: StudyRecord) -> None:
    assert found(record, six_blocks(record, [])) == []


def test_a_hogged_block_is_named_with_when_by_what_and_what_it_means(record: StudyRecord) -> None:
    (one,) = found(record, six_blocks(record, [3]))
    assert one.what == (
        "1 of 6 blocks were disturbed by the machine (block 4), between 2 min 10 s and 2 min 11 s after the start: "
        "threads waited 320 % of their time at worst (W3)."
    )
    assert "Something else kept the processor busy" in one.why
    assert "rests on the other blocks" in one.why
    assert one.command == "accel doctor --measure"


def test_too_many_hogged_blocks_are_not_explained_away(record: StudyRecord) -> None:
    (one,) = found(record, six_blocks(record, [0, 2, 3, 4]))
    assert "4 of 6 blocks were disturbed by the machine (blocks 1 and 3–5)" in one.what
    assert "Too many to leave them out" in one.why
    (every,) = found(record, six_blocks(record, range(6)))
    assert every.what.startswith("All 6 blocks were disturbed by the machine, between ")


def test_the_commonest_witness_is_named_in_its_worst_case(record: StudyRecord) -> None:
    steal = {"witnesses": (witness("W1", "unstable", 0.04, "The host took 4 %."),)}
    worse = {"witnesses": (witness("W1", "unstable", 0.09, "The host took 9 %."),)}
    results = [*six_blocks(record, [1], **steal), *six_blocks(record, [2], **worse)[4:6], *six_blocks(record, [3])[6:8]]
    (one,) = found(record, results)
    assert "the host took 9 % at worst (W1)." in one.what
    assert "Other guests" in one.why


@pytest.mark.parametrize(
    ("blocks", "text"), [([0], "1"), ([0, 1], "1–2"), ([0, 2], "1 and 3"), ([0, 1, 2, 4, 6, 7], "1–3, 5 and 7–8")]
)
def test_numbers_of_blocks_are_joined(blocks: list[int], text: str) -> None:
    assert _numbers(blocks) == text


def test_disturbed_screening_matters_only_where_it_is_much(record: StudyRecord) -> None:
    quiet = [result(record, i) for i in range(19)]
    shaken = [result(record, 30 + i, validity="unstable", witnesses=(witness("W3", "unstable"),)) for i in range(3)]
    assert found(record, [*quiet, shaken[0]]) == []
    (one,) = found(record, [*quiet, *shaken])
    assert one.what.startswith("3 of 22 runs were disturbed by the machine: ")


def test_a_machine_that_slows_down_is_named_and_a_steady_one_is_not(record: StudyRecord) -> None:
    def over(change: float) -> list[Result]:
        return [result(record, i, i // 3, canary_s=(0.02, 0.02 * (1 + change * i / 29))) for i in range(30)]

    assert found(record, over(0.02)) == []
    (one,) = found(record, over(0.4))
    assert one.what == "The machine became 13 % slower while the study ran (W7)."
    (back,) = found(record, over(-0.4))
    assert "faster" in back.what


def test_a_quota_is_named_even_where_it_only_warns(record: StudyRecord) -> None:
    held = witness("W2", "warn", 0.002, "The CPU quota throttled 0.2 % of the periods.")
    results = [result(record, i, i, witnesses=(held,)) for i in range(4)]
    (one,) = found(record, results)
    assert one.what.startswith("The processor quota of this container held 4 runs up: the CPU quota throttled 0.2 %")


def test_runs_that_never_settled_are_named_if_they_are_many(record: StudyRecord) -> None:
    def with_labels(*labels: Any) -> list[Result]:
        made = []
        for i, label in enumerate(labels):
            level = "unstable" if label in ("slowdown", "none") and by > 0.25 else "ok"
            w10 = witness("W10", level, by, "The engine never settled.")
            made.append(result(record, i, i, steady=Steady(label=label, n=500, change=by), witnesses=(w10,)))
        return made

    by = 0.1
    assert found(record, with_labels("slowdown", "slowdown", "slowdown", "none", "none")) == [], "the weather of a host"
    by = 0.3
    assert found(record, with_labels("flat", "flat", "flat", "none", "flat", "flat")) == []
    (one,) = found(record, with_labels("flat", "slowdown", "slowdown", "flat", "flat", "none"))
    assert one.what == "`fast` got slower while it was measured in 3 of 6 runs (W10)."


def test_an_original_that_differs_from_itself_is_doubted(record: StudyRecord) -> None:
    assert found(record, floors={"latency": Floor(value=0.04)}) == []
    (plain,) = found(record, floors={"latency": Floor(value=math.log(1.12))})
    assert "up to 12 %" in plain.what
    (doubted,) = found(record, floors={"batch": Floor(value=0.02, shift=0.02, suspicious=True)})
    assert "more than chance allows" in doubted.why
    assert doubted.weight > plain.weight


def test_requests_that_failed_are_never_fast(record: StudyRecord) -> None:
    bad = result(record, 3, 0, validity="invalid", witnesses=(witness("W13", "invalid", 4, "4 requests failed."),))
    (one,) = found(record, [bad])
    assert one.what == "`fast` failed to answer in 1 runs: 4 requests failed at worst (W13)."


# --- the verdict without leaving anything out ------------------------------------------------------------------


def run(record: StudyRecord, median_s: float, at_s: float, block: int | None, *, who: Any, **more: Any) -> Run:
    n = more.pop("n", 40)
    kept = result(record, at_s, block, who=who, **more)
    times = np.full(n, median_s)
    return Run(result=kept, latency_s=times, items=np.ones(n), seconds=times, service_s=times)


def race(record: StudyRecord, disturbed_s: float) -> list[Run]:
    """Eight blocks; in the last two, which are flagged, the candidate takes `disturbed_s`."""
    runs = []
    for b in range(8):
        bad: dict[str, Any] = {"validity": "unstable", "witnesses": (witness("W3", "unstable"),)} if b > 5 else {}
        wobble = 1 + 0.004 * (b % 3)
        runs.append(run(record, 0.010 * wobble, b, b, who=BASE))
        runs.append(run(record, disturbed_s if b > 5 else 0.005, b + 0.5, b, who=FAST, **bad))
    return runs


def test_a_verdict_that_hangs_on_what_was_left_out_is_said(record: StudyRecord) -> None:
    rows = (ROWS[0], msgspec.structs.replace(ROWS[1], speedup_latency=comparison()))
    same = found(record, rows=rows, runs=race(record, 0.006))
    assert not [f for f in same if f.what.startswith("With unstable blocks")]
    (other,) = [
        f for f in found(record, rows=rows, runs=race(record, 0.1)) if f.what.startswith("With unstable blocks")
    ]
    assert "`fast` in latency would be INCONCLUSIVE" in other.what
    assert "not FASTER" in other.what


# --- requests over time ----------------------------------------------------------------------------------------


def look(record: StudyRecord, median_s: float, *, gap_s: float = 0.0, same: bool = False, trial: int = 0) -> Run:
    scenario = Named("single_stream", {"gap_s": gap_s} if gap_s else {})
    inputs = "same" if same else "unique"
    more: dict[str, Any] = {"phase": "measure", "target": None, "scenario": scenario, "inputs": inputs, "trial": trial}
    rng = np.random.default_rng(trial + round(gap_s * 1e3))
    base = run(record, median_s, trial, None, who=FAST, **more)
    return msgspec.structs.replace(base, latency_s=median_s * np.exp(rng.normal(0, 0.01, 20 if gap_s else 300)))


def test_calls_with_pauses_that_are_clearly_slower_are_named_with_their_rate(record: StudyRecord) -> None:
    tight = [look(record, 0.002, trial=i) for i in range(3)]
    (one,) = found(record, runs=[*tight, look(record, 0.0021, gap_s=0.01), look(record, 0.0032, gap_s=0.1)])
    assert one.what.startswith("At 9.7 requests/s each call of `fast` takes 1.6× [1.6–1.6] as long as in a tight loop")
    assert "p50 is 3.2" in one.what
    assert "ms there, not 2" in one.what
    assert found(record, runs=[*tight, look(record, 0.0021, gap_s=0.1)]) == []


def test_a_few_calls_with_pauses_carry_no_median(record: StudyRecord) -> None:
    few = look(record, 0.004, gap_s=0.1)
    few = msgspec.structs.replace(few, latency_s=few.latency_s[:19])
    assert found(record, runs=[look(record, 0.002, trial=i) for i in range(3)] + [few]) == []


def test_an_engine_that_remembers_answers_is_caught(record: StudyRecord) -> None:
    runs = [look(record, s, same=same, trial=i) for i in range(3) for s, same in ((0.002, False), (0.001, True))]
    (one,) = found(record, runs=runs)
    assert one.what.startswith("`fast` answers repeated inputs 2× [")
    honest = [look(record, 0.002, same=same, trial=i) for i in range(3) for same in (False, True)]
    assert found(record, runs=honest) == []


def test_a_little_faster_on_one_input_is_no_cache(record: StudyRecord) -> None:
    """Three times the smallest effect of `quick`, 5 %, is what a cache must at least bring."""
    runs = [look(record, s, same=same, trial=i) for i in range(3) for s, same in ((0.00112, False), (0.001, True))]
    assert cached(runs, 0.0) is not None
    assert cached(runs, 3 * math.log(1.05)) is None
    assert cached(runs[:4], 0.0) is None, "two pairs have no interval to speak of"


def test_a_generator_that_was_late_is_named_with_its_rates(record: StudyRecord) -> None:
    late = {"validity": "invalid", "witnesses": (witness("W9", "invalid"),), "target": "online"}
    results = [
        result(record, i, i, scenario=Named("server", {"rate": r}), **late) for i, r in enumerate((900.0, 2000.0))
    ]
    (one,) = found(record, results)
    assert one.what == "2 server trials are invalid: requests were offered late at 900 to 2,000 requests/s (W9)."


@pytest.mark.parametrize("note", ["unconfirmed: x", "near saturation: x", "nonmonotone: x", "generator-limited: x"])
def test_what_the_claim_is_short_of_is_said(record: StudyRecord, note: str) -> None:
    rows = (ROWS[0], msgspec.structs.replace(ROWS[1], notes=(note,)))
    (one,) = found(record, rows=rows)
    assert one.what == f"`fast` online: {note}."
    assert one.why


# --- the study -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("next_step", "command"),
    [
        ('Install it with: pip install "accel-bench[torch]"', 'pip install "accel-bench[torch]"'),
        (
            "Install it with: pip uninstall --yes onnxruntime && pip install --force-reinstall onnxruntime-gpu",
            "pip uninstall --yes onnxruntime && pip install --force-reinstall onnxruntime-gpu",
        ),
        ("Install one of: pip install one; or: pip install two", "pip install one"),
    ],
)
def test_a_missing_package_comes_with_the_whole_line_that_installs_it(
    record: StudyRecord, next_step: str, command: str
) -> None:
    lost = Row(name="lost", variant=FAST, status="skipped", reason="It is not installed", next_step=next_step)
    (one,) = found(record, rows=(*ROWS, lost))
    assert "`lost` was not tried" in one.what
    assert one.command == command


def test_what_the_budget_did_not_buy_comes_with_the_command_that_goes_on(record: StudyRecord) -> None:
    cut = msgspec.structs.replace(record, not_bought=("a", "2 of 6 blocks", "c", "d"), budget_s=300.0)
    (one,) = found(cut)
    assert one.what == "The budget of 5 min 0 s did not buy everything: a; 2 of 6 blocks; c, and 1 more."
    assert one.command == "accel bench m.onnx --out FOLDER --resume --budget 600s"


def test_more_energy_than_the_original_is_worth_a_line(record: StudyRecord) -> None:
    def using(joules: float, who: Any) -> Result:
        energy = Energy(gross_j=10, window_s=10, source="rapl", joules_per_request=joules)
        return result(record, 1, 0, who=who, target="batch", energy=energy)

    assert found(record, [using(1.0, BASE), using(0.8, FAST)]) == []
    (one,) = found(record, [using(1.0, BASE), using(1.3, FAST)])
    assert one.what == "`fast` needs 30 % more energy for an item than the original."


def test_all_findings_are_kept_and_ordered_by_weight(tmp_path: Path, record: StudyRecord) -> None:
    many = tuple(
        Row(name=f"v{i}", variant=variant(f"v{i}", "openvino"), status="failed", reason=f"reason {i}")
        for i in range(12)
    )
    said = found(record, six_blocks(record, [2]), rows=(*ROWS, *many))
    assert len(said) == 13
    assert [f.weight for f in said] == sorted((f.weight for f in said), reverse=True)
    assert all(f.what.endswith(".") for f in said)
