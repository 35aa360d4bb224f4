"""`accel compare` on the command line: exit codes, what goes to which stream, and one sentence for bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

import accel
from accel.analysis.changes import Changes
from accel.analysis.gate import Judgement, Measured, exact, overall, parse_limit, unsettled
from accel.study.compare import StudyComparison
from tests.cli.conftest import Accel
from tests.synthetic import synthetic_study

NOTHING = Changes(moved=(), accuracy=(), turned=(), winners=(), appeared=(), vanished=(), warnings=())
SIZE = parse_limit("size=+10%")
NAMES = ("openvino", "openvino int8")
GOOD = exact(SIZE, 100.0, 100.0, target="both", names=NAMES)
BAD = exact(SIZE, 100.0, 150.0, target="both", names=NAMES)
OPEN = unsettled(parse_limit("p99=+5%"), "it can't run here", target="both", names=NAMES, settle="Install openvino.")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command handed to the API; `judgements` is what the gate came to."""
    kept: dict[str, Any] = {"judgements": ()}

    def compare(a: str, b: str, *, progress: Any, **given: Any) -> StudyComparison:
        kept.update(given, a=a, b=b)
        progress("block 1: p99 +1.0 %")
        judgements: tuple[Judgement, ...] = kept["judgements"]
        return StudyComparison(
            old=a,
            new=b,
            changes=NOTHING,
            judgements=judgements,
            outcome=overall(judgements) if judgements else None,
            strict=given["strict"],
        )

    monkeypatch.setitem(vars(accel), "compare", compare)
    return kept


def test_the_command_passes_on_what_was_said(accel_cli: Accel, asked: dict[str, Any]) -> None:
    said = accel_cli(
        "compare", "old/", "new/", "--fail-if", "p99=+5%", "--fail-if", "throughput=-3%", "--budget", "90s"
    )
    assert said.code == 0
    assert (asked["a"], asked["b"]) == ("old/", "new/")
    assert asked["fail_if"] == ("p99=+5%", "throughput=-3%")
    assert asked["budget"] == "90s"
    assert (asked["strict"], asked["rerun"], asked["trust_file"], asked["out"]) == (False, True, False, None)
    assert "block 1" in said.err


@pytest.mark.parametrize(
    ("judgements", "strict", "code"),
    [
        ((GOOD,), False, 0),
        ((GOOD, OPEN), False, 0),
        ((GOOD, OPEN), True, 1),
        ((GOOD, OPEN, BAD), False, 1),
        ((), True, 0),
    ],
)
def test_the_exit_code_is_the_gates(
    accel_cli: Accel, asked: dict[str, Any], judgements: tuple[Judgement, ...], strict: bool, code: int
) -> None:
    asked["judgements"] = judgements
    said = accel_cli("compare", "old/", "new/", *(["--strict"] if strict else []))
    assert said.code == code
    if code:
        assert said.sentence.startswith("accel: The gate ")
    else:
        assert "accel:" not in said.err


def test_the_text_says_what_would_settle_it(accel_cli: Accel, asked: dict[str, Any]) -> None:
    asked["judgements"] = (GOOD, OPEN)
    said = accel_cli("compare", "old/", "new/")
    assert "Gate: CAN'T TELL" in said.out
    assert "PASS" in said.out
    assert "openvino → openvino int8" in said.out
    assert "Install openvino." in said.out
    assert all(len(line) <= 100 for line in said.out.splitlines())


def test_json_is_all_there_is_on_stdout_even_if_the_gate_fails(accel_cli: Accel, asked: dict[str, Any]) -> None:
    asked["judgements"] = (BAD,)
    said = accel_cli("compare", "old/", "new/", "--json")
    assert said.code == 1
    assert json.loads(said.out)["outcome"] == "fails"
    assert msgspec.convert(json.loads(said.out)["judgements"][0]["measured"], Measured) == BAD.measured


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--fail-if", "p99"], "in quotes"),
        (["--fail-if", "p99=-5%"], "gets worse when it grows"),
        (["--fail-if", "accuracy=-1%"], "percentage points"),
        (["--fail-if", "thruput=-3%"], "`throughput`"),
        (["--budget", "soon"], "--budget"),
        (["--fail-on", "p99=+5%"], "--fail-if"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_read(
    accel_cli: Accel, asked: dict[str, Any], words: list[str], said: str
) -> None:
    found = accel_cli("compare", "old/", "new/", *words)
    assert found.code == 2
    assert said in found.sentence
    assert "a" not in asked
    assert found.err.count("\n") == 1


def test_folders_that_are_no_studies_are_2(accel_cli: Accel, tmp_path: Path) -> None:
    found = accel_cli("compare", tmp_path, tmp_path / "new")
    assert found.code == 2
    assert "holds no study" in found.sentence
    assert accel_cli("compare", tmp_path).code == 2


def test_two_stored_studies_are_compared_for_real(accel_cli: Accel, tmp_path: Path) -> None:
    for name, seed in (("old", 0), ("new", 3)):
        synthetic_study(tmp_path / name, seed=seed, online=False, confirmations=0)
    found = accel_cli("compare", tmp_path / "old", tmp_path / "new")
    assert found.code == 0
    assert "information only" in found.out
    assert "Recommended for batch: still openvino int8" in found.out
    gate = accel_cli("compare", tmp_path / "old", tmp_path / "new", "--fail-if", "p99=+5%")
    assert gate.code == 2
    assert "keeps no artefact" in gate.sentence
