"""One compressed file that a plain runtime loads, judged against the original; wrong input is told in a sentence."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import accel
from accel.compilation import Effective
from accel.errors import InputError, VariantError
from accel.plugins import Named
from accel.result import Quality, SetUp
from accel.standalone.compressed import Compressed
from tests.small_models import FileModel, cnn, items, mlp

ort = pytest.importorskip("onnxruntime")


def ran_by_onnxruntime(path: Path, given: dict[str, np.ndarray]) -> np.ndarray:
    """Nothing of accel's: a session as anybody would open it."""
    return np.asarray(ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, given)[0])


def ran_by_openvino(path: Path, given: dict[str, np.ndarray]) -> np.ndarray:
    ov = pytest.importorskip("openvino")
    return np.asarray(ov.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(given)[0])


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> FileModel:
    return cnn(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def given(model: FileModel) -> dict[str, np.ndarray]:
    return items(model.signature, 48)


@pytest.fixture(scope="module")
def static(model: FileModel, given: dict[str, np.ndarray]) -> tuple[Compressed, list[str]]:
    said: list[str] = []
    return accel.compress(model.as_form("onnx"), "quantize_static", samples=given, progress=said.append), said


def test_the_file_loads_in_plain_onnxruntime_and_answers_nearly_the_same(static, model, given) -> None:
    compressed, _ = static
    assert compressed.form == "onnx"
    assert [p.name for p in compressed.path.parent.iterdir()] == ["model.onnx"], "the file and nothing else"
    expected = ran_by_onnxruntime(model.as_form("onnx"), given)
    assert 0 < relative(ran_by_onnxruntime(compressed.path, given), expected) < 0.05


def test_what_is_said_of_it_is_so(static, model) -> None:
    compressed, said = static
    assert compressed.before_bytes == model.as_form("onnx").stat().st_size
    assert compressed.after_bytes == compressed.path.stat().st_size
    assert compressed.quality.outcome == "passes"
    assert 0 < compressed.quality.samples < 48, "it is not judged by what it was calibrated with"
    assert compressed.effective.precision == "int8"
    assert compressed.set_up.compress_s is not None
    assert any("calibration samples" in note for note in compressed.notes)
    text = str(compressed)
    assert compressed.numerics is not None
    for words in (
        "quantize_static+onnxruntime",
        "PASSES",
        "in 8 bits: Conv 2 of 2",
        "accel.bench",
        str(compressed.path),
    ):
        assert words in text
    assert said[0] == "looking at the model"
    assert any(stage.startswith("compressed: compressing") for stage in said)


def test_save_refuses_to_overwrite_unless_asked(static, tmp_path) -> None:
    compressed, _ = static
    assert compressed.save(tmp_path / "int8.onnx") == tmp_path / "int8.onnx"
    assert compressed.save(tmp_path / "folder") == tmp_path / "folder" / "model.onnx"
    assert (tmp_path / "int8.onnx").read_bytes() == compressed.path.read_bytes()
    (tmp_path / "int8.onnx").write_bytes(b"mine")
    with pytest.raises(InputError, match="exists already"):
        compressed.save(tmp_path / "int8.onnx")
    assert (tmp_path / "int8.onnx").read_bytes() == b"mine"
    compressed.save(tmp_path / "int8.onnx", overwrite=True)
    assert (tmp_path / "int8.onnx").read_bytes() == compressed.path.read_bytes()
    with pytest.raises(InputError, match=r"is a `\.onnx` file, but .* ends in `\.xml`"):
        compressed.save(tmp_path / "int8.xml")


def test_openvino_gets_its_pair_of_files(model, given, tmp_path) -> None:
    pytest.importorskip("nncf")
    compressed = accel.compress(
        model.as_form("onnx"), "quantize_static", samples=given, backend="openvino", out=tmp_path / "int8.xml"
    )
    assert compressed.path == tmp_path / "int8.xml"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["int8.bin", "int8.xml"]
    expected = ran_by_onnxruntime(model.as_form("onnx"), given)
    assert 0 < relative(ran_by_openvino(compressed.path, given), expected) < 0.1
    assert "judged with INFERENCE_PRECISION_HINT=" in str(compressed), "OpenVINO's own default may be another"
    assert compressed.after_bytes == sum(p.stat().st_size for p in tmp_path.iterdir())


def test_one_portable_file_serves_several_runtimes(model, given) -> None:
    compressed = accel.compress(model.as_form("onnx"), "quantize_static", samples=given, portable=True)
    assert compressed.techniques[0].fields["portable"] is True
    expected = ran_by_onnxruntime(model.as_form("onnx"), given)
    assert relative(ran_by_onnxruntime(compressed.path, given), expected) < 0.05
    assert relative(ran_by_openvino(compressed.path, given), expected) < 0.05


def test_without_samples_outputs_are_checked_and_never_called_accuracy(tmp_path) -> None:
    compressed = accel.compress(mlp(tmp_path).as_form("onnx"), "quantize_dynamic")
    assert compressed.quality.synthetic
    assert compressed.quality.metric is None
    assert "correctness check" in str(compressed)


def furthest(outputs: dict[str, Any], labels: Any) -> Any:
    """A user's own metric, one number a sample."""
    return -np.abs(outputs["y"]).max(axis=1) + 0 * labels


def test_a_metric_of_the_users_own_and_labels_judge_it(tmp_path) -> None:
    model = mlp(tmp_path)
    given = items(model.signature, 40)
    compressed = accel.compress(
        model.as_form("onnx"), "quantize_dynamic", samples=given, labels=np.zeros(40), metric=furthest
    )
    assert compressed.quality.metric == "furthest"
    assert compressed.quality.value is not None
    assert "furthest" in str(compressed)


def test_a_pipeline_on_a_live_module_with_a_function_that_tunes_it(tmp_path) -> None:
    """Pruned, trained by a function of this very file, quantized: in this order, and the file is small for it."""
    pytest.importorskip("torch_pruning")
    from tests.small_networks import torch_cnn

    model, _, _ = torch_cnn()
    given = {"x": np.random.default_rng(1).normal(size=(40, 3, 16, 16)).astype(np.float32)}
    pipeline = [
        {"name": "prune_structured", "round_to": 8},
        {"name": "fine_tune", "by": does_nothing},
        "quantize_static",
    ]
    made = accel.compress(model.as_form("torch").module, pipeline, samples=given)
    assert [c.name for c in made.techniques] == ["prune_structured", "fine_tune", "quantize_static"]
    assert made.after_bytes < 0.6 * made.before_bytes
    assert ran_by_onnxruntime(made.path, given).shape == (40, 5)
    assert "prune_structured" in str(made)
    assert "trained by `does_nothing`" in str(made)


def does_nothing(module: Any, seconds: float) -> None:
    """Stands for a user's training."""


def test_what_is_pruned_and_not_tuned_is_called_a_probe() -> None:
    pytest.importorskip("torch")
    from tests.small_networks import Cnn

    given = {"x": np.random.default_rng(1).normal(size=(40, 3, 16, 16)).astype(np.float32)}
    made = accel.compress(Cnn().eval(), "prune_magnitude", samples=given)
    assert made.quality.outcome == "fails"
    assert "speed probe" in str(made)


def test_a_function_that_cannot_be_handed_over_is_named() -> None:
    import threading

    lock = threading.Lock()
    with pytest.raises(InputError, match=r"given as `by` can't be handed.*file\.py:function"):
        accel.compress("demo", {"name": "fine_tune", "by": lambda module, seconds: lock})


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("techniques", "more", "words"),
    [
        ("quantise_static", {}, ["`quantise_static`", "Did you mean `quantize_static`?"]),
        ("quantize_static:coutn=8", {}, ["no field `coutn`", "Did you mean `count`?"]),
        ([], {}, ["`techniques` is empty", "quantize_static"]),
        (3, {}, ["name", "`3`"]),
        ("quantize_static", {"backend": "inductor"}, ["`inductor` leaves no file", "`onnxruntime` or `openvino`"]),
        ("quantize_static", {"backend": "opnvino"}, ["Did you mean `openvino`?"]),
        ("quantize_dynamic", {"portable": True}, ["`portable`", "`quantize_static`", "Leave it out"]),
        ("quantize_static", {"accuracy_drop": "lots"}, ["lots"]),
        ("quantize_static", {"out": "there.onnx"}, ["`there.onnx` exists already"]),
        ("quantize_static", {"out": "new.xml"}, ["a `.onnx` file", "ends in `.xml`"]),
    ],
)
def test_wrong_words_are_refused_before_anything_starts(
    techniques, more, words, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("accel.standalone.compress.make", lambda *a: pytest.fail("it was begun"))
    Path("there.onnx").write_bytes(b"mine")
    with pytest.raises(InputError) as raised:
        accel.compress("model.onnx", techniques, **more)
    for word in words:
        assert word in str(raised.value)


@pytest.mark.parametrize(
    ("techniques", "more", "words"),
    [
        ("quantize_dynamic:group_size=32", {}, ["`group_size` means nothing", "Leave `group_size` out"]),
        ("lower_precision", {}, ["ONNX Runtime has no bfloat16 kernels", "`openvino`"]),
        ("quantize_static", {"samples": None}, ["no samples were given", "`quantize_dynamic`"]),
        ("quantize_dynamic+quantize_static", {}, ["quantized already", "float32"]),
        ("fine_tune", {}, ["`fine_tune` changes the layers of a torch module", "came as onnx", "torch module itself"]),
        ("prune_structured+quantize_static", {}, ["torch module", "came as onnx"]),
        ("quantize_static+prune_structured", {}, ["leaves onnx", "Put `prune_structured` before `quantize_static`"]),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_reason(techniques, more, words, tmp_path) -> None:
    model = mlp(tmp_path)
    given = {"samples": items(model.signature, 40), **more}
    with pytest.raises(InputError) as raised:
        accel.compress(model.as_form("onnx"), techniques, **given)
    message = str(raised.value)
    for word in words:
        assert word in message
    assert "\n" not in message


def test_a_toolchains_failure_says_which_technique_and_what_to_do(tmp_path) -> None:
    model = mlp(tmp_path)
    with pytest.raises(VariantError, match="no such node") as raised:
        accel.compress(
            model.as_form("onnx"),
            {"name": "quantize_static", "exclude": ["frist"]},
            samples=items(model.signature, 40),
        )
    assert "`quantize_static` failed for the backend `onnxruntime`" in str(raised.value)
    assert "Did you mean `first`?" in str(raised.value)


def test_a_missing_model_is_wrong_input(tmp_path) -> None:
    with pytest.raises(InputError, match=r"gone\.onnx"):
        accel.compress(tmp_path / "gone.onnx", "quantize_dynamic")


# --- saving, without making ------------------------------------------------------------------------------------------


def made_up(path: Path, form: Any) -> Compressed:
    return Compressed(
        name="m",
        path=path,
        form=form,
        techniques=(Named("quantize_static"),),
        backend=Named("onnxruntime"),
        quality=Quality(outcome="fails", rule="r", reason="accuracy fell from 0.9 to 0.1", samples=9),
        numerics=None,
        effective=Effective(precision="int8", threads=1, provider="p"),
        set_up=SetUp(),
        before_bytes=4000,
        after_bytes=1000,
        seconds=2.0,
    )


def test_external_data_keeps_the_name_that_stands_in_the_model(tmp_path) -> None:
    for name in ("model.onnx", "model.data", "sub/weights.bin"):
        (tmp_path / "made" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "made" / name).write_text(name)
    made_up(tmp_path / "made" / "model.onnx", "onnx").save(tmp_path / "to" / "int8.onnx")
    found = {str(p.relative_to(tmp_path / "to")): p.read_text() for p in (tmp_path / "to").rglob("*") if p.is_file()}
    assert found == {"int8.onnx": "model.onnx", "model.data": "model.data", "sub/weights.bin": "sub/weights.bin"}


def test_nothing_is_copied_if_one_of_the_files_is_in_the_way(tmp_path) -> None:
    for name in ("model.xml", "model.bin"):
        (tmp_path / name).write_text(name)
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "a.bin").write_text("mine")
    with pytest.raises(InputError, match=r"a\.bin` exists"):
        made_up(tmp_path / "model.xml", "openvino").save(tmp_path / "to" / "a.xml")
    assert [p.name for p in (tmp_path / "to").iterdir()] == ["a.bin"]


def test_a_place_that_cannot_be_written_is_named(tmp_path) -> None:
    (tmp_path / "model.onnx").write_text("x")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="can't be written"):
        made_up(tmp_path / "model.onnx", "onnx").save(tmp_path / "file" / "sub" / "a.onnx")


def test_a_compressed_model_that_fails_says_so_first(tmp_path) -> None:
    text = str(made_up(tmp_path / "model.onnx", "onnx"))
    assert "FAILS on 9 samples" in text
    assert "fell from 0.9 to 0.1" in text
    assert "25 %" in text
    assert "fails" in repr(made_up(tmp_path / "model.onnx", "onnx"))
    better = msgspec.structs.replace(
        made_up(tmp_path, "onnx"), quality=Quality(outcome="passes", rule="agreement", agreement=0.995, samples=9)
    )
    assert "99.5 % of the answers" in str(better)


# --- without a main guard ---------------------------------------------------------------------------------------------

SCRIPT = """
import numpy as np
import torch

import accel


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(8, 4)

    def forward(self, x):
        return torch.relu(self.head(x))


def shifted(outputs, labels):
    return -float(np.abs(outputs[next(iter(outputs))]).mean())


torch.manual_seed(0)
x = np.random.default_rng(0).normal(size=(32, 8)).astype("float32")
made = accel.compress(Net().eval(), "quantize_static", samples={"x": x}, labels=np.zeros(32), metric=shifted)
print(made.path.is_file(), made.quality.metric, made.path)
"""


@pytest.mark.slow
def test_a_script_without_a_main_guard_compresses_its_own_module_and_leaves_nothing(tmp_path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "own.py").write_text(textwrap.dedent(SCRIPT))
    done = subprocess.run(
        [sys.executable, "own.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    there, metric, path = done.stdout.split()
    assert (there, metric) == ("True", "shifted")
    assert not Path(path).exists(), "a temporary folder ends with its program"
    assert [p.name for p in tmp_path.iterdir()] == ["own.py"]
