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
    with pytest.raises(InputError, match="--resume"):
        folder.create(resume=False)
    folder.create(resume=True)


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
