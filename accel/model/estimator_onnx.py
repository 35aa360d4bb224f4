"""A scikit-learn estimator as an ONNX graph (skl2onnx), float32, with one output: the one the estimator itself gives.

Trees compare numbers with thresholds in float64, the graph in float32. For inputs that are float32 themselves nothing
is lost: x <= t holds just when x <= the largest float32 not above t, and those are the thresholds that go into the
graph. Inputs in float64 are rounded by a Cast in front, so that a number very near a threshold may fall on its other
side: what that does to the answers is for the guard to see.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.errors import MissingLibrary, VariantError
from accel.model.estimator import Estimator
from accel.model.types import Signature
from accel.samples.table import INPUT

_OPSETS = {"": 18, "ai.onnx.ml": 3}
_OUTPUT_AT = {"probabilities": 1, "label": 0, "prediction": 0}
_NEXT = "ONNX Runtime and OpenVINO are left out; give an estimator of scikit-learn's own, or an .onnx file."


def estimator_to_onnx(given: Estimator, signature: Signature, path: Path) -> None:
    """Write the graph to `path`. Raises VariantError with skl2onnx's reason where it has no converter."""
    try:
        import skl2onnx
    except ImportError:
        raise MissingLibrary("skl2onnx", "The ONNX form of a scikit-learn estimator", extra="sklearn") from None
    import onnx

    doubles = signature.inputs[0].dtype == "float64"
    estimator = given.estimator
    _refuse_categories(estimator)
    if not doubles:
        estimator = with_float32_thresholds(estimator)
    # Most converters have a zipmap option (a list of dicts as output); those without it raise if it is named.
    options = {"zipmap": False} if given.classes is not None else None
    try:
        with _plain_attributes():
            proto = skl2onnx.convert_sklearn(
                estimator,
                initial_types=_types(given, signature.inputs[0].shape[1]),
                options=options,
                target_opset=_OPSETS,
            )
    except Exception as error:  # its converters raise many kinds
        raise VariantError(
            f"skl2onnx can't convert the `{given.name}`: {type(error).__name__}: {_first_line(error)}", _NEXT
        ) from error
    _one_output(proto.graph, given.answer)
    _one_input(proto.graph, [v.name for v in proto.graph.input], doubles, signature.inputs[0].shape[1])
    _plain_scalers(proto.graph)
    _without_unused(proto.graph)
    onnx.checker.check_model(proto)
    onnx.save(proto, str(path))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["no message"])[0][:200]


def _types(given: Estimator, width: Any) -> list[tuple[str, Any]]:
    """One input of all columns; a column each where a step of the estimator picks them by name."""
    from skl2onnx.common.data_types import FloatTensorType

    if _picks_by_name(given.estimator):
        return [(name, FloatTensorType([None, 1])) for name in given.columns]
    return [(INPUT, FloatTensorType([None, width]))]


def _picks_by_name(estimator: Any) -> bool:
    steps = [step for _, step in getattr(estimator, "steps", [("", estimator)])]
    chosen = [columns for step in steps for _, _, columns in getattr(step, "transformers_", ())]
    return any(isinstance(c, str) or (isinstance(c, list | np.ndarray) and any(isinstance(n, str) for n in c))
               for c in chosen)  # fmt: skip


def _one_input(graph: Any, names: list[str], doubles: bool, width: Any) -> None:
    """Feed the graph from `X` alone: through a Cast if it comes in float64, a Gather each where columns go apart."""
    from onnx import TensorProto, helper

    front, source = [], INPUT
    if doubles:
        source = f"{INPUT}_float32"
        front.append(helper.make_node("Cast", [INPUT], [source], "accel_cast", to=TensorProto.FLOAT))
    if names != [INPUT]:
        for i, name in enumerate(names):  # Gather is the same in every version of the operators
            graph.initializer.append(helper.make_tensor(f"{name}_at", TensorProto.INT64, [1], [i]))
            front.append(helper.make_node("Gather", [source, f"{name}_at"], [name], f"accel_{name}", axis=1))
    elif doubles:
        for node in graph.node:
            for i, name in enumerate(node.input):
                if name == INPUT:
                    node.input[i] = source
    nodes = [*front, *graph.node]
    del graph.input[:], graph.node[:]
    kind = TensorProto.DOUBLE if doubles else TensorProto.FLOAT
    graph.input.append(helper.make_tensor_value_info(INPUT, kind, ["batch", width]))
    graph.node.extend(nodes)


def _one_output(graph: Any, answer: str) -> None:
    """Keep what the estimator itself gives, under its name; what only made the others is left out by the runtime."""
    from onnx import TensorProto, helper

    kept = graph.output[_OUTPUT_AT[answer]].name
    whole = answer == "label"
    shape, name = ([-1], "accel_shape") if whole else ([0, -1], "accel_shape")
    graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [len(shape)], shape))
    inner = f"{kept}_inner"
    for node in graph.node:
        for names in (node.input, node.output):
            for i, other in enumerate(names):
                if other in (kept, answer):
                    names[i] = inner if other == kept else f"{answer}_other"
    graph.node.append(helper.make_node("Reshape", [inner, name], [answer], "accel_answer"))
    del graph.output[:]
    kind = TensorProto.INT64 if whole else TensorProto.FLOAT
    graph.output.append(helper.make_tensor_value_info(answer, kind, ["batch"] if whole else ["batch", None]))


def _plain_scalers(graph: Any) -> None:
    """(x - offset) * scale in ordinary operators: OpenVINO has none for ai.onnx.ml's Scaler."""
    from onnx import helper, numpy_helper

    nodes = []
    for node in graph.node:
        if node.op_type != "Scaler":
            nodes.append(node)
            continue
        source = node.input[0]
        for operator, attribute in (("Sub", "offset"), ("Mul", "scale")):
            values = next((a.floats for a in node.attribute if a.name == attribute), None)
            name = f"{node.output[0]}_{attribute}"
            constant = np.asarray(values if values else [float(operator == "Mul")], np.float32)
            graph.initializer.append(numpy_helper.from_array(constant, name))
            target = node.output[0] if operator == "Mul" else f"{name}_done"
            nodes.append(helper.make_node(operator, [source, name], [target], f"{name}_node"))
            source = target
    del graph.node[:]
    graph.node.extend(nodes)


def _without_unused(graph: Any) -> None:
    """Leave out what nothing reads any more, such as the steps from probabilities to a label."""
    wanted = {v.name for v in graph.output}
    kept = []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            kept.append(node)
            wanted.update(node.input)
    weights = [t for t in graph.initializer if t.name in wanted]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(weights)


def not_above(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """The largest float32 that isn't above each value.

    >>> float(not_above(0.1)) <= 0.1 < float(np.nextafter(not_above(0.1), np.float32(1)))
    True
    """
    wide = np.asarray(values, np.float64)
    near = wide.astype(np.float32)
    found: npt.NDArray[np.float32] = np.where(near > wide, np.nextafter(near, np.float32(-np.inf)), near)
    return found


def with_float32_thresholds(estimator: Any) -> Any:
    """A copy whose histogram trees compare with float32 numbers; skl2onnx rounds those of the other trees this way."""
    if not any(True for _ in _histogram_trees(estimator)):
        return estimator
    changed = copy.deepcopy(estimator)
    for tree in _histogram_trees(changed):
        nodes = tree.nodes.copy()
        name = _threshold_name(nodes)
        finite = np.isfinite(nodes[name])
        nodes[name][finite] = not_above(nodes[name][finite])
        tree.nodes = nodes
    return changed


def _threshold_name(nodes: Any) -> str:
    return "num_threshold" if "num_threshold" in nodes.dtype.names else "threshold"


def _refuse_categories(estimator: Any) -> None:
    """skl2onnx reads a split on a set of categories as one on a threshold, without a word."""
    if any("is_categorical" in t.nodes.dtype.names and t.nodes["is_categorical"].any()
           for t in _histogram_trees(estimator)):  # fmt: skip
        raise VariantError(
            "the trees split on categories (categorical_features), for which skl2onnx has no operator",
            "Encode them as numbers (OrdinalEncoder) and fit without categorical_features to have an ONNX form.",
        )


def _histogram_trees(estimator: Any) -> Iterator[Any]:
    """Every tree of every HistGradientBoosting model inside an estimator."""
    for rounds in getattr(estimator, "_predictors", ()):
        yield from rounds
    for inner in _parts(estimator):
        yield from _histogram_trees(inner)


def _parts(estimator: Any) -> Iterator[Any]:
    """The fitted estimators that an ensemble, a search or a pipeline is made of."""
    for _, step in getattr(estimator, "steps", ()):
        yield step
    for name in ("estimators_", "estimator_", "best_estimator_", "final_estimator_", "calibrated_classifiers_"):
        held = getattr(estimator, name, None)
        if hasattr(held, "get_params"):
            yield held
        elif isinstance(held, list):
            # What CalibratedClassifierCV holds are no estimators themselves, but each has one.
            inner = (e if hasattr(e, "get_params") else getattr(e, "estimator", None) for e in held)
            yield from (e for e in inner if hasattr(e, "get_params"))


@contextlib.contextmanager
def _plain_attributes() -> Iterator[None]:
    """Whole numbers of numpy (and truth values) as plain ints, which is all that onnx takes since 1.19.

    skl2onnx 1.20 passes on the unsigned integers in which HistGradientBoosting keeps its nodes.
    """
    from skl2onnx.common._container import ModelComponentContainer

    original = ModelComponentContainer.add_node

    def add_node(self: Any, op_type: str, inputs: Any, outputs: Any, **attributes: Any) -> Any:
        plain = {name: _ints(value) for name, value in attributes.items()}
        return original(self, op_type, inputs, outputs, **plain)

    ModelComponentContainer.add_node = add_node
    try:
        yield
    finally:
        ModelComponentContainer.add_node = original


def _ints(value: Any) -> Any:
    whole = (bool, int, np.integer, np.bool_)
    if isinstance(value, list) and value and all(isinstance(v, whole) for v in value):
        return [int(v) for v in value]
    return value
