"""The study's folder: who may write, what is refused, what survives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from accel.errors import InputError
from accel.study.folder import StudyFolder


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="holds no study"):
        StudyFolder(tmp_path).create(resume=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["thesis.tex"]


def test_a_finished_study_is_not_overwritten_without_resume(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "out")
    folder.create(resume=False)
    folder.record_path.write_text("{}")
    (folder.runs / "screening-a.json").write_text("{}")
    with pytest.raises(InputError, match="--resume"):
        folder.create(resume=False)
    folder.create(resume=True)
    folder.begin_anew()
    assert folder.record_path.exists(), "what was measured is never forgotten"


def test_a_study_that_never_got_to_a_run_is_not_in_the_way(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "out")
    folder.create(resume=False)
    folder.record_path.write_text("{}")
    folder.create(resume=False)
    folder.begin_anew()
    assert not folder.record_path.exists()


def test_what_is_discarded_is_only_ones_own(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "out")
    folder.create(resume=False)
    folder.record_path.write_text("{}")
    (folder.root / "notes.txt").write_text("mine")
    folder.discard()
    assert [p.name for p in folder.root.iterdir()] == ["notes.txt"]
    (folder.root / "notes.txt").unlink()
    folder.root.rmdir()
    folder.create(resume=False)
    folder.discard()
    assert not folder.root.exists()


def test_a_log_that_tells_more_than_the_sentence_stays(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "out")
    folder.create(resume=False)
    (folder.log / "inspect.log").write_text("Traceback (most recent call last):\n  boom\n")
    folder.discard()
    assert (folder.log / "inspect.log").is_file()
    folder.create(resume=False)


def test_only_an_empty_folder_of_accels_own_goes_too(tmp_path: Path) -> None:
    first, second = (StudyFolder(tmp_path / "accel-results" / name) for name in ("a", "b"))
    first.create(resume=False)
    second.create(resume=False)
    first.discard()
    assert second.root.is_dir()
    second.discard()
    assert not (tmp_path / "accel-results").exists()
    assert tmp_path.is_dir()


def test_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("")
    with pytest.raises(InputError, match="must be a folder"):
        StudyFolder(path).create(resume=False)


def test_two_studies_on_one_folder(tmp_path: Path) -> None:
    """The lock belongs to a process and dies with it, so it is tried from another one."""
    folder = StudyFolder(tmp_path / "out")
    code = (
        "import sys; from pathlib import Path; from accel.study.folder import StudyFolder\n"
        "with StudyFolder(Path(sys.argv[1])).lock(): print('got it')"
    )
    command = [sys.executable, "-c", code, str(folder.root)]
    with folder.lock():
        second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Another study (process" in second.stderr
    after = subprocess.run(command, capture_output=True, text=True, check=True)
    assert after.stdout.strip() == "got it"


def test_time_spent_is_remembered(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "out")
    folder.create(resume=False)
    assert folder.spent_s() == 0.0
    folder.write_spent(12.5)
    assert StudyFolder(folder.root).spent_s() == 12.5


def test_what_is_no_study_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no study\.json"):
        StudyFolder(tmp_path).record()
    (tmp_path / "study.json").write_text('{"half":')
    with pytest.raises(InputError, match="can't be read"):
        StudyFolder(tmp_path).record()
