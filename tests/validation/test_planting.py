"""Planted bugs really are in the code that runs, here and in children, and a bug that fits no more is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.validation import bugs, v18_mutations
from tests.validation.planting import Bug, Edit, StaleError, edited, plant

_ROOT = Path(__file__).parents[2]


def _say(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=_ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_the_bug_is_in_the_module_and_in_that_of_a_child() -> None:
    old = (_ROOT / "accel" / "units.py").read_text("utf-8").splitlines()[0]
    look = "import accel.units; print(accel.units.__doc__[:9])"
    code = (
        "import subprocess, sys\nfrom tests.validation.planting import Edit, plant\n"
        f'plant([Edit(\'accel.units\', {old!r}, \'"""Planted. """\')])\n'
        f"{look}\nsys.stdout.flush()\nsubprocess.run([sys.executable, '-c', {look!r}], check=True)"
    )
    assert _say(code).split() == ["Planted.", "Planted."]


def test_what_is_imported_already_can_not_be_planted_into() -> None:
    import accel.errors  # noqa: F401

    with pytest.raises(RuntimeError, match="already imported"):
        plant([Edit("accel.errors", "a", "b")])


def test_a_bug_that_fits_twice_or_never_is_stale() -> None:
    with pytest.raises(StaleError, match="stands 2 times"):
        edited("aa", [Edit("m", "a", "b")])
    with pytest.raises(StaleError, match="stands 0 times"):
        edited("aa", [Edit("m", "x", "b")])


def test_a_harmless_change_is_noticed_by_nobody() -> None:
    harmless = Bug(
        name="harmless",
        what="a comment",
        rule="none",
        edits=(Edit("accel.analysis.percentiles", "ALPHA = 0.05", "ALPHA = 0.05  # as ever"),),
        red=("V6",),
    )
    (found,) = v18_mutations._noticed([harmless])
    assert found.by == ""
    assert found.said == ""


def test_a_bug_whose_experiment_is_missing_is_not_noticed() -> None:
    (found,) = v18_mutations._noticed([Bug(name="x", what="x", rule="x", edits=(), red=("V99",))])
    assert (found.by, found.said) == ("", "V99 isn't there")


def test_names_of_bugs_are_unique_and_all_quick_ones_are_there() -> None:
    names = [b.name for b in bugs.ALL]
    assert len(names) == len(set(names))
    assert set(v18_mutations.QUICK) <= set(names)
