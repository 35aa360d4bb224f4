"""`reports/METHOD.md` says what the code does: its tables are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from accel import plugins
from accel.analysis.comparison import MIN_EFFECTS
from accel.compression._calibration import FEW
from accel.measurement.noise import TABLE
from accel.report.quiet import WITNESSES
from accel.rescue.choice import ENOUGH_KEPT
from accel.samples.split import split
from accel.study.profiles import PROFILES
from tests.validation import bugs, catalogue

TEXT = (Path(__file__).parents[1] / "reports" / "METHOD.md").read_text("utf-8")
_SHARES = {"W1", "W2", "W3", "W5", "W6", "W10"}


def _limit(witness: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{100 * value:g} %" if witness in _SHARES else f"{value:g}"


def row_of(witness: str) -> str:
    """The line of the table of witnesses, as it has to stand in the document."""
    limits = TABLE[witness]
    cells = [_limit(witness, v) for v in (limits.warn, limits.unstable, limits.invalid)]
    return f"| {witness} | {WITNESSES[witness][1]} | {' | '.join(cells)} |"


@pytest.mark.parametrize("witness", TABLE)
def test_the_table_of_witnesses_is_the_one_that_decides(witness: str) -> None:
    assert row_of(witness) in TEXT


@pytest.mark.parametrize("name", PROFILES)
def test_the_table_of_profiles_is_the_one_that_runs(name: str) -> None:
    one = PROFILES[name]
    line = next(line for line in TEXT.splitlines() if line.startswith("|") and f"`{name}`" in line)
    blocks = f"{one.blocks}" if one.blocks == one.most_blocks else f"{one.blocks} to {one.most_blocks}"
    assert f"| {blocks} | {one.confirmations} |" in line
    assert f"| {one.measure_s:g} s |" in line
    assert line.endswith(f"| {100 * MIN_EFFECTS[name]:g} % | {100 * one.resolution:g} % |")


def test_the_table_of_techniques_names_every_one_that_is_there() -> None:
    table = TEXT.partition("## Compression")[2].partition("\n\n")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == sorted(plugins.names("compression"))


def test_the_parts_of_the_samples_are_as_large_as_it_says() -> None:
    parts = split(100_000, seed=0)
    assert (len(parts.calibration), len(parts.validation)) == (300, 1000)
    assert "(15 %, at most 300)" in TEXT
    assert "(15 %, at most 1000)" in TEXT
    assert f"Fewer than {FEW} calibration items" in TEXT
    assert f"{100 * ENOUGH_KEPT:.0f} % of the time that 8 bits had saved" in TEXT


def test_every_experiment_that_is_named_is_there_and_every_one_is_named() -> None:
    there = {catalogue.word(name) for name in catalogue.modules()}
    table = TEXT.partition("## How this is known")[2].partition("\n## ")[0]
    named = {f"V{n}" for n in re.findall(r"\bV(\d+)\b", table)}
    assert named == there


def test_every_planted_bug_names_experiments_that_are_there() -> None:
    there = {catalogue.word(name) for name in catalogue.modules()}
    assert {word.partition(":")[0] for bug in bugs.ALL for word in bug.red} <= there
