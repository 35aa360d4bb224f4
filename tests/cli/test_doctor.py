from __future__ import annotations

import json

import msgspec
import pytest

from accel import checkup
from accel.checkup import freeze, measure
from accel.checkup.freeze import Freeze, Proof, View
from accel.cli import proof
from accel.compilation._devices import Device
from tests.checkup.test_measure import NARROW, WIDE, against, measured
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
        "Give runtimes 2 threads here",
    ):
        assert words in said.out
    assert max(len(line) for line in said.out.splitlines()) <= 80


def test_doctor_lists_devices_that_run_and_those_that_do_not(accel_cli: Accel, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = "not in the installed build; another build has it: pip install onnxruntime-gpu"
    listed = (
        Device(runtime="onnxruntime", name="CPUExecutionProvider", by="onnxruntime"),
        Device(runtime="onnxruntime", name="CUDAExecutionProvider", by="onnxruntime:device=cuda", why=absent),
    )
    monkeypatch.setattr(checkup, "examine", lambda: msgspec.structs.replace(found(), devices=listed))
    said = accel_cli("doctor")
    assert "ok  onnxruntime CPUExecutionProvider: onnxruntime" in said.out
    assert "--  onnxruntime CUDA: not in the installed build" in said.out
    assert max(len(line) for line in said.out.splitlines()) <= 80


def test_doctor_fails_only_if_nothing_can_run(accel_cli: Accel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "examine", lambda: found(problem="not installed"))
    said = accel_cli("doctor")
    assert said.code == 3
    assert "No backend can run" in said.sentence


def seen(what: str, p99_s: float, waited: int, requests: int) -> View:
    line = (0.002,) * 30 + (1.5,) + (0.0,) * 5 + (0.002,) * 24
    return View(
        what=what,
        requests=requests,
        waited=waited,
        p50_s=0.002,
        p90_s=0.002,
        p95_s=0.002,
        p99_s=p99_s,
        max_s=1.5,
        line=line,
    )


PROOF = Proof(
    freeze=Freeze(),
    closed=seen("closed loop", 0.0021, 1, 9214),
    schedule=seen("from schedule", 1.30, 82, 1000),
    theory_p99_s=1.322,
    stalled_s=(1.5, 1.5),
)


def test_prove_says_what_each_view_saw_and_what_it_means(accel_cli: Accel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freeze, "prove", lambda tell: PROOF)
    said = accel_cli("doctor", "--prove")
    assert said.code == 0
    for words in (
        "p99 = 2.1 ms; your users waited 1.3 s",
        "1.32 s: measured 1.7 % off",
        "9,214 requests 1 took more than 20 ms",
        "come by themselves, 82 did",
    ):
        assert words in " ".join(said.out.split())
    assert max(len(line) for line in said.out.splitlines()) <= 80
    assert json.loads(accel_cli("doctor", "--prove", "--json").out)["closed"]["p99_s"] == 0.0021


def test_the_lines_are_as_high_as_the_latency_and_blank_where_nobody_asked() -> None:
    drawn = next(line for line in proof.lines(PROOF, unicode=False) if line.startswith("  closed loop   ."))
    assert drawn == f"  closed loop   {'.' * 30}@{' ' * 5}{'.' * 24}"


@pytest.mark.parametrize("options", [("--prove", "--measure"), ("--json",), ("--budget", "2m")])
def test_options_that_say_nothing_together_are_refused(accel_cli: Accel, options: tuple[str, ...]) -> None:
    said = accel_cli("doctor", *options)
    assert said.code == 2
    assert "--measure" in said.sentence


def test_measure_ends_with_the_smallest_difference_and_what_would_show_a_smaller(
    accel_cli: Accel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = measured(against(WIDE), against(NARROW, fresh=False))
    monkeypatch.setattr(measure, "measure", lambda budget_s, tell: whole)
    said = accel_cli("doctor", "--measure", "--budget", "2m")
    assert said.code == 0
    text = " ".join(said.out.split())
    for words in ("+12.3 ppm", "p99 - (too few readings)", "5 % in `quick`", "W3 spoke up", "there is no GPU", "W2:"):
        assert words in text
    assert max(len(line) for line in said.out.splitlines()) <= 80
    assert json.loads(accel_cli("doctor", "--measure", "--json").out)["runs"] == 60


def test_a_profile_without_enough_blocks_is_named(accel_cli: Accel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "measure", lambda budget_s, tell: measured(against(NARROW, fresh=False)))
    said = " ".join(accel_cli("doctor", "--measure").out.split())
    assert "So: 5 % in `quick`" in said
    assert "too short to tell for `shared`, `quiet`" in said


def test_races_that_were_too_short_say_so(accel_cli: Accel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "measure", lambda budget_s, tell: measured(canary=None))
    said = accel_cli("doctor", "--measure")
    assert "give more --budget" in said.out
    assert "no run had one" in said.out


def test_a_budget_for_measure_has_bounds(accel_cli: Accel) -> None:
    said = accel_cli("doctor", "--measure", "--budget", "1h")
    assert said.code == 2
    assert "between 2m and 10m" in said.sentence
