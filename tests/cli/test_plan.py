"""`accel plan` on the command line: what it prints, and one sentence for each wrong input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Accel
from tests.synthetic import Made, synthetic_study, variant


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("planned")
    synthetic_study(place, variants=[Made(variant=variant("fast", "openvino"), item_s=0.001)], finalists=1, blocks=3)
    return place


def test_it_says_how_many_of_what(accel_cli: Accel, folder: Path) -> None:
    said = accel_cli("plan", folder, "--rate", "5000", "--price", "$0.20/h", "--spare", "1")
    assert said.code == 0
    assert said.out.startswith("5,000 requests/s within p90 ≤ 15 ms\n")
    assert " of fast, " in said.out
    assert "price units a million predictions" in said.out
    assert "the rest still carry the peak" in said.out


def test_json_is_all_there_is_on_stdout(accel_cli: Accel, folder: Path) -> None:
    said = accel_cli("plan", folder, "--rate", "5000/s", "--growth", "10%/min", "--json")
    found = json.loads(said.out)
    assert found["chosen"]["variant"] == "fast"
    assert found["chosen"]["replicas"]["count"] > 1
    assert found["unit"] == "instance-seconds"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--rate", "0"], "--rate must be"),
        (["--rate", "-3"], "--rate must be"),
        (["--rate", "many"], "--rate must be"),
        (["--rate", "2000000"], "at most 1,000,000"),
        ([], "Say for which load"),
        (["--rate", "5", "--slo", "p99"], "the shell took the rest"),
        (["--rate", "5", "--price", "free"], "--price must be what an instance costs an hour"),
        (["--rate", "5", "--trace", "none.csv"], "`none.csv` can't be read"),
        (["--rate", "5", "--spare", "-1"], "--spare must be a whole number"),
        (["--rate", "5", "--headroom", "2"], "--headroom must be a share"),
        (["--rate", "5", "--growth", "fast"], "--growth must be a share a time"),
        (["--rate", "5", "--metric-window", "x"], "--metric-window must be a time"),
        (["--rate", "5", "--start-seconds", "-2"], "--start-seconds must be from 0"),
        (["--rate", "5", "--replicas", "3"], "has no option `--replicas`"),
    ],
)
def test_wrong_input_is_one_sentence(accel_cli: Accel, folder: Path, words: list[str], sentence: str) -> None:
    said = accel_cli("plan", folder, *words)
    assert said.code == 2
    assert sentence in said.sentence
    assert "Traceback" not in said.out + said.err
    assert said.out == ""


def test_a_folder_without_a_study_is_one_sentence(accel_cli: Accel, tmp_path: Path) -> None:
    said = accel_cli("plan", tmp_path, "--rate", "5")
    assert said.code == 2
    assert "holds no study" in said.sentence
