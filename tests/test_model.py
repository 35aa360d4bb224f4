"""Signatures, forms and calls of models of every kind, on networks small enough to know the answer."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
import torch

from accel.errors import InputError, VariantError
from accel.model import Model, describe
from accel.model.call import Call, named_outputs
from accel.model.identity import files_of, identity
from accel.model.signature import of_size
from accel.model.torch_form import TorchForm
from accel.samples import Samples, materialise
from tests.models import graphs

FACTORIES = Path(__file__).parent / "models" / "factories.py"
ROWS = np.arange(24, dtype=np.float32).reshape(6, 4)


def load(given: object, where: Path, samples: Samples | None = None) -> Model:
    return Model.load(describe(given, folder=where / "o"), where / "m", samples)


def run_onnx(path: Path, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    import onnxruntime as ort

    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, arrays), strict=True))


def run_openvino(path: Path, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    import openvino

    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled(arrays)
    return {port.get_any_name(): found[port] for port in compiled.outputs}


# signatures


@pytest.mark.parametrize(("axis", "batch"), [("n", "any"), (None, "any"), (5, 5)])
def test_onnx_batch(axis: str | int | None, batch: object, tmp_path: Path) -> None:
    model = load(graphs.linear(tmp_path / "x.onnx", axis), tmp_path)
    assert model.signature.batch == batch
    lead = "batch" if batch == "any" else batch
    assert model.signature.inputs[0].shape == (lead, 4)
    assert model.signature.outputs[0].shape == (lead, 3)


def test_openvino_batch(tmp_path: Path) -> None:
    xml = load(graphs.linear(tmp_path / "x.onnx"), tmp_path).as_form("openvino")
    signature = load(xml, tmp_path / "ir").signature
    assert signature.batch == "any"
    assert (signature.inputs[0].name, signature.outputs[0].name) == ("x", "y")
    fixed = load(graphs.linear(tmp_path / "5.onnx", 5), tmp_path / "5").as_form("openvino")
    assert load(fixed, tmp_path / "ir5").signature.batch == 5


def test_an_input_without_axes_has_no_batch(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Mul", ["x", "s"], ["y"])
    onnx.save(graphs.graph([node], [], {"x": ["n", 2], "s": []}, {"y": ["n", 2]}), str(tmp_path / "m.onnx"))
    with pytest.raises(InputError, match="`s` of the model has no axes"):
        load(tmp_path / "m.onnx", tmp_path)


class Fixed(torch.nn.Module):
    def forward(self, x):
        return x.reshape(1, 2, 2)


class Pooled(torch.nn.Module):
    """Runs at any batch, but mixes the items of one."""

    def forward(self, x):
        return x.mean(0, keepdim=True)


@pytest.mark.parametrize("module", [Fixed(), Pooled()])
def test_a_module_that_does_not_follow_the_batch_has_batch_one(module: torch.nn.Module, tmp_path: Path) -> None:
    model = load(module, tmp_path, materialise(ROWS, None, tmp_path / "s"))
    assert model.signature.batch == 1
    assert model.signature.inputs[0].shape == (1, 4)


def test_a_module_fixed_to_its_example_batch(tmp_path: Path) -> None:
    class Three(torch.nn.Module):
        example_inputs = (torch.ones(3, 4),)

        def forward(self, x):
            return x.reshape(3, 2, 2)

    model = load(Three(), tmp_path)
    assert model.signature.batch == 3
    onnx_form = model.as_form("onnx")
    assert run_onnx(onnx_form, {"x": np.ones((3, 4), "f")})["output"].shape == (3, 2, 2)


def test_a_module_without_samples_asks_for_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Give samples"):
        load(torch.nn.Linear(4, 3), tmp_path)


def test_a_module_that_fails_on_the_samples_says_why(tmp_path: Path) -> None:
    with pytest.raises(VariantError, match="mat1 and mat2"):
        load(torch.nn.Linear(7, 3), tmp_path, materialise(ROWS, None, tmp_path / "s"))


def test_a_misspelt_parameter_is_offered_the_nearest(tmp_path: Path) -> None:
    class Two(torch.nn.Module):
        def forward(self, image, mask):
            return image * mask

    samples = materialise({"imge": ROWS, "mask": ROWS}, None, tmp_path / "s")
    with pytest.raises(InputError, match="Did you mean `image`"):
        load(Two(), tmp_path, samples)


def test_float64_and_uint8_samples_suit_a_float_module(tmp_path: Path) -> None:
    for dtype in ("float64", "uint8"):
        model = load(torch.nn.Linear(4, 3), tmp_path / dtype, materialise(ROWS.astype(dtype), None, tmp_path / "s"))
        assert model.signature.inputs[0].dtype == "float32"


# forms


def test_torch_becomes_onnx_and_openvino_with_a_free_batch(tmp_path: Path) -> None:
    model = load(f"{FACTORIES}:module", tmp_path, materialise(ROWS, None, tmp_path / "s"))
    assert str(model.signature) == (
        "(x: float32[batch, 4]) -> (logits: float32[batch, 3], hidden.0: float32[batch, 4]), batch any"
    )
    expected = model.as_form("torch")({"x": ROWS})
    for found in (run_onnx(model.as_form("onnx"), {"x": ROWS}), run_openvino(model.as_form("openvino"), {"x": ROWS})):
        assert list(found) == ["logits", "hidden.0"]
        for name, value in found.items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-6)
    graph = onnx.load(str(model.as_form("onnx"))).graph
    assert len(graph.value_info) == 0
    assert model.seconds["export"] > 0


def test_a_ragged_axis_stays_free(tmp_path: Path) -> None:
    class Pool(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding(50, 8)

        def forward(self, ids, mask):
            vectors = self.table(ids) * mask.unsqueeze(-1)
            return {"pooled": vectors.sum(1), "tokens": vectors}

    items = [{"ids": np.arange(n), "mask": np.ones(n, np.int64)} for n in (5, 3, 7, 4)]
    samples = materialise(items, None, tmp_path / "s")
    model = load(Pool(), tmp_path, samples)
    assert str(model.signature) == (
        "(ids: int64[batch, length], mask: int64[batch, length]) -> "
        "(pooled: float32[batch, 8], tokens: float32[batch, length, 8]), batch any"
    )
    for ids in ([0], [2, 3, 1], [1, 1]):
        batch = samples.batch(ids)
        expected = model.as_form("torch")(batch)
        found = run_onnx(model.as_form("onnx"), batch)
        np.testing.assert_allclose(found["tokens"], expected["tokens"], rtol=1e-6)
    assert model.facts.vocabulary == {"ids": 50}


def test_forms_are_used_again_by_the_next_child(tmp_path: Path) -> None:
    samples = materialise(ROWS, None, tmp_path / "s")
    first = load(f"{FACTORIES}:module", tmp_path, samples)
    path = first.as_form("onnx")
    kept = path.parent / "seconds.json"
    kept.write_text(json.dumps({"seconds": 123.0}))
    before = path.stat().st_mtime_ns
    again = load(f"{FACTORIES}:module", tmp_path, samples)
    assert again.as_form("onnx") == path
    assert path.stat().st_mtime_ns == before
    assert again.seconds["export"] == 123.0  # the seconds of when it was made


def test_an_export_that_failed_is_not_tried_again(tmp_path: Path) -> None:
    class Branching(torch.nn.Module):
        def forward(self, x):
            return x + 1 if x.sum().item() > 0 else x

    samples = materialise(ROWS, None, tmp_path / "s")
    model = load(Branching(), tmp_path, samples)
    assert model.has_path_to("onnx")
    with pytest.raises(VariantError, match="can't export") as first:
        model.as_form("onnx")
    assert not (tmp_path / "m" / "forms" / "onnx").exists()
    with pytest.raises(VariantError) as second:
        load(Branching(), tmp_path, samples).as_form("onnx")
    assert second.value.reason == first.value.reason


def test_the_onnx_form_is_alone_with_its_external_data(tmp_path: Path) -> None:
    path = graphs.external(tmp_path / "x.onnx", "w.data")
    (tmp_path / "unrelated.txt").write_text("not copied")
    model = load(path, tmp_path)
    form = model.as_form("onnx")
    assert sorted(p.name for p in form.parent.iterdir()) == ["model.onnx", "seconds.json", "w.data"]
    assert run_onnx(form, {"x": ROWS})["y"].shape == (6, 3)
    assert model.forms == ("onnx",)


def test_there_is_no_way_back_to_torch(tmp_path: Path) -> None:
    model = load(graphs.linear(tmp_path / "x.onnx"), tmp_path)
    assert not model.has_path_to("torch")
    with pytest.raises(VariantError, match="came as onnx can't be turned into torch"):
        model.as_form("torch")


def test_derive_makes_a_new_model_with_one_form(tmp_path: Path) -> None:
    model = load(graphs.linear(tmp_path / "x.onnx"), tmp_path)
    other = model.scratch() / "other.onnx"
    graphs.linear(other)
    derived = model.derive("onnx", other, precision="bf16", notes=("changed",))
    assert (derived.forms, derived.precision, derived.notes) == (("onnx",), "bf16", ("changed",))
    assert (model.precision, model.notes) == ("float32", ())
    assert derived.as_form("openvino") != model.as_form("openvino")
    assert derived.signature == model.signature
    assert derived.derive("onnx", other).original is derived.original is model.original is model


def test_an_unknown_operator_is_a_reason_not_a_crash(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Frobnicate", ["x"], ["y"], domain="nowhere")
    model = graphs.graph([node], [], {"x": ["n", 4]}, {"y": ["n", 4]})
    model.opset_import.append(onnx.helper.make_opsetid("nowhere", 1))
    onnx.save(model, str(tmp_path / "m.onnx"))
    loaded = load(tmp_path / "m.onnx", tmp_path)
    assert loaded.facts.operators == {"Frobnicate": 1}
    with pytest.raises(VariantError, match="OpenVINO can't read"):
        loaded.as_form("openvino")


# factories


def test_factories_give_every_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCEL_TEST_ONNX", str(graphs.linear(tmp_path / "x.onnx")))
    samples = materialise(ROWS, None, tmp_path / "s")
    assert load(f"{FACTORIES}:module_with_example", tmp_path / "1").signature.batch == "any"  # no samples needed
    assert load(f"{FACTORIES}:onnx_file", tmp_path / "2").forms == ("onnx",)
    called = load(f"{FACTORIES}:function", tmp_path / "3", samples)
    np.testing.assert_array_equal(called.as_form("callable")({"input": ROWS})["output"], ROWS * 2)


@pytest.mark.parametrize(("name", "random"), [("module", False), ("random_module", True), ("stateful", True)])
def test_a_factory_or_its_object_says_that_weights_are_random(name: str, random: bool, tmp_path: Path) -> None:
    model = load(f"{FACTORIES}:{name}", tmp_path, materialise(ROWS, None, tmp_path / "s"))
    assert model.source.random_weights is random


def test_the_factory_folder_leaves_sys_path(tmp_path: Path) -> None:
    import sys

    load(f"{FACTORIES}:module_with_example", tmp_path)
    assert str(FACTORIES.parent) not in sys.path


# functions


def test_calling_styles_are_tried_in_order() -> None:
    one, two = {"x": ROWS}, {"x": ROWS, "y": ROWS}
    assert Call.tried(lambda a: a, one).style == "array"
    assert Call.tried(lambda *, x: x, one).style == "keywords"
    assert Call.tried(lambda d: d["x"], one).style == "dict"
    assert Call.tried(lambda x, y: x + y, two).style == "keywords"
    assert Call.tried(lambda d: d["x"] + d["y"], two).style == "dict"
    assert Call.tried(lambda a, b: a + b, two).style == "arrays"


def test_a_function_that_fails_says_why() -> None:
    def predict(x):
        raise KeyError("tokenizer")

    with pytest.raises(VariantError, match="KeyError: 'tokenizer'"):
        Call.tried(predict, {"x": ROWS})


def test_outputs_of_functions() -> None:
    a, b = ROWS, ROWS[:, :1]
    assert list(named_outputs(a, 6)) == ["output"]
    assert list(named_outputs((a, b), 6)) == ["output_0", "output_1"]
    assert list(named_outputs({"p": a, "text": "no"}, 6)) == ["p"]
    assert named_outputs([1, 2, 3, 4, 5, 6], 6)["output"].tolist() == [1, 2, 3, 4, 5, 6]
    assert named_outputs(["cat"] * 6, 6) == {}
    assert named_outputs(None, 6) == {}


def test_a_function_that_takes_one_item_only_has_batch_one(tmp_path: Path) -> None:
    def single(x):
        if len(x) != 1:
            raise ValueError("one at a time")
        return x.sum(axis=1)

    samples = materialise(ROWS, None, tmp_path / "s")
    assert load(single, tmp_path, samples).signature.batch == 1
    assert load(lambda x: x.sum(axis=1), tmp_path / "any", samples).signature.batch == "any"
    assert load(lambda x: ["text"] * len(x), tmp_path / "text", samples).signature.outputs == ()


def test_a_call_survives_its_artefact(tmp_path: Path) -> None:
    factor = 3.0
    Call(lambda x: x * factor, "array").save(tmp_path)
    np.testing.assert_array_equal(Call.open(tmp_path)({"x": ROWS})["output"], ROWS * 3)


# nested inputs and outputs


class Pair(NamedTuple):
    first: torch.Tensor
    second: torch.Tensor


@dataclasses.dataclass
class Scores:
    logits: torch.Tensor
    name: str


class Nested(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, x, *, mask=None, extra=None, scale=1):
        y = self.linear(x) * scale
        if mask is not None:
            y = y * mask
        if extra is not None:
            y = y + extra["bias"][0]
        return {"pair": Pair(y, x), "scores": Scores(logits=y * 2, name="s"), "none": None, "list": [y, (x,)]}


def call_of(rows: int) -> tuple[tuple, dict]:
    extra = {"bias": (torch.ones(rows, 1),)}
    return (torch.ones(rows, 4),), {"mask": torch.ones(rows, 3), "extra": extra, "scale": 2}


def test_nested_calls_become_named_arrays_and_come_back(tmp_path: Path) -> None:
    module = Nested()
    args, kwargs = call_of(2)
    form = TorchForm.from_call(module, args, kwargs)
    assert form.names == ("x", "mask", "extra.bias.0")
    other_args, other_kwargs = call_of(5)
    arrays = form.bind(other_args, other_kwargs)
    named = form(arrays)
    assert list(named) == ["pair.first", "pair.second", "scores.logits", "list.0", "list.1.0"]
    returned = form.unflatten({name: value.numpy() for name, value in named.items()})
    expected = module(*other_args, **other_kwargs)
    assert isinstance(returned["pair"], Pair)
    assert isinstance(returned["scores"], Scores)
    assert returned["scores"].name == "s"
    assert returned["none"] is None
    torch.testing.assert_close(returned["pair"].first, expected["pair"].first)
    torch.testing.assert_close(returned["list"][1][0], expected["list"][1][0])


def test_positional_and_keyword_spellings_are_one_call() -> None:
    form = TorchForm.from_names(Nested(), ("x",))
    x = torch.ones(2, 4)
    assert list(form.bind((x,), {})) == list(form.bind((), {"x": x})) == list(form.bind((x,), {"scale": 1})) == ["x"]


def test_another_call_than_prepared_is_refused() -> None:
    args, kwargs = call_of(2)
    form = TorchForm.from_call(Nested(), args, kwargs)
    with pytest.raises(InputError, match="prepared for x, mask"):
        form.bind(args, {})
    with pytest.raises(InputError, match="prepared with"):
        form.bind(args, kwargs | {"scale": 7})
    with pytest.raises(InputError, match="can't be called"):
        form.bind(args, kwargs | {"sclae": 7})


def test_the_flat_module_gives_the_same_tensors_and_one_graph() -> None:
    args, kwargs = call_of(2)
    form = TorchForm.from_call(Nested(), args, kwargs)
    arrays = form.bind(args, kwargs)
    flat = form.flat_module()
    tensors = [torch.from_numpy(a) for a in arrays.values()]
    for one, other in zip(flat(*tensors), form(arrays).values(), strict=True):
        torch.testing.assert_close(one, other)
    torch._dynamo.reset()
    assert torch._dynamo.explain(flat)(*tensors).graph_break_count == 0


def test_a_module_survives_its_artefact(tmp_path: Path) -> None:
    args, kwargs = call_of(2)
    form = TorchForm.from_call(Nested(), args, kwargs)
    arrays = form.bind(args, kwargs)
    before = form(arrays)
    form.save(tmp_path)
    opened = TorchForm.open(tmp_path)
    for name, value in opened(arrays).items():
        torch.testing.assert_close(value, before[name])
    assert isinstance(opened.unflatten(before)["pair"], Pair)
    (tmp_path / "torch_form.pkl").write_bytes(b"other")
    with pytest.raises(InputError, match="hash differs"):
        TorchForm.open(tmp_path)


def test_modules_are_used_in_eval_mode(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Dropout(0.99), torch.nn.Identity())
    model = load(module, tmp_path, materialise(ROWS, None, tmp_path / "s"))
    np.testing.assert_array_equal(model.as_form("torch")({"input": ROWS})["output"], ROWS)


def test_of_size_repeats_rows() -> None:
    assert of_size({"x": ROWS[:2]}, 3)["x"].tolist() == [ROWS[0].tolist(), ROWS[1].tolist(), ROWS[0].tolist()]


def test_output_axes_follow_the_length_by_running_not_by_coincidence(tmp_path: Path) -> None:
    class Pool(torch.nn.Module):
        def forward(self, x):
            return {"pooled": x.sum(1), "pairs": x @ x.mT, "odd": x[:, 1:]}

    items = [np.ones((n, 8), np.float32) for n in (3, 8, 5)]  # the longest is as long as an item is wide
    model = load(Pool(), tmp_path, materialise(items, None, tmp_path / "s"))
    assert model.signature.inputs[0].shape == ("batch", "length", 8)
    assert [t.shape for t in model.signature.outputs] == [
        ("batch", 8),
        ("batch", "length", "length"),
        ("batch", "odd_1", 8),
    ]


def test_lengths_of_samples_count_for_the_work_of_a_file(tmp_path: Path) -> None:
    samples = materialise({"ids": np.ones((4, 10), np.int64)}, None, tmp_path / "s")
    model = load(graphs.attention(tmp_path / "a.onnx"), tmp_path, samples)
    assert model.facts.macs_per_item == 10 * 10 * 8 * 2 + 10 * 5 * 8
    ir = load(model.as_form("openvino"), tmp_path / "ir", samples)
    assert ir.facts.macs_per_item == model.facts.macs_per_item


def test_a_program_in_memory_is_a_model(tmp_path: Path) -> None:
    program = torch.export.export(torch.nn.Linear(4, 3), (torch.ones(2, 4),))
    model = load(program, tmp_path)
    assert (model.signature.batch, model.forms) == (2, ("torch",))


# the same model as last time?


def scaled(where: Path, samples: np.ndarray = ROWS, **values: object) -> str | None:
    """The identity of a network that is in its values alone another one."""
    from tests.models.scaled import Scaled

    stored = materialise(samples, None, where / "samples")
    return identity(load(Scaled(**values), where, stored))


def test_a_model_is_known_again_by_every_value_that_shapes_its_answers(tmp_path: Path) -> None:
    same = scaled(tmp_path / "a")
    assert same is not None
    assert scaled(tmp_path / "b") == same
    changes = ({"scale": 3.0}, {"buffer": 3.0}, {"listed": (1, {"a": 3})}, {"how": torch.tanh}, {"extra": True})
    others = [scaled(tmp_path / f"c{i}", **change) for i, change in enumerate(changes)]
    assert None not in others
    assert len({same, *others}) == len(changes) + 1


def test_samples_of_another_shape_make_another_model(tmp_path: Path) -> None:
    """An export holds the axes as they were seen, so that its artefact isn't that of another shape."""
    flat = scaled(tmp_path / "a")
    assert flat != scaled(tmp_path / "b", np.ones((6, 5), np.float32))
    assert flat != scaled(tmp_path / "c", np.ones((6, 4, 2), np.float32))


def test_a_model_with_what_nothing_vouches_for_has_no_identity(tmp_path: Path) -> None:
    from tests.models.scaled import Unsayable

    assert scaled(tmp_path, extra=Unsayable()) is None


def test_external_data_of_inner_graphs_belong_to_a_model(tmp_path: Path) -> None:
    weights = onnx.numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    inner = onnx.helper.make_node("Constant", [], ["c"], value=weights)
    value = inner.attribute[0].t
    onnx.external_data_helper.set_external_data(value, "inner.bin")
    value.ClearField("raw_data")
    value.data_location = onnx.TensorProto.EXTERNAL
    add = onnx.helper.make_node("MatMul", ["x", "c"], ["y"])
    path = tmp_path / "m.onnx"
    path.write_bytes(graphs.graph([inner, add], [], {"x": ["n", 4]}, {"y": ["n", 4]}).SerializeToString())
    (tmp_path / "inner.bin").write_bytes(np.ones((4, 4), np.float32).tobytes())
    assert [p.name for p in files_of(path)] == ["m.onnx", "inner.bin"]
