"""A whole study of a small network that collapses in 8 bits: rescued, judged where nothing was chosen by, resumed.

The collapse is planted as in attention: the sum with a mask of -1e5 spans so wide a range that 8 bits hold nothing
else, and softmax turns what was masked into nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import accel
from accel.measurement.outputs import load_ids
from accel.plugins import Named
from accel.recipe import Variant
from accel.samples import Samples
from accel.study import funnel, rescuing
from accel.study.decisions import Decisions
from accel.study.profiles import PROFILES

CLASSES, WIDTH, FEATURES = 5, 512, 64
ALL = {"operators": ["MatMul", "Add"]}
INT8 = Variant(name="int8", backend=Named("onnxruntime"), compression=(Named("quantize_static", ALL),))
RESCUED = "int8-rescued"


def network(path: Path) -> dict[str, Any]:
    """The model on disk, and samples around five prototypes, each labelled with the class of its prototype."""
    rng = np.random.default_rng(7)
    prototypes = rng.normal(size=(CLASSES, FEATURES))
    prototypes[:, 0] = 1.0
    first = 2 * rng.normal(size=(FEATURES, WIDTH)) / FEATURES**0.5
    mask = np.zeros((FEATURES, WIDTH))
    mask[0, : WIDTH // 2] = -1e5
    powers = np.exp(prototypes @ first) * (mask[0] == 0)
    last = np.linalg.pinv(powers / powers.sum(axis=1, keepdims=True))
    weights = {"first": first, "mask": mask, "last": last}
    nodes = [
        # With an axis of length 1, so that nothing folds a product and the sum into one Gemm.
        helper.make_node("Unsqueeze", ["x", "axis"], ["row"], name="row"),
        helper.make_node("MatMul", ["row", "first"], ["scores"], name="scores"),
        helper.make_node("MatMul", ["row", "mask"], ["masked"], name="masked"),
        helper.make_node("Add", ["scores", "masked"], ["sum"], name="sum"),
        helper.make_node("Softmax", ["sum"], ["hidden"], name="softmax", axis=-1),
        helper.make_node("MatMul", ["hidden", "last"], ["answer"], name="last"),
        helper.make_node("Squeeze", ["answer", "axis"], ["y"], name="answer"),
    ]
    axis = numpy_helper.from_array(np.array([1], np.int64), "axis")
    graph = helper.make_graph(
        nodes,
        "masked",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", FEATURES])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", CLASSES])],
        [axis, *(numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items())],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    classes = rng.integers(0, CLASSES, 1200)
    x = prototypes[classes] + 0.02 * rng.normal(size=(1200, FEATURES))
    x[:, 0] = 1.0
    return {"samples": {"x": x.astype(np.float32)}, "labels": classes}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("rescued")
    given = network(folder / "masked.onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCEL_CACHE", str(folder / "cache"))
        # Whether 8 bits are faster in so small a network is a matter of the machine, and not what is tested here.
        patch.setattr(rescuing, "_pointless", lambda funnel, variant: "")
        times = {"warmup_s": 0.05, "warmup_iterations": 2, "screen_s": 0.2, "tune_s": 0.1, "measure_s": 0.2}
        # Not what is tested here, and it would take half of the time.
        patch.setattr(funnel, "with_instances", lambda funnel, finalists: finalists)
        brief = msgspec.structs.replace(PROFILES["quick"], blocks=1, confirmations=1, **times)
        patch.setitem(PROFILES, "quick", brief)
        yield accel.bench(
            str(folder / "masked.onnx"),
            given["samples"],
            labels=given["labels"],
            metric="accuracy",
            variants=[INT8],
            defaults=False,
            target="batch",
            batch=[8],
            budget="4m",
            out=folder / "out",
        )


def test_it_fails_first_and_a_form_of_it_keeps_the_accuracy(study: accel.Study) -> None:
    failed, rescue = study.conclusion.row("int8"), study.conclusion.rescues[0]
    assert failed.quality is not None
    assert (failed.status, failed.quality.outcome) == ("refused", "fails")
    assert (failed.quality.drop or 0) > 0.1
    assert rescue.variant == "int8"
    assert rescue.chosen is not None, rescue.said
    assert rescue.steps[0].kind == "start"
    row = study.conclusion.row(RESCUED)
    assert row.quality is not None
    assert (row.status, row.quality.outcome) == ("ok", "passes"), row.reason
    assert row.variant.compression == rescue.chosen
    assert Decisions.load(study.folder).rescued == {RESCUED: "int8"}


def test_it_was_chosen_by_other_samples_than_it_is_reported_on(study: accel.Study) -> None:
    samples = Samples.open(study.folder / "samples")
    searched = set(load_ids(study.folder / "reference" / "validation.npz").tolist())
    reported = set(load_ids(study.folder / "reference" / f"{RESCUED}.npz").tolist())
    assert searched
    assert searched <= set(samples.validation.tolist())
    assert reported <= set(samples.evaluation.tolist())
    assert not searched & reported
    timed = {int(i) for r in study.results if r.variant.name == RESCUED for i in _ids(study, r)}
    assert timed <= reported


def _ids(study: accel.Study, result: Any) -> Any:
    from accel.measurement.trace import Trace

    return Trace.load(study.folder / "runs" / result.trace).sample if result.trace else ()


def test_the_page_the_table_and_the_findings_tell_it(study: accel.Study) -> None:
    page = (study.folder / "report.html").read_text()
    assert "Rescued, or not" in page
    assert RESCUED in page
    assert "Rescue of int8" in str(study)
    assert any(f.what.startswith("`int8` lost") for f in study.conclusion.findings)


def test_a_resumed_study_makes_no_step_again(study: accel.Study) -> None:
    before = (study.folder / "rescues" / "int8.json").read_bytes()
    again = accel.bench(str(study.folder.parent / "masked.onnx"), out=study.folder, resume=True)
    assert (study.folder / "rescues" / "int8.json").read_bytes() == before
    assert [v.name for v in again.record.variants] == [v.name for v in study.record.variants]
