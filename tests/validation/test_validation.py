"""Every experiment at its quick size: all its criteria hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.validation import catalogue, table
from tests.validation.record import Record

REPORTS = Path(__file__).parents[2] / "reports"


@pytest.mark.parametrize("name", catalogue.modules())
def test_the_quick_experiment_passes(name: str) -> None:
    rows = catalogue.load(name).quick()
    assert rows, f"{name} says nothing"
    assert {row.experiment for row in rows} == {catalogue.word(name)}
    failed = [f"{row.what}: {row.measured} (must: {row.criterion})" for row in rows if not (row.passed or row.not_run)]
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("name", catalogue.modules())
def test_an_experiment_says_what_it_does(name: str) -> None:
    module = catalogue.load(name)
    assert module.__doc__
    assert callable(module.quick)


@pytest.mark.skipif(not (REPORTS / "validation.json").exists(), reason="not measured yet")
def test_the_committed_table_is_made_from_the_committed_rows() -> None:
    made = table.markdown(Record.load(REPORTS / "validation.json"))
    assert made == (REPORTS / "VALIDATION.md").read_text("utf-8")
