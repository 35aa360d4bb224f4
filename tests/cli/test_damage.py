"""A study whose files were damaged, or whose disk ran full: what is left is told, kept and completed."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from accel import result as results
from accel.study import profiles
from tests.cli.conftest import Accel, Said, matmul, samples

BRIEF = msgspec.structs.replace(
    profiles.PROFILES["quick"],
    blocks=1,
    confirmations=0,
    warmup_s=0.02,
    warmup_iterations=1,
    screen_s=0.1,
    tune_s=0.1,
    measure_s=0.1,
)
ARGUMENTS = ("--samples", "samples.npz", "--target", "batch", "--batch", "1", "--budget", "2m", "--out", "out")
BENCH = ("bench", "model.onnx", "--backend", "onnxruntime:threads=1", *ARGUMENTS)
RUN = "screening-onnxruntime-threads-1-batch"


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(profiles.PROFILES, "quick", BRIEF)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, its samples and a small finished study in `out`."""
    from accel.cli.main import run

    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setitem(profiles.PROFILES, "quick", BRIEF)
        matmul(folder / "model.onnx")
        samples(folder / "samples.npz")
        assert run(list(BENCH)) == 0
    return folder


@pytest.fixture
def study(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to damage, as the working folder; gives `out`."""
    shutil.copytree(finished, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy" / "out"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def is_one_sentence(said: Said, *words: str) -> None:
    assert "Traceback" not in said.out + said.err
    assert "should not" not in said.err
    assert said.sentence.startswith("accel: ")
    for word in words:
        assert word in said.sentence


@pytest.mark.slow
@pytest.mark.parametrize("damage", [Path.unlink, cut])
def test_a_report_without_one_trace_is_made_and_says_so(
    damage: Callable[[Path], None], study: Path, accel_cli: Accel
) -> None:
    damage(study / "runs" / f"{RUN}.npz")
    (study / "report.html").unlink()
    said = accel_cli("report", "out")
    assert said.code == 0, said.err
    page = (study / "report.html").read_text("utf-8")
    assert f"the trace of run <code>{RUN}</code>" in page
    assert "Traceback" not in said.err


@pytest.mark.slow
def test_a_damaged_result_is_named_and_nothing_else_is_touched(study: Path, accel_cli: Accel) -> None:
    cut(study / "runs" / f"{RUN}.json")
    before = {p: p.read_bytes() for p in study.rglob("*") if p.is_file() and p.name != ".lock"}
    for words in (("report", "out"), (*BENCH, "--resume")):
        said = accel_cli(*words)
        assert said.code == 2, said.err
        is_one_sentence(said, f"{RUN}.json", "can't be read", "--resume")
    assert {p: p.read_bytes() for p in before} == before


@pytest.mark.slow
def test_a_damaged_record_is_named(study: Path, accel_cli: Accel) -> None:
    cut(study / "study.json")
    for words in (("report", "out"), ("list", "out"), (*BENCH, "--resume")):
        said = accel_cli(*words)
        assert said.code == 2, said.err
        is_one_sentence(said, "study.json", "can't be read")
    assert len(list((study / "runs").glob("*.json"))) > 3


@pytest.mark.slow
@pytest.mark.parametrize("damage", [Path.unlink, cut])
def test_a_run_whose_trace_is_gone_is_made_again(damage: Callable[[Path], None], study: Path, accel_cli: Accel) -> None:
    whole = {p.name for p in (study / "runs").glob("*.npz")}
    damage(study / "runs" / "screening-onnxruntime-batch.npz")
    said = accel_cli(*BENCH, "--resume")
    assert said.code == 0, said.err
    assert whole <= {p.name for p in (study / "runs").glob("*.npz")}, "closer looks may come to it, nothing may go"
    assert "can't be read" not in (study / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_a_finished_study_is_neither_overwritten_nor_mixed_with_another(study: Path, accel_cli: Accel) -> None:
    record = (study / "study.json").read_bytes()
    said = accel_cli(*BENCH)
    assert said.code == 2
    is_one_sentence(said, "already holds a study", "--resume", "--out")
    shutil.copy("model.onnx", "other.onnx")
    said = accel_cli("bench", "other.onnx", *BENCH[2:], "--resume")
    assert said.code == 2
    is_one_sentence(said, "`model`", "`other`", "--out")
    assert (study / "study.json").read_bytes() == record


@pytest.mark.slow
def test_a_page_that_cannot_be_written(study: Path, accel_cli: Accel) -> None:
    said = accel_cli("report", "out", "--out", "/proc/page.html")
    assert said.code == 2
    is_one_sentence(said, "/proc/page.html", "Choose another file")


@pytest.mark.slow
def test_a_disk_that_runs_full_keeps_what_was_measured(
    place: Path, accel_cli: Accel, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, written = results.write_atomically, []

    def full(path: Path, data: bytes) -> None:
        if path.parent.name == "runs":
            written.append(path)
            if len(written) > 2:
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
        real(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(results, "write_atomically", full)
        said = accel_cli(*BENCH)
    assert said.code == 3, said.err
    is_one_sentence(said, "disk is full", "--resume")
    kept = {p.name: p.read_bytes() for p in (place / "out" / "runs").glob("*.json")}
    assert len(kept) == 2
    said = accel_cli(*BENCH, "--resume")
    assert said.code == 0, said.err
    assert {name: (place / "out" / "runs" / name).read_bytes() for name in kept} == kept
