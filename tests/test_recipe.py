from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel import plugins, recipe
from accel.errors import InputError
from accel.plugins import Named
from accel.recipe import Recipe, Variant

GOOD = """
model = "model.onnx"
samples = "data/samples.npz"
metric = "accuracy"
slo = "p99=20ms"
accuracy_drop = "1pp"
budget = 90

[[variant]]
name = "int8"
compression = [{ name = "quantize_static" }]
backend = { name = "openvino", streams = 2 }
batching = { name = "dynamic", max_size = 16 }

[[variant]]
backend = "onnxruntime"
"""


def _struct(name: str, fields: list[tuple[str, Any, Any]]) -> type[Any]:
    return msgspec.defstruct(
        name.title(), fields, module=f"fake.{name}", frozen=True, kw_only=True, forbid_unknown_fields=True
    )


KNOWN: dict[str, dict[str, type[Any]]] = {
    "compilation": {
        "openvino": _struct(
            "openvino", [("streams", int, 0), ("precision", str, "auto"), ("deep", dict[str, int], {})]
        ),
        "onnxruntime": _struct("onnxruntime", [("threads", int, 0)]),
    },
    "compression": {
        "quantize_static": _struct("quantize_static", [("portable", bool, False), ("share", float, 0.5)]),
        "lower_precision": _struct("lower_precision", [("to", str, "bf16")]),
    },
    "batching": {"dynamic": _struct("dynamic", [("max_size", int, 8)]), "single": _struct("single", [])},
}


@pytest.fixture(autouse=True, scope="module")
def _registry() -> Any:
    """A registry of this file's own, so that a new knob of a real plug-in breaks nothing here."""
    real = plugins.load
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plugins, "names", lambda kind: tuple(sorted(KNOWN[kind])))
        patch.setattr(plugins, "load", lambda kind, name: KNOWN[kind].get(name) or real(kind, name))
        yield


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def test_a_good_recipe_is_read_whole(tmp_path: Path) -> None:
    found = recipe.read(written(tmp_path, GOOD))
    assert (found.slo, found.accuracy_drop, found.budget, found.metric) == ("p99=20ms", "1pp", 90, "accuracy")
    assert found.variants == (
        Variant(
            name="int8",
            compression=(Named("quantize_static"),),
            backend=Named("openvino", {"streams": 2}),
            batching=Named("dynamic", {"max_size": 16}),
        ),
        Variant(name="onnxruntime", backend=Named("onnxruntime")),
    )


def test_paths_count_from_the_recipes_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    path = written(tmp_path / "sub", 'model = "../m/net.py:make"\nsamples = "s.npz"\nmetric = "score.py:near"\n')
    monkeypatch.chdir(tmp_path)
    found = recipe.read(Path("sub/recipe.toml"))
    assert path.exists()
    assert found.model == f"{tmp_path}/m/net.py:make"
    assert found.samples == f"{tmp_path}/sub/s.npz"
    assert found.metric == f"{tmp_path}/sub/score.py:near"


@pytest.mark.parametrize("word", ["demo", "hf:some/name-of", "timm:resnet18", "package.module:factory"])
def test_words_that_are_no_paths_stay(word: str, tmp_path: Path) -> None:
    assert recipe.read(written(tmp_path, f'model = "{word}"')).model == word


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model = \n", ["not valid TOML", "line 1"]),
        ("", ["names no model", 'model = "model.onnx"']),
        ('model = "m.onnx"\n\nbugdet = "5m"', ["line 3", "`bugdet`", "Did you mean `budget`?"]),
        ('model = "m.onnx"\nvariant = 3', ["line 2", "[[variant]]"]),
        ('model = "m.onnx"\ntarget = "bach"', ["`target`", "bach"]),
        ("model = 3", ["`model`", "expected `str`, got `int`"]),
        ('model = "m.onnx"\nslo = "p99"', ["no time", "Quote it"]),
        ('model = "m.onnx"\nbudget = "-5m"', ["`budget`", "greater than zero", "-5m"]),
        ('model = "m.onnx"\naccuracy_drop = "lots"', ["`accuracy_drop`", "1pp", "lots"]),
        ('model = "m.onnx"\nseed = -1', ["`seed`", "-1"]),
        ('model = "m.onnx"\n[[variant]]\nname = "x"', ["variant 1 (`x`)", "names no backend"]),
        ('model = "m.onnx"\n[[variant]]\nbakend = "openvino"', ["variant 1", "`bakend`", "Did you mean `backend`?"]),
        ('model = "m.onnx"\n[[variant]]\nbackend = "openvno"', ["variant 1", "`openvno`", "Did you mean `openvino`?"]),
        (
            'model = "m.onnx"\n[[variant]]\nbackend = { name = "openvino", strems = 2 }',
            ["variant 1", "`strems`", "Did you mean `streams`?"],
        ),
        (
            'model = "m.onnx"\n[[variant]]\nbackend = { name = "openvino", streams = "two" }',
            ["variant 1", "`openvino`", "int", "field `streams`"],
        ),
        (
            'model = "m.onnx"\n[[variant]]\nbackend = "openvino"\ncompression = ["lower_precision", "quantise_static"]',
            ["compression 2", "Did you mean `quantize_static`?"],
        ),
        ('model = "m.onnx"\n[[variant]]\nbackend = "openvino"\ninstances = 0', ["`instances`", "at least 1", "`0`"]),
        (
            'model = "m.onnx"\n[[variant]]\nbackend = "openvino"\nplacement = "threads"',
            ['`placement = "threads"`', "there is one", "from 2"],
        ),
        (
            'model = "m.onnx"\n[[variant]]\nbackend = "openvino"\ninstances = 2\nplacement = "cores"',
            ["`placement`", "'cores'"],
        ),
        ('model = "m.onnx"\n[[variant]]\nbackend = "openvino"\nname = 4', ["`name`", "expected `str`, got `int`"]),
        ('model = "m.onnx"\n[[variant]]\nbackend = 4', ["variant 1", "must be a name or a table"]),
        ('model = "m.onnx"\n' + '[[variant]]\nbackend = "openvino"\n' * 2, ["two variants named `openvino`"]),
    ],
)
def test_a_wrong_recipe_says_where_and_what(text: str, words: list[str], tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError) as caught:
        recipe.read(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in [str(path), *words]:
        assert word in message


@pytest.mark.parametrize("name", ["../up", "a b", "a/b", "", ".hidden", "-x", "x" * 121, "ä"])
def test_a_variants_name_must_be_safe_as_a_file_name(name: str, tmp_path: Path) -> None:
    text = f'model = "m.onnx"\n[[variant]]\nbackend = "openvino"\nname = "{name}"'
    with pytest.raises(InputError, match="can't be a variant's name"):
        recipe.read(written(tmp_path, text))


def test_a_recipe_that_cannot_be_read_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no recipe"):
        recipe.read(tmp_path / "none.toml")
    with pytest.raises(InputError, match="is a folder"):
        recipe.read(tmp_path)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        recipe.read(tmp_path / "bytes.toml")


@given(
    st.dictionaries(
        st.sampled_from(["streams", "precision", "path"]),
        st.one_of(st.text(), st.integers(), st.floats(), st.booleans()),
    )
)
def test_a_given_name_is_always_fit_for_files(fields: dict[str, Any]) -> None:
    name = recipe.variant_name((Named("quantize_static", {"portable": True}),), Named("openvino", fields))
    assert re.fullmatch(r"[A-Za-z0-9._+-]+", name)
    assert name.startswith("quantize_static-portable-true+openvino")


words = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12)
paths = st.from_regex(r"/[a-z]{1,8}/[a-z]{1,8}\.(onnx|npz)", fullmatch=True)
numbers = st.floats(allow_nan=False, width=64)
backends = st.one_of(
    st.builds(
        lambda n, p: Named("openvino", _changed(streams=(n, 0), precision=(p, "auto"))), st.integers(0, 99), words
    ),
    st.just(Named("onnxruntime")),
    st.builds(lambda d: Named("openvino", {"deep": d} if d else {}), st.dictionaries(words, st.integers(-9, 9))),
)
techniques = st.builds(
    lambda on, share: Named("quantize_static", _changed(portable=(on, False), share=(share, 0.5))),
    st.booleans(),
    numbers,
)


def _changed(**pairs: tuple[Any, Any]) -> dict[str, Any]:
    return {key: value for key, (value, default) in pairs.items() if value != default}


variants = st.builds(
    Variant,
    name=st.from_regex(r"[a-z0-9][a-z0-9._+-]{0,9}", fullmatch=True),
    backend=backends,
    compression=st.lists(techniques, max_size=2).map(tuple),
    batching=st.sampled_from([None, Named("single"), Named("dynamic", {"max_size": 3})]),
    instances=st.integers(2, 4),
    placement=st.sampled_from(["shared", "threads", "processes"]),
    trap=words,
)
lone = st.builds(Variant, name=st.just("alone"), backend=backends)
recipes = st.builds(
    Recipe,
    model=st.one_of(st.just("demo"), paths, st.just("hf:a/b")),
    samples=st.none() | paths,
    labels=st.none() | paths,
    metric=st.none() | st.sampled_from(["accuracy", "top-5", "/r/score.py:near"]),
    slo=st.sampled_from([None, "p99=20ms", "p50 <= 1s"]),
    accuracy_drop=st.none() | st.just("1pp") | st.just(0.02),
    target=st.sampled_from([None, "batch", "online", "both"]),
    budget=st.none() | st.just("5m") | st.integers(1, 10**6) | st.just(0.5),
    profile=st.none() | words,
    name=st.none() | words,
    random_weights=st.booleans(),
    padding=numbers,
    defaults=st.sampled_from([None, True, False]),
    seed=st.integers(0, 2**63 - 1),
    variants=st.lists(variants | lone, max_size=3, unique_by=lambda v: v.name).map(tuple),
)


@given(recipes)
def test_writing_and_reading_gives_the_same_recipe(tmp_path_factory: pytest.TempPathFactory, made: Recipe) -> None:
    path = tmp_path_factory.mktemp("recipe") / "r.toml"
    path.write_text(recipe.to_toml(made), "utf-8")
    assert recipe.read(path) == made


def test_what_toml_cannot_hold_is_refused() -> None:
    variant = Variant(name="x", backend=Named("openvino", {"streams": None}))
    with pytest.raises(InputError, match="None"):
        recipe.to_toml(Recipe(model="demo", variants=(variant,)))
