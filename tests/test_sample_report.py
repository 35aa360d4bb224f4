"""The sample report in `reports/sample` is what its raw Results say, to the byte, on a machine without any runtime."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from accel.result import Result

ROOT = Path(__file__).parents[1]
SAMPLES = sorted(p.parent for p in (ROOT / "reports" / "sample").glob("*/study.json"))

WITHOUT_RUNTIMES = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "onnxruntime", "openvino", "nncf", "transformers"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse())
import accel
accel.write_report([sys.argv[1]], sys.argv[2])
"""


def test_there_is_a_sample() -> None:
    assert SAMPLES


@pytest.mark.parametrize("folder", SAMPLES, ids=lambda p: p.name)
def test_it_rebuilds_byte_for_byte_without_torch_and_runtimes(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    subprocess.run([sys.executable, "-c", WITHOUT_RUNTIMES, str(folder), str(page)], check=True, cwd=tmp_path)
    made, kept = page.read_bytes(), (folder / "report.html").read_bytes()
    # One place, not a difference of megabytes, which takes longer to make than everything else here.
    at = next((i for i, (a, b) in enumerate(zip(made, kept, strict=False)) if a != b), min(len(made), len(kept)))
    assert at == len(made) == len(kept), f"from byte {at}: {made[at - 80 : at + 80]!r} for {kept[at - 80 : at + 80]!r}"


@pytest.mark.parametrize("folder", SAMPLES, ids=lambda p: p.name)
def test_its_raw_evidence_is_whole(folder: Path) -> None:
    results = [Result.load(path) for path in sorted((folder / "runs").glob("*.json"))]
    assert len(results) > 20
    for result in results:
        if result.trace is not None:
            data = (folder / "runs" / result.trace).read_bytes()
            assert hashlib.sha256(data).hexdigest() == result.trace_sha256, result.run_id


@pytest.mark.parametrize("folder", SAMPLES, ids=lambda p: p.name)
def test_a_changed_result_changes_the_page(folder: Path, tmp_path: Path) -> None:
    """So that the comparison above can fail."""
    import shutil

    import accel

    copy = tmp_path / "study"
    shutil.copytree(folder, copy)
    path = next(p for p in sorted((copy / "runs").glob("screening-*.json")) if Result.load(p).quality is not None)
    result = Result.load(path)
    quality = msgspec.structs.replace(result.quality, value=0.5)  # type: ignore[arg-type]
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(result, quality=quality)))
    accel.write_report([copy], tmp_path / "report.html")
    assert (tmp_path / "report.html").read_bytes() != (folder / "report.html").read_bytes()
