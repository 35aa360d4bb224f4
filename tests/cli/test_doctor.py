from __future__ import annotations

import pytest

from accel import checkup
from tests.cli.conftest import Accel
from tests.test_checkup import found


def test_doctor_prints_all_of_it_within_80_columns(accel_cli: Accel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "examine", found)
    said = accel_cli("doctor")
    assert said.code == 0
    for words in (
        "ok  onnxruntime",
        "2 of 8 processors",
        "quota of 2 cores",
        "8 GB",
        "W2: cpu.stat",
        "Nothing is missing",
    ):
        assert words in said.out
    assert max(len(line) for line in said.out.splitlines()) <= 80


def test_doctor_fails_only_if_nothing_can_run(accel_cli: Accel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "examine", lambda: found(problem="not installed"))
    said = accel_cli("doctor")
    assert said.code == 3
    assert "No backend can run" in said.sentence
