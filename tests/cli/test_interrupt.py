"""Ctrl-C: the study ends with the table and the page of what there is, leaves no process and can go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.study.processes import children_of

ROOT = Path(__file__).parents[2]
BENCH = ("bench", "model.onnx", "--samples", "samples.npz", "--target", "batch", "--backend", "onnxruntime:threads=1")
CODE = """
import signal
import sys
import msgspec
# A shell starts background jobs with Ctrl-C ignored, and what they start inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)
from accel.study import profiles
profiles.PROFILES["quick"] = msgspec.structs.replace(
    profiles.PROFILES["quick"], blocks=2, confirmations=0, warmup_s=0.05, screen_s=0.3, tune_s=0.2, measure_s=0.3,
    probe_gaps_s=(),
)
from accel.cli.main import main
main()
"""


def start(place: Path, *more: str) -> subprocess.Popen[str]:
    words = [*BENCH, "--batch", "1", "--batch", "8", "--budget", "1m", "--out", "out", *more]
    return subprocess.Popen(
        [sys.executable, "-c", CODE, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        cwd=place,
        # A cache of its own, or what the test before it found out of the same model would be taken from there.
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(place / "cache")},
    )


def interrupt(process: subprocess.Popen[str], files: str, count: int, place: Path) -> tuple[str, str]:
    """Send SIGINT as soon as `count` files of that name are there; gives stdout and stderr."""
    deadline = time.monotonic() + 60
    while len(list(place.glob(files))) < count and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=60)


@pytest.mark.slow
def test_ctrl_c_ends_with_table_and_page_and_resume_completes(place: Path) -> None:
    out = place / "out"
    process = start(place)
    text, told = interrupt(process, "out/runs/*.json", 3, place)
    assert process.returncode == 130, told
    assert "Traceback" not in text + told
    assert "onnxruntime" in text
    assert "items/s" in text
    assert told.strip().splitlines()[-1].startswith("accel: Interrupted.")
    assert "--resume" in told
    assert (out / "report.html").stat().st_size > 10_000
    assert json.loads((out / "study.json").read_text())["interrupted"] is True
    assert children_of(place / "out") == []
    kept = {p.name: p.read_bytes() for p in (out / "runs").glob("*.json")}
    assert len(kept) >= 3
    again = start(place, "--resume")
    text, told = again.communicate(timeout=200)
    assert again.returncode == 0, told
    assert {name: (out / "runs" / name).read_bytes() for name in kept} == kept
    assert json.loads((out / "study.json").read_text())["interrupted"] is False
    assert len(list((out / "runs").glob("blocks-1-*.json"))) > 0


@pytest.mark.slow
def test_ctrl_c_before_anything_was_measured_is_one_line(place: Path) -> None:
    process = start(place)
    _, told = interrupt(process, "out/log/inspect.log", 1, place)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert told.strip().splitlines()[-1].startswith("accel: Interrupted.")
    assert children_of(place / "out") == []
    again = start(place, "--resume")
    _, told = again.communicate(timeout=200)
    assert again.returncode == 0, told
