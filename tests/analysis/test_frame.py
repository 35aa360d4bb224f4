from __future__ import annotations

from pathlib import Path

from accel.analysis.frame import COLUMNS, frame
from accel.analysis.reading import conclude
from accel.result import Result
from tests.synthetic import synthetic_study


def test_every_number_stands_once_with_its_interval(tmp_path: Path) -> None:
    record = synthetic_study(tmp_path, online=False, confirmations=0, measured_s=0.3)
    results = [Result.load(p) for p in sorted((tmp_path / "runs").glob("*.json"))]
    found = conclude(record, results, tmp_path / "runs")
    table = frame(found, results)
    assert tuple(table.columns) == COLUMNS
    assert not table.duplicated(["variant", "target", "metric"]).any()
    row = table[(table.variant == "openvino int8") & (table.target == "batch") & (table.metric == "speedup")].iloc[0]
    comparison = found.row("openvino int8").speedup_batch
    assert comparison is not None
    assert (row.value, row.low, row.high) == (comparison.ratio.value, comparison.ratio.low, comparison.ratio.high)
    assert row.note == "FASTER"
    assert (row.evidence, row.validity) == ("blocks", "valid")


def test_a_variant_without_numbers_keeps_a_row_with_its_reason(tmp_path: Path) -> None:
    record = synthetic_study(tmp_path, blocks=0)
    results = [Result.load(p) for p in sorted((tmp_path / "runs").glob("*.json"))]
    table = frame(conclude(record, results, tmp_path / "runs"))
    crashed = table[table.variant == "inductor int8"]
    assert len(crashed) == 1
    assert "SIGSEGV" in crashed.iloc[0].note
