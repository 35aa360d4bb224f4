from __future__ import annotations

import inspect
import os
from pathlib import Path

import pytest

from accel import errors


def test_every_error_is_an_accel_error_with_a_documented_exit_code() -> None:
    found = [v for v in vars(errors).values() if inspect.isclass(v) and issubclass(v, Exception)]
    assert len(found) >= 6
    for kind in found:
        assert issubclass(kind, errors.AccelError)
        assert kind.exit_code in {1, 2, 3}
        assert kind.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize(
    ("kind", "code"),
    [(errors.InputError, 2), (errors.MissingLibrary, 2), (errors.GateFailed, 1), (errors.NothingMeasured, 3)],
)
def test_exit_codes(kind: type[errors.AccelError], code: int) -> None:
    assert kind.exit_code == code


def test_a_missing_library_names_the_package_its_user_and_the_line_to_type() -> None:
    plain = errors.MissingLibrary("timm", "the model `timm:resnet18`")
    assert str(plain).endswith("Install it with: pip install timm")
    assert (plain.package, plain.install) == ("timm", "pip install timm")
    extra = errors.MissingLibrary("torch", "the backend `eager`", extra="torch")
    assert extra.install == 'pip install "accel-bench[torch]"'
    assert "the backend `eager` needs the package `torch`" in str(extra)


def test_a_variant_error_keeps_reason_and_next_step_apart() -> None:
    error = errors.VariantError("it crashed", "Try less.")
    assert (str(error), error.reason, error.next_step) == ("it crashed", "it crashed", "Try less.")


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("openvno", "Did you mean `openvino`?"),
        ("onxruntime", "Did you mean `onnxruntime`?"),
        ("zzz", "Known: `onnxruntime`, `openvino`."),
    ],
)
def test_the_nearest_word_is_offered(word: str, sentence: str) -> None:
    assert errors.nearest(word, ["openvino", "onnxruntime"]) == sentence


def test_nothing_is_offered_where_there_is_nothing() -> None:
    assert errors.nearest("max_size", []) == "There are none."


def test_a_folder_of_studies_names_the_newest_in_it(tmp_path: Path) -> None:
    assert "Name a folder that `accel bench` wrote." in str(errors.NoStudy(tmp_path))
    for at, name in enumerate(("new", "old")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "study.json").write_text("{}")
        os.utime(tmp_path / name / "study.json", (1e9 - at, 1e9 - at))
    assert str(errors.NoStudy(tmp_path)).endswith(f"Did you mean `{tmp_path / 'new'}`?")
