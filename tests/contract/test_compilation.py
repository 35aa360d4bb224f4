"""What every backend promises, over everything the folder holds."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import numpy as np
import pytest

from accel import plugins
from accel.errors import InputError, VariantError
from accel.plugins import Named
from tests.fresh_process import run_fresh
from tests.small_models import cnn, facts, items, machine, mlp

NAMES = plugins.names("compilation")
BUILDS_ONNX = ("null", "onnxruntime", "openvino")
HEAVY = ("torch", "onnxruntime", "openvino", "nncf", "onnx", "torchao", "pandas", "scipy", "sklearn")
TORCH = [
    pytest.param("eager", {}, "float32", 1e-5, "torch_cnn", id="eager-cnn"),
    pytest.param("eager", {}, "float32", 1e-5, "torch_attention", id="eager-attention"),
    pytest.param("eager", {"channels_last": True}, "bf16", 0.02, "torch_cnn", id="eager-bf16-cnn"),
    pytest.param("eager", {}, "bf16", 0.02, "torch_attention", id="eager-bf16-attention"),
    pytest.param(
        "inductor", {"freezing": True}, "float32", 1e-4, "torch_cnn", id="inductor-cnn", marks=pytest.mark.slow
    ),
    pytest.param("inductor", {}, "bf16", 0.02, "torch_attention", id="inductor-bf16-attention", marks=pytest.mark.slow),
    pytest.param("aot_inductor", {}, "bf16", 0.02, "torch_cnn", id="aot_inductor-bf16-cnn", marks=pytest.mark.slow),
]


def reference(model, given):
    import onnxruntime as ort

    session = ort.InferenceSession(str(model.as_form("onnx")), providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, given), strict=True))


def relative(found, expected):
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def test_loading_every_plugin_imports_no_toolchain():
    code = (
        "import sys; from accel import plugins\n"
        "for kind in ('compilation', 'compression'):\n"
        "    for name in plugins.names(kind): plugins.load(kind, name)()\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", NAMES)
def test_it_states_what_it_promises(name):
    backend = plugins.load("compilation", name)()
    assert set(backend.runs) <= {"torch", "onnx", "openvino", "callable", "sklearn"}
    assert backend.runs
    assert isinstance(backend.runtime, str)
    assert backend.extra in (None, "torch", "openvino", "sklearn")
    assert set(backend.build_fields) <= {field.name for field in msgspec.structs.fields(type(backend))}
    assert all(isinstance(v, str) for v in backend.env().values())
    refusal = backend.fits(facts(), machine())
    if getattr(backend, "needs_gpu", False):
        assert "needs an NVIDIA GPU" in refusal.reason
    else:
        assert refusal is None


@pytest.mark.parametrize("name", NAMES)
def test_plain_and_make_are_opposites(name):
    backend = plugins.make("compilation", Named(name))
    assert plugins.plain(backend) == Named(name)
    assert hash(backend) == hash(plugins.make("compilation", plugins.plain(backend)))


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_field_is_named(name):
    with pytest.raises(InputError, match="no field `thraeds`"):
        plugins.make("compilation", Named(name, {"thraeds": 1}))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_frozen(name):
    backend = plugins.make("compilation", Named(name))
    for field in msgspec.structs.fields(type(backend)):
        with pytest.raises(AttributeError):
            setattr(backend, field.name, field.default)


@pytest.mark.parametrize("make_model", [cnn, mlp])
@pytest.mark.parametrize("name", BUILDS_ONNX)
def test_a_fresh_process_gives_the_reference_outputs(name, make_model, tmp_path):
    model = make_model(tmp_path)
    given = items(model.signature, 3)
    folder = tmp_path / "artefact"
    folder.mkdir()
    plugins.make("compilation", Named(name)).build(model, folder)
    moved = folder.rename(tmp_path / "moved")
    answer = run_fresh(Named(name), moved, given, [1, 3], tmp_path / "run")
    assert answer["sizes"] is None
    for n in (1, 3):
        found = answer["outputs"][f"{n}/y"]
        expected = reference(model, {"x": given["x"][:n]})["y"]
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        if name != "null":
            assert relative(found, expected) < 1e-5


@pytest.mark.parametrize("name", BUILDS_ONNX)
def test_measuring_loads_one_runtime_and_no_toolchain(name, tmp_path):
    model = mlp(tmp_path)
    folder = tmp_path / "artefact"
    folder.mkdir()
    plugins.make("compilation", Named(name)).build(model, folder)
    loaded = run_fresh(Named(name), folder, items(model.signature, 1), [1], tmp_path / "run")["modules"]
    assert [m for m in HEAVY if m in loaded] == ([] if name == "null" else [name])


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning", "ignore:To copy construct:UserWarning")
@pytest.mark.parametrize(("name", "fields", "precision", "limit", "network"), TORCH)
def test_a_fresh_process_gives_what_the_module_gives(name, fields, precision, limit, network, tmp_path):
    pytest.importorskip("torch")
    from tests import small_networks

    model, given, expected = getattr(small_networks, network)()
    model.precision = precision
    folder = tmp_path / "artefact"
    folder.mkdir()
    backend = plugins.make("compilation", Named(name, fields))
    if backend.fits(facts(), machine()) is not None:
        pytest.skip("no C++ compiler")
    backend.build(model, folder)
    moved = folder.rename(tmp_path / "moved")
    answer = run_fresh(Named(name, fields), moved, given, [1, 3, 4], tmp_path / "run")
    assert answer["effective"]["precision"] == precision
    for n in (1, 3, 4):
        for output, value in expected.items():
            found = answer["outputs"][f"{n}/{output}"]
            assert found.dtype == np.float32
            assert relative(found, value[:n]) < limit
    if name == "inductor":
        assert answer["effective"]["detail"]["kernels compiled while opening"] == "0"


@pytest.fixture(params=[n for n in BUILDS_ONNX if n != "null"])
def opened(request, tmp_path):
    model = mlp(tmp_path)
    folder = tmp_path / "artefact"
    folder.mkdir()
    backend = plugins.make("compilation", Named(request.param, {"threads": 1}))
    backend.build(model, folder)
    engine = backend.open(folder)
    yield engine, items(model.signature, 4)
    engine.close()


def test_outputs_stay_valid_after_the_next_run(opened):
    engine, given = opened
    first = engine.run({"x": given["x"][:2]})
    kept = {name: value.copy() for name, value in first.items()}
    engine.run({"x": given["x"][2:]})
    for name, value in kept.items():
        np.testing.assert_array_equal(first[name], value)


def test_read_only_and_strided_inputs_are_taken(opened):
    engine, given = opened
    expected = engine.run({"x": given["x"][::2].copy()})["y"]
    view = given["x"][::2]
    view.flags.writeable = False
    np.testing.assert_array_equal(engine.run({"x": view})["y"], expected)


def test_inputs_are_left_as_they_were(opened):
    engine, given = opened
    before = given["x"].copy()
    engine.run(given)
    np.testing.assert_array_equal(given["x"], before)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda x: {"x": x.astype(np.float64)}, "must be float32, but is float64"),
        (lambda x: {"x": x.astype(np.int32)}, "must be float32, but is int32"),
        (lambda x: {"x": x[:, :3]}, "the model takes"),
        (lambda x: {"z": x}, "`x` is missing"),
    ],
)
def test_a_wrong_input_is_one_sentence(opened, wrong, says):
    engine, given = opened
    with pytest.raises(VariantError, match=says) as raised:
        engine.run(wrong(given["x"]))
    assert raised.value.next_step
    assert "\n" not in str(raised.value)


def test_it_goes_on_after_a_wrong_input(opened):
    engine, given = opened
    expected = engine.run(given)["y"]
    with pytest.raises(VariantError):
        engine.run({"x": given["x"][:, :3]})
    np.testing.assert_array_equal(engine.run(given)["y"], expected)


def test_the_threads_asked_for_are_the_threads_that_run(opened):
    assert opened[0].effective.threads == 1


@pytest.mark.parametrize("name", BUILDS_ONNX)
def test_a_fixed_batch_is_said(name, tmp_path):
    model = cnn(tmp_path, batch=2)
    folder = tmp_path / "artefact"
    folder.mkdir()
    backend = plugins.make("compilation", Named(name))
    backend.build(model, folder)
    engine = backend.open(folder)
    assert engine.sizes == (2,)
    assert engine.run(items(model.signature, 2))["y"].shape == (2, 5)
    engine.close()


@pytest.mark.parametrize("name", BUILDS_ONNX)
def test_the_script_runs_without_accel(name, tmp_path):
    model = mlp(tmp_path)
    folder = tmp_path / "artefact"
    folder.mkdir()
    backend = plugins.make("compilation", Named(name, {}))
    backend.build(model, folder)
    given = items(model.signature, 3)
    np.save(tmp_path / "x.npy", given["x"])
    code = (
        "import sys\nimport numpy as np\nfrom pathlib import Path\n"
        f"here = Path({str(folder)!r})\n{backend.script(folder)}\n"
        f"np.save({str(tmp_path / 'y.npy')!r}, predict({{'x': np.load({str(tmp_path / 'x.npy')!r})}})['y'])\n"
        "assert not [m for m in sys.modules if m.partition('.')[0] == 'accel']\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    engine = backend.open(folder)
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), engine.run(given)["y"])
    engine.close()


def test_an_empty_folder_is_no_artefact(tmp_path):
    for name in BUILDS_ONNX:
        with pytest.raises(VariantError, match="holds no artefact"):
            plugins.make("compilation", Named(name)).open(tmp_path)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_torch_script_needs_neither_accel_nor_the_modules_code(precision, tmp_path):
    pytest.importorskip("torch")
    from tests.small_networks import torch_cnn

    model, given, expected = torch_cnn()
    model.precision = precision
    folder = tmp_path / "artefact"
    folder.mkdir()
    backend = plugins.make("compilation", Named("eager"))
    backend.build(model, folder)
    script = backend.script(folder)
    assert "accel" not in script
    assert "Cnn" not in script
    space = {"here": folder}
    exec(script, space)
    assert relative(space["predict"](given)["output"], expected["output"]) < (1e-5 if precision == "float32" else 0.02)


@pytest.mark.filterwarnings("ignore")  # scikit-learn's own
def test_an_estimator_in_a_fresh_process_answers_as_it_did(tmp_path):
    ensemble = pytest.importorskip("sklearn.ensemble")
    from accel.model import Model, describe

    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    forest = ensemble.RandomForestClassifier(5, random_state=0).fit(x, x[:, 0] > 0)
    model = Model.load(describe(forest, folder=tmp_path / "given"), tmp_path / "model")
    folder = tmp_path / "artefact"
    folder.mkdir()
    plugins.make("compilation", Named("sklearn")).build(model, folder)
    answer = run_fresh(Named("sklearn", {"threads": 2}), folder, {"X": x[:3]}, [1, 3], tmp_path / "run")
    assert answer["effective"]["threads"] == 2
    for n in (1, 3):
        np.testing.assert_array_equal(answer["outputs"][f"{n}/probabilities"], forest.predict_proba(x[:n]))


def test_openvino_refuses_trees_and_compressions_do_too():
    trees = facts("trees", TreeEnsembleClassifier=1)
    refusal = plugins.make("compilation", Named("openvino")).fits(trees, machine())
    assert refusal.reason == "OpenVINO has no operator for TreeEnsembleClassifier (ai.onnx.ml)."
    for name in plugins.names("compression"):
        refusal = plugins.make("compression", Named(name)).fits(trees, machine(), "onnxruntime")
        assert "compares numbers with thresholds" in refusal.reason
        assert refusal.next_step
