"""`accel bench --endpoint`: which options go together, and one sentence for each wrong one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from accel.endpoint import driving
from tests.cli.conftest import Accel
from tests.known_server import KnownServer

NOWHERE = "http://127.0.0.1:1/v2/models/m"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model.onnx", "--endpoint", NOWHERE, "--samples", "samples.npz"], "`model.onnx` has no place beside it"),
        (["--endpoint", NOWHERE], "--endpoint needs --samples"),
        (["--endpoint", NOWHERE, "--samples", "samples.npz", "--backend", "onnxruntime"], "--backend has no meaning"),
        (["--endpoint", NOWHERE, "--samples", "samples.npz", "--dry-run"], "--dry-run"),
        (["--endpoint", NOWHERE, "--samples", "samples.npz"], "Nothing listens at 127.0.0.1:1"),
        (["--endpoint", NOWHERE, "--samples", "samples.npz", "--rate", "fast"], "--rate must be requests a second"),
        (["--endpoint", NOWHERE, "--samples", "samples.npz", "--connections", "0"], "--connections must be at least 1"),
        (["model.onnx", "--rate", "50"], "--rate belongs to --endpoint"),
        (["model.onnx", "--protocol", "v2"], "--protocol belongs to --endpoint"),
    ],
)
def test_wrong_words_are_one_sentence(accel_cli: Accel, place: Path, words: list[str], said: str) -> None:
    done = accel_cli("bench", *words)
    assert done.code == 2
    assert said in done.sentence
    assert "Traceback" not in done.err
    assert done.out == ""


def test_the_json_stands_alone_on_stdout(accel_cli: Accel, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_TRANSPORT_S", "_ALONE_S", "_CLOSED_S"):
        monkeypatch.setattr(driving, name, 0.3)
    with KnownServer(service_s=0.001) as server:
        words = ["--endpoint", server.v2_url, "--samples", "samples.npz", "--rate", "40/s", "--connections", "2"]
        done = accel_cli("bench", *words, "--budget", "2s", "--json")
    assert done.code == 0
    told = json.loads(done.out)
    assert [row["load"] for row in told["rows"]] == ["closed loop", "rate"]
    assert f"driving 127.0.0.1:{server.port}" in done.err
    assert (Path(told["folder"]) / "endpoint.json").is_file()
    assert accel_cli("list", told["folder"]).code == 0
    shutil.copytree(told["folder"], place / "again")
    both = accel_cli("compare", told["folder"], "again")
    assert both.code == 0
    assert both.out.count("rate 40/s") == 2
