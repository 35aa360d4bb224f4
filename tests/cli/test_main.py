from __future__ import annotations

import errno
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import msgspec
import pytest

import accel
from accel.cli import main
from accel.cli.list import command as list_command
from accel.errors import GateFailed, InputError, NothingMeasured
from tests.cli.conftest import Accel


class FakeStudy:
    """What `accel.bench` gives back, as far as the command line looks at it."""

    def __init__(self, folder: Path, statuses: tuple[str, ...] = ("ok",), interrupted: bool = False) -> None:
        self.folder = folder
        rows = tuple(SimpleNamespace(name=f"v{i}", status=s, reason="it broke") for i, s in enumerate(statuses))
        self.conclusion = SimpleNamespace(rows=rows, record=SimpleNamespace(interrupted=interrupted))

    def to_json(self) -> bytes:
        return b'{"a": 1}\n'


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Keyword arguments of the last call of `accel.bench`; set "study" to choose what it gives."""
    kept: dict[str, Any] = {"study": FakeStudy(tmp_path / "out")}

    def bench(model: str, **options: Any) -> FakeStudy:
        kept.update(options, model=model)
        options["progress"].stage("measuring x")
        if isinstance(kept["study"], BaseException):
            raise kept["study"]
        return kept["study"]  # type: ignore[no-any-return]

    monkeypatch.setitem(vars(accel), "bench", bench)
    monkeypatch.setattr("accel.report.table.text", lambda conclusion, report: f"THE TABLE\nReport: {report}")
    return kept


def test_bench_passes_on_what_was_said_and_nothing_else(accel_cli: Accel, asked: dict[str, Any]) -> None:
    said = accel_cli("bench", "m.onnx", "--slo", "p99<=20ms", "--backend", "null", "--batch", "4", "--batch", "8")
    assert said.code == 0
    assert asked["model"] == "m.onnx"
    assert asked["command"] == "accel bench m.onnx --slo 'p99<=20ms' --backend null --batch 4 --batch 8"
    assert (asked["slo"], asked["backend"], asked["batch"]) == ("p99<=20ms", ("null",), (4, 8))
    for unsaid in ("budget", "target", "accuracy_drop", "profile", "out", "resume", "samples", "trust_file"):
        assert unsaid not in asked


def test_a_price_is_passed_on_and_a_wrong_one_refused_at_once(accel_cli: Accel, asked: dict[str, Any]) -> None:
    assert accel_cli("bench", "m.onnx", "--price", "$0.20/h").code == 0
    assert asked["price"] == "$0.20/h"
    said = accel_cli("bench", "m.onnx", "--price", "cheap")
    assert said.code == 2
    assert "--price must be what an instance costs an hour" in said.sentence


def test_bench_prints_table_and_the_pages_path(accel_cli: Accel, asked: dict[str, Any], tmp_path: Path) -> None:
    said = accel_cli("bench", "m.onnx")
    assert said.out == f"THE TABLE\nReport: {tmp_path}/out/report.html\n"
    assert "measuring x" in said.err


def test_json_is_all_there_is_on_stdout(accel_cli: Accel, asked: dict[str, Any]) -> None:
    said = accel_cli("bench", "m.onnx", "--json")
    assert said.out == '{"a": 1}\n'
    assert "report.html" in said.err


def test_an_interrupted_study_ends_with_table_and_130(accel_cli: Accel, asked: dict[str, Any], tmp_path: Path) -> None:
    asked["study"] = FakeStudy(tmp_path / "out", interrupted=True)
    said = accel_cli("bench", "m.onnx")
    assert said.code == 130
    assert "THE TABLE" in said.out
    assert f"--out {tmp_path}/out --resume" in said.sentence


def test_nothing_measured_is_3_with_the_reasons(accel_cli: Accel, asked: dict[str, Any], tmp_path: Path) -> None:
    asked["study"] = FakeStudy(tmp_path, statuses=("failed", "wrong"))
    said = accel_cli("bench", "m.onnx")
    assert said.code == 3
    assert "THE TABLE" in said.out
    assert "v0: it broke" in said.sentence


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InputError("Wrong."), 2, "accel: Wrong."),
        (GateFailed("Too slow."), 1, "accel: Too slow."),
        (NothingMeasured("None."), 3, "accel: None."),
        (KeyboardInterrupt(), 130, "Interrupted"),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), 3, "disk is full while writing `/x/y`"),
        (OSError(errno.ENOSPC, "No space left on device"), 3, "disk is full."),
        (OSError(errno.EACCES, "Permission denied", "/x"), 2, "`/x` can't be used: permission denied"),
        (MemoryError(), 3, "memory"),
        (RuntimeError("planted\nin two lines"), 3, "RuntimeError: planted in two lines"),
        (click.UsageError("Odd."), 2, "accel: Odd. See `accel bench --help`."),
        (BrokenPipeError(), 0, ""),
    ],
)
def test_every_error_is_one_sentence(
    error: BaseException,
    code: int,
    words: str,
    accel_cli: Accel,
    asked: dict[str, Any],
    monkeypatch: Any,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(main.os, "dup2", lambda *_: None)
    asked["study"] = error
    said = accel_cli("bench", "m.onnx")
    assert said.code == code
    assert words in said.sentence
    assert "Traceback" not in said.out + said.err


def test_a_plan_is_shown_and_written_but_nothing_is_measured(
    accel_cli: Accel, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = SimpleNamespace(describe=lambda: "THE PLAN", recipe_toml=lambda: 'model = "m.onnx"\n')
    monkeypatch.setitem(vars(accel), "plan_study", lambda model, **options: plan)
    said = accel_cli("bench", "m.onnx", "--dry-run")
    assert (said.code, said.out) == (0, "THE PLAN\n")
    said = accel_cli("bench", "m.onnx", "--save-recipe", str(tmp_path / "r.toml"))
    assert said.code == 0
    assert (tmp_path / "r.toml").read_text() == 'model = "m.onnx"\n'
    assert "model" not in asked


def test_help_lists_exactly_the_commands_that_exist(accel_cli: Accel) -> None:
    said = accel_cli("--help")
    assert said.code == 0
    folder = Path(main.__file__).parent
    texts = {"__init__", "endpoint", "main", "measured", "progress", "proof", "values"}
    assert set(main.COMMANDS) == {p.stem for p in folder.glob("*.py")} - texts
    for name in main.COMMANDS:
        assert f"\n  {name}" in said.out
        assert accel_cli(name, "--help").code == 0


def test_version_and_no_arguments(accel_cli: Accel) -> None:
    assert accel_cli("--version").out == f"accel {accel.__version__}\n"
    said = accel_cli()
    assert said.code == 2
    assert "Usage: accel" in said.err


def test_what_a_study_holds_cannot_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder may be somebody else's: a log that moves the cursor and rings comes out as spaces."""
    from accel.result import Result
    from tests.synthetic import BASELINE, synthetic_study

    synthetic_study(tmp_path / "study", blocks=0)
    path = next(p for p in sorted((tmp_path / "study" / "runs").glob("*.json")) if BASELINE.variant.name not in p.name)
    result = Result.load(path)
    hostile = msgspec.structs.replace(result, notes=("\x1b[2J\x1b]0;gone\x07 \u009b31m note",))
    path.write_bytes(msgspec.json.encode(hostile))
    list_command.callback(f"{tmp_path / 'study'}/{result.variant.name}")  # type: ignore[misc]
    said = capsys.readouterr().out
    assert "note: " in said
    assert not any((c < " " and c != "\n") or "\x7f" <= c <= "\x9f" for c in said)
