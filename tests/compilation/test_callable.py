"""Any function is an engine too."""

from __future__ import annotations

import numpy as np
import pytest

from accel import plugins
from accel.errors import VariantError
from accel.model import Signature, Tensor
from accel.model.call import Call
from accel.plugins import Named
from tests.fresh_process import run_fresh
from tests.small_models import FileModel

SIGNATURE = Signature(
    inputs=(Tensor("x", "float32", ("batch", 2)),), outputs=(Tensor("output", "float32", ("batch", 2)),), batch="any"
)
GIVEN = {"x": np.arange(6, dtype=np.float32).reshape(3, 2)}


def built(function, folder):
    folder.mkdir()
    backend = plugins.make("compilation", Named("callable"))
    backend.build(FileModel(SIGNATURE, {"callable": Call(function, "array")}), folder)
    return backend


def test_a_function_runs_in_a_fresh_process(tmp_path):
    factor = 3.0
    built(lambda x: x * np.float32(factor), tmp_path / "a")
    answer = run_fresh(Named("callable"), tmp_path / "a", GIVEN, [1, 3], tmp_path / "run")
    assert answer["effective"]["precision"] == "unknown"
    (found,) = [v for k, v in answer["outputs"].items() if k.startswith("3/")]
    np.testing.assert_array_equal(found, GIVEN["x"] * 3)


def test_a_buffer_the_function_writes_again_is_copied(tmp_path):
    def reuse(x, kept=np.zeros((3, 2), np.float32)):  # noqa: B008  # the trap itself
        kept[:] = x
        return kept[: len(x)]

    engine = built(reuse, tmp_path / "a").open(tmp_path / "a")
    (first,) = engine.run(GIVEN).values()
    engine.run({"x": GIVEN["x"] + 1})
    np.testing.assert_array_equal(first, GIVEN["x"])


def test_what_the_function_raises_is_said(tmp_path):
    def fails(x):
        raise ZeroDivisionError("no")

    engine = built(fails, tmp_path / "a").open(tmp_path / "a")
    with pytest.raises(VariantError, match=r"failed with ZeroDivisionError: no") as raised:
        engine.run(GIVEN)
    assert raised.value.next_step


def test_what_cannot_be_stored_is_said(tmp_path):
    import threading

    lock = threading.Lock()
    with pytest.raises(VariantError, match="can't be stored"):
        built(lambda x: (lock, x)[1], tmp_path / "a")
