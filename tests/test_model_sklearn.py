"""Fitted scikit-learn estimators: what they answer, the same as an ONNX graph, and what is refused in one sentence."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accel.errors import InputError, VariantError
from accel.model import Model, describe
from accel.model.estimator_onnx import not_above
from accel.model.identity import identity
from accel.samples import Samples, materialise
from accel.samples.store import write
from accel.samples.table import Table, as_table
from tests.models.process import run_code

pytest.importorskip("skl2onnx")
skops = pytest.importorskip("skops.io")
pytestmark = pytest.mark.filterwarnings("ignore")  # scikit-learn's and skl2onnx's own

ROWS, COLUMNS = 240, 6


def data(dtype: Any = np.float32) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, COLUMNS)).astype(dtype)
    x[:, 2] = np.round(x[:, 2])
    return x, (x[:, 0] + x[:, 1] ** 2 > 0.5).astype(np.int64) + (x[:, 3] > 1)


def fitted(name: str) -> Any:
    from sklearn.cluster import KMeans
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import (
        GradientBoostingClassifier,
        GradientBoostingRegressor,
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
        RandomForestClassifier,
    )
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    from sklearn.svm import SVC

    few = {"n_estimators": 5, "random_state": 0}
    columns = ColumnTransformer(
        [("scaled", StandardScaler(), [0, 1, 3]), ("coded", OneHotEncoder(handle_unknown="ignore"), [2])]
    )
    made = {
        "forest": lambda: RandomForestClassifier(**few),
        "boosted": lambda: GradientBoostingClassifier(**few),
        "boosted-regressor": lambda: GradientBoostingRegressor(**few),
        "histogram": lambda: HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5),
        "histogram-regressor": lambda: HistGradientBoostingRegressor(max_iter=5, min_samples_leaf=5),
        "columns": lambda: make_pipeline(columns, RandomForestClassifier(**few)),
        "logistic": lambda: make_pipeline(StandardScaler(), LogisticRegression()),
        "ridge": lambda: Ridge(),
        "network": lambda: make_pipeline(StandardScaler(), MLPClassifier((4,), max_iter=5, random_state=0)),
        "svc": lambda: SVC(),
        "clusters": lambda: KMeans(3, n_init=1, random_state=0),
    }
    x, y = data()
    return made[name]().fit(x, y)


TREES = ("forest", "boosted", "boosted-regressor", "histogram", "histogram-regressor", "columns")
OTHERS = ("logistic", "ridge", "network", "svc", "clusters")


def loaded(given: Any, folder: Path, samples: Any = None, **options: Any) -> Model:
    source = describe(given, folder=folder / "given", **options)
    stored = None if samples is None else materialise(samples, None, folder / "samples")
    return Model.load(source, folder / "model", stored)


def answered(model: Model, x: Any) -> dict[str, Any]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(str(model.as_form("onnx")), options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, {"X": x}), strict=True))


@pytest.mark.parametrize("name", [*TREES, *OTHERS])
def test_the_graph_answers_like_the_estimator(name: str, tmp_path: Path) -> None:
    x, _ = data()
    estimator = fitted(name)
    model = loaded(estimator, tmp_path, x)
    output = model.signature.outputs[0].name
    expected = estimator.predict_proba(x) if output == "probabilities" else estimator.predict(x)
    for n in (1, 7):
        found = answered(model, x[:n])
        assert list(found) == [output]
        np.testing.assert_allclose(found[output].reshape(expected[:n].shape), expected[:n], atol=2e-5)
        own = model.as_form("sklearn")({"X": x[:n]})
        assert own[output].shape == found[output].shape
    assert model.signature.batch == "any"
    assert model.facts.kind == ("trees" if name in TREES else "other")
    if name in TREES:
        assert model.facts.macs_per_item is None


def test_the_size_of_trees_is_counted(tmp_path: Path) -> None:
    """By hand: every node has a threshold, every leaf of a regressor one value."""
    estimator = fitted("boosted-regressor")
    trees = [t.tree_ for row in estimator.estimators_ for t in row]
    leaves = sum(int((t.children_left == -1).sum()) for t in trees)
    model = loaded(estimator, tmp_path, data()[0])
    assert model.facts.parameters == sum(t.node_count for t in trees) + leaves
    assert model.facts.forms == ("sklearn", "onnx", "openvino")


def test_a_pipeline_without_trees_runs_in_openvino_too(tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    x, _ = data()
    estimator = fitted("network")
    model = loaded(estimator, tmp_path, x)
    compiled = openvino.Core().compile_model(str(model.as_form("onnx")), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.testing.assert_allclose(compiled([x])[0], estimator.predict_proba(x), atol=1e-4)


# float32 and float64


def test_not_above_is_the_nearest_from_below() -> None:
    values = np.array([0.1, 0.5, -0.1, 1e-50, 3.0, np.pi, 16777217.0])
    found = not_above(values).astype(np.float64)
    assert (found <= values).all()
    assert (np.nextafter(not_above(values), np.float32(np.inf)).astype(np.float64) > values).all()


def between() -> tuple[Any, Any]:
    """A histogram model whose one threshold lies between two neighbouring float32 numbers, nearer to the upper one."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    low = np.float32(1.0)
    high = np.nextafter(low, np.float32(2))
    x = np.repeat([low, high], 60).reshape(-1, 1)
    model = HistGradientBoostingRegressor(max_iter=1, min_samples_leaf=5, learning_rate=1.0).fit(x, x[:, 0] == high)
    nodes = model._predictors[0][0].nodes
    name = "num_threshold" if "num_threshold" in nodes.dtype.names else "threshold"
    nodes[name][nodes["is_leaf"] == 0] = 0.2 * float(low) + 0.8 * float(high)
    return model, x


def test_float32_inputs_fall_on_the_same_side_of_every_threshold(tmp_path: Path) -> None:
    model, x = between()
    found = answered(loaded(model, tmp_path, x), x)["prediction"]
    assert len(np.unique(model.predict(x))) == 2
    np.testing.assert_allclose(found[:, 0], model.predict(x), atol=1e-6)


def test_float64_inputs_nearer_than_float32_can_tell_differ_and_the_guard_sees_it(tmp_path: Path) -> None:
    from accel.analysis.guard import may_win
    from accel.study.scoring import Terms, judged

    model, _ = between()
    x = np.array([[1.0 + 0.7 * 2.0**-23], [1.0 + 0.9 * 2.0**-23]] * 60)
    found = answered(loaded(model, tmp_path, x), x)["prediction"]
    expected = model.predict(x).reshape(-1, 1)
    assert len(np.unique(expected)) == 2
    assert len(np.unique(found)) == 1
    terms = Terms(accuracy_drop=0.01, compressed=False, random_weights=False, synthetic=False, metric=None)
    quality = judged({"prediction": list(found)}, {"prediction": list(expected)}, None, None, terms)
    assert not may_win(quality, 0.01)


def test_splits_on_categories_are_refused_not_misread(tmp_path: Path) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    x, y = data()
    x[:, 2] = np.abs(x[:, 2])
    y = (x[:, 2] % 2 == 0).astype(int)
    model = HistGradientBoostingClassifier(max_iter=3, categorical_features=[2], min_samples_leaf=5).fit(x, y)
    found = loaded(model, tmp_path, x)
    with pytest.raises(VariantError, match="split on categories"):
        found.as_form("onnx")
    assert found.facts.forms == ("sklearn",)
    assert "No ONNX form" in found.notes[-1]


def test_splits_on_categories_are_found_within_a_calibrated_model(tmp_path: Path) -> None:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import HistGradientBoostingClassifier

    x = np.random.default_rng(0).integers(0, 4, (200, 3)).astype(np.float64)
    y = (x[:, 2] % 2 == 0).astype(int)
    inner = HistGradientBoostingClassifier(max_iter=3, categorical_features=[2], min_samples_leaf=5)
    model = CalibratedClassifierCV(inner, cv=2).fit(x, y)
    with pytest.raises(VariantError, match="split on categories"):
        loaded(model, tmp_path, x).as_form("onnx")


def own_step(x: Any) -> Any:
    return x


def test_an_estimator_is_known_again_unless_it_holds_code_of_ones_own(tmp_path: Path) -> None:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    one = identity(loaded(fitted("forest"), tmp_path / "a"))
    assert one is not None
    assert identity(loaded(pickle.loads(pickle.dumps(fitted("forest"))), tmp_path / "b")) == one
    changed = fitted("forest").set_params(random_state=1)
    assert identity(loaded(changed.fit(*data()), tmp_path / "c")) != one
    pipeline = make_pipeline(FunctionTransformer(own_step), fitted("logistic"))
    assert identity(loaded(pipeline, tmp_path / "d", data()[0])) is None


def test_what_a_factory_trained_is_trained_once(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "from pathlib import Path\nimport numpy as np\nfrom sklearn.linear_model import Ridge\n\n\n"
        "def build():\n    with Path(__file__).with_name('calls').open('a') as file:\n        file.write('x')\n"
        "    return Ridge().fit(np.eye(3), np.arange(3.0))\n"
    )
    first = loaded(f"{tmp_path / 'train.py'}:build", tmp_path, np.eye(3))
    again = Model.reopen(first.source, first.folder, None, signature=first.signature, facts=first.facts)
    x = np.ones((2, 3))
    np.testing.assert_array_equal(
        again.as_form("sklearn")({"X": x})["prediction"], first.as_form("sklearn")({"X": x})["prediction"]
    )
    assert (tmp_path / "calls").read_text() == "x"


# tables and labels


def test_columns_by_name_come_in_the_order_of_the_fit(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    from sklearn.linear_model import LogisticRegression

    x, y = data(np.float64)
    frame = pd.DataFrame(x, columns=list("abcdef"))
    estimator = LogisticRegression().fit(frame, y)
    shuffled = frame[list("fedcba")].assign(unused=1.0)
    model = loaded(estimator, tmp_path, shuffled)
    assert [str(t) for t in model.signature.inputs] == ["X: float64[batch, 6]"]
    stored = as_table(Samples.open(tmp_path / "samples"), model.table or Table())
    np.testing.assert_array_equal(stored.inputs["X"], x)
    assert "`unused`" in stored.notes[-1]
    np.testing.assert_allclose(answered(model, x)["probabilities"], estimator.predict_proba(frame), atol=1e-5)
    with pytest.raises(InputError, match="lack the column `b`"):
        as_table(materialise(shuffled.drop(columns="b"), None, tmp_path / "t"), model.table or Table())


def test_columns_picked_by_name_go_apart_in_the_graph(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    x, y = data()
    frame = pd.DataFrame(x, columns=list("abcdef"))
    parts = [("one", StandardScaler(), ["b", "a"]), ("two", OneHotEncoder(handle_unknown="ignore"), ["c"])]
    estimator = make_pipeline(ColumnTransformer(parts), LogisticRegression()).fit(frame, y)
    model = loaded(estimator, tmp_path, frame)
    np.testing.assert_allclose(answered(model, x)["probabilities"], estimator.predict_proba(frame), atol=1e-5)


def test_labels_become_positions_among_the_classes(tmp_path: Path) -> None:
    samples = materialise({"X": np.zeros((4, 2))}, None, tmp_path, labels=np.array(["no", "yes", "no", "yes"]))
    found = as_table(samples, Table(classes=("no", "yes")))
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1, 0, 1]
    assert write(found, tmp_path / "again").sha256 != samples.sha256
    with pytest.raises(InputError, match="hold `yes`, which is none of the classes"):
        as_table(samples, Table(classes=("no", "maybe")))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (np.zeros((9, 3)), "fitted on 2 columns, but the samples have 3"),
        (np.zeros((9, 3, 2)), r"has the shape \(9, 3, 2\)"),
        ({"a": np.zeros((9, 2)), "b": np.zeros((9, 2))}, "takes one array"),
        ({"a": np.array(["x"] * 9), "b": np.zeros(9)}, "Encode it first"),
    ],
)
def test_samples_that_are_no_table(given: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says):
        as_table(materialise(given, None, tmp_path), Table(width=2))


def test_whole_numbers_lose_nothing(tmp_path: Path) -> None:
    for dtype, wanted in (("int8", "float32"), ("int16", "float32"), ("int32", "float64"), ("bool", "float32")):
        samples = materialise(np.ones((9, 2), dtype), None, tmp_path / dtype)
        assert as_table(samples, Table()).inputs["X"].dtype == wanted


def test_without_samples_the_width_of_the_fit_tells(tmp_path: Path) -> None:
    assert str(loaded(fitted("forest"), tmp_path).signature.inputs[0]) == f"X: float32[batch, {COLUMNS}]"


# files


def test_a_skops_file_of_plain_types_loads(tmp_path: Path) -> None:
    estimator = fitted("logistic")
    skops.dump(estimator, tmp_path / "net.skops")
    model = loaded(tmp_path / "net.skops", tmp_path, data()[0])
    assert (model.source.kind, model.source.name) == ("sklearn", "net")
    np.testing.assert_allclose(
        answered(model, data()[0])["probabilities"], estimator.predict_proba(data()[0]), atol=1e-5
    )


def test_trees_from_a_skops_file_need_trust(tmp_path: Path) -> None:
    skops.dump(fitted("forest"), tmp_path / "trees.skops")
    with pytest.raises(InputError, match=r"`sklearn.tree._tree.Tree` \(skops trusts no trees.*--trust-file"):
        loaded(tmp_path / "trees.skops", tmp_path / "a", data()[0])
    assert loaded(tmp_path / "trees.skops", tmp_path / "b", data()[0], trust_file=True).facts.kind == "trees"


def planted(x: Any) -> Any:
    raise RuntimeError("ran")


def test_code_in_a_skops_file_is_named_and_never_runs(tmp_path: Path) -> None:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    estimator = make_pipeline(FunctionTransformer(planted), fitted("logistic"))
    skops.dump(estimator, tmp_path / "net.skops")
    with pytest.raises(InputError, match=rf"`{__name__}.planted`.*--trust-file") as raised:
        loaded(tmp_path / "net.skops", tmp_path, data()[0])
    assert "skops trusts no trees" not in str(raised.value)


def test_what_is_no_skops_file(tmp_path: Path) -> None:
    (tmp_path / "net.skops").write_bytes(b"PK no zip")
    with pytest.raises(InputError, match="is no .skops file"):
        describe(tmp_path / "net.skops", folder=tmp_path)


@pytest.mark.parametrize("damage", ["data", "encrypted", "method", "schema"])
def test_a_damaged_skops_file_is_one_sentence(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "net.skops"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", "[1]" if damage == "schema" else '{"a": ' + "1" * 3000 + "}")
    data = bytearray(path.read_bytes())
    listed = data.find(b"PK\x01\x02")
    if damage == "data":
        data[45:50] = b"\xff" * 5
    elif damage == "encrypted":
        data[6] |= 1
        data[listed + 8] |= 1
    elif damage == "method":
        data[8] = data[listed + 10] = 97
    path.write_bytes(data)
    with pytest.raises(InputError, match="is no .skops file"):
        describe(path, folder=tmp_path)


@pytest.mark.parametrize(("suffix", "line"), [(".joblib", "joblib.load"), (".pkl", "pickle.load"), (".pickle", "pick")])
def test_a_pickle_is_refused_with_the_line_that_converts_it(suffix: str, line: str, tmp_path: Path) -> None:
    path = tmp_path / f"net{suffix}"
    path.write_bytes(pickle.dumps(fitted("ridge")))
    with pytest.raises(InputError, match=rf"never loaded.*{line}.*net\.skops") as raised:
        describe(path, folder=tmp_path)
    assert "\n" not in str(raised.value)


def test_the_line_that_converts_a_pickle_works(tmp_path: Path) -> None:
    path = tmp_path / "net.pkl"
    path.write_bytes(pickle.dumps(fitted("ridge")))
    with pytest.raises(InputError) as raised:
        describe(path, folder=tmp_path)
    run_code(str(raised.value).split('python -c "')[1].split('"; else')[0])
    assert loaded(tmp_path / "net.skops", tmp_path, data()[0]).signature.outputs[0].name == "prediction"


# what is refused


def test_an_estimator_must_be_fitted(tmp_path: Path) -> None:
    from sklearn.linear_model import Ridge

    with pytest.raises(InputError, match="is a `Ridge` that isn't fitted"):
        describe(Ridge(), folder=tmp_path)


def test_an_estimator_must_answer(tmp_path: Path) -> None:
    from sklearn.preprocessing import StandardScaler

    with pytest.raises(InputError, match="`StandardScaler` has no predict"):
        describe(StandardScaler().fit(data()[0]), folder=tmp_path)


def test_words_without_probabilities_can_not_be_compared(tmp_path: Path) -> None:
    from sklearn.svm import SVC

    x, y = data()
    with pytest.raises(InputError, match=r"answers in words \(a"):
        describe(SVC().fit(x, np.array(["a", "b", "c"])[y]), folder=tmp_path)


def test_the_wrong_width_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="fitted on 6 columns, but the samples have 4"):
        loaded(fitted("forest"), tmp_path, np.zeros((20, 4), np.float32))


def test_describing_a_skops_file_imports_no_scikit_learn(tmp_path: Path) -> None:
    skops.dump(fitted("logistic"), tmp_path / "net.skops")
    code = (
        "import sys; from pathlib import Path; from accel.model import describe\n"
        f"describe({str(tmp_path / 'net.skops')!r}, folder=Path({str(tmp_path)!r}))\n"
        "print([m for m in ('sklearn', 'skops', 'scipy', 'torch') if m in sys.modules])"
    )
    assert run_code(code).strip() == "[]"
