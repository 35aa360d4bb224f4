from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from accel.analysis.conclusion import Conclusion, StudyRecord
from accel.analysis.reading import conclude
from accel.plugins import Named
from accel.result import Quality, Result
from tests.synthetic import BASELINE, Made, synthetic_study, usual_variants, variant

STATIC = Named("quantize_static")


def read(folder: Path, record: StudyRecord) -> Conclusion:
    return conclude(record, results_of(folder), folder / "runs")


def results_of(folder: Path) -> list[Result]:
    return [Result.load(p) for p in sorted((folder / "runs").glob("*.json"))]


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StudyRecord, Conclusion]:
    folder = tmp_path_factory.mktemp("usual")
    record = synthetic_study(folder)
    return folder, record, read(folder, record)


def made(name: str, seconds: float, **more: Any) -> Made:
    return Made(variant=variant(name, "openvino"), fixed_s=0.0, item_s=seconds, **more)


def test_the_fastest_that_keeps_accuracy_wins_both_ways(usual: tuple[Path, StudyRecord, Conclusion]) -> None:
    found = usual[2]
    for answer in (found.batch, found.online):
        assert answer is not None
        assert (answer.winner, answer.keeps_baseline, answer.evidence) == ("openvino int8", False, "confirmation")
        assert answer.speedup is not None
        assert answer.speedup.verdict == "FASTER"
        assert "`openvino int8`" in answer.sentence
        assert "--profile shared" in answer.sentence
        assert "1,100 samples would settle it" in answer.sentence
    assert found.headline.startswith("Use openvino int8: ")
    assert found.validity == "valid"
    assert found.badge.startswith("VALID · smallest difference shown here: ")


def test_batch_speed_up_holds_the_truth(usual: tuple[Path, StudyRecord, Conclusion]) -> None:
    truths = {m.variant.name: BASELINE.seconds(16) / m.seconds(16) for m in usual_variants()}
    for name in ("openvino int8", "openvino", "onnxruntime int8"):
        ratio = usual[2].row(name).speedup_batch
        assert ratio is not None
        assert ratio.ratio.low is not None
        assert ratio.ratio.high is not None
        assert ratio.ratio.low * 0.995 <= truths[name] <= ratio.ratio.high * 1.005


def test_each_row_says_why_it_is_not_in_the_race(usual: tuple[Path, StudyRecord, Conclusion]) -> None:
    found = usual[2]
    assert found.counts == {"tried": 9, "ok": 6, "refused": 1, "wrong": 1, "failed": 1, "skipped": 1}
    assert found.row("onnxruntime int8 distribution").status == "refused"
    assert "SIGSEGV" in found.row("inductor int8").reason
    assert "Segmentation fault" in found.row("inductor int8").log_tail
    assert found.row("openvino f16").status == "wrong"
    assert found.row("torchao int8").next_step == "pip install torchao"
    slow = found.row("onnxruntime dynamic int8").speedup_latency
    assert slow is not None
    assert (slow.verdict, slow.evidence) == ("SLOWER", "screening")


def test_baseline_is_measured_but_not_compared(usual: tuple[Path, StudyRecord, Conclusion]) -> None:
    base = usual[2].row("original")
    assert base.is_baseline
    assert base.p50 is not None
    assert base.p50.value == pytest.approx(BASELINE.seconds(1), rel=0.03)
    assert base.throughput is not None
    assert base.throughput.value == pytest.approx(16 / BASELINE.seconds(16), rel=0.03)
    assert base.p99 is None
    assert base.speedup_batch is None


def test_throughput_by_size_follows_the_model(usual: tuple[Path, StudyRecord, Conclusion]) -> None:
    row, truth = usual[2].row("openvino int8"), usual_variants()[2]
    assert sorted(row.throughput_by_size) == [1, 2, 4, 8, 16, 32]
    for size, estimate in row.throughput_by_size.items():
        assert estimate.value == pytest.approx(size / truth.seconds(size), rel=0.05)
        assert row.latency_by_size[size].value == pytest.approx(truth.seconds(size), rel=0.05)


def test_waterfall_multiplies_to_the_online_claim(usual: tuple[Path, StudyRecord, Conclusion]) -> None:
    steps = usual[2].waterfall
    assert [s.strategy for s in steps] == ["original", "compilation", "compression"]
    assert [s.variant for s in steps] == ["original", "openvino", "openvino int8"]
    online = usual[2].row("openvino int8").online
    assert online is not None
    assert steps[-1].value == online.rate.value


def test_waterfall_of_a_batch_study_ends_at_its_throughput(tmp_path: Path) -> None:
    record = synthetic_study(tmp_path, online=False)
    found = read(tmp_path, msgspec.structs.replace(record, target="batch"))
    assert found.online is None
    steps = found.waterfall
    assert [s.strategy for s in steps] == ["original", "compilation", "compression", "batching"]
    throughput = found.row("openvino int8").throughput
    assert throughput is not None
    assert steps[-1].value == throughput.value
    product = math.prod(s.ratio.value for s in steps[1:] if s.ratio is not None)
    assert product == pytest.approx(steps[-1].value / steps[0].value, rel=0.03)


def test_the_same_files_give_the_same_bytes(usual: tuple[Path, StudyRecord, Conclusion]) -> None:
    folder, record, found = usual
    again = conclude(record, results_of(folder)[::-1], folder / "runs")
    assert msgspec.json.encode(again) == msgspec.json.encode(found)


def test_nothing_faster_keeps_the_original(tmp_path: Path) -> None:
    found = read(tmp_path, synthetic_study(tmp_path, nothing_faster=True))
    assert found.batch is not None
    assert found.online is not None
    assert (found.batch.winner, found.batch.keeps_baseline, found.batch.speedup) == ("original", True, None)
    assert found.online.keeps_baseline
    assert found.headline == "Keep your model: nothing was shown to be faster."
    assert found.waterfall == ()


def test_an_identical_variant_is_not_called_faster(tmp_path: Path) -> None:
    twin = made("twin", BASELINE.item_s)
    baseline = msgspec.structs.replace(BASELINE, fixed_s=0.0)
    wrong = 0
    for seed in range(8):
        folder = tmp_path / str(seed)
        record = synthetic_study(folder, seed=seed, variants=[twin], baseline=baseline, online=False, measured_s=0.3)
        row = read(folder, record).row("twin")
        assert row.speedup_batch is not None
        wrong += row.speedup_batch.verdict not in ("EQUIVALENT", "INCONCLUSIVE")
    assert wrong == 0


def test_exactly_twice_as_fast_is_found_and_held(tmp_path: Path) -> None:
    twice = made("twice", BASELINE.item_s / 2)
    baseline = msgspec.structs.replace(BASELINE, fixed_s=0.0)
    held = 0
    for seed in range(10):
        folder = tmp_path / str(seed)
        record = synthetic_study(
            folder, seed=seed, variants=[twice], baseline=baseline, online=False, measured_s=0.3, noise=0.02
        )
        row = read(folder, record).row("twice")
        assert row.speedup_latency is not None
        assert row.speedup_latency.verdict == "FASTER"
        low, high = row.speedup_latency.ratio.low, row.speedup_latency.ratio.high
        assert low is not None
        assert high is not None
        held += low <= 2.0 <= high
    assert held >= 8


def _with(folder: Path, name: str, **fields: Any) -> list[Result]:
    return [
        msgspec.structs.replace(r, **fields) if r.variant.name == name and r.phase == "screening" else r
        for r in results_of(folder)
    ]


def test_a_refused_variant_cannot_win_however_fast(usual: tuple[Path, StudyRecord, Conclusion]) -> None:
    folder, record, _ = usual
    given = next(r.quality for r in results_of(folder) if r.variant.name == "openvino int8" and r.quality)
    failing = msgspec.structs.replace(given, outcome="fails", reason="accuracy fell from 0.984 to 0.098")
    found = conclude(record, _with(folder, "openvino int8", quality=failing), folder / "runs")
    assert found.row("openvino int8").status == "refused"
    assert found.row("openvino int8").speedup_batch is not None
    assert found.batch is not None
    assert found.batch.winner == "onnxruntime int8"
    assert any("wrong" in f.what and "openvino int8" in f.what for f in found.findings)


def test_an_unresolved_variant_beyond_the_limit_cannot_win(usual: tuple[Path, StudyRecord, Conclusion]) -> None:
    folder, record, _ = usual
    given = next(r.quality for r in results_of(folder) if r.variant.name == "openvino int8" and r.quality)
    beyond = msgspec.structs.replace(given, outcome="unresolved", drop=0.012)
    found = conclude(record, _with(folder, "openvino int8", quality=beyond), folder / "runs")
    assert found.batch is not None
    assert found.batch.winner == "onnxruntime int8"


def test_an_unscored_variant_cannot_win(usual: tuple[Path, StudyRecord, Conclusion]) -> None:
    folder, record, _ = usual
    for unknown in (None, Quality(outcome="unmeasured", rule="none", reason="the metric failed")):
        found = conclude(record, _with(folder, "openvino int8", quality=unknown), folder / "runs")
        assert found.batch is not None
        assert found.batch.winner == "onnxruntime int8"


def test_a_variant_that_crashed_later_is_out(usual: tuple[Path, StudyRecord, Conclusion]) -> None:
    folder, record, _ = usual
    results = results_of(folder)
    crash = msgspec.structs.replace(
        next(r for r in results if r.variant.name == "openvino int8" and r.phase == "blocks"),
        run_id="later-openvino-int8",
        status="failed",
        reason="was killed for using more than 3 GB while measuring",
        trace=None,
    )
    found = conclude(record, [*results, crash], folder / "runs")
    assert found.row("openvino int8").status == "failed"
    assert found.batch is not None
    assert found.batch.winner == "onnxruntime int8"


def test_ties_are_named_and_the_settled_one_is_preferred(tmp_path: Path) -> None:
    fast = Made(variant=variant("fast", "openvino", STATIC), fixed_s=0.0, item_s=0.001, unresolved=True)
    same = Made(variant=variant("same", "onnxruntime"), fixed_s=0.0, item_s=0.00101)
    record = synthetic_study(tmp_path, variants=[fast, same], online=False, confirmations=0, measured_s=0.3)
    found = read(tmp_path, record).batch
    assert found is not None
    assert found.winner == "same"
    assert "Tied with `fast`" in found.sentence


def test_a_missing_or_broken_trace_is_a_note(tmp_path: Path) -> None:
    record = synthetic_study(tmp_path, blocks=0)
    results = results_of(tmp_path)
    lost = next(r for r in results if r.variant.name == "openvino" and r.target == "batch")
    broken = next(r for r in results if r.variant.name == "onnxruntime" and r.target == "batch")
    (tmp_path / "runs" / str(lost.trace)).unlink()
    (tmp_path / "runs" / str(broken.trace)).write_bytes(b"not a zip")
    found = read(tmp_path, record)
    for name in ("openvino", "onnxruntime"):
        assert found.row(name).throughput is None
        assert found.row(name).p50 is not None
        assert "can't be read" in found.row(name).notes[0]


def test_a_trace_outside_the_folder_is_not_opened(tmp_path: Path) -> None:
    record = synthetic_study(tmp_path, blocks=0)
    results = results_of(tmp_path)
    first = next(r for r in results if r.trace is not None)
    (tmp_path / "runs" / str(first.trace)).rename(tmp_path / "outside.npz")
    moved = [msgspec.structs.replace(r, trace="../outside.npz") if r is first else r for r in results]
    assert conclude(record, moved, tmp_path / "runs").row(first.variant.name).notes


def test_screening_alone_is_labelled_so(tmp_path: Path) -> None:
    found = read(tmp_path, synthetic_study(tmp_path, blocks=0))
    assert found.batch is not None
    assert found.batch.evidence == "screening"
    assert "first impression" in found.batch.sentence
    assert found.badge == "SCREENING · nothing proved yet"
    assert found.headline.startswith("At first look")
    assert found.smallest_difference is None
    assert found.online is not None
    assert "No server trials were made" in found.online.sentence


def test_without_a_limit_four_times_the_baseline_is_assumed(tmp_path: Path) -> None:
    found = read(tmp_path, synthetic_study(tmp_path, blocks=0, slo_s=None))
    assert found.record.slo_s == pytest.approx(4 * BASELINE.seconds(1), rel=0.05)
    assert found.record.slo_assumed


def test_synthetic_inputs_and_random_weights_are_named(tmp_path: Path) -> None:
    found = read(tmp_path / "a", synthetic_study(tmp_path / "a", blocks=0, synthetic=True))
    assert "Speed only: inputs are synthetic, accuracy unknown." in found.subline
    assert found.batch is not None
    assert "synthetic" in found.batch.sentence
    other = read(tmp_path / "b", synthetic_study(tmp_path / "b", blocks=0, random_weights=True))
    assert other.batch is not None
    assert "random" in other.batch.sentence
    assert "unchanged" not in other.headline


def test_a_disturbed_machine_decides_nothing(tmp_path: Path) -> None:
    record = synthetic_study(tmp_path, unstable_blocks=4, confirmations=0, online=False, measured_s=0.3)
    found = read(tmp_path, record)
    comparison = found.row("openvino int8").speedup_batch
    assert comparison is not None
    assert (comparison.verdict, comparison.ratio.validity) == ("INCONCLUSIVE", "unstable")
    assert found.validity == "unstable"
    assert found.badge.startswith("UNSTABLE")
    assert "too disturbed" in found.headline


def test_what_was_only_screened_cannot_overtake_what_was_raced(tmp_path: Path) -> None:
    record = synthetic_study(tmp_path, unstable_blocks=4, confirmations=0, online=False, measured_s=0.3)
    found = read(tmp_path, record)
    screened = found.row("onnxruntime").speedup_batch
    assert screened is not None
    assert (screened.verdict, screened.evidence) == ("FASTER", "screening")
    assert found.batch is not None
    assert found.batch.keeps_baseline


@pytest.mark.parametrize(("item_s", "verdict"), [(0.75e-3, "INCONCLUSIVE"), (0.25e-3, "FASTER")])
def test_who_was_not_tuned_has_to_beat_the_originals_best(tmp_path: Path, item_s: float, verdict: str) -> None:
    # Batches carry the original: 8 items take 9 ms, 32 take 12 ms. At 8, where both were screened, both are faster.
    base = msgspec.structs.replace(BASELINE, fixed_s=8e-3, item_s=0.125e-3)
    record = synthetic_study(
        tmp_path, blocks=1, confirmations=0, online=False, baseline=base, variants=[made("late", item_s)]
    )
    results = [r for r in results_of(tmp_path) if r.variant.name != "late" or r.phase == "screening"]
    found = conclude(record, results, tmp_path / "runs")
    row, original = found.row("late"), found.row("original")
    assert row.speedup_batch is not None
    assert row.throughput is not None
    assert row.speedup_batch.verdict == verdict
    best = max(rate.value for rate in original.throughput_by_size.values())
    assert row.speedup_batch.ratio.value == pytest.approx(row.throughput.value / best, rel=0.05)
    assert found.batch is not None
    assert found.batch.keeps_baseline == (verdict != "FASTER")
    assert ("batch size was not looked for" in row.speedup_batch.reason) == (verdict != "FASTER")


def test_a_study_with_nothing_in_it_still_reads(tmp_path: Path) -> None:
    record = synthetic_study(tmp_path, blocks=0)
    found = conclude(record, [], tmp_path / "runs")
    assert {r.status for r in found.rows} == {"skipped"}
    assert found.batch is not None
    assert found.batch.evidence == "none"
    assert found.smallest_difference is None


def test_a_baseline_that_crashes_is_said(tmp_path: Path) -> None:
    record = synthetic_study(
        tmp_path, blocks=0, baseline=msgspec.structs.replace(BASELINE, status="failed", reason="crashed")
    )
    found = read(tmp_path, record)
    assert "could not be measured" in found.headline
    assert found.row("openvino").p50 is not None


def test_the_winner_may_be_the_only_one_within_the_limit(tmp_path: Path) -> None:
    record = synthetic_study(tmp_path, slo_s=0.0045)
    found = read(tmp_path, record)
    assert found.online is not None
    assert not found.online.keeps_baseline
    base = found.row("original").online
    assert base is not None
    assert base.rate.value == 0
    assert "met the limit at no rate tried" in found.online.sentence


def test_findings_are_few_ordered_and_say_what_to_do(usual: tuple[Path, StudyRecord, Conclusion]) -> None:
    found = usual[2].findings
    assert len(found) <= 8
    assert [f.weight for f in found] == sorted((f.weight for f in found), reverse=True)
    text = " ".join(f.what for f in found)
    assert "0.984 → 0.098" in text
    assert "449 samples can't rule out a 1-point drop" in text
    assert "slower than the original" in text
    assert any(f.command == "pip install torchao" for f in found)
    assert all(f.what.endswith(".") and (not f.why or f.why.endswith(".")) for f in found)


def test_who_was_not_tried_says_why_the_study_did_not(tmp_path: Path) -> None:
    record = synthetic_study(tmp_path, blocks=0)
    name = next(v.name for v in record.variants if v.name != record.baseline)
    record = msgspec.structs.replace(record, not_bought=(f"`{name}` was not tried: it is dear",))
    found = conclude(record, [], tmp_path / "runs")
    assert found.row(name).reason == "it is dear"
    assert found.row(record.baseline).reason == "it was not measured before the study ended"
