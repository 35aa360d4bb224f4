"""How forms are made and run: fixed and ragged batches, the techniques before the quantizer, nothing left behind."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from accel.plugins import Named
from accel.recipe import Variant
from accel.rescue import search
from accel.rescue.workbench import Workbench
from accel.samples import Samples
from tests.rescue.graphs import ALL, Judge, expected, outlier, samples, variant
from tests.small_models import cnn, items

ort = pytest.importorskip("onnxruntime")


def bench_of(model, given, **fields):
    return Workbench(variant(**fields), model, given, lambda rows: None, within=lambda q: False)


def images(signature, n=30):
    parts = np.arange(n, dtype=np.int64).reshape(3, -1)
    return Samples(
        inputs=items(signature, n), calibration=parts[0], validation=parts[1], evaluation=parts[2], sha256=""
    )


def test_a_fixed_batch_is_filled_and_the_filling_dropped(tmp_path):
    model = cnn(tmp_path, batch=4)
    given = images(model.signature)
    bench = bench_of(model, given)
    with bench.opened(model) as engine:
        rows = bench.rows(engine)["y"]
    whole = cnn(tmp_path, name="any.onnx")
    session = ort.InferenceSession(str(whole.as_form("onnx")), providers=["CPUExecutionProvider"])
    assert len(rows) == 10
    assert np.allclose(np.stack(rows), session.run(None, {"x": given.inputs["x"][10:20]})[0], atol=1e-5)
    assert all(len(batch["x"]) == 4 for batch in bench.batches(6))
    bench.close()


def test_a_typical_batch_is_of_middle_length(tmp_path):
    lengths = np.arange(60, dtype=np.int64)[::-1].copy()
    given = msgspec.structs.replace(samples(), ragged={"x": 0}, lengths={"x": lengths})
    (chosen,) = bench_of(outlier(tmp_path), given)._typical()
    assert lengths[chosen] in (29, 30)


def test_fields_are_changed_as_a_recipe_would_say_them(tmp_path):
    bench = bench_of(outlier(tmp_path), samples(), method="entropy", operators=ALL)
    changed = bench.with_fields(bench.variant.compression, {"method": "minmax", "keep": ("Add",)})
    assert changed == (Named("quantize_static", {"operators": ALL, "keep": ["Add"]}),)


def test_unknown_names_to_leave_out_are_a_failed_step(tmp_path):
    model, given = outlier(tmp_path), samples()
    bench = Workbench(variant(operators=ALL), model, given, Judge(expected(model, given)), within=lambda q: False)
    step = bench.step("a name that isn't there", "nodes", variant(operators=ALL, exclude=["nowhere"]).compression)
    assert step.outcome == "failed"
    assert "nowhere" in step.reason
    bench.close()


def test_a_search_on_openvino_ranks_by_rewiring_and_quantizes_anew(tmp_path, monkeypatch):
    pytest.importorskip("nncf")
    monkeypatch.setattr(search, "switches", lambda *a, **k: ())
    model, given = outlier(tmp_path, huge=100.0), samples()
    quantized = Variant(
        name="int8",
        compression=(Named("quantize_static", {"model_type": "none"}),),
        backend=Named("openvino", {"threads": 1}),
    )
    found = search.rescue(
        quantized, model, given, Judge(expected(model, given), -1.0), seconds=60, folder=tmp_path / "steps"
    )
    assert found.self_check_error < 1e-4
    assert {"types", "nodes"} & {step.kind for step in found.steps}
    assert found.chosen is None
    assert all(step.outcome in ("fails", "failed") for step in found.steps)


def test_a_backend_without_keep_or_exclude_has_only_its_switches(tmp_path):
    given = samples()
    weights = Variant(
        name="int4",
        compression=(Named("quantize_weights", {"bits": 4}),),
        backend=Named("onnxruntime", {"threads": 1}),
    )
    model = outlier(tmp_path)
    found = search.rescue(
        weights, model, given, Judge(expected(model, given), -1.0), seconds=60, folder=tmp_path / "steps"
    )
    assert {step.kind for step in found.steps} == {"start", "switch"}
    assert found.complete
