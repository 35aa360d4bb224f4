from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from scipy.stats import ttest_1samp

from accel.analysis.comparison import Pair, holm, p_value
from accel.analysis.paired import Floor, compare_all, compare_results, compare_runs, doubted, floor_of, judged, pairs_of
from accel.analysis.reading import conclude
from accel.analysis.runs import Run
from accel.result import Result
from tests.synthetic import synthetic_study
from tests.validation.virtual import BASE, run_of


def raced(base: list[float], again: list[float], ours: list[float], *, n: int = 21) -> list[Run]:
    """Runs of 21 equal requests each: one number a run is what they all say."""
    runs = []
    for block, values in enumerate(zip(base, again, ours, strict=True)):
        for value, (name, role) in zip(
            values, ((BASE, "baseline"), (BASE, "repeat"), ("one", "candidate")), strict=True
        ):
            runs.append(run_of(name, np.full(n, value), role=role, block=block))  # type: ignore[arg-type]
    return runs


def of(runs: list[Run], name: str) -> list[Run]:
    return [r for r in runs if r.result.variant.name == name]


def test_pairs_hold_one_number_a_run_of_the_same_block() -> None:
    runs = raced([1.0, 2.0], [4.0, 2.0], [0.5, 0.6])
    found = pairs_of(of(runs, BASE), of(runs, "one"), "latency")
    assert found == [
        Pair(block=0, base=1.0, repeat=4.0, candidate=0.5),
        Pair(block=1, base=2.0, repeat=2.0, candidate=0.6),
    ]
    rates = pairs_of(of(runs, BASE), of(runs, "one"), "batch")
    assert [p.candidate for p in rates] == pytest.approx([1 / 0.5, 1 / 0.6])


def test_a_block_in_which_one_side_is_missing_is_no_pair_and_an_unstable_side_marks_it() -> None:
    runs = raced([1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0])
    ours = of(runs, "one")[1:]
    shaky = msgspec.structs.replace(ours[0].result, validity="unstable")
    found = pairs_of(of(runs, BASE), [msgspec.structs.replace(ours[0], result=shaky), ours[1]], "latency")
    assert [(p.block, p.stable) for p in found] == [(1, False), (2, True)]


def test_a_p99_that_the_requests_do_not_carry_makes_no_pair() -> None:
    few = raced([1.0], [1.0], [1.0], n=999)
    assert pairs_of(of(few, BASE), of(few, "one"), "latency", 0.99) == []
    enough = raced([1.0], [1.0], [1.0], n=1000)
    assert len(pairs_of(of(enough, BASE), of(enough, "one"), "latency", 0.99)) == 1


def test_floor_by_hand() -> None:
    runs = raced([1.0] * 6, [math.exp(0.02)] * 6, [1.0] * 6)
    floor = floor_of(of(runs, BASE), "latency", min_effect=0.03, seed=0)
    assert (floor.value, floor.shift) == (pytest.approx(0.02), pytest.approx(0.02))
    assert floor.suspicious
    assert floor_of(of(runs, "one"), "latency", min_effect=0.03, seed=0) == Floor()


def test_a_doubted_floor_lets_only_what_clears_it_pass() -> None:
    pairs = {"a": [Pair(block=i, base=1.0, candidate=1 / 1.10 + 0.001 * (i % 2)) for i in range(6)]}
    for shift, word in ((0.0, "FASTER"), (0.02, "FASTER"), (0.08, "INCONCLUSIVE")):
        found = judged(pairs, "latency", Floor(shift=shift, suspicious=True), delta=math.log(1.05))["a"]
        assert found.verdict == word
    assert doubted(found, Floor(shift=1.0)) == found


def test_p_is_that_of_scipy() -> None:
    logs = list(np.random.default_rng(0).normal(0.01, 0.02, 7))
    assert p_value(logs) == pytest.approx(ttest_1samp(logs, 0.0).pvalue)
    assert (p_value([0.25] * 3), p_value([0.0] * 3)) == (0.0, 1.0)


def test_holm_rejects_what_the_textbook_rejects() -> None:
    # 0.01 <= 0.05/4, 0.013 <= 0.05/3, 0.03 > 0.05/2: the last two are kept, whatever their own level would be.
    ps = [0.01, 0.013, 0.03, 0.04]
    rejected = [p <= holm(p, [*ps[:i], *ps[i + 1 :]]) for i, p in enumerate(ps)]
    assert rejected == [True, True, False, False]


def test_more_candidates_take_more_to_be_faster_but_print_the_same_interval() -> None:
    rng = np.random.default_rng(4)
    one = [Pair(block=i, base=1.0, candidate=math.exp(-0.06 + x)) for i, x in enumerate(rng.normal(0, 0.048, 6))]
    noise = [Pair(block=i, base=1.0, candidate=math.exp(x)) for i, x in enumerate(rng.normal(0, 0.05, 6))]
    alone = judged({"a": one}, "latency", Floor(), delta=math.log(1.05))["a"]
    among = judged({"a": one, "b": noise, "c": noise}, "latency", Floor(), delta=math.log(1.05))["a"]
    assert (alone.holm_k, among.holm_k) == (1, 3)
    assert (alone.verdict, among.verdict) == ("FASTER", "INCONCLUSIVE")
    assert "Holm" in among.reason
    assert among.ratio == alone.ratio
    assert (alone.held_low, alone.held_high) == (alone.ratio.low, alone.ratio.high)
    assert (among.held_low or 1) < (alone.held_low or 0)


def test_compare_runs_counts_every_candidate_of_the_phase() -> None:
    runs = raced([1.0, 1.01, 1.0, 0.99], [1.0, 1.0, 1.01, 1.0], [0.5, 0.51, 0.5, 0.5])
    runs += [run_of("two", np.full(21, 1.0 + 0.001 * b), block=b) for b in range(4)]
    found = compare_runs(runs, BASE, "latency", min_effect=0.05, seed=0)
    assert {name: (c.verdict, c.holm_k) for name, c in found.items()} == {
        "one": ("FASTER", 2),
        "two": ("EQUIVALENT", 2),
    }


def test_results_on_disk_are_read_as_a_study_reads_them(tmp_path: Path) -> None:
    record = synthetic_study(tmp_path, online=False, confirmations=0)
    results = [Result.load(p) for p in sorted((tmp_path / "runs").glob("*.json"))]
    asked = {"min_effect": 0.05, "seed": record.seed}
    said = conclude(record, results, tmp_path / "runs")
    for target in ("latency", "batch"):
        found = compare_all(results, tmp_path / "runs", record.baseline, target, **asked)  # type: ignore[arg-type]
        assert len(found) == 3
        for name, comparison in found.items():
            assert comparison == getattr(said.row(name), f"speedup_{target}")
    alone = compare_results(results, tmp_path / "runs", record.baseline, "openvino", "latency", **asked)  # type: ignore[arg-type]
    assert alone is not None
    assert alone.holm_k == 1
    assert compare_results(results, tmp_path, record.baseline, "openvino", "latency", **asked) is None  # type: ignore[arg-type]
