"""What was asked of a study: keywords win over the recipe, the recipe over defaults, and every value is checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accel.errors import InputError
from accel.plugins import Named
from accel.recipe import Variant
from accel.slo import Slo
from accel.study.options import asked_variants, check_sizes, default_folder, resolve, with_baseline

RECIPE = """
model = "net.onnx"
samples = "rows.npz"
metric = "accuracy"
slo = "p99=20ms"
accuracy_drop = "2pp"
target = "online"
budget = "7m"
name = "nets"
padding = 1
seed = 5

[[variant]]
backend = "openvino"
"""
ORT, OV = Variant(name="onnxruntime", backend=Named("onnxruntime")), Variant(name="openvino", backend=Named("openvino"))


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    (tmp_path / "r.toml").write_text(RECIPE)
    return str(tmp_path / "r.toml")


def test_defaults_of_a_bare_model() -> None:
    found = resolve("folder/net.onnx")
    assert (found.model, found.name, found.samples, found.metric) == ("folder/net.onnx", "net", None, None)
    assert (found.target, found.accuracy_drop, found.seed, found.padding) == ("both", 0.01, 0, 0)
    assert (found.profile.name, found.budget_s) == ("quick", 300.0)
    assert found.slo is None
    assert found.slo_text == ""
    assert found.defaults
    assert found.variants == found.backends == found.compressions == found.sizes == ()
    assert found.said == frozenset()
    assert not found.trust_file


def test_a_recipe_counts_where_nothing_was_said(recipe: str, tmp_path: Path) -> None:
    found = resolve(recipe)
    assert found.model == str(tmp_path / "net.onnx")
    assert found.samples == str(tmp_path / "rows.npz")
    assert (found.name, found.metric, found.target, found.seed, found.padding) == ("nets", "accuracy", "online", 5, 1)
    assert (found.budget_s, found.accuracy_drop, found.slo) == (420.0, 0.02, Slo(0.99, 0.02))
    assert found.variants == (OV,)
    assert not found.defaults, "own variants stand alone unless the recipe asks for the defaults too"
    assert found.said == {"budget", "target"}


def test_keywords_win_over_the_recipe(recipe: str) -> None:
    rows = {"x": np.ones((4, 2))}
    found = resolve(
        recipe,
        samples=rows,
        target="batch",
        budget=90,
        slo="p90<=1s",
        accuracy_drop=0.05,
        seed=0,
        variants=[{"backend": "onnxruntime"}],
        defaults=True,
    )
    assert found.samples is rows
    assert (found.target, found.budget_s, found.accuracy_drop) == ("batch", 90.0, 0.05)
    assert (found.slo, found.slo_text) == (Slo(0.9, 1.0), "p90<=1s")
    assert found.seed == 0, "a 0 that was said is no default"
    assert found.variants == (ORT,)
    assert found.defaults


@pytest.mark.parametrize("empty", [None, ()])
def test_what_was_not_said_leaves_the_recipe_alone(empty: Any, recipe: str) -> None:
    assert resolve(recipe, budget=None, backend=empty, batch=empty).budget_s == 420.0


@pytest.mark.parametrize("samples", [np.ones((4, 2)), np.ones((1, 1)), [np.ones(2)], ({"x": 1} for _ in range(3))])
def test_live_samples_are_passed_on_untouched(samples: Any) -> None:
    assert resolve("m.onnx", samples=samples).samples is samples


def test_restrictions_are_read_from_one_or_many() -> None:
    found = resolve("m.onnx", backend="openvino:streams=2", compression=["lower_precision"], batch=(8, 1, 8))
    assert found.backends == (Named("openvino", {"streams": 2}),)
    assert found.compressions == ((Named("lower_precision"),),)
    assert found.sizes == (1, 8)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"target": "onlin"}, ["--target", "`onlin`", "Did you mean `online`?"]),
        ({"profile": "quik"}, ["`quik`", "Did you mean `quick`?"]),
        ({"budget": "-5m"}, ["--budget", "greater than zero"]),
        ({"budget": 0}, ["--budget", "greater than zero"]),
        ({"accuracy_drop": "200pp"}, ["--accuracy-drop", "200pp"]),
        ({"slo": "p99"}, ["`p99`", "Quote it"]),
        ({"metric": "acuracy"}, ["`acuracy`", "Did you mean `accuracy`?", "file.py:function"]),
        ({"backend": "openvno"}, ["Did you mean `openvino`?"]),
        ({"backend": "openvino:strems=1"}, ["Did you mean `streams`?"]),
        ({"compression": "quantise_static"}, ["Did you mean `quantize_static`?"]),
        ({"batch": 0}, ["--batch", "from 1 to 65536", "`0`"]),
        ({"batch": 65_537}, ["--batch", "`65537`"]),
        ({"batch": True}, ["--batch", "`True`"]),
        ({"batch": [4, 2.5]}, ["--batch", "`2.5`"]),
        ({"seed": -1}, ["seed", "`-1`"]),
        ({"seed": "one"}, ["seed", "whole number", "`one`"]),
        ({"seed": True}, ["seed", "`True`"]),
        ({"padding": "zero"}, ["padding", "'zero'"]),
        ({"padding": {"ids": None}}, ["padding", "None"]),
        ({"variants": "openvino"}, ["`variants`", "list", "str"]),
        ({"variants": ["openvino"]}, ["Variant 1", "'openvino'", "backend"]),
        ({"variants": [{"name": "a"}]}, ["Variant 1", "names no backend"]),
        ({"variants": [{"backend": "openvino"}] * 2}, ["Two variants are named `openvino`"]),
        ({"variants": [{"name": "reference", "backend": "openvino"}]}, ["`reference`", "another `name`"]),
        ({"variants": [{"name": "a", "backend": "openvino", "instances": 0}]}, ["`instances`", "at least 1"]),
    ],
)
def test_each_wrong_value_is_named(given: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        resolve("m.onnx", **given)
    for word in words:
        assert word in str(caught.value)


def test_the_name_of_what_was_given() -> None:
    def predict() -> None: ...

    assert resolve("nets.py:build").name == "build"
    assert resolve(Path("a/b.xml")).name == "b"
    assert resolve(predict).name == "predict"
    assert resolve(predict, name="mine").name == "mine"


def test_own_variants_stand_first_and_replace_defaults_of_their_name() -> None:
    own = Variant(name="openvino", backend=Named("openvino", {"streams": 2}))
    proposed = [ORT, OV]
    assert asked_variants(resolve("m.onnx", variants=[own], defaults=True), proposed) == [own, ORT]
    assert asked_variants(resolve("m.onnx", variants=[own]), proposed) == [own]
    assert asked_variants(resolve("m.onnx"), proposed) == proposed


def test_restrictions_replace_the_defaults() -> None:
    names = [
        v.name for v in asked_variants(resolve("m.onnx", backend="openvino", compression="lower_precision"), [ORT])
    ]
    assert names == ["openvino", "lower_precision+openvino"]


@pytest.mark.parametrize(
    "given",
    [
        "fine_tune:steps=5+quantize_static",
        [["fine_tune:steps=5", "quantize_static"]],
        [[{"name": "fine_tune", "steps": 5}, Named("quantize_static")]],
    ],
)
def test_techniques_that_follow_one_another_are_one_variant(given: Any) -> None:
    (variant,) = asked_variants(resolve("m.onnx", backend="openvino", compression=given), [])[1:]
    assert variant.name == "fine_tune-steps-5+quantize_static+openvino"
    assert [c.name for c in variant.compression] == ["fine_tune", "quantize_static"]


def test_several_pipelines_are_alternatives() -> None:
    found = resolve("m.onnx", compression=["quantize_dynamic", "fine_tune+quantize_dynamic"]).compressions
    assert [[c.name for c in chain] for chain in found] == [["quantize_dynamic"], ["fine_tune", "quantize_dynamic"]]


def test_a_backend_that_one_of_the_techniques_cannot_serve_is_not_proposed() -> None:
    names = [v.name for v in asked_variants(resolve("m.onnx", compression="fine_tune+quantize_dynamic"), [])]
    assert names
    assert all(n.startswith("fine_tune+quantize_dynamic+") for n in names)


def test_a_file_that_a_technique_names_is_found_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child works in another folder; the variant is called by what was typed."""
    monkeypatch.chdir(tmp_path)
    (variant,) = asked_variants(resolve("m.onnx", backend="openvino", compression="fine_tune:by=t.py:run"), [])[1:]
    assert variant.compression[0].fields["by"] == f"{tmp_path}/t.py:run"
    assert variant.name == "fine_tune-by-t.py_run+openvino"
    given = [{"backend": "openvino", "compression": ["fine_tune:by=t.py:run"]}]
    assert resolve("m.onnx", variants=given).variants[0].compression[0].fields["by"] == f"{tmp_path}/t.py:run"


def test_the_baseline_is_there_once_and_first() -> None:
    assert with_baseline(ORT, [OV]) == (ORT, OV)
    several = Variant(name="two", backend=ORT.backend, instances=2)
    assert with_baseline(ORT, [several]) == (ORT, several), "several instances are no baseline"
    same = Variant(name="plain", backend=Named("onnxruntime"))
    assert with_baseline(ORT, [OV, same]) == (same, OV)


def test_another_variant_of_the_baselines_name_is_refused_not_lost() -> None:
    other = Variant(name="onnxruntime", backend=Named("openvino"))
    with pytest.raises(InputError, match="another `name`"):
        with_baseline(ORT, [other])


def test_sizes_that_a_fixed_batch_cannot_take() -> None:
    check_sizes((), 1)
    check_sizes((4, 8), "any")
    check_sizes((1, 8), 8)
    with pytest.raises(InputError, match=r"batches of 1 only.*4, 8"):
        check_sizes((4, 8), 1)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("hf:org/net@v1", "net"),
        ("timm:resnet50?pretrained=false", "resnet50"),
        ("pkg.mod:make", "make"),
        ("a/b.onnx", "b"),
    ],
)
def test_a_study_is_called_after_its_model(model: str, name: str) -> None:
    assert resolve(model).name == name


def test_a_default_folder_is_new_and_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda _: "20260101-000000")
    first = default_folder("../my net")
    assert first == Path("accel-results/my-net-20260101-000000")
    first.mkdir(parents=True)
    assert default_folder("../my net").name == "my-net-20260101-000000-2"
    assert default_folder("...").name.startswith("model-")


def test_a_price_is_the_users_and_has_no_default() -> None:
    assert resolve("m.onnx").price_per_h is None
    assert resolve("m.onnx", price="$0.20/h").price_per_h == 0.2
    with pytest.raises(InputError, match="--price must be what an instance costs an hour"):
        resolve("m.onnx", price="0.2/day")
