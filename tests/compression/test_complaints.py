"""What users of other tools suffer from, thread by thread: accel avoids it, or says it in words.

The threads are those of four groups: quantization that is slower, accuracy that is lost or differs by processor,
operators that aren't supported (and one failure that ends everything), pruning that gains nothing. Where it can be done
each test first does what the complainer did, with the tool's own call. Nothing is timed here: that something is slow is
shown by what stands in the file, and what accel makes of times by a study whose times are known.

Not reproduced here:

| thread | why not |
|---|---|
| onnxruntime #14439, TensorRT #3018 | INT8 on TensorRT; needs an NVIDIA GPU. accel measures on the machine it runs on |
| nebuly/optimate #301 | CUDA out of memory on an A100; a child that takes too much memory is `test_isolation.py` |
| neural-compressor #612 | figures of an example that can't be had again; whether a run can be repeated is #819 |
| onnxruntime #2969 | a tool of 1.1 (`calibrate.py`) that is gone; its successor's defaults are #6732 |
| oneDNN #1354, onnx/models #568 | the same saturation as #5849, seen in other files |
| hydra #1511 | the same as #1513, in another launcher |
| triton model_analyzer #121, #710 | progress lost inside a run: killed at any moment, `test_resilience.py` goes on |
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import accel
from accel import plugins
from accel.analysis import guard
from accel.compilation._onnx import operators, read
from accel.compression import is_probe
from accel.compression._processor import Forms, forms_here
from accel.errors import InputError, NothingMeasured, VariantError
from accel.plugins import Named
from accel.study import defaults
from accel.study.cache import key
from accel.study.missing import why_not
from tests.contract.test_compression import Rows, outputs, relative, rows, technique
from tests.small_models import FileModel, cnn, facts, items, machine, mlp, save
from tests.study.test_winner import brief
from tests.synthetic import Made, synthetic_study, variant

ort = pytest.importorskip("onnxruntime")
AVX2 = ("avx2", "avx512f")
"""A processor with wide vectors and without 8-bit dot products."""


def stored(path: Path) -> dict[str, Any]:
    return {w.name: w for w in onnx.load(path).graph.initializer}


def float_outputs(model: FileModel, given: dict[str, np.ndarray], folder: Path) -> np.ndarray:
    return outputs(model, "onnxruntime", folder, given)[0]


def study_of(folder: Path, *made: Made, blocks: int = 6) -> accel.Study:
    """A study whose truth is known; nothing is measured."""
    synthetic_study(folder, variants=made, blocks=blocks, confirmations=4, measured_s=0.3)
    return accel.open_study(folder)


# --- quantization is slower -----------------------------------------------------------------------------------------


def dynamic_by_the_tool(source: Path, target: Path, **more: Any) -> Path:
    """What the tool's documentation shows, and nothing more."""
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(source, target, **more)
    return target


def test_onnxruntime_12854_16009_convolutions_are_left_alone_by_dynamic_quantization(tmp_path: Path) -> None:
    """Ten times slower on a Xeon with VNNI: each convolution became a ConvInteger, which has no fast kernel."""
    model = cnn(tmp_path)
    naive = operators(read(dynamic_by_the_tool(model.as_form("onnx"), tmp_path / "naive.onnx")))
    assert naive["ConvInteger"] == 2
    ours = technique("quantize_dynamic").apply(model, None, "onnxruntime")
    assert operators(read(ours.as_form("onnx")))["ConvInteger"] == 0
    asked = technique("quantize_dynamic", operators=["Conv"]).apply(model, None, "onnxruntime")
    assert "ConvInteger has no fast kernel, expect it to be slower" in asked.notes[-1]
    proposed = defaults.default_variants(facts(), machine(), baseline_backend="eager", synthetic=False)
    assert not [v for v in proposed if any(c.name == "quantize_dynamic" for c in v.compression)]


def test_onnxruntime_12854_a_network_of_convolutions_alone_is_refused_with_what_to_use() -> None:
    refusal = technique("quantize_dynamic").fits(facts(Conv=9), machine(), "onnxruntime")
    assert "Nothing would be quantized" in refusal.reason
    assert "quantize_static" in refusal.next_step


def test_onnxruntime_6732_17389_activations_are_unsigned(tmp_path: Path) -> None:
    """ "Activation int8 is expected to be slower": the tool's default is that, and x86 kernels want unsigned ones."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self, given: dict[str, np.ndarray]) -> None:
            self.left = [given]

        def get_next(self) -> Any:
            return self.left.pop() if self.left else None

    model = cnn(tmp_path)
    quantize_static(model.as_form("onnx"), tmp_path / "naive.onnx", Reader(items(model.signature, 8)))
    assert zero_points(tmp_path / "naive.onnx") == {TensorProto.INT8}
    ours = technique("quantize_static").apply(model, rows(model), "onnxruntime")
    expected = {"u8": TensorProto.UINT8, "s8": TensorProto.INT8}[forms_here().activations]
    assert zero_points(ours.as_form("onnx")) == {expected}
    assert any("8-bit form" in note for note in ours.notes), "the choice and its reason are told"


def zero_points(path: Path) -> set[int]:
    """The types that activations are quantized to."""
    proto = onnx.load(path)
    weights = stored(path)
    return {weights[n.input[2]].data_type for n in proto.graph.node if n.op_type == "QuantizeLinear"}


SLOWER = Made(variant=variant("int8", "onnxruntime", Named("quantize_static")), item_s=0.0090, precision="int8")
FASTER = Made(variant=variant("onnxruntime", "onnxruntime"), item_s=0.0024)


def test_onnxruntime_5319_14439_pytorch_42113_a_slower_int8_is_called_slower_and_never_chosen(tmp_path: Path) -> None:
    """A quantized ResNet half as fast as the raw one, found out after it was deployed."""
    study = study_of(tmp_path, SLOWER)
    assert study.conclusion.row("int8").speedup_latency.verdict == "SLOWER"
    for target in ("batch", "online"):
        assert study.best(target).answer.keeps_baseline
    said = " ".join(f"{f.what} {f.why}" for f in study.conclusion.findings)
    assert "`int8`" in said
    assert "slower" in said.lower() or "the original is faster" in said.lower()


def test_pytorch_113019_144434_one_item_and_a_batch_are_judged_apart(tmp_path: Path) -> None:
    """INT8 with torch.compile: three times slower at batch 1, nearly twice as fast at 50."""
    fixed = Made(variant=variant("int8", "inductor", Named("quantize_static")), fixed_s=0.02, item_s=0.0004)
    row = study_of(tmp_path, fixed).conclusion.row("int8")
    assert (row.speedup_latency.verdict, row.speedup_batch.verdict) == ("SLOWER", "FASTER")


def test_pytorch_ao_2989_layers_that_are_slow_until_compiled_are_refused_before() -> None:
    refusal = technique("quantize_dynamic").fits(facts("transformer", MatMul=4), machine(), "eager")
    assert "slower than float32 until they are compiled" in refusal.reason


def test_pytorch_42113_for_depthwise_networks_8_bits_are_tried_once_and_late() -> None:
    given = msgspec.structs.replace(facts("depthwise"), forms=("torch", "onnx", "openvino"))
    proposed = defaults.default_variants(given, machine(), baseline_backend="eager", synthetic=False)
    quantized = [i for i, v in enumerate(proposed) if any(c.name.startswith("quantize") for c in v.compression)]
    assert len(quantized) == 1
    assert quantized[0] >= 2, "float32 and bf16 come first"


def test_onnxruntime_6977_openvino_11710_without_dot_products_8_bits_are_not_proposed(tmp_path: Path) -> None:
    """Neither AVX2 nor plain AVX-512 gains what a processor with VNNI does."""
    for kind in ("convolutional", "depthwise", "transformer", "other"):
        for one in defaults.default_variants(
            facts(kind), machine(flags=AVX2), baseline_backend="eager", synthetic=False
        ):
            assert "quantize_static" not in [c.name for c in one.compression]
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags : avx2 avx512f avx512bw\n")
    assert "without VNNI" in forms_here(cpuinfo, "x86_64").said


def test_onnxruntime_23004_four_bits_are_for_size_and_it_says_so(tmp_path: Path) -> None:
    """INT4 ten times slower than INT8 on every processor tried."""
    model = mlp(tmp_path)
    model.facts = msgspec.structs.replace(facts("other", MatMul=2), weight_bytes=768)
    ours = technique("quantize_weights", bits=4, block_size=16).apply(model, rows(model), "onnxruntime")
    said = " ".join(ours.notes)
    assert "size only" in said
    assert "last-level cache" in said
    for kind in ("convolutional", "depthwise", "transformer", "other"):
        for one in defaults.entries(kind):
            assert not [c for c in one.variant.compression if c.fields.get("bits") == 4], "not tried unasked"


def test_onnxruntime_20052_what_the_runtime_leaves_between_q_and_dq_is_counted(tmp_path: Path) -> None:
    """A CNN quantized elsewhere ran slower than float32: Q and DQ stood around operators that no kernel fused."""
    from accel.compression._numerics import Asked
    from accel.compression._numerics_onnx import numerics

    model = unfusable(tmp_path)
    backend = plugins.make("compilation", Named("onnxruntime", {"threads": 1}))
    folder = tmp_path / "artefact"
    folder.mkdir()
    backend.build(model, folder)
    found = numerics(backend, folder, Asked(kind="static"), items(model.signature, 1))
    assert found.unfused
    left = {reason for one in found.operators for reason in one.left}
    assert any("not fused" in reason for reason in left)


def unfusable(folder: Path) -> FileModel:
    """x -> Q -> DQ -> ConvTranspose -> Q -> DQ -> y, with float weights behind Q and DQ; no 8-bit kernel for it."""
    rng = np.random.default_rng(0)
    scalars = [
        numpy_helper.from_array(np.float32(0.05), "s"),
        numpy_helper.from_array(np.uint8(128), "z"),
        numpy_helper.from_array(rng.integers(-127, 127, (3, 4, 3, 3)).astype(np.int8), "wq"),
        numpy_helper.from_array(np.float32(0.01), "ws"),
        numpy_helper.from_array(np.int8(0), "wz"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"], name="q1"),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"], name="dq1"),
        helper.make_node("DequantizeLinear", ["wq", "ws", "wz"], ["w"], name="dqw"),
        helper.make_node("ConvTranspose", ["xd", "w"], ["c"], name="up"),
        helper.make_node("QuantizeLinear", ["c", "s", "z"], ["cq"], name="q2"),
        helper.make_node("DequantizeLinear", ["cq", "s", "z"], ["y"], name="dq2"),
    ]
    path = save(folder / "qdq.onnx", nodes, scalars, ["batch", 3, 8, 8], ["batch", 4, 10, 10], 17)
    like = cnn(folder, name="like.onnx").signature
    signature = msgspec.structs.replace(
        like,
        inputs=(msgspec.structs.replace(like.inputs[0], shape=("batch", 3, 8, 8)),),
        outputs=(msgspec.structs.replace(like.outputs[0], shape=("batch", 4, 10, 10)),),
    )
    model = FileModel(signature, {"onnx": path})
    model.facts = facts(quantized=True, ConvTranspose=1)
    return model


# --- accuracy that is lost, or differs by processor -----------------------------------------------------------------

NO_VNNI = Forms(activations="u8", weights="s8", reduce_range=True, reason="planted")


@pytest.mark.parametrize("name", ["quantize_static", "quantize_dynamic"])
def test_onnxruntime_5849_6004_14642_without_vnni_weights_get_seven_bits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right on one Xeon, wrong on the next: without VNNI pairs of products are added in 16 bits and saturate."""
    model = mlp(tmp_path)
    largest = {}
    for seven in (False, True):
        form = msgspec.structs.replace(NO_VNNI, reduce_range=seven)
        for where in ("_qdq", "quantize_dynamic"):
            monkeypatch.setattr(f"accel.compression.{where}.forms_here", lambda form=form: form)
        changed = technique(name).apply(model, rows(model), "onnxruntime")
        weights = [numpy_helper.to_array(w) for w in stored(changed.as_form("onnx")).values()]
        largest[seven] = max(np.abs(w.astype(int)).max() for w in weights if w.dtype == np.int8 and w.ndim == 2)
    assert largest[False] > 64
    assert largest[True] <= 64


def test_openvino_25342_without_vnni_nncf_is_told_of_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    nncf = pytest.importorskip("nncf")
    from accel.compression import _nncf

    monkeypatch.setattr(_nncf, "forms_here", lambda: NO_VNNI)
    told = _nncf._advanced(technique("quantize_static"), narrow=False)
    assert told.overflow_fix == nncf.OverflowFix.ENABLE


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_pytorch_103646_without_vnni_pt2e_reduces_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default configuration of a torch backend assumed VNNI in silence."""
    pytest.importorskip("torchao")
    import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer as x86

    from accel.compression import _pt2e
    from tests.small_networks import torch_cnn

    told: dict[str, Any] = {}

    def configured(**fields: Any) -> None:
        told.update(fields)
        raise RuntimeError("far enough")

    monkeypatch.setattr(_pt2e, "forms_here", lambda: NO_VNNI)
    monkeypatch.setattr(_pt2e, "_exported", lambda *a, **k: SimpleNamespace(module=lambda: None))
    monkeypatch.setattr(x86, "get_default_x86_inductor_quantization_config", configured)
    model, given, _ = torch_cnn()
    with pytest.raises(VariantError, match="far enough"):
        technique("quantize_static").apply(model, Rows(given), "inductor")
    assert told["reduce_range"] is True


def test_onnxruntime_14642_a_file_made_for_one_processor_is_not_reused_on_another() -> None:
    one = variant("int8", "onnxruntime", Named("quantize_static"))
    keys = {
        key(one, model_sha256="m", calibration_sha256="c", machine=machine(flags=flags))
        for flags in (("avx2", "avx512_vnni"), AVX2)
    }
    assert len(keys) == 2


def outlier(folder: Path) -> FileModel:
    """One output column's weights are a thousand times the others': one scale for all leaves those one step or two."""
    model = mlp(folder)
    proto = onnx.load(model.as_form("onnx"))
    for weight in proto.graph.initializer:
        if weight.name == "w2":
            values = numpy_helper.to_array(weight).copy()
            values[:, 0] *= 1000
            weight.CopyFrom(numpy_helper.from_array(values, "w2"))
    onnx.save(proto, model.as_form("onnx"))
    model.facts = facts("other", MatMul=2)
    return model


def test_onnxruntime_9599_outlier_columns_keep_their_own_scale(tmp_path: Path) -> None:
    """MiniLM's scores next to random after dynamic INT8."""
    model = outlier(tmp_path)
    given = items(model.signature, 16)
    expected = float_outputs(model, given, tmp_path / "float")[:, 1:]
    naive = dynamic_by_the_tool(model.as_form("onnx"), tmp_path / "naive.onnx")
    found = ort.InferenceSession(str(naive), providers=["CPUExecutionProvider"]).run(None, given)[0][:, 1:]
    assert relative(found, expected) > 0.3
    ours = technique("quantize_dynamic").apply(model, None, "onnxruntime")
    assert relative(float_outputs(ours, given, tmp_path / "ours")[:, 1:], expected) < 0.03


def test_onnxruntime_9599_a_collapse_is_refused_without_a_label() -> None:
    """Scores that look like nothing of the original's: the guard needs no labels to see it."""
    rng = np.random.default_rng(0)
    reference = {"scores": list(rng.normal(size=(400, 4)))}
    collapsed = {"scores": list(rng.normal(size=(400, 4)))}
    assert guard.score(collapsed, reference, None, None, accuracy_drop=0.01).outcome == "fails"


def test_onnxruntime_11415_a_channel_of_tiny_weights_keeps_its_bias(tmp_path: Path) -> None:
    """MobileNetV3 per channel 54 % instead of 69 %: with a tiny scale of its own a channel's bias overflows."""
    rng = np.random.default_rng(3)
    weight = rng.normal(size=(8, 1, 3, 3)).astype(np.float32)
    weight[2] *= 1e-9
    bias = np.full(8, 3.0, np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], group=8, pads=[1, 1, 1, 1], name="depthwise"),
        helper.make_node("GlobalAveragePool", ["c"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["y"], name="flat"),
    ]
    weights = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")]
    path = save(tmp_path / "depthwise.onnx", nodes, weights, ["batch", 8, 8, 8], ["batch", 8], 17)
    like = cnn(tmp_path).signature
    signature = msgspec.structs.replace(
        like,
        inputs=(msgspec.structs.replace(like.inputs[0], shape=("batch", 8, 8, 8)),),
        outputs=(msgspec.structs.replace(like.outputs[0], shape=("batch", 8)),),
    )
    model = FileModel(signature, {"onnx": path})
    model.facts = facts("depthwise", Conv=1)
    given = items(signature, 8)
    expected = float_outputs(model, given, tmp_path / "float")
    ours = technique("quantize_static").apply(model, rows(model), "onnxruntime")
    assert ours is not model
    assert relative(float_outputs(ours, given, tmp_path / "ours"), expected) < 0.05


def test_onnxruntime_11576_what_is_scored_is_what_is_timed(tmp_path: Path) -> None:
    """Five points of accuracy depended on the optimization level: it is a knob, recorded with what it answered."""
    model = cnn(tmp_path)
    changed = technique("quantize_static").apply(model, rows(model), "onnxruntime")
    folder = tmp_path / "artefact"
    folder.mkdir()
    plugins.make("compilation", Named("onnxruntime")).build(changed, folder)
    names, levels = set(), []
    for level in ("all", "none"):
        backend = Named("onnxruntime", {"optimization": level})
        engine = plugins.make("compilation", backend).open(folder)
        levels.append(engine.effective.detail["optimization"])
        engine.close()
        names.add(accel.recipe.variant_name((Named("quantize_static"),), plugins.parse("compilation", backend)))
    assert levels == ["all", "none"]
    assert len(names) == 2, "they are two variants, each scored by itself"


def massive(folder: Path) -> tuple[FileModel, dict[str, np.ndarray]]:
    """One input feature is huge and matters little: 8-bit activations of its block leave nothing of the others."""
    rng = np.random.default_rng(5)
    weights = rng.normal(size=(32, 8)).astype(np.float32)
    weights[0] = 1e-5
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="head")]
    path = save(
        folder / "massive.onnx", nodes, [numpy_helper.from_array(weights, "w")], ["batch", 32], ["batch", 8], 17
    )
    like = mlp(folder).signature
    signature = msgspec.structs.replace(
        like,
        inputs=(msgspec.structs.replace(like.inputs[0], shape=("batch", 32)),),
        outputs=(msgspec.structs.replace(like.outputs[0], shape=("batch", 8)),),
    )
    model = FileModel(signature, {"onnx": path})
    model.facts = facts("other", MatMul=1)
    given = rng.normal(size=(400, 32)).astype(np.float32)
    given[:, 0] = 2000.0
    return model, {"x": given}


def test_onnxruntime_29849_flipped_answers_are_seen_and_the_level_can_be_set(tmp_path: Path) -> None:
    """accuracy_level = 4 turned tokens into others, and nothing said so."""
    model, given = massive(tmp_path)
    reference = {"y": list(float_outputs(model, given, tmp_path / "float"))}
    outcomes = {}
    for level in (4, 1):
        asked = technique("quantize_weights", bits=8, block_size=32, accuracy_level=level)
        changed = asked.apply(model, Rows(given), "onnxruntime")
        found = {"y": list(float_outputs(changed, given, tmp_path / f"level-{level}"))}
        outcomes[level] = guard.score(found, reference, None, None, accuracy_drop=0.01)
    assert outcomes[1].outcome != "fails", outcomes[1]
    assert outcomes[4].outcome == "fails", outcomes[4]
    assert "answers agree" in outcomes[4].reason


def test_inference_examples_319_calibrating_with_one_picture_again_and_again_is_said(tmp_path: Path) -> None:
    """A ResNet-50 at 0.10 % after quantizing; its images had been prepared otherwise than the network expects."""
    model = cnn(tmp_path)
    same = {name: np.repeat(value[:1], 12, axis=0) for name, value in items(model.signature, 1).items()}
    changed = technique("quantize_static").apply(model, Rows(same), "onnxruntime")
    assert changed.calibrated is not None
    assert changed.calibrated.constant == ("x",)
    assert changed.calibrated.few


def test_neural_compressor_956_2261_no_variant_that_keeps_the_accuracy_is_an_answer(tmp_path: Path) -> None:
    """ "Not found any quantized model which meets the accuracy goal", and `None` was saved."""
    bad = Made(
        variant=variant("int8", "onnxruntime", Named("quantize_static")), item_s=0.0008, accuracy=0.2, status="refused"
    )
    study = study_of(tmp_path, bad, blocks=0)
    winner = study.best("batch")
    assert winner.answer.keeps_baseline
    assert winner.name == "original"
    row = study.conclusion.row("int8")
    assert row.quality.outcome == "fails"
    assert row.quality.value == 0.2, "what it scored stays on the page"


def test_neural_compressor_2261_compress_gives_the_file_and_says_that_it_fails(tmp_path: Path) -> None:
    model = outlier(tmp_path)
    made = accel.compress(
        model.as_form("onnx"),
        {"name": "quantize_dynamic", "per_channel": False},
        samples=items(model.signature, 200),
        metric=without_the_outlier,
        labels=np.zeros(200),
        accuracy_drop="1pp",
    )
    assert made.path.is_file()
    assert made.quality.outcome in ("passes", "fails", "unresolved")
    assert made.quality.outcome.upper() in str(made)


def without_the_outlier(outputs_: dict[str, Any], labels: Any) -> Any:
    """Higher is better: minus the mean size of all columns but the first."""
    return -np.abs(outputs_["y"][:, 1:]).mean(axis=1)


def test_neural_compressor_819_an_old_opset_does_not_lose_per_channel_scales(tmp_path: Path) -> None:
    """Published accuracy wasn't reached: at opset 11 the tool dropped per-channel scales, or wrote what can't load."""
    model = cnn(tmp_path, opset=11)
    ours = technique("quantize_static").apply(model, rows(model), "onnxruntime")
    scales = Counter(len(w.dims) for n, w in stored(ours.as_form("onnx")).items() if n.endswith("_scale"))
    assert scales[1] >= 2, "one scale for each channel of both convolutions"
    given = items(model.signature, 4)
    expected = float_outputs(model, given, tmp_path / "float")
    assert relative(float_outputs(ours, given, tmp_path / "ours"), expected) < 0.03


def test_neural_compressor_1617_the_fastest_within_the_tolerance_wins(tmp_path: Path) -> None:
    fastest = Made(
        variant=variant("wrong", "onnxruntime", Named("quantize_static")), item_s=0.0005, accuracy=0.5, status="refused"
    )
    good = Made(variant=variant("good", "openvino", Named("quantize_static")), item_s=0.0012, accuracy=0.984)
    slower = Made(variant=variant("slower", "openvino"), item_s=0.0024)
    study = study_of(tmp_path, fastest, good, slower)
    assert study.best("batch").name == "good"


def test_optimum_128_benchmarking_tool_23_gain_and_loss_stand_in_one_table(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    frame = study_of(tmp_path, FASTER).frame()
    for name in ("original", "onnxruntime"):
        metrics = set(frame[frame["variant"] == name]["metric"])
        assert {"p50", "throughput"} <= metrics
        assert any("accuracy" in str(m) for m in metrics)


# --- unsupported operators; one failure ends everything ---------------------------------------------------------------


def test_onnxruntime_15888_12558_3130_6430_23985_a_missing_kernel_is_said_when_the_file_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file was written without a word and didn't load; here it isn't made that way, and asked for it is tried."""
    model = cnn(tmp_path)
    plain = technique("quantize_dynamic").apply(model, None, "onnxruntime")
    assert "ConvInteger" not in operators(read(plain.as_form("onnx")))

    def refuse(*args: Any, **more: Any) -> None:
        raise RuntimeError(
            "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation for ConvInteger"
        )

    monkeypatch.setattr(ort, "InferenceSession", refuse)
    with pytest.raises(VariantError, match="no kernel for dynamically quantized convolutions") as raised:
        technique("quantize_dynamic", operators=["Conv"]).apply(model, None, "onnxruntime")
    assert "quantize_static" in raised.value.next_step


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> accel.Study:
    """A study in which one variant can't be made, one makes no sense, and one is fine."""
    folder = tmp_path_factory.mktemp("broken")
    model = mlp(folder)
    with pytest.MonkeyPatch.context() as patch:
        brief(patch)
        return accel.bench(
            model.as_form("onnx"),
            samples=items(model.signature, 48),
            target="batch",
            batch=[8],
            budget="90s",
            variants=[
                {"name": "excluded", "backend": "onnxruntime", "compression": ["quantize_static:count=0"]},
                {"name": "refused", "backend": "onnxruntime", "compression": ["lower_precision"]},
                {"name": "fine", "backend": "onnxruntime", "compression": ["quantize_dynamic"]},
            ],
            out=folder / "out",
        )


def test_olive_90_389_neural_compressor_1621_optimate_346_one_failure_is_one_row(broken: accel.Study) -> None:
    """A crash at trial 73, a compiler's assertion: everything before it was lost, nothing after it was tried."""
    rows_ = {row.name: row for row in broken.conclusion.rows}
    assert rows_["excluded"].status == "failed"
    assert rows_["refused"].status == "refused"
    assert rows_["fine"].status == "ok"
    for name in ("excluded", "refused"):
        assert rows_[name].reason
        assert rows_[name].next_step


def test_olive_475_575_a_failure_is_no_success_and_something_is_always_kept(broken: accel.Study) -> None:
    """The tuning's error was printed, the run called a success; no model was selected, so none was packaged."""
    assert "excluded" in str(broken)
    assert (broken.folder / "winner" / "batch" / "run.py").is_file()
    assert broken.best("batch").name in ("fine", broken.record.baseline)


def test_hydra_1513_inference_perf_817_what_was_finished_is_on_disk(broken: accel.Study) -> None:
    kept = {result.variant.name for result in broken.results}
    assert {"excluded", "refused", "fine"} <= kept
    assert all((broken.folder / "runs" / f"{r.run_id}.json").is_file() for r in broken.results)


def test_optimate_239_no_samples_in_the_samples_is_an_error() -> None:
    """An empty input did nothing, without a word."""
    with pytest.raises(InputError, match="empty"):
        accel.compress("demo", "quantize_static", samples={"input": np.zeros((0, 1, 32, 32), np.float32)})


def answers_nothing(x: Any) -> Any:
    raise ValueError("this never answers")


def test_model_analyzer_697_nothing_measured_is_an_error_and_not_an_empty_table(tmp_path: Path) -> None:
    with pytest.raises((InputError, NothingMeasured), match="this never answers"):
        accel.bench(answers_nothing, samples={"x": np.ones((8, 2), np.float32)}, budget="20s", out=tmp_path / "out")


# --- pruning gives nothing --------------------------------------------------------------------------------------------


def test_pytorch_36214_43552_tutorials_905_model_optimization_391_611_tensorrt_3282_zeros_buy_no_speed() -> None:
    """80 % of the weights are zero; time, memory and file are what they were."""
    torch = pytest.importorskip("torch")
    from torch.nn.utils import prune

    from tests.small_networks import Cnn, torch_cnn

    naive = Cnn()
    before = sum(p.numel() for p in naive.parameters())
    prune.l1_unstructured(naive.second, "weight", amount=0.8)
    prune.remove(naive.second, "weight")
    assert sum(p.numel() for p in naive.parameters()) == before
    model, _, _ = torch_cnn()
    model.facts = msgspec.structs.replace(model.facts, forms=("torch", "onnx"))
    changed = technique("prune_magnitude", sparsity=0.8).apply(model, None, "onnxruntime")
    note = changed.notes[-1]
    assert "buys size" in note
    assert "no speed" in note
    assert is_probe((Named("prune_magnitude"),)), "and it can't win"
    assert torch.equal(model.as_form("torch").module.second.weight != 0, torch.ones(16, 16, 3, 3, dtype=torch.bool))


def test_tensorrt_3282_pytorch_tutorials_3236_two_of_four_is_refused_without_the_hardware() -> None:
    given = msgspec.structs.replace(facts("transformer"), forms=("torch", "onnx"))
    for target in ("onnxruntime", "openvino", "inductor", "eager"):
        one = variant("sparse", target, Named("prune_2_4"))
        refusal = why_not(one, given, machine())
        assert refusal is not None
        assert "sparse tensor cores" in refusal.reason
        assert "prune_structured" in refusal.next_step


def test_torch_pruning_149_33_channels_are_really_gone_and_rounded_to_what_kernels_like() -> None:
    """FLOPs fell on paper; the time didn't, and the saved file grew."""
    pytest.importorskip("torch_pruning")
    from tests.small_networks import torch_cnn

    model, _, _ = torch_cnn()
    model.facts = msgspec.structs.replace(model.facts, forms=("torch", "onnx"))
    changed = technique("prune_structured", round_to=8).apply(model, None, "onnxruntime")
    before, after = model.as_form("torch").module, changed.as_form("torch").module
    assert tuple(before.first.weight.shape) == (16, 3, 3, 3)
    assert tuple(after.first.weight.shape) == (8, 3, 3, 3), "the tensor itself is smaller, so the file is"
    assert after.second.in_channels == 8
    assert sum(p.numel() for p in after.parameters()) < sum(p.numel() for p in before.parameters()) / 2
    assert "%" in changed.notes[-1]


@pytest.mark.parametrize("name", ["prune_structured", "prune_magnitude", "prune_2_4", "low_rank"])
def test_torch_pruning_33_what_is_pruned_and_not_trained_again_cannot_win(name: str) -> None:
    assert is_probe((Named(name), Named("quantize_static")))
    assert not is_probe((Named(name), Named("fine_tune"), Named("quantize_static")))


# --- the table above --------------------------------------------------------------------------------------------------


def test_the_tests_named_in_the_table_are_there() -> None:
    root = Path(__file__).parents[1]
    for name in ("test_isolation.py", "test_resilience.py"):
        assert name in (__doc__ or "")
        assert list(root.rglob(name)), name
