"""Faults planted one at a time, each named by a finding with what to type next; beside its case a rule is silent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from accel.analysis import Estimate, guard
from accel.analysis.conclusion import Answer, Finding, Row, StudyRecord
from accel.analysis.findings import findings
from accel.compilation._profile import BETWEEN, Call, Layers, layers
from accel.compilation._recompiles import compiled_graphs, since
from accel.measurement.first_calls import FirstCalls
from accel.plugins import Named
from accel.result import FirstCall, Result, SetUp
from tests.synthetic import BASELINE, synthetic_study, variant

FAST = variant("fast", "openvino", Named("quantize_static"))
WON = Answer(target="batch", winner="fast", keeps_baseline=False, speedup=None, sentence="", evidence="blocks")
PROFILED = "Shares were taken with the runtime's profiler on, apart from the timed runs."


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> StudyRecord:
    given = synthetic_study(tmp_path_factory.mktemp("study"), blocks=0)
    return msgspec.structs.replace(
        given, not_bought=(), synthetic=False, slo_assumed=False, command="accel bench m.onnx"
    )


def said(
    record: StudyRecord,
    results: Sequence[Result] = (),
    *,
    profiles: Sequence[Layers] = (),
    answers: Sequence[Answer] = (WON,),
    **row: Any,
) -> list[Finding]:
    fields: dict[str, Any] = {"name": "fast", "variant": FAST, "status": "ok", **row}
    base = Row(name=BASELINE.variant.name, variant=BASELINE.variant, status="ok", is_baseline=True)
    return list(findings((base, Row(**fields)), answers, record, results, {}, layers=profiles))


def only(found: list[Finding], part: str) -> Finding:
    hits = [f for f in found if part in f.what]
    assert len(hits) == 1, [f.what for f in found]
    assert hits[0].why
    assert hits[0].command, "what to type next"
    return hits[0]


def profiled(*calls: tuple[str, float], who: str = "fast") -> Layers:
    found = layers([Call(kind, "", seconds) for kind, seconds in calls], items=4, runs=1, source="by hand")
    return msgspec.structs.replace(found, variant=who)


def test_layout_conversions(record: StudyRecord) -> None:
    found = said(record, profiles=[profiled(("Convolution", 0.8), ("Reorder", 0.15), ("Transpose", 0.05))])
    one = only(found, "layout conversions")
    assert one.what == (
        "`fast`: 20 % of the time goes into 2 layout conversions, steps that only move numbers or change their type: "
        "`Reorder` (15 %) and `Transpose` (5 %)."
    )
    assert one.why.endswith(PROFILED)
    assert one.command == "accel list openvino"
    assert said(record, profiles=[profiled(("Convolution", 0.95), ("Reorder", 0.05))]) == []


def test_layout_conversions_of_a_real_model_are_counted(tmp_path: Path) -> None:
    """Three transposes that nothing can cancel, planted between two products."""
    from onnx import helper, numpy_helper

    from accel import plugins
    from accel.compilation._profile_any import profile
    from accel.model import Signature, Tensor
    from tests.small_models import FileModel, save

    weight = np.eye(8, dtype=np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Transpose", ["a"], ["b"], perm=[0, 2, 1]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Transpose", ["c"], ["d"], perm=[2, 1, 0]),
        helper.make_node("Softmax", ["d"], ["e"], axis=1),
        helper.make_node("Transpose", ["e"], ["f"], perm=[1, 0, 2]),
        helper.make_node("MatMul", ["f", "v"], ["y"]),
    ]
    weights = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.eye(4, dtype=np.float32), "v")]
    path = save(tmp_path / "turned.onnx", nodes, weights, [4, 8, 8], [8, 8, 4], 17)
    tensors = {"inputs": (Tensor("x", "float32", (4, 8, 8)),), "outputs": (Tensor("y", "float32", (8, 8, 4)),)}
    # Left as it is: the optimizer would merge what was planted.
    backend = plugins.make("compilation", Named("onnxruntime", {"optimization": "none"}))
    (tmp_path / "artefact").mkdir()
    backend.build(FileModel(Signature(batch=4, **tensors), {"onnx": path}), tmp_path / "artefact")
    given = {"x": np.ones((4, 8, 8), np.float32)}
    found = profile("onnxruntime", backend, tmp_path / "artefact", given, 0.01)
    assert found is not None
    assert (found.calls("layout"), found.calls("matmul")) == (3.0, 2.0)


def test_unfused_operators(record: StudyRecord) -> None:
    small = [("Relu", 0.1)] * 4
    one = only(said(record, profiles=[profiled(("MatMul", 0.6), *small)]), "unfused operators")
    assert one.what == ("`fast`: 40 % of the time goes into 4 unfused operators beside the products: `Relu` (40 %).")
    assert said(record, profiles=[profiled(("MatMul", 0.6), ("Relu", 0.4))]) == [], "a few are no pattern"
    assert said(record, profiles=[profiled(*small)]) == [], "there is no product to join them with"


def test_quantizing_and_calls_that_cost_more_than_the_work(record: StudyRecord) -> None:
    one = only(said(record, profiles=[profiled(("QLinearMatMul", 0.8), ("QuantizeLinear", 0.2))]), "quantize")
    assert one.command == "accel list quantize_static"
    one = only(said(record, profiles=[profiled(("aten::addmm", 0.4), (BETWEEN, 0.6))]), "between its operators")
    assert one.what == "`fast`: 60 % of a run of 4 passes between its operators."


def test_a_profile_of_the_original_matters_where_it_stays(record: StudyRecord) -> None:
    base = profiled(("Convolution", 0.7), ("Reorder", 0.3), who=BASELINE.variant.name)
    assert said(record, profiles=[base]) == []
    keeps = msgspec.structs.replace(WON, winner=BASELINE.variant.name, keeps_baseline=True)
    assert only(said(record, profiles=[base], answers=[keeps]), "layout").what.startswith("`original`: 30 %")


def result(**more: Any) -> Result:
    fields: dict[str, Any] = {"run_id": "r", "study_id": "s", "phase": "screening", "role": "candidate", **more}
    return Result(**{"variant": FAST, "status": "ok", **fields})


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning", "ignore:To copy construct:UserWarning")
def test_a_dynamic_shape_that_recompiles(record: StudyRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop over the length is unrolled, so each new length is another graph.

    Traced and guarded as always, but without making kernels of the graphs, which takes a minute and decides nothing.
    """
    torch = pytest.importorskip("torch")
    from accel import plugins
    from accel.model import Signature, Tensor
    from accel.model.torch_form import TorchForm
    from tests.small_models import FileModel
    from tests.unrolled import Unrolled

    signature = Signature(
        inputs=(Tensor("x", "float32", (1, "length", 2)),), outputs=(Tensor("y", "float32", (1, 2)),), batch=1
    )
    torch.manual_seed(0)
    model = FileModel(signature, {"torch": TorchForm.from_names(Unrolled().eval(), ["x"])})
    model.example = {"x": np.ones((1, 2, 2), np.float32)}
    backend = plugins.make("compilation", Named("inductor"))
    compile_plainly = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **_: compile_plainly(self, backend="eager"))
    from accel.compilation._artefact import Artefact
    from accel.compilation._torch import save_example

    model.as_form("torch").save(tmp_path)
    Artefact.of(model, "torch_form.pkl").save(tmp_path)  # type: ignore[arg-type]
    save_example(model, tmp_path)  # type: ignore[arg-type]
    engine = backend.open(tmp_path)
    try:
        before = compiled_graphs()
        engine.run({"x": np.ones((1, 2, 2), np.float32)})
        assert since(before) == 0, "the length it was compiled for"
        engine.run({"x": np.ones((1, 3, 2), np.float32)})
        again = since(before)
    finally:
        engine.close()
    assert again == 1
    run = result(variant=variant("inductor", "inductor"), recompiled=again)
    one = only(said(record, [run, result(recompiled=0), result(recompiled=None)]), "compiled again")
    assert one.what == "`inductor`: torch compiled again once after it was opened, for shapes that it hadn't seen."
    assert one.command == "TORCH_LOGS=recompiles accel bench m.onnx"


def test_an_fp32_island_inside_an_int8_model(record: StudyRecord, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from tests.compression.test_numerics import built, deep_mlp

    numerics, _, _ = built(deep_mlp(tmp_path), tmp_path, Named("quantize_static", {"exclude": ["middle"]}))
    one = only(said(record, numerics=numerics), "FP32 island")
    assert one.what == ("`fast` has an FP32 island: `MatMul middle` computes in float between 8-bit operators.")
    assert one.command == "accel list quantize_static"


class Negated:
    """An engine that answers fast and without a word something else."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def run(self, inputs: Any) -> dict[str, Any]:
        return {name: -value for name, value in self._engine.run(inputs).items()}


def test_a_backend_that_answers_wrongly(record: StudyRecord, tmp_path: Path) -> None:
    from accel import plugins
    from tests.small_models import cnn, items

    model = cnn(tmp_path)
    backend = plugins.make("compilation", Named("onnxruntime"))
    (tmp_path / "artefact").mkdir()
    backend.build(model, tmp_path / "artefact")
    engine = backend.open(tmp_path / "artefact")
    given = items(model.signature, 4)
    theirs = {name: list(value) for name, value in engine.run(given).items()}
    ours = {name: list(value) for name, value in Negated(engine).run(given).items()}
    assert guard.wrong(theirs, theirs, compressed=False) is None
    reason = guard.wrong(ours, theirs, compressed=False)
    assert reason is not None
    one = only(said(record, status="wrong", reason=reason, answers=()), "answers wrongly")
    assert one.what.startswith("`fast` answers wrongly: the output `y` differs from the reference: median relative")
    assert "Its speed counts for nothing" in one.why
    assert one.command == "accel list openvino"


def test_first_calls_at_a_new_shape(record: StudyRecord) -> None:
    calls = (
        FirstCall(size=1, first_s=0.02, later_s=0.001),  # too short to matter
        FirstCall(size=8, first_s=1.5, later_s=0.01),
        FirstCall(size=16, first_s=0.3, later_s=0.1),  # not ten times as long
        FirstCall(size=32, first_s=2.0, later_s=0.05),
    )
    one = only(said(record, [result(first_calls=calls)]), "first call with")
    assert one.what == "`fast`: the first call with a batch of 32 takes 2 s, later ones 50 ms."
    assert "(seen at 8 and 32)" in one.why


def test_first_calls_are_told_once_and_only_with_a_later_one() -> None:
    seen = FirstCalls()
    for size, seconds in ((8, 2.0), (1, 0.5), (8, 0.2), (8, 0.1), (8, 0.4)):
        seen.note(size, seconds)
    assert seen.told() == [FirstCall(size=8, first_s=2.0, later_s=0.1)]
    seen.note(1, 0.4)
    assert seen.told() == [FirstCall(size=1, first_s=0.5, later_s=0.4)]
    assert seen.told() == []


def estimate(value: float) -> Estimate:
    return Estimate(value=value, low=None, high=None, n=1, unit="", method="")


def test_a_slow_first_call_of_all(record: StudyRecord) -> None:
    set_up = SetUp(import_s=0.1, open_s=0.2, first_run_s=3.0)
    one = only(said(record, set_up=set_up, p50=estimate(0.004)), "the first call of all")
    assert one.what == "`fast`: the first call of all takes 3 s, a usual one 4 ms."
    assert said(record, set_up=set_up, p50=estimate(0.5)) == [], "not much slower than the others"


def test_nothing_is_said_of_a_study_without_any_of_this(record: StudyRecord) -> None:
    assert said(record, [result()]) == []
